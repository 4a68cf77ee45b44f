"""One subscription connection a process, for the channels of all rooms it holds.

Knows channels and bytes. Rules: ``follow`` returns only when Redis has confirmed, so nothing published from
then on is missed unseen; a confirmation that comes again means the connection was away for a while, and
``on_return`` is told, so that what was missed is read from the log. It never gives up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import redis.asyncio as redis
from redis.exceptions import RedisError

from liveroom.server.backplane import keys
from liveroom.server.room.ports import Unavailable

_log = logging.getLogger("liveroom.subscription")

CONFIRM_S = 5.0
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class Subscription:
    """See the module. ``on_return`` is called after a reconnect, with the room whose channel is back."""

    def __init__(self, client: redis.Redis, on_return: Callable[[str], None]) -> None:
        self._client = client
        self._pubsub = client.pubsub()
        self._on_return = on_return
        self._receivers: dict[bytes, Callable[[bytes], None]] = {}
        self._confirming: dict[bytes, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def start(self) -> None:
        """Connect, and read from now on."""
        try:
            await self._pubsub.subscribe(keys.CONTROL_CHANNEL)
        except (RedisError, OSError) as fault:
            raise Unavailable() from fault
        self._task = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._client.aclose()

    async def follow(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Subscribe to a channel and wait for the confirmation.

        :raises Unavailable: Redis cannot be reached, or did not confirm in time.
        """
        name = channel.encode()
        confirmed = asyncio.get_running_loop().create_future()
        self._confirming[name] = confirmed
        self._receivers[name] = receive
        try:
            await self._pubsub.subscribe(channel)
            async with asyncio.timeout(CONFIRM_S):
                await confirmed
        except (RedisError, OSError, TimeoutError) as fault:
            self._receivers.pop(name, None)
            raise Unavailable() from fault
        finally:
            self._confirming.pop(name, None)

    async def unfollow(self, channel: str) -> None:
        """End the subscription of a channel; what still arrives is ignored."""
        self._receivers.pop(channel.encode(), None)
        try:
            await self._pubsub.unsubscribe(channel)
        except (RedisError, OSError):
            _log.debug("unsubscribing %s: the store is away", channel)

    async def _read(self) -> None:
        failures = 0
        while True:
            try:
                message = await self._pubsub.get_message(ignore_subscribe_messages=False, timeout=None)
                failures = 0
                self.connected = True
                if message is not None:
                    self._take(message["type"], message["channel"], message["data"])
            except (RedisError, OSError) as fault:
                if self.connected:
                    _log.warning("subscription lost: %s", fault)
                self.connected = False
                await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            except Exception:
                _log.exception("a message could not be taken in")

    def _take(self, kind: str, channel: bytes, data: bytes) -> None:
        if kind == "message":
            receive = self._receivers.get(channel)
            if receive is not None:
                receive(data)
        elif kind == "subscribe":
            confirmed = self._confirming.get(channel)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)
            elif channel in self._receivers:
                self._on_return(keys.room_of(channel.decode()))
