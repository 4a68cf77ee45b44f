"""The run-sheet's rules: what a sheet may be, and what is looked at before a start."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.server.room.ports import Refused
from liveroom.server.sale.rules import SaleDraft
from liveroom.server.sale.runsheet import (
    MAX_ITEMS,
    Check,
    RunItem,
    check_sheet,
    keeps_started,
    preflight,
    rehearsed,
    times,
)

NOW = 1_790_000_000_000


def draft(**changes: Any) -> SaleDraft:
    """A sale of ten mugs, with changes."""
    known: dict[str, Any] = {"sku": "mug", "title": "Mug", "price": 1290, "currency": "EUR", "stock": 10}
    return SaleDraft(**known | changes)


def item(name: str = "a", *, delay_s: int = 0, duration_s: int | None = None, **changes: Any) -> RunItem:
    """An item of the sheet."""
    return RunItem(item=name, draft=draft(**changes), delay_s=delay_s, duration_s=duration_s)


def looked(checked: RunItem, *others: RunItem, sales: Any = ()) -> dict[str, Check]:
    """What preflight says, by check."""
    return {check.check: check for check in preflight(checked, [checked, *others], list(sales), NOW)}


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ([item("a b")], "id"),
        ([item("a"), item("a")], "two of the id a"),
        ([item(str(n)) for n in range(MAX_ITEMS + 1)], "at most 100"),
        ([item(price=-1)], "item a: price"),
        ([item(stock=3, per_user_limit=4)], "item a: per_user_limit"),
        ([item(currency="EUX")], "item a: currency"),
        ([item(delay_s=-1)], "item a: delay_s"),
        ([item(duration_s=0)], "item a: duration_s"),
        ([item(duration_s=86_401)], "item a: duration_s"),
        ([item(delay_s=5, starts_at=NOW)], "item a: delay_s"),
        ([item(duration_s=5, ends_at=NOW)], "item a: duration_s"),
        ([item(duration_s=60, hold_seconds=661)], "item a: hold_seconds"),
    ],
)
def test_sheets_that_are_none(items: list[RunItem], named: str) -> None:
    """What could never be started is refused, and the item and the field are named."""
    with pytest.raises(Refused, match=named) as refused:
        check_sheet(items)
    assert refused.value.code == "invalid"


def test_a_sheet() -> None:
    """Items in their order, a hold as long as the sale and its grace among them."""
    check_sheet([item("a", duration_s=60, hold_seconds=660), item("b", delay_s=5), item("c", starts_at=NOW)])


def test_what_was_started_stays() -> None:
    """A started item may be moved, and neither changed nor left out; the others may be anything."""
    before = [item("a"), item("b")]
    assert keeps_started(before, [item("b", price=5), item("a")], {"a": "s1"}) is None
    assert keeps_started(before, [item("a", price=5), item("b")], {"a": "s1"}) == "a"
    assert keeps_started(before, [item("b")], {"a": "s1"}) == "a"


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (item(), (NOW, None)),
        (item(duration_s=60), (NOW, NOW + 60_000)),
        (item(delay_s=10, duration_s=60), (NOW + 10_000, NOW + 70_000)),
        (item(starts_at=NOW - 5, ends_at=NOW + 5), (NOW - 5, NOW + 5)),
        (
            item(starts_at=NOW - 5000, duration_s=60),
            (NOW - 5000, NOW + 60_000),
        ),  # started late: it has its time
    ],
)
def test_times_count_from_the_start(about: RunItem, expected: tuple[int, int | None]) -> None:
    """However late an item is started, it opens and ends as long after as it says."""
    assert times(about, NOW) == expected


def test_a_sound_item_passes() -> None:
    """Every check is well and says what it found."""
    found = looked(item(duration_s=60, per_user_limit=2))
    assert all(check.ok for check in found.values())
    assert list(found) == ["times", "stock", "price", "overlap"]
    assert "60 s" in found["times"].detail
    assert found["stock"].detail == "10 units, at most 2 each"


def test_an_end_that_has_passed() -> None:
    """A draft whose end is over by now cannot be started."""
    assert not looked(item(ends_at=NOW))["times"].ok


@pytest.mark.parametrize(
    ("mine", "theirs", "ok"),
    [
        ({"price": 0}, {"sku": "other"}, False),
        ({"price": 1290}, {"price": 1290}, True),
        ({"price": 1290}, {"price": 990}, True),
        ({"price": 129}, {"price": 1290}, False),
        ({"price": 12_900}, {"price": 1290}, False),
        ({"price": 1290}, {"price": 0}, False),
        ({"currency": "EUR"}, {"currency": "USD"}, False),
        ({"price": 129}, {"price": 1290, "sku": "other"}, True),
    ],
)
def test_prices_that_look_wrong(mine: dict[str, Any], theirs: dict[str, Any], ok: bool) -> None:
    """A price of nothing, in another currency or ten times another item's of the sku is pointed out."""
    assert looked(item("a", **mine), item("b", **theirs))["price"].ok is ok


@pytest.mark.parametrize(
    ("sale", "changes", "ok"),
    [
        ({}, {}, False),
        ({}, {"allow_overlap": True}, True),
        ({"sku": "other"}, {}, True),
        ({"state": "closed"}, {}, True),
        ({"ends_at": NOW}, {}, True),
        ({"starts_at": NOW + 60_000}, {}, True),
        ({"starts_at": NOW + 59_999}, {}, False),
    ],
)
def test_overlap_is_foreseen(sale: dict[str, Any], changes: dict[str, Any], ok: bool) -> None:
    """A sale of the sku that is not over then would refuse the start, and preflight says so before."""
    known = {"sale": "s1", "sku": "mug", "state": "open", "starts_at": NOW - 1, "ends_at": None}
    assert looked(item(duration_s=60, **changes), sales=[known | sale])["overlap"].ok is ok


def test_a_rehearsal_shows_the_sale() -> None:
    """The sale as it would be, without an id."""
    shown = rehearsed(item(duration_s=60), NOW)
    assert (shown.sale, shown.state, shown.left, shown.ends_at) == ("", "open", 10, NOW + 60_000)
    assert rehearsed(item(delay_s=60), NOW).state == "scheduled"
