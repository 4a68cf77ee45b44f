"""Rate limits as one number a key: the generic cell rate algorithm (ITU-T I.371), in seconds.

Pure: the caller gives ``now``. A bucket of ``burst`` that refills at ``rate`` a second is the time at
which it would be full again; nothing ticks and an unused key costs nothing.
"""

from __future__ import annotations

# Sums of a long uptime are rounded (2e-8 s after years of it, for each token of a burst); without this the
# last token of a burst is refused after a few days, and one who waits as long as told is refused again.
_GRAIN_S = 1e-5


class Rate:
    """A rate and its burst. ``spend`` maps the stored number to the next one, or tells how long to wait."""

    __slots__ = ("burst", "interval", "per_s", "tolerance")

    def __init__(self, per_s: float, burst: int) -> None:
        self.per_s = per_s
        self.burst = burst
        self.interval = 1.0 / per_s
        self.tolerance = self.interval * (burst - 1)

    def spend(self, full_at: float, now: float) -> float:
        """Take one token. Returns the new ``full_at``, or minus the seconds to wait when there is none."""
        base = full_at if full_at > now else now
        wait = base - now - self.tolerance
        if wait > _GRAIN_S:
            return -wait
        return base + self.interval


class Rates:
    """One rate for many keys (users). Keys whose bucket is full again are forgotten."""

    __slots__ = ("_full_at", "_sweep_at", "rate")

    _SWEEP_OVER = 1024

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._full_at: dict[str, float] = {}
        self._sweep_at = self._SWEEP_OVER

    def spend(self, key: str, now: float) -> float:
        """Take one token of ``key``. Returns 0, or the seconds to wait."""
        got = self.rate.spend(self._full_at.get(key, 0.0), now)
        if got < 0:
            return -got
        self._full_at[key] = got
        if len(self._full_at) > self._sweep_at:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            # Twice what is in use now, so that a crowd of active users is not swept at every message.
            self._sweep_at = max(self._SWEEP_OVER, 2 * len(self._full_at))
        return 0.0
