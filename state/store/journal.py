"""The journal: every transition of a lead with its cause, for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from state.store.schema import journal


@dataclass(frozen=True, slots=True)
class Entry:
    lead_id: int
    at: datetime
    event: str
    from_state: str | None  # None: the lead's first entry
    to_state: str
    by: str  # rule:NAME | user:ADDRESS | tick | link
    cause: str | None  # a Message-ID
    evidence: tuple[str, ...]


def add_many(tx: Connection, entries: Sequence[Entry]) -> None:
    rows = [
        {
            "lead_id": e.lead_id,
            "at": e.at,
            "event": e.event,
            "from_state": e.from_state,
            "to_state": e.to_state,
            "by": e.by,
            "cause": e.cause,
            "evidence": list(e.evidence),
        }
        for e in entries
    ]
    if rows:
        tx.execute(insert(journal), rows)


def of_lead(tx: Connection, lead_id: int) -> list[Entry]:
    """A lead's history in the order in which things happened to it."""
    statement = select(journal).where(journal.c.lead_id == lead_id).order_by(journal.c.id)
    return [
        Entry(r.lead_id, r.at, r.event, r.from_state, r.to_state, r.by, r.cause, tuple(r.evidence))
        for r in tx.execute(statement)
    ]
