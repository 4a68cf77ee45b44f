"""What a node answers without asking the store, and when it must ask."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from liveroom.server.sale.known import CLOCK_MARGIN_MS, KnownSales, Late

NOW = 1_790_000_000_000


def _told(version: int = 3, **changes: Any) -> bytes:
    sale = {"sale": "s1", "version": version, "state": "sold_out", "starts_at": NOW, "left": 0, "reserved": 0}
    return msgspec.json.encode(sale | changes)


def _knowing(sale: bytes) -> KnownSales:
    known = KnownSales()
    known.hold("show")
    known.sale_told("show", sale)
    return known


def test_a_sale_that_is_sold_out_for_good_needs_no_asking() -> None:
    """Nothing is left and nothing is held: a late claim costs the store nothing."""
    assert _knowing(_told()).answer("show", "s1", "ann", NOW) == Late("sold_out", 0)


@pytest.mark.parametrize(
    "changes",
    [{"reserved": 1}, {"left": 1}, {"state": "open"}, {"state": "paused"}, {"state": "closed"}],
    ids=str,
)
def test_whatever_may_still_sell_is_asked_of_the_store(changes: dict[str, Any]) -> None:
    """A hold may come back, and an open sale may have units."""
    assert _knowing(_told(**changes)).answer("show", "s1", "ann", NOW) is None


def test_a_claim_long_before_the_opening_is_told_how_long() -> None:
    """Near the opening the store's clock decides."""
    known = _knowing(_told(state="scheduled", left=5, starts_at=NOW + 5000))
    assert known.answer("show", "s1", "ann", NOW) == Late("not_open", 5, 5000)
    assert known.answer("show", "s1", "ann", NOW + 5000 - CLOCK_MARGIN_MS) is None


def test_who_may_have_an_order_is_always_sent_to_the_store() -> None:
    """Asking again must have the same answer, also after the sale has sold out."""
    known = _knowing(_told())
    known.buyer_told("show", "ann")
    assert known.answer("show", "s1", "ann", NOW) is None
    assert known.answer("show", "s1", "bob", NOW) is not None


def test_a_restock_ends_local_answers_and_an_older_fact_does_not_bring_them_back() -> None:
    """The version decides, not the order in which a sale is told."""
    known = _knowing(_told(3))
    known.sale_told("show", _told(4, state="open", left=2))
    known.sale_told("show", _told(3))
    assert known.answer("show", "s1", "ann", NOW) is None


def test_a_room_that_is_not_held_is_not_known() -> None:
    """Before a room is held, and after it was forgotten, everything is asked."""
    known = KnownSales()
    known.sale_told("show", _told())
    assert known.answer("show", "s1", "ann", NOW) is None
    known = _knowing(_told())
    known.forget("show")
    assert known.answer("show", "s1", "ann", NOW) is None
