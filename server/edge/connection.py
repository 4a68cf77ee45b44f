"""One viewer's websocket, from its welcome to its end.

Knows its transport, its room's desk and the frame reader. Never queues events: a full socket takes the viewer
out of the pass (``pause_writing``), a drained one lets it catch up from the log (``resume_writing``). Rules:
what it may cost is bounded (message size and rate, replies to one who does not read); its own fault closes it
with a declared code; nothing it does reaches another viewer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from socket import SocketType
from typing import cast

import msgspec

from liveroom.protocol import codec, frames
from liveroom.protocol.codec import BadMessage, Encoding
from liveroom.protocol.errors import BYES
from liveroom.protocol.messages import Bye, Error
from liveroom.server.edge.edge import CLOSE_DEADLINE_S, Edge
from liveroom.server.edge.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Breach,
    FrameReader,
    Message,
    read_close,
)
from liveroom.server.room.desk import RoomDesk
from liveroom.server.room.flush import group_of
from liveroom.server.room.identity import Identity
from liveroom.server.room.ports import ALONE

_log = logging.getLogger("liveroom.connection")

MAX_UNREAD_REPLIES = 64 * 1024  # bytes that may wait for a viewer who sends commands and does not read
EXCESS_COST = 10  # what a message over the rate adds; one within the rate takes one off
MAX_EXCESS = 1000  # beyond it the connection is closed: who goes on at twice the rate soon is
SILENT_BEATS = 3  # heartbeats without a byte from the peer


class Connection(asyncio.BufferedProtocol):
    """See the module. Implements ``room.ports.Viewer`` and ``edge.Swept``."""

    __slots__ = (
        "__weakref__",
        "_deaf",
        "_desk",
        "_edge",
        "_encoding",
        "_excess",
        "_full_at",
        "_heard",
        "_reader",
        "_silent",
        "_socket",
        "_stalled_since",
        "_transport",
        "cursor",
        "ending",
        "group",
        "name",
        "paused",
        "role",
        "send",
        "user",
    )

    def __init__(
        self,
        edge: Edge,
        transport: asyncio.Transport,
        desk: RoomDesk,
        identity: Identity,
        encoding: Encoding,
        deflate: bool,
    ) -> None:
        self._edge = edge
        self._transport: asyncio.Transport | None = transport
        self._desk = desk
        self._encoding = encoding
        self._reader: FrameReader | None = None  # there is one only while a frame or message is incomplete
        self._deaf = False  # after a breach: where the next frame begins is not known any more
        self._full_at = 0.0  # of the message rate
        self._excess = 0
        self._heard = True
        self._silent = 0
        self._stalled_since = 0.0
        self.user = identity.user
        self.name = identity.name
        self.role = identity.role
        self.group = group_of(encoding, deflate)
        self.cursor = ALONE
        self.paused = False
        self.ending = False  # a close frame was sent; nothing more is read but the answer to it
        # Straight to the socket: an eighth cheaper than by the transport. It is safe because who goes with the pass
        # has nothing waiting in the transport, and because uvloop closes a socket only after connection_lost, so
        # its number is not another's while this can still be called.
        self._socket = _socket_of(transport)
        self.send: Callable[[bytes], int] = self._socket.send if self._socket else self._send_by_transport

    def open(self, answer: bytes, orders: bytes, told: list[bytes], resume: tuple[str, int] | None) -> None:
        """Join the room: the handshake's answer and the welcome go out in one write."""
        edge, transport = self._edge, self._transport
        assert transport is not None
        # Nothing is queued for a slow viewer: the pass leaves it as soon as its socket is full.
        transport.set_write_buffer_limits(high=0)
        edge.connections.add(self)
        edge.counts["joins"] += 1
        room = self._desk.room
        welcome = room.join(self, orders, resume)
        self.write(answer + welcome)
        for order in told:
            room.send_order(self, order)
        room.catch_up(self)
        self._desk.viewers_changed()

    # --- what the transport tells -------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the process's one receive buffer."""
        return self._edge.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what was read."""
        self.take(bytes(self._edge.receive_buffer[:nbytes]))

    def take(self, data: bytes) -> None:
        """Take in bytes of the peer."""
        self._heard = True
        if self._deaf:
            return
        reader = self._reader or FrameReader(self._edge.settings.max_message_bytes, bool(self.group & 1))
        try:
            messages = reader.feed(data)
            self._reader = None if reader.idle else reader
            for message in messages:
                self._take_message(message)
                if self._transport is None:
                    return
        except Breach as breach:
            self._reader, self._deaf = None, True
            if not self.ending:
                self._edge.counts["breaches"] += 1
                self._end(breach.code, breach.reason)
            self._hang_up()
        except Exception:
            _log.exception("a fault of ours with a message of %s", self.user)
            self._end(1011, "a fault of the server")

    def _take_message(self, message: Message) -> None:
        opcode, payload = message
        if opcode in _MESSAGES:
            if not self.ending:
                self._take_command(opcode, payload)
        elif opcode == PING:
            if not self.ending and self._admit(asyncio.get_running_loop().time()):
                self._write_own(frames.frame(frames.PONG, payload))
        elif opcode == CLOSE:
            code = read_close(payload)
            if not self.ending:
                self._edge.closes[code or 1005] += 1
                self.ending = True
                self._desk.room.leave(self)
                self.write(frames.close_frame(code) if code else frames.frame(frames.CLOSE, b""))
            self._close()
        else:
            assert opcode == PONG

    def _take_command(self, opcode: int, payload: bytes) -> None:
        edge = self._edge
        now = asyncio.get_running_loop().time()
        if not self._admit(now):
            return
        encoding = self._encoding
        if (opcode == BINARY) is not (encoding is Encoding.MSGPACK):
            want = "binary (MessagePack)" if encoding is Encoding.MSGPACK else "text (JSON)"
            raise Breach(1003, f"this connection's messages are {want}")
        try:
            command = codec.decode_command(payload, encoding)
        except BadMessage as bad:
            edge.counts["bad_messages"] += 1
            self.reply(
                Error(code=bad.code, message=bad.message, id=msgspec.UNSET if bad.id is None else bad.id)
            )
            return
        edge.dispatch(self._desk, self, command, now)

    def _admit(self, now: float) -> bool:
        """Tell whether a message, or a ping, is within the rate."""
        full_at = self._edge.message_rate.spend(self._full_at, now)
        if full_at < 0:
            self._refuse_excess(-full_at)
            return False
        self._full_at = full_at
        if self._excess:
            self._excess -= 1
        return True

    def _refuse_excess(self, wait: float) -> None:
        """Answer a message over the rate without reading it; one who goes on is closed."""
        self._excess += EXCESS_COST
        self._edge.counts["excess"] += 1
        if self._excess > MAX_EXCESS:
            self.bye("flooding", "you kept on sending beyond limits.messages_per_s", None)
            return
        self.reply(
            Error(code="rate_limited", message="too many messages", retry_after_ms=int(wait * 1000) + 1)
        )

    def pause_writing(self) -> None:
        """The socket is full: leave the pass, keeping the place in the log."""
        self.paused = True
        self._stalled_since = asyncio.get_running_loop().time()
        self._edge.counts["pauses"] += 1
        self._desk.room.audience.part(self)

    def resume_writing(self) -> None:
        """The socket has drained: catch up, and go with the pass again."""
        self.paused = False
        if not self.ending:
            self._desk.room.catch_up(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        edge = self._edge
        edge.connections.discard(self)
        edge.closing.pop(self, None)
        if not self.ending:
            edge.closes[1006] += 1
        self._transport = None
        self.send = _send_to_closed
        if self._socket is not None:
            self._socket.detach()  # it is the transport's to close
        room = self._desk.room
        room.leave(self)
        self._desk.viewers_changed()

    # --- what the room and the sweep say ------------------------------------------------------------

    def _send_by_transport(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def write(self, data: bytes) -> None:
        """Write all of it; ``pause_writing`` follows at once if the socket does not take it.

        :raises ConnectionError: the connection is closed.
        """
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._transport.write(data)

    def reply(self, message: msgspec.Struct) -> None:
        """Write a message for this viewer alone; nothing if it has gone."""
        if self._transport is None or self.ending:
            return
        encoding = self._encoding
        self._write_own(
            frames.frame(
                frames.BINARY if encoding is Encoding.MSGPACK else frames.TEXT,
                codec.encode(message, encoding),
            )
        )

    def _write_own(self, frame: bytes) -> None:
        """Write a frame that nobody else is sent; who lets too much of that wait is dropped."""
        transport = self._transport
        assert transport is not None
        if self.paused and transport.get_write_buffer_size() > MAX_UNREAD_REPLIES:
            self.drop()
        else:
            self.write(frame)

    def drop(self) -> None:
        """End at once, without a word: the peer cannot be written to."""
        self._edge.closes[1006] += not self.ending
        self.ending = True
        self._abort()

    def bye(self, code: str, message: str, reconnect_after_ms: int | None) -> None:
        """Say ``bye`` and close with the code that goes with it."""
        self.reply(Bye(code=code, message=message, reconnect_after_ms=reconnect_after_ms))
        self._end(BYES[code], message)

    def beat(self, now: float) -> None:
        """Ping the peer; close it when it has been silent, or has not read, for too long."""
        if self.ending:
            return
        settings = self._edge.settings
        if self.paused:
            if (now - self._stalled_since) * 1000 > settings.stall_ms:
                self._edge.closes[4001] += 1
                self.ending = True
                self._abort()
            return
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent >= SILENT_BEATS:
            self._end(4000, "nothing was heard for too long")
        else:
            self.write(_PING_FRAME)

    def expire(self) -> None:
        """The peer did not answer the close."""
        self._abort()

    # --- the end ------------------------------------------------------------------------------------

    def _end(self, code: int, reason: str) -> None:
        """Send a close frame and wait, for a while, for the peer's (RFC 6455 section 7.1.1)."""
        if self.ending or self._transport is None:
            return
        self.ending = True
        self._edge.closes[code] += 1
        self._desk.room.leave(self)
        self._start_deadline()
        self.write(frames.close_frame(code, reason))

    def _hang_up(self) -> None:
        """Half a close: what is still coming is thrown away, as a reset would take our close from the peer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _close(self) -> None:
        if self._transport is not None:
            self._start_deadline()  # it may not read what is still to be written
            self._transport.close()

    def _start_deadline(self) -> None:
        self._edge.closing.setdefault(self, asyncio.get_running_loop().time() + CLOSE_DEADLINE_S)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


_MESSAGES = (TEXT, BINARY)
_PING_FRAME = frames.frame(frames.PING, b"")


def _send_to_closed(data: bytes) -> int:
    raise ConnectionError("the connection is closed")


def _socket_of(transport: asyncio.Transport) -> SocketType | None:
    """Return a handle of the transport's socket, None if it has none that takes our bytes as they are."""
    name = transport.get_extra_info("socket")
    return None if name is None else SocketType(name.family, name.type, name.proto, name.fileno())


def as_transport(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """Name what uvloop hands over."""
    return cast(asyncio.Transport, transport)
