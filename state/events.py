"""What happened to a lead, in the past tense. Every event says when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from state.lead import Mailbox, NameSource, SubState


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`at` is when it happened (aware); `by` who or what caused it: `rule:NAME`, `user:ADDRESS`, `tick`;
    `cause` the Message-ID behind it, where there is one."""

    at: datetime
    by: str
    cause: str | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedIn(Event):
    """A user wrote to the lead with the assistant on the mail, for the first time or again."""

    message_id: str
    subject: str
    sequence: str
    thread_known: bool
    references: tuple[str, ...] = ()
    copied: tuple[Mailbox, ...] = ()
    inbox_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReplied(Event):
    """The owner (or somebody who may act for him) wrote in the known thread while follow-ups run or a risk stands."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied(Event):
    """A human answered: the lead, or a colleague from another address of its company in the same thread."""

    message_id: str
    author: Mailbox
    intent: str  # product.md section 4
    confidence: float
    inbox_id: int
    contact_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoReplied(Event):
    """An automatic answer came; it is never an answer."""

    kind: str  # out_of_office | moved_out | retired | ticket | other
    return_date: date | None = None
    message_id: str = ""


class Permanence(StrEnum):
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounced(Event):
    """A delivery report named the lead as failed or delayed (RFC 3464)."""

    action: str  # failed | delayed
    permanence: Permanence
    status: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedBounced(Event):
    """A report named one of the copied people: only that copy is dropped."""

    address: str
    permanence: Permanence


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut(Event):
    via: SubState  # LINK, HEADER, WORDS, COMPLAINT, MANUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDue(Event):
    """The time of the next step has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSent(Event):
    enrolment: int
    step: int
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHeld(Event):
    """The step can't be written (a field is missing, a template fails) or its fate is unknown: a person must look."""

    enrolment: int
    step: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """The submission server refused the mail for good."""

    enrolment: int
    step: int
    permanence: Permanence
    reason: str
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """A user stopped the follow-ups (command, link)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed(Event):
    first: str
    last: str
    source: NameSource = NameSource.USER


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceChanged(Event):
    sequence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCleared(Event):
    """Somebody said that the lead is taken care of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged(Event):
    tag: str
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSet(Event):
    """A rule or a user put the lead into a state by hand."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerChanged(Event):
    owner_id: int


AnyEvent = (
    CopiedIn
    | OwnerReplied
    | Replied
    | AutoReplied
    | Bounced
    | CopiedBounced
    | OptedOut
    | StepDue
    | StepSent
    | StepHeld
    | StepFailed
    | Stopped
    | Renamed
    | SequenceChanged
    | RiskCleared
    | Tagged
    | StateSet
    | OwnerChanged
)
