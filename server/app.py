"""The composition root: the only file that knows every part. Start, run, stop, in this order.

Start: store, then hub and desks, then the door. Stop: the door, then viewers (told when to come back), then
desks (what they hold goes to the store), then the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as redis
from aiohttp import web
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from liveroom.server.api.app import make_api
from liveroom.server.api.context import ApiContext, Handoff
from liveroom.server.backplane.embedded import EmbeddedError, EmbeddedServer
from liveroom.server.backplane.outbox import RedisOutbox
from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.store import RedisStore, StoreSettings
from liveroom.server.backplane.subscription import Subscription
from liveroom.server.config import Config, ConfigError
from liveroom.server.edge.auth import Authenticator
from liveroom.server.edge.connection import Connection
from liveroom.server.edge.edge import Edge
from liveroom.server.edge.front_door import FrontDoor
from liveroom.server.handoff.courier import Courier
from liveroom.server.handoff.feed import Feed
from liveroom.server.handoff.sender import Sender
from liveroom.server.handoff.webhooks import Webhooks
from liveroom.server.ops.durability import Durability, durability
from liveroom.server.room.desk import Ids
from liveroom.server.room.dispatch import Dispatch
from liveroom.server.room.hub import Hub
from liveroom.server.room.ports import Unavailable
from liveroom.server.sale.desk import ClaimDesk
from liveroom.server.sale.known import KnownSales
from liveroom.server.web.pages import add_pages

_log = logging.getLogger("liveroom")

BACKLOG = 4096
SEND_BUFFER = 64 * 1024  # bytes the kernel may hold for a viewer that does not read (it doubles them)
USER_TIMEOUT_MS = 90_000  # unacknowledged for this long: the peer is dead (longer than a stall may last)
KEEPALIVE_S = (60, 15, 4)  # idle, between probes, probes
STORE_TIMEOUT_S = 5.0
_FREE_EVERY_S = 5.0
_DURABILITY_EVERY_S = 60.0  # an operator may change it while we run, and replicas come and go


class App:
    """A running liveroom process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.port = 0
        self._durability: Durability | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop.

        :raises ConfigError, EmbeddedError, Unavailable, OSError: it cannot start; the message says why.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            _announce(self.config, self.port)
            await self._stopping.wait()
            _log.info("stopping")

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        config = self.config
        authenticator = Authenticator(config.secret(), config.dev)
        config.handoff_settings()  # what is wrong with it is said before anything is started
        listener = _listen(config.host, config.port)
        stack.callback(listener.close)
        self.port = listener.getsockname()[1]

        url = config.redis
        if not url:
            embedded = EmbeddedServer(config.data_dir())
            await embedded.start()
            stack.push_async_callback(embedded.stop)
            url = embedded.url
        subscription = Subscription(redis.Redis.from_pool(_connections(url)), lambda room: hub.repair(room))  # noqa: PLW0108  made below
        pipe = Pipe(_connections(url).make_connection, STORE_TIMEOUT_S)
        stack.push_async_callback(pipe.close)
        store = RedisStore(pipe, subscription, self._store_settings())
        await self._check_store(store, url)
        await self._read_durability(store)
        await subscription.start()
        stack.push_async_callback(subscription.stop)

        ids = Ids(secrets.token_hex(5))
        known = KnownSales()
        hub = Hub(
            store,
            config.room_settings(),
            comments_per_s=config.room_comments_per_s,
            create_rooms=config.dev,
            ids=ids,
            idle_s=config.idle_room_s,
            watch=known,
        )
        claims = ClaimDesk(store, ids, known, store.now_ms)
        claims.on_due = hub.hold_ends
        handoff = await self._start_handoff(stack, store, RedisOutbox(pipe, store.now_ms))
        runner = web.AppRunner(
            self._make_http(hub, store, claims, authenticator, handoff), access_log=None, keepalive_timeout=75
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        http_server = runner.server
        assert http_server is not None
        self._edge = edge = Edge(
            config.edge_settings(), hub, Dispatch(hub, claims), authenticator, http_server
        )
        stack.push_async_callback(self._drain, edge, hub, claims)
        for keeper in (edge.sweep(), store.keep_clock(), self._watch_durability(store), _free_idle(hub)):
            await stack.enter_async_context(_owned(keeper))

        server = await asyncio.get_running_loop().create_server(
            lambda: FrontDoor(edge), sock=listener, backlog=BACKLOG
        )
        stack.callback(server.close)
        # What is here now stays: collecting need not look at it again. A connection is a handful of objects
        # without cycles, so collections find nothing and only cost; they are made rare.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    async def _start_handoff(
        self, stack: contextlib.AsyncExitStack, store: RedisStore, outbox: RedisOutbox
    ) -> Handoff:
        settings = self.config.handoff_settings()
        sender = Sender(settings.timeout_s, settings.allowed)
        courier = Courier(outbox, store, sender, settings, self._store_settings().node)
        await courier.start()
        stack.push_async_callback(courier.close)
        webhooks = Webhooks(outbox, sender, settings, courier.nudge)
        return Handoff(webhooks=webhooks, feed=Feed(outbox, store), now_ms=store.now_ms)

    def _make_http(
        self,
        hub: Hub,
        store: RedisStore,
        claims: ClaimDesk,
        authenticator: Authenticator,
        handoff: Handoff,
    ) -> web.Application:
        context = ApiContext(
            hub=hub,
            store=store,
            sales=store,
            claims=claims,
            handoff=handoff,
            authenticate=authenticator.check,
            open_api=self.config.dev,
            ready=self._ready,
            command_counts=lambda: dict(self._edge.dispatch.counts),
            durability=lambda: self._durability,
            edge_counts=lambda: dict(self._edge.counts) | {"connections": len(self._edge.connections)},
        )
        api = make_api(context)
        add_pages(api)
        return api

    def _ready(self) -> str | None:
        return "stopping" if self._edge.draining else None

    def _store_settings(self) -> StoreSettings:
        config = self.config
        return StoreSettings(
            node=config.node or f"{socket.gethostname()}:{self.port}",
            history_events=config.history_events,
            history_ms=config.history_ms,
            state_window_ms=config.state_window_ms,
            order_fact_ms=config.order_fact_ms,
        )

    async def _check_store(self, store: RedisStore, url: str) -> None:
        try:
            await store.read_clock()
        except Unavailable as fault:
            where = urlsplit(url)
            cause = fault.__cause__
            raise ConfigError(
                f"no Redis answers at {where.scheme}://{where.hostname or where.path}: {cause}; check --redis"
            ) from fault

    async def _read_durability(self, store: RedisStore) -> None:
        """Read what an acknowledged order survives; it is logged when it is weak, and when that changes."""
        with contextlib.suppress(Unavailable):
            told = durability(await store.keeping())
            if told.weak and told != self._durability:
                _log.warning("an acknowledged order may be lost: %s", " ".join(told.sentences))
            self._durability = told

    async def _watch_durability(self, store: RedisStore) -> None:
        while True:
            await asyncio.sleep(_DURABILITY_EVERY_S)
            await self._read_durability(store)

    async def _drain(self, edge: Edge, hub: Hub, claims: ClaimDesk) -> None:
        """Tell viewers when to come back, answer what was asked, bring to the store what is held."""
        edge.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.drain_s
        await claims.join()
        viewers = [c for c in edge.connections if isinstance(c, Connection)]
        spread_ms = min(len(viewers), self.config.drain_s * 500)
        for number, viewer in enumerate(viewers):
            after = int(spread_ms * number / max(1, len(viewers)))
            viewer.bye("restarting", "the server restarts", after)
        await hub.close()
        while edge.connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        for viewer in viewers:
            viewer.drop()  # who has not answered the close by now


