"""The delivery of one endpoint: its lease, its cursor in the outbox, and what it is owed.

Knows the ports. Rules:
- It sends only while it has the lease for longer than an attempt can last, so that nothing of it is under way
  when another node takes over.
- Delivered is what was written down. What cannot be written down (the lease is lost, the endpoint was changed, the
  store is away) is delivered again: at least once, told apart by its id.
- An order that was delivered becomes ``handed_off`` before the delivery is written down, for the same reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from liveroom.server.handoff.owed import Message, Owed
from liveroom.server.handoff.ports import HANDS_OFF, Claimed, Item, OutboxStore, Owing
from liveroom.server.handoff.sender import Outcome, Sender
from liveroom.server.handoff.settings import HandoffSettings
from liveroom.server.room.ports import Refused, Unavailable
from liveroom.server.sale.ports import OrderAction

_log = logging.getLogger("liveroom.handoff")

WINDOW = 500  # items owed at a time; the rest waits in the outbox
_TAKE = 100


class Orders(Protocol):
    """What moves an order."""

    async def act_on_order(self, room: str, order: str, action: OrderAction) -> bytes:
        """See ``SaleStore``."""


async def hand_off(orders: Orders, item: Item) -> bool:
    """Note that the partner has an order; tells whether it is the partner's now.

    :raises Unavailable: the store cannot be reached.
    """
    if item.type not in HANDS_OFF:
        return False
    try:
        await orders.act_on_order(item.room, item.order, "hand_off")
    except Unavailable:
        raise
    except Refused:
        return False  # it has moved on meanwhile, and what it moved to is handed as well
    return True


class Endpoint:
    """One endpoint that this node delivers. ``run`` ends when it must not any more, or was told to stop."""

    def __init__(
        self,
        claimed: Claimed,
        node: str,
        store: OutboxStore,
        orders: Orders,
        sender: Sender,
        settings: HandoffSettings,
        *,
        held_from: float,
    ) -> None:
        self.webhook = w = claimed.webhook
        self.over = False
        self._node = node
        self._store = store
        self._orders = orders
        self._sender = sender
        self._s = settings
        self._owed = Owed(
            settings.retries,
            settings.in_flight,
            failures=w.failures,
            rounds=w.rounds,
            pause_until=w.pause_until,
            last_success_at=w.last_success_at or 0,
        )
        for item, owing in claimed.owed:
            self._owed.add(Message(item, owing))
        self._more = True  # there may be something in the outbox after the cursor
        self._wake = asyncio.Event()
        self._sends: set[asyncio.Task[None]] = set()
        self._held_until = held_from + settings.lease_s  # by the loop's clock, from before it was asked for

    def nudge(self) -> None:
        """Say that the outbox has grown."""
        self._more = True
        self._wake.set()

    def stop(self) -> None:
        """End when what is under way has ended: the endpoint was changed, or the process stops."""
        self.over = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until it is over, then give the lease back."""
        try:
            while not self.over:
                self._wake.clear()
                await self._keep()
                await self._fill()
                self._send_ready()
                await self._rest()
        except Unavailable:
            _log.info("webhook %s waits: the store is away", self.webhook.webhook)
        finally:
            self.over = True
            while self._sends:
                await asyncio.wait(self._sends)
            with contextlib.suppress(Unavailable):
                await self._store.release(self.webhook.webhook, self._node)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        if self._held_until - loop.time() > 2 * self._s.timeout_s:
            return
        asked_at = loop.time()
        w = self.webhook
        if await self._store.keep(w.webhook, self._node, w.generation, int(self._s.lease_s * 1000)):
            self._held_until = asked_at + self._s.lease_s
        else:
            self.over = True

    async def _fill(self) -> None:
        w = self.webhook
        while self._more and not self.over and len(self._owed) < WINDOW:
            self._more = False  # before it is asked: a nudge that comes meanwhile counts
            taken = await self._store.take(w.webhook, self._node, w.generation, _TAKE, w.types)
            if taken is None:
                self.over = True
                return
            for item in taken.items:
                self._owed.add(Message(item))
            self._more = self._more or taken.looked == _TAKE

    def _send_ready(self) -> None:
        loop = asyncio.get_running_loop()
        if self.over or self._held_until - loop.time() <= self._s.timeout_s:
            return
        for message in self._owed.ready(self._store.now_ms()):
            task = loop.create_task(self._deliver(message))
            self._sends.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sends.discard(task)
        self._wake.set()
        if task.cancelled():
            self.over = True
        elif (fault := task.exception()) is not None:
            self.over = True  # what it is owed is read again from the store
            if not isinstance(fault, Unavailable):
                _log.error("delivering to webhook %s failed", self.webhook.webhook, exc_info=fault)

    async def _rest(self) -> None:
        """Wait until something is due, the lease must be kept, or someone says something."""
        if self.over:
            return
        keep_s = self._held_until - asyncio.get_running_loop().time() - 2 * self._s.timeout_s
        due_at = self._owed.due_at()
        due_s = keep_s if due_at is None else (due_at - self._store.now_ms()) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, min(keep_s, due_s))):
                await self._wake.wait()

    # --- one delivery -------------------------------------------------------------------------------

    async def _deliver(self, message: Message) -> None:
        w, item = self.webhook, message.item
        outcome = await self._sender.send(w.url, w.secrets, item.id, item.json(), self._store.now_ms())
        now = self._store.now_ms()
        owed = self._owed
        if outcome.kind == "delivered":
            await hand_off(self._orders, item)
            owed.succeeded(message, now)
            await self._settle(message, None, {"last_success_at": str(now)})
            return
        verdict = owed.failed(message, now, outcome.retry_after_ms)
        fields = {"last_failure_at": str(now), "last_failure": outcome.detail}
        if outcome.kind == "gone":
            fields |= {"state": "disabled", "reason": outcome.detail}
        elif verdict == "park":
            fields |= {"state": "parked", "reason": f"the retry schedule is used up; last: {outcome.detail}"}
        elif owed.set_aside >= WINDOW:
            fields |= {"state": "parked", "reason": f"{WINDOW} items are set aside"}
        await self._settle(message, message.owing, fields)
        self._tell(outcome, message, fields.get("state"))

    async def _settle(self, message: Message, owing: Owing | None, fields: dict[str, str]) -> None:
        w, owed = self.webhook, self._owed
        fields |= {
            "failures": str(owed.failures),
            "rounds": str(owed.rounds),
            "pause_until": str(owed.pause_until),
        }
        held = await self._store.settle(
            w.webhook, self._node, w.generation, message.item.position, owing, fields
        )
        if not held or "state" in fields:
            self.over = True

    def _tell(self, outcome: Outcome, message: Message, state: str | None) -> None:
        name = self.webhook.webhook
        if state is not None:
            _log.warning("webhook %s is %s: %s", name, state, outcome.detail)
        elif message.set_aside:
            _log.warning("webhook %s: %s is set aside: %s", name, message.item.id, outcome.detail)
        else:
            _log.info("webhook %s: %s failed: %s", name, message.item.id, outcome.detail)
