"""What must follow from an event, in the imperative. The machine decides them, `agent.execute` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SendStep:
    """Put this step of this enrolment into the outbox (unique by lead, enrolment and step)."""

    enrolment: int
    step: int


@dataclass(frozen=True, slots=True)
class CancelUnsent:
    """Nothing of this lead's follow-ups that has not been dialled yet may leave."""


@dataclass(frozen=True, slots=True)
class Suppress:
    """Never write to this address again, from any source or assistant of the organisation."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForwardToOwner:
    """Pass the message on in full, with a sentence on what it was taken for and what was done."""

    inbox_id: int
    taken_for: str  # the answer's class, or the automatic kind
    done: str  # a key of the notices' wording: stopped | moved | away | ...


@dataclass(frozen=True, slots=True)
class NotifyOwner:
    """Tell the owner in a short mail. `notice` names a template in templates/notices/."""

    notice: str
    event: str | None = None  # the notification preference that may switch it off; None: always told
    fields: Mapping[str, str] = field(default_factory=dict)


AnyEffect = SendStep | CancelUnsent | Suppress | ForwardToOwner | NotifyOwner
