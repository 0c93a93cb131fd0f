"""Writes each mail of the outbox at the moment it leaves, from the state as it is then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailflow import token
from mailflow.compose import compose
from mailflow.transport.outcome import Copy
from state.organisation import Assistant
from state.store.outbox import Outgoing

if TYPE_CHECKING:
    from agent.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Written:
    copy: Copy


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Why the mail may not, or can't, be written. `field`: the variable without a value, "" for another fault of a
    template; None when there is nothing to hold."""

    reason: str
    field: str | None = None


def write(unit: UnitOfWork, row: Outgoing) -> Written | Unwritable:
    """The mail of an outbox row, or why there is none."""
    from agent.follow_up import draft_follow_up
    from agent.notice import draft_notice

    place = unit.context.directory.by_assistant.get(row.assistant_id)
    if place is None:
        return Unwritable("the assistant is gone")
    organisation, assistant = place
    lead = unit.load_lead(row.lead_id) if row.lead_id else None
    if row.kind == "followup":
        if lead is None:
            return Unwritable("the lead is gone")
        found = draft_follow_up(unit, row, organisation, assistant, lead)
    else:
        found = draft_notice(unit, row, organisation, assistant, lead)
    if isinstance(found, Unwritable):
        return found
    draft, rcpt_to = found
    sender = envelope_sender(unit, assistant, row)
    return Written(Copy(sender, rcpt_to, compose(draft), row.message_id, row.kind, lead.address if lead else ""))


def envelope_sender(unit: UnitOfWork, assistant: Assistant, row: Outgoing) -> str:
    """`local+TOKEN@domain`: a delivery report finds back to this row."""
    return token.envelope_sender(unit.context.secret, assistant.address, row.id)
