"""Following up: how an enrolment starts, what its due step does, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from state.effects import AnyEffect, CancelUnsent, NotifyOwner, SendStep
from state.events import CopiedIn, SequenceChanged, StepDue, StepFailed, StepHeld, StepSent
from state.lead import Enrolment, Lead, LeadSource, LeadState, Mailbox, SubState
from state.policy import Preferences, Sequence, SequenceKind
from state.schedule import Calendar, next_time

# RFC 5322 §3.6.5 knows "Re: " alone; these are what clients write in the languages of product section 6.
REPLY_PREFIX = re.compile(
    r"^\s*(?:(?:re|aw|antw|antwort|sv|vs|ref|rif|r|rv|odp|ynt|res|回复|回覆|答复|答覆|返信|회신|답장)\s*(?:\[\d{1,3}\])?\s*[::]\s*)+",
    re.IGNORECASE,
)
LONGEST_THREAD = 100  # Message-IDs kept; References of very long threads are cut the same way


@dataclass(frozen=True, slots=True)
class Policy:
    """What the organisation has decided, as far as one lead is concerned."""

    preferences: Preferences = Preferences()
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    calendar: Calendar = Calendar()


@dataclass(frozen=True, slots=True)
class Advance:
    """A lead after an event, and what must follow."""

    lead: Lead
    effects: tuple[AnyEffect, ...] = ()


def strip_reply_prefixes(subject: str) -> str:
    """The subject without any "Re:", "AW:", "回复:" before it."""
    return REPLY_PREFIX.sub("", subject).strip()


def join_thread(lead: Lead, *message_ids: str) -> Lead:
    """The lead with these messages in its conversation, each once; the first and the newest are kept."""
    new = tuple(m for m in dict.fromkeys(message_ids) if m and m not in lead.conversation)
    if not new:
        return lead
    thread = (*lead.conversation, *new)
    if len(thread) > LONGEST_THREAD:
        thread = (thread[0], *thread[-(LONGEST_THREAD - 1) :])
    return replace(lead, conversation=thread)


def stop(lead: Lead) -> Lead:
    """The lead without any due step; its enrolment is kept, so that it can be continued where it stopped."""
    if lead.enrolment is None:
        return lead
    return replace(
        lead,
        enrolment=replace(lead.enrolment, active=False, next_at=None, sending=None, held=None),
    )


def due_at(lead: Lead, enrolment: Enrolment, policy: Policy) -> datetime | None:
    """When the step after the last one done is due; None when the sequence has no such step."""
    sequence = policy.sequences.get(enrolment.sequence)
    if sequence is None or enrolment.step >= len(sequence.steps):
        return None
    step = sequence.steps[enrolment.step]
    return next_time(
        enrolment.last_at,
        step.after_days,
        policy.calendar,
        spread_minutes=policy.preferences.spread_minutes,
        jitter=f"{lead.address}:{enrolment.number}:{enrolment.step + 1}",
    )


def planned_dates(lead: Lead, policy: Policy) -> tuple[tuple[int, datetime], ...]:
    """Each step that is still to come with its date, if every mail leaves when it is due."""
    enrolment = lead.enrolment
    if enrolment is None or not enrolment.active:
        return ()
    dates: list[tuple[int, datetime]] = []
    due = enrolment.next_at
    while due is not None:
        dates.append((enrolment.step + 1, due))
        enrolment = replace(enrolment, step=enrolment.step + 1, last_at=due)
        due = due_at(lead, enrolment, policy)
    return tuple(dates)


def enrol(lead: Lead, sequence_name: str, at: datetime, policy: Policy, *, copied_in: bool) -> Lead:
    """Begin a sequence anew. In a `cc` sequence the user's own mail has been step 1."""
    number = lead.enrolment.number + 1 if lead.enrolment else 1
    sequence = policy.sequences.get(sequence_name)
    done = 1 if copied_in and sequence is not None and sequence.kind is SequenceKind.CC else 0
    enrolment = Enrolment(number=number, sequence=sequence_name, step=done, last_at=at, next_at=None)
    return replace(lead, enrolment=replace(enrolment, next_at=due_at(lead, enrolment, policy)))


def copied_in(lead: Lead, event: CopiedIn, policy: Policy) -> Advance:
    """The four cases of product section 2. The same mail again is none of them."""
    if lead.enrolment is not None and event.message_id in lead.conversation:
        return Advance(lead)
    copied = _merge(lead.copied, event.copied) if event.thread_known else event.copied
    if event.thread_known and lead.is_active:
        return Advance(join_thread(replace(lead, at_risk=False, copied=copied), event.message_id))
    if not event.thread_known:
        lead = replace(
            lead,
            conversation=(),
            subject=strip_reply_prefixes(event.subject),
            first_mail_id=event.inbox_id,
        )
    before = lead
    lead = replace(
        join_thread(lead, *event.references, event.message_id),
        copied=copied,
        state=LeadState.COLD,
        sub_state=SubState.FOLLOWUP,
        away_until=None,
        at_risk=False,
        bounces_in_row=0,
    )
    lead = enrol(lead, event.sequence, event.at, policy, copied_in=True)
    return Advance(lead, (CancelUnsent(),) if before.enrolment is not None else ())


