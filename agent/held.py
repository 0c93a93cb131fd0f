"""Messages that were held back or failed: look at them, process them again, give them up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from agent import dispatch, ingest
from agent.context import Context
from agent.views import held_view
from mailflow.parse import parse
from state.store import inbox


def list_held(context: Context) -> Iterator[dict[str, Any]]:
    with context.store.read() as tx:
        for message in inbox.list_held(tx):
            yield held_view(message, parse(message.raw.content).subject)


def show_held(context: Context, inbox_id: int) -> bytes | None:
    with context.store.read() as tx:
        message = inbox.load(tx, inbox_id)
    return message.raw.content if message else None


def replay_held(context: Context, inbox_id: int, now: datetime) -> bool:
    """Process a held message again, as of its own time. False when there is none, or when it failed again."""
    with context.store.write() as tx:
        if not inbox.replay(tx, inbox_id):
            return False
    done = ingest.process(context, [inbox_id])
    dispatch.deliver_these(context, list(done.outbox_ids), now)
    return not done.failed


def drop_held(context: Context, inbox_id: int, now: datetime) -> bool:
    """Give a held message up. False when there is none."""
    with context.store.write() as tx:
        return inbox.drop(tx, inbox_id, now)
