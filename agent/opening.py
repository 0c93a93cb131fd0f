"""From a configuration file to a working context, or a clear word why not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config import Settings, find_config, load_settings
from agent.context import Context
from state.store import organisations
from state.store.engine import Store

EX_CONFIG = 78  # sysexits.h
EX_TEMPFAIL = 75


def read_settings(config: Path | None) -> Settings:
    """The settings; every error of a bad configuration is printed with its key path, and the process ends with 78."""
    settings = load_settings(find_config(config), os.environ)
    if not isinstance(settings, Settings):
        for error in settings:
            print(f"{error.key}: {error.message}" if error.key else error.message, file=sys.stderr)
        raise SystemExit(EX_CONFIG)
    return settings


@contextmanager
def open_context(config: Path | None) -> Iterator[Context]:
    """A context whose database is at the code's version and knows the organisations of the configuration."""
    settings = read_settings(config)
    store = open_store(settings)
    context = Context(settings, store, settings.secret())
    try:
        prepare(context)
        yield context
    finally:
        context.close()


def open_store(settings: Settings) -> Store:
    if settings.database.url.startswith("sqlite:///"):
        Path(settings.database.url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return Store(settings.database.url)


def prepare(context: Context) -> None:
    """Bring an SQLite database to the code's version and create what the configuration lists and the store lacks."""
    store = context.store
    if not store.is_current():
        if not store.url.startswith("sqlite"):
            print("database.url: the database is not at this version; run: relance migrate", file=sys.stderr)
            raise SystemExit(EX_CONFIG)
        store.migrate()
    definitions = context.settings.definitions()
    fingerprint = organisations.fingerprint_of(definitions)
    with store.read() as tx:
        known = organisations.definitions_fingerprint(tx)
    if known != fingerprint:
        with store.write() as tx:
            try:
                organisations.create_missing(tx, definitions)
            except organisations.DefinitionConflict as conflict:
                print(f"{conflict.key}: {conflict}", file=sys.stderr)
                raise SystemExit(EX_CONFIG) from None
            organisations.set_definitions_fingerprint(tx, fingerprint)
    with store.read() as tx:
        context.refresh(tx)
