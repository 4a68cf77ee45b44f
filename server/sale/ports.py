"""What sales need from the store. Knows shapes only; ``backplane`` implements it."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from liveroom.protocol.commands import CommandId
from liveroom.server.sale.rules import SaleDraft

Action = Literal["read", "open", "pause", "resume", "close", "cancel", "restock"]


class ClaimRequest(NamedTuple):
    """One claim, as the store decides on it. ``order`` is the id the order gets if there is one."""

    user: str
    name: str
    id: CommandId
    quantity: int
    order: str


class ClaimAnswer(NamedTuple):
    """What became of a claim: status (or error code), the order's id or empty, units left after it."""

    status: str
    order: str
    left: int


class Idempotency(NamedTuple):
    """An ``Idempotency-Key`` and a fingerprint of what it was sent with; both empty for none."""

    key: str = ""
    fingerprint: str = ""


NO_KEY = Idempotency()


class OrderPage(NamedTuple):
    """A page of orders as JSON maps, in the order they were placed; ``next`` continues it, None at the end."""

    orders: list[bytes]
    next: int | None


class SaleStore(Protocol):
    """Sales in the store. Calls raise ``Refused`` (``Unavailable`` when the store cannot answer)."""

    async def create_sale(self, room: str, draft: SaleDraft, idempotency: Idempotency) -> bytes:
        """Make a sale; returns it as JSON."""

    async def act(
        self, room: str, sale: str, action: Action, units: int = 0, idempotency: Idempotency = NO_KEY
    ) -> bytes:
        """Change a sale, or read it; returns it as JSON."""

    async def sales(self, room: str, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """List sales in the order they were made, from position ``after``; second: the next position."""

    async def claims(self, room: str, sale: str, requests: list[ClaimRequest]) -> list[ClaimAnswer]:
        """Decide on claims in one call."""

    async def order(self, room: str, order: str) -> bytes | None:
        """Read an order as JSON."""

    async def orders(self, room: str, after: int, limit: int) -> OrderPage:
        """List orders in the order they were placed, from position ``after``."""
