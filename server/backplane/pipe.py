"""One connection for all script calls of a process, pipelined: calls go out, and are answered, in order.

Knows redis-py's ``Connection``. Rules: the order of calls is the order of their effects, so a second batch of
claims may be sent while the first is decided; no answer within the time limit means the connection is given up,
and every call on it is told that its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError, ResponseError

Call = asyncio.Future[Any]


class Pipe:
    """See the module. ``make`` returns a new connection, not yet connected."""

    def __init__(self, make: Callable[[], AbstractConnection], timeout_s: float) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._calls: deque[tuple[Call, float]] = deque()
        self._reader: asyncio.Task[None] | None = None

    async def call(self, *words: Any) -> Any:
        """Send a command and wait for its answer.

        :raises redis.exceptions.ResponseError: Redis refused it.
        :raises redis.exceptions.ConnectionError: the connection failed or did not answer in time.
        """
        connection = self._connection or await self._connect()
        loop = asyncio.get_running_loop()
        answered: Call = loop.create_future()
        self._calls.append((answered, loop.time()))
        try:
            # Written at once, before anything is awaited: the order of calls is the order of commands.
            await connection.send_packed_command(connection.pack_command(*words), check_health=False)
        except (RedisError, OSError) as fault:
            self._give_up(connection, fault)
        return await answered

    async def _connect(self) -> AbstractConnection:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(self._opened)
        return await asyncio.shield(self._connecting)

    async def _open(self) -> AbstractConnection:
        connection = self._make()
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError) as fault:
            raise ConnectionError(f"cannot connect: {fault}") from fault
        self._connection = connection
        self._reader = asyncio.create_task(self._read(connection))
        return connection

    def _opened(self, task: asyncio.Task[AbstractConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever called has it

    async def _read(self, connection: AbstractConnection) -> None:
        watch = asyncio.create_task(self._watch(connection))
        try:
            while True:
                try:
                    answer = await connection.read_response()
                except ResponseError as refused:
                    answer = refused
                answered, _ = self._calls.popleft()
                if answered.done():
                    continue  # whoever asked has gone
                if isinstance(answer, ResponseError):
                    answered.set_exception(answer)
                else:
                    answered.set_result(answer)
        except (RedisError, OSError, IndexError) as fault:
            self._give_up(connection, fault)
        finally:
            watch.cancel()

    async def _watch(self, connection: AbstractConnection) -> None:
        """Give the connection up when its oldest call has waited too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._timeout_s / 4)
            if self._calls and loop.time() - self._calls[0][1] > self._timeout_s:
                self._give_up(connection, ConnectionError("no answer in time"))
                return

    def _give_up(self, connection: AbstractConnection, fault: Exception) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        calls, self._calls = self._calls, deque()
        for answered, _ in calls:
            if not answered.done():
                answered.set_exception(ConnectionError(f"the connection to Redis failed: {fault}"))
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        self._closing = asyncio.create_task(_disconnect(connection))

    async def close(self) -> None:
        """Close the connection; calls under way are told."""
        connection = self._connection
        if connection is not None:
            self._give_up(connection, ConnectionError("closing"))
            await asyncio.wait((self._closing,))


async def _disconnect(connection: AbstractConnection) -> None:
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)
