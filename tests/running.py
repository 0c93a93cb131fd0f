"""`relance` as a user runs it: commands, and a running process of one or more roles."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

RELANCE = str(Path(sys.executable).with_name("relance"))


def relance(
    directory: Path, *arguments: str, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [RELANCE, *arguments], cwd=directory, input=stdin, capture_output=True, check=False,
        env={**os.environ, **environment}, timeout=120,
    )  # fmt: skip


def json_lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_config(directory: Path, configuration: Mapping[str, Any]) -> None:
    loopback = {"listener": {"smtp": "127.0.0.1:0"}, "web": {"listen": "127.0.0.1:0"}}
    (directory / "config.yaml").write_text(
        yaml.safe_dump({**loopback, **configuration}, sort_keys=False), encoding="utf-8"
    )


@dataclass
class Running:
    """A `relance run`, its addresses as it prints them, and what it said."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def address(self, label: str) -> str:
        """What stands after `LABEL: ` on stderr."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for line in list(self.said):
                if found := re.match(rf"{label}: (\S+)", line):
                    return found[1]
            assert self.process.poll() is None, "\n".join(self.said)
            time.sleep(0.01)
        raise AssertionError("\n".join(self.said))

    @property
    def smtp(self) -> smtplib.SMTP:
        host, _, port = self.address("SMTP").rpartition(":")
        return smtplib.SMTP(host, int(port), timeout=20)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def running(directory: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [RELANCE, "run", *arguments], cwd=directory, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    one = Running(process)
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: one.said.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield one
    finally:
        one.stop(signal.SIGKILL)
        reader.join(5)


def until(condition: Any, seconds: float = 20) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError("it did not come true")
        time.sleep(0.05)
    return found
