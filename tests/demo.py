"""`make demo`: the main job end to end, on real SMTP over loopback and simulated days, told step by step."""

from __future__ import annotations

import email
import email.policy
import smtplib
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tests.flow.scene import acme
from tests.running import json_lines, relance, running, until, write_config

USER, LEAD, ASSISTANT = "uma@acme.example", "priya@northwind.example", "asha@acme.example"
TRUSTED = "mx.acme.example"


class Story:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.failed = False

    def tell(self, text: str) -> None:
        print(text, flush=True)

    def check(self, what: str, came_true: object) -> None:
        self.failed = self.failed or not came_true
        print(f"   {'✓' if came_true else '✗'} {what}", flush=True)

    def mails(self, kind: str) -> list[EmailMessage]:
        found = []
        for file in (self.directory / "var/outgoing/new").glob("*"):
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            if message["X-Capture-Kind"] == kind:
                found.append(message)
        return sorted(found, key=lambda m: m["Date"].datetime)

    def lead(self) -> dict[str, Any] | None:
        done = relance(self.directory, "lead", "show", LEAD)
        return json_lines(done)[0] if done.returncode == 0 else None

    def to_lead(self) -> list[EmailMessage]:
        return [m for m in self.mails("followup") if m["X-Envelope-To"] == LEAD]


def mail(sender: str, to: str, subject: str, text: str, **headers: str) -> EmailMessage:
    message = EmailMessage(policy=email.policy.SMTP)
    domain = sender.rpartition("@")[2].rstrip(">")
    # As the receiving server of Acme's own mail would have checked it.
    message["Authentication-Results"] = f"{TRUSTED}; dkim=pass header.d={domain}"
    message["From"], message["To"], message["Cc"], message["Subject"] = sender, to, f"Asha Rao <{ASSISTANT}>", subject
    message["Date"] = format_datetime(datetime.now(UTC))
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def play(story: Story) -> None:
    configuration = {**acme(), "security": {"trusted_authserv_ids": [TRUSTED]}}
    write_config(story.directory, configuration)
    with running(story.directory) as server:
        story.tell(f"1. Relance runs and takes mail by SMTP at {server.address('SMTP')}.")
        story.tell("2. Uma writes to Priya and copies Asha, the assistant.")
        offer = mail(f"Uma Stein <{USER}>", f"Priya Raman <{LEAD}>", "Our offer", "Hi Priya,\n\nhere is our offer.\n\nUma\n", Message_ID="<offer@acme.example>")  # fmt: skip
        with server.smtp as smtp:
            smtp.send_message(offer, USER, [ASSISTANT])
            try:
                smtp.sendmail(USER, ["nobody@acme.example"], b"Subject: x\r\n\r\nx")
                refused = False
            except smtplib.SMTPRecipientsRefused as fault:
                refused = fault.recipients["nobody@acme.example"][0] == 550
        lead = until(story.lead)
        story.check(f"Priya is a lead: {lead['state']}, sequence {lead['sequence']}, step {lead['step']} of {lead['steps']}", lead["state"] == "Cold" and lead["step"] == 1)  # fmt: skip
        story.check("mail for somebody else was refused with 550", refused)
        ack = until(lambda: story.mails("ack"))[0]
        story.check(f"Uma alone got an acknowledgement: {ack['Subject']}", ack["X-Envelope-To"] == USER)
        story.check("the process drains and ends well on SIGTERM", server.stop() == 0)
    now = datetime.now(UTC)
    story.tell("3. Days pass; a pass of the clock every six hours.")
    for _ in range(12 * 24 // 6):
        now += timedelta(hours=6)
        relance(story.directory, "tick", "--now", now.isoformat())
        if len(story.to_lead()) >= 2:
            break
    sent = story.to_lead()
    for number, message in enumerate(sent, 2):
        story.tell(f"   step {number}, {message['Date'].datetime:%a %d %b %H:%M}: {message['Subject']}")
    story.check("two follow-ups went out in Uma's thread", len(sent) == 2 and all("<offer@acme.example>" in m["References"] for m in sent))  # fmt: skip
    story.check("each on a business day between nine and five", all(m["Date"].datetime.weekday() < 5 and 9 <= m["Date"].datetime.hour < 17 for m in sent))  # fmt: skip
    story.check(
        "each with a way to unsubscribe", all(m["List-Unsubscribe"] and m["List-Unsubscribe-Post"] for m in sent)
    )
    story.tell("4. Priya answers; a colleague's out-of-office would not count, this does.")
    with running(story.directory, "--role", "listener,worker,scheduler") as server:
        last = sent[-1]
        answer = mail(f"Priya Raman <{LEAD}>", str(last["From"]), str(last["Subject"]), "Tomorrow at five works for me.\n\nPriya\n", In_Reply_To=str(last["Message-ID"]), References=f"{last['References']} {last['Message-ID']}")  # fmt: skip
        with server.smtp as smtp:
            smtp.send_message(answer, LEAD, [ASSISTANT])
        until(lambda: (story.lead() or {})["state"] == "Responded")
        passed_on = until(lambda: story.mails("answer"))[0]
        server.stop()
    lead = story.lead() or {}
    story.check(
        f"she shows as {lead['state']}, nothing is due any more",
        lead["state"] == "Responded" and lead["next_at"] is None,
    )
    body = passed_on.get_body(("plain",))
    story.check("Uma got the answer in full", body is not None and "Tomorrow at five" in body.get_content())
    story.tell("5. A hundred days later.")
    for day in range(0, 100, 10):
        relance(story.directory, "tick", "--now", (now + timedelta(days=day)).isoformat())
    story.check("not one mail more to Priya", len(story.to_lead()) == 2)
    story.tell("6. What Relance remembers of her:")
    for entry in (story.lead() or {})["history"]:
        story.tell(
            f"   {entry['at'][:16]}  {entry['event']:<10} {entry['from_state'] or '-':>9} → {entry['to_state']:<9} by {entry['by']}"
        )


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="relance-demo-") as directory:
        story = Story(Path(directory))
        play(story)
    print("\nEverything came out right." if not story.failed else "\nSomething came out wrong.", flush=True)
    return 1 if story.failed else 0


if __name__ == "__main__":
    sys.exit(main())
