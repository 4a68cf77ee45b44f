"""What all connections of a process share: settings, counters, and one sweeping task instead of timers.

Knows connections only as things to be swept. Rules: a head has its deadline, a silent peer is pinged and then
closed, a peer that does not read is closed, a close that is not answered ends by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

from liveroom.server.edge.auth import Authenticator
from liveroom.server.room.dispatch import Dispatch
from liveroom.server.room.hub import Hub
from liveroom.server.room.rates import Rate

HEAD_DEADLINE_S = 5.0
CLOSE_DEADLINE_S = 5.0
SWEEP_S = 0.5


class EdgeSettings(NamedTuple):
    """Limits of the edge."""

    heartbeat_ms: int
    stall_ms: int  # how long a viewer may leave its socket full
    max_message_bytes: int
    messages_per_s: float
    messages_burst: int


class Swept(Protocol):
    """A connection, as the sweep sees it."""

    def beat(self, now: float) -> None:
        """Be looked at, once a heartbeat."""

    def expire(self) -> None:
        """End: a deadline has passed."""


class Edge:
    """See the module."""

    def __init__(
        self,
        settings: EdgeSettings,
        hub: Hub,
        dispatch: Dispatch,
        authenticator: Authenticator,
        http: Callable[[], asyncio.Protocol],
    ) -> None:
        self.settings = settings
        self.hub = hub
        self.dispatch = dispatch
        self.authenticator = authenticator
        self.http = http
        self.message_rate = Rate(settings.messages_per_s, settings.messages_burst)
        # One buffer for every socket of the process: what is read is parsed on the spot, in this thread.
        self.receive_buffer = memoryview(bytearray(64 * 1024))
        self.connections: set[Swept] = set()
        self.waiting: dict[Swept, float] = {}  # heads not complete, oldest first, by deadline
        self.closing: dict[Swept, float] = {}  # close sent and not answered, oldest first, by deadline
        self.counts: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.draining = False

    async def sweep(self) -> None:
        """Look at everyone in turn, each once a heartbeat, until cancelled."""
        loop = asyncio.get_running_loop()
        heartbeat_s = self.settings.heartbeat_ms / 1000
        cycle: list[Swept] = []  # those not yet looked at in this heartbeat
        share, due = 1, loop.time()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            _expire(self.waiting, now)
            _expire(self.closing, now)
            # Not before the heartbeat is over, however few they are: a peer's silence is counted in beats.
            if not cycle and now >= due:
                due += heartbeat_s * ((now - due) // heartbeat_s + 1)
                cycle = list(self.connections)
                share = max(1, math.ceil(len(cycle) * SWEEP_S / heartbeat_s))
            self._beat(cycle[-share:], now)
            del cycle[-share:]

    def _beat(self, connections: list[Swept], now: float) -> None:
        for connection in connections:
            if connection in self.connections:
                connection.beat(now)


def _expire(deadlines: dict[Swept, float], now: float) -> None:
    for connection, deadline in list(deadlines.items()):
        if deadline > now:
            break
        del deadlines[connection]
        connection.expire()
