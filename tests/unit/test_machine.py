"""What must hold of a lead, whatever happens in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailflow.sequences import shipped_sequences
from state.effects import CancelUnsent, ForwardToOwner, SendStep
from state.events import (
    AnyEvent,
    AutoReplied,
    Bounced,
    CopiedIn,
    OptedOut,
    OwnerReplied,
    Permanence,
    Renamed,
    Replied,
    SequenceChanged,
    StateSet,
    StepDue,
    StepFailed,
    StepHeld,
    StepSent,
    Stopped,
)
from state.following import Policy
from state.lead import Lead, LeadSource, LeadState, Mailbox, NameSource, SubState
from state.machine import advance

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POLICY = Policy(sequences=shipped_sequences())


def copied_in(at: datetime = NOW, message_id: str = "<offer@acme.example>", thread_known: bool = False) -> CopiedIn:
    return CopiedIn(at=at, by="rule:copied-in", message_id=message_id, subject="Our offer", sequence="recommended-cc", thread_known=thread_known)  # fmt: skip


def replied(at: datetime = NOW, message_id: str = "<answer@northwind.example>", intent: str = "other") -> Replied:
    return Replied(at=at, by="rule:lead-reply", message_id=message_id, author=Mailbox("", "priya@northwind.example"), intent=intent, confidence=1.0, inbox_id=2)  # fmt: skip


def new_lead() -> Lead:
    lead = Lead(
        id=1, organisation_id=1, owner_id=1, assistant_id=1, address="priya@northwind.example", first="Priya", last="Raman",
        name_source=NameSource.DISPLAY_NAME, source=LeadSource.CC, created_at=NOW, state=LeadState.COLD, sub_state=SubState.FOLLOWUP,
    )  # fmt: skip
    return advance(lead, copied_in(), POLICY).lead


def test_a_due_step_is_handed_out_once() -> None:
    lead = new_lead()
    first = advance(lead, StepDue(at=NOW + timedelta(days=9), by="tick"), POLICY)
    assert first.effects == (SendStep(1, 2),)
    assert advance(first.lead, StepDue(at=NOW + timedelta(days=9), by="tick"), POLICY).effects == ()


def test_a_step_is_not_handed_out_before_its_time() -> None:
    assert advance(new_lead(), StepDue(at=NOW + timedelta(hours=1), by="tick"), POLICY).effects == ()


def test_an_answer_stops_a_step_that_is_already_queued() -> None:
    queued = advance(new_lead(), StepDue(at=NOW + timedelta(days=9), by="tick"), POLICY).lead
    answered = advance(queued, replied(), POLICY)
    assert CancelUnsent() in answered.effects
    assert any(isinstance(effect, ForwardToOwner) for effect in answered.effects)
    # The mail that had left just before it starts nothing again.
    late = advance(
        answered.lead, StepSent(at=NOW, by="tick", enrolment=1, step=2, message_id="<two@acme.example>"), POLICY
    ).lead
    assert late.state is LeadState.RESPONDED and not late.is_active
    assert late.enrolment is not None and late.enrolment.next_at is None


def test_the_same_answer_twice_is_one_answer() -> None:
    once = advance(new_lead(), replied(), POLICY).lead
    assert advance(once, replied(), POLICY).effects == ()


def test_one_transient_failure_leaves_the_dates_alone_and_the_second_is_a_risk() -> None:
    failed = Bounced(
        at=NOW, by="rule:x", action="failed", permanence=Permanence.TRANSIENT, status="4.2.2", reason="mailbox_full"
    )
    once = advance(new_lead(), failed, POLICY).lead
    assert once.is_active
    twice = advance(once, failed, POLICY).lead
    assert (twice.state, twice.sub_state) == (LeadState.DEACTIVATED, SubState.BOUNCE_RISK)


def test_a_delayed_report_changes_nothing() -> None:
    lead = new_lead()
    delayed = Bounced(
        at=NOW, by="rule:x", action="delayed", permanence=Permanence.TRANSIENT, status="4.4.1", reason="expired"
    )
    assert advance(lead, delayed, POLICY).lead == lead


def test_a_held_step_goes_on_once_the_name_is_put_right() -> None:
    queued = advance(new_lead(), StepDue(at=NOW + timedelta(days=9), by="tick"), POLICY).lead
    held = advance(queued, StepHeld(at=NOW, by="tick", enrolment=1, step=2, reason="no first name"), POLICY).lead
    assert held.enrolment is not None and held.enrolment.next_at is None
    renamed = advance(held, Renamed(at=NOW, by="user:uma", first="Priya", last="Raman"), POLICY).lead
    assert renamed.enrolment is not None and renamed.enrolment.next_at == NOW


MOMENTS = st.integers(0, 2_000).map(lambda hours: NOW + timedelta(hours=hours))
IDS = st.integers(1, 9).map(lambda n: f"<m{n}@x.example>")


@st.composite
def events(draw: st.DrawFn) -> AnyEvent:
    at, message_id = draw(MOMENTS), draw(IDS)
    common: dict[str, Any] = {"at": at, "by": "test"}
    enrolment, step = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    possible: list[AnyEvent] = [
                copied_in(at, message_id, draw(st.booleans())),
                replied(at, message_id, draw(st.sampled_from(["other", "agreed_to_meet", "not_interested", "unsubscribe", "connect_later"]))),
                AutoReplied(**common, kind=draw(st.sampled_from(["out_of_office", "retired", "ticket"]))),
                Bounced(**common, action="failed", permanence=draw(st.sampled_from(list(Permanence))), status=None, reason="undefined"),
                OptedOut(**common, via=SubState.LINK),
                OwnerReplied(**common, message_id=message_id),
                StepDue(**common),
                StepSent(**common, enrolment=enrolment, step=step, message_id=message_id),
                StepHeld(**common, enrolment=enrolment, step=step, reason="x"),
                StepFailed(**common, enrolment=enrolment, step=step, permanence=Permanence.PERMANENT, reason="x"),
                Stopped(**common),
                SequenceChanged(**common, sequence=draw(st.sampled_from(["quotation", "recommended-cc", "none such"]))),
                StateSet(**common, state=draw(st.sampled_from(["hot", "cold", "unsubscribed", "nonsense"]))),
    ]  # fmt: skip
    return draw(st.sampled_from(possible))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(events(), max_size=30))
def test_rules_that_hold_whatever_the_order_of_events(history: list[AnyEvent]) -> None:
    lead = new_lead()
    handed_out: set[tuple[int, int]] = set()
    sent: set[tuple[int, int]] = set()
    for event in history:
        before = lead
        after = advance(lead, event, POLICY)
        lead = after.lead
        if before.state is LeadState.UNSUBSCRIBED:
            assert lead.state is LeadState.UNSUBSCRIBED, "nothing leaves Unsubscribed"
            assert not any(isinstance(effect, SendStep) for effect in after.effects)
        enrolment = lead.enrolment
        if enrolment is not None and enrolment.next_at is not None:
            assert enrolment.active and enrolment.sending is None
        if (
            isinstance(event, Replied)
            and event.intent != "connect_later"
            and event.message_id not in before.conversation
        ):
            assert not lead.is_active, "an answer stops the sequence at once"
        if isinstance(event, StepSent):
            sent.add((event.enrolment, event.step))
        for effect in after.effects:
            if isinstance(effect, SendStep):
                assert (effect.enrolment, effect.step) not in sent, "a step that was sent is never sent again"
                handed_out.add((effect.enrolment, effect.step))
