"""5 KB mails by SMTP: stored with a synchronous commit, parsed and routed to their leads, beside a bare aiosmtpd Sink.

The loader is one process for both; ours is measured until the last message is processed.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.mails import ordinary
from benchmarks.measure import Row
from tests import servers
from tests.flow.scene import acme
from tests.running import relance, running, write_config

MAILS = 3_000
ROUNDS = 3
LEADS = 50

SINK = """
import asyncio, sys
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), loop=loop), "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


async def _session(port: int, mails: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply() -> bytes:
        while True:
            line = await reader.readline()
            if line[3:4] != b"-":
                return line

    await reply()
    writer.write(b"EHLO loader\r\n")
    await reply()
    for mail in mails:
        for command in (b"MAIL FROM:<priya@northwind.example>\r\n", b"RCPT TO:<asha@acme.example>\r\n", b"DATA\r\n"):
            writer.write(command)
            await reply()
        writer.write(mail + b".\r\n")
        assert (await reply()).startswith(b"250")
    writer.write(b"QUIT\r\n")
    writer.close()


def load(port: int, sessions: int, mails: list[bytes]) -> None:
    async def run() -> None:
        await asyncio.gather(*(_session(port, mails[n::sessions]) for n in range(sessions)))

    asyncio.run(run())


def _mails() -> list[bytes]:
    # Automatic answers in known threads: routed to their leads and journalled, and nothing has to be sent for them.
    return [
        ordinary(
            5_000, n, f"lead{n % LEADS}@northwind.example", "Auto-Submitted: auto-replied\r\n".replace("\r\n", "\n")
        )
        for n in range(MAILS)
    ]


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    port = servers.free_port()
    server = subprocess.Popen([sys.executable, "-c", SINK, str(port)])
    try:
        servers.wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _peer(sessions: int, mails: list[bytes]) -> float:
    with _sink() as port:
        start = time.perf_counter()
        load(port, sessions, mails)
        return MAILS / (time.perf_counter() - start)


def _ours(sessions: int, mails: list[bytes]) -> float:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_config(directory, {**acme(), "logging": {"level": "error"}})
        to = ", ".join(f"lead{n}@northwind.example" for n in range(LEADS))
        offer = f"From: Uma <uma@acme.example>\r\nTo: {to}\r\nCc: asha@acme.example\r\nMessage-ID: <offer@acme.example>\r\n\r\nOffer\r\n"
        relance(
            directory, "receive", "--mail-from", "uma@acme.example", "--rcpt", "asha@acme.example", stdin=offer.encode()
        )
        with running(directory, "--role", "listener,worker,scheduler") as server:
            port = int(server.address("SMTP").rpartition(":")[2])
            start = time.perf_counter()
            load(port, sessions, mails)
            while _waiting(directory) > 0:
                time.sleep(0.01)
            return MAILS / (time.perf_counter() - start)


def _waiting(directory: Path) -> int:
    import sqlite3

    with contextlib.closing(sqlite3.connect(directory / "var/relance.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM inbox WHERE status = 'waiting'").fetchone()[0])


def rows() -> list[Row]:
    mails, found = _mails(), []
    for sessions in (10, 50):
        peers, own = [], []
        for _ in range(ROUNDS):
            peers.append(_peer(sessions, mails))
            own.append(_ours(sessions, mails))
        a, b = median(peers), median(own)
        found.append(Row(f"SMTP intake, 5 KB, {sessions} sessions", "bare aiosmtpd Sink", f"{a:.0f}/s", f"{b:.0f}/s", b / a, "≥ 0.60", b / a >= 0.6))  # fmt: skip
    return found
