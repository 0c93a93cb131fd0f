"""A follow-up: the step's text in the lead's thread, as the lead and the others on the mail get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.links import unsubscribe_url
from agent.writing import Unwritable
from mailflow.message import Draft
from mailflow.parse import parse
from mailflow.render import RenderError, document, render, text_to_html
from mailflow.sequences import read_step_template
from state.lead import Lead, LeadState, Mailbox
from state.organisation import Assistant, Organisation
from state.policy import Step
from state.store.outbox import Outgoing

if TYPE_CHECKING:
    from agent.unit_of_work import UnitOfWork

LONGEST_QUOTE = 20_000  # characters of the first mail
UNSUBSCRIBE_LABEL = "Unsubscribe"


@dataclass(frozen=True, slots=True)
class StepText:
    text: str
    html: str | None
    subject: str | None


def draft_follow_up(
    unit: UnitOfWork, row: Outgoing, organisation: Organisation, assistant: Assistant, lead: Lead
) -> tuple[Draft, tuple[str, ...]] | Unwritable:
    """One copy of a follow-up with its recipients: the lead's own, or the one of owner and copied people."""
    enrolment = lead.enrolment
    if enrolment is None or enrolment.number != row.enrolment or row.step is None:
        return Unwritable("the sequence was begun anew")
    if row.copy == "lead" and (not enrolment.active or enrolment.sending != row.step):
        return Unwritable("stopped")
    if lead.state is LeadState.UNSUBSCRIBED:
        return Unwritable("unsubscribed")
    owner = organisation.find_user_by_id(lead.owner_id)
    preferences = assistant.preferences
    cc: list[Mailbox] = []
    if preferences.cc_owner and owner is not None:
        cc.append(Mailbox(owner.name, owner.address))
    if preferences.cc_copied:
        cc.extend(box for box in lead.copied if box.address not in {lead.address, *(known.address for known in cc)})
    suppressed = unit.find_suppressed(organisation.id, [lead.address, *(box.address for box in cc)])
    if lead.address in suppressed:
        return Unwritable("suppressed")
    cc = [box for box in cc if box.address not in suppressed]
    rcpt_to = (lead.address,) if row.copy == "lead" else tuple(box.address for box in cc)
    if not rcpt_to:
        return Unwritable("nobody is copied")
    sequence = unit.context.sequences_of(organisation).get(enrolment.sequence)
    if sequence is None or row.step > len(sequence.steps):
        return Unwritable("no such step", "")
    step = _rendered(sequence.steps[row.step - 1], _values(organisation, assistant, lead))
    if isinstance(step, RenderError):
        return Unwritable(step.reason, step.field or "")
    unsubscribe = (
        unsubscribe_url(unit.context.settings.web.public_url, unit.context.secret, lead.id)
        if row.copy == "lead"
        else None
    )
    text, html = _body(unit, organisation, assistant, lead, row.step, step, unsubscribe)
    thread = _thread_before(lead, row.message_id)
    draft = Draft(
        message_id=row.message_id,
        date=unit.now,
        sender=Mailbox(assistant.name, assistant.address),
        to=(Mailbox(f"{lead.first} {lead.last}".strip() if lead.name_source.value in ("display_name", "user") else "", lead.address),),
        cc=tuple(cc),
        subject=step.subject or (f"Re: {lead.subject}" if lead.subject else "Re:"),
        text=text,
        html=html,
        in_reply_to=thread[-1] if thread else None,
        references=thread,
        list_unsubscribe=(unsubscribe,) if unsubscribe else (),
        one_click=unsubscribe is not None,
    )  # fmt: skip
    return draft, rcpt_to


def preview(context: Any, organisation: Organisation, assistant: Assistant, lead: Lead, number: int) -> str | None:
    """The text of a step as it would be written now, without signature and quote; None when it can't be."""
    sequence = context.sequences_of(organisation).get(lead.enrolment.sequence) if lead.enrolment else None
    if sequence is None or not 1 <= number <= len(sequence.steps):
        return None
    step = _rendered(sequence.steps[number - 1], _values(organisation, assistant, lead))
    return None if isinstance(step, RenderError) else step.text


def _thread_before(lead: Lead, message_id: str) -> tuple[str, ...]:
    """The conversation up to this mail: the copy for others is written when the lead's is in it already."""
    thread = lead.conversation
    return thread[: thread.index(message_id)] if message_id in thread else thread


