"""The edge without sockets: transports, a store and a clock that are the test's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from liveroom.protocol.commands import Cancel, Claim
from liveroom.protocol.messages import Ack, Limits
from liveroom.server.edge.auth import Authenticator
from liveroom.server.edge.connection import Connection
from liveroom.server.edge.edge import Edge, EdgeSettings
from liveroom.server.edge.front_door import FrontDoor
from liveroom.server.room.desk import Ids
from liveroom.server.room.dispatch import Dispatch
from liveroom.server.room.hub import Hub
from liveroom.server.room.log import Entry, Lane
from liveroom.server.room.ports import Append, Beat, Delivery, LoadedRoom, Refused, RoomRecord, Viewer
from liveroom.server.room.room import RoomSettings
from tests.edge.wire import server_frames, upgrade
from tests.virtual_time import VirtualLoop

LIMITS = Limits(4096, 10.0, 20, 500, 1.0, 5, 50, 10.0)
ROOM = RoomSettings(50, 50, 250, 1000, 250, 10_000, 600_000, 25_000, LIMITS)
EDGE = EdgeSettings(
    heartbeat_ms=25_000, stall_ms=60_000, max_message_bytes=4096, messages_per_s=10.0, messages_burst=20
)
NOW_MS = 1_790_000_000_000
Status = tuple[int, str]


class FakeTransport(asyncio.Transport):
    """A socket whose peer the test is.

    ``full``: the peer does not read, so what is written stays in the buffer. ``broken``: writing raises, as
    uvloop does when the transport is closing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.written = b""
        self.high: int | None = None
        self.buffered = 0
        self.full = False
        self.broken = False
        self.closing = False
        self.lost = False  # closed, and its protocol was told
        self.ended = False  # written to its end: half a close
        self._paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to another."""
        self.protocol = protocol

    def get_protocol(self) -> Any:
        """Return who is given what comes."""
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Note what was asked for; this transport behaves as with 0."""
        self.high = high

    def get_write_buffer_size(self) -> int:
        """Return how much waits for a peer that does not read."""
        return self.buffered

    def write(self, data: Any) -> None:
        """Take bytes; a full one calls ``pause_writing`` at once, as uvloop does."""
        if self.broken:
            raise RuntimeError(
                "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
            )
        assert not self.closing and not self.ended, "written to after its end"
        self.written += data
        if self.full:
            self.buffered += len(data)
            if not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def drain(self) -> None:
        """Let the peer read everything."""
        self.full = False
        self.buffered = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self.closing:
            asyncio.get_running_loop().call_soon(self._lose)

    def pause_reading(self) -> None:
        """Nothing comes but what the test lets come."""

    def resume_reading(self) -> None:
        """Nothing comes but what the test lets come."""

    def can_write_eof(self) -> bool:
        """Say that half a close is possible."""
        return True

    def write_eof(self) -> None:
        """Close the writing half."""
        self.ended = True

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return self.closing

    def close(self) -> None:
        """Close as soon as what waits has been read."""
        if not self.closing:
            self.closing = True
            if not self.buffered:
                asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        """Close at once."""
        self.closing = True
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            protocol, self.protocol = self.protocol, None
            protocol.connection_lost(None)

    # --- the peer's side ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Have bytes come in from the peer, in pieces as large as they are asked for."""
        while data and not self.closing:
            if isinstance(self.protocol, asyncio.Protocol):
                self.protocol.data_received(data)
                return
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def vanish(self) -> None:
        """Have the peer go without a word."""
        self._lose()

    def take(self) -> list[tuple[int, bytes]]:
        """Return the frames written since the last time."""
        written, self.written = self.written, b""
        return server_frames(written)

    def messages(self) -> list[dict[str, Any]]:
        """Return the JSON messages written since the last time; other frames are passed over."""
        return [json.loads(payload) for opcode, payload in self.take() if opcode == 1]

    def status(self) -> Status:
        """Return the status and the problem's code of the answer that was written."""
        head, _, body = self.written.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(body)["code"]


