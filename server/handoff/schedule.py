"""When a failed delivery is tried again. Pure.

The default is the example schedule of Standard Webhooks 1.0.0: ten attempts over three days.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

WAITS_S = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
MAX_RETRY_AFTER_MS = 86_400_000  # what a receiver may ask for at most


class Retries(NamedTuple):
    """``waits_s[n]`` is the wait in seconds before an attempt, when n have failed before it.

    Each wait is prolonged by a random part of up to ``jitter``, so that what failed together does not come
    back together.
    """

    waits_s: tuple[float, ...] = WAITS_S
    jitter: float = 0.2
    random: Callable[[], float] = random.random

    def wait_ms(self, failed: int) -> int | None:
        """Return the wait after ``failed`` attempts, or None when there is none left."""
        if failed >= len(self.waits_s):
            return None
        return int(self.waits_s[failed] * 1000 * (1 + self.jitter * self.random()))


def retry_after_ms(value: str | None, now: int) -> int | None:
    """Read a ``Retry-After`` header (RFC 9110 section 10.2.3), seconds or a date; None for none, or garbage."""
    text = (value or "").strip()
    if len(text) > 64:
        return None
    if text.isascii() and text.isdecimal():
        return min(int(text) * 1000, MAX_RETRY_AFTER_MS)
    try:
        at = int(parsedate_to_datetime(text).timestamp() * 1000)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(0, at - now), MAX_RETRY_AFTER_MS)
