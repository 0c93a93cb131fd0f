"""What the rules' intake actions do: a user's mail with the assistant on it becomes leads and one acknowledgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.unit_of_work import UnitOfWork
from mailflow.message import Person
from mailflow.names import name_person
from mailflow.recipients import Recipients, read_recipients
from mailflow.situation import Situation
from state import access
from state.events import CopiedIn
from state.lead import Lead, LeadSource, LeadState, Mailbox, SubState, shown_state
from state.machine import why_not_restartable
from state.organisation import Assistant, Organisation, User


@dataclass(frozen=True, slots=True)
class CopiedInMail:
    """A user's mail, sorted out."""

    situation: Situation
    organisation: Organisation
    assistant: Assistant
    where: str  # to | cc | bcc
    user: User
    recipients: Recipients
    inbox_id: int


def add_copied(uow: UnitOfWork, situation: Situation, inbox_id: int, rule: str) -> None:
    """Product section 2, *Copied in* and *Existing leads*: each recipient becomes, or already is, a lead.

    One acknowledgement goes to the author for all of them; a lead's owner who is somebody else gets it too.
    """
    organisation, assistant, author = situation.organisation, situation.assistant, situation.parsed.author
    if organisation is None or assistant is None or author is None:
        return
    user = organisation.find_user(author.address)
    if user is None:
        return
    recipients = read_recipients(situation.parsed, situation.envelope, organisation)
    mail = CopiedInMail(situation, organisation, assistant, situation.addressed, user, recipients, inbox_id)
    suppressed = uow.find_suppressed(organisation.id, [box.address for box in (*recipients.leads, *recipients.copied)])
    copied = tuple(box for box in recipients.copied if box.address not in suppressed)
    followed: list[Lead] = []
    for box in recipients.leads:
        existing = uow.find_lead(organisation.id, box.address)
        if existing is None and box.address in suppressed:
            _tell_sender(uow, mail, "not_restarted", box.address, {"address": box.address, "why": "suppressed"})
        elif existing is None:
            followed.append(_make_lead(uow, mail, box, copied, rule))
        elif not access.may_act(organisation, user, existing):
            _leave_to_colleague(uow, mail, existing)
        elif why := why_not_restartable(existing):
            _tell_sender(uow, mail, "not_restarted", box.address, {"address": box.address, "why": why}, existing)
        else:
            followed.append(uow.apply(existing, _copied_in(mail, existing, copied, rule)))
    if followed:
        _acknowledge(uow, mail, followed)
    elif not recipients.leads:
        fields = {
            "excluded": [box.address for box in recipients.excluded],
            "refused": [box.address for box in recipients.refused],
            "internal": [box.address for box in recipients.internal],
        }
        uow.notify(assistant, user, "notice", "no_lead", f"no_lead:{inbox_id}", fields, inbox_id=inbox_id)


def refuse_unassigned(uow: UnitOfWork, situation: Situation, inbox_id: int) -> None:
    """A valid user who may not use this assistant is told so, and whom to ask."""
    organisation, assistant, author = situation.organisation, situation.assistant, situation.parsed.author
    if organisation is None or assistant is None or author is None:
        return
    user = organisation.find_user(author.address)
    if user is not None:
        fields = {"ask": [admin.name for admin in organisation.admins]}
        uow.notify(assistant, user, "notice", "unassigned", f"unassigned:{inbox_id}", fields, inbox_id=inbox_id)


def find_addressed(
    organisation: Organisation, user: User | None, recipients: Recipients
) -> tuple[Assistant, str] | None:
    """The assistant that takes the mail: of several, the first that the user may use; else the first."""
    if not recipients.assistants:
        return None
    usable = (a for a in recipients.assistants if user and access.may_use(organisation, user, a.assistant))
    chosen = next(usable, recipients.assistants[0])
    return chosen.assistant, chosen.where


def _person(mail: CopiedInMail, box: Mailbox) -> Person:
    preferences = mail.assistant.preferences
    # A greeting names one person; with several leads nobody can tell which.
    greeting = mail.situation.new_text if len(mail.recipients.leads) == 1 else None
    return name_person(
        box,
        greeting_text=greeting,
        greeting_names=preferences.greeting_names,
        default_lead_name=preferences.default_lead_name,
    )


