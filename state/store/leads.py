"""Leads, and the index that leads from a Message-ID to whose thread it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from state.lead import Lead
from state.store import sql
from state.store.codec import lead_from_row, lead_to_row
from state.store.schema import leads, thread


class Conflict(Exception):
    """Somebody else changed one of the leads meanwhile: the whole transaction must be tried again."""


_UPDATE = (
    update(leads)
    .where(leads.c.id == bindparam("_id"), leads.c.version == bindparam("_version"))
    .values(
        {
            column: bindparam(f"_{column}")
            for column in ("owner_id", "assistant_id", "state", "sub_state", "at_risk", "next_at", "profile")
        }
        | {"version": bindparam("_next_version"), "address": bindparam("_address")}
    )
)


def insert_lead(tx: Connection, lead: Lead) -> Lead:
    """Keep a new lead; returns it with its id."""
    row = lead_to_row(lead)
    new_id = tx.execute(insert(leads).values(**row, version=1).returning(leads.c.id)).scalar_one()
    return replace(lead, id=new_id, version=1)


def save_many(tx: Connection, changed: Sequence[Lead]) -> None:
    """Write leads back, each only on the version that it was loaded with. Raises Conflict."""
    rows = []
    for lead in changed:
        row = {f"_{name}": value for name, value in lead_to_row(lead).items() if name != "organisation_id"}
        rows.append({**row, "_id": lead.id, "_version": lead.version, "_next_version": lead.version + 1})
    if not rows:
        return
    if tx.execute(_UPDATE, rows).rowcount != len(rows):
        raise Conflict("a lead was changed by somebody else")


def add_to_threads(tx: Connection, entries: Iterable[tuple[int, str, int]]) -> None:
    """(organisation id, Message-ID, lead id): whose thread a message belongs to."""
    rows = [{"organisation_id": o, "message_id": m, "lead_id": i} for o, m, i in dict.fromkeys(entries)]
    if rows:
        tx.execute(sql.insert_new(tx, thread), rows)


def load_many(tx: Connection, ids: Iterable[int]) -> dict[int, Lead]:
    found: dict[int, Lead] = {}
    for portion in sql.in_portions(ids):
        for row in tx.execute(select(leads).where(leads.c.id.in_(portion))):
            found[row.id] = lead_from_row(row)
    return found


def find_by_addresses(tx: Connection, organisation_id: int, addresses: Iterable[str]) -> dict[str, Lead]:
    found: dict[str, Lead] = {}
    for portion in sql.in_portions(addresses):
        statement = select(leads).where(leads.c.organisation_id == organisation_id, leads.c.address.in_(portion))
        for row in tx.execute(statement):
            found[row.address] = lead_from_row(row)
    return found


def find_by_message_ids(tx: Connection, organisation_id: int, message_ids: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The ids of the leads in whose threads these messages are; one mail can begin several threads."""
    found: dict[str, tuple[int, ...]] = {}
    for portion in sql.in_portions(message_ids):
        statement = (
            select(thread.c.message_id, thread.c.lead_id)
            .where(thread.c.organisation_id == organisation_id, thread.c.message_id.in_(portion))
            .order_by(thread.c.lead_id)
        )
        for message_id, lead_id in tx.execute(statement):
            found[message_id] = (*found.get(message_id, ()), lead_id)
    return found


def find_due(tx: Connection, now: datetime, limit: int) -> list[int]:
    """Ids of leads whose next step is due, the longest due first."""
    statement = select(leads.c.id).where(leads.c.next_at <= now).order_by(leads.c.next_at).limit(limit)
    return list(tx.scalars(statement))


def claim_due(tx: Connection, now: datetime, limit: int) -> list[Lead]:
    """Leads whose next step is due, the longest due first; those that another worker has claimed are left to it."""
    statement = select(leads).where(leads.c.next_at <= now).order_by(leads.c.next_at).limit(limit)
    if sql.is_postgresql(tx):
        statement = statement.with_for_update(skip_locked=True)
    return [lead_from_row(row) for row in tx.execute(statement)]


def find_all(tx: Connection, *, organisation_id: int) -> Iterator[Lead]:
    """All leads of an organisation by address, read in portions."""
    after = ""
    while True:
        statement: Any = (
            select(leads)
            .where(leads.c.organisation_id == organisation_id, leads.c.address > after)
            .order_by(leads.c.address)
            .limit(sql.MOST_VALUES)
        )
        rows = tx.execute(statement).all()
        for row in rows:
            yield lead_from_row(row)
        if len(rows) < sql.MOST_VALUES:
            return
        after = rows[-1].address


def find_by_address_anywhere(tx: Connection, address: str) -> list[Lead]:
    """The leads of all organisations with this address."""
    statement = select(leads).where(leads.c.address == address).order_by(leads.c.organisation_id)
    return [lead_from_row(row) for row in tx.execute(statement)]
