"""How the hand-off goes about it."""

from __future__ import annotations

from typing import NamedTuple

from liveroom.server.handoff.schedule import Retries
from liveroom.server.handoff.targets import Allowed


class HandoffSettings(NamedTuple):
    """``in_flight`` deliveries to one endpoint at a time, each of another order.

    ``rotation_s``: how long a replaced secret signs beside the new one. ``poll_s``: how often the outbox is
    looked at. ``keep_s``: how long an item that everyone has stays.
    """

    retries: Retries = Retries()
    timeout_s: float = 15.0
    in_flight: int = 8
    allowed: Allowed = Allowed()
    rotation_s: float = 86_400.0
    poll_s: float = 0.25
    keep_s: float = 604_800.0

    @property
    def lease_s(self) -> float:
        """How long an endpoint stays a node's after its last sign: what is under way ends well before."""
        return 3 * self.timeout_s
