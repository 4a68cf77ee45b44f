"""A client of protocol v1, on the websockets library: the one part of ``protocol`` that has a socket.

Knows what PROTOCOL.md tells every client, and nothing of ``server``. It is an example to read as much as a
client to use: each rule of the protocol is kept in one place. Rules:

- What the room holds (state, sales, orders, cursor) changes in one task, the reader's, without an await.
- A claim is sent again with its id until it is answered; a comment never is.
- A batch that does not fit the cursor is not applied: the connection is given up and the cursor resumed.

    async with connect("ws://localhost:8080", "spring-sale", user="alice") as room:
        print(await room.comment("hello"))
        async for event in room.events():
            print(event)

RoomError
├── Refused       the join was refused over HTTP
├── CommandError  a command was answered with ``error``
├── Lost          the connection broke before the answer: the outcome is unknown
└── Over          the room, or this client's part in it, has ended for good
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from liveroom.protocol import codec
from liveroom.protocol.codec import SUBPROTOCOLS, Encoding
from liveroom.protocol.commands import Cancel, Claim, CommandId, Comment, Like, Ping
from liveroom.protocol.errors import CLOSE_CODES
from liveroom.protocol.messages import Ack
from liveroom.protocol.names import MAX_LIKES_PER_MESSAGE, is_id

try:  # a decoder that shares no code with the server's encoder, where it is installed
    from msgpack import unpackb as _unpack  # type: ignore[import-untyped]
except ImportError:
    _unpack = msgspec.msgpack.decode

_log = logging.getLogger("liveroom.client")

Map = dict[str, Any]

MAX_UNREAD_EVENTS = 10_000  # held for ``events()``; beyond it the oldest are dropped and counted
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # of the server's messages, after inflating
MAX_DELAY_S = 30.0
FIRST_DELAY_S = 0.5
ANSWER_DEADLINE_S = 10.0  # for what is not sent again
LIKES_EVERY_S = 0.25
CLOSE_DEADLINE_S = 2.0
PINGS_AT_START = 5
PING_EVERY_S = 30.0
CLOCK_SAMPLES = 16
_ACK_FIELDS = frozenset(Ack.__struct_fields__)


class RoomError(Exception):
    """What can go wrong; see the module."""


class Refused(RoomError):
    """The join was refused with an HTTP answer. ``retry`` tells whether coming back can help."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry = status in (408, 429) or status >= 500
        self.retry_after_s = retry_after_s  # None: the server did not say


