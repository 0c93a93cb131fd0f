"""`relance explain`: what a message is, what it says and what would be done with it. A dry run."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import clock
from agent.context import Context
from agent.opening import open_store, prepare, read_settings
from agent.situate import situate
from agent.unit_of_work import UnitOfWork
from mailflow.authenticity import judge
from mailflow.correlate import read_clues
from mailflow.dsn import read_report
from mailflow.message import Envelope, Kind, Person, RawMessage
from mailflow.names import name_person
from mailflow.parse import ParsedMessage, parse
from mailflow.rules import Decision, route
from mailflow.situation import Situation
from state.lead import Mailbox
from state.policy import Preferences
from state.store.engine import Store

# A separator line of an mbox file (RFC 4155): an address or a word, and a date with its year.
_MBOX_FROM = re.compile(rb"^From \S[^\r\n]{0,200}\b(?:19|20)\d\d\b[^\r\n]{0,60}\r?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Assumed:
    """What the command line says of the envelope and the time; None: read from the message."""

    mail_from: str | None = None
    rcpt_to: tuple[str, ...] = ()
    at: datetime | None = None


@contextmanager
def open_for_explaining(config: Path | None) -> Iterator[Context]:
    """The real store when it is there, else one made of the configuration alone and thrown away after."""
    settings = read_settings(config)
    store = _existing_store(settings)
    with tempfile.TemporaryDirectory(prefix="relance-explain-") as directory:
        fresh = store is None
        context = Context(
            settings, store or Store(f"sqlite:///{directory}/empty.db"), "explain" if fresh else settings.secret()
        )
        try:
            if fresh:
                prepare(context)
            with context.store.read() as tx:
                context.refresh(tx)
            yield context
        finally:
            context.close()


def _existing_store(settings: Any) -> Store | None:
    url = settings.database.url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    store = open_store(settings)
    if store.is_current():
        return store
    store.close()
    return None


def explain_file(context: Context, file: str, assumed: Assumed) -> Iterator[dict[str, Any]]:
    """Explain every message of an .eml or mbox file, or of stdin for `-`."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    for message in split_mbox(content):
        yield explain(context, message, file, assumed)


def split_mbox(content: bytes) -> Iterator[bytes]:
    """The messages of an mbox file; anything that does not begin like one is a single message."""
    if not _MBOX_FROM.match(content):
        yield content
        return
    starts = [
        m.end() for m in _MBOX_FROM.finditer(content) if m.start() == 0 or content[:m.start()].endswith((b"\n\n", b"\r\n\r\n"))
    ]  # fmt: skip
    ends = [content.rfind(b"From ", 0, start) for start in starts[1:]] + [len(content)]
    for start, end in zip(starts, ends, strict=True):
        yield re.sub(rb"(?m)^>(>*From )", rb"\1", content[start:end])


def explain(context: Context, content: bytes, file: str, assumed: Assumed) -> dict[str, Any]:
    """One message's object of the contract. A broken message still gives one."""
    parsed = parse(content)
    at = assumed.at or parsed.date or clock.now()
    author = parsed.author.address if parsed.author else ""
    rcpt_to = assumed.rcpt_to or tuple(box.address for box in (*parsed.to, *parsed.cc))
    # Unknown is not the null reverse-path, which would make a machine's mail of it.
    mail_from = (author or "unknown@sender.invalid") if assumed.mail_from is None else assumed.mail_from.strip("<>")
    raw = RawMessage(Envelope(mail_from, rcpt_to), content, at, "receive")
    with context.store.read() as tx:
        context.refresh(tx)
        situation = _situation(UnitOfWork(context, tx, at), raw, parsed)
        decision = route(context.rules, situation)
    return _view(context, file, parsed, situation, decision)


def _situation(unit: UnitOfWork, raw: RawMessage, parsed: ParsedMessage) -> Situation:
    context = unit.context
    report = read_report(parsed, raw.envelope.mail_from)
    found = (context.directory.find_by_recipient(address) for address in raw.envelope.rcpt_to)
    organisation = next((place[0] for place in found if place is not None), None)
    if organisation is not None:
        clues = read_clues(parsed, raw.envelope, report, context.secret)
        return situate(unit, raw, parsed, report, clues, organisation)
    author = parsed.author.address if parsed.author else ""
    own = context.directory.is_assistant(author)
    return Situation(
        parsed=parsed,
        envelope=raw.envelope,
        received_at=raw.received_at,
        report=report,
        authentication=judge(
            parsed,
            trusted_authserv_ids=frozenset(context.settings.security.trusted_authserv_ids),
            local=raw.via == "receive",
        ),
        sender_roles=frozenset({"assistant" if own else "stranger"}),
        is_own=own,
    )


def _view(
    context: Context, file: str, parsed: ParsedMessage, situation: Situation, decision: Decision
) -> dict[str, Any]:
    automation, intent, authentication = situation.automation, situation.intent, situation.authentication
    human = situation.kind is Kind.HUMAN
    return {
        "file": file,
        "message_id": parsed.message_id,
        "rule": decision.rule,
        "disposition": decision.disposition,
        "kind": situation.kind.value,
        "auto_response": automation.auto_response.value if automation.auto_response else None,
        "intent": intent.intent if intent else ("other" if human else None),
        "confidence": intent.confidence if intent else 0.0,
        "language": intent.language if intent else None,
        "reply_text": situation.new_text,
        "return_date": automation.return_date.isoformat() if automation.return_date else None,
        "contact_date": intent.contact_date.isoformat() if intent and intent.contact_date else None,
        "referred": [_box(box) for box in intent.referred] if intent else [],
        "bounces": [asdict(recipient) for recipient in situation.report.recipients] if situation.report else [],
        "from": _box(parsed.author) if parsed.author else {"name": "", "address": ""},
        "to": [_box(box) for box in parsed.to],
        "cc": [_box(box) for box in parsed.cc],
        "people": [
            {"address": p.address, "first": p.first, "last": p.last, "source": p.source.value}
            for p in _people(context, situation)
        ],
        "authenticated": authentication.authenticated,
        "authentication": {
            "dkim": authentication.dkim,
            "spf": authentication.spf,
            "dmarc": authentication.dmarc,
            "arc": authentication.arc,
            "by": authentication.by,
        },
        "rules_tried": [{"rule": tried.rule, "hit": tried.hit} for tried in decision.tried],
        "evidence": [*automation.evidence, *authentication.evidence],
        "defects": list(parsed.defects),
    }


def _box(box: Mailbox) -> dict[str, str]:
    return {"name": box.name, "address": box.address}


def _people(context: Context, situation: Situation) -> list[Person]:
    """To and Cc recipients who are neither assistants nor in a configured domain, named as intake would name them."""
    preferences = situation.assistant.preferences if situation.assistant else Preferences()
    organisations = context.directory.organisations
    boxes = {
        box.address: box
        for box in (*situation.parsed.to, *situation.parsed.cc)
        if not context.directory.is_assistant(box.address)
        and not any(organisation.is_own_domain(box.address) for organisation in organisations)
    }
    return [
        name_person(
            box,
            greeting_text=situation.new_text if len(boxes) == 1 else None,
            greeting_names=preferences.greeting_names,
            default_lead_name=preferences.default_lead_name,
        )
        for box in boxes.values()
    ]
