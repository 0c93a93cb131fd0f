"""Mail in by SMTP (RFC 5321) and LMTP (RFC 2033). 250 is said only when the message is stored for good."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from mailflow.message import Envelope, RawMessage
from mailflow.transport.data_phase import BlockwiseData

log = logging.getLogger("relance.listener")

IDENT = "Relance"
MOST_RECIPIENTS = 1_000
IDLE = 300  # seconds (RFC 5321 §4.5.3.2.7)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Stored for good."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """Nothing was kept; the sender must keep it."""

    reason: str


Verdict = Accepted | TryLater


class Listener:
    """Both doors of one process. `accept` answers once the message is stored, or not."""

    def __init__(
        self,
        *,
        smtp: tuple[str, int] | None,
        lmtp: tuple[str, int] | None,
        max_size: int,
        tls: tuple[Path, Path] | None,
        is_recipient: Callable[[str], bool],
        accept: Callable[[RawMessage], Awaitable[Verdict]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._doors = {name: door for name, door in (("smtp", smtp), ("lmtp", lmtp)) if door is not None}
        self._max_size = max_size
        self._tls = _tls_context(*tls) if tls is not None else None
        self._is_recipient = is_recipient
        self._accept = accept
        self._now = now
        self._servers: list[asyncio.Server] = []
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Open the doors. Raises OSError when a port is taken."""
        loop = asyncio.get_running_loop()
        for name, (host, port) in self._doors.items():
            protocol = _Smtp if name == "smtp" else _Lmtp
            handler = _Handler(name, self._is_recipient, self._accept, self._now)

            def make(protocol: Any = protocol, handler: _Handler = handler) -> Any:
                return protocol(
                    handler, data_size_limit=self._max_size, enable_SMTPUTF8=True, decode_data=False,
                    hostname=IDENT.lower(), ident=IDENT, tls_context=self._tls, timeout=IDLE, loop=loop,
                )  # fmt: skip

            server = await loop.create_server(make, host, port)
            self._servers.append(server)
            bound = server.sockets[0].getsockname()
            self.addresses[name] = f"{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Let nobody in any more. Transactions under way end with their connections."""
        for server in self._servers:
            server.close()


class _Smtp(BlockwiseData, SMTP):
    pass


class _Lmtp(BlockwiseData, LMTP):
    pass


class _Handler:
    def __init__(
        self,
        via: str,
        is_recipient: Callable[[str], bool],
        accept: Callable[[RawMessage], Awaitable[Verdict]],
        now: Callable[[], datetime],
    ) -> None:
        self._via = via
        self._is_recipient = is_recipient
        self._accept = accept
        self._now = now

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: SmtpEnvelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        if not self._is_recipient(address):
            return "550 5.1.1 No such assistant here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_exception(self, error: Exception) -> str:
        # A fault of ours: the sender must keep the mail, not give it up.
        log.error("mail could not be taken in", exc_info=error)
        return "451 4.3.0 Something went wrong here, please try again later"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: SmtpEnvelope) -> str:
        content = envelope.original_content or b""
        if not content.strip():
            return "554 5.6.0 The message is empty"
        raw = RawMessage(Envelope(envelope.mail_from or "", tuple(envelope.rcpt_tos)), content, self._now(), self._via)
        match await self._accept(raw):
            case Accepted():
                reply = "250 2.0.0 Stored"
            case TryLater():
                reply = "452 4.3.1 Can't store mail just now, please try again later"
        # RFC 2033 §4.2: LMTP answers once for every recipient.
        return reply if self._via == "smtp" else "\r\n".join([reply] * len(envelope.rcpt_tos))


def _tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context
