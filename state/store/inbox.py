"""The inbox: messages as they came, each kept under a unique key until it is dealt with, and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, tuple_, update

from state.message import Envelope, RawMessage
from state.store import sql
from state.store.schema import inbox, inbox_content


class InboxStatus(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    HELD = "held"  # by a rule: nobody may be answered, somebody should look
    QUARANTINED = "quarantined"  # could not be processed
    DROPPED = "dropped"  # given up by a person


@dataclass(frozen=True, slots=True)
class Incoming:
    """`organisation_id` 0: of none. `source_key` is the same for the same message, whatever way it came again."""

    organisation_id: int
    source_key: str
    raw: RawMessage


@dataclass(frozen=True, slots=True)
class Stored:
    id: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class InboxMessage:
    id: int
    organisation_id: int
    raw: RawMessage
    attempts: int
    status: InboxStatus
    reason: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a message. `reason` says why, where a person may have to look at it."""

    id: int
    disposition: str
    rule: str
    at: datetime
    message_id: str | None
    reason: str | None = None


_STATUS_OF = {"hold": InboxStatus.HELD, "quarantine": InboxStatus.QUARANTINED}


def add_many(tx: Connection, incoming: Sequence[Incoming]) -> list[Stored]:
    """Keep messages, each once. The answer has the order of `incoming`."""
    if not incoming:
        return []
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for entry in incoming:
        rows.setdefault(
            (entry.organisation_id, entry.source_key),
            {
                "organisation_id": entry.organisation_id,
                "source_key": entry.source_key,
                "received_at": entry.raw.received_at,
                "via": entry.raw.via,
                "mail_from": entry.raw.envelope.mail_from,
                "rcpt_to": list(entry.raw.envelope.rcpt_to),
                "status": InboxStatus.WAITING.value,
                "attempts": 0,
            },
        )
    statement = sql.insert_new(tx, inbox).returning(inbox.c.id, inbox.c.organisation_id, inbox.c.source_key)
    new = {(row.organisation_id, row.source_key): row.id for row in tx.execute(statement, list(rows.values()))}
    known: dict[tuple[int, str], int] = {}
    for keys in sql.in_portions([key for key in rows if key not in new]):
        found = select(inbox.c.id, inbox.c.organisation_id, inbox.c.source_key).where(
            tuple_(inbox.c.organisation_id, inbox.c.source_key).in_(keys)
        )
        known.update({(row.organisation_id, row.source_key): row.id for row in tx.execute(found)})
    stored: list[Stored] = []
    contents = []
    for entry in incoming:
        key = (entry.organisation_id, entry.source_key)
        if key in new and key not in known:
            known[key] = new[key]
            contents.append({"inbox_id": new[key], "content": entry.raw.content})
            stored.append(Stored(new[key], duplicate=False))
        else:
            stored.append(Stored(known[key], duplicate=True))
    if contents:
        tx.execute(insert(inbox_content), contents)
    return stored


def lock_waiting(tx: Connection, ids: Sequence[int]) -> list[InboxMessage]:
    """Those of the messages that still wait and that nobody else is at, in the order of their coming."""
    found: list[InboxMessage] = []
    for portion in sql.in_portions(sorted(set(ids))):
        wanted = (
            _with_content()
            .where(inbox.c.id.in_(portion), inbox.c.status == InboxStatus.WAITING.value)
            .order_by(inbox.c.id)
        )
        if sql.is_postgresql(tx):
            wanted = wanted.with_for_update(skip_locked=True, of=inbox)
        found.extend(_message(row) for row in tx.execute(wanted))
    return found


def find_waiting(tx: Connection, now: datetime, limit: int) -> list[int]:
    """Ids of messages whose time has come, oldest first."""
    statement = (
        select(inbox.c.id)
        .where(
            inbox.c.status == InboxStatus.WAITING.value,
            inbox.c.next_attempt_at.is_(None) | (inbox.c.next_attempt_at <= now),
        )
        .order_by(inbox.c.id)
        .limit(limit)
    )
    return list(tx.scalars(statement))


