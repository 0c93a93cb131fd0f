"""Mails to users: acknowledgements, answers passed on, notices. In the thread they are about, and never to a lead."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from agent.follow_up import preview
from agent.links import action_url
from agent.writing import Unwritable
from mailflow.message import Draft
from mailflow.parse import ParsedMessage, parse
from mailflow.quoting import new_text
from mailflow.render import document, render_notice, text_to_html
from mailflow.token import Link
from state import access
from state.following import planned_dates, strip_reply_prefixes
from state.lead import Lead, Mailbox, NameSource, shown_state
from state.organisation import Assistant, Organisation, User
from state.store.inbox import InboxMessage
from state.store.outbox import Outgoing

if TYPE_CHECKING:
    from agent.unit_of_work import UnitOfWork

NAME_SOURCES = {
    NameSource.DISPLAY_NAME: "as the address line has it",
    NameSource.GREETING: "from your greeting",
    NameSource.DEFAULT: "the default, since I found no name",
    NameSource.LOCAL_PART: "from the address, since I found no name",
    NameSource.USER: "as you told me",
}
# Label as it stands in the mail, and the action of its link (contract: acknowledgement).
LINKS = (
    ("Change the name", "name"),
    ("Change the sequence", "sequence"),
    ("Stop", "stop"),
    ("Not at risk", "not_at_risk"),
)


def draft_notice(
    unit: UnitOfWork, row: Outgoing, organisation: Organisation, assistant: Assistant, lead: Lead | None
) -> tuple[Draft, tuple[str, ...]] | Unwritable:
    """The mail of a row to one user. Its facts were noted when it was enqueued; what it shows is how things are now."""
    user = organisation.find_user_by_id(int(row.fields["user_id"]))
    if user is None:
        return Unwritable("the user is gone")
    if lead is not None and not access.may_see(organisation, user, lead) and row.kind == "answer":
        lead_shown = None
    else:
        lead_shown = lead
    message = unit.load_message(row.inbox_id) if row.inbox_id is not None else None
    parsed = parse(message.raw.content) if message is not None else None
    values: dict[str, Any] = {
        **row.fields,
        "user": user,
        "assistant": assistant,
        "assistant_first": assistant.name.split()[0],
        "organisation": organisation,
        "lead": _shown(lead_shown) if lead_shown else None,
    }
    if row.fields["notice"] == "ack":
        values["leads"] = _acknowledged(unit, row, organisation, assistant, user)
        if not values["leads"]:
            return Unwritable("no lead of this acknowledgement is left")
    if row.kind == "answer" and parsed is not None:
        author = parsed.author
        values["author"] = author
        values["answer"] = new_text(parsed.text) or parsed.text.strip()
        values["attachments"] = [a.filename or a.content_type for a in parsed.attachments if not a.inline]
    text = render_notice(str(row.fields["notice"]), values)
    thread = _thread(parsed, lead)
    # A person without a mail of its own in the thread must not be recognisable from the thread's subject.
    topic = parsed.subject if parsed is not None else lead.subject if lead is not None else ""
    draft = Draft(
        message_id=row.message_id,
        date=unit.now,
        sender=Mailbox(assistant.name, assistant.address),
        to=(Mailbox(user.name, user.address),),
        subject=f"Re: {strip_reply_prefixes(topic)}".strip(),
        text=text,
        html=document(text_to_html(text)),
        in_reply_to=thread[-1] if thread else None,
        references=thread,
        auto_submitted="auto-replied" if message is not None else "auto-generated",
        headers={"X-Auto-Response-Suppress": "All"},
        attached_message=_forwarded(row, message),
    )
    return draft, row.rcpt_to


def _forwarded(row: Outgoing, message: InboxMessage | None) -> bytes | None:
    """An answer is passed on whole, as it came, attachments and all."""
    return message.raw.content if row.kind == "answer" and message is not None else None


def _thread(parsed: ParsedMessage | None, lead: Lead | None) -> tuple[str, ...]:
    if parsed is not None:
        return (*parsed.references, parsed.message_id) if parsed.message_id else parsed.references
    return lead.conversation if lead is not None else ()


def _shown(lead: Lead) -> dict[str, Any]:
    state, sub_state = shown_state(lead)
    return {
        "name": f"{lead.first} {lead.last}".strip() or lead.address,
        "first": lead.first,
        "address": lead.address,
        "state": state.value,
        "sub_state": sub_state.value,
        "at_risk": lead.at_risk,
    }


def _acknowledged(
    unit: UnitOfWork, row: Outgoing, organisation: Organisation, assistant: Assistant, user: User
) -> list[dict[str, Any]]:
    shown = []
    zone = ZoneInfo(user.time_zone or assistant.time_zone)
    for fact in row.fields["leads"]:
        lead = unit.load_lead(int(fact["id"]))
        if lead is None or not access.may_see(organisation, user, lead):
            continue
        dates = planned_dates(lead, unit.context.policy_for(organisation, assistant, lead))
        public_url, secret = unit.context.settings.web.public_url, unit.context.secret
        shown.append(
            {
                **_shown(lead),
                "restarted": fact["restarted"],
                "name_source": NAME_SOURCES[lead.name_source],
                "sequence": lead.enrolment.sequence if lead.enrolment else "",
                "dates": [(number, _local(at, zone)) for number, at in dates],
                "next_text": preview(unit.context, organisation, assistant, lead, dates[0][0]) if dates else None,
                "links": [
                    (label, action_url(public_url, secret, Link(action, lead.id, user.id), unit.now)) for label, action in LINKS
                ],
            }
        )  # fmt: skip
    return shown


def _local(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M}"
