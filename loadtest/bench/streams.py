"""What a viewer of the crowd reads: frames, markers, offsets. Counted, not kept.

Pure: bytes and a clock in, numbers out. Rules:

- The path of a frame that only counts is a few bytecodes; what costs more is done for a share of the viewers.
- A marker is ``~`` and 16 hex digits: a time of CLOCK_MONOTONIC in ns, put there by whoever sent the event.
  Markers are what is counted as events, so nothing else that is sent in a measured run may hold a ``~``.
- Only what the server may send is read (RFC 6455 section 5.1: no mask; liveroom sends no fragments); anything
  else raises ``Unexpected`` and ends that viewer.
"""

from __future__ import annotations

import enum
import re
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from liveroom.protocol import codec, frames
from liveroom.protocol.codec import Encoding

MARK = b"~"
_MARKER = re.compile(rb"~([0-9a-f]{16})")
_LIKES = re.compile(rb'"likes":(\d+)')
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.2: what the sender left out
_TEXT, _BINARY = frames.FIN | frames.TEXT, frames.FIN | frames.BINARY


def marker(now_ns: int) -> bytes:
    """Write a time as a marker."""
    return b"~%016x" % now_ns


class Unexpected(Exception):
    """The server sent what it must not."""


class Look(enum.IntFlag):
    """What is looked at in a viewer's frames, beside counting them."""

    NOTHING = 0
    LATENCY = 1  # the age of every marker
    OFFSETS = 2  # that batches join on without a gap
    LIKES = 4  # the newest total of likes