async def _free_idle(hub: Hub) -> None:
    while True:
        await asyncio.sleep(_FREE_EVERY_S)
        try:
            await hub.free_idle()
        except Exception:
            _log.exception("freeing idle rooms failed")


@contextlib.asynccontextmanager
async def _owned(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a keeper as long as the process serves; one that ends by itself is a bug and is logged."""
    task = asyncio.create_task(work)
    task.add_done_callback(_keeper_ended)
    try:
        yield
    finally:
        # Again and again: a library that waits with a time limit may swallow a cancel on Python 3.11.
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=0.5)


def _keeper_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.critical("a keeper ended", exc_info=task.exception())


def _connections(url: str) -> redis.ConnectionPool:
    """Return a maker of connections that fail fast: what waits is told, and asks again.

    No time limit on reads: a connection that is idle is not broken. What waits too long is the pipe's to notice.
    """
    return redis.ConnectionPool.from_url(
        url, socket_timeout=None, socket_connect_timeout=STORE_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )


def _listen(host: str, port: int) -> socket.socket:
    """Open the listening socket. Linux hands its options on to every socket accepted from it."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in zip(
            (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT), KEEPALIVE_S, strict=True
        ):
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as fault:  # the latter: a host name that cannot be one
        why = fault.strerror if isinstance(fault, OSError) else "no such host name"
        raise ConfigError(f"cannot listen on {host}:{port}: {why}; give another --host or --port") from fault
    listener.setblocking(False)
    return listener


def _announce(config: Config, port: int) -> None:
    host = f"[{config.host}]" if ":" in config.host else config.host
    base = f"http://{host}:{port}"
    if config.dev:
        print(
            "--dev: NO TOKENS ARE ASKED. For a laptop only; anyone on this machine can do anything.",
            flush=True,
        )
    print(f"liveroom serves on {base}", flush=True)
    print(f"viewer page  {base}/?room=demo", flush=True)
    print(f"host page    {base}/host?room=demo", flush=True)


__all__ = ["App", "EmbeddedError"]
