"""The audit: a sale's books derived again from its ledger, and held against what is live.

Pure. The ledger is append-only, and each entry carries the hash of the one before, so a sale that was
oversold, an order that was lost or an entry that was changed cannot pass. Returns sentences, the first fault
first; none means that ledger, sale, orders, limits and waitlist agree.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from liveroom.server.sale.ports import SaleBooks

POOLS = {
    "reserved": "reserved",
    **dict.fromkeys(
        ("placed", "paid", "handed_off", "accepted", "shipped", "completed", "cancel_requested"), "sold"
    ),
    **dict.fromkeys(("expired", "cancelled", "rejected", "refunded"), "left"),
}
"""Where the units of an order are, by its status. The script has the same table; a test holds them together."""


class _Derived:
    """What the ledger says so far."""

    def __init__(self) -> None:
        self.stock = self.left = self.reserved = self.sold = 0
        self.limit: int | None = None
        self.state = ""
        self.begun = False
        self.orders: dict[str, dict[str, Any]] = {}  # by id: status, user, quantity
        self.taken: Counter[str] = Counter()
        self.waiting: list[str] = []  # order ids, in the order they came

    def pool(self, name: str, units: int) -> None:
        setattr(self, name, getattr(self, name) + units)


def audit(books: SaleBooks) -> list[str]:
    """Check a sale; returns its faults."""
    return list(_faults(books))


def _faults(books: SaleBooks) -> Iterator[str]:
    live = msgspec.json.decode(books.sale)
    derived = _Derived()
    chain = str(live["sale"])
    for number, line in enumerate(books.entries, 1):
        told, _, entry = line.partition(b" ")
        chain = hashlib.sha1(chain.encode() + entry, usedforsecurity=False).hexdigest()
        if told.decode() != chain:
            yield f"entry {number}: the chain is broken: an entry was changed, left out or put in"
            return
        step = msgspec.json.decode(entry)
        for fault in _apply(derived, step):
            yield f"entry {number} ({step['what']}): {fault}"
        for name in ("stock", "left", "reserved", "sold"):
            is_, said = getattr(derived, name), step[name]
            if is_ != said:
                yield f"entry {number} ({step['what']}): {name} is told as {said} and derived as {is_}"
                return
        if derived.stock != derived.left + derived.reserved + derived.sold or derived.left < 0:
            yield f"entry {number}: stock {derived.stock} is not left + reserved + sold, or left is below zero"
            return
    if chain != books.chain:
        yield "the ledger ends before the sale's last entry: entries were cut off"
    yield from _live_faults(derived, live, books)


def _apply(d: _Derived, step: dict[str, Any]) -> Iterator[str]:
    """Take one entry in; yields what is wrong with it."""
    what = step["what"]
    if what == "state":
        if not d.begun:
            d.begun, d.stock, d.left = True, step["stock"], step["stock"]
        d.state, d.limit = step["state"], step["limit"]
    elif what == "restock":
        d.stock += step["units"]
        d.left += step["units"]
    elif what == "waitlisted":
        d.waiting.append(step["order"])
    elif what == "passed_over":
        yield from _leave_waitlist(d, step["order"])
    elif what != "refund":
        yield from _apply_order(d, step)


def _apply_order(d: _Derived, step: dict[str, Any]) -> Iterator[str]:
    id, user, units = step["order"], step["user"], step["quantity"]
    to = POOLS[step["what"]]
    order = d.orders.get(id)
    if "from" in step:
        if order is None or order["status"] != step["from"] or order["quantity"] != units:
            yield f"order {id} was not {step['from']} before"
            return
        source = POOLS[step["from"]]
        if step["from"] in ("shipped", "completed") and step["what"] == "refunded":
            to = source
    else:
        if order is not None:
            yield f"order {id} was made twice"
        source = "left"
        d.taken[user] += units
        if d.limit is not None and d.taken[user] > d.limit:
            yield f"user {user} has {d.taken[user]} units and may have {d.limit}"
        if step.get("offered"):
            yield from _leave_waitlist(d, id)
    d.pool(source, -units)
    d.pool(to, units)
    if "from" in step and to == "left" and source != "left":
        d.taken[user] -= units
    d.orders[id] = {"status": step["what"], "user": user, "quantity": units}


def _leave_waitlist(d: _Derived, order: str) -> Iterator[str]:
    if not d.waiting or d.waiting[0] != order:
        yield f"order {order} was offered out of turn"
    if order in d.waiting:
        d.waiting.remove(order)


def _live_faults(d: _Derived, live: dict[str, Any], books: SaleBooks) -> Iterator[str]:
    """Compare what the ledger says with what is live."""
    for name in ("stock", "left", "reserved", "sold", "state"):
        if live[name] != getattr(d, name):
            yield f"the sale's {name} is {live[name]}, and the ledger says {getattr(d, name)}"
    orders = {order["order"]: order for order in map(msgspec.json.decode, books.orders)}
    for id in sorted(orders.keys() | d.orders.keys()):
        is_, said = orders.get(id), d.orders.get(id)
        if is_ is None or said is None:
            yield f"order {id} is {'in the ledger and lost' if is_ is None else 'stored and not in the ledger'}"
        elif any(is_[key] != said[key] for key in ("status", "user", "quantity")):
            yield f"order {id} is stored as {is_['status']} and in the ledger {said['status']}"
    for user in sorted(books.taken.keys() | d.taken.keys()):
        if books.taken.get(user, 0) != d.taken[user]:
            yield f"user {user} is counted with {books.taken.get(user, 0)} units, and the ledger says {d.taken[user]}"
    waiting = [msgspec.json.decode(entry)["order"] for entry in books.waitlist]
    if waiting != d.waiting:
        yield f"the waitlist is {waiting}, and the ledger says {d.waiting}"
