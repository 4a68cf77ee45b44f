"""One stretch of the log, encoded for everyone: at most four ways, each at most once.

Pure. A viewer's group is one of {JSON, MessagePack} x {plain, deflate}: ``group = encoding * 2 + deflate``.
"""

from __future__ import annotations

from typing import Any

from liveroom.protocol import codec, frames
from liveroom.protocol.codec import Encoding
from liveroom.server.room.log import Entry

GROUPS = 4


def group_of(encoding: Encoding, deflate: bool) -> int:
    """Return the group of a connection."""
    return encoding * 2 + deflate


def encoding_of(group: int) -> Encoding:
    """Return the encoding a group speaks."""
    return Encoding(group >> 1)


# A compressed frame this small is no shorter than a plain one.
_MIN_DEFLATE = 64


def to_frame(group: int, payload: bytes) -> bytes:
    """Frame a payload for a group, compressed if the group may be and it is worth it."""
    opcode = frames.BINARY if group >> 1 else frames.TEXT
    if group & 1 and len(payload) >= _MIN_DEFLATE:
        return frames.frame(opcode, frames.deflate(payload), compressed=True)
    return frames.frame(opcode, payload)


class Flush:
    """A batch to be written to many viewers."""

    __slots__ = ("_entries", "_frames", "_now", "_skipped", "offset", "state")

    def __init__(
        self, now: int, offset: int, entries: list[Entry], state: dict[str, Any] | None, skipped: int = 0
    ) -> None:
        self.offset = offset
        self._now = now
        self._entries = entries
        self.state = state or None
        self._skipped = skipped
        self._frames: list[bytes | None] = [None] * GROUPS

    def frame(self, group: int) -> bytes:
        """Return the batch as a frame of ``group``; made at the first call."""
        made = self._frames[group]
        if made is None:
            encoding = encoding_of(group)
            payload = codec.join_batch(
                encoding,
                self._now,
                self.offset,
                [entry.encoded(encoding) for entry in self._entries],
                codec.encode_value(self.state, encoding) if self.state else None,
                self._skipped,
            )
            made = self._frames[group] = to_frame(group, payload)
        return made
