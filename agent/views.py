"""The JSON that the contract shows of leads, held messages and passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from state.lead import Engagement, Lead, shown_state
from state.organisation import Organisation
from state.policy import Sequence
from state.store.inbox import InboxMessage
from state.store.journal import Entry

if TYPE_CHECKING:
    from agent.dispatch import Report


def iso(at: datetime | None) -> str | None:
    """ISO 8601 with offset, to the second where nothing is lost."""
    return at.isoformat() if at else None


def lead_view(lead: Lead, organisation: Organisation, sequences: Mapping[str, Sequence]) -> dict[str, Any]:
    """One lead without its history."""
    state, sub_state = shown_state(lead)
    owner = organisation.find_user_by_id(lead.owner_id)
    assistant = organisation.find_assistant_by_id(lead.assistant_id)
    enrolment = lead.enrolment
    sequence = sequences.get(enrolment.sequence) if enrolment else None
    return {
        "address": lead.address,
        "first": lead.first,
        "last": lead.last,
        "name_source": lead.name_source.value,
        "company": lead.company,
        "owner": owner.address if owner else None,
        "assistant": assistant.address if assistant else None,
        "state": state.value,
        "sub_state": sub_state.value,
        "at_risk": lead.at_risk,
        "source": lead.source.value,
        "sequence": enrolment.sequence if enrolment else None,
        "step": enrolment.step if enrolment else 0,
        "steps": len(sequence.steps) if sequence else 0,
        "next_at": iso(enrolment.next_at) if enrolment else None,
        "held": enrolment.held if enrolment else None,
        "conversation": list(lead.conversation),
        "copied": [box.address for box in lead.copied],
        "tags": list(lead.tags),
        "opens": _engagement(lead.opens),
        "clicks": _engagement(lead.clicks),
    }


def _engagement(engagement: Engagement) -> dict[str, int]:
    return {"human": engagement.human, "machine": engagement.machine, "unknown": engagement.unknown}


def history_view(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "at": iso(entry.at),
            "event": entry.event,
            "from_state": entry.from_state,
            "to_state": entry.to_state,
            "by": entry.by,
            "cause": entry.cause,
            "evidence": list(entry.evidence),
        }
        for entry in entries
    ]


def report_view(now: datetime, report: Report) -> dict[str, Any]:
    """What `relance tick` prints."""
    return {
        "now": iso(now),
        "sent": [{"lead": s.lead, "step": s.step, "message_id": s.message_id} for s in report.sent],
        "reminders": report.reminders,
        "activated": report.activated,
        "retried": report.retried,
        "failed": report.failed,
    }


def held_view(message: InboxMessage, subject: str) -> dict[str, Any]:
    """A message held back or failed, a line of `relance quarantine list`."""
    return {
        "id": message.id,
        "at": iso(message.raw.received_at),
        "mail_from": message.raw.envelope.mail_from,
        "subject": subject,
        "reason": message.reason,
    }
