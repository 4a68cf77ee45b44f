"""Events: what a room's log holds. One struct each; ``Event`` is their union, told apart by ``type``.

``comment`` is chatter and may be sampled or skipped; everything else is a fact and never is.
Times are integer ms since the Unix epoch; money is integer minor units with an ISO 4217 code.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SaleState = Literal["scheduled", "open", "paused", "sold_out", "closed", "cancelled"]


class CommentEvent(msgspec.Struct, tag="comment", tag_field="type"):
    """A comment that is shown to the room."""

    comment: str
    user: str
    name: str
    text: str
    at: int


class CommentRemoved(msgspec.Struct, tag="comment_removed", tag_field="type"):
    """A comment was taken back by the host: hide it wherever it is shown."""

    comment: str
    at: int


class Sale(msgspec.Struct, kw_only=True):
    """A flash sale as it stands. ``left`` of ``stock`` units can still be claimed at ``price`` each.

    ``starts_at`` is null until the host opens the sale; ``ends_at`` null means until the host closes it;
    ``per_user_limit`` null means no limit. ``version`` grows with every change.
    """

    sale: str
    sku: str
    state: SaleState
    title: str
    gift: str
    price: int
    currency: str
    stock: int
    left: int
    reserved: int
    sold: int
    per_user_limit: int | None
    starts_at: int | None
    ends_at: int | None
    hold_seconds: int
    orders: int
    waiting: int
    version: int
    at: int


class SaleEvent(Sale, tag="sale", tag_field="type", kw_only=True):
    """A sale was made, opened, paused, resumed, restocked, sold out, closed or cancelled: its new whole."""


class OrderPlaced(msgspec.Struct, tag="order_placed", tag_field="type"):
    """``name`` and ``others`` more placed an order each, for ``quantity`` units in all.

    Over a whole sale, the sum of ``1 + others`` is the number of orders and the sum of ``quantity``
    the number of units sold.
    """

    sale: str
    name: str
    quantity: int
    others: int
    at: int


class Pin(msgspec.Struct, omit_defaults=True):
    """What is pinned above the comments. ``sale`` names a sale of the room; ``url`` and ``image`` are http(s)."""

    title: str
    text: str = ""
    sale: str = ""
    url: str = ""
    image: str = ""


class Pinned(msgspec.Struct, tag="pinned", tag_field="type"):
    """The pinned card changed; null takes it away."""

    pinned: Pin | None
    at: int


class Notice(msgspec.Struct, tag="notice", tag_field="type"):
    """The host tells everyone something."""

    text: str
    level: Literal["info", "warning"]
    at: int


class Custom(msgspec.Struct, tag="custom", tag_field="type"):
    """An event of the platform's own, carried untouched."""

    name: str
    data: Any


class RoomClosed(msgspec.Struct, tag="room_closed", tag_field="type"):
    """The room is over. Nothing follows but ``bye``."""

    at: int


Event = CommentEvent | CommentRemoved | SaleEvent | OrderPlaced | Pinned | Notice | Custom | RoomClosed
EVENT_TYPES = (
    "comment",
    "comment_removed",
    "sale",
    "order_placed",
    "pinned",
    "notice",
    "custom",
    "room_closed",
)
