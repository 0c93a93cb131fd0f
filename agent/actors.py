"""Dramatiq: the broker and two thin actors. Messages carry ids only; what gets lost on the way `tick` finds again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import dramatiq
import structlog
from dramatiq.broker import Broker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import ShutdownNotifications, TimeLimit

from agent import dispatch, ingest
from agent.context import Context
from state.store.engine import StoreUnavailable

log = structlog.get_logger("relance.actors")

BATCH = 200  # messages processed in one transaction
LIMIT = 10 * 60 * 1000  # milliseconds; a submission server may be slow, but not for ever


def open_broker(url: str) -> Broker:
    """`memory://` is a broker in this process; `redis://…` one shared by many."""
    # No retries here: when to try again stands in the database.
    middleware = [TimeLimit(), ShutdownNotifications()]
    if url.startswith("memory:"):
        return StubBroker(middleware=middleware)
    from dramatiq.brokers.redis import RedisBroker

    return RedisBroker(url=url, middleware=middleware)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Actors:
    process: dramatiq.Actor[[list[int]], None]  # inbox ids
    deliver: dramatiq.Actor[[list[int]], None]  # outbox ids


def declare_actors(broker: Broker, context: Context, now: Callable[[], datetime]) -> Actors:
    """The two actors, bound to this process's context."""

    def deliver(ids: list[int]) -> None:
        try:
            dispatch.deliver_these(context, ids, now())
        except StoreUnavailable as fault:
            log.warning("database away; the mails wait", reason=str(fault))

    waiting: list[int] = []
    one_at_a_time = threading.Lock()

    def process(ids: list[int]) -> None:
        # While one batch is being processed the next one gathers: many small commits become few.
        waiting.extend(ids)
        with one_at_a_time:
            batch = [waiting.pop(0) for _ in range(min(len(waiting), BATCH))]
            if not batch:
                return
            if waiting:
                tell(process_actor, [])
            apply(batch)

    def apply(ids: list[int]) -> None:
        try:
            done = ingest.process(context, ids)
        except StoreUnavailable as fault:
            log.warning("database away; the messages wait", reason=str(fault))
            return
        if done.outbox_ids:
            tell(deliver_actor, list(done.outbox_ids))

    deliver_actor = dramatiq.Actor(
        deliver, broker=broker, actor_name="deliver", queue_name="deliver", priority=0, options={"time_limit": LIMIT}
    )
    process_actor = dramatiq.Actor(
        process, broker=broker, actor_name="process", queue_name="process", priority=0, options={"time_limit": LIMIT}
    )
    return Actors(process=process_actor, deliver=deliver_actor)


def tell(actor: dramatiq.Actor[[list[int]], None], ids: list[int]) -> bool:
    """Hand ids to a worker. False when the broker is away: nothing is lost, the scheduler finds them again."""
    try:
        actor.send(ids)
    except Exception as fault:  # whatever a broker's client raises, the work stands in the database
        log.warning("broker away; work is found by the next pass", reason=str(fault)[:200])
        return False
    return True
