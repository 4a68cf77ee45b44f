"""The front door: one port for everything.

Reads a request head under a deadline and a size limit. A websocket upgrade on a room path becomes a
``Connection``; everything else is handed, transport and bytes, to the HTTP server. Never reads a body.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

import msgspec

from liveroom.protocol.errors import ERRORS
from liveroom.server.edge import handshake
from liveroom.server.edge.connection import Connection, as_transport
from liveroom.server.edge.edge import CLOSE_DEADLINE_S, HEAD_DEADLINE_S, Edge
from liveroom.server.edge.handshake import BadHead, Upgrade, parse_head
from liveroom.server.room import ports
from liveroom.server.room.desk import RoomDesk
from liveroom.server.room.identity import Identity

_log = logging.getLogger("liveroom.front_door")

MAX_HEAD_BYTES = 8 * 1024
MAX_EARLY_BYTES = 64 * 1024  # frames sent before the handshake was answered
_HEAD_END = b"\r\n\r\n"


class FrontDoor(asyncio.BufferedProtocol):
    """One connection whose purpose is not known yet."""

    __slots__ = ("_edge", "_joining", "_raw", "_refused", "_transport")

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._transport: asyncio.Transport | None = None
        self._raw = b""
        self._joining = False
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the head."""
        self._transport = as_transport(transport)
        self._edge.waiting[self] = asyncio.get_running_loop().time() + HEAD_DEADLINE_S

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer left before it said what it wants."""
        self._edge.waiting.pop(self, None)
        self._edge.closing.pop(self, None)
        self._transport = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the process's one receive buffer."""
        return self._edge.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take in a piece of the head; act when it is complete."""
        if self._refused:
            return
        self._raw += self._edge.receive_buffer[:nbytes]
        if self._joining:
            if len(self._raw) > MAX_EARLY_BYTES:
                self._abort()
            return
        end = self._raw.find(_HEAD_END)
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(self._raw) > MAX_HEAD_BYTES:
                self._refuse("head_too_large", f"a request head has at most {MAX_HEAD_BYTES} bytes")
            return
        self._edge.waiting.pop(self, None)
        try:
            head = parse_head(self._raw[:end])
        except BadHead as bad:
            self._refuse("bad_request", str(bad))
            return
        if not handshake.is_room_upgrade(head):
            self._hand_over()
            return
        upgrade = handshake.read_upgrade(head)
        if isinstance(upgrade, Upgrade):
            self._raw = self._raw[end + 4 :]
            self._join(upgrade)
        else:
            self._refuse(upgrade.code, upgrade.detail, upgrade.headers)

    def expire(self) -> None:
        """The head did not come in time, or the refusal was not taken."""
        if self._refused:
            self._abort()
        else:
            self._edge.counts["head_timeouts"] += 1
            self._refuse("head_timeout", f"the request head did not arrive within {HEAD_DEADLINE_S:.0f} s")

    def beat(self, now: float) -> None:
        """Nothing: a front door is swept by its deadline."""

    # --- websocket ----------------------------------------------------------------------------------

    def _join(self, upgrade: Upgrade) -> None:
        if self._edge.draining:
            self._refuse("unavailable", "this server is stopping; join another", retry_after_ms=1000)
            return
        try:
            identity = self._edge.authenticator.join(upgrade.token, upgrade.user, upgrade.name)
            if not identity.may_enter(upgrade.room):
                raise ports.Refused("forbidden", "the token is for another room")
        except ports.Refused as refused:
            self._refuse(refused.code, refused.message, retry_after_ms=refused.retry_after_ms)
            return
        self._joining = True

        def arrived(desk: RoomDesk | ports.Refused, orders: bytes, told: list[bytes]) -> None:
            if self._transport is None or self._transport.is_closing():
                return
            if isinstance(desk, ports.Refused):
                code = "unknown_room" if desk.code == "room_closed" else desk.code
                self._refuse(code, desk.message, retry_after_ms=desk.retry_after_ms)
            else:
                self._open(upgrade, identity, desk, orders, told)

        self._edge.hub.arrive(upgrade.room, identity.user, arrived)

    def _open(
        self, upgrade: Upgrade, identity: Identity, desk: RoomDesk, orders: bytes, told: list[bytes]
    ) -> None:
        """Become a viewer's connection. Synchronous from here: snapshot, cursor and registration in one step."""
        transport = self._transport
        assert transport is not None
        deflate = upgrade.deflate is not None
        connection = Connection(self._edge, transport, desk, identity, upgrade.encoding, deflate)
        transport.set_protocol(connection)
        self._transport = None
        connection.open(handshake.answer(upgrade), orders, told, upgrade.resume)
        if self._raw:
            connection.take(self._raw)

    # --- HTTP ---------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give transport and bytes to the HTTP server; this object is done."""
        transport = self._transport
        assert transport is not None
        http = self._edge.http()
        transport.pause_reading()  # reading starts anew in the way the other protocol wants its bytes
        transport.set_protocol(http)
        http.connection_made(transport)
        http.data_received(self._raw)
        if not transport.is_closing():
            transport.resume_reading()
        self._transport = None

    def _refuse(
        self,
        code: str,
        detail: str,
        headers: tuple[tuple[str, str], ...] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        """Answer with a problem body and close."""
        transport = self._transport
        if transport is None:
            return
        self._refused = True
        self._edge.counts["refusals"] += 1
        self._edge.waiting.pop(self, None)
        status = HTTPStatus(ERRORS[code].status)
        problem = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "code": code,
            "detail": detail,
        }
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/problem+json",
            "Connection: close",
        ]
        if retry_after_ms is not None:
            problem["retry_after_ms"] = retry_after_ms
            lines.append(f"Retry-After: {-(-retry_after_ms // 1000)}")
        if code == "unauthorized":
            lines.append("WWW-Authenticate: Bearer")
        if code == "upgrade_required":
            lines[2] = "Connection: Upgrade, close"  # RFC 9110 section 7.8: Upgrade is named in Connection
            lines.append("Upgrade: websocket")
        lines += [f"{name}: {value}" for name, value in headers]
        body = msgspec.json.encode(problem)
        lines.append(f"Content-Length: {len(body)}")
        transport.write("\r\n".join(lines).encode() + _HEAD_END + body)
        # Half a close: the peer may still be sending, and a reset would take our answer away from it.
        if transport.can_write_eof():
            transport.write_eof()
        self._edge.closing[self] = asyncio.get_running_loop().time() + CLOSE_DEADLINE_S

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
