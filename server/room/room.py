"""A room on this node: its log, its present, its audience, and when the next pass is due.

Knows time only as ``now`` (ms since the Unix epoch) and the loop's timers. Never knows a socket, Redis or
HTTP. A change of state is synchronous: deliveries, joins and passes run to their end or to a slice's end.

When a pass is due (a window per lane): a fact at once when the room has been quiet, and else
``fact_window_ms`` after the last pass; a comment after a window that grows with the room; state at its own
interval. The earliest due lane starts a pass, and the pass carries everything that is pending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from liveroom.protocol import codec
from liveroom.protocol.messages import Limits
from liveroom.server.room.fanout import Audience
from liveroom.server.room.flush import Flush, encoding_of, to_frame
from liveroom.server.room.log import Entry, Lane, Log
from liveroom.server.room.ports import Delivery, LoadedRoom, SaleWatch, Viewer
from liveroom.server.room.present import Present

_log = logging.getLogger("liveroom.room")
_SALE = b'{"type":"sale"'


class RoomSettings(NamedTuple):
    """What all rooms of a process have in common. Times in ms."""

    fact_window_ms: int
    chatter_window_ms: int
    chatter_window_hot_ms: int
    hot_viewers: int
    state_window_ms: int
    history_events: int
    history_ms: int
    heartbeat_ms: int
    limits: Limits


class Room:
    """See the module.

    ``on_gap`` is told when deliveries are missing; ``on_restart`` when a viewer must start afresh.
    """

    def __init__(
        self,
        id: str,
        settings: RoomSettings,
        now_ms: Callable[[], int],
        on_gap: Callable[[Room], None],
        on_restart: Callable[[Room, Viewer], None],
    ) -> None:
        self.id = id
        self.settings = settings
        self._now_ms = now_ms
        self._on_gap = on_gap
        self._on_restart = on_restart
        self._loop = asyncio.get_running_loop()
        self.log = Log("", 0, max_events=settings.history_events, max_age_ms=settings.history_ms)
        self.present = Present(id, settings.heartbeat_ms, settings.limits)
        self.audience = Audience(0)
        self.by_user: dict[str, Viewer | set[Viewer]] = {}
        # Orders told while a join of their user is under way: a list for each join.
        self.arriving: dict[str, list[list[bytes]]] = {}
        self.idle_since: float | None = self._loop.time()
        self._last_pass = 0.0  # loop time
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._next_slice: asyncio.Handle | None = None
        self.passes = 0
        self.on_sales_changed: Callable[[], None] = lambda: None
        self.watch: SaleWatch | None = None

    # --- in: what the store tells -------------------------------------------------------------------

    def load(self, loaded: LoadedRoom) -> None:
        """Start from, or start again from, what the store holds."""
        record = loaded.record
        tail = loaded.deliveries[0].first - 1 if loaded.deliveries else record.offset
        self.log = Log(
            record.epoch, tail, max_events=self.settings.history_events, max_age_ms=self.settings.history_ms
        )
        for delivery in loaded.deliveries:
            self.log.append(delivery.entries)
        self.present.load(
            record.epoch, record.closed_at is not None, loaded.pinned, loaded.sales, loaded.state, loaded.now
        )
        self.present.recall(self.log.between(self.log.tail, self.log.head))
        self.audience.flushed = self.log.head

    def repair(self, loaded: LoadedRoom) -> None:
        """Take in what was missed, read from the store; beyond its window everyone starts afresh."""
        first = loaded.deliveries[0].first if loaded.deliveries else loaded.record.offset + 1
        if loaded.record.epoch != self.log.epoch or first > self.log.head + 1:
            _log.warning("room %s starts afresh at %s:%d", self.id, loaded.record.epoch, loaded.record.offset)
            viewers = self.audience.everyone()
            self.load(loaded)
            self._reload_watch(loaded)
            self.audience.lose_place(viewers)
            if self._next_slice is not None:  # of a pass that has just been given up
                self._next_slice.cancel()
                self._next_slice = None
            self.on_sales_changed()
            for viewer in viewers:
                self.catch_up(viewer)
            return
        for delivery in loaded.deliveries:
            self.receive(delivery)
        if self.present.set_state(loaded.state, loaded.now):
            self._schedule(self._loop.time(), self._last_pass + self.settings.state_window_ms / 1000)

    def _reload_watch(self, loaded: LoadedRoom) -> None:
        if self.watch is not None:
            self.watch.hold(self.id)
            for sale in loaded.sales:
                self.watch.sale_told(self.id, sale)

    def watch_sales(self, watch: SaleWatch, loaded: LoadedRoom) -> None:
        """Tell ``watch`` the sales that were loaded, and from now on every change."""
        self.watch = watch
        self._reload_watch(loaded)

    def receive(self, delivery: Delivery) -> None:
        """Take one delivery: append what is new, tell buyers their orders, see when a pass is due."""
        log = self.log
        if delivery.epoch != log.epoch or delivery.first > log.head + 1:
            self._on_gap(self)
            return
        known = log.head + 1 - delivery.first
        entries = delivery.entries[known:] if known else delivery.entries
        for user, order in delivery.orders:
            self._tell_order(user, order)
        if self.watch is not None:
            self._tell_watch(self.watch, entries, delivery)
        now = self._loop.time()
        if entries:
            log.append(entries)
            facts = any(entry.lane is Lane.FACT for entry in entries)
            self._schedule(
                now,
                self._last_pass + (self.settings.fact_window_ms if facts else self._chatter_window()) / 1000,
            )
        if delivery.state is not None and self.present.set_state(delivery.state, delivery.at):
            self._schedule(now, self._last_pass + self.settings.state_window_ms / 1000)

    def _tell_watch(self, watch: SaleWatch, entries: list[Entry], delivery: Delivery) -> None:
        """Tell at once, not with the pass: a restock must end local answers everywhere."""
        for entry in entries:
            if entry.lane is Lane.FACT and entry.json.startswith(_SALE):
                watch.sale_told(self.id, entry.json)
        for user, _ in delivery.orders:
            watch.buyer_told(self.id, user)

    def _chatter_window(self) -> float:
        """How long a comment may wait, ms: from a small room's window to a hot one's, by its size."""
        s = self.settings
        share = min(1.0, len(self.audience) / s.hot_viewers)
        return s.chatter_window_ms + (s.chatter_window_hot_ms - s.chatter_window_ms) * share

    def _tell_order(self, user: str, order: bytes) -> None:
        """Send an order to all the buyer's connections; it is no part of the log."""
        for told in self.arriving.get(user, ()):
            told.append(order)
        for viewer in self.viewers_of(user):
            self.send_order(viewer, order)

    def send_order(self, viewer: Viewer, order: bytes) -> None:
        """Write an ``order`` message, given an order as JSON."""
        json = b'{"type":"order",' + order[1:]
        encoding = encoding_of(viewer.group)
        payload = json if encoding is codec.Encoding.JSON else codec.transcode(json)
        try:
            viewer.write(to_frame(viewer.group & ~1, payload))
        except Exception:
            viewer.drop()

    # --- viewers ------------------------------------------------------------------------------------

    def join(self, viewer: Viewer, orders: bytes, resume: tuple[str, int] | None) -> bytes:
        """Take a viewer in and return its welcome frame, all in one step so that nothing falls between.

        The caller writes the frame (with the handshake's answer before it) and then calls ``catch_up``.
        """
        cursor = self._resume_cursor(resume)
        resumed = cursor is not None
        place = self.audience.flushed if cursor is None else cursor
        welcome = self._welcome(viewer, place, resumed, orders)
        self.audience.admit(viewer, place)
        known = self.by_user.get(viewer.user)
        if known is None:
            self.by_user[viewer.user] = viewer
        elif isinstance(known, set):
            known.add(viewer)
        else:
            self.by_user[viewer.user] = {known, viewer}
        self.idle_since = None
        return welcome

    def _resume_cursor(self, resume: tuple[str, int] | None) -> int | None:
        if resume is None or resume[0] != self.log.epoch or not self.log.holds(resume[1]):
            return None
        return resume[1]

    def _welcome(self, viewer: Viewer, offset: int, resumed: bool, orders: bytes) -> bytes:
        if encoding_of(viewer.group) is codec.Encoding.MSGPACK:
            orders = codec.transcode(orders)
        return self.present.welcome(viewer.group, viewer.user, offset, self._now_ms(), resumed, orders)

    def restart(self, viewer: Viewer, orders: bytes, told: Iterable[bytes] = ()) -> None:
        """Give a connected viewer the room afresh: a welcome that replaces what it held.

        :param told: orders told while ``orders`` was read; it may have them, but not behind this welcome.
        """
        if not self.audience.remove(viewer):
            return
        offset = self.audience.flushed
        welcome = self._welcome(viewer, offset, False, orders)
        self.audience.admit(viewer, offset)
        try:
            viewer.write(welcome)
        except Exception:
            viewer.drop()
        else:
            for order in told:
                self.send_order(viewer, order)
            self.catch_up(viewer)

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer whose connection has ended."""
        if not self.audience.remove(viewer):
            return
        known = self.by_user.get(viewer.user)
        if isinstance(known, set):
            known.discard(viewer)
            if not known:
                del self.by_user[viewer.user]
        elif known is viewer:
            del self.by_user[viewer.user]
        if not self.audience:
            self.idle_since = self._loop.time()

    def viewers_of(self, user: str) -> tuple[Viewer, ...]:
        """Return a user's connections in this room."""
        known = self.by_user.get(user)
        if known is None:
            return ()
        return tuple(known) if isinstance(known, set) else (known,)

    def catch_up(self, viewer: Viewer) -> None:
        """Give a viewer what it missed; called when its socket has drained, and after a join."""
        if viewer in self.audience.lagging:
            self.audience.catch_up(viewer, self.log, self._now_ms(), self.present.sent, self._restart)
        if self.present.closed and viewer not in self.audience.lagging:
            viewer.bye("room_closed", "the room is closed", None)

    def _restart(self, viewer: Viewer) -> None:
        self._on_restart(self, viewer)

    # --- the pass -----------------------------------------------------------------------------------

    def _schedule(self, now: float, due: float) -> None:
        """See that a pass starts at ``due`` (loop time) at the latest."""
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._start_pass) if due > now else self._soon()

    def _soon(self) -> asyncio.TimerHandle:
        # Not at once: the deliveries of one read from the store go into one pass.
        return self._loop.call_later(0, self._start_pass)

    def _start_pass(self) -> None:
        """Begin a pass over everything pending; if one is running, it starts the next when it ends."""
        self._timer = None
        if self.audience.passing:
            return
        now = self._now_ms()
        flushed = self.audience.flushed
        entries = self.log.between(flushed, self.log.head)
        sales_version = self.present.sales_version
        self.present.apply(entries)
        if sales_version != self.present.sales_version:
            self.on_sales_changed()
        changes = self.present.take_changes()
        self.log.trim(now)
        if not entries and not changes:
            return
        self._last_pass = self._loop.time()
        self.passes += 1
        self.audience.begin(Flush(now, self.log.head, entries, changes))
        self._continue_pass()

    def _continue_pass(self) -> None:
        if self.audience.advance():
            self._next_slice = self._loop.call_soon(self._continue_pass)
            return
        self._next_slice = None
        for viewer in self.audience.waiting():
            self.catch_up(viewer)
        if self.present.closed:
            for viewer in self.audience.everyone():
                self.catch_up(viewer)
        if self._timer is None and (self.log.head > self.audience.flushed or self.present.changed):
            self._schedule(self._loop.time(), self._last_pass + self.settings.fact_window_ms / 1000)

    def stop(self) -> None:
        """Cancel what is scheduled; the room is not used again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next_slice is not None:
            self._next_slice.cancel()
