"""Mail in. `store_messages` is transaction 1: kept for good before anybody is told 250.
`process` is transaction 2: what the messages mean, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from agent.execute import execute
from agent.situate import situate
from agent.unit_of_work import UnitOfWork
from mailflow.correlate import Clues, read_clues
from mailflow.dsn import read_report
from mailflow.identity import content_key
from mailflow.message import DeliveryReport, RawMessage
from mailflow.parse import ParsedMessage, parse
from mailflow.rules import route
from state.store import inbox
from state.store.engine import StoreUnavailable
from state.store.inbox import Finished, InboxMessage, Incoming, Stored

if TYPE_CHECKING:
    from agent.context import Context

log = structlog.get_logger("relance.ingest")

ATTEMPTS = 3  # then a message is quarantined and the next one goes on
FIRST_GAP = timedelta(minutes=1)  # between attempts; each is four times the one before


@dataclass(frozen=True, slots=True)
class Processed:
    """What came of a batch: outbox rows that are due at once, and the messages that failed."""

    outbox_ids: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()


def store_messages(context: Context, raws: list[RawMessage]) -> list[list[Stored]]:
    """Keep messages for good, all in one commit; one list for each, an entry for each organisation it is for.

    Raises StoreUnavailable: then nothing was kept and the senders must try again later.
    """
    incoming: list[Incoming] = []
    owners: list[int] = []
    for position, raw in enumerate(raws):
        key = content_key(raw.content)
        for organisation_id, rcpt_to in _by_organisation(context, raw.envelope.rcpt_to).items():
            envelope = replace(raw.envelope, rcpt_to=rcpt_to)
            incoming.append(Incoming(organisation_id, key, replace(raw, envelope=envelope)))
            owners.append(position)
    with context.store.write() as tx:
        stored = inbox.add_many(tx, incoming)
    answer: list[list[Stored]] = [[] for _ in raws]
    for position, entry in zip(owners, stored, strict=True):
        answer[position].append(entry)
    return answer


def _by_organisation(context: Context, rcpt_to: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """An envelope's recipients, a group for each organisation: each of them deals with the message on its own."""
    groups: dict[int, tuple[str, ...]] = {}
    for address in rcpt_to:
        if found := context.directory.find_by_recipient(address):
            groups[found[0].id] = (*groups.get(found[0].id, ()), address)
    return groups


def process(context: Context, ids: list[int], now: datetime | None = None) -> Processed:
    """Understand and apply stored messages. Whoever holds one of them already is left to it.

    `now` None: each message's own time of receipt counts.
    A message that fails is tried alone, later again, at last quarantined; it never holds up another.
    Raises StoreUnavailable: then nothing was changed.
    """
    try:
        return Processed(tuple(_process_batch(context, ids, now)))
    except StoreUnavailable:
        raise
    except Exception as fault:
        if len(ids) == 1:
            return _failed(context, ids[0], fault, now)
    done = [process(context, [inbox_id], now) for inbox_id in ids]
    return Processed(
        tuple(i for part in done for i in part.outbox_ids),
        tuple(i for part in done for i in part.failed),
    )


def _process_batch(context: Context, ids: list[int], now: datetime | None) -> list[int]:
    with context.store.write() as tx:
        directory = context.refresh(tx)
        messages = inbox.lock_waiting(tx, ids)
        if not messages:
            return []
        unit = UnitOfWork(context, tx, now or messages[0].raw.received_at)
        finished: list[Finished] = []
        for message, parsed, report, clues in _read_all(context, unit, messages):
            organisation = directory.by_id.get(message.organisation_id or 0)
            if organisation is None:
                finished.append(Finished(message.id, "hold", "no-organisation", unit.now, parsed.message_id))
                continue
            situation = situate(unit, message.raw, parsed, report, clues, organisation)
            decision = route(context.rules, situation)
            execute(unit, situation, decision, message.id)
            finished.append(Finished(message.id, decision.disposition, decision.rule, unit.now, parsed.message_id))
            log.info(
                "routed",
                rule=decision.rule,
                disposition=decision.disposition,
                inbox=message.id,
                lead=situation.lead.id if situation.lead else None,
            )
        inbox.finish_many(tx, finished)
        return unit.flush()


def _read_all(
    context: Context, unit: UnitOfWork, messages: list[InboxMessage]
) -> Iterator[tuple[InboxMessage, ParsedMessage, DeliveryReport | None, Clues]]:
    """Parse a batch and load the leads that it may be about, in a query or two for each organisation."""
    read = []
    addresses: dict[int, dict[str, None]] = {}
    message_ids: dict[int, dict[str, None]] = {}
    for message in messages:
        parsed = parse(message.raw.content)
        report = read_report(parsed, message.raw.envelope.mail_from)
        clues = read_clues(parsed, message.raw.envelope, report, context.secret)
        read.append((message, parsed, report, clues))
        if message.organisation_id is not None:
            addresses.setdefault(message.organisation_id, {}).update(dict.fromkeys(clues.addresses))
            message_ids.setdefault(message.organisation_id, {}).update(dict.fromkeys(clues.message_ids))
    for organisation_id, wanted in addresses.items():
        unit.prefetch(organisation_id, wanted, message_ids[organisation_id])
    yield from read


def _failed(context: Context, inbox_id: int, fault: Exception, now: datetime | None) -> Processed:
    """One message could not be processed: again later, and after a few tries no more."""
    reason = f"{type(fault).__name__}: {fault}"[:500]
    with context.store.write() as tx:
        message = inbox.load(tx, inbox_id)
        if message is None:
            return Processed()
        at = now or message.raw.received_at
        if message.attempts + 1 >= ATTEMPTS:
            inbox.quarantine(tx, inbox_id, reason, at)
            log.error("quarantined", inbox=inbox_id, reason=reason, exc_info=fault)
        else:
            inbox.retry(tx, inbox_id, reason, at + FIRST_GAP * 4**message.attempts)
            log.warning("will be tried again", inbox=inbox_id, reason=reason)
    return Processed(failed=(inbox_id,))
