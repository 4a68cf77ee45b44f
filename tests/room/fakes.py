"""Rooms without sockets and without Redis: viewers, a store and a clock that are the test's."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from liveroom.protocol.events import CommentEvent, CommentRemoved, Notice, Pin, Pinned, RoomClosed, SaleEvent
from liveroom.protocol.messages import Limits
from liveroom.server.room.identity import Role
from liveroom.server.room.log import Entry, Lane
from liveroom.server.room.ports import (
    ALONE,
    Append,
    Beat,
    Delivery,
    LoadedRoom,
    Refused,
    RoomRecord,
    Unavailable,
)
from liveroom.server.room.room import Room, RoomSettings
from tests.virtual_time import START_S, VirtualLoop

LIMITS = Limits(4096, 100.0, 200, 500, 1.0, 5, 50, 10.0)
SETTINGS = RoomSettings(
    fact_window_ms=50,
    chatter_window_ms=50,
    chatter_window_hot_ms=250,
    hot_viewers=1000,
    state_window_ms=250,
    history_events=10_000,
    history_ms=600_000,
    heartbeat_ms=25_000,
    limits=LIMITS,
)
NOW_MS = 1_790_000_000_000

# --- time -------------------------------------------------------------------------------------------------


async def turns(count: int = 20) -> None:
    """Let everything run that needs no time to pass."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- events -----------------------------------------------------------------------------------------------

_encode = msgspec.json.encode


def notice(text: str, at: int = NOW_MS) -> Entry:
    """Make a fact that changes nothing a welcome shows."""
    return Entry(Lane.FACT, _encode(Notice(text, "info", at)), at)


def comment(id: str, at: int = NOW_MS, user: str = "bob") -> Entry:
    """Make a comment."""
    return Entry(Lane.CHATTER, _encode(CommentEvent(id, user, user.title(), f"text of {id}", at)), at)


def comment_removed(id: str, at: int = NOW_MS) -> Entry:
    """Make the fact that a comment was taken back."""
    return Entry(Lane.FACT, _encode(CommentRemoved(id, at)), at)


def pinned(title: str | None, at: int = NOW_MS) -> Entry:
    """Make the fact that a card was pinned, or taken away."""
    return Entry(Lane.FACT, _encode(Pinned(None if title is None else Pin(title), at)), at)


def room_closed(at: int = NOW_MS) -> Entry:
    """Make the fact that the room is over."""
    return Entry(Lane.FACT, _encode(RoomClosed(at)), at)


def sale(id: str, *, at: int = NOW_MS, **changes: Any) -> Entry:
    """Make the fact of a sale as it stands."""
    fields: dict[str, Any] = {
        "sku": "mug",
        "state": "open",
        "title": "A mug",
        "gift": "",
        "price": 500,
        "currency": "EUR",
        "stock": 10,
        "left": 10,
        "reserved": 0,
        "sold": 0,
        "per_user_limit": None,
        "starts_at": None,
        "ends_at": None,
        "hold_seconds": 0,
        "orders": 0,
        "waiting": 0,
        "version": 1,
    }
    return Entry(Lane.FACT, _encode(SaleEvent(sale=id, at=at, **(fields | changes))), at)


def order(id: str, version: int = 1) -> bytes:
    """Make an order as the store tells it; what a room does with it depends on no field."""
    return b'{"order":"%b","version":%d}' % (id.encode(), version)


# --- reading what a viewer was written ----------------------------------------------------------------------


def read_frame(data: bytes) -> tuple[int, bool, bytes]:
    """Take one whole unmasked server frame apart: (opcode, compressed, payload)."""
    first, size = data[0], data[1]
    assert first & 0x80, "not final"
    assert not size & 0x80, "masked"
    start = 2
    if size == 126:
        size, start = int.from_bytes(data[2:4]), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10]), 10
    assert len(data) == start + size
    return first & 0x0F, bool(first & 0x40), data[start:]


def decode(frame: bytes, group: int) -> dict[str, Any]:
    """Decode a frame as a client of ``group`` would, with none of the server's own code."""
    opcode, compressed, payload = read_frame(frame)
    assert opcode == (2 if group >> 1 else 1)
    if compressed:
        assert group & 1, "compressed for one who did not ask for it"
        payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
    message = msgpack.unpackb(payload) if group >> 1 else json.loads(payload)
    assert isinstance(message, dict)
    return message


