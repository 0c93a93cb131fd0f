"""Real servers on loopback ports of their own, as an ordinary user, gone after the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def postgresql_bin() -> Path | None:
    """Where initdb and postgres are; None when they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextlib.contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """A PostgreSQL server; yields the URL of its `postgres` database."""
    binaries = postgresql_bin()
    assert binaries is not None
    port, base = free_port(), directory / "pg"
    base.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = "postgres" if _has_account("postgres") else "nobody"
        as_user = ["setpriv", f"--reuid={account}", f"--regid={pwd.getpwnam(account).pw_gid}", "--clear-groups"]
        shutil.chown(base, account)
        for above in [directory, *directory.parents][:3]:
            above.chmod(above.stat().st_mode | 0o011)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [*as_user, str(binaries / "initdb"), "-D", str(base / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
        check=True, cwd="/", **quiet,
    )  # type: ignore[call-overload]  # fmt: skip
    server = subprocess.Popen(
        [*as_user, str(binaries / "postgres"), "-D", str(base / "data"), "-p", str(port), "-k", "", "-h", "127.0.0.1", "-F"],
        cwd="/", **quiet,
    )  # type: ignore[call-overload]  # fmt: skip
    try:
        wait_for(port)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        import psycopg

        for _ in range(200):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # at once: a connection that a test left open must not hold it
        server.wait()


def _has_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()
