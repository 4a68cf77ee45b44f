"""The courier: sees that every enabled endpoint is delivered by some node, each by a task of its own.

Knows the ports. Every node has one. Rules: an endpoint is one node's at a time, by its lease; when that node dies
another takes it when the lease has run out; an endpoint that is slow, fails or is broken delays no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets

from liveroom.server.handoff.endpoint import Endpoint, Orders
from liveroom.server.handoff.ports import OutboxStore, Seen, place_of
from liveroom.server.handoff.sender import Sender
from liveroom.server.handoff.settings import HandoffSettings
from liveroom.server.room.ports import Unavailable

_log = logging.getLogger("liveroom.handoff")

_TRIM_EVERY_S = 60.0


class Courier:
    """See the module. ``node`` names this process; a restart is another node."""

    def __init__(
        self, store: OutboxStore, orders: Orders, sender: Sender, settings: HandoffSettings, node: str
    ) -> None:
        self._store = store
        self._orders = orders
        self._sender = sender
        self._s = settings
        self.node = f"{node}/{secrets.token_hex(6)}"
        self._running: dict[str, tuple[Endpoint, asyncio.Task[None]]] = {}
        self._broken_until: dict[str, float] = {}
        self._last = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def delivers(self) -> list[str]:
        """The endpoints this node delivers now."""
        return sorted(name for name, (endpoint, _) in self._running.items() if not endpoint.over)

    def nudge(self) -> None:
        """Look now: an endpoint was changed."""
        self._wake.set()

    async def start(self) -> None:
        """Begin."""
        await self._sender.open()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End what is under way, and give the endpoints back."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        tasks = [task for _, task in self._running.values()]
        for endpoint, _ in self._running.values():
            endpoint.stop()
        if tasks:
            await asyncio.wait(tasks)  # each is bounded by the time limits of an attempt and of the store
        await self._sender.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        trim_at = loop.time()
        while not self._closing:
            self._wake.clear()
            try:
                await self._look()
                if loop.time() >= trim_at:
                    trim_at = loop.time() + _TRIM_EVERY_S
                    await self._store.trim(int(self._s.keep_s * 1000))
            except Unavailable:
                _log.debug("not looked: the store is away")
            except Exception:
                _log.exception("looking at the outbox failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._s.poll_s):
                    await self._wake.wait()

    async def _look(self) -> None:
        last, webhooks = await self._store.look()
        grown = not self._last or place_of(last) != place_of(self._last)
        self._last = last
        seen = {webhook.webhook: webhook for webhook in webhooks}
        for name, (endpoint, _) in self._running.items():
            now = seen.get(name)
            if now is None or now.generation != endpoint.webhook.generation or now.state != "enabled":
                endpoint.stop()
            elif grown:
                endpoint.nudge()
        for webhook in webhooks:
            await self._consider(webhook)

    async def _consider(self, seen: Seen) -> None:
        name = seen.webhook
        # Its own lease, when it lost sight of the store for a while, a node need not wait out.
        if name in self._running or seen.state != "enabled" or seen.holder not in ("", self.node):
            return
        loop = asyncio.get_running_loop()
        if self._broken_until.get(name, 0.0) > loop.time():
            return
        asked_at = loop.time()
        try:
            claimed = await self._store.claim(name, self.node, int(self._s.lease_s * 1000))
        except Unavailable:
            raise
        except Exception:
            _log.exception("webhook %s cannot be read", name)
            self._broken_until[name] = loop.time() + 5
            return
        if claimed is None:
            return
        endpoint = Endpoint(
            claimed, self.node, self._store, self._orders, self._sender, self._s, held_from=asked_at
        )
        task = loop.create_task(endpoint.run())
        self._running[name] = endpoint, task
        task.add_done_callback(lambda task: self._ended(name, task))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        self._wake.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.error("delivering webhook %s ended", name, exc_info=fault)
            self._broken_until[name] = asyncio.get_running_loop().time() + 5
