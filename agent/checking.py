"""`relance check`: everything that is wrong with the set-up, found in one go."""

from __future__ import annotations

import os
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

from agent.config import ConfigError, Outgoing, Settings
from agent.opening import open_store
from state.store.engine import StoreUnavailable

TIMEOUT = 5.0  # seconds for each server


def check_all(settings: Settings) -> list[ConfigError]:
    """Every fault with the key's path. Touches nothing but what it must to look."""
    return [
        *_database(settings),
        *_broker(settings),
        *_tls(settings),
        *_outgoing(settings.outgoing, "outgoing"),
        *(
            fault
            for i, organisation in enumerate(settings.organisations)
            for j, assistant in enumerate(organisation.assistants)
            if assistant.outgoing is not None
            for fault in _outgoing(assistant.outgoing, f"organisations.{i}.assistants.{j}.outgoing")
        ),
        *_domains(settings),
    ]


def _database(settings: Settings) -> Iterator[ConfigError]:
    try:
        store = open_store(settings)
        try:
            if not store.is_current() and not store.is_sqlite:
                yield ConfigError("database.url", "the database is not at this version; run: relance migrate")
        finally:
            store.close()
    except (StoreUnavailable, OSError) as fault:
        yield ConfigError("database.url", str(fault))


def _broker(settings: Settings) -> Iterator[ConfigError]:
    if settings.broker.url.startswith("memory:"):
        return
    import redis

    try:
        redis.Redis.from_url(settings.broker.url, socket_connect_timeout=TIMEOUT).ping()
    except (redis.RedisError, OSError, ValueError) as fault:
        yield ConfigError("broker.url", str(fault))


def _tls(settings: Settings) -> Iterator[ConfigError]:
    if settings.listener.tls is None:
        return
    for name in ("certificate", "key"):
        file: Path = getattr(settings.listener.tls, name)
        if not os.access(file, os.R_OK):
            yield ConfigError(f"listener.tls.{name}", f"{file} can't be read")


def _outgoing(outgoing: Outgoing, key: str) -> Iterator[ConfigError]:
    smtp = outgoing.smtp
    if smtp is None:
        directory = outgoing.capture
        existing = next((p for p in (directory, *directory.absolute().parents) if p.exists()), None)
        if existing is not None and not os.access(existing, os.W_OK):
            yield ConfigError(f"{key}.capture", f"{directory} can't be written")
        return
    try:
        kind = smtplib.SMTP_SSL if smtp.tls == "implicit" else smtplib.SMTP
        with kind(smtp.host, smtp.port, timeout=TIMEOUT) as server:
            if smtp.tls == "starttls":
                server.starttls()
            if smtp.username and smtp.password:
                server.login(smtp.username, smtp.password)
    except smtplib.SMTPAuthenticationError:
        yield ConfigError(f"{key}.smtp.password", "the server does not take username and password")
    except (smtplib.SMTPException, OSError) as fault:
        yield ConfigError(f"{key}.smtp", f"{smtp.host}:{smtp.port}: {fault}")


def _domains(settings: Settings) -> Iterator[ConfigError]:
    """Where mail really leaves, the assistants' domains must at least exist in DNS."""
    if settings.outgoing.smtp is None:
        return
    for i, organisation in enumerate(settings.organisations):
        for j, assistant in enumerate(organisation.assistants):
            domain = assistant.address.rpartition("@")[2]
            try:
                socket.getaddrinfo(domain, 25)
            except OSError as fault:
                yield ConfigError(f"organisations.{i}.assistants.{j}.address", f"{domain}: {fault.strerror or fault}")
