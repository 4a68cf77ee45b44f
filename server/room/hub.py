"""The rooms this node holds: loaded when first needed, followed while needed, freed when idle.

Knows ``RoomStore`` and rooms. Never knows sockets or HTTP. Rule: subscribe first, then read; what is
delivered between the two waits and is taken in afterwards, so nothing falls between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from liveroom.server.room.desk import Ids, RoomDesk
from liveroom.server.room.ports import Append, Delivery, Refused, RoomStore, SaleWatch, Unavailable, Viewer
from liveroom.server.room.rates import Rate, Rates
from liveroom.server.room.room import Room, RoomSettings

_log = logging.getLogger("liveroom.hub")

IDLE_S = 60.0  # a room without viewers is kept this long
_REPAIR_RETRY_S = 0.5


class Hub:
    """See the module. ``create_rooms`` makes rooms appear on first use (``--dev``)."""

    def __init__(
        self,
        store: RoomStore,
        settings: RoomSettings,
        *,
        comments_per_s: float,
        create_rooms: bool,
        ids: Ids,
        idle_s: float = IDLE_S,
        watch: SaleWatch | None = None,
    ) -> None:
        self.store = store
        self._settings = settings
        self._comments_per_s = comments_per_s
        self._create_rooms = create_rooms
        self._ids = ids
        self._idle_s = idle_s
        self._watch = watch
        self.desks: dict[str, RoomDesk] = {}
        self._loading: dict[str, asyncio.Task[RoomDesk]] = {}
        self._held: dict[str, list[Delivery]] = {}  # deliveries that wait for a load or a repair to end
        self._repairs: set[asyncio.Task[None]] = set()
        limits = settings.limits
        self.comment_rates = Rates(Rate(limits.comments_per_s, limits.comments_burst))
        self.like_rates = Rates(Rate(limits.like_messages_per_s, max(1, int(limits.like_messages_per_s))))
        self.gaps_filled = 0
        self.freed_passes = 0  # of rooms that are no longer held; counters must not go down
        self.freed_deliveries = 0
        self.closing = False

    # --- getting in ---------------------------------------------------------------------------------

    def arrive(
        self, room: str, user: str, done: Callable[[RoomDesk | Refused, bytes, list[bytes]], None]
    ) -> None:
        """Prepare a join: ``done`` gets the desk, the user's open orders (JSON), and orders told meanwhile.

        Called without a task of its own for a room that is held, so that a storm of joins stays cheap.
        """
        desk = self.desks.get(room)
        if desk is not None:
            self._arrive_at(desk, user, done)
            return

        def loaded(task: asyncio.Task[RoomDesk]) -> None:
            fault = None if task.cancelled() else task.exception()
            if fault is None and not task.cancelled():
                self._arrive_at(task.result(), user, done)
            else:
                done(
                    fault
                    if isinstance(fault, Refused)
                    else Refused("internal", "the room could not be read"),
                    b"",
                    [],
                )

        self._load_task(room).add_done_callback(loaded)

    def _arrive_at(
        self, desk: RoomDesk, user: str, done: Callable[[RoomDesk | Refused, bytes, list[bytes]], None]
    ) -> None:
        if desk.room.present.closed:
            done(Refused("room_closed", f"room {desk.room.id!r} is closed"), b"", [])
            return

        def found(orders: bytes | Refused, told: list[bytes]) -> None:
            if isinstance(orders, Refused):
                done(orders, b"", told)
                return
            if self._watch is not None and (told or orders != b"[]"):
                self._watch.buyer_told(desk.room.id, user)
            done(desk, orders, told)

        desk.look_up_orders(user, found)

    async def desk(self, room: str) -> RoomDesk:
        """Return the desk of a room, loading it if need be.

        :raises Refused: ``unknown_room`` or ``unavailable``.
        """
        desk = self.desks.get(room)
        return desk if desk is not None else await asyncio.shield(self._load_task(room))

    def _load_task(self, room: str) -> asyncio.Task[RoomDesk]:
        task = self._loading.get(room)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(room))
            self._loading[room] = task
            task.add_done_callback(lambda _: self._loading.pop(room, None))
            task.add_done_callback(partial(self._load_ended, room))
        return task

    def _load_ended(self, room: str, task: asyncio.Task[RoomDesk]) -> None:
        # Every waiter has its own callback; a load nobody waits for any more must not warn.
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, Refused):
            _log.error("room %s could not be read", room, exc_info=fault)

    async def _load(self, id: str) -> RoomDesk:
        if self.closing:
            raise Unavailable("the server is stopping")
        self._held[id] = []
        try:
            await self.store.follow(id, lambda delivery: self._deliver(id, delivery))
            try:
                loaded = await self.store.load(id, after=None, create=self._create_rooms)
                if loaded is None:
                    raise Refused("unknown_room", f"there is no room {id!r}")
            except BaseException:
                await self.store.unfollow(id)
                raise
            room = Room(id, self._settings, self.store.now_ms, self._repair, self._restart)
            room.load(loaded)
            if self._watch is not None:
                room.watch_sales(self._watch, loaded)
            desk = RoomDesk(room, self.store, self._comments_per_s, self._ids)
            self.desks[id] = desk
        finally:
            held = self._held.pop(id)
        for delivery in held:
            room.receive(delivery)
        return desk

    # --- from the host's side -----------------------------------------------------------------------

    async def publish(self, room: str, append: Append) -> int:
        """Append events for the host; returns the offset of the last. A room held here batches them.

        :raises Refused: ``unknown_room``, ``room_closed``, ``id_reused`` or ``unavailable``.
        """
        desk = self.desks.get(room)
        if desk is not None:
            return await desk.appends.ask(append)
        await self.ensure(room)
        (answer,) = await self.store.append(room, [append])
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def ensure(self, room: str) -> None:
        """Make the room if rooms appear on first use here."""
        if self._create_rooms and room not in self.desks:
            await self.store.create(room, None)

    def hold_ends(self, room: str, at_ms: int) -> None:
        """Note that a hold in a room ends at a time of the store's clock."""
        desk = self.desks.get(room)
        if desk is not None:
            desk.hold_ends(at_ms)

    # --- following ----------------------------------------------------------------------------------

    def _deliver(self, id: str, delivery: Delivery) -> None:
        held = self._held.get(id)
        if held is not None:
            held.append(delivery)
            return
        desk = self.desks.get(id)
        if desk is not None:
            desk.room.receive(delivery)

    def _repair(self, room: Room) -> None:
        """Read from the store what a room has missed; deliveries wait meanwhile."""
        if room.id in self._held or self.closing:
            return
        self._held[room.id] = []
        task = asyncio.get_running_loop().create_task(self._read_missed(room))
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _read_missed(self, room: Room) -> None:
        while room.id in self.desks and not self.closing:
            try:
                after = (room.log.epoch, room.log.head)
                loaded = await self.store.load(room.id, after=after, create=self._create_rooms)
            except Refused:
                await asyncio.sleep(_REPAIR_RETRY_S)
                self._held[room.id].clear()  # the read to come covers them; what waits stays bounded
                continue
            except Exception:
                _log.exception("reading what room %s missed failed", room.id)
                await asyncio.sleep(_REPAIR_RETRY_S)
                self._held[room.id].clear()
                continue
            if loaded is None:
                _log.error("room %s is gone from the store", room.id)
            else:
                self.gaps_filled += 1
                room.repair(loaded)
            break
        for delivery in self._held.pop(room.id, []):
            room.receive(delivery)

    def repair(self, room: str) -> None:
        """See a room repaired: its subscription was away for a while."""
        desk = self.desks.get(room)
        if desk is not None:
            self._repair(desk.room)

    def _restart(self, room: Room, viewer: Viewer) -> None:
        """Give a viewer its room afresh, with its open orders."""
        desk = self.desks.get(room.id)
        if desk is None:
            return

        def found(orders: bytes | Refused, told: list[bytes]) -> None:
            if isinstance(orders, Refused):
                viewer.bye("too_slow", "what you missed cannot be read now; join again", 1000)
                return
            room.restart(viewer, orders, told)

        desk.look_up_orders(viewer.user, found)

    # --- letting go ---------------------------------------------------------------------------------

    async def free_idle(self) -> None:
        """Free the rooms that have had no viewer for a while; called now and then by their keeper."""
        now = asyncio.get_running_loop().time()
        for id, desk in list(self.desks.items()):
            since = desk.room.idle_since
            if since is None or now - since < self._idle_s or not desk.idle or id in self._held:
                continue
            del self.desks[id]
            if self._watch is not None:
                self._watch.forget(id)
            self.freed_passes += desk.room.passes
            self.freed_deliveries += desk.room.audience.deliveries
            await desk.close()
            if id not in self._loading and id not in self.desks:  # nobody has come for it meanwhile
                await self.store.unfollow(id)

    async def close(self) -> None:
        """Stop following, and bring to the store what the desks still hold."""
        self.closing = True
        for task in list(self._repairs):
            task.cancel()
        await asyncio.gather(*(desk.close() for desk in self.desks.values()))
        self.desks.clear()
