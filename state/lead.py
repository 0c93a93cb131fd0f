"""A lead, and the state that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class LeadState(StrEnum):
    NEW = "New"
    PENDING = "Pending"
    COLD = "Cold"
    ENGAGED = "Engaged"
    WARM = "Warm"
    HOT = "Hot"
    RESPONDED = "Responded"
    OUT_OF_OFFICE = "OutOfOffice"
    PROCESSED = "Processed"
    DEACTIVATED = "Deactivated"
    UNSUBSCRIBED = "Unsubscribed"


class SubState(StrEnum):
    """Why the lead is in its state."""

    FOLLOWUP = "Followup"
    NO_CAPACITY = "NoCapacity"
    NO_ANSWER = "NoAnswer"
    # classes of an answer
    AGREED_TO_MEET = "AgreedToMeet"
    INTERESTED_TO_PROCEED = "InterestedToProceed"
    BROCHURE_REQUESTED = "BrochureRequested"
    SEEKING_MORE_INFO = "SeekingMoreInfo"
    CONNECT_LATER = "ConnectLater"
    REFERRED_SOMEONE = "ReferredSomeone"
    OTHER = "Other"
    OUT_OF_OFFICE = "OutOfOffice"
    # of Deactivated
    BOUNCE_DEACTIVATED = "BounceDeactivated"
    INVALID_EMAIL = "InvalidEmail"
    CANNOT_DETERMINE = "CannotDetermine"
    BOUNCE_RISK = "BounceRisk"
    DISPOSABLE = "Disposable"
    ASKED_TO_STOP = "AskedToStop"
    WRONG_PERSON = "WrongPerson"
    MOVED_OUT = "MovedOut"
    RETIRED = "Retired"
    EXCLUDED = "Excluded"
    MANUAL = "Manual"
    # of Unsubscribed
    LINK = "Link"
    HEADER = "Header"
    WORDS = "Words"
    COMPLAINT = "Complaint"


class LeadSource(StrEnum):
    CC = "cc"
    BCC = "bcc"
    FORWARD = "forward"
    FILE = "file"
    COMMAND = "command"
    API = "api"
    CAMPAIGN = "campaign"
    REFERRAL = "referral"


class NameSource(StrEnum):
    DISPLAY_NAME = "display_name"
    GREETING = "greeting"
    DEFAULT = "default"
    LOCAL_PART = "local_part"
    USER = "user"  # a user said so


@dataclass(frozen=True, slots=True)
class Mailbox:
    """RFC 5322 §3.4: a display name (decoded, may be empty) and an address (lower case)."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A lead's way through one sequence.

    `number` counts the lead's enrolments: (lead, number, step) names one follow-up for ever,
    so that no crash, replay or restart can send it twice.
    """

    number: int
    sequence: str
    step: int  # the last one done; in a `cc` sequence the user's own mail is 1
    last_at: datetime  # when that step's mail was actually sent
    next_at: datetime | None  # None: nothing is due (held, being sent, or ended)
    active: bool = True
    sending: int | None = None  # the step that is in the outbox just now
    held: str | None = None  # why the next step waits for a person


@dataclass(frozen=True, slots=True)
class Engagement:
    human: int = 0
    machine: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Lead:
    """One person, unique by address in an organisation. Changed only by `machine.advance`."""

    id: int  # 0 until the store has given one
    organisation_id: int
    owner_id: int
    assistant_id: int
    address: str  # lower case
    first: str
    last: str
    name_source: NameSource
    source: LeadSource
    created_at: datetime
    state: LeadState
    sub_state: SubState
    away_until: datetime | None = None  # an absence covers `state` until the mail that follows it
    at_risk: bool = False
    company: str | None = None
    designation: str | None = None
    industry: str | None = None
    phone: str | None = None
    time_zone: str | None = None
    country: str | None = None
    custom: Mapping[str, str] = field(default_factory=dict)
    enrolment: Enrolment | None = None
    subject: str = ""  # the thread's, without "Re:"
    conversation: tuple[str, ...] = ()  # Message-IDs of the thread, oldest first, with <>
    first_mail_id: int | None = None  # inbox id of the user's mail that is quoted below follow-ups
    copied: tuple[Mailbox, ...] = ()
    tags: tuple[str, ...] = ()
    opens: Engagement = Engagement()
    clicks: Engagement = Engagement()
    bounces_in_row: int = 0
    answered_at: datetime | None = None
    version: int = 0  # optimistic lock

    @property
    def is_active(self) -> bool:
        return self.enrolment is not None and self.enrolment.active


def shown_state(lead: Lead) -> tuple[LeadState, SubState]:
    """What is displayed for a lead: an absence covers, for its time, the state below it."""
    if lead.away_until is not None:
        return LeadState.OUT_OF_OFFICE, SubState.OUT_OF_OFFICE
    return lead.state, lead.sub_state


# States that no route of intake ever leaves (product: existing leads); AskedToStop is left by `restart` alone.
NEVER_RESTARTED = frozenset(
    {
        SubState.BOUNCE_DEACTIVATED,
        SubState.INVALID_EMAIL,
        SubState.DISPOSABLE,
        SubState.EXCLUDED,
        SubState.ASKED_TO_STOP,
    }
)
