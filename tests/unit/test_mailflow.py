"""Reading and writing mail: names, reports, vouching, rules, composing, rendering."""

from __future__ import annotations

import base64
import email
import email.policy
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailflow.authenticity import judge
from mailflow.compose import compose
from mailflow.dsn import read_report
from mailflow.message import Draft
from mailflow.names import read_greeting, split_name
from mailflow.parse import parse
from mailflow.render import RenderError, render, text_to_html
from mailflow.rules import RuleTable, load_table
from state.lead import Mailbox

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("Priya Raman", ("Priya", "Raman")),
        ("Raman, Priya (Northwind)", ("Priya", "Raman")),
        ("PETER VAN DIJK", ("Peter", "van Dijk")),
        ("DUPONT Marie", ("Marie", "Dupont")),
        ("Dr. Anna Maria van der Berg, PhD", ("Anna Maria", "van der Berg")),
        ("Priya Raman via LinkedIn", ("Priya", "Raman")),
        ("王小明", ("小明", "王")),
        ("山田 太郎", ("太郎", "山田")),
        ("김철수", ("철수", "김")),
        ("Sales Team", None),
        ("priya@northwind.example", None),
        ("", None),
    ],
)
def test_display_names(shown: str, expected: tuple[str, str] | None) -> None:
    assert split_name(shown, "p@northwind.example") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi Priya,\n\nour offer", ("Priya", "")),
        ("Bonjour Marie,\n", ("Marie", "")),
        ("Dear Mr Smith,\n", None),
        ("Hello there,\n", None),
        ("Our offer is attached.", None),
    ],
)
def test_greetings(text: str, expected: tuple[str, str] | None) -> None:
    assert read_greeting(text) == expected


def vouched(*results: str, author: str = "Uma <uma@acme.example>") -> bool:
    header = "".join(f"Authentication-Results: {result}\r\n" for result in results)
    parsed = parse(f"{header}From: {author}\r\n\r\nx".encode())
    return judge(parsed, trusted_authserv_ids=frozenset({"mx.acme.example"}), local=False).authenticated


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (["mx.acme.example; dmarc=pass header.from=acme.example"], True),
        (["mx.acme.example; dkim=pass header.d=acme.example"], True),
        (["mx.acme.example; spf=pass smtp.mailfrom=uma@acme.example"], True),
        (["mx.acme.example; dkim=pass header.d=evil.example"], False),
        (["mx.evil.example; dmarc=pass header.from=acme.example"], False),
        (["mx.evil.example; none", "mx.acme.example; dmarc=pass header.from=acme.example"], False),
        (["mx.acme.example; dkim=pass header.d=acme.example; dmarc=fail header.from=acme.example"], False),
        (["mx.acme.example (dmarc=pass header.from=acme.example); none"], False),
        ([], False),
    ],
)
def test_who_is_vouched_for(results: list[str], expected: bool) -> None:
    assert vouched(*results) is expected


def test_of_two_authors_none_is_vouched_for() -> None:
    assert not vouched("mx.acme.example; dmarc=pass", author="uma@acme.example, mallory@evil.example")


@pytest.mark.parametrize(
    ("entries", "key", "words"),
    [
        ([{"name": "a", "when": {"colour": "red"}, "do": "drop"}], "rules.0.when.colour", "no condition"),
        ([{"name": "a", "when": {"subject": "("}, "do": "drop"}], "rules.0.when.subject", "bad pattern"),
        ([{"name": "a", "when": {"kind": "robot"}, "do": "drop"}], "rules.0.when.kind", "none of"),
        ([{"name": "a", "do": "explode"}], "rules.0.do", "no action"),
        ([{"name": "a", "do": "drop"}, {"name": "b", "do": "hold"}], "rules.1", "can't be reached"),
        ([{"name": "a", "when": {"alone": True}, "do": "drop"}] * 2, "rules.1", "is taken"),
        ([{"do": "drop"}], "rules.0.name", "needs a name"),
        ("everything", "rules", "is a list"),
    ],
)
def test_errors_of_a_rule_table(entries: Any, key: str, words: str) -> None:
    found = load_table(entries, [])
    assert isinstance(found, list)
    assert any(error.key == key and words in error.message for error in found), found


def test_a_table_may_include_the_shipped_one() -> None:
    table = load_table(
        [{"name": "first", "when": {"alone": True}, "do": "hold"}, {"include": "shipped"}],
        [{"name": "last", "do": "drop"}],
    )
    assert isinstance(table, RuleTable)
    assert [rule.name for rule in table.rules] == ["first", "last"]


