"""Many waiting messages share one commit: while one batch is being written, the next one gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mailflow.message import RawMessage
from mailflow.transport.listener import Verdict

LARGEST_BATCH = 200


class GroupCommitter:
    """`write` stores a batch in one transaction and gives a verdict for each; it runs in a thread of its own."""

    def __init__(self, write: Callable[[list[RawMessage]], list[Verdict]]) -> None:
        self._write = write
        self._waiting: list[tuple[RawMessage, asyncio.Future[Verdict]]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def submit(self, raw: RawMessage) -> Verdict:
        """Wait until the message is stored, or can't be."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((raw, future))
        self._arrived.set()
        return await future

    async def stop(self) -> None:
        """Write what has gathered, then end."""
        self._stopping = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            try:
                verdicts = await loop.run_in_executor(self._thread, self._write, [raw for raw, _ in batch])
            except Exception as fault:  # every sender must get an answer; they are told by the exception, 451
                for _, future in batch:
                    if not future.done():
                        future.set_exception(fault)
                continue
            for (_, future), verdict in zip(batch, verdicts, strict=True):
                if not future.done():
                    future.set_result(verdict)
