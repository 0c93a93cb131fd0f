"""The outbox: every mail that must leave, each under a key of its own, with what became of it.

A row is claimed by a worker (`claimed`), booked before anything is dialled (`sending`), and then `sent`,
`waiting` again or `failed`. A worker that dies leaves its claimed rows waiting and its booked ones `uncertain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, or_, select, update

from state.store import sql
from state.store.schema import outbox


class Status(StrEnum):
    WAITING = "waiting"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    key: str  # unique for ever: what makes a replay harmless
    organisation_id: int
    assistant_id: int
    kind: str  # followup | ack | answer | notice | …: X-Capture-Kind
    copy: str  # lead | others | user
    message_id: str
    rcpt_to: tuple[str, ...]  # a follow-up's are decided when it is written
    created_at: datetime
    not_before: datetime
    lead_id: int | None = None
    enrolment: int | None = None
    step: int | None = None
    inbox_id: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    after_key: str | None = None  # leaves only once the row with this key is sent
    id: int = 0
    status: Status = Status.WAITING
    attempts: int = 0
    worker: str | None = None
    booked_at: datetime | None = None
    sent_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row. `not_before` is for rows that wait again."""

    id: int
    status: Status
    at: datetime
    error: str | None = None
    not_before: datetime | None = None


def enqueue_many(tx: Connection, outgoing: Sequence[Outgoing]) -> list[Outgoing]:
    """Add rows; those whose key is there already are left out, of the answer too.

    A follow-up that was cancelled was never dialled, and one that failed was refused: enqueued again, it waits again.
    """
    if not outgoing:
        return []
    rows = {
        o.key: {
            "key": o.key,
            "after_key": o.after_key,
            "organisation_id": o.organisation_id,
            "assistant_id": o.assistant_id,
            "lead_id": o.lead_id,
            "kind": o.kind,
            "copy": o.copy,
            "enrolment": o.enrolment,
            "step": o.step,
            "message_id": o.message_id,
            "rcpt_to": list(o.rcpt_to),
            "inbox_id": o.inbox_id,
            "fields": dict(o.fields),
            "status": Status.WAITING.value,
            "attempts": 0,
            "not_before": o.not_before,
            "created_at": o.created_at,
        }
        for o in outgoing
    }
    new = sql.insert(tx, outbox)
    statement = new.on_conflict_do_update(
        index_elements=[outbox.c.key],
        set_={"status": Status.WAITING.value, "not_before": new.excluded.not_before, "error": None},
        where=or_(outbox.c.status == Status.CANCELLED.value, outbox.c.status == Status.FAILED.value)
        & (outbox.c.kind == "followup"),
    ).returning(outbox)
    return sorted((_outgoing(row) for row in tx.execute(statement, list(rows.values()))), key=lambda o: o.id)


def claim(tx: Connection, now: datetime, worker: str, limit: int, ids: Sequence[int] | None = None) -> list[Outgoing]:
    """Take rows whose time has come and whose predecessor is sent; nobody else gets them then."""
    first = outbox.alias("first")
    statement = (
        select(outbox.c.id)
        .where(
            outbox.c.status == Status.WAITING.value,
            outbox.c.not_before <= now,
            or_(
                outbox.c.after_key.is_(None),
                exists().where(first.c.key == outbox.c.after_key, first.c.status == Status.SENT.value),
            ),
        )
        .order_by(outbox.c.id if ids is not None else outbox.c.not_before, outbox.c.id)
        .limit(limit)
    )
    if ids is not None:
        statement = statement.where(outbox.c.id.in_(ids))
    if sql.is_postgresql(tx):
        statement = statement.with_for_update(skip_locked=True, of=outbox)
    claimed = list(tx.scalars(statement))
    if not claimed:
        return []
    rows = tx.execute(
        update(outbox)
        .where(outbox.c.id.in_(claimed))
        .values(status=Status.CLAIMED.value, worker=worker)
        .returning(outbox)
    )
    return sorted((_outgoing(row) for row in rows), key=lambda o: o.id)


_BOOK = (
    update(outbox)
    .where(outbox.c.id == bindparam("_id"))
    .values(
        status=Status.SENDING.value,
        rcpt_to=bindparam("_rcpt_to"),
        booked_at=bindparam("_at"),
        attempts=outbox.c.attempts + 1,
    )
)


def book_many(tx: Connection, recipients: Mapping[int, Sequence[str]], now: datetime) -> None:
    """Note, before anything is dialled, that these rows are being sent, and to whom."""
    if recipients:
        tx.execute(_BOOK, [{"_id": i, "_rcpt_to": list(to), "_at": now} for i, to in recipients.items()])


_RECORD = (
    update(outbox)
    .where(outbox.c.id == bindparam("_id"))
    .values(
        status=bindparam("_status"),
        error=bindparam("_error"),
        sent_at=bindparam("_sent_at"),
        not_before=bindparam("_not_before"),
        worker=None,
    )
)
_RECORD_FINAL = (
    update(outbox)
    .where(outbox.c.id == bindparam("_id"))
    .values(status=bindparam("_status"), error=bindparam("_error"), sent_at=bindparam("_sent_at"), worker=None)
)


