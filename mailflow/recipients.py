"""Who is who among a mail's recipients: assistants, leads to be, people kept as copied, and those who are neither."""

from __future__ import annotations

from dataclasses import dataclass

from mailflow.address import is_role_address, is_valid_syntax
from mailflow.message import Envelope
from mailflow.parse import ParsedMessage
from state.lead import Mailbox
from state.organisation import Assistant, Organisation


@dataclass(frozen=True, slots=True)
class Addressed:
    """An assistant on the mail, and where it stands: to, cc, or bcc (in the envelope alone)."""

    assistant: Assistant
    where: str


@dataclass(frozen=True, slots=True)
class Recipients:
    assistants: tuple[Addressed, ...]  # in header order, the envelope's last
    leads: tuple[Mailbox, ...]
    copied: tuple[Mailbox, ...]
    internal: tuple[Mailbox, ...]
    excluded: tuple[Mailbox, ...]  # by the exclusion list
    refused: tuple[Mailbox, ...]  # role addresses and impossible ones

    @property
    def is_alone(self) -> bool:
        """No recipient but assistants."""
        return not (self.leads or self.copied or self.internal or self.excluded or self.refused)


def find_assistants(parsed: ParsedMessage, envelope: Envelope, organisation: Organisation) -> tuple[Addressed, ...]:
    """The organisation's assistants on the mail. Several: the first in header order takes it (product section 2)."""
    found: dict[int, Addressed] = {}
    for where, addresses in (
        ("to", [box.address for box in parsed.to]),
        ("cc", [box.address for box in parsed.cc]),
        ("bcc", list(envelope.rcpt_to)),
    ):
        for address in addresses:
            assistant = organisation.find_assistant(address)
            if assistant is not None:
                found.setdefault(assistant.id, Addressed(assistant, where))
    return tuple(found.values())


def read_recipients(parsed: ParsedMessage, envelope: Envelope, organisation: Organisation) -> Recipients:
    """Sort a mail's recipients as product section 2 says.

    External To recipients become leads; where there are none, external Cc recipients do.
    A recipient who may not become a lead (excluded, noreply@) still counts as an external To
    recipient: the mail was for him, and those in Cc do not become leads in his stead.
    """
    internal: list[Mailbox] = []
    excluded: list[Mailbox] = []
    refused: list[Mailbox] = []
    author = parsed.author.address if parsed.author else ""
    seen: set[str] = {author}

    def external(mailboxes: tuple[Mailbox, ...]) -> tuple[list[Mailbox], bool]:
        wanted: list[Mailbox] = []
        any_external = False
        for box in mailboxes:
            if box.address in seen or organisation.find_assistant(box.address):
                continue
            seen.add(box.address)
            if organisation.find_user(box.address) or organisation.is_own_domain(box.address):
                internal.append(box)
                continue
            any_external = True
            if organisation.is_excluded(box.address):
                excluded.append(box)
            elif is_role_address(box.address) or not is_valid_syntax(box.address):
                refused.append(box)
            else:
                wanted.append(box)
        return wanted, any_external

    to, any_to = external(parsed.to)
    cc, _ = external(parsed.cc)
    leads, copied = (to, cc) if any_to else (cc, [])
    return Recipients(
        assistants=find_assistants(parsed, envelope, organisation),
        leads=tuple(leads),
        copied=tuple(copied),
        internal=tuple(internal),
        excluded=tuple(excluded),
        refused=tuple(refused),
    )
