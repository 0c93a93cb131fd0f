"""Carries out what the rules decided: each action becomes events on leads, or mails to users."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from agent.intake import add_copied, refuse_unassigned
from agent.unit_of_work import UnitOfWork
from mailflow.message import AutoResponse, Kind, RecipientReport
from mailflow.rules import Action, Decision
from mailflow.situation import Situation
from state.events import (
    AutoReplied,
    Bounced,
    CopiedBounced,
    OptedOut,
    OwnerChanged,
    OwnerReplied,
    Permanence,
    Replied,
    SequenceChanged,
    StateSet,
    Stopped,
    Tagged,
)
from state.lead import Lead, SubState


def execute(unit: UnitOfWork, situation: Situation, decision: Decision, inbox_id: int) -> None:
    """Carry out all actions of a decision in their order, within the unit's transaction."""
    for action in decision.actions:
        perform = ACTIONS.get(action.name)
        if perform is not None:
            perform(_Task(unit, situation, inbox_id, action, f"rule:{action.rule or decision.rule}"))


class _Task:
    """One action on one message; `event` holds what every event of it says alike."""

    def __init__(self, unit: UnitOfWork, situation: Situation, inbox_id: int, action: Action, by: str) -> None:
        self.unit = unit
        self.situation = situation
        self.inbox_id = inbox_id
        self.argument: Any = action.argument
        self.by = by

    @property
    def lead(self) -> Lead | None:
        lead = self.situation.lead
        return self.unit.by_id.get(lead.id) if lead else None

    @property
    def message_id(self) -> str:
        parsed = self.situation.parsed
        return parsed.message_id or f"<{parsed.content_key[:32]}@no-message-id.invalid>"

    @property
    def at(self) -> datetime:
        return self.situation.received_at

    def said(self, *evidence: str) -> dict[str, Any]:
        return {"at": self.at, "by": self.by, "cause": self.message_id, "evidence": evidence}


def _record_reply(task: _Task) -> None:
    if (lead := task.lead) is None or (author := task.situation.parsed.author) is None:
        return
    intent = task.situation.intent
    task.unit.apply(
        lead,
        Replied(
            **task.said(f"from: {author.address}", *(intent.evidence if intent else ())),
            message_id=task.message_id,
            author=author,
            intent=intent.intent if intent else "other",
            confidence=intent.confidence if intent else 0.0,
            inbox_id=task.inbox_id,
            contact_date=intent.contact_date if intent else None,
        ),
    )


def _record_auto_response(task: _Task) -> None:
    if (lead := task.lead) is None:
        return
    automation = task.situation.automation
    task.unit.apply(
        lead,
        AutoReplied(
            **task.said(*automation.evidence),
            kind=(automation.auto_response or AutoResponse.OTHER).value,
            return_date=automation.return_date,
            message_id=task.message_id,
        ),
    )


def _record_bounce(task: _Task) -> None:
    """Each recipient that the report names: the lead itself, or somebody copied."""
    lead, report = task.lead, task.situation.report
    if lead is None or report is None:
        return
    for recipient in report.recipients:
        address = recipient.recipient.lower()
        current = task.unit.by_id[lead.id]
        if address == current.address or (not address and len(report.recipients) == 1):
            task.unit.apply(current, _bounced(task, recipient))
        elif any(box.address == address for box in current.copied) and recipient.action == "failed":
            task.unit.apply(
                current,
                CopiedBounced(
                    **task.said(f"{address}: {recipient.status or recipient.reason}"),
                    address=address,
                    permanence=Permanence(recipient.permanence),
                ),
            )
        elif (other := task.unit.find_lead(current.organisation_id, address)) is not None:
            task.unit.apply(other, _bounced(task, recipient))


def _bounced(task: _Task, recipient: RecipientReport) -> Bounced:
    return Bounced(
        **task.said(
            f"action: {recipient.action}",
            f"status: {recipient.status or 'none'}",
            *((f"diagnostic: {recipient.diagnostic[:200]}",) if recipient.diagnostic else ()),
        ),
        action=recipient.action,
        permanence=Permanence(recipient.permanence),
        status=recipient.status,
        reason=recipient.reason,
    )


