"""Reading websocket frames (RFC 6455) from bytes as they come.

Pure: knows bytes, not sockets. One reader a connection; what it is given is parsed on the spot, and only an
incomplete frame or an unfinished fragmented message is kept. A breach of the protocol raises ``Breach`` with
the close code the peer is told; nothing can be read after it.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from websockets.frames import Opcode

try:  # the C version unmasks at memory speed; both are well kept by the websockets library
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY = int(Opcode.CONT), int(Opcode.TEXT), int(Opcode.BINARY)
CLOSE, PING, PONG = int(Opcode.CLOSE), int(Opcode.PING), int(Opcode.PONG)
_KNOWN = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_ZERO_MASK = b"\0\0\0\0"


class Breach(Exception):
    """The peer broke the protocol; close with ``code`` and ``reason``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """One whole message or control frame: the payload is unmasked and inflated."""

    opcode: int
    payload: bytes


class FrameReader:
    """Reads the frames of one client. ``deflate`` tells whether permessage-deflate was agreed on."""

    __slots__ = ("_fragments", "_kept", "_opcode", "_squeezed", "_total", "deflate", "max_message")

    def __init__(self, max_message: int, deflate: bool) -> None:
        self.max_message = max_message
        self.deflate = deflate
        self._kept: bytes = b""  # the beginning of a frame that is not complete
        self._fragments: list[bytes] | None = None  # of a message that is not complete
        self._opcode = 0
        self._squeezed = False
        self._total = 0

    @property
    def idle(self) -> bool:
        """Tell whether nothing is kept: no frame and no message is incomplete."""
        return not self._kept and self._fragments is None

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; returns what became complete.

        :raises Breach: the peer broke the protocol. What was complete before it is lost with the connection.
        """
        if self._kept:
            data = self._kept + data
            self._kept = b""
        messages: list[Message] = []
        at, end = 0, len(data)
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            size = second & 0x7F
            head = at + 6  # two bytes and the mask
            if size == 126:
                head += 2
            elif size == 127:
                head += 8
            self._check_head(first, second, size)
            if end < head:
                break
            if size == 126:
                size = data[at + 2] << 8 | data[at + 3]
            elif size == 127:
                size = int.from_bytes(data[at + 2 : at + 10])
            # A control frame in the middle of a message is no part of it, and is small (see ``_check_head``).
            if not first & 0x08 and size + self._total > self.max_message:
                raise Breach(1009, f"a message has at most {self.max_message} bytes")
            if end < head + size:
                break
            mask = data[head - 4 : head]
            payload = data[head : head + size]
            if mask != _ZERO_MASK and size:
                payload = apply_mask(payload, mask)
            at = head + size
            message = self._take(first, payload)
            if message is not None:
                messages.append(message)
        if at < end:
            self._kept = data[at:]
        return messages

    def _check_head(self, first: int, second: int, size: int) -> None:
        """Check what the first two bytes tell, before waiting for more."""
        opcode = first & 0x0F
        if not second & 0x80:
            raise Breach(1002, "a client's frame must be masked (RFC 6455 section 5.1)")
        if opcode not in _KNOWN:
            raise Breach(1002, f"opcode {opcode} is not known")
        if first & 0x30 or (first & 0x40 and not (self.deflate and opcode in (TEXT, BINARY))):
            raise Breach(1002, "a reserved bit is set without an extension for it")
        if opcode >= CLOSE:
            if not first & 0x80:
                raise Breach(1002, "a control frame cannot be fragmented")
            if size > 125:
                raise Breach(1002, "a control frame has at most 125 bytes")
        elif opcode == CONTINUATION:
            if self._fragments is None:
                raise Breach(1002, "a continuation frame without a message to continue")
        elif self._fragments is not None:
            raise Breach(1002, "a new message before the last one ended")

    def _take(self, first: int, payload: bytes) -> Message | None:
        """Take one whole frame; returns the message it completes, if it does."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return Message(opcode, payload)
        if first & 0x80 and opcode != CONTINUATION:
            return Message(opcode, self._whole(opcode, payload, bool(first & 0x40)))
        if opcode != CONTINUATION:
            self._opcode, self._squeezed = opcode, bool(first & 0x40)
            self._fragments = [payload]
            self._total = len(payload)
            return None
        assert self._fragments is not None
        self._fragments.append(payload)
        self._total += len(payload)
        if not first & 0x80:
            if len(self._fragments) > self.max_message:  # empty fragments cost memory too
                raise Breach(1009, "a message of too many fragments")
            return None
        whole = b"".join(self._fragments)
        self._fragments, self._total = None, 0
        return Message(self._opcode, self._whole(self._opcode, whole, self._squeezed))

    def _whole(self, opcode: int, payload: bytes, squeezed: bool) -> bytes:
        """Inflate a message if need be, and see that a text is UTF-8."""
        if squeezed:
            payload = inflate(payload, self.max_message)
        if opcode == TEXT:
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise Breach(1007, "a text message must be UTF-8") from None
        return payload


def inflate(payload: bytes, max_size: int) -> bytes:
    """Inflate one message (RFC 7692 section 7.2.2), never making more than ``max_size`` bytes of it."""
    inflater = zlib.decompressobj(-15)
    try:
        data = inflater.decompress(payload + b"\x00\x00\xff\xff", max_size + 1)
    except zlib.error:
        raise Breach(1007, "the message does not inflate") from None
    if len(data) > max_size or (inflater.unconsumed_tail and not inflater.eof):
        raise Breach(1009, f"a message has at most {max_size} bytes when inflated")
    return data


def read_close(payload: bytes) -> int | None:
    """Check a close frame (RFC 6455 sections 5.5.1 and 7.4); returns its code, None when it has none.

    :raises Breach: a body of one byte, a code that may not be sent, or a reason that is not UTF-8.
    """
    if not payload:
        return None
    if len(payload) == 1:
        raise Breach(1002, "a close frame's body is empty or begins with a two-byte code")
    code = int.from_bytes(payload[:2])
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Breach(1002, f"close code {code} may not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Breach(1007, "a close reason must be UTF-8") from None
    return code
