"""What bodies and answers look like; the OpenAPI document is made from these and the protocol's structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from liveroom.protocol.events import Pin, SaleEvent, SaleState
from liveroom.protocol.messages import Order
from liveroom.protocol.names import ID_PATTERN

MAX_TITLE_CHARS = 200
MAX_NOTICE_CHARS = 500
MAX_PIN_TEXT_CHARS = 500
MAX_URL_CHARS = 2048
MAX_EVENTS = 100
MAX_DATA_BYTES = 16 * 1024
MAX_DATA_DEPTH = 32

Title = Annotated[str, msgspec.Meta(max_length=MAX_TITLE_CHARS)]

# --- bodies -------------------------------------------------------------------------------------------


class RoomBody(msgspec.Struct):
    """A room to be made or renamed. Without ``title``, the title of a room that exists stays."""

    title: Title | None = None


class CustomBody(msgspec.Struct, tag="custom", tag_field="type"):
    """An event of the platform's own: ``data`` has at most 16 KiB of JSON, nested at most 32 deep."""

    name: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{ID_PATTERN}$"})]
    data: Any


class NoticeBody(msgspec.Struct, tag="notice", tag_field="type"):
    """Something the host tells everyone."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_NOTICE_CHARS)]
    level: Literal["info", "warning"] = "info"


EventBody = CustomBody | NoticeBody


class EventsBody(msgspec.Struct):
    """Several events, which stand next to each other in the log."""

    events: Annotated[list[EventBody], msgspec.Meta(min_length=1, max_length=MAX_EVENTS)]


class RestockBody(msgspec.Struct):
    """``add`` units come into stock."""

    add: int


class RefundBody(msgspec.Struct):
    """``amount`` in minor units; null or left out: all that is not refunded yet."""

    amount: int | None = None


# --- answers ------------------------------------------------------------------------------------------


class Offset(msgspec.Struct):
    """Where in the room's log the last of the events stands."""

    offset: int


class PinnedAnswer(msgspec.Struct):
    """What is pinned now, and where in the log that stands."""

    pinned: Pin | None
    offset: int


class SaleStats(msgspec.Struct):
    """A sale in numbers. ``left`` of ``stock`` units are unsold; ``orders`` were placed."""

    sale: str
    state: SaleState
    title: str
    stock: int
    left: int
    orders: int


class Stats(msgspec.Struct):
    """A room in numbers. ``viewers`` over all nodes, ``viewers_here`` on the node that answers."""

    room: str
    epoch: str
    offset: int
    now: int
    closed: bool
    likes: int
    viewers: int
    viewers_here: int
    sales: list[SaleStats]


class OfSale(msgspec.Struct):
    """Which sale an order belongs to."""

    sale: str


class AuditAnswer(msgspec.Struct):
    """Whether ledger, sale, orders, limits and waitlist agree; ``faults`` are sentences, the first fault first."""

    sale: str
    ok: bool
    entries: int
    faults: list[str]


class SalesPage(msgspec.Struct):
    """Sales in the order they were made."""

    sales: list[SaleEvent]
    next: int | None


class OrdersPage(msgspec.Struct):
    """Orders in the order they were placed."""

    orders: list[Order]
    next: int | None


class Status(msgspec.Struct):
    """How the server is."""

    status: str
