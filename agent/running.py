"""`relance run`: the roles of one process, from start to a drained stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent import clock
from agent.actors import Actors, declare_actors, open_broker, tell
from agent.context import Context
from agent.logs import configure_logging
from agent.opening import EX_TEMPFAIL, open_context
from agent.scheduling import Scheduler
from mailflow.message import RawMessage
from state.store.engine import StoreUnavailable

if TYPE_CHECKING:
    from dramatiq.broker import Broker

    from agent.intake_queue import GroupCommitter
    from mailflow.transport.listener import Verdict

log = structlog.get_logger("relance.run")

ROLES = frozenset({"listener", "worker", "scheduler", "web", "mailboxes"})
WORKER_THREADS = 4


def run_roles(config: Path | None, roles: frozenset[str]) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    import uvloop

    try:
        with open_context(config) as context:
            configure_logging(context.settings)
            return uvloop.run(_run(context, roles))
    except StoreUnavailable as fault:
        print(f"database.url: {fault}", file=sys.stderr)
        return EX_TEMPFAIL


async def _run(context: Context, roles: frozenset[str]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = open_broker(context.settings.broker.url)
    actors: Actors = declare_actors(broker, context, clock.now)
    # Left in the opposite order: first nobody comes in any more, then what came in is finished.
    async with AsyncExitStack() as stack:
        if "worker" in roles:
            stop_workers = _start_workers(broker)
            stack.push_async_callback(stop_workers)
        if "scheduler" in roles:
            scheduler = Scheduler(context, actors, clock.now)
            task = asyncio.create_task(scheduler.run(stop))
            stack.push_async_callback(_finish, task)
        if "web" in roles:
            await _start_web(context, stack)
        if "listener" in roles:
            await _start_listener(context, actors, stack)
        _say_how_to_try(context, roles)
        await stop.wait()
        log.info("draining")
    return 0


def _start_workers(broker: Broker) -> Callable[[], Awaitable[None]]:
    from dramatiq import Worker

    worker = Worker(broker, worker_threads=WORKER_THREADS)
    worker.start()

    async def finish() -> None:
        await asyncio.to_thread(worker.stop)

    return finish


async def _finish(task: asyncio.Task[None]) -> None:
    await task


async def _start_listener(context: Context, actors: Actors, stack: AsyncExitStack) -> None:
    from agent.ingest import store_messages
    from agent.intake_queue import GroupCommitter
    from mailflow.transport.listener import Accepted, Listener, TryLater

    def write(raws: list[RawMessage]) -> list[Verdict]:
        try:
            stored = store_messages(context, raws)
        except StoreUnavailable as fault:
            log.error("cannot store mail; senders are told to try again", reason=str(fault))
            return [TryLater(str(fault))] * len(raws)
        ids = [entry.id for entries in stored for entry in entries if not entry.duplicate]
        if ids:
            tell(actors.process, ids)
        return [Accepted()] * len(raws)

    committer: GroupCommitter = GroupCommitter(write)
    committer.start()
    settings = context.settings.listener
    listener = Listener(
        smtp=settings.smtp,
        lmtp=settings.lmtp,
        max_size=settings.max_size,
        tls=(settings.tls.certificate, settings.tls.key) if settings.tls else None,
        is_recipient=lambda address: context.directory.is_assistant(address),
        accept=committer.submit,
    )
    await listener.start()
    stack.push_async_callback(committer.stop)
    stack.push_async_callback(listener.stop)
    for name, address in listener.addresses.items():
        print(f"{name.upper()}: {address}", file=sys.stderr)


async def _start_web(context: Context, stack: AsyncExitStack) -> None:
    from agent.links import Links
    from agent.web.app import create_app, serve

    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    host, port = context.settings.web.listen
    app = create_app(Links(context, clock.now))
    task = asyncio.create_task(serve(app, host, port, stop, started.set_result))
    task.add_done_callback(lambda done: started.done() or started.cancel())
    try:
        print(f"Web: {await started}", file=sys.stderr)
    except asyncio.CancelledError:
        task.result()
        raise

    async def finish() -> None:
        stop.set()
        await task

    stack.push_async_callback(finish)


def _say_how_to_try(context: Context, roles: frozenset[str]) -> None:
    """Where outgoing mail is, and one line to copy that makes a first lead."""
    settings = context.settings
    if settings.outgoing.smtp is None:
        print(f"Captured mail: {settings.outgoing.capture}", file=sys.stderr)
    organisation = next((o for o in context.directory.organisations if o.assistants and o.users), None)
    if organisation is None:
        print("No organisation is configured yet: add one to config.yaml.", file=sys.stderr)
        return
    user, assistant = organisation.users[0], organisation.assistants[0]
    relance = Path(sys.argv[0])
    relance = relance.relative_to(Path.cwd()) if relance.is_relative_to(Path.cwd()) else relance
    mail = (
        f"From: {user.name} <{user.address}>\\nTo: Priya Raman <priya@northwind.example>\\nCc: {assistant.address}"
        "\\nSubject: Our offer\\n\\nHi Priya,\\nhere is our offer.\\n"
    )
    print(
        f"Try it: printf '{mail}' | {relance} receive --mail-from {user.address} --rcpt {assistant.address}"
        f" && {relance} lead show priya@northwind.example",
        file=sys.stderr,
        flush=True,
    )
