"""What bodies and answers look like; the OpenAPI document is made from these and the protocol's structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from liveroom.protocol.events import Pin, SaleEvent, SaleState
from liveroom.protocol.messages import Order
from liveroom.protocol.names import ID_PATTERN
from liveroom.server.ops.durability import Durability
from liveroom.server.sale.runsheet import Check, RunItem

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


class RunSheetBody(msgspec.Struct):
    """A whole run-sheet. ``version`` is the one it replaces; null or left out: whichever there is."""

    items: list[RunItem]
    version: int | None = None


class WebhookBody(msgspec.Struct):
    """A webhook endpoint. ``types`` empty or left out: all. ``secret`` left out: liveroom makes one."""

    url: str
    types: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    secret: str | None = None


class ReplayBody(msgspec.Struct):
    """``after``: a position of the feed; everything after it is delivered again. Empty: what is owed."""

    after: str = ""


class AckBody(msgspec.Struct):
    """Everything up to and with ``after`` has arrived. ``consumer`` tells several readers of the feed apart."""

    after: str
    consumer: str = ""


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
    """A room in numbers. ``viewers`` over all nodes, ``viewers_here`` on the node that answers.

    ``orders_elsewhere`` were placed outside and told to the room; they are in no sale's ``orders``.
    """

    room: str
    epoch: str
    offset: int
    now: int
    closed: bool
    likes: int
    viewers: int
    viewers_here: int
    orders_elsewhere: int
    sales: list[SaleStats]


class AuditAnswer(msgspec.Struct):
    """Whether ledger, sale, orders, limits and waitlist agree; ``faults`` are sentences, the first fault first."""

    sale: str
    ok: bool
    entries: int
    faults: list[str]


class RunItemAnswer(RunItem, kw_only=True):
    """An item of the run-sheet. ``sale`` and its ``state`` are null until it is started."""

    sale: str | None
    state: SaleState | None


class RunSheetAnswer(msgspec.Struct):
    """The run-sheet; ``version`` grows with every change and every start."""

    version: int
    items: list[RunItemAnswer]


class PreflightAnswer(msgspec.Struct):
    """What was looked at before a start; ``ok``: all of it is well."""

    item: str
    ok: bool
    checks: list[Check]


class RehearsalAnswer(msgspec.Struct):
    """The sale as viewers would be shown it; nobody was, and nothing was made."""

    item: str
    dry_run: bool
    sale: SaleEvent
    checks: list[Check]


class SalesPage(msgspec.Struct):
    """Sales in the order they were made."""

    sales: list[SaleEvent]
    next: int | None


class ElsewhereAnswer(msgspec.Struct):
    """An order placed elsewhere, as it was told to the room ``at`` that time."""

    reference: str
    name: str
    quantity: int
    title: str
    sale: str
    price: int | None
    currency: str
    at: int


class OrdersPage(msgspec.Struct):
    """Orders in the order they were placed."""

    orders: list[Order]
    next: int | None


class WebhookAnswer(msgspec.Struct, omit_defaults=True):
    """A webhook endpoint, and how it is.

    ``secrets`` sign now. ``failures`` in a row. ``owed`` are taken up and not delivered, ``set_aside`` of them are not
    tried any more; ``depth`` counts owed and still to come, at most 1000, and ``oldest_age_ms`` is the age of the
    oldest. ``secret`` is there only when liveroom has just made it.
    """

    webhook: str
    url: str
    types: list[str]
    state: Literal["enabled", "parked", "disabled"]
    reason: str
    created_at: int
    secrets: int
    delivered: int
    failures: int
    last_success_at: int | None
    last_failure_at: int | None
    last_failure: str
    paused_until: int | None
    owed: int
    set_aside: int
    depth: int
    oldest_age_ms: int | None
    secret: str | None = None


class WebhooksPage(msgspec.Struct):
    """Webhook endpoints by name; there is always one page."""

    webhooks: list[WebhookAnswer]
    next: int | None


class AttemptAnswer(msgspec.Struct):
    """What came of one attempt. ``status`` 0: there was no answer."""

    ok: bool
    status: int
    detail: str


class HandedOrder(msgspec.Struct):
    """What a supply partner is told: what happened to the order, and the whole order as it stood then."""

    id: str
    type: str
    at: int
    room: str
    order: Order
    status: str


class FeedAnswer(msgspec.Struct):
    """What is handed, in order; ``next`` is what to pass as ``after``, also when there is nothing now."""

    orders: list[HandedOrder]
    next: str


class AckAnswer(msgspec.Struct):
    """How far the consumer is now, and how many orders became ``handed_off`` by this, or were already."""

    consumer: str
    after: str
    handed_off: int


class Ready(msgspec.Struct):
    """That this node is to be sent traffic, and what an order it acknowledges survives; null: not read yet."""

    status: str
    durability: Durability | None


class Status(msgspec.Struct):
    """How the server is."""

    status: str