def _values(organisation: Organisation, assistant: Assistant, lead: Lead) -> dict[str, Any]:
    """What a template may name (contract: template variables). What has no value is left out, so that it is missed."""
    owner = organisation.find_user_by_id(lead.owner_id)
    values: dict[str, Any] = {
        "lead": _present(
            first_name=lead.first, last_name=lead.last, company=lead.company, designation=lead.designation,
            industry=lead.industry, phone=lead.phone,
        ) | {"custom": _present(**lead.custom)},
        "organisation": {"name": organisation.name},
        "owner": _present(name=owner.name, first_name=owner.first_name, phone=owner.phone) if owner else {},
        "assistant": _present(name=assistant.name, title=assistant.title, phone=assistant.phone),
        **_present(context=assistant.preferences.context, more_information=assistant.preferences.more_information),
    }  # fmt: skip
    return values


def _present(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _rendered(step: Step, values: dict[str, Any]) -> StepText | RenderError:
    source = step.text
    if step.template is not None:
        try:
            source = read_step_template(step.template)
        except (OSError, UnicodeDecodeError):
            return RenderError(f"the template {step.template} can't be read")
    text = render(source or "", values)
    if isinstance(text, RenderError):
        return text
    if not text.strip():
        return RenderError("the step has no text")
    html = render(step.html, values, is_html=True) if step.html else None
    if isinstance(html, RenderError):
        return html
    subject = render(step.subject, values) if step.subject else None
    if isinstance(subject, RenderError):
        return subject
    return StepText(text.strip(), html, subject.strip() if subject else None)


def _body(
    unit: UnitOfWork, organisation: Organisation, assistant: Assistant, lead: Lead, number: int, step: StepText,
    unsubscribe: str | None,
) -> tuple[str, str]:  # fmt: skip
    """Text and HTML: the step, a PS, the signature, a way out, and the first mail below."""
    preferences = assistant.preferences
    text, html = [step.text], [step.html or text_to_html(step.text)]
    if preferences.nurture:
        row = f"PS: {preferences.nurture[(number - 1) % len(preferences.nurture)]}"
        text.append(row)
        html.append(text_to_html(row))
    signature = signature_text(organisation, assistant)
    text.append(signature)
    html.append(assistant.signature.html or text_to_html(signature))
    if unsubscribe is not None:
        line = f"{UNSUBSCRIBE_LABEL}: {unsubscribe}"
        text.append(line)
        html.append(f'<div style="font-size: 12px; color: #767676;">{text_to_html(line)}</div>')
    if preferences.quote_first_mail and lead.first_mail_id is not None and (quoted := _quote(unit, lead.first_mail_id)):
        intro, lines = quoted
        text.append("\n".join([intro, *(f"> {line}".rstrip() for line in lines)]))
        html.append(
            f"{text_to_html(intro)}\n"
            '<blockquote style="margin: 0 0 0 .8ex; border-left: 1px solid #ccc; padding-left: 1ex;">'
            + text_to_html("\n".join(lines)) + "</blockquote>"
        )  # fmt: skip
    return "\n\n".join(text) + "\n", document("\n".join(html))


def signature_text(organisation: Organisation, assistant: Assistant) -> str:
    """The assistant's own, or one made from its profile; with a way to book a meeting where there is one."""
    if assistant.signature.text:
        lines = [assistant.signature.text.strip()]
    else:
        lines = [line for line in (assistant.name, assistant.title, organisation.name, assistant.phone) if line]
    if assistant.preferences.calendar_url:
        lines.append(f"Book a meeting: {assistant.preferences.calendar_url}")
    return "\n".join(lines)


def _quote(unit: UnitOfWork, inbox_id: int) -> tuple[str, list[str]] | None:
    message = unit.load_message(inbox_id)
    if message is None:
        return None
    parsed = parse(message.raw.content)
    text = parsed.text.strip()[:LONGEST_QUOTE]
    if not text:
        return None
    author = parsed.author
    when = parsed.date or message.raw.received_at
    name = (author.name or author.address) if author else "somebody"
    return f"On {when:%a, %d %b %Y at %H:%M}, {name} wrote:", text.split("\n")
