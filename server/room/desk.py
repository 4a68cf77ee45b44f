"""What a room's viewers send towards the store: comments, likes, order look-ups, and this node's beat.

One desk a room a node. Never knows Redis, only ``RoomStore``. The beat adds the likes gathered here, renews
this node's viewer count, settles sales that are due, and has the room's state told to all nodes, at most
every ``state_window_ms`` for the whole cluster; a beat whose state could not be told yet is repeated, so the
last value always arrives.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from liveroom.protocol.events import CommentEvent
from liveroom.server.room.batched import Batched
from liveroom.server.room.comments import SLOT_S, CommentGate
from liveroom.server.room.ports import Append, Beat, Refused, RoomStore
from liveroom.server.room.present import ENDED
from liveroom.server.room.room import Room

_log = logging.getLogger("liveroom.desk")

MAX_APPENDS = 200  # events or comments in one call
MAX_LOOKUPS = 500  # users in one call
LEASE_RENEW_S = 4.0  # the store forgets a node's viewers after 10 s

_encode = msgspec.json.encode


class Ids:
    """Ids no other process makes: this process's prefix and a counter."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def next(self) -> str:
        """Return the next id."""
        self._count += 1
        return f"{self._prefix}-{self._count:x}"


class RoomDesk:
    """See the module."""

    def __init__(self, room: Room, store: RoomStore, comments_per_s: float, ids: Ids) -> None:
        self.room = room
        self._store = store
        self._ids = ids
        self._loop = asyncio.get_running_loop()
        self.appends: Batched[Append, int] = Batched(partial(store.append, room.id), MAX_APPENDS)
        self._lookups: Batched[str, bytes] = Batched(self._look_up, MAX_LOOKUPS)
        self._gate: CommentGate[tuple[CommentEvent, Callable[[str | Refused | None], None]]] = CommentGate(
            comments_per_s
        )
        self._slot: asyncio.TimerHandle | None = None
        self._likes = 0
        self._unsure: tuple[int, int] | None = None  # number and likes of a beat that may not have arrived
        self._numbers = itertools.count(store.now_ms())  # grow over the desks this node has for the room
        self._dirty = False
        self._beat_timer: asyncio.TimerHandle | None = None
        self._beat_at = 0.0
        self._beating: asyncio.Task[None] | None = None
        self._last_beat = 0.0
        self._told_viewers = 0
        self._due: int | None = None  # when a hold ends
        self._retry_s = 0.0
        self._closed = False
        room.on_sales_changed = self.sales_changed
        self.sales_changed()

    # --- orders of a user who joins -----------------------------------------------------------------

    async def _look_up(self, users: list[str]) -> list[bytes | Refused]:
        return [*await self._store.open_orders(self.room.id, users)]

    def look_up_orders(self, user: str, done: Callable[[bytes | Refused, list[bytes]], None]) -> None:
        """Find a user's open orders: (JSON array or refusal, orders told while the store was asked)."""
        told: list[bytes] = []
        arriving = self.room.arriving
        arriving.setdefault(user, []).append(told)

        def answered(orders: bytes | Refused) -> None:
            others = [other for other in arriving[user] if other is not told]
            if others:
                arriving[user] = others
            else:
                del arriving[user]
            done(orders, told)

        self._lookups.submit(user, answered)

    # --- comments -----------------------------------------------------------------------------------

    def comment(self, user: str, name: str, text: str, done: Callable[[str | Refused | None], None]) -> None:
        """Publish a comment if the display budget allows; ``done`` gets its id, None if not shown, or a refusal."""
        event = CommentEvent(self._ids.next(), user, name, text, self._store.now_ms())
        if self._gate.offer(self._loop.time(), user, (event, done)):
            self._publish(event, done)
        elif self._slot is None:
            self._slot = self._loop.call_later(SLOT_S, self._end_slot)

    def _end_slot(self) -> None:
        self._slot = None
        shown, left_out = self._gate.settle(self._loop.time())
        for event, done in shown:
            self._publish(event, done)
        for _, done in left_out:
            done(None)

    def _publish(self, event: CommentEvent, done: Callable[[str | Refused | None], None]) -> None:
        id = event.comment

        def answered(offset: int | Refused) -> None:
            done(offset if isinstance(offset, Refused) else id)

        self.appends.submit(Append([b"c" + _encode(event)]), answered)

    # --- likes and the beat -------------------------------------------------------------------------

    def like(self, n: int) -> None:
        """Count likes; they are added to the room's total with the next beat."""
        self._likes += n
        if not self._dirty:
            self.touch()

    def touch(self) -> None:
        """Note that the room's numbers changed: a beat is due within the state window."""
        self._dirty = True
        self._schedule_beat(self._last_beat + self.room.settings.state_window_ms / 1000)

    def viewers_changed(self) -> None:
        """Note a join or a leave."""
        if not self._dirty:
            self.touch()

    def hold_ends(self, at_ms: int) -> None:
        """Note that a hold ends at a time of the store's clock: a beat then settles it."""
        if self._due is None or at_ms < self._due:
            self._due = at_ms
            self.beat_at_store_time(at_ms)

    def beat_at_store_time(self, at_ms: int) -> None:
        """See that a beat happens at a time of the store's clock (a sale opens or ends)."""
        wait = (at_ms - self._store.now_ms()) / 1000
        self._schedule_beat(self._loop.time() + max(0.0, wait) + 0.001)

    def _schedule_beat(self, at: float) -> None:
        if self._closed or self._beating is not None:
            return  # a beat in flight schedules the next when it ends
        if self._beat_timer is not None:
            if self._beat_at <= at:
                return
            self._beat_timer.cancel()
        self._beat_at = at
        self._beat_timer = self._loop.call_at(at, self._start_beat)

    def _start_beat(self) -> None:
        self._beat_timer = None
        self._beating = self._loop.create_task(self._beat())

    async def _beat(self) -> None:
        viewers = len(self.room.audience)
        dirty, self._dirty = self._dirty, False
        self._last_beat = self._loop.time()
        try:
            beat = await self._send_beat(viewers, self.live_sales())
        except Refused:
            self._dirty = True
            self._retry_s = min(5.0, 2 * self._retry_s or 0.25)
        except Exception:
            _log.exception("beat of room %s failed", self.room.id)
            self._dirty = True
            self._retry_s = 5.0
        else:
            self._retry_s = 0.0
            self._told_viewers = viewers
            self._dirty |= beat.pending or (dirty and not beat.told)
            self._due = beat.due
        finally:
            self._beating = None
        self._schedule_next()

    async def _send_beat(self, viewers: int, sales: list[str]) -> Beat:
        """Send a beat. One that failed is sent again as it was: the store adds the likes of a number once."""
        if self._unsure is None:
            self._unsure = (next(self._numbers), self._likes)
            self._likes = 0
        number, likes = self._unsure
        beat = await self._store.beat(self.room.id, number=number, likes=likes, viewers=viewers, sales=sales)
        self._unsure = None
        if self._likes:
            self._dirty = True
        return beat

    def _schedule_next(self) -> None:
        window = self._retry_s or self.room.settings.state_window_ms / 1000
        if self._dirty or self._told_viewers != len(self.room.audience):
            self._schedule_beat(self._last_beat + window)
        elif len(self.room.audience):
            self._schedule_beat(self._last_beat + LEASE_RENEW_S)
        due = self._next_sale_change()
        if due is not None:
            now = self._store.now_ms()
            # One that is due already was in this beat: its fact is on its way, or the store's clock is a
            # little behind ours. Asking at once, again and again, would keep the store busy with nothing.
            again = self._retry_s * 1000 or (self.room.settings.fact_window_ms if due <= now else 0)
            self.beat_at_store_time(max(due, now + int(again)))

    def live_sales(self) -> list[str]:
        """Return the sales that can still change by themselves or by claims."""
        sales = self.room.present.sales.items()
        return [id for id, sale in sales if sale["state"] not in ENDED or sale["reserved"]]

    def _next_sale_change(self) -> int | None:
        """Return when a sale next opens, ends or loses a hold, by the store's clock; None if none will by itself."""
        times = [] if self._due is None else [self._due]
        for sale in self.room.present.sales.values():
            if sale["state"] == "scheduled" and sale["starts_at"] is not None:
                times.append(sale["starts_at"])
            elif sale["state"] in ("open", "paused", "sold_out") and sale["ends_at"] is not None:
                times.append(sale["ends_at"])
        return min(times, default=None)

    def sales_changed(self) -> None:
        """Note that the room's sales were loaded or changed: their times are watched."""
        due = self._next_sale_change()
        if due is not None:
            self.beat_at_store_time(due)

    # --- the end ------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Tell whether nothing of this room is under way here."""
        return (
            self._beating is None
            and not self._dirty
            and not self._likes
            and self._unsure is None
            and self._slot is None
            and self._due is None
            and self.appends.idle
            and self._lookups.idle
        )

    async def close(self) -> None:
        """Bring to the store what is still here, and stop."""
        if self._slot is not None:
            self._slot.cancel()
            self._end_slot()
        await self.appends.join()
        self._closed = True
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        if self._beating is not None:
            await asyncio.wait((self._beating,))
        if self._unsure or self._likes or self._told_viewers:
            try:
                if self._unsure:
                    await self._send_beat(0, [])
                await self._send_beat(0, [])
            except Refused as refusal:
                _log.warning("room %s: last beat lost: %s", self.room.id, refusal)
        self.room.stop()
