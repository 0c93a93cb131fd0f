"""How a lead changes: `advance(lead, event, policy) -> (lead, effects)`. The only code that changes one.

Pure and without a clock: time is the event's own. The same event twice is the event once, wherever it
names a message or a step; an answer ends every due date but one that it set itself; nothing leaves
Unsubscribed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from state import answers, following
from state.effects import AnyEffect, CancelUnsent, NotifyOwner, Suppress
from state.events import (
    AnyEvent,
    AutoReplied,
    Bounced,
    CopiedBounced,
    CopiedIn,
    Event,
    OptedOut,
    OwnerChanged,
    OwnerReplied,
    Permanence,
    Renamed,
    Replied,
    RiskCleared,
    SequenceChanged,
    StateSet,
    StepDue,
    StepFailed,
    StepHeld,
    StepSent,
    Stopped,
    Tagged,
)
from state.following import Advance, Policy, join_thread, stop
from state.lead import NEVER_RESTARTED, Lead, LeadState, SubState

__all__ = [
    "Advance",
    "Policy",
    "advance",
    "event_name",
    "is_recorded",
    "why_not_restartable",
]

# What a rule or a user may call a state by, and what it then is.
NAMED_STATES: Mapping[str, tuple[LeadState, SubState]] = {
    "hot": (LeadState.HOT, SubState.INTERESTED_TO_PROCEED),
    "cold": (LeadState.COLD, SubState.FOLLOWUP),
    "responded": (LeadState.RESPONDED, SubState.OTHER),
    "moved out": (LeadState.DEACTIVATED, SubState.MOVED_OUT),
    "movedout": (LeadState.DEACTIVATED, SubState.MOVED_OUT),
    "warm": (LeadState.WARM, SubState.FOLLOWUP),
    "engaged": (LeadState.ENGAGED, SubState.FOLLOWUP),
    "processed": (LeadState.PROCESSED, SubState.NO_ANSWER),
    "deactivated": (LeadState.DEACTIVATED, SubState.MANUAL),
    "unsubscribed": (LeadState.UNSUBSCRIBED, SubState.MANUAL),
}
UNDER_WAY = frozenset({LeadState.PENDING, LeadState.COLD, LeadState.ENGAGED, LeadState.WARM})


def event_name(event: Event) -> str:
    """The event's name in a lead's history."""
    return type(event).__name__


def is_recorded(event: AnyEvent, before: Lead, after: Lead) -> bool:
    """Whether an event belongs into the history: always, but for a pass or a replay that changed nothing."""
    match event:
        case StepDue():
            return False
        case StepSent() | StepHeld() | StepFailed() | OwnerReplied() | RiskCleared() | CopiedIn():
            return before != after
        case _:
            return True


def why_not_restartable(lead: Lead) -> str | None:
    """Why no copied-in mail may start this lead again; None when it may (product section 2)."""
    if lead.state is LeadState.UNSUBSCRIBED:
        return "unsubscribed"
    if lead.state is LeadState.DEACTIVATED and lead.sub_state in NEVER_RESTARTED:
        return lead.sub_state.value
    return None


def advance(lead: Lead, event: AnyEvent, policy: Policy) -> Advance:
    """What the lead is after the event, and what must follow. Never raises for any event in any state."""
    match event:
        case CopiedIn():
            if why_not_restartable(lead) is not None:
                return Advance(lead)
            return following.copied_in(lead, event, policy)
        case OwnerReplied():
            return Advance(join_thread(replace(lead, at_risk=False), event.message_id))
        case Replied():
            return answers.replied(lead, event, policy)
        case AutoReplied():
            return answers.auto_replied(lead, event, policy)
        case Bounced():
            return _bounced(lead, event.action, event.permanence, event.status, event.reason)
        case CopiedBounced():
            if event.permanence is not Permanence.PERMANENT:
                return Advance(lead)
            return Advance(
                replace(
                    lead,
                    copied=tuple(box for box in lead.copied if box.address != event.address),
                )
            )
        case OptedOut():
            return opted_out(lead, event)
        case StepDue():
            return following.step_due(lead, event, policy)
        case StepSent():
            return following.step_sent(lead, event, policy)
        case StepHeld():
            return following.step_held(lead, event)
        case StepFailed():
            enrolment = lead.enrolment
            if enrolment is None or (enrolment.number, enrolment.sending) != (event.enrolment, event.step):
                return Advance(lead)
            failed = _bounced(lead, "failed", event.permanence, event.status, event.reason)
            return Advance(following.step_given_up(failed.lead, event, policy), failed.effects)
        case Stopped():
            return _settled(lead, LeadState.DEACTIVATED, SubState.MANUAL)
        case Renamed():
            renamed = replace(lead, first=event.first, last=event.last, name_source=event.source)
            return Advance(following.unheld(renamed, event.at))
        case SequenceChanged():
            return following.sequence_changed(lead, event, policy)
        case RiskCleared():
            return Advance(replace(lead, at_risk=False))
        case Tagged():
            kept = tuple(tag for tag in lead.tags if tag != event.tag)
            return Advance(replace(lead, tags=kept if event.removed else (*kept, event.tag)))
        case StateSet():
            return _state_set(lead, event)
        case OwnerChanged():
            return Advance(replace(lead, owner_id=event.owner_id))
        case _:
            assert_never(event)


def opted_out(lead: Lead, event: OptedOut) -> Advance:
    """Final, for every source and assistant of the organisation; the second time changes nothing."""
    if lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    after = replace(
        stop(lead),
        state=LeadState.UNSUBSCRIBED,
        sub_state=event.via,
        away_until=None,
        at_risk=False,
    )
    return Advance(
        after,
        (
            CancelUnsent(),
            Suppress(lead.address, event.via.value),
            NotifyOwner("unsubscribed", None, {"via": event.via.value}),
        ),
    )


def _settled(lead: Lead, state: LeadState, sub_state: SubState, *effects: AnyEffect) -> Advance:
    """Stopped for good in this state; what was unsubscribed stays so."""
    if lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    after = replace(stop(lead), state=state, sub_state=sub_state, away_until=None, at_risk=False)
    return Advance(after, (CancelUnsent(), *effects))


def _bounced(lead: Lead, action: str, permanence: Permanence, status: str | None, reason: str) -> Advance:
    """Product section 5, *Bounces*. A delayed report is recorded and changes nothing.

    A first transient failure leaves the dates alone: a step that the server never took counts as done,
    so that the next one goes out as planned.
    """
    if action != "failed" or lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    told = {"status": status or "", "reason": reason}
    if permanence is Permanence.PERMANENT:
        if lead.sub_state is SubState.BOUNCE_DEACTIVATED:
            return Advance(lead)
        return _settled(
            lead,
            LeadState.DEACTIVATED,
            SubState.BOUNCE_DEACTIVATED,
            NotifyOwner("bounce", "bounce", told),
        )
    if permanence is Permanence.UNKNOWN and reason in ("", "undefined", "unknown"):
        if not lead.is_active:
            return Advance(lead)
        return _settled(
            lead,
            LeadState.DEACTIVATED,
            SubState.CANNOT_DETERMINE,
            NotifyOwner("bounce", "bounce", told),
        )
    in_row = lead.bounces_in_row + 1
    if in_row >= 2 and lead.is_active:
        return _settled(
            replace(lead, bounces_in_row=in_row),
            LeadState.DEACTIVATED,
            SubState.BOUNCE_RISK,
            NotifyOwner("bounce", "bounce", told),
        )
    return Advance(replace(lead, bounces_in_row=in_row))


def _state_set(lead: Lead, event: StateSet) -> Advance:
    named = NAMED_STATES.get(event.state.lower())
    if named is None or lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    state, sub_state = named
    if state is LeadState.UNSUBSCRIBED:
        return opted_out(
            lead,
            OptedOut(at=event.at, by=event.by, cause=event.cause, via=SubState.MANUAL),
        )
    if state in UNDER_WAY:
        return Advance(replace(lead, state=state, sub_state=sub_state, away_until=None))
    return _settled(lead, state, sub_state)
