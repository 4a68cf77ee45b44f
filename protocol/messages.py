"""Messages: what a viewer receives. One struct each; ``Message`` is their union, told apart by ``type``.

The server writes ``welcome`` and ``batch`` by joining bytes it already has (see ``codec``); the structs
here are their schema, used by clients and by the tests that hold both together.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from liveroom.protocol.commands import CommandId
from liveroom.protocol.events import CommentEvent, Event, Pin, Sale

ClaimStatus = Literal["reserved", "sold_out", "waitlisted", "limit_reached", "not_open", "closed"]
OrderStatus = Literal[
    "reserved",
    "placed",
    "paid",
    "handed_off",
    "accepted",
    "rejected",
    "shipped",
    "completed",
    "expired",
    "cancelled",
    "cancel_requested",
    "refunded",
]


class State(msgspec.Struct, omit_defaults=True):
    """Numbers of the room, last value wins. In a batch, only what changed is present.

    ``likes``: total since the room was made. ``viewers``: connected now, over all nodes.
    ``stock``: units left by sale. ``orders``: orders placed by sale.
    """

    likes: int | UnsetType = UNSET
    viewers: int | UnsetType = UNSET
    stock: dict[str, int] | UnsetType = UNSET
    orders: dict[str, int] | UnsetType = UNSET


class Limits(msgspec.Struct):
    """What this server accepts from one viewer. Rates are per second, bursts in messages."""

    message_bytes: int
    messages_per_s: float
    messages_burst: int
    comment_chars: int
    comments_per_s: float
    comments_burst: int
    likes_per_message: int
    like_messages_per_s: float


class Order(msgspec.Struct, kw_only=True):
    """An order under the offer it was made with. ``amount`` = ``price`` x ``quantity``, minor units."""

    order: str
    sale: str
    user: str
    name: str
    quantity: int
    status: OrderStatus
    title: str
    gift: str
    price: int
    amount: int
    refunded: int
    currency: str
    version: int
    expires_at: int | None
    offered: bool
    at: int
    changed_at: int


class Welcome(msgspec.Struct, tag="welcome", tag_field="type", kw_only=True):
    """The room as it stands at ``offset``; sent on join, and again whenever a client must start afresh.

    With ``resumed`` true nothing was missed that does not follow in batches, and ``recent`` is empty.
    With ``resumed`` false the client forgets what it held and takes this instead.
    """

    user: str
    offset: int
    now: int
    resumed: bool
    orders: list[Order]
    room: str
    epoch: str
    heartbeat_ms: int
    state: State
    sales: list[Sale]
    pinned: Pin | None
    recent: list[CommentEvent]
    limits: Limits


class Skipped(msgspec.Struct):
    """What was left out of this batch because the viewer lagged."""

    comments: int


class Batch(msgspec.Struct, tag="batch", tag_field="type", omit_defaults=True):
    """Events in log order. ``offset`` is after this batch: the one before + events + skipped comments."""

    now: int
    offset: int
    events: list[Event]
    state: State | UnsetType = UNSET
    skipped: Skipped | UnsetType = UNSET


class Ack(msgspec.Struct, tag="ack", tag_field="type", omit_defaults=True, gc=False):
    """The answer to a command. ``comment`` and ``shown`` answer a comment, the rest a claim."""

    id: CommandId
    shown: bool | UnsetType = UNSET
    comment: str | UnsetType = UNSET
    status: ClaimStatus | UnsetType = UNSET
    order: str | UnsetType = UNSET
    expires_at: int | UnsetType | None = UNSET
    left: int | UnsetType = UNSET
    position: int | UnsetType = UNSET
    opens_in_ms: int | UnsetType = UNSET


class Error(msgspec.Struct, tag="error", tag_field="type", omit_defaults=True, gc=False):
    """A command, or a message that was none, was refused; see ``errors.ERRORS`` for the codes."""

    code: str
    message: str
    id: CommandId | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class OrderMessage(Order, tag="order", tag_field="type", kw_only=True):
    """The buyer's own order changed; sent to all the buyer's connections in the room."""


class Pong(msgspec.Struct, tag="pong", tag_field="type", gc=False):
    """The answer to ``ping``. ``now`` is the server's clock, ms since the Unix epoch."""

    t: int | float
    now: int


class Bye(msgspec.Struct, tag="bye", tag_field="type", gc=False):
    """The server is about to close. Come back after ``reconnect_after_ms``, or not at all when null."""

    code: str
    message: str
    reconnect_after_ms: int | None


Message = Welcome | Batch | Ack | Error | OrderMessage | Pong | Bye
MESSAGE_TYPES = ("welcome", "batch", "ack", "error", "order", "pong", "bye")
