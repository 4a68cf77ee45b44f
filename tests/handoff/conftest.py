"""The hand-off over a real private Redis, with partners that are real servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio as redis
from aiohttp import web

from liveroom.server.backplane.outbox import RedisOutbox
from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.store import RedisStore, StoreSettings
from liveroom.server.backplane.subscription import Subscription
from liveroom.server.handoff.courier import Courier
from liveroom.server.handoff.feed import Feed
from liveroom.server.handoff.schedule import Retries
from liveroom.server.handoff.sender import Sender
from liveroom.server.handoff.settings import HandoffSettings
from liveroom.server.handoff.targets import Allowed
from liveroom.server.handoff.webhooks import Webhooks
from liveroom.server.sale.ports import NO_KEY, ClaimRequest
from liveroom.server.sale.rules import SaleDraft
from tests.running import private_redis
from tests.watching import PATIENCE_S

# As the default, a thousand times faster.
SETTINGS = HandoffSettings(
    retries=Retries((0.0, 0.005, *[0.02] * 30), jitter=0.2),
    timeout_s=1.0,
    in_flight=4,
    allowed=Allowed(private=True, http=True),
    poll_s=0.01,
)
_names = itertools.count()


class Received(NamedTuple):
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def item(self) -> dict[str, Any]:
        """The body decoded."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_with(self, secret: str) -> bool:
        """Verify as the specification tells a receiver to, written apart from the sender."""
        h = self.headers
        content = b".".join((h["webhook-id"].encode(), h["webhook-timestamp"].encode(), self.body))
        key = base64.b64decode(secret[len("whsec_") :])
        wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        offered = [one.split(",", 1) for one in h["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(sig, wanted) for version, sig in offered)


Behaviour = Callable[[Received], Awaitable[web.StreamResponse]]


async def well(received: Received) -> web.StreamResponse:
    """Answer 204."""
    return web.Response(status=204)


class Partner:
    """A receiver. ``asked`` is all that came, ``taken`` what was answered with 2xx; ``behave`` can be changed."""

    def __init__(self) -> None:
        self.behave: Behaviour = well
        self.asked: list[Received] = []
        self.taken: list[Received] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it receives."""
        return f"http://127.0.0.1:{self.port}/in"

    async def start(self) -> Partner:
        """Listen; on the same port as before, if it did."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Die."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        received = Received({k.lower(): v for k, v in request.headers.items()}, await request.read())
        self.asked.append(received)
        self._changed.set()
        answer = await self.behave(received)
        if 200 <= answer.status < 300:
            self.taken.append(received)
            self._changed.set()
        return answer

    async def until(self, condition: Callable[[Partner], Any]) -> None:
        """Wait until something is true of it."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    def firsts(self) -> dict[str, list[str]]:
        """By order, the types taken, repetitions (by id) left out."""
        seen: set[str] = set()
        found: dict[str, list[str]] = {}
        for received in self.taken:
            if received.headers["webhook-id"] not in seen:
                seen.add(received.headers["webhook-id"])
                found.setdefault(received.item["order"]["order"], []).append(received.item["type"])
        return found


class Node:
    """What one liveroom node has of the hand-off."""

    def __init__(self, url: str, settings: HandoffSettings, sender: Sender | None = None) -> None:
        self.client = redis.Redis.from_url(url)
        self.pipe = Pipe(self.client.connection_pool.make_connection, 5.0)
        unused = Subscription(self.client, lambda room: None)
        self.store = RedisStore(self.pipe, unused, StoreSettings("n", 1000, 600_000, 250, 200))
        self.outbox = RedisOutbox(self.pipe, self.store.now_ms)
        self.sender = sender or Sender(settings.timeout_s, settings.allowed)
        self.courier = Courier(self.outbox, self.store, self.sender, settings, "node")
        self.webhooks = Webhooks(self.outbox, self.sender, settings, self.courier.nudge)
        self.feed = Feed(self.outbox, self.store)
        self.started = False

    async def start(self) -> Node:
        """Begin to deliver."""
        await self.courier.start()
        self.started = True
        return self

    async def die(self) -> None:
        """Lose the connection to Redis for good, so that nothing is given back; in the middle of whatever it does."""

        async def gone(*words: Any) -> Any:
            raise redis.ConnectionError("this node is dead")

        self.pipe.call = gone  # type: ignore[method-assign]

    async def close(self) -> None:
        """Stop in order."""
        if self.started:
            await self.courier.close()
        await self.pipe.close()
        await self.client.aclose()


class Shop:
    """A room with a sale, whose orders are handed off."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.room = f"shop-{next(_names)}"
        self.sale = ""

    async def open(self, hold_seconds: int = 0) -> Shop:
        """Make the room and the sale."""
        await self.node.store.create(self.room, "Shop")
        draft = SaleDraft(
            sku="m", title="Müg", price=500, currency="EUR", stock=1000, hold_seconds=hold_seconds
        )
        self.sale = json.loads(await self.node.store.create_sale(self.room, draft, NO_KEY))["sale"]
        await self.node.store.act(self.room, self.sale, "open")
        return self

    async def buy(self, count: int = 1) -> list[str]:
        """Place orders; returns their ids."""
        numbers = [next(_names) for _ in range(count)]
        requests = [ClaimRequest(f"u{n}", "Uma", f"c{n}", 2, f"o{n}") for n in numbers]
        answers = await self.node.store.claims(self.room, self.sale, requests)
        assert all(answer.status == "reserved" for answer in answers.answers)
        return [request.order for request in requests]

    async def act(self, order: str, action: Any, **more: Any) -> dict[str, Any]:
        """Move an order."""
        found: dict[str, Any] = json.loads(
            await self.node.store.act_on_order(self.room, order, action, **more)
        )
        return found

    async def status(self, order: str) -> str:
        """Read an order's status."""
        found = await self.node.store.order(self.room, order)
        assert found is not None
        status: str = json.loads(found)["status"]
        return status

    async def until_status(self, order: str, status: str) -> None:
        """Wait until an order has a status; Redis tells no one, so it is asked."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.status(order) != status:
                await asyncio.sleep(0.005)


@pytest.fixture
def own_redis() -> Iterator[str]:
    """A Redis of this test's own: there is one outbox in each."""
    with tempfile.TemporaryDirectory(prefix="lr") as folder, private_redis(Path(folder)) as url:
        yield url


@pytest.fixture
async def nodes(own_redis: str) -> AsyncIterator[Callable[..., Node]]:
    """A maker of nodes on one Redis."""
    async with contextlib.AsyncExitStack() as stack:

        def make(sender: Sender | None = None, **changes: Any) -> Node:
            node = Node(own_redis, SETTINGS._replace(**changes), sender)
            stack.push_async_callback(node.close)
            return node

        yield make


@pytest.fixture
async def node(nodes: Callable[..., Node]) -> Node:
    """A node that delivers."""
    return await nodes().start()


@pytest.fixture
async def shop(node: Node) -> Shop:
    """A shop with a sale whose orders are placed at once."""
    return await Shop(node).open()


@pytest.fixture
async def partners() -> AsyncIterator[Callable[[], Awaitable[Partner]]]:
    """A maker of partners."""
    made: list[Partner] = []

    async def make() -> Partner:
        made.append(await Partner().start())
        return made[-1]

    yield make
    for partner in made:
        await partner.stop()


@pytest.fixture
async def partner(partners: Callable[[], Awaitable[Partner]]) -> Partner:
    """A partner that takes everything."""
    return await partners()


async def until(read: Callable[[], Awaitable[Any]], condition: Callable[[Any], Any]) -> Any:
    """Ask until what is read fits; Redis tells no one."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition(found := await read()):
            await asyncio.sleep(0.005)
    return found