def _copied_in(mail: CopiedInMail, existing: Lead | None, copied: tuple[Mailbox, ...], rule: str) -> CopiedIn:
    parsed = mail.situation.parsed
    message_id = parsed.message_id or f"<{parsed.content_key[:32]}@no-message-id.invalid>"
    known = existing is not None and bool({*parsed.references, message_id} & set(existing.conversation))
    return CopiedIn(
        at=mail.situation.received_at,
        by=f"rule:{rule}",
        cause=message_id,
        evidence=(f"{mail.where}: {mail.assistant.address}", f"author: {mail.user.address}"),
        message_id=message_id,
        subject=parsed.subject,
        sequence=mail.assistant.preferences.default_cc_sequence,
        thread_known=known,
        references=parsed.references,
        copied=tuple(box for box in copied if existing is None or box.address != existing.address),
        inbox_id=mail.inbox_id,
    )


def _make_lead(uow: UnitOfWork, mail: CopiedInMail, box: Mailbox, copied: tuple[Mailbox, ...], rule: str) -> Lead:
    person = _person(mail, box)
    lead = Lead(
        id=0,
        organisation_id=mail.organisation.id,
        owner_id=mail.user.id,
        assistant_id=mail.assistant.id,
        address=box.address,
        first=person.first,
        last=person.last,
        name_source=person.source,
        source=LeadSource.BCC if mail.where == "bcc" else LeadSource.CC,
        created_at=mail.situation.received_at,
        state=LeadState.COLD,
        sub_state=SubState.FOLLOWUP,
    )
    stored = uow.add_lead(lead, _copied_in(mail, None, copied, rule))
    if mail.assistant.preferences.notifications["new_lead"].email:
        fields = {"address": box.address}
        uow.notify_owner(
            mail.organisation, mail.assistant, stored, "notice", "new_lead", f"new_lead:{stored.id}", fields
        )
    return stored


def _acknowledge(uow: UnitOfWork, mail: CopiedInMail, followed: list[Lead]) -> None:
    facts = [
        {"id": lead.id, "restarted": lead.enrolment is not None and lead.enrolment.number > 1} for lead in followed
    ]
    fields = {"leads": facts, "where": mail.where}
    uow.notify(
        mail.assistant, mail.user, "ack", "ack", f"ack:{mail.inbox_id}:{mail.user.id}", fields,
        lead=followed[0], inbox_id=mail.inbox_id,
    )  # fmt: skip
    for owner_id in {lead.owner_id for lead in followed} - {mail.user.id}:
        owner = mail.organisation.find_user_by_id(owner_id)
        own = [fact for fact, lead in zip(facts, followed, strict=True) if lead.owner_id == owner_id]
        first = next(lead for lead in followed if lead.owner_id == owner_id)
        if owner is not None:
            uow.notify(
                mail.assistant, owner, "ack", "ack", f"ack:{mail.inbox_id}:{owner.id}",
                {**fields, "leads": own, "copied_in_by": mail.user.name}, lead=first, inbox_id=mail.inbox_id,
            )  # fmt: skip


def _leave_to_colleague(uow: UnitOfWork, mail: CopiedInMail, existing: Lead) -> None:
    """Product section 1: the sender learns that a colleague is on it and whom to ask, nothing more; the owner is told."""
    fields = {"address": existing.address, "ask": [admin.name for admin in mail.organisation.admins]}
    _tell_sender(uow, mail, "colleague", existing.address, fields)
    uow.notify_owner(
        mail.organisation, mail.assistant, existing, "notice", "colleague_owner",
        f"colleague_owner:{mail.inbox_id}:{existing.id}",
        {"address": existing.address, "colleague": mail.user.name}, inbox_id=mail.inbox_id,
    )  # fmt: skip


def _tell_sender(
    uow: UnitOfWork,
    mail: CopiedInMail,
    notice: str,
    occasion: str,
    fields: Mapping[str, object],
    lead: Lead | None = None,
) -> None:
    state = shown_state(lead)[0].value if lead else None
    uow.notify(
        mail.assistant, mail.user, "notice", notice, f"{notice}:{mail.inbox_id}:{occasion}",
        {**fields, "state": state}, lead=lead, inbox_id=mail.inbox_id,
    )  # fmt: skip
