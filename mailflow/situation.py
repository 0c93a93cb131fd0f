"""A message in its context: all that the rules may look at, some of it worked out only when one looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from mailflow.automated import detect
from mailflow.calendar import read_reply
from mailflow.message import (
    Authentication,
    Automation,
    CalendarReply,
    DeliveryReport,
    Envelope,
    Intent,
    Kind,
)
from mailflow.parse import ParsedMessage
from mailflow.quoting import new_text
from state.lead import Lead
from state.organisation import Assistant, Organisation


@dataclass(frozen=True)
class Situation:
    """Findings about one message. Conditions only read it."""

    parsed: ParsedMessage
    envelope: Envelope
    received_at: datetime
    authentication: Authentication
    sender_roles: frozenset[str]  # contract: `sender`
    organisation: Organisation | None = None
    assistant: Assistant | None = None
    lead: Lead | None = None
    thread_known: bool = False
    token: str = "none"  # confirmation | action | reply | bounce | none  # noqa: S105
    answers_to: str = "none"  # ack | answer | notice | command | followup | none
    is_own: bool = False  # written by one of our assistants
    report: DeliveryReport | None = None
    addressed: str = "bcc"  # where the assistant stands: to | cc | bcc
    alone: bool = False  # no recipient but assistants
    recipients: frozenset[str] = field(default_factory=frozenset)  # external, internal
    duplicate: bool = False
    forwarded: str = "none"  # inline | attached | none

    @cached_property
    def calendar(self) -> CalendarReply | None:
        return read_reply(self.parsed)

    @cached_property
    def automation(self) -> Automation:
        """The message's kind with its evidence; what is most certain is asked first."""
        if self.is_own:
            return Automation(Kind.OWN, evidence=("written by an assistant of ours",))
        if self.report is not None:
            return Automation(Kind.DELIVERY_STATUS, evidence=self.report.evidence)
        content_type = (self.parsed.header("content-type") or "").lower()
        if content_type.startswith("multipart/report") and "feedback-report" in content_type:
            return Automation(Kind.COMPLAINT, evidence=("report-type: feedback-report",))  # RFC 5965 §2
        if (calendar := self.calendar) is not None:
            return Automation(Kind.CALENDAR, evidence=(f"calendar: {calendar.status}",))
        found = detect(self.parsed, self.envelope.mail_from)
        if found.kind is Kind.HUMAN and self.parsed.subject.strip().lower() == "unsubscribe":
            return Automation(Kind.UNSUBSCRIBE, evidence=("Subject: unsubscribe",))  # RFC 2369 §3.2 by mail
        return found

    @property
    def kind(self) -> Kind:
        return self.automation.kind

    @cached_property
    def new_text(self) -> str:
        return new_text(self.parsed.text)

    @property
    def intent(self) -> Intent | None:
        """What a human answer means; None until something can tell."""
        return None
