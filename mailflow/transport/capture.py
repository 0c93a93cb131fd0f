"""Outgoing mail into a Maildir instead of the world: for trying things out and for tests. Its own Sent folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from mailflow.header_text import one_line
from mailflow.transport.outcome import Accepted, Copy, Outcome, Unsent


class Capture:
    """`directory` is made when it is missing. A copy always gets the same file name, so it is there once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def send_many(self, copies: Sequence[Copy]) -> list[Outcome]:
        try:
            for name in ("tmp", "new", "cur"):
                (self._directory / name).mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            return [Unsent(f"{self._directory}: {fault.strerror}")] * len(copies)
        outcomes = [self._write(copy) for copy in copies]
        self._sync_directory()
        return outcomes

    def find_sent(self, message_id: str, rcpt_to: Sequence[str]) -> bool | None:
        name = _name(message_id, rcpt_to)
        return (self._directory / "new" / name).exists() or any(self._directory.glob(f"cur/{name}*"))

    def _write(self, copy: Copy) -> Outcome:
        name = _name(copy.message_id, copy.rcpt_to)
        written = self._directory / "tmp" / f"{name}.{os.getpid()}"
        fields = (
            f"X-Envelope-From: <{one_line(copy.mail_from)}>\r\n"
            f"X-Envelope-To: {', '.join(one_line(address) for address in copy.rcpt_to)}\r\n"
            f"X-Capture-Kind: {copy.kind}\r\n"
            f"X-Capture-Lead: {one_line(copy.lead)}\r\n"
        )
        try:
            with written.open("wb") as file:
                # A Maildir's files end their lines as the system does.
                file.write((fields.encode() + copy.content).replace(b"\r\n", b"\n"))
                file.flush()
                os.fsync(file.fileno())
            written.rename(self._directory / "new" / name)
        except OSError as fault:
            return Unsent(f"{self._directory}: {fault.strerror}")
        return Accepted(name)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory / "new", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(message_id: str, rcpt_to: Sequence[str]) -> str:
    return hashlib.sha256("\0".join([message_id, *sorted(rcpt_to)]).encode()).hexdigest()[:32] + ".relance"
