"""The main job: copied in, followed up in the thread, stopped by the answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.flow.scene import Scene


def test_seven_steps_in_one_thread_and_then_processed(stage: Callable[..., Scene], database_url: str) -> None:
    scene = stage(database_url)
    first = scene.uma.writes(to=scene.priya, text="Hi Priya,\n\nhere is our offer.\n\nUma\n")
    lead = scene.lead()
    assert (lead["state"], lead["sub_state"], lead["step"], lead["steps"]) == ("Cold", "Followup", 1, 7)
    assert (lead["first"], lead["last"], lead["name_source"]) == ("Priya", "Raman", "display_name")
    assert lead["source"] == "cc" and lead["owner"] == "uma@acme.example"

    scene.days(120)
    mails = scene.priya.got("followup")
    assert len(mails) == 6, "step 1 was Uma's own mail"
    assert [mail.references[0] for mail in mails] == [first] * 6
    assert mails[0].references == [first]
    assert mails[5].references[-1] == mails[4].message_id
    assert {mail.subject for mail in mails} == {"Re: Our offer"}
    gaps = [later.date - earlier.date for earlier, later in itertools.pairwise(mails)]
    assert all(timedelta(days=1) <= gap for gap in gaps)
    assert all(mail.date.weekday() < 5 and 9 <= mail.date.hour < 17 for mail in mails)
    assert all("Priya" in mail.text and "uma@acme.example" in str(mail.message["Cc"]) for mail in mails)
    lead = scene.lead()
    assert (lead["state"], lead["sub_state"], lead["step"], lead["next_at"]) == ("Processed", "NoAnswer", 7, None)
    assert lead["at_risk"], "came by Cc and never answered"


def test_the_answer_stops_everything_and_reaches_the_owner_whole(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(10)
    sent = len(scene.priya.got("followup"))
    assert sent >= 1
    scene.priya.replies("Tomorrow at five works for me.\n\nPriya\n")
    lead = scene.lead()
    assert (lead["state"], lead["next_at"]) == ("Responded", None)
    answer = scene.uma.got("answer")[-1]
    assert "Tomorrow at five works for me." in answer.text
    scene.days(60)
    assert len(scene.priya.got("followup")) == sent, "one mail too many"


def test_an_answer_in_the_same_minute_as_a_due_step_wins(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(2)
    first = scene.priya.got("followup")
    scene.priya.replies("No need to remind me.", on=scene.uma.got("ack")[0].references[0])
    scene.days(5)
    assert scene.priya.got("followup") == first or len(scene.priya.got("followup")) == len(first)


def test_a_colleague_at_the_leads_company_answers_for_it(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(5)
    followup = scene.priya.got("followup")[-1]
    scene.person("Tom Ellis", "tom@northwind.example").replies("Priya passed this on to me.", on=followup)
    assert scene.lead()["state"] == "Responded"
    assert "Priya passed this on to me." in scene.uma.got("answer")[-1].text


def test_automatic_mail_is_never_an_answer(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(5)
    before = len(scene.priya.got("followup"))
    scene.priya.replies(
        "I am out of the office.", headers={"Auto-Submitted": "auto-replied"}, subject="Automatic reply: Our offer"
    )
    lead = scene.lead()
    assert lead["state"] == "OutOfOffice"
    scene.days(40)
    assert len(scene.priya.got("followup")) > before, "it goes on after the absence"


def test_the_same_message_twice_is_one_message(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    content = scene.uma.got("ack")
    assert len(content) == 1
    scene._count = 0  # the same Message-ID, date and text once more
    scene.uma.writes(to=scene.priya)
    assert len(scene.uma.got("ack")) == 1
    assert len(scene.lead()["history"]) == 1


def test_a_permanent_failure_report_deactivates_and_tells_the_owner(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(5)
    followup = scene.priya.got("followup")[-1]
    envelope_sender = str(followup.message["X-Envelope-From"]).strip("<>")
    report = f"""From: Mail Delivery System <MAILER-DAEMON@mx.acme.example>
To: {envelope_sender}
Subject: Undelivered Mail Returned to Sender
Date: Mon, 09 Mar 2026 10:00:00 +0000
Message-ID: <report-1@mx.acme.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

The mail system could not deliver your message.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.acme.example

Final-Recipient: rfc822; priya@northwind.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
""".replace("\n", "\r\n").encode()
    scene.receive(report, "", (envelope_sender.upper(),))
    lead = scene.lead()
    assert (lead["state"], lead["sub_state"]) == ("Deactivated", "BounceDeactivated")
    assert scene.uma.got("notice")
    scene.days(60)
    assert scene.priya.got("followup")[-1].message_id == followup.message_id


def test_a_step_with_a_missing_field_waits_and_goes_once_the_name_is_given(stage: Callable[..., Scene]) -> None:
    from agent.links import Links

    steps = [{}, {"after_days": 1, "text": "Hello {{ lead.last_name }}, any news?"}]
    scene = stage(
        sequences=[{"name": "short", "kind": "cc", "steps": steps}],
        preferences={"default_cc_sequence": "short", "default_lead_name": "Sir/Madam"},
    )
    scene.uma.writes(to="priya@northwind.example")
    scene.days(3)
    assert scene.priya.got("followup") == []
    [held] = scene.uma.got("notice")
    assert "last_name" in held.text and scene.lead()["held"]
    token = scene.uma.got("ack")[0].link("Change the name").rpartition("/")[2]
    assert Links(scene.context, lambda: scene.now).act(token, {"name": "Priya Raman"}) == "done"
    scene.tick()
    [sent] = scene.priya.got("followup")
    assert "Hello Raman," in sent.text


def test_a_message_that_can_not_be_processed_is_quarantined_and_the_next_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.held import list_held, replay_held
    from agent.situate import situate

    def fails_on_evil(unit: Any, raw: Any, parsed: Any, *rest: Any) -> Any:
        if parsed.subject == "evil":
            raise RuntimeError("a fault of ours")
        return situate(unit, raw, parsed, *rest)

    monkeypatch.setattr("agent.ingest.situate", fails_on_evil)
    scene.uma.writes(to="bob@northwind.example", subject="evil")
    scene.uma.writes(to=scene.priya)
    assert scene.lead()["state"] == "Cold", "nobody else's mail is affected"
    scene.days(1)
    [held] = list_held(scene.context)
    assert "a fault of ours" in held["reason"] and held["subject"] == "evil"
    monkeypatch.undo()
    assert replay_held(scene.context, held["id"], scene.now)
    assert scene.lead("bob@northwind.example")["state"] == "Cold"
    assert list(list_held(scene.context)) == []
