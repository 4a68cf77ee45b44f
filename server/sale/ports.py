"""What sales need from the store. Knows shapes only; ``backplane`` implements it."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from liveroom.protocol.commands import CommandId
from liveroom.server.sale.rules import ElsewhereDraft, SaleDraft

Action = Literal["read", "open", "pause", "pause_clock", "resume", "close", "cancel", "restock", "change"]
OrderAction = Literal[
    "pay",
    "cancel_mine",
    "cancel",
    "refund",
    "hand_off",
    "accept",
    "reject",
    "ship",
    "complete",
    "accept_cancel",
    "refuse_cancel",
]


class ClaimRequest(NamedTuple):
    """One claim, as the store decides on it. ``order`` is the id the order gets if there is one."""

    user: str
    name: str
    id: CommandId
    quantity: int
    order: str


class ClaimAnswer(NamedTuple):
    """What became of a claim.

    ``status`` (or an error code), the order's id or empty, units left after it, until when it is held (ms since
    the Unix epoch; None when there is nothing to pay first), and the place in the waitlist, from 1, or 0.
    """

    status: str
    order: str
    left: int
    expires_at: int | None = None
    position: int = 0


class ClaimAnswers(NamedTuple):
    """The answers to one call's claims, in order, and when the sale changes next by the clock."""

    answers: list[ClaimAnswer]
    due: int | None


class SaleBooks(NamedTuple):
    """A sale's ledger and what it must agree with: what ``audit`` holds against each other.

    ``entries`` are b"<hash> <JSON>", oldest first; ``chain`` the last hash; ``taken`` units by user; ``orders``
    those the ledger names, as JSON; ``refused`` how many claims the store refused, by status.
    """

    sale: bytes
    chain: str
    entries: list[bytes]
    taken: dict[str, int]
    waitlist: list[bytes]
    orders: list[bytes]
    refused: dict[str, int]


class Keeping(NamedTuple):
    """How the store is set up to keep what it acknowledged; None where it does not tell.

    ``appendfsync`` and ``policy`` are in Redis's words; ``replicas`` are connected now.
    """

    appendonly: bool | None = None
    appendfsync: str | None = None
    policy: str | None = None
    replicas: int | None = None
    min_replicas: int | None = None


class Idempotency(NamedTuple):
    """An ``Idempotency-Key`` and a fingerprint of what it was sent with; both empty for none."""

    key: str = ""
    fingerprint: str = ""


NO_KEY = Idempotency()


class OrderPage(NamedTuple):
    """A page of orders as JSON maps, in the order they were placed; ``next`` continues it, None at the end."""

    orders: list[bytes]
    next: int | None


class SheetItem(NamedTuple):
    """Which item of the run-sheet a sale is of, as the sheet's ``version`` has it. Times in ms from the start."""

    item: str
    version: int
    delay_ms: int
    duration_ms: int | None


class Sheet(NamedTuple):
    """A room's run-sheet: ``items`` as JSON, and the sales of those that were started. Version 0: none yet."""

    version: int
    items: bytes
    started: dict[str, str]


class SaleStore(Protocol):
    """Sales in the store. Calls raise ``Refused`` (``Unavailable`` when the store cannot answer)."""

    async def create_sale(self, room: str, draft: SaleDraft, idempotency: Idempotency) -> bytes:
        """Make a sale; returns it as JSON."""

    async def start_item(self, room: str, item: SheetItem, draft: SaleDraft) -> bytes | None:
        """Make the sale of an item, or find the one it has; None: the sheet is of another version by now."""

    async def sheet(self, room: str) -> Sheet:
        """Read the room's run-sheet."""

    async def put_sheet(self, room: str, items: bytes, version: int) -> int | None:
        """Replace ``version`` of the run-sheet; returns the new version, None if it is of another by now."""

    async def act(
        self,
        room: str,
        sale: str,
        action: Action,
        units: int = 0,
        idempotency: Idempotency = NO_KEY,
        changes: tuple[tuple[str, str | int], ...] = (),
    ) -> bytes:
        """Change a sale, or read it; returns it as JSON. ``changes`` are fields of the offer (``change``)."""

    async def sales(self, room: str, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """List sales in the order they were made, from position ``after``; second: the next position."""

    async def claims(self, room: str, sale: str, requests: list[ClaimRequest]) -> ClaimAnswers:
        """Decide on claims in one call."""

    async def act_on_order(
        self,
        room: str,
        order: str,
        action: OrderAction,
        *,
        buyer: str = "",
        amount: int | None = None,
        idempotency: Idempotency = NO_KEY,
    ) -> bytes:
        """Move an order; returns it as JSON.

        :param buyer: only if the order is this user's; empty for the platform and the partner.
        :param amount: minor units to refund; None for all that is not refunded yet.
        :raises Refused: ``unknown_order``, ``wrong_state`` naming the state, or ``invalid``.
        """

    async def order_elsewhere(self, room: str, draft: ElsewhereDraft, idempotency: Idempotency) -> bytes:
        """Tell the room of an order that was placed elsewhere; returns it as JSON.

        :raises Refused: ``unknown_room``, ``room_closed``, ``unknown_sale``, or ``id_reused`` for a reference that
            was another order's.
        """

    async def ledger(self, room: str, sale: str) -> SaleBooks:
        """Read a sale's ledger, and what it must agree with."""

    async def keeping(self) -> Keeping:
        """Read how the store is set up to keep what it acknowledged."""

    async def order(self, room: str, order: str) -> bytes | None:
        """Read an order as JSON."""

    async def orders(self, room: str, after: int, limit: int) -> OrderPage:
        """List orders in the order they were placed, from position ``after``."""
