"""A store over the private Redis, without a server around it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import redis.asyncio as redis

from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.store import RedisStore, StoreSettings
from liveroom.server.backplane.subscription import Subscription

_nodes = itertools.count()


class Node:
    """What one liveroom node has of the backplane; ``returned`` are the rooms whose channel came back."""

    def __init__(self, url: str, stack: AsyncExitStack, **settings: int) -> None:
        self.url = url
        self.client = redis.Redis.from_url(url)
        self.returned: list[str] = []
        self.subscription = Subscription(redis.Redis.from_url(url), self.returned.append)
        self.pipe = Pipe(self.client.connection_pool.make_connection, 5.0)
        known = {"history_events": 1000, "history_ms": 600_000, "state_window_ms": 250, "order_fact_ms": 200}
        name = f"node-{next(_nodes)}"
        self.store = RedisStore(self.pipe, self.subscription, StoreSettings(name, **(known | settings)))
        self._stack = stack

    async def start(self) -> Node:
        """Connect; everything is closed with the test."""
        self._stack.push_async_callback(self.client.aclose)
        await self.store.read_clock()
        await self.subscription.start()
        self._stack.push_async_callback(self.subscription.stop)
        self._stack.push_async_callback(self.pipe.close)
        return self


@pytest.fixture
async def node(redis_url: str) -> AsyncIterator[Callable[..., Node]]:
    """A maker of nodes on the private Redis: ``await node().start()``."""
    async with AsyncExitStack() as stack:
        yield lambda url=redis_url, **settings: Node(url, stack, **settings)


@pytest.fixture
async def store(node: Callable[..., Node]) -> RedisStore:
    """The store of one node."""
    return (await node().start()).store