def draft(**changes: Any) -> Draft:
    values: dict[str, Any] = {
        "message_id": "<1@acme.example>",
        "date": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "sender": Mailbox("Asha Rao", "asha@acme.example"),
        "to": (Mailbox("Priya Raman", "priya@northwind.example"),),
        "subject": "Our offer",
        "text": "Hello Priya,\n",
        **changes,
    }
    return Draft(**values)


def read(content: bytes) -> Any:
    return email.message_from_bytes(content, policy=email.policy.default)


def test_nothing_in_a_value_begins_a_header_line() -> None:
    evil = "x\r\nBcc: victim@example.com\r\n\r\nbody"
    message = read(
        compose(
            draft(
                subject=evil,
                to=(Mailbox(evil, f"a@b.example{evil}"),),
                references=(f"<a{evil}@b>",),
                headers={"X-A": evil},
            )
        )
    )
    assert message["Bcc"] is None
    assert message.get_content().strip() == "Hello Priya,"


@pytest.mark.parametrize(
    "subject", ["Our offer", "Grüße aus Köln", "報價單", "=?utf-8?q?not_a_word?=", "long " * 60, "ä" * 300, ""]
)
def test_subjects_come_through(subject: str) -> None:
    content = compose(draft(subject=subject))
    assert read(content)["Subject"].strip() == subject.strip()
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


def test_bodies_come_through() -> None:
    text = "From here on: äöü\n.dot\n" + "x" * 3_000 + "\n"
    message = read(compose(draft(text=text, html="<p>ä</p>", attached_message=b"Subject: x\n\nold\n")))
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == text.rstrip("\n")
    assert [part.get_content_type() for part in message.iter_parts()] == ["multipart/alternative", "message/rfc822"]


def test_a_missing_field_is_an_error_that_names_it() -> None:
    found = render("Hello {{ lead.first_name }},", {"lead": {}})
    assert isinstance(found, RenderError) and found.field == "first_name"


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__ }}", "{{ lead.__init__.__globals__ }}", "{% for x in range(10**9) %}{% endfor %}", "{{"],
)
def test_a_template_is_sandboxed(source: str) -> None:
    assert isinstance(render(source, {"lead": {}}), RenderError)


def test_values_are_never_run_as_templates() -> None:
    assert render("Hello {{ name }}", {"name": "{{ 7 * 7 }}"}) == "Hello {{ 7 * 7 }}"


def test_text_as_html_is_escaped() -> None:
    assert "<script>" not in text_to_html("<script>alert(1)</script> http://x.example/?a=1&b=2")
    assert '<a href="https://x.example/a/T">Stop</a>' in text_to_html("Stop: https://x.example/a/T")


def test_a_delivered_report_is_no_failure() -> None:
    report = (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n--b--\r\n"
    )
    found = read_report(parse(report), "")
    assert found is not None and found.recipients[0].action == "delivered"
    assert found.recipients[0].permanence == "unknown"


@pytest.mark.parametrize("kind", ["address", "auth", "auto_reply", "bounce", "parse", "reply_text"])
def test_no_message_of_the_corpora_raises(kind: str) -> None:
    file = CORPORA / f"{kind}.jsonl.gz"
    if not file.exists():
        pytest.skip("the corpora are not beside this checkout")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            parsed = parse(base64.b64decode(json.loads(line)["raw"]))
            shown = (parsed.text, parsed.subject, parsed.header_from, parsed.to, parsed.references, parsed.attachments)
            str(shown).encode("utf-8")
            assert "\0" not in parsed.text
            read_report(parsed, "")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 1_000, b"From: " + b"<" * 100_000, b"Subject: " + b"=?utf-8?b?" * 20_000, b":" * 10_000,
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 20_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2_000)),
        b"References: " + b"<a@b> " * 50_000 + b"\r\n\r\nx", b"Date: Fri, 99 Foo 99999 99:99:99 +9999\r\n\r\n",
        b"From: a@b.example\r\n" * 20_000 + b"\r\n", b"Message-ID: <>\r\nContent-Type: ;;;\r\n\r\n\xff\xfe",
    ],
)  # fmt: skip
def test_hostile_messages_are_read_in_bounded_time(content: bytes) -> None:
    parsed = parse(content)
    str(
        (
            parsed.text,
            parsed.html,
            parsed.header_from,
            parsed.date,
            parsed.references,
            parsed.attachments,
            parsed.subject,
        )
    )
    assert len(parsed.content_key) == 64
