"""What the crowd sends, and when: by the clock alone, whether anything was answered or not.

Pure: seconds since the start in, masked frames out. A slow server makes latencies grow and never the load
smaller.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Protocol

try:  # the C version, where it is installed
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

from liveroom.loadtest.bench.streams import marker
from liveroom.protocol import frames

_KEY = b"\x9d\x3a\xc6\x51"  # any key but zero, which would spare the server the unmasking


def client_frame(payload: bytes, opcode: int = frames.TEXT) -> bytes:
    """Build a masked frame, as a client must send it (RFC 6455 section 5.3)."""
    size = len(payload)
    head = bytes((frames.FIN | opcode, 0x80 | (size if size < 126 else 126)))
    if size >= 126:
        head += size.to_bytes(2)
    return head + _KEY + apply_mask(payload, _KEY)


class Sender(Protocol):
    """What is sent by the whole crowd, one message after the other, viewer after viewer."""

    total: int | None  # None: for as long as the measuring lasts

    def due(self, elapsed_s: float) -> int:
        """Return how many messages should have been sent by now."""

    def frame(self, number: int, viewer: int) -> bytes:
        """Return message ``number`` as a frame of ``viewer``."""


class Silence:
    """Nothing is sent."""

    total: int | None = None

    def due(self, elapsed_s: float) -> int:
        """Return nothing, ever."""
        return 0

    def frame(self, number: int, viewer: int) -> bytes:
        """Never asked for."""
        raise AssertionError("silence has no frames")


class Template:
    """One text at a steady rate: ``%d`` is the viewer's number, ``%k`` a counter, ``%t`` a marker."""

    total: int | None = None

    def __init__(self, text: str, rate: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._text = text.encode()
        self._rate = rate
        self._clock_ns = clock_ns
        self._same = None if b"%" in self._text else client_frame(self._text)

    def due(self, elapsed_s: float) -> int:
        """See ``Sender``."""
        return int(elapsed_s * self._rate)

    def frame(self, number: int, viewer: int) -> bytes:
        """See ``Sender``."""
        if self._same is not None:
            return self._same
        return client_frame(
            self._text.replace(b"%t", marker(self._clock_ns()))
            .replace(b"%d", b"%d" % viewer)
            .replace(b"%k", b"%d" % number)
        )


class Comments:
    """Recorded comments, each at its own time: (ms since the start, text)."""

    def __init__(self, lines: list[tuple[float, str]]) -> None:
        self._lines = lines
        self._due = 0
        self.total: int | None = len(lines)

    def due(self, elapsed_s: float) -> int:
        """See ``Sender``."""
        now_ms = elapsed_s * 1000
        while self._due < len(self._lines) and self._lines[self._due][0] <= now_ms:
            self._due += 1
        return self._due

    def frame(self, number: int, viewer: int) -> bytes:
        """See ``Sender``."""
        text = self._lines[number][1]
        return client_frame(
            json.dumps({"type": "comment", "id": number, "text": text}, ensure_ascii=False).encode()
        )
