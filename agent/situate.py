"""Puts a message into its context: who wrote it, to which assistant, about which lead."""

from __future__ import annotations

from collections.abc import Mapping

from agent.intake import find_addressed
from agent.unit_of_work import UnitOfWork
from mailflow.address import same_company
from mailflow.authenticity import judge
from mailflow.correlate import Clues, Match, correlate
from mailflow.message import DeliveryReport, RawMessage
from mailflow.parse import ParsedMessage
from mailflow.recipients import Recipients, read_recipients
from mailflow.situation import Situation
from state.lead import Lead
from state.organisation import Assistant, Organisation, Role, User


def situate(
    unit: UnitOfWork,
    raw: RawMessage,
    parsed: ParsedMessage,
    report: DeliveryReport | None,
    clues: Clues,
    organisation: Organisation,
) -> Situation:
    """All that the rules may look at. Only reads."""
    settings = unit.context.settings
    author = parsed.author.address if parsed.author else ""
    user = organisation.find_user(author)
    recipients = read_recipients(parsed, raw.envelope, organisation)
    addressed = find_addressed(organisation, user, recipients)
    match = find_match(unit, organisation, clues, author)
    lead = match.lead if match else None
    assistant = addressed[0] if addressed else None
    return Situation(
        parsed=parsed,
        envelope=raw.envelope,
        received_at=raw.received_at,
        organisation=organisation,
        assistant=assistant,
        authentication=judge(
            parsed,
            trusted_authserv_ids=frozenset(settings.security.trusted_authserv_ids),
            local=raw.via == "receive",
        ),
        sender_roles=sender_roles(unit, organisation, assistant, user, lead, author),
        lead=lead,
        thread_known=bool(match and match.thread_known),
        token="bounce" if clues.outbox_ids else "none",
        answers_to=_answers_to(unit, clues),
        is_own=unit.context.directory.is_assistant(author),
        report=report,
        addressed=addressed[1] if addressed else "bcc",
        alone=recipients.is_alone,
        recipients=_recipient_kinds(recipients),
    )


def find_match(unit: UnitOfWork, organisation: Organisation, clues: Clues, author: str) -> Match | None:
    """The lead that a message belongs to, out of what the unit has loaded."""
    by_outbox_id: dict[int, Lead] = {}
    for outbox_id in clues.outbox_ids:
        row = unit.find_outgoing(outbox_id)
        lead = unit.load_lead(row.lead_id) if row and row.lead_id and row.organisation_id == organisation.id else None
        if lead is not None:
            by_outbox_id[outbox_id] = lead
    by_message_id: Mapping[str, tuple[Lead, ...]] = {
        message_id: unit.find_by_message_id(organisation.id, message_id) for message_id in clues.message_ids
    }
    by_address = {
        address: lead for address in clues.addresses if (lead := unit.find_lead(organisation.id, address)) is not None
    }
    return correlate(clues, author, by_outbox_id, by_message_id, by_address)


def sender_roles(
    unit: UnitOfWork,
    organisation: Organisation,
    assistant: Assistant | None,
    user: User | None,
    lead: Lead | None,
    author: str,
) -> frozenset[str]:
    """What the author is to us (contract: `sender`). A user is never a lead, whatever else the address is."""
    if unit.context.directory.is_assistant(author):
        return frozenset({"assistant"})
    roles: set[str] = set()
    if user is not None:
        if user.role is Role.ADMIN:
            roles.add("admin")
        if assistant is not None and user.id in assistant.manager_ids:
            roles.add("manager")
        if assistant is not None and user.id in assistant.user_ids:
            roles.add("assigned")
        return frozenset(roles or {"unassigned"})
    if unit.find_lead(organisation.id, author) is not None:
        roles.add("lead")
    if lead is not None and author != lead.address:
        if same_company(author, lead.address):
            roles.add("lead_company")
        if any(box.address == author for box in lead.copied):
            roles.add("copied")
    return frozenset(roles or {"stranger"})


def _answers_to(unit: UnitOfWork, clues: Clues) -> str:
    """Which of our mails the message answers."""
    for outbox_id in clues.outbox_ids:
        if row := unit.find_outgoing(outbox_id):
            return row.kind
    return "none"


def _recipient_kinds(recipients: Recipients) -> frozenset[str]:
    kinds = set()
    if recipients.leads or recipients.copied or recipients.excluded or recipients.refused:
        kinds.add("external")
    if recipients.internal:
        kinds.add("internal")
    return frozenset(kinds)