def record_many(tx: Connection, results: Sequence[Result]) -> None:
    """Note what became of attempts. What waits for a row that will never be sent is cancelled with it."""
    waiting, final = [], []
    for r in results:
        values = {"_id": r.id, "_status": r.status.value, "_error": r.error}
        values["_sent_at"] = r.at if r.status is Status.SENT else None  # type: ignore[assignment]
        if r.not_before is not None:
            waiting.append({**values, "_not_before": r.not_before})
        else:
            final.append(values)
    if waiting:
        tx.execute(_RECORD, waiting)
    if final:
        tx.execute(_RECORD_FINAL, final)
    lost = [r.id for r in results if r.status in (Status.FAILED, Status.CANCELLED)]
    for portion in sql.in_portions(lost):
        first = outbox.alias("first")
        keys = select(first.c.key).where(first.c.id.in_(portion))
        tx.execute(
            update(outbox)
            .where(outbox.c.after_key.in_(keys), outbox.c.status == Status.WAITING.value)
            .values(status=Status.CANCELLED.value, error="the lead's copy did not leave")
        )


def cancel_unsent(tx: Connection, lead_id: int) -> None:
    """No follow-up of this lead that has not been booked may leave any more."""
    tx.execute(
        update(outbox)
        .where(
            outbox.c.lead_id == lead_id,
            outbox.c.kind == "followup",
            outbox.c.copy == "lead",
            outbox.c.status.in_((Status.WAITING.value, Status.CLAIMED.value)),
        )
        .values(status=Status.CANCELLED.value, error="stopped", worker=None)
    )
    first = outbox.alias("first")
    cancelled = select(first.c.key).where(first.c.lead_id == lead_id, first.c.status == Status.CANCELLED.value)
    tx.execute(
        update(outbox)
        .where(
            outbox.c.lead_id == lead_id,
            outbox.c.status == Status.WAITING.value,
            outbox.c.after_key.in_(cancelled),
        )
        .values(status=Status.CANCELLED.value, error="stopped")
    )


def release_dead(tx: Connection, alive: Iterable[str]) -> list[Outgoing]:
    """Take up what dead workers held: claimed rows wait again, booked ones are uncertain and returned."""
    living = list(alive)
    is_dead = outbox.c.worker.not_in(living)
    tx.execute(
        update(outbox)
        .where(outbox.c.status == Status.CLAIMED.value, is_dead)
        .values(status=Status.WAITING.value, worker=None)
    )
    rows = tx.execute(
        update(outbox)
        .where(outbox.c.status == Status.SENDING.value, is_dead)
        .values(status=Status.UNCERTAIN.value, worker=None)
        .returning(outbox)
    )
    return sorted((_outgoing(row) for row in rows), key=lambda o: o.id)


def find_uncertain(tx: Connection) -> list[Outgoing]:
    statement = select(outbox).where(outbox.c.status == Status.UNCERTAIN.value).order_by(outbox.c.id)
    return [_outgoing(row) for row in tx.execute(statement)]


def find_waiting(tx: Connection, now: datetime, limit: int) -> list[int]:
    """Ids of rows whose time has come."""
    statement = (
        select(outbox.c.id)
        .where(outbox.c.status == Status.WAITING.value, outbox.c.not_before <= now)
        .order_by(outbox.c.not_before, outbox.c.id)
        .limit(limit)
    )
    return list(tx.scalars(statement))


def find_by_message_ids(tx: Connection, message_ids: Iterable[str]) -> dict[str, Outgoing]:
    """Our own mails by Message-ID."""
    found: dict[str, Outgoing] = {}
    for portion in sql.in_portions(message_ids):
        for row in tx.execute(select(outbox).where(outbox.c.message_id.in_(portion)).order_by(outbox.c.id.desc())):
            found[row.message_id] = _outgoing(row)
    return found


def load(tx: Connection, outbox_id: int) -> Outgoing | None:
    row = tx.execute(select(outbox).where(outbox.c.id == outbox_id)).one_or_none()
    return _outgoing(row) if row is not None else None


def _outgoing(row: Row[Any]) -> Outgoing:
    return Outgoing(
        key=row.key,
        organisation_id=row.organisation_id,
        assistant_id=row.assistant_id,
        kind=row.kind,
        copy=row.copy,
        message_id=row.message_id,
        rcpt_to=tuple(row.rcpt_to),
        created_at=row.created_at,
        not_before=row.not_before,
        lead_id=row.lead_id,
        enrolment=row.enrolment,
        step=row.step,
        inbox_id=row.inbox_id,
        fields=row.fields,
        after_key=row.after_key,
        id=row.id,
        status=Status(row.status),
        attempts=row.attempts,
        worker=row.worker,
        booked_at=row.booked_at,
        sent_at=row.sent_at,
        error=row.error,
    )
