"""All tables. The partial indexes on what is due or waiting stand in the migrations alone: to name them here would
load both databases' dialects at every start.

Times are integers, microseconds since 1970 in UTC, so that they compare and sort alike everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

HEAD = "0001"  # the newest migration; the code works with this version of the database only

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Any]):
    """Plain values as JSON text: never queried, so the databases need not understand it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up by itself only for INTEGER primary keys.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

organisations = Table(
    "organisations",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("settings", Json, nullable=False),  # domains, plan, exclusions, holidays, bounce guard, preferences
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("organisation_id", _Id, ForeignKey("organisations.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("phone", Text),
    Column("time_zone", Text),
    Column("role", String(16), nullable=False),
)

assistants = Table(
    "assistants",
    metadata,
    _id(),
    Column("organisation_id", _Id, ForeignKey("organisations.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("profile", Json, nullable=False),  # title, phone, signature, zone, preferences as set, …
)

# Who bears an address: no address belongs to two, whoever they are.
addresses = Table(
    "addresses",
    metadata,
    Column("address", Text, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id"), index=True),
    Column("assistant_id", _Id, ForeignKey("assistants.id"), index=True),
    Column("is_alias", Boolean, nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("assistant_id", _Id, ForeignKey("assistants.id"), primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id"), primary_key=True),
    Column("is_manager", Boolean, primary_key=True),
)

sequences = Table(
    "sequences",
    metadata,
    Column("organisation_id", _Id, ForeignKey("organisations.id"), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("definition", Json, nullable=False),
)

leads = Table(
    "leads",
    metadata,
    _id(),
    Column("organisation_id", _Id, ForeignKey("organisations.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("owner_id", _Id, nullable=False),
    Column("assistant_id", _Id, nullable=False),
    Column("state", String(24), nullable=False),
    Column("sub_state", String(24), nullable=False),
    Column("at_risk", Boolean, nullable=False),
    Column("next_at", Moment),  # only leads with an active enrolment have one
    Column("version", Integer, nullable=False),
    Column("profile", Json, nullable=False),  # everything else of a Lead
    UniqueConstraint("organisation_id", "address"),
)

thread = Table(
    "thread",
    metadata,
    Column("organisation_id", _Id, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("lead_id", _Id, ForeignKey("leads.id", ondelete="CASCADE"), primary_key=True, index=True),
)

journal = Table(
    "journal",
    metadata,
    _id(),
    Column("lead_id", _Id, ForeignKey("leads.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("event", String(32), nullable=False),
    Column("from_state", String(24)),
    Column("to_state", String(24), nullable=False),
    Column("by", Text, nullable=False),
    Column("cause", Text),
    Column("evidence", Json, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    _id(),
    Column("organisation_id", _Id, nullable=False),  # 0: none
    Column("source_key", String(80), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("via", String(16), nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("rcpt_to", Json, nullable=False),
    Column("message_id", Text),
    Column("status", String(16), nullable=False),
    Column("disposition", String(16)),
    Column("rule", Text),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Moment),
    Column("processed_at", Moment),
    UniqueConstraint("organisation_id", "source_key"),
    Index("ix_inbox_message_id", "organisation_id", "message_id"),
)

# Bytes apart from the queue, so that looking for work reads small rows only.
inbox_content = Table(
    "inbox_content",
    metadata,
    Column("inbox_id", _Id, ForeignKey("inbox.id", ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("after_key", Text, index=True),  # waits until the row with this key is sent
    Column("organisation_id", _Id, nullable=False),
    Column("assistant_id", _Id, nullable=False),
    Column("lead_id", _Id, index=True),
    Column("kind", String(16), nullable=False),
    Column("copy", String(16), nullable=False),
    Column("enrolment", Integer),
    Column("step", Integer),
    Column("message_id", Text, nullable=False, index=True),
    Column("rcpt_to", Json, nullable=False),
    Column("inbox_id", _Id),
    Column("fields", Json, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", Text),
    Column("not_before", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("booked_at", Moment),
    Column("sent_at", Moment),
    Column("error", Text),
)

suppression = Table(
    "suppression",
    metadata,
    Column("organisation_id", _Id, primary_key=True),
    Column("address_key", String(64), primary_key=True),  # a keyed hash: it survives an erasure
    Column("reason", Text, nullable=False),
    Column("at", Moment, nullable=False),
)