def finish_many(tx: Connection, finished: Sequence[Finished]) -> None:
    if not finished:
        return
    statement = (
        update(inbox)
        .where(inbox.c.id == bindparam("_id"))
        .values(
            status=bindparam("_status"),
            disposition=bindparam("_disposition"),
            rule=bindparam("_rule"),
            reason=bindparam("_reason"),
            processed_at=bindparam("_at"),
            message_id=bindparam("_message_id"),
        )
    )
    tx.execute(
        statement,
        [
            {
                "_id": f.id,
                "_status": _STATUS_OF.get(f.disposition, InboxStatus.DONE).value,
                "_disposition": f.disposition,
                "_rule": f.rule,
                "_reason": f.reason,
                "_at": f.at,
                "_message_id": f.message_id,
            }
            for f in finished
        ],
    )


def retry(tx: Connection, inbox_id: int, reason: str, at: datetime) -> None:
    """Count a failed attempt; the next one is at `at`."""
    tx.execute(
        update(inbox)
        .where(inbox.c.id == inbox_id)
        .values(attempts=inbox.c.attempts + 1, reason=reason, next_attempt_at=at)
    )


def quarantine(tx: Connection, inbox_id: int, reason: str, at: datetime) -> None:
    tx.execute(
        update(inbox)
        .where(inbox.c.id == inbox_id)
        .values(status=InboxStatus.QUARANTINED.value, attempts=inbox.c.attempts + 1, reason=reason, processed_at=at)
    )


def load(tx: Connection, inbox_id: int) -> InboxMessage | None:
    row = tx.execute(_with_content().where(inbox.c.id == inbox_id)).one_or_none()
    return _message(row) if row is not None else None


def load_many(tx: Connection, ids: Sequence[int]) -> dict[int, InboxMessage]:
    found: dict[int, InboxMessage] = {}
    for portion in sql.in_portions(ids):
        for row in tx.execute(_with_content().where(inbox.c.id.in_(portion))):
            found[row.id] = _message(row)
    return found


def list_held(tx: Connection) -> Iterator[InboxMessage]:
    """Messages held back or failed, oldest first; read one by one, since each may be large."""
    held = (InboxStatus.HELD.value, InboxStatus.QUARANTINED.value)
    for inbox_id in tx.scalars(select(inbox.c.id).where(inbox.c.status.in_(held)).order_by(inbox.c.id)).all():
        message = load(tx, inbox_id)
        if message is not None:
            yield message


def replay(tx: Connection, inbox_id: int) -> bool:
    """Let a held message wait to be processed again. False when there is none of this id."""
    done = tx.execute(
        update(inbox)
        .where(inbox.c.id == inbox_id, inbox.c.status.in_(("held", "quarantined")))
        .values(status=InboxStatus.WAITING.value, attempts=0, next_attempt_at=None, reason=None)
    )
    return done.rowcount > 0


def drop(tx: Connection, inbox_id: int, now: datetime) -> bool:
    """Give a held message up. False when there is none of this id."""
    done = tx.execute(
        update(inbox)
        .where(inbox.c.id == inbox_id, inbox.c.status.in_(("held", "quarantined")))
        .values(status=InboxStatus.DROPPED.value, processed_at=now)
    )
    return done.rowcount > 0


def find_seen(tx: Connection, organisation_id: int, message_ids: Sequence[str]) -> set[str]:
    """Which of these Message-IDs have been processed before."""
    seen: set[str] = set()
    for portion in sql.in_portions(dict.fromkeys(message_ids)):
        seen.update(
            tx.scalars(
                select(inbox.c.message_id).where(
                    inbox.c.organisation_id == organisation_id, inbox.c.message_id.in_(portion)
                )
            )
        )
    return seen


def _with_content() -> Select[Any]:
    return select(
        inbox.c.id,
        inbox.c.organisation_id,
        inbox.c.received_at,
        inbox.c.via,
        inbox.c.mail_from,
        inbox.c.rcpt_to,
        inbox.c.attempts,
        inbox.c.status,
        inbox.c.reason,
        inbox.c.rule,
        inbox_content.c.content,
    ).join(inbox_content, inbox_content.c.inbox_id == inbox.c.id)


def _message(row: Row[Any]) -> InboxMessage:
    return InboxMessage(
        id=row.id,
        organisation_id=row.organisation_id,
        raw=RawMessage(Envelope(row.mail_from, tuple(row.rcpt_to)), bytes(row.content), row.received_at, row.via),
        attempts=row.attempts,
        status=InboxStatus(row.status),
        reason=row.reason or row.rule,
    )
