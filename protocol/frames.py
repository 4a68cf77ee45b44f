"""Websocket frames as the server writes them (RFC 6455), shared between viewers.

Knows bytes only. Rules: a server frame is never masked (section 5.1), so one frame can be written to any
number of sockets; permessage-deflate is negotiated without context takeover on the server's side
(RFC 7692 section 7.1.1.1), so a compressed frame can be shared just the same.
"""

from __future__ import annotations

import zlib

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40

# Level 1: a room's batches are small and alike; level 6 costs twice the time for 4% fewer bytes.
_LEVEL = 1
_WINDOW_BITS = 15
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1: removed from the end of a message
_MAX_STORED = 0xFFFF  # RFC 1951 section 3.2.4: the length of a stored block has 16 bits


def frame(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """Build one whole unmasked frame."""
    first = FIN | opcode | (RSV1 if compressed else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 255)) + payload
    return bytes((first, 127)) + size.to_bytes(8) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Build a close frame. ``reason`` is cut to fit the 125 bytes of a control frame (section 5.5)."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2) + text)


def deflate(payload: bytes) -> bytes:
    """Compress one message for permessage-deflate without context takeover."""
    squeezer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    return (squeezer.compress(payload) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflate_joined(own: bytes, shared: bytes) -> bytes:
    """Compress a message whose second part is shared: ``shared`` is what ``deflate`` returned for it.

    DEFLATE blocks that do not refer back across their border can be joined, so the first part goes
    before as stored blocks (RFC 1951 section 3.2.4) and the second is not compressed again.
    """
    stored = bytearray()
    for start in range(0, len(own), _MAX_STORED):
        piece = own[start : start + _MAX_STORED]
        size = len(piece)
        stored += b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + piece
    return bytes(stored) + shared
