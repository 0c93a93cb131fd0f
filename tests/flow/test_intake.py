"""Copied in: who becomes a lead, who may, and what the user is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.scene import Scene

BOB = "Bob Lee <bob@northwind.example>"
EVE = "Eve Chen <eve@fabrikam.example>"


def test_every_recipient_in_to_becomes_a_lead_with_a_thread_of_its_own(scene: Scene) -> None:
    scene.uma.writes(to=f"{scene.priya}, {BOB}", cc=f"asha@acme.example, {EVE}")
    assert scene.lead("priya@northwind.example")["copied"] == ["eve@fabrikam.example"]
    assert scene.lead("bob@northwind.example")["copied"] == ["eve@fabrikam.example"]
    assert not scene.has_lead("eve@fabrikam.example")
    assert len(scene.uma.got("ack")) == 1, "one acknowledgement for all"
    scene.days(4)
    to_priya = scene.priya.got("followup")[-1]
    assert "bob@northwind.example" not in str(to_priya.message["To"]) + str(to_priya.message["Cc"])
    assert "eve@fabrikam.example" in str(to_priya.message["Cc"])


def test_external_people_in_cc_become_leads_when_nobody_external_is_in_to(scene: Scene) -> None:
    scene.uma.writes(to="Asha <asha@acme.example>, max@acme.example", cc=str(scene.priya))
    assert scene.lead()["source"] == "cc"
    assert not scene.has_lead("max@acme.example")


def test_bcc_shows_in_the_envelope_alone(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya, cc=None, bcc="asha@acme.example")
    assert scene.lead()["source"] == "bcc"


@pytest.mark.parametrize("address", ["noreply@northwind.example", "mailer-daemon@northwind.example", "x@rival.example", "it@sub.rival.example", "old@shop.example"])  # fmt: skip
def test_some_addresses_never_become_leads(stage: Callable[..., Scene], address: str) -> None:
    scene = stage(exclusions=["rival.example", "old@shop.example"])
    scene.uma.writes(to=address)
    assert not scene.has_lead(address)
    assert len(scene.uma.got("notice")) == 1, "the user is told that nobody is followed up"


def test_the_acknowledgement_says_what_was_understood(scene: Scene) -> None:
    sent = scene.uma.writes(to=scene.priya, text="Hi Priya,\nour offer.\n")
    ack = scene.uma.got("ack")[0]
    assert ack.message["In-Reply-To"] == sent and ack.subject == "Re: Our offer"
    assert ack.message["Auto-Submitted"]
    assert "Priya Raman" in ack.text and "recommended-cc" in ack.text
    for label in ("Change the name", "Change the sequence", "Stop", "Not at risk"):
        assert ack.link(label).startswith("http://127.0.0.1:8025/a/")
    assert [mail.kind for mail in scene.priya.inbox] == [], "only the user gets it"


@pytest.mark.parametrize(
    ("to", "text", "default", "expected"),
    [
        (
            '"Raman, Priya (Northwind)" <priya@northwind.example>',
            "Hello",
            "Sir/Madam",
            ("Priya", "Raman", "display_name"),
        ),
        ("PRIYA RAMAN <priya@northwind.example>", "Hello", "Sir/Madam", ("Priya", "Raman", "display_name")),
        ("priya@northwind.example", "Hi Priya,\n\nour offer", "Sir/Madam", ("Priya", "", "greeting")),
        ("priya@northwind.example", "Our offer is attached.", "Sir/Madam", ("Sir/Madam", "", "default")),
        ("sales@northwind.example", "Our offer is attached.", "", ("Sales", "", "local_part")),
        ('"priya@northwind.example" <priya@northwind.example>', "Offer.", "Sir/Madam", ("Sir/Madam", "", "default")),
    ],
)
def test_names_have_their_sources(
    stage: Callable[..., Scene], to: str, text: str, default: str, expected: tuple[str, str, str]
) -> None:
    scene = stage(preferences={"default_lead_name": default})
    scene.uma.writes(to=to, text=text)
    address = "sales@northwind.example" if "sales@" in to else "priya@northwind.example"
    lead = scene.lead(address)
    assert (lead["first"], lead["last"], lead["name_source"]) == expected


def test_a_user_who_is_not_assigned_is_told_whom_to_ask(scene: Scene) -> None:
    scene.nils.writes(to=scene.priya)
    assert not scene.has_lead("priya@northwind.example")
    [notice] = scene.nils.inbox
    assert "Uma Stein" in notice.text


def test_a_stranger_gets_no_answer(scene: Scene) -> None:
    stranger = scene.person("Mallory", "mallory@evil.example")
    stranger.writes(to=scene.priya)
    assert not scene.has_lead("priya@northwind.example")
    assert scene.captured() == []


def test_a_colleagues_lead_is_left_alone(scene: Scene) -> None:
    scene.max.writes(to=scene.priya)
    before = scene.lead()
    admin_less = scene.person("Max Roth", "max@acme.example")
    assert admin_less.got("ack")
    stage_lead = scene.lead()
    assert stage_lead == before


def test_the_sender_learns_that_a_colleague_is_on_it_and_the_owner_is_told(stage: Callable[..., Scene]) -> None:
    scene = stage(
        users=[
            {"name": "Uma Stein", "address": "uma@acme.example", "role": "admin"},
            {"name": "Max Roth", "address": "max@acme.example"},
            {"name": "Ida Holm", "address": "ida@acme.example"},
        ],
        assistants=[
            {
                "name": "Asha Rao",
                "address": "asha@acme.example",
                "users": ["max@acme.example", "ida@acme.example"],
                "preferences": {"spread_minutes": 0},
            }
        ],
    )
    scene.max.writes(to=scene.priya)
    before = scene.lead()
    ida = scene.person("Ida Holm", "ida@acme.example")
    ida.writes(to=scene.priya)
    assert scene.lead() == before
    [told] = ida.inbox
    assert "Uma Stein" in told.text and "Max" not in told.text, "whom to ask, and nothing more"
    assert any("Ida Holm" in mail.text for mail in scene.max.got("notice"))
    assert ida.address not in str(scene.lead("priya@northwind.example", as_user="max@acme.example"))


def test_an_admin_acts_for_the_owner_and_both_are_told(scene: Scene) -> None:
    scene.max.writes(to=scene.priya)
    scene.uma.writes(to=scene.priya, subject="A new matter")
    lead = scene.lead()
    assert lead["owner"] == "max@acme.example"
    assert lead["conversation"][0] == "<mail-2@acme.example>", "restarted on the new thread"
    assert len(scene.max.got("ack")) == 2 and len(scene.uma.got("ack")) == 1


def test_reply_in_the_known_thread_while_active_carries_on(scene: Scene) -> None:
    first = scene.uma.writes(to=scene.priya)
    scene.days(3)
    before = scene.lead()
    scene.uma.replies("One more thought.", on=first, to=str(scene.priya))
    after = scene.lead()
    assert (after["step"], after["next_at"]) == (before["step"], before["next_at"])
    assert not after["at_risk"]


def test_reply_in_the_known_thread_when_not_active_restarts(scene: Scene) -> None:
    first = scene.uma.writes(to=scene.priya)
    scene.priya.replies("Maybe later.", on=first)
    assert scene.lead()["state"] == "Responded"
    scene.days(1)
    scene.uma.replies("Shall we?", on=first, to=str(scene.priya))
    lead = scene.lead()
    assert (lead["state"], lead["step"]) == ("Cold", 1) and lead["next_at"]


def test_new_thread_restarts_on_that_thread(scene: Scene) -> None:
    scene.uma.writes(to=scene.priya)
    scene.days(4)
    second = scene.uma.writes(to=scene.priya, subject="Another matter")
    lead = scene.lead()
    assert (lead["step"], lead["conversation"]) == (1, [second])
    scene.days(4)
    assert scene.priya.got("followup")[-1].subject == "Re: Another matter"


def test_an_unsubscribed_lead_is_never_restarted(scene: Scene) -> None:
    from agent import clock
    from agent.links import Links

    scene.uma.writes(to=scene.priya)
    scene.days(3)
    header = str(scene.priya.got("followup")[-1].message["List-Unsubscribe"])
    token = header.strip("<>").rpartition("/")[2]
    links = Links(scene.context, clock.now)
    described = links.describe(token)
    assert described is not None and scene.lead()["state"] == "Cold", "a look changes nothing"
    assert links.act(token, {}) == links.act(token, {}) == "done"
    assert (scene.lead()["state"], scene.lead()["sub_state"]) == ("Unsubscribed", "Link")
    scene.uma.writes(to=scene.priya, subject="Once more")
    assert scene.lead()["state"] == "Unsubscribed"
    scene.days(60)
    assert len(scene.priya.got("followup")) == 1


def test_several_assistants_the_first_in_header_order_that_the_user_may_use(stage: Callable[..., Scene]) -> None:
    scene = stage(
        assistants=[
            {"name": "Asha Rao", "address": "asha@acme.example", "users": ["uma@acme.example"]},
            {"name": "Ben Ode", "address": "ben@acme.example", "users": ["max@acme.example"]},
        ]
    )
    scene.max.writes(to=scene.priya, cc="asha@acme.example, ben@acme.example", rcpt=("asha@acme.example", "ben@acme.example"))  # fmt: skip
    assert scene.lead()["assistant"] == "ben@acme.example"
    assert len(scene.max.got("ack")) == 1
