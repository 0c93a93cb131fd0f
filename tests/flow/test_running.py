"""`relance run` as its users meet it: real SMTP, both brokers, both databases, stops and outages."""

from __future__ import annotations

import json
import signal
import smtplib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.flow.scene import acme
from tests.running import json_lines, relance, running, until, write_config

UMA, ASHA, PRIYA = "uma@acme.example", "asha@acme.example", "priya@northwind.example"
VOUCHED = {"security": {"trusted_authserv_ids": ["mx.acme.example"]}}


def offer(
    number: int = 1, to: str = PRIYA, vouched: str = "mx.acme.example; dmarc=pass header.from=acme.example"
) -> bytes:
    return (
        f"Authentication-Results: {vouched}\r\nFrom: Uma Stein <{UMA}>\r\nTo: {to}\r\nCc: {ASHA}\r\n"
        f"Subject: Offer\r\nMessage-ID: <offer-{number}@acme.example>\r\n\r\nOur offer.\r\n"
    ).encode()


def has_lead(directory: Path, address: str = PRIYA) -> bool:
    return relance(directory, "lead", "show", address).returncode == 0


def configure(directory: Path, **changes: Any) -> None:
    write_config(directory, {**acme(), **VOUCHED, **changes})


@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_mail_by_smtp_makes_a_lead_on_either_broker_and_database(
    tmp_path: Path, broker: str, database_url: str | None, request: pytest.FixtureRequest
) -> None:
    changes: dict[str, Any] = {}
    if broker == "redis":
        changes["broker"] = {"url": request.getfixturevalue("redis_url")}
    if database_url:
        changes["database"] = {"url": database_url}
    configure(tmp_path, **changes)
    if database_url:
        assert relance(tmp_path, "lead", "list").returncode == 78, "PostgreSQL is migrated by command"
        assert relance(tmp_path, "migrate").returncode == 0
    with running(tmp_path) as server:
        with server.smtp as smtp:
            smtp.sendmail(UMA, [ASHA], offer())
            smtp.sendmail(UMA, [ASHA], offer())
        until(lambda: has_lead(tmp_path))
        until(lambda: list((tmp_path / "var/outgoing/new").glob("*")))
        assert server.stop() == 0
    [lead] = json_lines(relance(tmp_path, "lead", "show", PRIYA))
    assert [entry["event"] for entry in lead["history"]] == ["CopiedIn"], "the same mail twice is one mail"


def test_what_smtp_refuses(tmp_path: Path) -> None:
    configure(tmp_path, listener={"smtp": "127.0.0.1:0", "max_size": "100KB"})
    with running(tmp_path, "--role", "listener") as server, server.smtp as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            smtp.sendmail(UMA, ["nobody@acme.example"], offer())
        assert refused.value.recipients["nobody@acme.example"][0] == 550
        smtp.rset()
        smtp.sendmail(UMA, ["ASHA+anything@acme.example"], offer())
        smtp.ehlo_or_helo_if_needed()
        assert int(smtp.esmtp_features["size"]) == 100_000
        with pytest.raises(smtplib.SMTPException):
            smtp.sendmail(UMA, [ASHA], offer() + b"x" * 200_000)


def test_nobody_is_a_user_by_his_word_alone(tmp_path: Path) -> None:
    configure(tmp_path)
    with running(tmp_path) as server, server.smtp as smtp:
        smtp.sendmail(UMA, [ASHA], offer(vouched="mx.evil.example; dmarc=pass header.from=acme.example"))
        smtp.sendmail(UMA, [ASHA], offer(2, vouched="mx.acme.example; dmarc=fail header.from=acme.example"))
        until(lambda: len(json_lines(relance(tmp_path, "quarantine", "list"))) == 2)
    assert not has_lead(tmp_path)
    assert not list((tmp_path / "var").glob("outgoing/new/*")), "and nobody gets an answer"


