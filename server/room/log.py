"""The log: events with contiguous offsets, bounded by count and by age.

Pure. Offsets start at 1; ``head`` is the offset of the newest event (0 when there was none yet) and
``tail`` the offset before the oldest one held, so the log holds exactly ``tail < offset <= head``. A
cursor is the offset of the last event its owner has; the log can serve it when ``tail <= cursor <= head``.
"""

from __future__ import annotations

import enum

from liveroom.protocol import codec
from liveroom.protocol.codec import Encoding


class Lane(enum.IntEnum):
    """Which promise an event travels under."""

    FACT = 0  # never dropped for anyone
    CHATTER = 1  # may be skipped for a viewer that lags


class Entry:
    """One logged event. Made once as JSON; its MessagePack form is made at most once, when first needed."""

    __slots__ = ("_msgpack", "at", "json", "lane")

    def __init__(self, lane: Lane, json: bytes, at: int) -> None:
        self.lane = lane
        self.json = json
        self.at = at  # ms since the Unix epoch, when it was appended
        self._msgpack: bytes | None = None

    def encoded(self, encoding: Encoding) -> bytes:
        """Return the event's bytes in ``encoding``."""
        if encoding is Encoding.JSON:
            return self.json
        if self._msgpack is None:
            self._msgpack = codec.transcode(self.json)
        return self._msgpack


class Log:
    """The window of a room's log that this process holds."""

    __slots__ = ("_entries", "epoch", "head", "max_age_ms", "max_events")

    # Trimming moves what stays to the front; done in steps so that its cost per append is constant.
    _TRIM_STEP = 256

    def __init__(self, epoch: str, head: int, *, max_events: int, max_age_ms: int) -> None:
        self.epoch = epoch
        self.head = head
        self.max_events = max_events
        self.max_age_ms = max_age_ms
        self._entries: list[Entry] = []

    @property
    def tail(self) -> int:
        """The smallest cursor that can be served."""
        return self.head - len(self._entries)

    def append(self, entries: list[Entry]) -> None:
        """Add events behind the head."""
        self._entries += entries
        self.head += len(entries)

    def holds(self, cursor: int) -> bool:
        """Tell whether everything after ``cursor`` is still here."""
        return self.tail <= cursor <= self.head

    def between(self, cursor: int, upto: int) -> list[Entry]:
        """Return the events with ``cursor < offset <= upto``; the log must hold ``cursor``."""
        tail = self.tail
        assert tail <= cursor <= upto <= self.head
        return self._entries[cursor - tail : upto - tail]

    def last(self, lane: Lane, count: int) -> list[Entry]:
        """Return the newest ``count`` events of a lane, oldest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if len(found) == count:
                break
            if entry.lane is lane:
                found.append(entry)
        found.reverse()
        return found

    def trim(self, now: int) -> None:
        """Forget what is over the bounds of count and age."""
        excess = len(self._entries) - self.max_events
        oldest_kept = now - self.max_age_ms
        stale = 0
        for entry in self._entries:
            if entry.at >= oldest_kept:
                break
            stale += 1
        drop = max(excess, stale)
        if drop >= self._TRIM_STEP or drop == len(self._entries):
            del self._entries[:drop]