def _merge(known: tuple[Mailbox, ...], more: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
    addresses = {box.address for box in known}
    return (*known, *(box for box in more if box.address not in addresses))


def step_due(lead: Lead, event: StepDue, policy: Policy) -> Advance:
    """Hand the next step to the outbox. Until it is sent the lead has no due date, so no pass finds it twice."""
    enrolment = lead.enrolment
    if enrolment is None or not enrolment.active or enrolment.sending is not None or enrolment.held is not None:
        return Advance(lead)
    if enrolment.next_at is None or enrolment.next_at > event.at or lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    sequence = policy.sequences.get(enrolment.sequence)
    step = enrolment.step + 1
    if sequence is None or step > len(sequence.steps):
        reason = "no such sequence" if sequence is None else "no such step"
        held = replace(enrolment, next_at=None, held=reason)
        fields = {"reason": reason, "step": str(step), "sequence": enrolment.sequence}
        return Advance(
            replace(lead, enrolment=held),
            (NotifyOwner("step_held", "delivery_trouble", fields),),
        )
    sending = replace(enrolment, next_at=None, sending=step)
    return Advance(replace(lead, enrolment=sending), (SendStep(enrolment.number, step),))


def step_sent(lead: Lead, event: StepSent, policy: Policy) -> Advance:
    """Count the step, and set the next date from its actual sending.

    A mail that had left before an answer came only joins the thread: nothing starts again by it.
    """
    if event.message_id in lead.conversation:
        return Advance(lead)
    lead = join_thread(lead, event.message_id)
    enrolment = lead.enrolment
    if enrolment is None or enrolment.number != event.enrolment or event.step <= enrolment.step:
        return Advance(lead)
    enrolment = replace(enrolment, step=event.step, last_at=event.at, sending=None, held=None)
    if not enrolment.active:
        return Advance(replace(lead, enrolment=enrolment))
    lead = replace(lead, enrolment=enrolment, away_until=None)
    if lead.state in (LeadState.PROCESSED, LeadState.OUT_OF_OFFICE):
        lead = replace(lead, state=LeadState.COLD, sub_state=SubState.FOLLOWUP)
    due = due_at(lead, enrolment, policy)
    if due is not None:
        return Advance(replace(lead, enrolment=replace(enrolment, next_at=due)))
    return _finished(lead, event, policy)


def _finished(lead: Lead, event: StepSent, policy: Policy) -> Advance:
    """The last step is sent: Processed, and at risk at once when a user's own mail began it."""
    finished = lead.enrolment
    lead = replace(stop(lead), state=LeadState.PROCESSED, sub_state=SubState.NO_ANSWER)
    following = policy.preferences.sequence_after_processed
    if finished is not None and following and following != finished.sequence and following in policy.sequences:
        lead = enrol(lead, following, event.at, policy, copied_in=False)
    elif lead.source in (LeadSource.CC, LeadSource.BCC):
        lead = replace(lead, at_risk=True)
    return Advance(lead, (NotifyOwner("processed", "processed"),))


def step_held(lead: Lead, event: StepHeld) -> Advance:
    enrolment = lead.enrolment
    if (
        enrolment is None
        or not enrolment.active
        or (enrolment.number, enrolment.sending) != (event.enrolment, event.step)
    ):
        return Advance(lead)
    held = replace(enrolment, sending=None, next_at=None, held=event.reason)
    notice = "step_uncertain" if event.reason == "uncertain" else "step_held"
    fields = {
        "reason": event.reason,
        "step": str(event.step),
        "sequence": enrolment.sequence,
    }
    return Advance(replace(lead, enrolment=held), (NotifyOwner(notice, None, fields),))


def step_given_up(lead: Lead, event: StepFailed, policy: Policy) -> Lead:
    """A mail that no server took for days counts as done, so that the next one goes out as planned."""
    enrolment = lead.enrolment
    if enrolment is None or not enrolment.active:
        return lead
    passed = replace(enrolment, step=event.step, last_at=event.at, sending=None)
    return replace(lead, enrolment=replace(passed, next_at=due_at(lead, passed, policy)))


def unheld(lead: Lead, at: datetime) -> Lead:
    """Try a held step again, now that something was put right. One of uncertain fate stays with its owner."""
    enrolment = lead.enrolment
    if enrolment is None or not enrolment.active or enrolment.held in (None, "uncertain"):
        return lead
    return replace(lead, enrolment=replace(enrolment, held=None, next_at=at))


def sequence_changed(lead: Lead, event: SequenceChanged, policy: Policy) -> Advance:
    """Go on in another sequence after the step that was done last; where it has no more steps, that was all."""
    enrolment = lead.enrolment
    if enrolment is None or event.sequence not in policy.sequences or lead.state is LeadState.UNSUBSCRIBED:
        return Advance(lead)
    changed = replace(enrolment, sequence=event.sequence, held=None)
    if not enrolment.active or enrolment.sending is not None:
        return Advance(replace(lead, enrolment=changed))
    due = due_at(lead, changed, policy)
    if due is None:
        after = replace(
            stop(replace(lead, enrolment=changed)),
            state=LeadState.PROCESSED,
            sub_state=SubState.NO_ANSWER,
        )
        return Advance(after)
    return Advance(replace(lead, enrolment=replace(changed, next_at=due)))
