"""Mail out. `tick` finds all that time makes due; `deliver` makes one attempt at each mail.

The database is the truth: what a worker held when it died is found here again. A follow-up is
sent at most once: its attempt is booked and committed before anything is dialled, and an attempt
of unknown fate is settled against Sent, else by a person, never by sending again blindly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.unit_of_work import UnitOfWork
from agent.writing import Unwritable, Written, write
from mailflow.transport.outcome import Accepted, Copy, Outcome, Rejected, Uncertain, Unsent
from state.events import Permanence, StepDue, StepFailed, StepHeld, StepSent
from state.store import inbox, leads, outbox
from state.store.outbox import Outgoing, Result, Status

if TYPE_CHECKING:
    from agent.context import Context

log = structlog.get_logger("relance.dispatch")

BATCH = 100  # due leads claimed in one transaction
BOOKED_AT_ONCE = 50  # attempts booked in one commit: so many at most can be uncertain after a crash
FIRST_GAP = timedelta(minutes=5)  # before a mail is tried again; each gap is twice the one before
LONGEST_GAP = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(days=5)  # RFC 5321 §4.5.4.1


@dataclass(slots=True)
class Sent:
    lead: str
    step: int
    message_id: str


@dataclass(slots=True)
class Report:
    """What one pass did; `relance tick` prints it."""

    sent: list[Sent] = field(default_factory=list)
    reminders: list[str] = field(default_factory=list)
    activated: list[str] = field(default_factory=list)
    retried: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)


def tick(context: Context, now: datetime) -> Report:
    """One pass of everything that time makes due."""
    from agent.ingest import process

    report = Report()
    settle(context, now, report)
    with context.store.read() as tx:
        waiting = inbox.find_waiting(tx, now, limit=100_000)
    for start in range(0, len(waiting), BATCH):
        ids = waiting[start : start + BATCH]
        report.retried += len(ids)
        process(context, ids, now)
    # Each lead leaves the due ones when it is claimed and gets its next date only once sent: one step a pass.
    while claim_due_steps(context, now):
        pass
    deliver_waiting(context, now, report)
    return report


def claim_due_steps(context: Context, now: datetime, limit: int = BATCH) -> int:
    """Turn due leads into outbox rows, in one transaction. Returns how many were due."""
    with context.store.write() as tx:
        context.refresh(tx)
        due = leads.claim_due(tx, now, limit)
        unit = UnitOfWork(context, tx, now)
        unit.remember(due)
        for lead in due:
            unit.apply(lead, StepDue(at=now, by="tick"))
        unit.flush()
    return len(due)


def settle(context: Context, now: datetime, report: Report | None = None) -> None:
    """Take up what dead workers left: unbooked rows wait again, booked ones are looked up in Sent."""
    alive = context.presence.alive() | {context.worker}
    with context.store.write() as tx:
        context.refresh(tx)
        uncertain = outbox.release_dead(tx, alive)
        uncertain += [row for row in outbox.find_uncertain(tx) if row.id not in {u.id for u in uncertain}]
    for row in uncertain:
        _settle_one(context, row, now)


def _settle_one(context: Context, row: Outgoing, now: datetime) -> None:
    found = context.directory.by_assistant.get(row.assistant_id)
    was_sent = context.transport_of(found[1]).find_sent(row.message_id, row.rcpt_to) if found else None
    if was_sent is None and row.kind != "followup":
        was_sent = False  # a notice twice is better than an answer that its owner never saw
    with context.store.write() as tx:
        unit = UnitOfWork(context, tx, now)
        current = outbox.load(tx, row.id)
        if current is None or current.status is not Status.UNCERTAIN:
            return
        if was_sent is None:
            if row.error != "asked":
                _ask_owner(unit, row)
                outbox.record_many(tx, [Result(row.id, Status.UNCERTAIN, now, "asked")])
        elif was_sent:
            _record(unit, [(row, Accepted("found in Sent"))], row.booked_at or now)
        else:
            outbox.record_many(tx, [Result(row.id, Status.WAITING, now, "not found in Sent", now)])
        unit.flush()
    log.info("settled", outbox=row.id, was_sent=was_sent)


def _ask_owner(unit: UnitOfWork, row: Outgoing) -> None:
    lead = unit.load_lead(row.lead_id) if row.lead_id else None
    if lead is not None and row.copy == "lead" and row.enrolment is not None and row.step is not None:
        unit.apply(
            lead,
            StepHeld(at=unit.now, by="tick", enrolment=row.enrolment, step=row.step, reason="uncertain"),
        )


def deliver_waiting(context: Context, now: datetime, report: Report | None = None) -> Report:
    """Deliver all that waits, batch by batch, until nothing is left for this moment."""
    report = report if report is not None else Report()
    while deliver(context, now, report=report):
        pass
    return report


def deliver_these(context: Context, ids: list[int], now: datetime) -> None:
    """Deliver these rows, as far as they are due now; what is left of them waits for `tick`."""
    while ids and deliver(context, now, ids):
        pass


def deliver(context: Context, now: datetime, ids: list[int] | None = None, report: Report | None = None) -> int:
    """Claim a batch of waiting mails and make one attempt at each. Returns how many were claimed."""
    report = report if report is not None else Report()
    with context.store.write() as tx:
        context.refresh(tx)
        claimed = outbox.claim(tx, now, context.worker, BOOKED_AT_ONCE, ids)
    if not claimed:
        return 0
    copies, dropped = _write_and_book(context, claimed, now)
    outcomes = _transmit(context, copies)
    with context.store.write() as tx:
        unit = UnitOfWork(context, tx, now)
        _record(unit, outcomes, now, report)
        unit.flush()
    log.info("delivered", claimed=len(claimed), dropped=dropped, attempted=len(outcomes))
    return len(claimed)


def _write_and_book(
    context: Context, claimed: list[Outgoing], now: datetime
) -> tuple[list[tuple[Outgoing, Copy]], int]:
    """Write each mail from the present state, drop what may not leave any more, and book the attempts.

    State, suppression and fields are checked in the transaction that books, so nothing that happened
    before it can be overlooked; the commit stands before the first byte is sent.
    """
    copies: list[tuple[Outgoing, Copy]] = []
    with context.store.write() as tx:
        unit = UnitOfWork(context, tx, now)
        unit.remember(leads.load_many(tx, sorted({row.lead_id for row in claimed if row.lead_id})).values())
        _prefetch(unit, claimed)
        results: list[Result] = []
        for row in claimed:
            match write(unit, row):
                case Written(copy):
                    copies.append((row, copy))
                case Unwritable(reason, field_name):
                    results.append(Result(row.id, Status.CANCELLED, now, reason))
                    if field_name is not None:
                        _hold(unit, row, reason, field_name)
        if results:
            outbox.record_many(tx, results)
        outbox.book_many(tx, {row.id: copy.rcpt_to for row, copy in copies}, now)
        unit.flush()
    return copies, len(claimed) - len(copies)


def _prefetch(unit: UnitOfWork, rows: list[Outgoing]) -> None:
    """Load at once what writing these mails will ask for one by one."""
    quoted = [row.inbox_id for row in rows if row.inbox_id is not None]
    addresses: dict[int, list[str]] = {}
    for row in rows:
        lead = unit.load_lead(row.lead_id) if row.lead_id and row.kind == "followup" else None
        if lead is not None:
            addresses.setdefault(row.organisation_id, []).extend([lead.address, *(box.address for box in lead.copied)])
            if lead.first_mail_id is not None:
                quoted.append(lead.first_mail_id)
    unit.prefetch_messages(quoted)
    for organisation_id, wanted in addresses.items():
        unit.find_suppressed(organisation_id, wanted)


def _hold(unit: UnitOfWork, row: Outgoing, reason: str, field_name: str) -> None:
    lead = unit.load_lead(row.lead_id) if row.lead_id else None
    if lead is not None and row.copy == "lead" and row.enrolment is not None and row.step is not None:
        unit.apply(
            lead,
            StepHeld(
                at=unit.now, by="tick", enrolment=row.enrolment, step=row.step, reason=reason,
                evidence=(f"field: {field_name}",) if field_name else (),
            ),
        )  # fmt: skip


def _transmit(context: Context, copies: list[tuple[Outgoing, Copy]]) -> list[tuple[Outgoing, Outcome]]:
    """Hand the copies to each assistant's transport, many at once where it can."""
    by_assistant: dict[int, list[tuple[Outgoing, Copy]]] = {}
    for row, copy in copies:
        by_assistant.setdefault(row.assistant_id, []).append((row, copy))
    outcomes: list[tuple[Outgoing, Outcome]] = []
    for assistant_id, group in by_assistant.items():
        transport = context.transport_of(context.directory.by_assistant[assistant_id][1])
        results = transport.send_many([copy for _, copy in group])
        outcomes.extend((row, outcome) for (row, _), outcome in zip(group, results, strict=True))
    return outcomes


