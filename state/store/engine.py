"""Opens the database, begins transactions, and says in one way when it is away."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from state.store.schema import HEAD

BUSY_TIMEOUT = 30_000  # milliseconds that SQLite waits for another process's write
MIGRATION_LOCK = 7_265_100  # PostgreSQL advisory lock: two processes must not migrate at once


class StoreUnavailable(Exception):
    """The database can't be reached or can't take anything just now: try again later."""


class Store:
    """One database. Shared by the threads of a process.

    `url`: `sqlite:///PATH` or `postgresql://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        # SQLite has one writer; threads queue here rather than poll the file's lock.
        self._writing = threading.Lock()
        self.engine = _open_sqlite(url) if self.is_sqlite else _open_postgresql(url)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back by any exception.

        Raises StoreUnavailable when the database is away, locked for too long, full or read-only.
        """
        if self.is_sqlite:
            with self._writing, self._begin("BEGIN IMMEDIATE") as tx:
                yield tx
        else:
            with self._begin("BEGIN") as tx:
                yield tx

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, on one snapshot."""
        with self._begin("BEGIN") as tx:
            yield tx

    @contextmanager
    def _begin(self, statement: str) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(begin=statement) as connection, connection.begin():
                yield connection
        except (OperationalError, PoolTimeout) as fault:
            raise StoreUnavailable(_first_line(fault)) from fault
        except DBAPIError as fault:
            if fault.connection_invalidated:
                raise StoreUnavailable(_first_line(fault)) from fault
            raise

    # -- versions -----------------------------------------------------------------------------

    def is_current(self) -> bool:
        """Whether the database is at the code's version. Cheap; without Alembic."""
        try:
            with self.read() as tx:
                return bool(tx.scalar(text("SELECT version_num FROM alembic_version")) == HEAD)
        except ProgrammingError:
            return False
        except StoreUnavailable as fault:
            if "no such table" in str(fault):
                return False
            raise

    def migrate(self) -> None:
        """Bring the database to the code's version. Two processes may do it at once."""
        from state.store.migrating import upgrade

        with self.write() as tx:
            if not self.is_sqlite:
                tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            upgrade(tx)

    # -- copies -------------------------------------------------------------------------------

    def backup(self, file: Path) -> None:
        """Write the whole database into a file, consistently, while others use it.

        Raises StoreUnavailable with what to do when that can't be done.
        """
        if self.is_sqlite:
            import sqlite3

            if not self.path.exists():
                raise StoreUnavailable(f"there is no database at {self.path}")
            with sqlite3.connect(self.path) as source, sqlite3.connect(file) as target:
                source.backup(target)
            return
        _run_tool("pg_dump", "--format=custom", f"--file={file}", f"--dbname={self.url}")

    def restore(self, file: Path) -> None:
        """Put the database back as the file has it; what is there now is lost."""
        if self.is_sqlite:
            import sqlite3

            self.path.parent.mkdir(parents=True, exist_ok=True)
            with sqlite3.connect(file) as source, sqlite3.connect(self.path) as target:
                source.backup(target)
            return
        _run_tool("pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={self.url}", str(file))

    def close(self) -> None:
        self.engine.dispose()


def _open_sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: object, record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # BEGIN is ours, below
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose the last commits with the power: "stored" means stored.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _open_postgresql(url: str) -> Engine:
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        url = f"postgresql+psycopg{separator}{rest}"
    return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=10, connect_args={"connect_timeout": 5})


def _run_tool(tool: str, *arguments: str) -> None:
    if shutil.which(tool) is None:
        raise StoreUnavailable(f"{tool} is not installed; install PostgreSQL's client tools")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StoreUnavailable(f"{tool}: {done.stderr.strip().splitlines()[-1] if done.stderr else 'failed'}")


def _first_line(fault: Exception) -> str:
    origin = getattr(fault, "orig", None) or fault
    return str(origin).strip().partition("\n")[0]
