"""Who must never be written to again. Kept as keyed hashes: they outlive a person's erasure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from state.store import sql
from state.store.schema import suppression


def add(tx: Connection, organisation_id: int, address_key: str, reason: str, at: datetime) -> None:
    """`address_key` is `mailflow.token.address_key` of the address. A second time changes nothing."""
    tx.execute(
        sql.insert_new(tx, suppression).values(
            organisation_id=organisation_id, address_key=address_key, reason=reason, at=at
        )
    )


def are_suppressed(tx: Connection, organisation_id: int, address_keys: Iterable[str]) -> set[str]:
    """Those of the keys that are suppressed."""
    found: set[str] = set()
    for portion in sql.in_portions(address_keys):
        found.update(
            tx.scalars(
                select(suppression.c.address_key).where(
                    suppression.c.organisation_id == organisation_id, suppression.c.address_key.in_(portion)
                )
            )
        )
    return found