def _record(
    unit: UnitOfWork, outcomes: list[tuple[Outgoing, Outcome]], at: datetime, report: Report | None = None
) -> None:
    """Book what became of the attempts, and let the leads know."""
    results: list[Result] = []
    unit.remember(leads.load_many(unit.tx, sorted({row.lead_id for row, _ in outcomes if row.lead_id})).values())
    for row, outcome in outcomes:
        match outcome:
            case Accepted():
                results.append(Result(row.id, Status.SENT, at, None))
                _step_sent(unit, row, at, report)
            case Uncertain(reason):
                results.append(Result(row.id, Status.UNCERTAIN, at, reason))
            case Unsent(reason):
                results.append(_again_or_fail(unit, row, at, reason, report))
            case Rejected("transient", reason):
                results.append(_again_or_fail(unit, row, at, reason, report))
            case Rejected(_, reason, about_recipient):
                results.append(Result(row.id, Status.FAILED, at, reason))
                _refused(unit, row, at, reason, about_recipient, report)
            case _:
                assert_never(outcome)
    outbox.record_many(unit.tx, results)


def _again_or_fail(unit: UnitOfWork, row: Outgoing, at: datetime, reason: str, report: Report | None) -> Result:
    log.warning("not sent", outbox=row.id, reason=reason[:200], attempt=row.attempts + 1)
    if at - row.created_at >= GIVE_UP_AFTER:
        _step_failed(unit, row, at, Permanence.TRANSIENT, reason, report)
        return Result(row.id, Status.FAILED, at, reason)
    gap = min(FIRST_GAP * 2 ** min(row.attempts, 10), LONGEST_GAP)
    return Result(row.id, Status.WAITING, at, reason, at + gap)


