"""The report, from ledgers written by hand."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from liveroom.server.sale.audit import audit
from liveroom.server.sale.ports import SaleBooks
from liveroom.server.sale.report import MAX_POINTS, report

AT = 1_790_000_000_000


class Ledger:
    """A ledger in the making: of ten units at 100 each, held for 60 s."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.books = {"stock": 10, "left": 10, "reserved": 0, "sold": 0}
        self.chain = "s1"
        self.at = AT
        self.quantities: dict[str, int] = {}

    def state(self, state: str) -> None:
        """The sale became something else."""
        self._enter("state", state=state, version=1, price=100, limit=None)

    def new(self, order: str, quantity: int = 1, *, status: str = "reserved", offered: bool = False) -> None:
        """An order was made."""
        self.quantities[order] = quantity
        self.books["left"] -= quantity
        self.books["reserved" if status == "reserved" else "sold"] += quantity
        more = {"offered": True} if offered else {}
        self._enter(status, order=order, user="u", quantity=quantity, price=100, version=1, **more)

    def move(self, order: str, source: str, status: str, pool: str) -> None:
        """An order moved; ``pool`` is where its units went."""
        quantity = self.quantities[order]
        self.books["reserved" if source == "reserved" else "sold"] -= quantity
        self.books[pool] += quantity
        self._enter(status, order=order, user="u", quantity=quantity, **{"from": source})

    def other(self, what: str, **fields: Any) -> None:
        """Something that moved no units."""
        self._enter(what, **fields)

    def _enter(self, what: str, **fields: Any) -> None:
        entry = msgspec.json.encode({"at": self.at, "what": what, **fields, **self.books})
        self.chain = hashlib.sha1(self.chain.encode() + entry, usedforsecurity=False).hexdigest()
        self.entries.append(self.chain.encode() + b" " + entry)
        self.at += 1000

    def closed(self, **refused: int) -> SaleBooks:
        """The books as the store would hand them."""
        sale = {"sale": "s1", "currency": "EUR", "hold_seconds": 60, "state": "open", **self.books}
        return SaleBooks(msgspec.json.encode(sale), self.chain, self.entries, {}, [], [], refused)


@pytest.fixture
def ledger() -> Ledger:
    """A ledger of a sale that was made, and opened a second later."""
    made = Ledger()
    made.state("scheduled")
    made.state("open")
    return made


def test_nothing_sold(ledger: Ledger) -> None:
    """A sale that nobody came to has zeros, and was never sold out."""
    told = report(ledger.closed(sold_out=0))
    assert (told.units, told.revenue, told.refunded, told.orders) == (0, 0, 0, {})
    assert (told.sold_out_after_ms, told.sell_through) == (None, [(AT, 0)])
    assert (told.now.held, told.now.next_expiry, told.now.waiting) == (0, None, 0)


def test_holds_and_what_became_of_them(ledger: Ledger) -> None:
    """Every hold is paid, expired, cancelled or still held; those held say when they end."""
    for order in "abcde":
        ledger.new(order, 2)
    ledger.move("a", "reserved", "paid", "sold")
    ledger.move("b", "reserved", "expired", "left")
    ledger.move("c", "reserved", "cancelled", "left")
    told = report(ledger.closed())
    assert msgspec.to_builtins(told.holds) == {"made": 5, "expired": 1, "cancelled": 1, "paid": 1}
    assert told.orders == {"cancelled": 1, "expired": 1, "paid": 1, "reserved": 2}
    assert (told.now.held, told.now.held_units) == (2, 4)
    assert (told.now.next_expiry, told.now.last_expiry) == (AT + 5_000 + 60_000, AT + 6_000 + 60_000)
    assert (told.units, told.revenue) == (2, 200)


def test_revenue_and_refunds(ledger: Ledger) -> None:
    """Cancelled orders bring nothing; what was paid back of the others is told beside the revenue."""
    for order in "abc":
        ledger.new(order, 1, status="placed")
    ledger.other("refund", order="a", amount=30)
    ledger.move("a", "placed", "placed", "sold")  # a part was paid back: it stays what it is
    ledger.move("b", "placed", "cancelled", "left")
    ledger.other("refund", order="c", amount=100)
    ledger.move("c", "placed", "refunded", "left")
    told = report(ledger.closed())
    assert (told.units, told.revenue, told.refunded) == (1, 200, 130)
    assert told.holds.made == 0


def test_time_to_sold_out_is_of_the_first_time(ledger: Ledger) -> None:
    """From the first opening to the first sold out, whatever came back later."""
    ledger.new("a", 10)
    ledger.state("sold_out")
    ledger.move("a", "reserved", "expired", "left")
    ledger.state("open")
    ledger.new("b", 10)
    ledger.state("sold_out")
    assert report(ledger.closed()).sold_out_after_ms == 2000


def test_the_waitlist_and_who_paid(ledger: Ledger) -> None:
    """Those who joined were offered, passed over, or wait; of the offers some are paid."""
    for order in "wxyz":
        ledger.other("waitlisted", user="u", quantity=1, order=order)
    ledger.new("w", offered=True)
    ledger.new("x", offered=True)
    ledger.other("passed_over", order="y", user="u")
    ledger.move("w", "reserved", "paid", "sold")
    told = report(ledger.closed())
    assert msgspec.to_builtins(told.waitlist) == {"joined": 4, "offered": 2, "passed_over": 1, "paid": 1}
    assert told.now.waiting == 1


def test_refusals_are_told_by_reason(ledger: Ledger) -> None:
    """The counts that the store keeps are handed on."""
    assert report(ledger.closed(sold_out=7, closed=1)).refused == {"closed": 1, "sold_out": 7}


def test_the_line_has_a_point_for_each_change(ledger: Ledger) -> None:
    """Entries that sold nothing add no point."""
    ledger.new("a", 3, status="placed")
    ledger.other("restock", units=0)
    ledger.new("b", 2, status="placed")
    assert report(ledger.closed()).sell_through == [(AT, 0), (AT + 2000, 3), (AT + 4000, 5)]


def test_a_long_line_is_thinned(ledger: Ledger) -> None:
    """However long a sale, at most 200 points are told, the first and the last among them."""
    ledger.books |= {"stock": 1000, "left": 1000}
    for n in range(900):
        ledger.new(f"o{n}", status="placed")
    line = report(ledger.closed()).sell_through
    assert len(line) == MAX_POINTS
    assert (line[0], line[-1]) == ((AT, 0), (AT + 901_000, 900))
    assert line == sorted(set(line))


def test_the_hand_written_ledger_is_one(ledger: Ledger) -> None:
    """The ledgers of these tests are what the audit takes for sound, but for what is live."""
    ledger.new("a", 2)
    ledger.move("a", "reserved", "paid", "sold")
    assert not [fault for fault in audit(ledger.closed()) if fault.startswith(("entry", "the ledger"))]
