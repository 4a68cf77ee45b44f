"""Natural batching: one call in flight; what comes meanwhile goes together into the next.

Under little load a call goes out at once, alone; under much, calls grow instead of multiplying. Knows
nothing of what is called. Rules: every item is answered exactly once; what waits is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from liveroom.server.room.ports import Refused

_log = logging.getLogger("liveroom.batched")

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MAX_WAITING = 100_000  # items; beyond it a new one is refused at once with ``unavailable``


class Batched(Generic[Item, Answer]):
    """Calls ``call`` with up to ``limit`` items; it returns one answer for each, in order.

    :param depth: calls in flight at a time. More than one needs a ``call`` whose effects keep the order of
        the calls; then one batch is gathered while another is on its way.
    """

    def __init__(
        self, call: Callable[[list[Item]], Awaitable[list[Answer | Refused]]], limit: int, depth: int = 1
    ) -> None:
        self._call = call
        self._limit = limit
        self._depth = depth
        self._waiting: deque[tuple[Item, Callable[[Answer | Refused], None]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Tell whether nothing waits and nothing is in flight."""
        return not self._tasks

    def submit(self, item: Item, done: Callable[[Answer | Refused], None]) -> None:
        """Queue an item; ``done`` is called with its answer."""
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            done(Refused("unavailable", "too many requests wait for the store", 1000))
            return
        waiting.append((item, done))
        # The first goes out at the end of this turn of the loop, with what else this turn brings; another
        # call is only worth it when it is full or nothing is under way.
        if not self._tasks or (len(self._tasks) < self._depth and len(waiting) >= self._limit // 2):
            self._start()

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._drain())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting and not self._tasks:  # came after the last look and before this
            self._start()

    async def ask(self, item: Item) -> Answer:
        """Queue an item and wait for its answer.

        :raises Refused: the item was refused, or the store is unavailable.
        """
        future: asyncio.Future[Answer | Refused] = asyncio.get_running_loop().create_future()

        def answered(answer: Answer | Refused) -> None:
            if not future.done():  # whoever waited may have gone
                future.set_result(answer)

        self.submit(item, answered)
        answer = await future
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def join(self) -> None:
        """Wait until everything submitted so far is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        while self._waiting:
            count = min(self._limit, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            answers: list[Answer | Refused]
            try:
                answers = await self._call([item for item, _ in batch])
                assert len(answers) == count, f"{count} items, {len(answers)} answers"
            except Refused as refusal:
                answers = [refusal] * count
            except Exception:
                _log.exception("a batched call failed")
                answers = [Refused("internal", "a fault of the server", 1000)] * count
            for (_, done), answer in zip(batch, answers, strict=True):
                try:
                    done(answer)
                except Exception:
                    _log.exception("answering failed")
