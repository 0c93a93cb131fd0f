"""What an answer does to a lead, human or automatic (product section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from state.effects import CancelUnsent, ForwardToOwner, NotifyOwner, Suppress
from state.events import AutoReplied, Replied
from state.following import Advance, Policy, join_thread, stop
from state.lead import Lead, LeadState, SubState

DAYS_AWAY = 7  # when an absence names no date of return

ANSWERED: Mapping[str, tuple[LeadState, SubState]] = {
    "agreed_to_meet": (LeadState.HOT, SubState.AGREED_TO_MEET),
    "interested_to_proceed": (LeadState.HOT, SubState.INTERESTED_TO_PROCEED),
    "brochure_requested": (LeadState.WARM, SubState.BROCHURE_REQUESTED),
    "seeking_more_info": (LeadState.RESPONDED, SubState.SEEKING_MORE_INFO),
    "connect_later": (LeadState.WARM, SubState.CONNECT_LATER),
    "referred_someone": (LeadState.RESPONDED, SubState.REFERRED_SOMEONE),
    "not_interested": (LeadState.DEACTIVATED, SubState.ASKED_TO_STOP),
    "wrong_person": (LeadState.DEACTIVATED, SubState.WRONG_PERSON),
    "unsubscribe": (LeadState.UNSUBSCRIBED, SubState.WORDS),
    "other": (LeadState.RESPONDED, SubState.OTHER),
}


def replied(lead: Lead, event: Replied, policy: Policy) -> Advance:
    """A human answered: everything stops at once, but for a date that the answer itself asks for.

    The owner gets every answer, also of somebody who had unsubscribed. The same message again is none.
    """
    if event.message_id in lead.conversation:
        return Advance(lead)
    intent = event.intent if event.confidence >= policy.preferences.confidence else "other"
    state, sub_state = ANSWERED.get(intent, ANSWERED["other"])
    lead = replace(join_thread(lead, event.message_id), answered_at=event.at, bounces_in_row=0)
    if lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead, (ForwardToOwner(event.inbox_id, intent, "unsubscribed_before"),))
    later = intent == "connect_later" and event.contact_date is not None and lead.is_active
    done = "moved" if later else {"unsubscribe": "unsubscribed"}.get(intent, "stopped")
    after = replace(stop(lead), state=state, sub_state=sub_state, away_until=None, at_risk=False)
    if later and event.contact_date is not None and lead.enrolment is not None:
        due = max(
            policy.calendar.opening(event.contact_date),
            policy.calendar.next_open(event.at),
        )
        after = replace(
            after,
            enrolment=replace(lead.enrolment, next_at=due, sending=None, held=None),
        )
    suppress = (Suppress(lead.address, sub_state.value),) if state is LeadState.UNSUBSCRIBED else ()
    return Advance(after, (CancelUnsent(), *suppress, ForwardToOwner(event.inbox_id, intent, done)))


def auto_replied(lead: Lead, event: AutoReplied, policy: Policy) -> Advance:
    """An automatic answer is never an answer. An absence moves the step that would fall into it."""
    if event.kind in ("moved_out", "retired"):
        if lead.state in (LeadState.UNSUBSCRIBED, LeadState.DEACTIVATED):
            return Advance(lead)
        sub_state = SubState.MOVED_OUT if event.kind == "moved_out" else SubState.RETIRED
        after = replace(
            stop(lead),
            state=LeadState.DEACTIVATED,
            sub_state=sub_state,
            away_until=None,
            at_risk=False,
        )
        return Advance(
            after,
            (CancelUnsent(), NotifyOwner("moved_out", None, {"kind": event.kind})),
        )
    enrolment = lead.enrolment
    if event.kind != "out_of_office" or enrolment is None or not enrolment.active:
        return Advance(lead)
    back = event.return_date or _local_date(event.at, policy) + timedelta(days=DAYS_AWAY)
    if back < _local_date(event.at, policy):
        return Advance(lead)  # an old note: nobody is away any more
    lead = replace(lead, away_until=_end_of(back, policy))
    if enrolment.next_at is None or _local_date(enrolment.next_at, policy) > back:
        return Advance(lead)
    due = policy.calendar.opening(back + timedelta(days=1))
    return Advance(replace(lead, enrolment=replace(enrolment, next_at=due)))


def _local_date(at: datetime, policy: Policy) -> date:
    return at.astimezone(policy.calendar.zone).date()


def _end_of(day: date, policy: Policy) -> datetime:
    return datetime.combine(day, time(23, 59, 59), policy.calendar.zone).astimezone(UTC)
