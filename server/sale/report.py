"""The report: what a sale brought, told from its ledger.

Pure. Knows the ledger's entries and nothing of orders as they are stored, so it can be drawn up again from the
books alone and is the same whoever asks. Times are ms since the Unix epoch; money is in minor units.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from liveroom.server.sale.audit import POOLS
from liveroom.server.sale.ports import SaleBooks

MAX_POINTS = 200  # in the line of units sold over time


class HoldsReport(msgspec.Struct, kw_only=True):
    """What became of holds, as counts of orders; those of ``made`` that are in none of the others are held now."""

    made: int
    expired: int
    cancelled: int
    paid: int


class WaitlistReport(msgspec.Struct, kw_only=True):
    """What became of those who waited: they ``joined``, were ``offered`` a hold of their own, and ``paid`` for it.

    ``passed_over``: it was their turn, and they had as much as ``per_user_limit`` allows.
    """

    joined: int
    offered: int
    passed_over: int
    paid: int


class NowReport(msgspec.Struct, kw_only=True):
    """What is still open: ``held`` orders of ``held_units``, which end from ``next_expiry`` to ``last_expiry``."""

    held: int
    held_units: int
    next_expiry: int | None
    last_expiry: int | None
    waiting: int


class SaleReport(msgspec.Struct, kw_only=True):
    """A sale in numbers.

    ``units`` are sold now. ``revenue`` is what the orders that are sold or refunded came to, and ``refunded`` the
    part of it that was paid back; an order that was cancelled or rejected is in neither. ``sell_through`` are
    (time, units sold from then on), at most 200. ``sold_out_after_ms``: from the first opening to the first time
    that nothing was left; null if that never was. ``refused`` counts claims by why the store refused them; those
    that a node answered out of what it knew (see ``sale.known``) cost the store nothing, and are not in it.
    """

    sale: str
    currency: str
    units: int
    stock: int
    orders: dict[str, int]
    revenue: int
    refunded: int
    sell_through: list[tuple[int, int]]
    sold_out_after_ms: int | None
    holds: HoldsReport
    waitlist: WaitlistReport
    refused: dict[str, int]
    now: NowReport


class _Order:
    """An order, as far as the ledger has told it."""

    __slots__ = ("amount", "at", "offered", "quantity", "refunded", "status")

    def __init__(self, step: dict[str, Any]) -> None:
        self.at: int = step["at"]
        self.status: str = step["what"]
        self.quantity: int = step["quantity"]
        self.amount: int = step["price"] * step["quantity"]
        self.offered: bool = step.get("offered", False)
        self.refunded = 0

    @property
    def counts(self) -> bool:
        """Whether it brought money, though some may have been paid back."""
        return POOLS[self.status] == "sold" or self.status == "refunded"


def report(books: SaleBooks) -> SaleReport:
    """Draw up a sale's report. The books are taken to be sound: that is what ``audit`` is for."""
    sale = msgspec.json.decode(books.sale)
    orders: dict[str, _Order] = {}
    steps: Counter[str] = Counter()
    line: list[tuple[int, int]] = []
    opened: int | None = None
    sold_out: int | None = None
    for entry in books.entries:
        step = msgspec.json.decode(entry.partition(b" ")[2])
        steps.update(_count(orders, step))
        if step["what"] == "state":
            if step["state"] == "open" and opened is None:
                opened = step["at"]
            elif step["state"] == "sold_out" and sold_out is None:
                sold_out = step["at"]
        _draw(line, step["at"], step["sold"])
    counted = [order for order in orders.values() if order.counts]
    return SaleReport(
        sale=sale["sale"],
        currency=sale["currency"],
        units=sale["sold"],
        stock=sale["stock"],
        orders=dict(sorted(Counter(order.status for order in orders.values()).items())),
        revenue=sum(order.amount for order in counted),
        refunded=sum(order.refunded for order in counted),
        sell_through=_thinned(line),
        sold_out_after_ms=None if opened is None or sold_out is None else sold_out - opened,
        holds=HoldsReport(
            made=steps["made"], expired=steps["expired"], cancelled=steps["cancelled"], paid=steps["paid"]
        ),
        waitlist=WaitlistReport(
            joined=steps["waitlisted"],
            offered=steps["offered"],
            passed_over=steps["passed_over"],
            paid=steps["offered paid"],
        ),
        refused=dict(sorted(books.refused.items())),
        now=_now(sale, orders, steps),
    )


def _count(orders: dict[str, _Order], step: dict[str, Any]) -> list[str]:
    """Take one entry in; returns what it is to be counted as."""
    what, id = step["what"], step.get("order")
    if what in ("waitlisted", "passed_over"):
        return [what]
    if id is None:
        return []
    if what == "refund":
        orders[id].refunded += step["amount"]
        return []
    if "from" not in step:
        order = orders[id] = _Order(step)
        return ["made"] * (what == "reserved") + ["offered"] * order.offered
    order = orders[id]
    order.status = what
    if step["from"] != "reserved":
        return []
    return [what] + ["offered paid"] * (what == "paid" and order.offered)


def _draw(line: list[tuple[int, int]], at: int, sold: int) -> None:
    """Add a point where the line changes; of one moment the last value stays."""
    if line and line[-1][0] == at:
        line[-1] = (at, sold)
    elif not line or line[-1][1] != sold:
        line.append((at, sold))


def _thinned(line: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return at most ``MAX_POINTS`` of the points, evenly chosen, with the first and the last."""
    if len(line) <= MAX_POINTS:
        return line
    return [line[i * (len(line) - 1) // (MAX_POINTS - 1)] for i in range(MAX_POINTS)]


def _now(sale: dict[str, Any], orders: dict[str, _Order], steps: Counter[str]) -> NowReport:
    held = [order for order in orders.values() if order.status == "reserved"]
    ends = [order.at + sale["hold_seconds"] * 1000 for order in held]
    return NowReport(
        held=len(held),
        held_units=sum(order.quantity for order in held),
        next_expiry=min(ends, default=None),
        last_expiry=max(ends, default=None),
        waiting=steps["waitlisted"] - steps["offered"] - steps["passed_over"],
    )
