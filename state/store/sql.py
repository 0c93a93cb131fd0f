"""The little that SQLite and PostgreSQL say differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

T = TypeVar("T")

MOST_VALUES = 500  # in one IN list; SQLite takes 32,766 variables a statement


def is_postgresql(tx: Connection) -> bool:
    return tx.dialect.name == "postgresql"


def insert_new(tx: Connection, table: Table) -> Any:
    """An INSERT that leaves out rows whose unique key is there already (`ON CONFLICT DO NOTHING`)."""
    return insert(tx, table).on_conflict_do_nothing()


def insert(tx: Connection, table: Table) -> Any:
    """An INSERT that knows `ON CONFLICT`, which SQLAlchemy keeps with each database."""
    if is_postgresql(tx):
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def in_portions(values: Iterable[T], size: int = MOST_VALUES) -> Iterator[Sequence[T]]:
    listed = list(values)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