class Histogram:
    """Latencies in steps of 0.1 ms, up to 20 s."""

    STEP_NS = 100_000
    STEPS = 200_000

    def __init__(self) -> None:
        self._counts = [0] * (self.STEPS + 1)
        self.total = 0
        self.max_ns = 0

    def add(self, age_ns: int) -> None:
        """Count one latency."""
        self._counts[min(max(age_ns, 0) // self.STEP_NS, self.STEPS)] += 1
        self.total += 1
        self.max_ns = max(self.max_ns, age_ns)

    def percentile_ms(self, share: float) -> float | None:
        """Return the upper edge of the step in which this share of all has been seen; None for none."""
        rank = max(1, -int(-self.total * share // 1))
        seen = 0
        for step, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return (step + 1) * self.STEP_NS / 1e6
        return None

    def report(self) -> dict[str, Any]:
        """Return the usual percentiles, in ms."""
        return {
            "count": self.total,
            "p50": self.percentile_ms(0.5),
            "p99": self.percentile_ms(0.99),
            "max": round(self.max_ns / 1e6, 1),
        }


class Tally:
    """What came in during one phase of a run."""

    def __init__(self, texts: tuple[bytes, ...] = ()) -> None:
        self.frames = 0  # of data
        self.events = 0  # markers
        self.bytes = 0  # as read from the sockets, heads of frames included
        self.pings = 0
        self.closes: dict[int, int] = {}
        self.latency = Histogram()
        self.texts = dict.fromkeys(texts, 0)
        self.likes = 0
        # Of the viewers whose offsets are looked at:
        self.read_bytes = 0
        self.read_events = 0
        self.plain_bytes = 0  # had every event been one uncompressed JSON frame of its own
        self.gaps = 0

    def report(self) -> dict[str, Any]:
        """Return everything as a map."""
        return {
            "frames": self.frames,
            "events": self.events,
            "bytes": self.bytes,
            "pings": self.pings,
            "closes": {str(code): count for code, count in self.closes.items()},
            "latency_ms": self.latency.report(),
            "texts": {text.decode(): count for text, count in self.texts.items()},
            "likes": self.likes,
            "read_bytes": self.read_bytes,
            "read_events": self.read_events,
            "plain_bytes": self.plain_bytes,
            "gaps": self.gaps,
        }


class Stream:
    """Where one viewer is: the beginning of a frame that is not complete, and its place in the log."""

    __slots__ = ("facts", "first", "gaps", "kept", "look", "offset", "skipped")

    def __init__(self, look: Look = Look.NOTHING) -> None:
        self.look = look
        self.kept = b""
        self.first = -1  # the offset of the welcome, -1 before it
        self.offset = -1
        self.facts = 0  # events but for comments
        self.skipped = 0  # comments
        self.gaps = 0


class _Skipped(msgspec.Struct):
    comments: int = 0


class _Message(msgspec.Struct):
    type: str
    now: int = 0
    offset: int = 0
    events: list[msgspec.Raw] = []
    skipped: _Skipped | None = None


_decode_message = msgspec.json.Decoder(_Message).decode
_COMMENT = b'{"type":"comment",'


class Reader:
    """Reads the streams of all viewers into one tally.

    :param answer: called with a stream and the payload of a ping.
    :param texts: texts that are counted wherever they occur in a payload.
    :param plain: add up what the events would have been as frames of their own.
    """

    def __init__(
        self,
        answer: Callable[[Any, bytes], None],
        *,
        texts: tuple[bytes, ...] = (),
        plain: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._answer = answer
        self._texts = texts
        self._plain = plain
        self._clock_ns = clock_ns
        self.tally = Tally(texts)

    def new_phase(self) -> Tally:
        """Begin a new tally; returns the one that has ended."""
        ended, self.tally = self.tally, Tally(self._texts)
        return ended

    def feed(self, stream: Stream, data: bytes | bytearray, end: int) -> None:
        """Take in ``data[:end]``; the buffer may be used again afterwards.

        :raises Unexpected: not what a server may send.
        """
        tally = self.tally
        tally.bytes += end
        if stream.look & Look.OFFSETS:
            tally.read_bytes += end
        if stream.kept:
            data = stream.kept + data[:end]
            stream.kept = b""
            end = len(data)
        at = 0
        while end - at >= 2:
            size = data[at + 1]
            start = at + 2
            if size >= 126:
                start, size = _long_size(data, at, end)
            stop = start + size
            if stop > end:
                break
            first = data[at]
            at = stop
            if first in (_TEXT, _BINARY):
                tally.frames += 1
                if self._texts or stream.look:
                    self._look_into(stream, data, start, stop)
                else:
                    tally.events += data.count(MARK, start, stop)
            else:
                self._take_other(stream, first, bytes(data[start:stop]))
        if at < end:
            stream.kept = bytes(data[at:end])

    def _take_other(self, stream: Stream, first: int, payload: bytes) -> None:
        tally = self.tally
        if first == frames.FIN | frames.PING:
            tally.pings += 1
            self._answer(stream, payload)
        elif first == frames.FIN | frames.CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            tally.closes[code] = tally.closes.get(code, 0) + 1
        elif first & ~1 == frames.FIN | frames.RSV1 or first == _BINARY | frames.RSV1:
            tally.frames += 1
            if stream.look:  # inflating for everyone would make the crowd the bottleneck
                whole = zlib.decompressobj(-15).decompress(payload + _TAIL)
                self._look_into(stream, whole, 0, len(whole))
        elif first != frames.FIN | frames.PONG:
            raise Unexpected(f"a frame that begins with {first:#04x}")

    def _look_into(self, stream: Stream, data: bytes | bytearray, start: int, stop: int) -> None:
        """Read a payload, as far as this viewer is looked at."""
        tally = self.tally
        look = stream.look
        for text in self._texts:
            tally.texts[text] += data.count(text, start, stop)
        if look & Look.LATENCY:
            now = self._clock_ns()
            for found in _MARKER.finditer(data, start, stop):
                tally.events += 1
                tally.latency.add(now - int(found[1], 16))
        else:
            tally.events += data.count(MARK, start, stop)
        if look & Look.LIKES:
            for found in _LIKES.finditer(data, start, stop):
                tally.likes = max(tally.likes, int(found[1]))
        if look & Look.OFFSETS:
            self._follow(stream, bytes(data[start:stop]))

    def _follow(self, stream: Stream, payload: bytes) -> None:
        """Check that a message joins on to what this viewer has."""
        message = _decode_message(payload)
        if message.type == "welcome":
            stream.first = stream.offset = message.offset
        elif message.type == "batch":
            tally = self.tally
            skipped = message.skipped.comments if message.skipped else 0
            if message.offset != stream.offset + len(message.events) + skipped:
                stream.gaps += 1
                tally.gaps += 1
            stream.offset = message.offset
            stream.skipped += skipped
            events = [bytes(event) for event in message.events]
            stream.facts += sum(not event.startswith(_COMMENT) for event in events)
            tally.read_events += len(events)
            if self._plain:
                tally.plain_bytes += sum(
                    len(event_frame(message.now, message.offset, event)) for event in events
                )


def event_frame(now: int, offset: int, event: bytes) -> bytes:
    """Build the frame that carries one event alone, as uncompressed JSON."""
    return frames.frame(frames.TEXT, codec.join_batch(Encoding.JSON, now, offset, [event], None, 0))


def _long_size(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """Read an extended length (RFC 6455 section 5.2): where the payload starts, and its size.

    A size beyond everything stands for one that is not here yet.
    """
    kind = data[at + 1]
    if kind > 127:
        raise Unexpected("a masked frame")
    start = at + 4 if kind == 126 else at + 10
    if start > end:
        return start, end
    return start, int.from_bytes(data[at + 2 : start])