def _record_calendar(task: _Task) -> None:
    """RFC 5546: an accepted invitation is an agreement to meet; any other answer to it is still an answer."""
    lead, calendar = task.lead, task.situation.calendar
    if lead is None or calendar is None or (author := task.situation.parsed.author) is None:
        return
    agreed = calendar.status == "accepted"
    task.unit.apply(
        lead,
        Replied(
            **task.said(f"calendar: {calendar.status}"),
            message_id=task.message_id,
            author=author,
            intent="agreed_to_meet" if agreed else "other",
            confidence=1.0,
            inbox_id=task.inbox_id,
        ),
    )


def _opted_out(via: SubState) -> Callable[[_Task], None]:
    def perform(task: _Task) -> None:
        if lead := task.lead:
            task.unit.apply(lead, OptedOut(**task.said(f"by {via.value.lower()}"), via=via))

    return perform


def _record_owner_reply(task: _Task) -> None:
    if lead := task.lead:
        task.unit.apply(lead, OwnerReplied(**task.said(), message_id=task.message_id))


def _forward_to_owner(task: _Task) -> None:
    if (lead := task.lead) is None:
        return
    organisation, assistant = task.unit.context.place_of(lead)
    automatic = task.situation.automation.kind is not Kind.HUMAN
    task.unit.notify_owner(
        organisation, assistant, lead, "answer", "answer", f"answer:{lead.id}:{task.inbox_id}",
        {"taken_for": "automatic" if automatic else "other_person", "done": "nothing"}, inbox_id=task.inbox_id,
    )  # fmt: skip


def _notify_address(task: _Task) -> None:
    """{notify: ADDRESS}: pass the message on to somebody whom the rule names."""
    assistant = task.situation.assistant
    organisation = task.situation.organisation
    if assistant is None or organisation is None:
        return
    user = organisation.find_user(str(task.argument))
    if user is not None:
        task.unit.notify(
            assistant, user, "answer", "answer", f"notify:{task.inbox_id}:{user.id}",
            {"taken_for": "rule", "done": "nothing", "rule": task.by.removeprefix("rule:")},
            lead=task.lead, inbox_id=task.inbox_id,
        )  # fmt: skip


def _on_lead(make: Callable[[_Task], Any]) -> Callable[[_Task], None]:
    def perform(task: _Task) -> None:
        if (lead := task.lead) is not None and (event := make(task)) is not None:
            task.unit.apply(lead, event)

    return perform


def _owner_changed(task: _Task) -> OwnerChanged | None:
    organisation = task.situation.organisation
    user = organisation.find_user(str(task.argument)) if organisation else None
    return OwnerChanged(**task.said(), owner_id=user.id) if user else None


ACTIONS: dict[str, Callable[[_Task], None]] = {
    "add_copied": lambda task: add_copied(task.unit, task.situation, task.inbox_id, task.by.removeprefix("rule:")),
    "refuse_unassigned": lambda task: refuse_unassigned(task.unit, task.situation, task.inbox_id),
    "record_reply": _record_reply,
    "record_auto_response": _record_auto_response,
    "record_bounce": _record_bounce,
    "record_complaint": _opted_out(SubState.COMPLAINT),
    "record_calendar": _record_calendar,
    "record_owner_reply": _record_owner_reply,
    "unsubscribe": _opted_out(SubState.HEADER),
    "forward_to_owner": _forward_to_owner,
    "notify": _notify_address,
    "tag": _on_lead(lambda task: Tagged(**task.said(), tag=str(task.argument))),
    "untag": _on_lead(lambda task: Tagged(**task.said(), tag=str(task.argument), removed=True)),
    "set_state": _on_lead(lambda task: StateSet(**task.said(), state=str(task.argument))),
    "set_sequence": _on_lead(lambda task: SequenceChanged(**task.said(), sequence=str(task.argument))),
    "set_owner": _on_lead(_owner_changed),
    "stop_follow_ups": _on_lead(lambda task: Stopped(**task.said())),
}
