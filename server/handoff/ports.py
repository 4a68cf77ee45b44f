"""What the hand-off needs from the store, and the shapes of what is handed. ``backplane`` implements it.

A position is where an item stands in the platform's outbox: "<ms>-<number>", rising, opaque to partners.
Times are ms since the Unix epoch, by the store's clock.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, Protocol

import msgspec

TYPES = ("order.placed", "order.paid", "order.cancelled", "order.cancel_requested", "order.refunded")
HANDS_OFF = ("order.placed", "order.paid")  # delivered: the order is the partner's from then on
WebhookState = Literal["enabled", "parked", "disabled"]
START = "0-0"
_POSITION = re.compile(r"[0-9]{1,15}-[0-9]{1,15}", re.ASCII)


def place_of(position: str) -> tuple[int, int]:
    """Return a position as what compares.

    :raises ValueError: it is none.
    """
    if not _POSITION.fullmatch(position):
        raise ValueError("not a position")
    ms, number = position.split("-")
    return int(ms), int(number)


class Item(NamedTuple):
    """One thing to be handed. ``order_json`` is the whole order as it stood then."""

    position: str
    type: str
    at: int
    room: str
    order: str
    status: str
    order_json: bytes

    @property
    def id(self) -> str:
        """The id a receiver tells repetitions by; without a full stop, as the signature scheme asks."""
        return f"msg_{self.position}"

    def json(self) -> bytes:
        """Return it as partners are given it."""
        return msgspec.json.encode(
            {
                "id": self.id,
                "type": self.type,
                "at": self.at,
                "room": self.room,
                "order": msgspec.Raw(self.order_json),
                "status": self.status,
            }
        )


class Secret(msgspec.Struct, frozen=True):
    """A signing secret; ``until`` is when it stops signing, None for the current one. Never logged."""

    secret: str
    until: int | None = None

    def __repr__(self) -> str:
        """Hide it: what is printed ends up in logs."""
        return f"Secret(..., until={self.until})"


class Webhook(NamedTuple):
    """An endpoint, and how it is. ``types`` empty: all.

    ``generation`` rises with every change from outside. ``failures`` in a row; ``owed`` are taken up and not
    delivered, ``set_aside`` of them not tried any more; ``depth`` counts owed and not yet taken up (to
    ``MAX_DEPTH``); ``oldest_at`` is the time of the oldest of them.
    """

    webhook: str
    url: str
    types: tuple[str, ...]
    secrets: tuple[Secret, ...]
    state: WebhookState
    reason: str
    generation: str
    created_at: int
    delivered: int = 0
    failures: int = 0
    rounds: int = 0
    pause_until: int = 0
    last_success_at: int | None = None
    last_failure_at: int | None = None
    last_failure: str = ""
    owed: int = 0
    set_aside: int = 0
    depth: int = 0
    oldest_at: int | None = None


MAX_DEPTH = 1000


class Owing(NamedTuple):
    """How far the delivery of one item has come: failed attempts, when the first was, when the next is due."""

    attempts: int = 0
    first_at: int = 0
    next_at: int = 0
    set_aside: bool = False


class Seen(NamedTuple):
    """An endpoint, looked at in passing. ``holder`` is the node that has it, empty for none."""

    webhook: str
    generation: str
    state: WebhookState
    holder: str


class Look(NamedTuple):
    """The outbox's last position, and the endpoints."""

    last: str
    webhooks: list[Seen]


class Claimed(NamedTuple):
    """An endpoint that is this node's to deliver now, and what it is owed, in order."""

    webhook: Webhook
    owed: list[tuple[Item, Owing]]


class Taken(NamedTuple):
    """New items for an endpoint; ``looked`` of the outbox were looked at for them."""

    items: list[Item]
    looked: int


class FeedPage(NamedTuple):
    """Items after ``start``. ``last`` is the outbox's last position."""

    start: str
    last: str
    items: list[Item]


class OutboxStore(Protocol):
    """The outbox and the endpoints in the store. Calls raise ``Unavailable`` when it cannot answer.

    What a node does for an endpoint (``keep``, ``take``, ``settle``) takes effect only as long as the node
    has the endpoint's lease and no one has changed the endpoint since: else None or False.
    """

    def now_ms(self) -> int:
        """Return the store's clock."""

    async def look(self) -> Look:
        """Look at all endpoints in passing."""

    async def webhooks(self, only: str = "") -> list[Webhook]:
        """Read endpoints by name, with their health; ``only`` one."""

    async def change(
        self, webhook: str, expected: str, fields: dict[str, str], *, revive: bool, after: str = ""
    ) -> bool:
        """Make (``expected`` empty) or change an endpoint if its generation is still ``expected``.

        :param revive: everything owed is due at once, and counts as never tried.
        :param after: a position; everything after it is delivered again.
        """

    async def delete(self, webhook: str) -> bool:
        """Remove an endpoint; tells whether there was one."""

    async def claim(self, webhook: str, node: str, lease_ms: int) -> Claimed | None:
        """Take an endpoint for a node, if it is enabled and no other node has it."""

    async def keep(self, webhook: str, node: str, generation: str, lease_ms: int) -> bool:
        """Prolong the lease."""

    async def release(self, webhook: str, node: str) -> None:
        """Give an endpoint back."""

    async def take(
        self, webhook: str, node: str, generation: str, count: int, types: tuple[str, ...]
    ) -> Taken | None:
        """Take up the next items of the outbox: from now on the endpoint is owed them."""

    async def settle(
        self,
        webhook: str,
        node: str,
        generation: str,
        position: str,
        owing: Owing | None,
        fields: dict[str, str],
    ) -> bool:
        """Write down what came of an attempt: ``owing`` None, it was delivered; and the endpoint's fields."""

    async def page(self, after: str, consumer: str, limit: int) -> FeedPage:
        """Read the feed after a position; empty: after what ``consumer`` has acknowledged, or the start."""

    async def acknowledged(self, consumer: str) -> str:
        """Return how far a consumer of the feed has acknowledged."""

    async def acknowledge(self, consumer: str, position: str) -> str:
        """Note that a consumer has everything up to a position; returns how far it has acknowledged now."""

    async def forget(self, consumer: str) -> bool:
        """Forget a consumer of the feed, so that nothing is kept for it; tells whether there was one."""

    async def trim(self, keep_ms: int) -> int:
        """Drop items older than this which everyone has; returns how many."""
