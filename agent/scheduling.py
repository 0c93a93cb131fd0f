"""The scheduler's loop: asks the database what is due, tells the workers, and takes up what was lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from agent import dispatch
from agent.actors import Actors, tell
from agent.context import Context
from state.store import inbox, outbox
from state.store.engine import StoreUnavailable

log = structlog.get_logger("relance.scheduler")

EVERY = 1.0  # seconds between passes
LONGEST_GAP = 60.0  # seconds between passes while the database is away
TOLD_AGAIN_AFTER = timedelta(seconds=30)  # ids handed to the broker and still waiting were lost on the way
BATCH = 100


class Scheduler:
    """One pass a second. It does no work itself: everything it finds is told to the workers by id."""

    def __init__(self, context: Context, actors: Actors, now: Callable[[], datetime]) -> None:
        self._context = context
        self._actors = actors
        self._now = now
        self._told: dict[tuple[str, int], datetime] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Pass after pass until stopped; a database that is away is said once and asked with growing gaps."""
        gap = EVERY
        while not stop.is_set():
            try:
                await asyncio.to_thread(self.run_once, self._now())
                if gap > EVERY:
                    log.info("database is back")
                gap = EVERY
            except StoreUnavailable as fault:
                if gap == EVERY:
                    log.error("database away; trying again with growing gaps", reason=str(fault))
                gap = min(gap * 2, LONGEST_GAP)
            try:
                await asyncio.wait_for(stop.wait(), gap)
            except TimeoutError:
                continue

    def run_once(self, now: datetime) -> None:
        """One pass."""
        dispatch.settle(self._context, now)
        while dispatch.claim_due_steps(self._context, now):
            pass
        with self._context.store.read() as tx:
            messages = inbox.find_waiting(tx, now, limit=10_000)
            mails = outbox.find_waiting(tx, now, limit=10_000)
        self._told = {key: at for key, at in self._told.items() if now - at < TOLD_AGAIN_AFTER}
        self._tell("process", messages, now)
        self._tell("deliver", mails, now)

    def _tell(self, name: str, ids: list[int], now: datetime) -> None:
        actor = self._actors.process if name == "process" else self._actors.deliver
        fresh = [i for i in ids if (name, i) not in self._told]
        for start in range(0, len(fresh), BATCH):
            batch = fresh[start : start + BATCH]
            if not tell(actor, batch):
                return
            self._told.update({(name, i): now for i in batch})
