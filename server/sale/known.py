"""What this node knows of sales without asking: sold out, and not open yet.

Pure. A million late claims must cost the store nothing. Rules: an answer given here is one the store would have
given at this moment or a moment ago; a sale's newer version replaces what is known at once; whoever may have an
order of the sale is always sent to the store, since asking again must have the same answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

# Near its opening a sale is asked of the store, whose clock decides; this process's idea of it may be off by this.
CLOCK_MARGIN_MS = 250


class Late(NamedTuple):
    """An answer that needs no store: the status, units left, and for ``not_open`` the time until it opens, ms."""

    status: str
    left: int
    opens_in_ms: int | None = None


class _Sale(NamedTuple):
    version: int
    state: str
    starts_at: int | None
    left: int
    reserved: int


class KnownSales:
    """Sales of the rooms this node holds, as last told, and who has orders there."""

    def __init__(self) -> None:
        self._sales: dict[str, dict[str, _Sale]] = {}
        self._buyers: dict[str, set[str]] = {}

    def hold(self, room: str) -> None:
        """Begin to know a room, whose facts and orders are told from now on."""
        self._sales[room] = {}
        self._buyers[room] = set()

    def forget(self, room: str) -> None:
        """Know nothing of a room that is no longer held."""
        self._sales.pop(room, None)
        self._buyers.pop(room, None)

    def sale_told(self, room: str, json: bytes) -> None:
        """Take in a sale as it now stands, as JSON; an older version changes nothing."""
        sales = self._sales.get(room)
        if sales is None:
            return
        sale: dict[str, Any] = msgspec.json.decode(json)
        before = sales.get(sale["sale"])
        if before is None or sale["version"] >= before.version:
            sales[sale["sale"]] = _Sale(
                sale["version"], sale["state"], sale["starts_at"], sale["left"], sale["reserved"]
            )

    def buyer_told(self, room: str, user: str) -> None:
        """Note that a user has, or had, an order in a room."""
        buyers = self._buyers.get(room)
        if buyers is not None:
            buyers.add(user)

    def answer(self, room: str, sale: str, user: str, now: int) -> Late | None:
        """Return the answer to a claim if the store need not be asked.

        :param now: the store's clock as this process knows it, ms since the Unix epoch.
        """
        known = self._sales.get(room, {}).get(sale)
        if known is None or user in self._buyers[room]:
            return None
        if known.state == "sold_out" and known.left == 0 and known.reserved == 0:
            return Late("sold_out", 0)
        if known.state == "scheduled" and known.starts_at is not None:
            opens_in = known.starts_at - now
            if opens_in > CLOCK_MARGIN_MS:
                return Late("not_open", known.left, opens_in)
        return None
