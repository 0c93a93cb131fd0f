"""A message at each station: as it came, as it was understood, and as it will leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from state.lead import Mailbox, NameSource
from state.message import Envelope as Envelope
from state.message import RawMessage as RawMessage


class Kind(StrEnum):
    HUMAN = "human"
    AUTO_RESPONSE = "auto_response"
    DELIVERY_STATUS = "delivery_status"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    CALENDAR = "calendar"
    BULK = "bulk"
    OWN = "own"


class AutoResponse(StrEnum):
    OUT_OF_OFFICE = "out_of_office"
    MOVED_OUT = "moved_out"
    RETIRED = "retired"
    TICKET = "ticket"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is no text of the mail itself. `content` is decoded."""

    filename: str
    content_type: str
    content: bytes
    inline: bool = False
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Automation:
    """Is it a person's mail or a machine's, and why."""

    kind: Kind
    auto_response: AutoResponse | None = None
    return_date: date | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """RFC 3464 §2.3: what a delivery report says of one recipient."""

    recipient: str
    action: str  # failed | delayed | delivered | relayed | expanded
    permanence: str  # permanent | transient | unknown
    status: str | None  # RFC 3463, e.g. 5.1.1
    reason: str  # one of mailflow.dsn.REASONS
    diagnostic: str | None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    recipients: tuple[RecipientReport, ...]
    original_message_id: str | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CalendarReply:
    """RFC 5546: an answer to an invitation."""

    status: str  # accepted | declined | tentative | counter
    attendee: str | None
    summary: str | None
    starts_at: datetime | None


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who vouches for the author's domain (RFC 8601). Values are lower-case result words."""

    authenticated: bool
    dkim: str = "none"
    spf: str = "none"
    dmarc: str = "none"
    arc: str = "none"
    by: str = "none"  # trusted_header | verified_here | local | none
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient with the name that the assistant will use."""

    address: str
    first: str
    last: str
    source: NameSource


@dataclass(frozen=True, slots=True)
class Intent:
    """What a human answer means: a class of product section 4 with a calibrated confidence."""

    intent: str
    confidence: float
    language: str  # ISO 639-1, zh-hans, zh-hant, or "und"
    contact_date: date | None = None
    referred: tuple[Mailbox, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail that is about to be written, in plain values; `compose` makes it bytes.

    `text` and `html` are final; headers are given as values and encoded, folded and checked there.
    """

    message_id: str
    date: datetime
    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    text: str
    html: str | None = None
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    auto_submitted: str | None = None  # RFC 3834 §5: "auto-generated" or "auto-replied" for mail to users
    list_unsubscribe: tuple[str, ...] = ()  # URIs, without <>
    one_click: bool = False  # RFC 8058
    attachments: tuple[Attachment, ...] = ()
    attached_message: bytes | None = None  # whole, as message/rfc822
    headers: Mapping[str, str] = field(default_factory=dict)  # more, e.g. X-Auto-Response-Suppress