class FakeStore:
    """A store that holds one log a room, in memory, and delivers what is appended at once."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Entry]] = {}
        self.receivers: dict[str, Callable[[Delivery], None]] = {}
        self.viewers: dict[str, int] = {}  # as the last beat told
        self.away = False

    def now_ms(self) -> int:
        """Return the loop's time as ms since the Unix epoch."""
        return NOW_MS + int(asyncio.get_running_loop().time() * 1000)

    async def create(self, room: str, title: str | None) -> tuple[RoomRecord, bool]:
        """Not asked for by the edge."""
        raise NotImplementedError

    async def record(self, room: str) -> RoomRecord | None:
        """Not asked for by the edge."""
        raise NotImplementedError

    async def close(self, room: str, idempotency_key: str = "", fingerprint: str = "") -> int:
        """Not asked for by the edge."""
        raise NotImplementedError

    async def load(self, room: str, *, after: tuple[str, int] | None, create: bool) -> LoadedRoom | None:
        """Read a room; one that is called ``nowhere`` does not exist."""
        if room == "nowhere":
            return None
        log = self.logs.setdefault(room, [])
        deliveries = [Delivery("e1", 1, self.now_ms(), list(log), [], None)] if log else []
        record = RoomRecord(
            room=room, title="", epoch="e1", offset=len(log), created_at=NOW_MS, closed_at=None
        )
        return LoadedRoom(record, b"", [], b"{}", deliveries, self.now_ms())

    async def append(self, room: str, appends: list[Append]) -> list[int | Refused]:
        """Append, and deliver."""
        for append in appends:
            for line in append.lines:
                self.publish(room, line[1:], Lane.CHATTER if line[:1] == b"c" else Lane.FACT)
        return [len(self.logs[room])] * len(appends)

    def publish(self, room: str, event: bytes, lane: Lane = Lane.FACT) -> None:
        """Deliver one event."""
        log = self.logs.setdefault(room, [])
        entry = Entry(lane, event, self.now_ms())
        log.append(entry)
        self.receivers[room](Delivery("e1", len(log), entry.at, [entry], [], None))

    async def beat(self, room: str, *, number: int, likes: int, viewers: int, sales: list[str]) -> Beat:
        """Note the viewers."""
        self.viewers[room] = viewers
        return Beat(self.now_ms(), told=True, pending=False)

    async def open_orders(self, room: str, users: list[str]) -> list[bytes]:
        """Nobody has orders."""
        if self.away:
            raise Refused("unavailable", "away", 1000)
        return [b"[]"] * len(users)

    async def follow(self, room: str, receive: Callable[[Delivery], None]) -> None:
        """Deliver to ``receive`` from now on."""
        self.receivers[room] = receive

    async def unfollow(self, room: str) -> None:
        """Deliver no more."""
        del self.receivers[room]


class NoClaims:
    """A claim desk at which everything is sold out."""

    def claim(self, room: str, viewer: Viewer, command: Claim, done: Callable[[Ack | Refused], None]) -> None:
        """Answer at once."""
        done(Ack(id=command.id, status="sold_out", left=0))

    def cancel(
        self, room: str, viewer: Viewer, command: Cancel, done: Callable[[Ack | Refused], None]
    ) -> None:
        """Answer at once."""
        done(Refused("unknown_order", "no such order"))


class FakeHttp(asyncio.Protocol):
    """Stands where the HTTP server does, and keeps what it is handed."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data


class Place:
    """A process's edge with a store of the test's, and its sweep."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.store = FakeStore()
        self.hub = Hub(self.store, ROOM, comments_per_s=40.0, create_rooms=True, ids=Ids("t"))
        self.dispatch = Dispatch(self.hub, NoClaims())
        self.edge = Edge(settings, self.hub, self.dispatch, Authenticator(None, dev=True), FakeHttp)
        self._sweep = asyncio.create_task(self.edge.sweep())

    async def knock(self) -> FakeTransport:
        """Open a connection that has said nothing yet."""
        transport = FakeTransport()
        transport.protocol = FrontDoor(self.edge)
        transport.protocol.connection_made(transport)
        return transport

    async def join(
        self, user: str = "ana", room: str = "shop", *, full: bool = False, **changed: str
    ) -> FakeTransport:
        """Join a room; the handshake's answer has been taken off."""
        transport = await self.knock()
        transport.full = full
        query = changed.pop("query", f"user={user}")
        transport.receive(upgrade(room, query=query, **changed))
        await settled()
        assert isinstance(transport.protocol, Connection), transport.written
        assert transport.high == 0
        answer, _, transport.written = transport.written.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        return transport

    async def publish(self, *numbers: int, room: str = "shop", lane: Lane = Lane.FACT) -> None:
        """Deliver an event a number, and let the pass go by."""
        for n in numbers:
            self.store.publish(room, json.dumps({"type": "custom", "name": "n", "data": n}).encode(), lane)
        await pass_time(0.5)

    async def close(self) -> None:
        """End what belongs to it."""
        self._sweep.cancel()
        await asyncio.wait((self._sweep,))
        await self.hub.close()


@contextlib.asynccontextmanager
async def a_place(**changed: Any) -> AsyncIterator[Place]:
    """A place for the length of an ``async with``; ``changed`` settings of the edge."""
    place = Place(EDGE._replace(**changed))
    try:
        yield place
    finally:
        await place.close()


async def settled() -> None:
    """Let everything that can happen now happen."""
    await pass_time(0.001)


async def pass_time(seconds: float) -> None:
    """Let virtual time pass."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    await asyncio.sleep(seconds)


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of published events in these messages, in order."""
    batches = [message["events"] for message in messages if message["type"] == "batch"]
    return [event["data"] for events in batches for event in events]
