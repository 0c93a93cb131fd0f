"""Which lead does a message belong to: envelope token > References > recipient > author's address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailflow.address import same_company
from mailflow.message import DeliveryReport, Envelope
from mailflow.parse import ParsedMessage
from mailflow.token import tokens_of
from state.lead import Lead


@dataclass(frozen=True, slots=True)
class Clues:
    """What a message says about where it belongs; looked up by the caller, all at once for many messages."""

    outbox_ids: tuple[int, ...]  # from envelope tokens
    message_ids: tuple[str, ...]  # newest first
    addresses: tuple[str, ...]  # author, then recipients, then those whom a delivery report names


@dataclass(frozen=True, slots=True)
class Match:
    lead: Lead
    thread_known: bool  # found by token or References, not by an address alone
    by: str  # token | references | address


def read_clues(parsed: ParsedMessage, envelope: Envelope, report: DeliveryReport | None, secret: str) -> Clues:
    """Collect the clues of one message. Never raises on bad mail."""
    message_ids = list(reversed(parsed.references))
    if report is not None and report.original_message_id:
        message_ids.insert(0, report.original_message_id)
    author = [parsed.author.address] if parsed.author else []
    recipients = [box.address for box in (*parsed.to, *parsed.cc)]
    reported = [r.recipient.lower() for r in report.recipients] if report else []
    return Clues(
        outbox_ids=tokens_of(secret, envelope.rcpt_to),
        message_ids=tuple(dict.fromkeys(message_ids)),
        addresses=tuple(dict.fromkeys([*author, *reported, *recipients])),
    )


def correlate(
    clues: Clues,
    author: str,
    by_outbox_id: Mapping[int, Lead],
    by_message_id: Mapping[str, Sequence[Lead]],
    by_address: Mapping[str, Lead],
) -> Match | None:
    """The lead that the message is from or about.

    One user's mail may have started several leads' threads, so a referenced Message-ID can name
    several leads: then the author decides, by address, else by company.
    """
    for outbox_id in clues.outbox_ids:
        if lead := by_outbox_id.get(outbox_id):
            return Match(lead, True, "token")
    ambiguous: list[Lead] = []
    for message_id in clues.message_ids:
        leads = by_message_id.get(message_id, ())
        if not leads:
            continue
        for lead in leads:
            if lead.address == author:
                return Match(lead, True, "references")
        if len(leads) == 1:
            return Match(leads[0], True, "references")
        ambiguous.extend(leads)
    for lead in ambiguous:
        if lead.address in clues.addresses:
            return Match(lead, True, "references")
    for lead in ambiguous:
        if same_company(lead.address, author):
            return Match(lead, True, "references")
    if lead := by_address.get(author):
        return Match(lead, False, "address")
    for address in clues.addresses:
        if lead := by_address.get(address):
            return Match(lead, False, "address")
    return None