def _step_sent(unit: UnitOfWork, row: Outgoing, at: datetime, report: Report | None) -> None:
    lead = unit.load_lead(row.lead_id) if row.lead_id else None
    if lead is None or row.kind != "followup" or row.copy != "lead" or row.enrolment is None or row.step is None:
        return
    event = StepSent(
        at=at, by="tick", cause=row.message_id, enrolment=row.enrolment, step=row.step, message_id=row.message_id
    )
    unit.apply(lead, event)
    if report is not None:
        report.sent.append(Sent(lead.address, row.step, row.message_id))


def _refused(
    unit: UnitOfWork, row: Outgoing, at: datetime, reason: str, about_recipient: bool, report: Report | None
) -> None:
    """The server will not take this mail. A wrong address ends the lead; anything else waits for a person."""
    log.warning("refused", outbox=row.id, reason=reason[:200])
    if about_recipient:
        _step_failed(unit, row, at, Permanence.PERMANENT, reason, report)
        return
    _hold(unit, row, f"the mail server refused it: {reason[:200]}", "")
    if report is not None:
        report.failed.append({"lead": "", "kind": row.kind, "reason": reason[:500]})


def _step_failed(
    unit: UnitOfWork, row: Outgoing, at: datetime, permanence: Permanence, reason: str, report: Report | None
) -> None:
    lead = unit.load_lead(row.lead_id) if row.lead_id else None
    if report is not None:
        report.failed.append({"lead": lead.address if lead else "", "kind": row.kind, "reason": reason[:500]})
    if lead is None or row.kind != "followup" or row.copy != "lead" or row.enrolment is None or row.step is None:
        return
    unit.apply(
        lead,
        StepFailed(
            at=at, by="tick", enrolment=row.enrolment, step=row.step, permanence=permanence, reason=reason[:500]
        ),
    )
