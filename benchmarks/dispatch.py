"""Follow-ups to smtp-sink: rendered, one durable claim a mail, none lost or doubled.

The peer is what one writes first: eight Dramatiq threads, a claim and a commit a mail, EmailMessage and Jinja2 a mail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import Row
from tests import servers
from tests.flow.scene import MONDAY, acme, open_scene

MAILS = 1_000
ROUNDS = 3


@contextlib.contextmanager
def sink() -> Iterator[int]:
    port = servers.free_port()
    command = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    server = subprocess.Popen(
        [command, *as_user, "-c", f"127.0.0.1:{port}", "200"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        servers.wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def naive(port: int, directory: Path) -> float:
    """Mails a second of the peer."""
    import smtplib
    from email.message import EmailMessage

    import dramatiq
    import jinja2
    from dramatiq.brokers.stub import StubBroker

    database = str(directory / "naive.db")
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT)")
        connection.executemany("INSERT INTO jobs VALUES (?, 'waiting')", [(n,) for n in range(MAILS)])
    environment = jinja2.Environment()
    source = "Hello {{ name }},\n\ndid you have a chance to look at Uma's mail below?\n\nAsha\n"
    local, done = threading.local(), threading.Event()
    left, lock = [MAILS], threading.Lock()

    def deliver(number: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = sqlite3.connect(database, timeout=60, isolation_level=None)
            local.connection.execute("PRAGMA synchronous = FULL")
            local.smtp = smtplib.SMTP("127.0.0.1", port)
        local.connection.execute("UPDATE jobs SET status = 'sending' WHERE id = ? AND status = 'waiting'", (number,))
        message = EmailMessage()
        message["From"], message["To"] = "asha@acme.example", f"lead{number}@northwind.example"
        message["Subject"], message["Message-ID"] = "Re: Our offer", f"<{number}@acme.example>"
        message.set_content(environment.from_string(source).render(name="Priya"))
        message.add_alternative(f"<p>{environment.from_string(source).render(name='Priya')}</p>", subtype="html")
        local.smtp.send_message(message)
        local.connection.execute("UPDATE jobs SET status = 'sent' WHERE id = ?", (number,))
        with lock:
            left[0] -= 1
            if left[0] == 0:
                done.set()

    broker = StubBroker()
    actor = dramatiq.Actor(deliver, broker=broker, actor_name="deliver", queue_name="default", priority=0, options={})
    worker = dramatiq.Worker(broker, worker_threads=8, worker_timeout=10)
    for number in range(MAILS):
        actor.send(number)
    start = time.perf_counter()
    worker.start()
    done.wait(120)
    took = time.perf_counter() - start
    worker.stop()
    return MAILS / took


def ours(port: int, directory: Path) -> float:
    """Mails a second of a whole `tick`: due leads claimed, written, booked, sent, recorded with the next date."""
    from agent import dispatch
    from agent.receiving import receive_messages

    configuration = {
        **acme(preferences={"cc_owner": False, "business_hours": "00:00-24:00"}),
        "outgoing": {"smtp": {"host": "127.0.0.1", "port": port, "tls": "none"}},
        "logging": {"level": "error"},
    }
    for scene in open_scene(directory, configuration):
        contents = [
            (
                f"From: Uma Stein <uma@acme.example>\r\nTo: Priya Raman <lead{n}@northwind.example>\r\nCc: asha@acme.example\r\n"
                f"Subject: Our offer\r\nMessage-ID: <offer-{n}@acme.example>\r\n\r\nHi Priya,\r\n\r\nour offer.\r\n"
            ).encode()
            for n in range(MAILS)
        ]
        receive_messages(scene.context, contents, "uma@acme.example", ("asha@acme.example",), MONDAY)
        start = time.perf_counter()
        report = dispatch.tick(scene.context, MONDAY.replace(day=6))
        took = time.perf_counter() - start
        assert len({s.message_id for s in report.sent}) == len(report.sent) == MAILS, "lost or doubled"
        return MAILS / took
    raise AssertionError


def rows() -> list[Row]:
    from agent.logs import configure_logging

    configure_logging()
    peers: list[float] = []
    own: list[float] = []
    with sink() as port:
        for _ in range(ROUNDS):
            for measured, work in ((peers, naive), (own, ours)):
                with tempfile.TemporaryDirectory() as directory:
                    measured.append(work(port, Path(directory)))
    a, b = median(peers), median(own)
    return [
        Row("dispatch to smtp-sink", "naive Dramatiq, 8 threads", f"{a:.0f}/s", f"{b:.0f}/s", b / a, "≥ 3", b / a >= 3)
    ]
