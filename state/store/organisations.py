"""Organisations with their people and assistants: created from what the configuration lists, loaded whole."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from state.definition import AssistantDefinition, OrganisationDefinition, UserDefinition
from state.organisation import Assistant, Organisation, Role, Signature, User
from state.preferences import read_preferences
from state.store import sql
from state.store.codec import (
    guard_from_json,
    guard_to_json,
    plan_from_json,
    plan_to_json,
    sequence_from_json,
    sequence_to_json,
)
from state.store.schema import addresses, assignments, assistants, meta, organisations, sequences, users

CREATION_LOCK = 7_265_101  # PostgreSQL advisory lock

_REVISION = "organisations_revision"
_FINGERPRINT = "definitions_fingerprint"


class DefinitionConflict(Exception):
    """What the configuration lists contradicts what the store has. `key` is the key's path."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


# -- revision and fingerprint ---------------------------------------------------------------------


def revision(tx: Connection) -> int:
    """Grows with every change of any organisation."""
    return int(_read_meta(tx, _REVISION) or 0)


def fingerprint_of(definitions: Sequence[OrganisationDefinition]) -> str:
    """Changes whenever the configuration's list of organisations does."""
    plain = json.dumps([asdict(d) for d in definitions], default=str, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def definitions_fingerprint(tx: Connection) -> str | None:
    """The fingerprint of the definitions that the store was brought up to last."""
    return _read_meta(tx, _FINGERPRINT)


def set_definitions_fingerprint(tx: Connection, fingerprint: str) -> None:
    _write_meta(tx, _FINGERPRINT, fingerprint)


def _read_meta(tx: Connection, key: str) -> str | None:
    return tx.scalar(select(meta.c.value).where(meta.c.key == key))


def _write_meta(tx: Connection, key: str, value: str) -> None:
    tx.execute(delete(meta).where(meta.c.key == key))
    tx.execute(insert(meta).values(key=key, value=value))


def _changed(tx: Connection) -> None:
    _write_meta(tx, _REVISION, str(revision(tx) + 1))


# -- creating -------------------------------------------------------------------------------------


def create_missing(tx: Connection, definitions: Sequence[OrganisationDefinition]) -> None:
    """Create what is listed and missing; what exists is left as it is. Raises DefinitionConflict."""
    if sql.is_postgresql(tx):
        # Two processes that start at once must not create the same organisation twice.
        tx.execute(select(func.pg_advisory_xact_lock(CREATION_LOCK)))
    for position, definition in enumerate(definitions):
        _create_organisation(tx, definition, f"organisations.{position}")
    _changed(tx)


def _create_organisation(tx: Connection, definition: OrganisationDefinition, key: str) -> None:
    organisation_id = tx.scalar(select(organisations.c.id).where(organisations.c.name == definition.name))
    if organisation_id is None:
        settings = {
            "domains": list(definition.domains),
            "plan": plan_to_json(definition.plan),
            "exclusions": list(definition.exclusions),
            "holidays": [day.isoformat() for day in definition.holidays],
            "bounce_guard": guard_to_json(definition.bounce_guard),
            "preferences": dict(definition.preferences),
        }
        organisation_id = tx.execute(
            insert(organisations).values(name=definition.name, settings=settings).returning(organisations.c.id)
        ).scalar_one()
    existing = set(tx.scalars(select(sequences.c.name).where(sequences.c.organisation_id == organisation_id)))
    for sequence in definition.sequences:
        if sequence.name not in existing:
            tx.execute(
                insert(sequences).values(
                    organisation_id=organisation_id, name=sequence.name, definition=sequence_to_json(sequence)
                )
            )
    for position, user in enumerate(definition.users):
        _create_user(tx, organisation_id, user, f"{key}.users.{position}")
    for position, assistant in enumerate(definition.assistants):
        _create_assistant(tx, organisation_id, assistant, f"{key}.assistants.{position}")


def _create_user(tx: Connection, organisation_id: int, definition: UserDefinition, key: str) -> None:
    if _bearer(tx, organisation_id, definition.address, "user", f"{key}.address") is not None:
        return
    user_id = tx.execute(
        insert(users)
        .values(
            organisation_id=organisation_id,
            name=definition.name,
            phone=definition.phone,
            time_zone=definition.time_zone,
            role=definition.role.value,
        )
        .returning(users.c.id)
    ).scalar_one()
    _give_addresses(tx, organisation_id, definition.address, definition.aliases, key, user_id=user_id)


def _create_assistant(tx: Connection, organisation_id: int, definition: AssistantDefinition, key: str) -> None:
    if _bearer(tx, organisation_id, definition.address, "assistant", f"{key}.address") is not None:
        return
    profile = {
        "title": definition.title,
        "phone": definition.phone,
        "avatar": definition.avatar,
        "signature": {"text": definition.signature.text, "html": definition.signature.html},
        "time_zone": definition.time_zone,
        "country": definition.country,
        "preferences": dict(definition.preferences),
        "taught": [list(pair) for pair in definition.taught],
        "outgoing": dict(definition.outgoing) if definition.outgoing is not None else None,
    }
    assistant_id = tx.execute(
        insert(assistants)
        .values(organisation_id=organisation_id, name=definition.name, profile=profile)
        .returning(assistants.c.id)
    ).scalar_one()
    _give_addresses(tx, organisation_id, definition.address, definition.aliases, key, assistant_id=assistant_id)
    for field, listed, is_manager in (("users", definition.users, False), ("managers", definition.managers, True)):
        for position, address in enumerate(listed):
            user_id = _bearer(tx, organisation_id, address, "user", f"{key}.{field}.{position}")
            if user_id is None:
                raise DefinitionConflict(f"{key}.{field}.{position}", f"{address} is no user of this organisation")
            tx.execute(
                sql.insert_new(tx, assignments).values(
                    assistant_id=assistant_id, user_id=user_id, is_manager=is_manager
                )
            )


def _bearer(tx: Connection, organisation_id: int, address: str, kind: str, key: str) -> int | None:
    """The id of the user or assistant who bears the address; None when nobody does. Raises DefinitionConflict."""
    row = tx.execute(select(addresses).where(addresses.c.address == address)).one_or_none()
    if row is None:
        return None
    wanted, table = (row.user_id, users) if kind == "user" else (row.assistant_id, assistants)
    if wanted is None:
        raise DefinitionConflict(
            key, f"{address} is already {'an assistant' if kind == 'user' else 'a user'}'s address"
        )
    owner = tx.scalar(select(table.c.organisation_id).where(table.c.id == wanted))
    if owner != organisation_id:
        raise DefinitionConflict(key, f"{address} already belongs to another organisation")
    return int(wanted)


def _give_addresses(
    tx: Connection, organisation_id: int, address: str, aliases: Sequence[str], key: str, **bearer: int
) -> None:
    for position, (one, is_alias) in enumerate([(address, False), *((alias, True) for alias in aliases)]):
        taken = tx.execute(select(addresses.c.address).where(addresses.c.address == one)).one_or_none()
        if taken is not None:
            path = f"{key}.aliases.{position - 1}" if is_alias else f"{key}.address"
            raise DefinitionConflict(path, f"{one} is already somebody's address")
        tx.execute(insert(addresses).values(address=one, is_alias=is_alias, **bearer))


# -- loading --------------------------------------------------------------------------------------


def load_all(tx: Connection) -> tuple[Organisation, ...]:
    """Every organisation, whole, in a handful of queries."""
    current = revision(tx)
    by_user: dict[int, list[str]] = defaultdict(list)
    by_assistant: dict[int, list[str]] = defaultdict(list)
    # The main address first.
    for row in tx.execute(select(addresses).order_by(addresses.c.is_alias, addresses.c.address)):
        (by_user[row.user_id] if row.user_id is not None else by_assistant[row.assistant_id]).append(row.address)
    assigned: dict[tuple[int, bool], set[int]] = defaultdict(set)
    for row in tx.execute(select(assignments)):
        assigned[row.assistant_id, bool(row.is_manager)].add(row.user_id)
    people: dict[int, list[User]] = defaultdict(list)
    for row in tx.execute(select(users).order_by(users.c.id)):
        main, *aliases = by_user[row.id] or [""]
        people[row.organisation_id].append(
            User(row.id, row.name, main, tuple(aliases), row.phone, row.time_zone, Role(row.role))
        )
    own_sequences: dict[int, dict[str, Any]] = defaultdict(dict)
    for row in tx.execute(select(sequences)):
        own_sequences[row.organisation_id][row.name] = sequence_from_json(row.name, row.definition)
    personas = tx.execute(select(assistants).order_by(assistants.c.id)).all()
    loaded = []
    for row in tx.execute(select(organisations).order_by(organisations.c.id)).all():
        settings = row.settings
        loaded.append(
            Organisation(
                id=row.id,
                name=row.name,
                revision=current,
                domains=frozenset(settings["domains"]),
                plan=plan_from_json(settings["plan"]),
                exclusions=frozenset(settings["exclusions"]),
                holidays=frozenset(date.fromisoformat(day) for day in settings["holidays"]),
                bounce_guard=guard_from_json(settings["bounce_guard"]),
                users=tuple(people[row.id]),
                assistants=tuple(
                    _assistant(persona, by_assistant[persona.id], settings["preferences"], assigned)
                    for persona in personas
                    if persona.organisation_id == row.id
                ),
                sequences=own_sequences[row.id],
            )
        )
    return tuple(loaded)


def _assistant(
    row: Any, borne: list[str], shared: dict[str, Any], assigned: dict[tuple[int, bool], set[int]]
) -> Assistant:
    profile = row.profile
    main, *aliases = borne or [""]
    return Assistant(
        id=row.id,
        name=row.name,
        address=main,
        aliases=tuple(aliases),
        title=profile["title"],
        phone=profile["phone"],
        avatar=profile["avatar"],
        signature=Signature(**profile["signature"]),
        time_zone=profile["time_zone"],
        country=profile["country"],
        user_ids=frozenset(assigned[row.id, False]),
        manager_ids=frozenset(assigned[row.id, True]),
        preferences=read_preferences(shared, profile["preferences"]),
        taught=tuple((phrase, meaning) for phrase, meaning in profile["taught"]),
        outgoing=profile["outgoing"],
    )
