"""kill -9 at any moment: no accepted message is lost, no follow-up is there twice."""

from __future__ import annotations

import collections
import email
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.flow.scene import acme

RELANCE = [str(Path(sys.executable).with_name("relance"))]
LEADS = 100
KILLS = 50


def relance(directory: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*RELANCE, *arguments], cwd=directory, input=stdin, capture_output=True, check=False)


@pytest.fixture
def office(tmp_path: Path) -> Path:
    configuration = acme(preferences={"daily_limit": 10_000, "warm_up": False, "cc_owner": True})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return tmp_path


def message_to(number: int) -> bytes:
    return (
        f"From: Uma Stein <uma@acme.example>\r\nTo: Lead {number} <lead{number}@northwind.example>\r\n"
        f"Cc: asha@acme.example\r\nSubject: Offer {number}\r\nMessage-ID: <offer-{number}@acme.example>\r\n"
        "Date: Mon, 02 Mar 2026 09:00:00 +0000\r\n\r\nOur offer.\r\n"
    ).encode()


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> int:
    time.sleep(seconds)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    return process.wait()


def followups(directory: Path) -> collections.Counter[tuple[str, str]]:
    """How often each copy of each follow-up lies in the capture directory."""
    counted: collections.Counter[tuple[str, str]] = collections.Counter()
    for file in (directory / "var/outgoing/new").glob("*"):
        mail = email.message_from_bytes(file.read_bytes())
        if mail["X-Capture-Kind"] == "followup":
            counted[mail["Message-ID"], mail["X-Envelope-To"]] += 1
    return counted


def test_killed_fifty_times_within_ticks_of_a_hundred_due_leads(office: Path) -> None:
    files = []
    for number in range(LEADS):
        file = office / f"{number}.eml"
        file.write_bytes(message_to(number))
        files.append(str(file))
    arguments = ("--mail-from", "uma@acme.example", "--rcpt", "asha@acme.example", "--at", "2026-03-02T09:00:00Z")
    assert relance(office, "receive", *arguments, *files).returncode == 0
    chance = random.Random(7)
    killed = 0
    for number in range(KILLS):
        # The early ones die while they start, the later ones anywhere up to the end of the pass.
        tick = subprocess.Popen([*RELANCE, "tick", "--now", "2026-03-20T10:00:00Z"], cwd=office, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        killed += kill_after(tick, chance.uniform(0.25, 0.25 + 0.02 * number)) == -signal.SIGKILL
    assert killed > KILLS // 5
    assert relance(office, "tick", "--now", "2026-03-20T10:00:00Z").returncode == 0
    sent = followups(office)
    assert max(sent.values()) == 1, "a follow-up is there twice"
    assert len({message_id for message_id, _ in sent}) == LEADS, "a follow-up is missing"
    assert len(sent) == 2 * LEADS, "the lead's copy and the owner's"
    leads = [json.loads(line) for line in relance(office, "lead", "list").stdout.splitlines()]
    assert {lead["step"] for lead in leads} == {2}


def test_killed_fifty_times_while_receiving(office: Path) -> None:
    chance = random.Random(11)
    accepted = []
    for number in range(KILLS):
        receive = subprocess.Popen(
            [*RELANCE, "receive", "--mail-from", "uma@acme.example", "--rcpt", "asha@acme.example", "--at", "2026-03-02T09:00:00Z"],
            cwd=office, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert receive.stdin is not None
        receive.stdin.write(message_to(number))
        receive.stdin.close()
        if kill_after(receive, chance.uniform(0.2, 0.9)) == 0:
            accepted.append(number)
    assert relance(office, "tick", "--now", "2026-03-02T09:05:00Z").returncode == 0
    leads = {json.loads(line)["address"] for line in relance(office, "lead", "list").stdout.splitlines()}
    assert {f"lead{number}@northwind.example" for number in accepted} <= leads
    assert accepted and len(accepted) < KILLS
    # What the killed ones had already stored is a lead too, and each got exactly one acknowledgement.
    subjects = collections.Counter(
        email.message_from_bytes(file.read_bytes())["Subject"] for file in (office / "var/outgoing/new").glob("*")
    )
    assert set(subjects.values()) == {1}
    assert len(subjects) == len(leads)
