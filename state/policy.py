"""What an organisation has decided: sequences, preferences, plan. Plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum


class SequenceKind(StrEnum):
    STANDARD = "standard"
    CC = "cc"  # step 1 stands for the user's own mail


@dataclass(frozen=True, slots=True)
class Step:
    """One mail of a sequence. The first step of kind `cc` has neither text nor template."""

    after_days: float = 0.0  # since the previous mail's actual sending
    subject: str | None = None  # None: the thread's, with one "Re:"
    text: str | None = None  # Jinja2 source
    html: str | None = None  # Jinja2 source; None: made from the text
    template: str | None = None  # a file in templates/sequences/, instead of text and html


@dataclass(frozen=True, slots=True)
class Sequence:
    """Ordered steps, 1 to 20."""

    name: str
    kind: SequenceKind
    steps: tuple[Step, ...]


class PlanPeriod(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Plan:
    leads: int | None = None  # None: unlimited
    period: PlanPeriod = PlanPeriod.MONTH  # calendar period, UTC
    cc_reserve: float = 0.05  # share of `leads`, rounded up


@dataclass(frozen=True, slots=True)
class BounceGuard:
    percent: float = 4.0
    days: int = 7
    minimum: int = 20


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """Local wall-clock hours. `closes` of midnight is written as None (open until the day ends)."""

    opens: time = time(9)
    closes: time | None = time(17)


@dataclass(frozen=True, slots=True)
class Notification:
    email: bool = False
    whatsapp: bool = False
    extra: tuple[str, ...] = ()


def shipped_notifications() -> Mapping[str, Notification]:
    """What users are told of, unless they have decided otherwise; keys are the event names."""
    return {
        "response": Notification(email=True),
        "hot": Notification(email=True, whatsapp=True),
        "warm": Notification(email=True, whatsapp=True),
        "at_risk": Notification(email=True),
        "bounce": Notification(email=True),
        "delivery_trouble": Notification(email=True),
        "new_lead": Notification(),
        "processed": Notification(),
        "daily_summary": Notification(),
        "weekly_summary": Notification(),
    }


@dataclass(frozen=True, slots=True)
class Preferences:
    """An assistant's preferences, already merged: shipped < organisation's < its own."""

    default_sequence: str = "recommended"
    default_cc_sequence: str = "recommended-cc"
    sequence_after_processed: str | None = None
    sequence_when_opened: str | None = None
    default_lead_name: str = "Sir/Madam"
    greeting_names: bool = True
    auto_activate: bool = True
    campaign_leads: bool = False
    referral_leads: bool = False
    at_risk_after_hours: float = 24
    at_risk_reminder_days: float = 2
    at_risk_reminders: int = 5
    business_hours: BusinessHours = BusinessHours()
    off_days: frozenset[int] = frozenset({5, 6})  # Monday is 0
    public_holidays: bool = True
    daily_limit: int = 200
    warm_up: bool = True
    spread_minutes: int = 30
    send_time_optimisation: bool = True
    cc_owner: bool = True
    cc_copied: bool = True
    quote_first_mail: bool = True
    tracking: bool = True
    brochure_url: str | None = None
    calendar_url: str | None = None
    meeting_reply: str | None = None
    approval: bool = False
    heads_up: str = "never"  # never | first | always
    nurture: tuple[str, ...] = ()
    context: str | None = None
    more_information: str | None = None
    confidence: float = 0.7
    notifications: Mapping[str, Notification] = field(default_factory=shipped_notifications)