class CommandError(RoomError):
    """The server answered ``error``; ``code`` stands in ``errors.ERRORS``. Nothing was done."""

    def __init__(self, code: str, message: str, retry_after_ms: int | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


class Lost(RoomError):
    """There is no connection, or it broke before the answer came: whether it was done is unknown."""


class Over(RoomError):
    """The connection has ended and does not come back; ``code`` is of a ``bye`` or a close."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class _Gap(Exception):
    """A batch did not fit the cursor."""


class _Waiting(NamedTuple):
    """A command that waits for its answer; ``again``: it may be sent more than once."""

    answer: asyncio.Future[Ack]
    command: msgspec.Struct
    again: bool


class _ClockSample(NamedTuple):
    """One ping, all in ms: the smaller its round trip, the better its offset."""

    round_trip: float
    offset: float


def full_jitter(attempt: int) -> float:
    """Return the delay in seconds before an attempt, by how many failed before it in a row."""
    return random.uniform(0, min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, 16)))  # noqa: S311  no secret


def comes_back(close_code: int) -> bool:
    """Tell whether a client comes back by itself after this close code."""
    known = CLOSE_CODES.get(close_code)
    return known.reconnect if known is not None else not 4100 <= close_code < 4200


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _clock_ms() -> float:
    return time.monotonic() * 1000  # a clock that is set while a countdown runs would make it jump


@asynccontextmanager
async def connect(
    url_base: str,
    room: str,
    *,
    user: str | None = None,
    token: str | None = None,
    name: str | None = None,
    encoding: Literal["json", "msgpack"] = "json",
    compression: bool = True,
    backoff: Callable[[int], float] = full_jitter,
) -> AsyncIterator[Room]:
    """Join a room, and stay in it until the block ends.

    :param url_base: ``ws://host:port`` or ``wss://``; the path is added.
    :param user: who to be on a server started with ``--dev``; elsewhere give a ``token``.
    :param backoff: seconds to wait before attempt n in a row.
    :raises Refused: the first join was refused.
    :raises OSError: the server cannot be reached. Once joined, it is tried again until the block ends.
    :raises websockets.InvalidHandshake: what answers is no websocket server.
    """
    if not is_id(room):
        raise ValueError(f"not a room id: {room!r}")
    query = {key: value for key, value in (("user", user), ("name", name)) if value is not None}
    joined = Room(
        f"{url_base.rstrip('/')}/v1/rooms/{room}/ws",
        query=query,
        token=token,
        encoding=encoding,
        compression=compression,
        backoff=backoff,
    )
    task = asyncio.create_task(joined._live())
    try:
        await joined._joined
        yield joined
    finally:
        joined._stop(Over("left", "this client has left the room"))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Room:
    """A room one is in. Made by ``connect``."""

    def __init__(
        self,
        url: str,
        *,
        query: dict[str, str],
        token: str | None,
        encoding: str,
        compression: bool,
        backoff: Callable[[int], float],
    ) -> None:
        self._url = url
        self._query = query
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._subprotocol = Subprotocol(f"liveroom.v1.{encoding}")
        self._encoding = SUBPROTOCOLS[self._subprotocol]
        self._compression = "deflate" if compression else None
        self._backoff = backoff
        # What the room holds, as far as it was told. Read them freely.
        self.welcome: Map = {}
        self.state: Map = {}
        self.sales: dict[str, Map] = {}
        self.orders: dict[str, Map] = {}
        self.pinned: Map | None = None
        self.epoch = ""
        self.offset = 0
        # What happened on the way.
        self.connected = False
        self.joins = 0
        self.gaps = 0  # batches that did not fit the cursor
        self.skipped = 0  # comments the server left out for this viewer
        self.dropped = 0  # events that ``events()`` did not take in time
        # One life.
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over: RoomError | None = None
        self._unread: deque[Map] = deque()
        self._news = asyncio.Event()
        self._waiting: dict[CommandId, _Waiting] = {}
        self._ids = 0
        self._likes = 0
        self._clock: deque[_ClockSample] = deque(maxlen=CLOCK_SAMPLES)
        # One connection.
        self._bye: Map | None = None
        self._attempt = 0
        self._batches = 0
        self._pongs = 0
        self._outbox: deque[msgspec.Struct] = deque()
        self._to_send = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- what a user does ---------------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Map, None]:
        """Yield every event of the log in order, across reconnects; for one consumer.

        Types you do not know come too: pass over them. When the room must be taken afresh (the place in
        the log was lost), the new ``welcome`` message is yielded in their stead. Ends with the room.

        :raises Refused: coming back was refused.
        """
        while True:
            while self._unread:
                yield self._unread.popleft()
            if self._over is not None:
                if isinstance(self._over, Refused):
                    raise self._over
                return
            self._news.clear()
            await self._news.wait()

    async def comment(self, text: str) -> Ack:
        """Say something. ``shown`` false: there were more comments than a room can read.

        :raises CommandError: refused, with the code that says why.
        :raises Lost: unknown whether it was said; it is not said again.
        """
        id = self._next_id()
        return await self._ask_once(Comment(id, text), id)

    async def claim(self, sale: str, quantity: int = 1, id: CommandId | None = None) -> Ack:
        """Claim units of a sale; waits as long as it takes, through reconnects, and never takes twice.

        :param id: the idempotency key of this wish to buy; a fresh one when not given.
        :raises CommandError: refused; after ``unavailable`` ask again with the same ``id``.
        :raises Over: the room ended before an answer came.
        """
        if id is None:
            id = uuid.uuid4().hex
        return await self._ask(_Waiting(self._future(), Claim(id, sale, quantity), again=True), id)

    async def cancel(self, order: str) -> Ack:
        """Give back an order that is not yet final.

        :raises CommandError: refused, with the code that says why.
        :raises Lost: unknown whether it was given back.
        """
        id = self._next_id()
        return await self._ask_once(Cancel(id, order), id)

    def like(self, n: int = 1) -> None:
        """Add likes. They are summed up and sent a few times a second, while there is a connection."""
        if n < 1:
            raise ValueError(f"n is at least 1, not {n}")
        self._likes += n
        if self.connected and "likes" not in self._timers:
            self._send_likes()

    def now(self) -> int:
        """Return the server's time, ms since the Unix epoch, by the ping with the smallest round trip."""
        return int(_clock_ms() + min(self._clock).offset)

    # --- commands -----------------------------------------------------------------------------------

    def _next_id(self) -> str:
        self._ids += 1
        return f"c{self._ids}"

    def _future(self) -> asyncio.Future[Ack]:
        return asyncio.get_running_loop().create_future()

    async def _ask_once(self, command: msgspec.Struct, id: CommandId) -> Ack:
        if not self.connected:
            raise self._over or Lost("there is no connection at the moment")
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                return await self._ask(_Waiting(self._future(), command, again=False), id)
        except TimeoutError:
            raise Lost(f"no answer within {ANSWER_DEADLINE_S:.0f} s") from None

    async def _ask(self, waiting: _Waiting, id: CommandId) -> Ack:
        if self._over is not None:
            raise self._over
        if id in self._waiting:
            raise ValueError(f"a command with the id {id!r} waits for its answer")
        self._waiting[id] = waiting
        if self.connected:
            self._put(waiting.command)
        try:
            return await waiting.answer
        finally:
            self._waiting.pop(id, None)

    def _put(self, command: msgspec.Struct) -> None:
        self._outbox.append(command)
        self._to_send.set()

    def _put_claims(self) -> None:
        for waiting in self._waiting.values():
            if waiting.again:
                self._put(waiting.command)

    def _send_likes(self) -> None:
        self._timers.pop("likes", None)
        if self._likes:
            n = min(self._likes, MAX_LIKES_PER_MESSAGE)
            self._likes -= n
            self._put(Like(n))
            self._later("likes", LIKES_EVERY_S, self._send_likes)

    def _send_ping(self) -> None:
        self._put(Ping(_clock_ms()))

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call later, unless the connection ends before; one timer a name."""
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    # --- one life: connections, and the time between them -------------------------------------------

    async def _live(self) -> None:
        try:
            while True:
                named_s = await self._visit()
                if named_s is None:
                    delay, self._attempt = self._backoff(self._attempt), self._attempt + 1
                else:
                    delay = named_s + self._backoff(0)
                await _pause(delay)
        except RoomError as over:
            self._stop(over)
        except Exception as fault:
            if self._joined.done():
                _log.exception("a fault of the client")
            self._stop(fault)

    def _stop(self, fault: Exception) -> None:
        """End for good: nothing waits any longer."""
        over = fault if isinstance(fault, RoomError) else Over("internal", repr(fault))
        self._over = self._over or over
        if not self._joined.done():
            self._joined.set_exception(fault)
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(self._over)
        self._news.set()

    async def _visit(self) -> float | None:
        """Live through one connection. Returns the seconds the server said to wait, None when it said none.

        :raises Refused: do not come back.
        :raises Over: do not come back.
        """
        self._bye = None
        try:
            async with self._open() as socket:
                try:
                    await self._follow(socket)
                finally:
                    await socket.close()  # with 1000 in every case; leaving the block by a fault says 1011
        except ConnectionClosed as closed:
            return self._after_close(closed.rcvd.code if closed.rcvd is not None else 1006)
        except InvalidStatus as answer:
            refused = _refused(answer)
            if not self.joins or not refused.retry:
                raise refused from None
            return refused.retry_after_s
        except (OSError, TimeoutError, InvalidHandshake) as fault:
            if not self.joins:
                raise
            _log.info("no connection: %r", fault)
        except _Gap as gap:
            _log.warning("%s", gap)
        return None

    def _open(self) -> open_socket:
        query = dict(self._query)
        if self.epoch:
            query["resume"] = f"{self.epoch}:{self.offset}"
        return open_socket(
            f"{self._url}?{urlencode(query)}" if query else self._url,
            subprotocols=[self._subprotocol],
            compression=self._compression,
            additional_headers=self._headers,
            close_timeout=CLOSE_DEADLINE_S,
            max_size=MAX_MESSAGE_BYTES,
        )

    async def _follow(self, socket: ClientConnection) -> None:
        writer = asyncio.create_task(self._write(socket))
        try:
            while True:
                self._take(self._decode(await socket.recv()))
        finally:
            self._disconnected()
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer

    async def _write(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # the reader learns of it too, and knows the code
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while self._outbox:
                    data = codec.encode(self._outbox.popleft(), self._encoding)
                    await socket.send(data.decode() if self._encoding is Encoding.JSON else data)

    def _disconnected(self) -> None:
        self.connected = False
        self._outbox.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for waiting in self._waiting.values():
            if not waiting.again and not waiting.answer.done():
                waiting.answer.set_exception(Lost("the connection broke before the answer came"))

    def _after_close(self, code: int) -> float | None:
        """Decide what follows a close: ``bye`` goes before the code."""
        if self._bye is not None:
            after_ms = self._bye["reconnect_after_ms"]
            if after_ms is None:
                raise Over(self._bye["code"], self._bye["message"])
            return float(after_ms) / 1000
        if not comes_back(code):
            known = CLOSE_CODES.get(code)
            raise Over(str(code), known.meaning if known is not None else "closed by the server")
        return None

    # --- messages -----------------------------------------------------------------------------------

    def _decode(self, data: str | bytes) -> Map:
        message: Map = json.loads(data) if isinstance(data, str) else _unpack(data)
        return message

    def _take(self, message: Map) -> None:
        """Take one message; a type that is not known is passed over."""
        match message["type"]:
            case "batch":
                self._take_batch(message)
            case "welcome":
                self._take_welcome(message)
            case "ack" | "error":
                self._take_answer(message)
            case "order":
                self.orders[message["order"]] = message
            case "pong":
                self._take_pong(message)
            case "bye":
                self._bye = message

    def _take_welcome(self, welcome: Map) -> None:
        afresh = not welcome["resumed"]
        if afresh:
            self.sales, self.orders = {}, {}
        self.welcome, self.state, self.pinned = welcome, dict(welcome["state"]), welcome["pinned"]
        for sale in welcome["sales"]:
            self._take_sale(sale)
        self.orders |= {order["order"]: order for order in welcome["orders"]}
        self.epoch, self.offset = welcome["epoch"], welcome["offset"]
        if not self._clock:
            self._clock.append(_ClockSample(float("inf"), welcome["now"] - _clock_ms()))
        self._batches = self._attempt = 0
        if afresh and self.joins:
            self._tell(welcome)
        if not self.connected:
            self.connected = True
            self.joins += 1
            self._pongs = 0
            self._put_claims()
            self._send_ping()
            self._send_likes()
        if not self._joined.done():
            self._joined.set_result(None)

    def _take_batch(self, batch: Map) -> None:
        events, skipped = batch["events"], batch.get("skipped", {}).get("comments", 0)
        fits = self.offset + len(events) + skipped
        if batch["offset"] != fits:
            self.gaps += 1
            if not self._batches:
                self.epoch = ""  # the first after a join: resuming does not help, so start afresh
            raise _Gap(f"a batch ends at offset {batch['offset']}, not at {fits}")
        self._batches += 1
        self.offset = fits
        self.skipped += skipped
        for event in events:
            if event["type"] == "sale":
                self._take_sale(event)
            elif event["type"] == "pinned":
                self.pinned = event["pinned"]
            self._tell(event)
        self._take_state(batch.get("state", {}))

    def _take_state(self, told: Map) -> None:
        """Take in the numbers that changed; within ``stock`` and ``orders``, of the sales that changed."""
        for key, value in told.items():
            self.state[key] = self.state.get(key, {}) | value if isinstance(value, dict) else value
        for key, field in (("stock", "left"), ("orders", "orders")):
            for sale, number in told.get(key, {}).items():
                if sale in self.sales:
                    self.sales[sale] = self.sales[sale] | {field: number}

    def _tell(self, event: Map) -> None:
        if len(self._unread) == MAX_UNREAD_EVENTS:
            self._unread.popleft()
            self.dropped += 1
        self._unread.append(event)
        self._news.set()

    def _take_sale(self, sale: Map) -> None:
        known = self.sales.get(sale["sale"])
        if known is None or sale["version"] >= known["version"]:
            self.sales[sale["sale"]] = sale

    def _take_answer(self, message: Map) -> None:
        if "id" not in message:
            _log.warning("the server says: %s: %s", message["code"], message["message"])
            if "retry_after_ms" in message:  # a message was not read; if it was a claim, it goes again
                self._later("claims", message["retry_after_ms"] / 1000, self._put_claims)
            return
        waiting = self._waiting.get(message["id"])
        if waiting is None or waiting.answer.done():
            return
        if message["type"] == "error":
            fault = CommandError(message["code"], message["message"], message.get("retry_after_ms"))
            waiting.answer.set_exception(fault)
        else:  # not validated: a newer server may know a status that this client does not
            waiting.answer.set_result(Ack(**{key: message[key] for key in message.keys() & _ACK_FIELDS}))

    def _take_pong(self, pong: Map) -> None:
        back = _clock_ms()
        self._clock.append(_ClockSample(back - pong["t"], pong["now"] - (pong["t"] + back) / 2))
        self._pongs += 1
        self._later("ping", 0 if self._pongs < PINGS_AT_START else PING_EVERY_S, self._send_ping)


def _refused(answer: InvalidStatus) -> Refused:
    """Read a refusal. The body is a problem (RFC 9457), unless a proxy made it."""
    response = answer.response
    status = response.status_code
    try:
        problem = json.loads(response.body or b"")
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    named = response.headers.get("Retry-After", "")  # its other form, a date, is not worth reading
    code, detail = problem.get("code", str(status)), problem.get("detail", response.reason_phrase)
    return Refused(status, code, detail, float(named) if named.isdecimal() else None)
