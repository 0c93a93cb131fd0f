"""Parse one mail (headers, addresses, date, text) beside the standard library's `policy.default`,
and find out that it is no bounce beside flufl.bounce."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from functools import partial

from benchmarks.mails import ordinary
from benchmarks.measure import Row, in_turn, seconds
from mailflow.dsn import read_report
from mailflow.parse import parse

TIMES = 300


def read_by_default_policy(content: bytes) -> object:
    message = email.message_from_bytes(content, policy=email.policy.default)
    body = message.get_body(("plain",))
    assert isinstance(body, EmailMessage)
    return (
        message["Subject"],
        message["Message-ID"],
        message["References"],
        message["From"].addresses,
        message["To"].addresses,
        message["Cc"].addresses,
        message["Date"].datetime,
        body.get_content(),
    )


def read_by_us(content: bytes) -> object:
    p = parse(content)
    return (p.subject, p.message_id, p.references, p.header_from, p.to, p.cc, p.date, p.text)


def _each(read: Callable[[bytes], object], content: bytes) -> float:
    return seconds(lambda: [read(content) for _ in range(TIMES)]) / TIMES


def rows() -> list[Row]:
    found = []
    for size, target in ((5_000, 8.0), (18_000, 5.0)):
        content = ordinary(size)
        peer, ours = in_turn(
            partial(_each, read_by_default_policy, content), partial(_each, read_by_us, content), rounds=7
        )
        ratio = peer / ours
        found.append(
            Row(
                f"parse, {size // 1000} KB", "policy.default", f"{peer * 1e3:.2f} ms", f"{ours * 1e3:.3f} ms",
                ratio, f"≥ {target:.0f}", ratio >= target,
            )
        )  # fmt: skip
        found.append(_not_a_bounce(content, size))
    return found


def _not_a_bounce(content: bytes, size: int) -> Row:
    from flufl.bounce import scan_message

    message = email.message_from_bytes(content)
    parsed = [parse(content) for _ in range(TIMES)]
    for p in parsed:
        p.text  # noqa: B018 - the parse itself is measured in its own row
    peer, ours = in_turn(
        lambda: seconds(lambda: [scan_message(message) for _ in range(TIMES)]) / TIMES,
        lambda: seconds(lambda: [read_report(p, "priya@northwind.example") for p in parsed]) / TIMES,
        rounds=7,
    )
    ratio = peer / ours
    return Row(
        f"not a bounce, {size // 1000} KB", "flufl.bounce", f"{peer * 1e3:.2f} ms", f"{ours * 1e3:.4f} ms",
        ratio, "≥ 20", ratio >= 20,
    )  # fmt: skip
