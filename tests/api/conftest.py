"""The API over a real private Redis, without the edge in front of it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
import redis.asyncio as redis
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from liveroom.protocol.messages import Limits
from liveroom.server.api import ApiContext, make_api
from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.store import RedisStore, StoreSettings
from liveroom.server.backplane.subscription import Subscription
from liveroom.server.room.desk import Ids
from liveroom.server.room.hub import Hub
from liveroom.server.room.identity import Identity, Role
from liveroom.server.room.ports import Refused
from liveroom.server.room.room import RoomSettings
from liveroom.server.sale.desk import ClaimDesk
from liveroom.server.sale.known import KnownSales

LIMITS = Limits(4096, 100.0, 200, 500, 1.0, 5, 50, 10.0)
SETTINGS = RoomSettings(50, 50, 250, 1000, 250, 10_000, 600_000, 25_000, LIMITS)
TOKENS = {
    "host": Identity("hana", "Hana", Role.HOST, None),
    "service": Identity("platform", "platform", Role.SERVICE, None),
    "viewer": Identity("vera", "Vera", Role.VIEWER, None),
    "host-of-other": Identity("olga", "Olga", Role.HOST, "other"),
}
_numbers = itertools.count()


class Answer(NamedTuple):
    """What came back; ``json`` is None when there is no body."""

    status: int
    json: Any
    headers: Any

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.json["status"] == self.status
        code: str = self.json["code"]
        return code


class Api:
    """The API and its parts, and a room of the test's own."""

    def __init__(self, client: TestClient[Any, Any], context: ApiContext) -> None:
        self.client = client
        self.context = context
        self.room = f"api-{next(_numbers)}"
        self.at = f"/v1/rooms/{self.room}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        token: str | None = "host",  # noqa: S107  a name in TOKENS
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; a path that does not begin at the root is one of the test's room."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if key is not None:
            sent["Idempotency-Key"] = key
        data = msgspec.json.encode(body) if raw is None and body is not None else raw
        url = path if path.startswith("/") else f"{self.at}/{path}".rstrip("/")
        async with self.client.request(method, url, data=data, headers=sent) as response:
            return await _answer(response)

    async def make_room(self) -> None:
        """Make the test's room."""
        assert (await self.call("PUT", "")).status == 201

    async def make_sale(self, **changes: Any) -> Any:
        """Make a sale in the test's room; returns it."""
        made = await self.call("POST", "sales", DRAFT | changes)
        assert made.status == 201, made.json
        return made.json


DRAFT: dict[str, Any] = {"sku": "mug-1", "title": "Mug", "price": 1290, "currency": "EUR", "stock": 10}


async def _answer(response: ClientResponse) -> Answer:
    body = await response.read()
    is_json = "json" in response.headers.get("Content-Type", "")
    return Answer(response.status, msgspec.json.decode(body) if body and is_json else body, response.headers)


def _authenticate(token: str) -> Identity:
    if token not in TOKENS:
        raise Refused("unauthorized", "the token is not valid")
    return TOKENS[token]


async def _serve(url: str, *, dev: bool) -> AsyncIterator[Api]:
    client = redis.Redis.from_url(url)
    subscriber = redis.Redis.from_url(url)
    subscription = Subscription(subscriber, lambda room: None)
    pipe = Pipe(client.connection_pool.make_connection, 5.0)
    store = RedisStore(pipe, subscription, StoreSettings("test", 10_000, 600_000, 250, 200))
    await store.read_clock()
    await subscription.start()
    ids = Ids("t")
    hub = Hub(store, SETTINGS, comments_per_s=40.0, create_rooms=dev, ids=ids)
    context = ApiContext(
        hub=hub,
        store=store,
        sales=store,
        claims=ClaimDesk(store, ids, KnownSales(), store.now_ms),
        authenticate=_authenticate,
        open_api=dev,
        ready=lambda: None,
        edge_counts=lambda: {"connections": 3, "joins": 7},
        command_counts=lambda: {"comment": 5, "like": 2},
    )
    async with TestClient(TestServer(make_api(context))) as http:
        yield Api(http, context)
    await hub.close()
    await subscription.stop()
    await pipe.close()
    await subscriber.aclose()
    await client.aclose()


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[Api]:
    """The API as it runs in production: tokens are asked for, rooms are made by PUT."""
    async for served in _serve(redis_url, dev=False):
        yield served


@pytest.fixture
async def dev_api(redis_url: str) -> AsyncIterator[Api]:
    """The API under ``--dev``: no tokens, rooms appear on first use."""
    async for served in _serve(redis_url, dev=True):
        yield served