def test_lmtp_answers_for_each_recipient(tmp_path: Path) -> None:
    configure(tmp_path, listener={"smtp": None, "lmtp": "127.0.0.1:0"})
    with running(tmp_path) as server:
        host, _, port = server.address("LMTP").rpartition(":")
        with smtplib.LMTP(host, int(port)) as lmtp:
            lmtp.ehlo()
            lmtp.mail(UMA)
            lmtp.rcpt(ASHA)
            lmtp.rcpt("asha+x@acme.example")
            code, reply = lmtp.data(offer())
            assert code == 250
            assert lmtp.getreply()[0] == 250, "one answer for each"
        until(lambda: has_lead(tmp_path))


def test_starttls_when_configured(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    configure(tmp_path, listener={"smtp": "127.0.0.1:0", "tls": {"certificate": "cert.pem", "key": "key.pem"}})
    with running(tmp_path) as server, server.smtp as smtp:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        context.check_hostname = False
        smtp.starttls(context=context)
        smtp.sendmail(UMA, [ASHA], offer())
        until(lambda: has_lead(tmp_path))


def test_with_every_broker_message_dropped_tick_finds_all_work(tmp_path: Path) -> None:
    configure(tmp_path)
    with running(tmp_path, "--role", "listener") as server, server.smtp as smtp:
        for number in range(5):
            smtp.sendmail(UMA, [ASHA], offer(number, f"lead{number}@northwind.example"))
    assert not has_lead(tmp_path, "lead0@northwind.example")
    [report] = json_lines(relance(tmp_path, "tick"))
    assert report["retried"] == 5
    assert all(has_lead(tmp_path, f"lead{number}@northwind.example") for number in range(5))


def test_a_broker_that_is_away_loses_nothing(tmp_path: Path) -> None:
    configure(tmp_path, broker={"url": f"redis://127.0.0.1:{servers.free_port()}/0"})
    with running(tmp_path, "--role", "listener") as server, server.smtp as smtp:
        smtp.sendmail(UMA, [ASHA], offer())
    assert json_lines(relance(tmp_path, "tick"))[0]["retried"] == 1
    assert has_lead(tmp_path)


def test_a_database_that_is_away_is_a_452_to_senders_and_75_to_commands(tmp_path: Path, postgresql_server: str) -> None:
    import psycopg

    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE away")
        configure(tmp_path, database={"url": postgresql_server.rpartition("/")[0] + "/away"})
        assert relance(tmp_path, "migrate").returncode == 0
        with running(tmp_path) as server, server.smtp as smtp:
            admin.execute("ALTER DATABASE away ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'")
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail(UMA, [ASHA], offer())
            assert refused.value.smtp_code == 452
            done = relance(tmp_path, "lead", "list")
            assert done.returncode == 75 and done.stderr.startswith(b"database.url: ")
            assert len(done.stderr.splitlines()) == 1
            admin.execute("ALTER DATABASE away ALLOW_CONNECTIONS true")
            smtp.sendmail(UMA, [ASHA], offer())
            until(lambda: has_lead(tmp_path))


def test_a_relay_that_is_away_is_tried_again_with_growing_gaps(tmp_path: Path) -> None:
    port = servers.free_port()
    configure(tmp_path, outgoing={"smtp": {"host": "127.0.0.1", "port": port, "tls": "none"}})
    arguments = ("--mail-from", UMA, "--rcpt", ASHA, "--at", "2026-03-02T09:00:00Z")
    write_config(tmp_path, {**acme(), "outgoing": {"smtp": {"host": "127.0.0.1", "port": port, "tls": "none"}}})
    assert relance(tmp_path, "receive", *arguments, stdin=offer()).returncode == 0
    sent = []
    with _sink(port) as received:
        relance(tmp_path, "tick", "--now", "2026-03-02T09:02:00Z")
        sent.append(len(received))
        relance(tmp_path, "tick", "--now", "2026-03-02T09:06:00Z")
        sent.append(len(received))
        relance(tmp_path, "tick", "--now", "2026-03-04T12:00:00Z")
        sent.append(len(received))
    assert sent == [0, 1, 3], "not before its time, then the ack, then the follow-up's two copies"
    assert any(b"List-Unsubscribe-Post" in content for content in received)
    assert not any(b"X-Capture-Kind" in content for content in received)


def _sink(port: int) -> Any:
    import contextlib

    from aiosmtpd.controller import Controller

    class Handler:
        def __init__(self) -> None:
            self.received: list[bytes] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.received.append(envelope.content)
            return "250 OK"

    @contextlib.contextmanager
    def serve() -> Any:
        handler = Handler()
        controller = Controller(handler, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield handler.received
        finally:
            controller.stop()

    return serve()


def test_sigterm_while_mail_pours_in_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    configure(tmp_path)
    accepted = 0
    with running(tmp_path) as server:
        smtp = server.smtp
        for number in range(40):
            smtp.sendmail(UMA, [ASHA], offer(number, f"lead{number}@northwind.example"))
            accepted += 1
            if number == 30:
                server.process.send_signal(signal.SIGTERM)
                break
        assert server.process.wait(30) == 0
    relance(tmp_path, "tick")
    assert len(json_lines(relance(tmp_path, "lead", "list"))) == accepted


def test_unsubscribing_by_the_link_of_a_mail(tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    write_config(tmp_path, acme())
    relance(tmp_path, "receive", "--mail-from", UMA, "--rcpt", ASHA, "--at", "2026-03-02T09:00:00Z", stdin=offer())
    relance(tmp_path, "tick", "--now", "2026-03-04T12:00:00Z")
    link = next(
        line.split()[1].strip("<>")
        for file in (tmp_path / "var/outgoing/new").iterdir()
        for line in file.read_text().split("\n")
        if line.startswith("List-Unsubscribe: ")
    )
    with running(tmp_path, "--role", "web") as server:
        url = server.address("Web") + "/u/" + link.rpartition("/")[2]
        assert b"<form" in urllib.request.urlopen(url).read()
        assert json_lines(relance(tmp_path, "lead", "show", PRIYA))[0]["state"] == "Cold", "a GET changes nothing"
        urllib.request.urlopen(url, data=b"List-Unsubscribe=One-Click").read()
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(url[:-3] + "xyz")
        assert missing.value.code == 404
        assert urllib.request.urlopen(server.address("Web") + "/readyz").status == 200
    assert json_lines(relance(tmp_path, "lead", "show", PRIYA))[0]["state"] == "Unsubscribed"


@pytest.mark.parametrize(("content", "code"), [(b"", 65), (b"\r\n\r\n", 65), (b"no header at all", 65)])
def test_what_receive_refuses(tmp_path: Path, content: bytes, code: int) -> None:
    write_config(tmp_path, acme())
    assert relance(tmp_path, "receive", "--mail-from", UMA, "--rcpt", ASHA, stdin=content).returncode == code
    assert relance(tmp_path, "receive", "--mail-from", UMA, "--rcpt", "x@y.example", stdin=offer()).returncode == 67


def test_a_bad_configuration_lists_every_error(tmp_path: Path) -> None:
    configuration = acme()
    configuration["organisations"][0]["userz"] = []
    write_config(tmp_path, {**configuration, "colour": 1, "broker": {"url": "carrier-pigeon://"}})
    done = relance(tmp_path, "lead", "list")
    assert done.returncode == 78 and done.stdout == b""
    assert {line.split(":")[0] for line in done.stderr.decode().splitlines()} == {
        "colour",
        "broker.url",
        "organisations.0.userz",
    }


def test_quarantine_list_show_replay_drop(tmp_path: Path) -> None:
    write_config(tmp_path, acme())
    stranger = offer().replace(UMA.encode(), b"mallory@evil.example")
    relance(tmp_path, "receive", "--mail-from", "mallory@evil.example", "--rcpt", ASHA, stdin=stranger)
    [held] = json_lines(relance(tmp_path, "quarantine", "list"))
    assert held.keys() == {"id", "at", "mail_from", "subject", "reason"} and held["reason"] == "stranger"
    assert relance(tmp_path, "quarantine", "show", str(held["id"])).stdout == stranger
    assert relance(tmp_path, "quarantine", "replay", str(held["id"])).returncode == 0
    assert relance(tmp_path, "quarantine", "drop", str(held["id"])).returncode == 0
    assert relance(tmp_path, "quarantine", "drop", "999").returncode == 1
    assert relance(tmp_path, "quarantine", "list").stdout == b""


def test_backup_and_restore(tmp_path: Path) -> None:
    write_config(tmp_path, acme())
    relance(tmp_path, "receive", "--mail-from", UMA, "--rcpt", ASHA, stdin=offer())
    assert relance(tmp_path, "backup", "copy.db").returncode == 0
    (tmp_path / "var/relance.db").unlink()
    assert relance(tmp_path, "restore", "copy.db").returncode == 0
    assert has_lead(tmp_path)


def test_rules_and_explain_speak_json(tmp_path: Path) -> None:
    write_config(tmp_path, acme())
    names = [rule["rule"] for rule in json_lines(relance(tmp_path, "rules"))]
    assert {"own-message", "copied-in", "lead-reply", "out-of-office"} <= set(names)
    (tmp_path / "offer.eml").write_bytes(offer())
    [found] = json_lines(relance(tmp_path, "explain", "offer.eml", "--rcpt", ASHA))
    assert (found["rule"], found["disposition"], found["kind"]) == ("copied-in", "apply", "human")
    assert found["rules_tried"][-1] == {"rule": "copied-in", "hit": True}
    assert json.dumps(found["people"]) == json.dumps(
        [{"address": PRIYA, "first": "Sir/Madam", "last": "", "source": "default"}]
    )
    assert not (tmp_path / "var/relance.db").exists(), "a dry run"


def test_the_data_phase_in_pieces_with_dots_and_commands_behind_it(tmp_path: Path) -> None:
    import socket

    configure(tmp_path, listener={"smtp": "127.0.0.1:0", "max_size": "20KB"})
    with running(tmp_path, "--role", "listener") as server:
        host, _, port = server.address("SMTP").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            replies = connection.makefile("rb")

            def say(content: bytes, pieces: int = 1) -> None:
                size = max(1, len(content) // pieces)
                for start in range(0, len(content), size):
                    connection.sendall(content[start : start + size])

            def code() -> bytes:
                while (line := replies.readline())[3:4] == b"-":
                    pass
                return line[:3]

            begin = f"MAIL FROM:<{UMA}>\r\nRCPT TO:<{ASHA}>\r\nDATA\r\n".encode()
            assert code() == b"220"
            say(b"EHLO x\r\n")
            assert code() == b"250"
            say(begin)
            assert [code(), code(), code()] == [b"250", b"250", b"354"]
            # In forty pieces, with lines of dots, a bare LF that must end nothing, and commands behind the end.
            dotted = offer() + b"..one\r\n...two\r\nbare\n.\nstill text\r\n.\r\n"
            say(dotted + b"NOOP\r\n", pieces=40)
            assert [code(), code()] == [b"250", b"250"]
            say(begin)
            assert [code(), code(), code()] == [b"250", b"250", b"354"]
            say(offer(2) + b"x" * 3_000 + b"\r\n.\r\n")
            assert code() == b"500", "a line too long"
            say(begin)
            assert [code(), code(), code()] == [b"250", b"250", b"354"]
            say(offer(3) + b"x\r\n" * 30_000 + b".\r\n", pieces=7)
            assert code() == b"552"
            say(b"QUIT\r\n")
            assert code() == b"221"
    import sqlite3

    with sqlite3.connect(tmp_path / "var/relance.db") as database:
        [(content,)] = database.execute("SELECT content FROM inbox_content")
    assert content.endswith(b".one\r\n..two\r\nbare\n.\nstill text\r\n")
