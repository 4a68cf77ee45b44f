"""What the API is given by the composition root, and nothing else of the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from liveroom.server.handoff.feed import Feed
from liveroom.server.handoff.webhooks import Webhooks
from liveroom.server.ops.durability import Durability
from liveroom.server.room.hub import Hub
from liveroom.server.room.identity import Identity
from liveroom.server.room.ports import RoomStore
from liveroom.server.sale.desk import ClaimDesk
from liveroom.server.sale.ports import SaleStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """The hand-off to supply partners. ``now_ms`` is the store's clock."""

    webhooks: Webhooks
    feed: Feed
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """The API's collaborators.

    ``authenticate`` turns a bearer token into an identity, or raises ``Refused("unauthorized", ...)``.
    ``open_api`` true asks for no token at all (``--dev``). ``ready`` returns None, or why this node should
    get no traffic. ``edge_counts`` and ``command_counts`` are running totals by name, for the metrics.
    ``durability`` is what an acknowledged order survives, as last read; None before that.
    """

    hub: Hub
    store: RoomStore
    sales: SaleStore
    claims: ClaimDesk
    authenticate: Callable[[str], Identity]
    open_api: bool
    ready: Callable[[], str | None]
    edge_counts: Callable[[], dict[str, int]]
    command_counts: Callable[[], dict[str, int]] = dict
    durability: Callable[[], Durability | None] = lambda: None
    handoff: Handoff | None = None
