"""One transmitted copy of a mail, and what can become of an attempt to send it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Copy:
    """`kind` and `lead` are for capture alone; they are never transmitted."""

    mail_from: str
    rcpt_to: tuple[str, ...]
    content: bytes
    message_id: str
    kind: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    reply: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server said no. `permanence`: permanent | transient. `about_recipient`: it is the address that is wrong,
    not the sender, the mail or the server's policy."""

    permanence: str
    reason: str
    about_recipient: bool = False


@dataclass(frozen=True, slots=True)
class Unsent:
    """Certainly not sent: the server could not be reached."""

    reason: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The mail was on its way when the connection broke: it may have been sent."""

    reason: str


Outcome = Accepted | Rejected | Unsent | Uncertain


class Transport(Protocol):
    def send_many(self, copies: Sequence[Copy]) -> list[Outcome]:
        """One attempt at each, in order. Never raises for what a server or network does."""
        ...

    def find_sent(self, message_id: str, rcpt_to: Sequence[str]) -> bool | None:
        """Whether this copy was sent; None when this way out can't tell."""
        ...