def merge(state: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Apply told changes to numbers, as a client does."""
    merged = dict(state)
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


class Client:
    """What a client holds after the messages it was given. Checks the arithmetic of each."""

    def __init__(self) -> None:
        self.welcomes: list[dict[str, Any]] = []
        self.batches: list[dict[str, Any]] = []
        self.epoch = ""
        self.offset = 0
        self.state: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []  # since the last welcome that was no resume
        self.orders: list[dict[str, Any]] = []

    def take(self, message: dict[str, Any]) -> None:
        """Take one message in."""
        match message["type"]:
            case "welcome":
                self.welcomes.append(message)
                if message["resumed"]:
                    assert (message["epoch"], message["offset"]) == (self.epoch, self.offset)
                    assert message["recent"] == []
                else:
                    self.events = []
                self.epoch, self.offset = message["epoch"], message["offset"]
                self.state = message["state"]
            case "batch":
                self.batches.append(message)
                skipped = message.get("skipped", {"comments": 0})["comments"]
                assert message["offset"] == self.offset + len(message["events"]) + skipped
                self.offset = message["offset"]
                self.events += message["events"]
                self.state = merge(self.state, message.get("state", {}))
            case "order":
                self.orders.append(message)
            case kind:
                raise AssertionError(f"not a message of the room: {kind}")

    def texts(self) -> list[str]:
        """Return what identifies each event: the text of a notice, the id of a comment, else the type."""
        return [
            event.get("text" if event["type"] == "notice" else "comment", event["type"])
            for event in self.events
        ]


class FakeViewer:
    """A connection whose socket takes ``capacity`` more frames (None: any number) before it is full.

    As uvloop does with a write buffer limit of zero, the write that does not fit is kept, and the viewer is
    told at once, within ``write``, that its socket is full.
    """

    def __init__(self, room: Room, user: str = "ann", group: int = 0, client: Client | None = None) -> None:
        self.room = room
        self.user = user
        self.name = user.title()
        self.role = Role.VIEWER
        self.group = group
        self.cursor = ALONE
        self.paused = False
        self.write: Callable[[bytes], None] = self._write
        self.send: Callable[[bytes], int] = self._send
        self.begun = b""  # of a frame that the full socket took in part
        self.capacity: int | None = None
        self.broken = False
        self.gone = False
        self.dropped = 0
        self.stalls = 0  # how often its socket was full
        self.client = Client() if client is None else client
        self.frames: list[bytes] = []
        self.times: list[float] = []  # loop time of each
        self.replies: list[msgspec.Struct] = []
        self.byes: list[tuple[str, int | None]] = []
        self.on_frame: Callable[[dict[str, Any]], None] = self.client.take

    def _send(self, frame: bytes) -> int:
        """Take what the socket takes: all of it, or of a full one by turns a part and nothing."""
        if self.broken:
            raise BrokenPipeError
        if self.capacity is None or self.capacity > 0:
            self.write(frame)
            return len(frame)
        if self.stalls % 2:
            raise BlockingIOError
        self.begun = frame[: len(frame) // 2]
        return len(self.begun)

    def _write(self, frame: bytes) -> None:
        frame, self.begun = self.begun + frame, b""
        if self.broken:
            raise RuntimeError("unable to perform operation on a closed transport; the handler is closed")
        self.frames.append(frame)
        self.times.append(self.room._loop.time())
        try:
            assert not self.gone, "written to after it left"
            assert not self.byes, "written to after bye"
            message = decode(frame, self.group)
            assert not (self.paused and message["type"] == "batch"), "something was queued for one who lags"
            self.on_frame(message)
        except Exception as wrong:
            # The room survives what ``write`` raises, so it would keep this from the test.
            assert isinstance(self.room._loop, VirtualLoop)
            self.room._loop.faults.append({"viewer": self.user, "exception": wrong})
            raise
        if self.capacity is not None:
            self.capacity -= 1
            if self.capacity < 0 and not self.paused:
                self.paused = True
                self.stalls += 1
                self.room.audience.part(self)

    def open(
        self, orders: bytes = b"[]", resume: tuple[str, int] | None = None, told: Iterable[bytes] = ()
    ) -> None:
        """Join, as a connection does."""
        welcome = self.room.join(self, orders, resume)
        self.write(welcome)
        for order in told:
            self.room.send_order(self, order)
        self.room.catch_up(self)

    def drain(self, capacity: int | None = None) -> None:
        """The peer has read everything; its socket takes ``capacity`` more."""
        self.capacity = capacity
        if self.paused:
            self.paused = False
            if not self.gone:
                self.room.catch_up(self)

    def leave(self) -> None:
        """The connection has ended."""
        self.gone = True
        self.room.leave(self)

    def reply(self, message: msgspec.Struct) -> None:
        """See ``Viewer``."""
        self.replies.append(message)

    def drop(self) -> None:
        """See ``Viewer``; that the connection is lost is told in a later turn of the loop."""
        self.dropped += 1
        self.room._loop.call_soon(self.leave)

    def bye(self, code: str, message: str, reconnect_after_ms: int | None) -> None:
        """See ``Viewer``; who was said bye has left the room."""
        self.byes.append((code, reconnect_after_ms))
        self.room.leave(self)


# --- a room -----------------------------------------------------------------------------------------------


def loaded_room(
    deliveries: list[Delivery] | None = None,
    *,
    epoch: str = "e1",
    offset: int = 0,
    closed: bool = False,
    pinned: bytes = b"",
    sales: Iterable[bytes] = (),
    state: bytes = b"{}",
    at: int | None = None,
) -> LoadedRoom:
    """Make a room as read from a store."""
    record = RoomRecord(
        room="show",
        title="",
        epoch=epoch,
        offset=offset,
        created_at=NOW_MS,
        closed_at=NOW_MS if closed else None,
    )
    return LoadedRoom(record, pinned, list(sales), state, deliveries or [], NOW_MS if at is None else at)


class Stage:
    """One room on the running loop, with what it asks for written down."""

    def __init__(self, settings: RoomSettings = SETTINGS, loaded: LoadedRoom | None = None) -> None:
        self.gaps = 0
        self.restarts: list[FakeViewer] = []
        self.loop = asyncio.get_running_loop()
        self.room = Room("show", settings, self.now_ms, self._gap, self._restart)
        self.room.load(loaded_room() if loaded is None else loaded)

    def now_ms(self) -> int:
        """Return the store's clock: it goes with the loop's."""
        return NOW_MS + round((self.loop.time() - START_S) * 1000)

    def _gap(self, room: Room) -> None:
        assert room is self.room
        self.gaps += 1

    def _restart(self, room: Room, viewer: Any) -> None:
        assert room is self.room
        self.restarts.append(viewer)

    def join(
        self,
        user: str = "ann",
        group: int = 0,
        *,
        resume: tuple[str, int] | None = None,
        orders: bytes = b"[]",
    ) -> FakeViewer:
        """Let a viewer in."""
        viewer = FakeViewer(self.room, user, group)
        if resume is not None:
            viewer.client.epoch, viewer.client.offset = resume
        viewer.open(orders, resume)
        return viewer

    def delivery(
        self,
        *entries: Entry,
        first: int | None = None,
        epoch: str | None = None,
        orders: Iterable[tuple[str, bytes]] = (),
        state: bytes | None = None,
    ) -> Delivery:
        """Make the delivery that comes next."""
        return Delivery(
            self.room.log.epoch if epoch is None else epoch,
            self.room.log.head + 1 if first is None else first,
            self.now_ms(),
            list(entries),
            list(orders),
            state,
        )

    def deliver(self, *entries: Entry, **fields: Any) -> Delivery:
        """Tell the room what comes next."""
        delivery = self.delivery(*entries, **fields)
        self.room.receive(delivery)
        return delivery


# --- the store ----------------------------------------------------------------------------------------------


class FakeStore:
    """``RoomStore`` in memory. Every call is written down in ``calls``.

    ``away``: calls fail as a lost Redis makes them. ``hold(name)``: calls of that name are read, and their
    answers are on their way until ``release(name)``; with ``read_first`` false the call itself is on its way.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.away = False
        self.faults: dict[str, Exception] = {}  # by call: raised instead of an answer, until removed
        self.records: dict[str, RoomRecord] = {}
        self.log: dict[str, list[Delivery]] = defaultdict(list)
        self.kept = 10_000  # deliveries that can still be read
        self.sales: dict[str, list[bytes]] = defaultdict(list)
        self.following: dict[str, Callable[[Delivery], None]] = {}
        self.deaf = False  # the subscription is lost: nothing is delivered
        self.orders: dict[str, bytes] = {}
        self.tell = True
        self.pending = False
        self.likes = 0
        self.viewers: dict[str, int] = {}
        self._number = 0
        self._gates: dict[str, tuple[asyncio.Event, bool]] = {}
        self._loop = asyncio.get_running_loop()

    # --- the test's side ---

    def add(self, room: str) -> None:
        """Make a room."""
        self.records[room] = RoomRecord(
            room=room, title="", epoch="e1", offset=0, created_at=NOW_MS, closed_at=None
        )

    def hold(self, name: str, *, read_first: bool = True) -> None:
        """Hold calls back from now on."""
        self._gates[name] = (asyncio.Event(), read_first)

    def release(self, name: str) -> None:
        """Let held calls go on."""
        self._gates.pop(name)[0].set()

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of each call of one name."""
        return [call[1:] for call in self.calls if call[0] == name]

    def publish(
        self,
        room: str,
        *entries: Entry,
        orders: Iterable[tuple[str, bytes]] = (),
        state: bytes | None = None,
    ) -> Delivery:
        """Append to a room's log and tell who follows it."""
        record = self.records[room]
        delivery = Delivery(
            record.epoch, record.offset + 1, self.now_ms(), list(entries), list(orders), state
        )
        record.offset += len(entries)
        if entries:
            self.log[room].append(delivery)
            del self.log[room][: -self.kept]
        receive = self.following.get(room)
        if receive is not None and not self.deaf:
            receive(delivery)
        return delivery

    async def _call(self, name: str, *args: Any, read: Callable[[], Any] = lambda: None) -> Any:
        self.calls.append((name, *args))
        gate, read_first = self._gates.get(name, (None, False))
        answer = read() if gate is not None and read_first else None
        await (asyncio.sleep(0) if gate is None else gate.wait())
        if self.away:
            raise Unavailable()
        if name in self.faults:
            raise self.faults[name]
        return answer if gate is not None and read_first else read()

    # --- RoomStore ---

    def now_ms(self) -> int:
        """See ``RoomStore``."""
        return NOW_MS + round((self._loop.time() - START_S) * 1000)

    async def create(self, room: str, title: str | None) -> tuple[RoomRecord, bool]:
        """See ``RoomStore``."""
        await self._call("create", room)
        new = room not in self.records
        if new:
            self.add(room)
        return self.records[room], new

    async def record(self, room: str) -> RoomRecord | None:
        """See ``RoomStore``."""
        found: RoomRecord | None = await self._call("record", room, read=lambda: self.records.get(room))
        return found

    async def load(self, room: str, *, after: tuple[str, int] | None, create: bool) -> LoadedRoom | None:
        """See ``RoomStore``."""

        def read() -> LoadedRoom | None:
            if room not in self.records:
                if not create:
                    return None
                self.add(room)
            record = msgspec.structs.replace(self.records[room])
            known = after[1] if after is not None and after[0] == record.epoch else 0
            missed = [d for d in self.log[room] if d.first + len(d.entries) - 1 > known]
            return LoadedRoom(record, b"", list(self.sales[room]), b"{}", missed, self.now_ms())

        found: LoadedRoom | None = await self._call("load", room, after, read=read)
        return found

    async def append(self, room: str, appends: list[Append]) -> list[int | Refused]:
        """See ``RoomStore``."""
        await self._call("append", room, appends)
        if room not in self.records:
            return [Refused("unknown_room", "there is no such room")] * len(appends)
        answers: list[int | Refused] = []
        for append in appends:
            lanes = {b"c": Lane.CHATTER, b"f": Lane.FACT}
            entries = [Entry(lanes[line[:1]], line[1:], self.now_ms()) for line in append.lines]
            self.publish(room, *entries)
            answers.append(self.records[room].offset)
        return answers

    async def close(self, room: str, idempotency_key: str = "", fingerprint: str = "") -> int:
        """See ``RoomStore``."""
        await self._call("close", room)
        self.publish(room, room_closed(self.now_ms()))
        return self.records[room].offset

    async def beat(self, room: str, *, number: int, likes: int, viewers: int, sales: list[str]) -> Beat:
        """See ``RoomStore``; ``lose_answer`` in ``faults`` fails a beat after it took effect."""

        def read() -> Beat:
            if number > self._number:
                self.likes += likes
            self._number = number
            self.viewers[room] = viewers
            return Beat(self.now_ms(), self.tell, self.pending)

        beat: Beat = await self._call("beat", room, number, likes, viewers, tuple(sales), read=read)
        if "beat_answer" in self.faults:
            raise self.faults["beat_answer"]
        return beat

    async def open_orders(self, room: str, users: list[str]) -> list[bytes]:
        """See ``RoomStore``."""
        found: list[bytes] = await self._call(
            "open_orders", room, tuple(users), read=lambda: [self.orders.get(user, b"[]") for user in users]
        )
        return found

    async def follow(self, room: str, receive: Callable[[Delivery], None]) -> None:
        """See ``RoomStore``."""
        self.following[room] = receive
        try:
            await self._call("follow", room)
        except Exception:
            del self.following[room]
            raise

    async def unfollow(self, room: str) -> None:
        """See ``RoomStore``."""
        self.following.pop(room, None)
        await self._call("unfollow", room)
