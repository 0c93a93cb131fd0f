"""A stage for conversations: people write to each other, days pass, and everybody looks into their mailbox.

    scene.uma.writes(to=priya, cc="asha@acme.example", text="Hi Priya, …")
    scene.days(3)
    assert priya.inbox[-1].step == 2
    priya.replies("Tomorrow works.")

Messages go in as `relance receive` takes them and come out of the capture directory, time is only what
`--at` and `--now` would say.
"""

from __future__ import annotations

import email.policy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

import yaml

from agent import dispatch
from agent.config import Settings, load_settings
from agent.context import Context
from agent.dispatch import Report
from agent.looking import show_lead
from agent.opening import open_store, prepare
from agent.receiving import receive_messages

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def acme(**changes: Any) -> dict[str, Any]:
    """The configuration of one organisation: Uma (admin) and Max use Asha, Nils may not."""
    preferences = {"spread_minutes": 0, "public_holidays": False, **changes.pop("preferences", {})}
    organisation: dict[str, Any] = {
        "name": "Acme",
        "domains": ["acme.example"],
        "users": [
            {
                "name": "Uma Stein",
                "address": "uma@acme.example",
                "aliases": ["uma.stein@acme.example"],
                "role": "admin",
            },
            {"name": "Max Roth", "address": "max@acme.example"},
            {"name": "Nils Berg", "address": "nils@acme.example"},
        ],
        "assistants": [
            {
                "name": "Asha Rao",
                "address": "asha@acme.example",
                "users": ["uma@acme.example", "max@acme.example"],
                "preferences": preferences,
            }
        ],
        **changes,
    }
    return {"organisations": [organisation]}


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it lies in somebody's mailbox."""

    message: EmailMessage

    @property
    def kind(self) -> str:
        return str(self.message["X-Capture-Kind"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def date(self) -> datetime:
        at = self.message["Date"].datetime
        assert isinstance(at, datetime)
        return at

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def html(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def references(self) -> list[str]:
        return str(self.message["References"] or "").split()

    def link(self, label: str) -> str:
        found = re.search(rf"^{re.escape(label)}: (\S+)$", self.text, re.MULTILINE)
        assert found, f"no link {label!r} in:\n{self.text}"
        return found[1]


@dataclass
class Person:
    """Somebody with a mailbox, at Acme or elsewhere."""

    scene: Scene
    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address

    @property
    def inbox(self) -> list[Received]:
        """All mails that reached this person, oldest first."""
        return [mail for mail in self.scene.captured() if self.address in str(mail.message["X-Envelope-To"])]

    def got(self, kind: str) -> list[Received]:
        return [mail for mail in self.inbox if mail.kind == kind]

    def writes(
        self,
        to: str | Person = "",
        text: str = "Hello!",
        *,
        cc: str | Person | None = "asha@acme.example",
        bcc: str | None = None,
        subject: str = "Our offer",
        rcpt: tuple[str, ...] = ("asha@acme.example",),
        mail_from: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Write a new mail; the assistant gets its copy. Returns the Message-ID."""
        message = self._draft(text, subject, headers or {})
        if to:
            message["To"] = str(to)
        if cc:
            message["Cc"] = str(cc)
        return self._send(message, rcpt if bcc is None else (bcc,), mail_from)

    def replies(
        self,
        text: str,
        *,
        to: str | None = None,
        cc: str | None = "asha@acme.example",
        on: Received | str | None = None,
        headers: Mapping[str, str] | None = None,
        mail_from: str | None = None,
        rcpt: tuple[str, ...] = ("asha@acme.example",),
        subject: str | None = None,
    ) -> str:
        """Answer the newest mail that this person got (or `on`), to all."""
        if on is None:
            on = self.inbox[-1]
        answered, references, topic = (
            (on.message_id, [*on.references, on.message_id], on.subject)
            if isinstance(on, Received)
            else (on, [on], "Our offer")
        )
        topic = subject if subject is not None else topic if topic.lower().startswith("re:") else f"Re: {topic}"
        message = self._draft(text, topic, headers or {})
        message["To"] = to or (str(on.message["From"]) if isinstance(on, Received) else "asha@acme.example")
        if cc:
            message["Cc"] = cc
        message["In-Reply-To"] = answered
        message["References"] = " ".join(references)
        return self._send(message, rcpt, mail_from)

    def _draft(self, text: str, subject: str, headers: Mapping[str, str]) -> EmailMessage:
        message = EmailMessage()
        message["From"] = str(self)
        message["Subject"] = subject
        message["Date"] = format_datetime(self.scene.now)
        message["Message-ID"] = self.scene.new_message_id(parseaddr(self.address)[1].rpartition("@")[2])
        for name, value in headers.items():
            message[name] = value
        message.set_content(text)
        return message

    def _send(self, message: EmailMessage, rcpt: tuple[str, ...], mail_from: str | None) -> str:
        content = message.as_bytes(policy=email.policy.SMTP)
        self.scene.receive(content, self.address if mail_from is None else mail_from, rcpt)
        return str(message["Message-ID"])


@dataclass
class Scene:
    context: Context
    directory: Path
    now: datetime = MONDAY
    reports: list[Report] = field(default_factory=list)
    _count: int = 0

    def person(self, name: str, address: str) -> Person:
        return Person(self, name, address)

    @property
    def uma(self) -> Person:
        return self.person("Uma Stein", "uma@acme.example")

    @property
    def max(self) -> Person:
        return self.person("Max Roth", "max@acme.example")

    @property
    def nils(self) -> Person:
        return self.person("Nils Berg", "nils@acme.example")

    @property
    def priya(self) -> Person:
        return self.person("Priya Raman", "priya@northwind.example")

    def new_message_id(self, domain: str) -> str:
        self._count += 1
        return f"<mail-{self._count}@{domain}>"

    def receive(self, content: bytes, mail_from: str, rcpt: tuple[str, ...]) -> int:
        return receive_messages(self.context, [content], mail_from, rcpt, self.now)

    def tick(self) -> Report:
        report = dispatch.tick(self.context, self.now)
        self.reports.append(report)
        return report

    def days(self, count: float) -> list[Report]:
        """Let time pass, with a pass of `tick` every hour."""
        end = self.now + timedelta(days=count)
        reports = []
        while self.now < end:
            self.now = min(self.now + timedelta(hours=1), end)
            reports.append(self.tick())
        return reports

    def captured(self) -> list[Received]:
        parser = BytesParser(policy=email.policy.default)
        mails = [Received(_read(parser, file)) for file in self.directory.glob("outgoing/new/*")]
        return sorted(mails, key=lambda mail: (mail.date, mail.message_id))

    def lead(self, address: str = "priya@northwind.example", as_user: str | None = None) -> dict[str, Any]:
        view = show_lead(self.context, address, as_user)
        assert view is not None, f"no lead {address}"
        return view

    def has_lead(self, address: str) -> bool:
        return show_lead(self.context, address, None) is not None


def _read(parser: BytesParser[EmailMessage], file: Path) -> EmailMessage:
    return parser.parsebytes(file.read_bytes())


def open_scene(directory: Path, configuration: dict[str, Any], database_url: str | None = None) -> Iterator[Scene]:
    """A scene on a configuration of its own, in an empty directory."""
    path = directory / "config.yaml"
    if database_url:
        configuration = {**configuration, "database": {"url": database_url}}
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    settings = load_settings(path, {})
    assert isinstance(settings, Settings), settings
    context = Context(settings, open_store(settings), settings.secret())
    if database_url:
        context.store.migrate()
    prepare(context)
    try:
        yield Scene(context, directory / "var")
    finally:
        context.close()
