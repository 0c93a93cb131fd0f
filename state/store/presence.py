"""Which workers are alive. What a dead one held is known at once, without leases and their waiting times.

On SQLite, whose processes share a machine, a worker holds a lock on a file of its own beside the database;
on PostgreSQL it holds a session's advisory lock. Either goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, text

from state.store.engine import Store

LOCK_CLASS = 7_265_102  # first key of the PostgreSQL advisory locks; the second is the worker's number


class Presence:
    """One process's announcement, and a look at everybody's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._worker: str | None = None
        self._file: IO[bytes] | None = None
        self._session: Connection | None = None

    def announce(self) -> str:
        """Begin to count as alive. Returns the worker's id; the same at every call."""
        with self._lock:
            if self._worker is None:
                self._worker = self._lock_file() if self._store.is_sqlite else self._lock_session()
            return self._worker

    def withdraw(self) -> None:
        """No longer count as alive."""
        with self._lock:
            if self._file is not None and self._worker is not None:
                (self._directory / self._worker).unlink(missing_ok=True)
                self._file.close()
                self._file = None
            if self._session is not None:
                self._session.close()
                self._session = None
            self._worker = None

    def alive(self) -> set[str]:
        """The ids of all workers that live at this moment."""
        if not self._store.is_sqlite:
            with self._store.read() as tx:
                held = text(
                    "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = :class"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
                return {f"pg{number}" for number in tx.scalars(held, {"class": LOCK_CLASS})}
        if not self._directory.is_dir():
            return set()
        return {file.name for file in self._directory.iterdir() if self._is_held(file)}

    @property
    def _directory(self) -> Path:
        return self._store.path.with_name(f"{self._store.path.name}.workers")

    def _lock_file(self) -> str:
        self._directory.mkdir(parents=True, exist_ok=True)
        worker = f"w{os.getpid()}-{secrets.token_hex(4)}"
        hidden = self._directory / f".{worker}"
        self._file = hidden.open("wb")
        # Locked before it can be seen: no moment at which a living worker looks dead.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        hidden.rename(self._directory / worker)
        return worker

    def _is_held(self, file: Path) -> bool:
        """Whether a living process holds the file; a dead one's is removed."""
        if file.name == self._worker:
            return True
        if file.name.startswith("."):
            return False
        try:
            with file.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink(missing_ok=True)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def _lock_session(self) -> str:
        number = secrets.randbelow(2**31)
        # A connection of its own, out of the pool's reach for as long as the process lives.
        session = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        session.detach()
        session.execute(text("SELECT pg_advisory_lock(:class, :number)"), {"class": LOCK_CLASS, "number": number})
        self._session = session
        return f"pg{number}"
