"""What a sale may look like."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.server.room.ports import Refused
from liveroom.server.sale.rules import (
    MAX_PRICE,
    MAX_SKU_CHARS,
    MAX_STOCK,
    MAX_TIME_MS,
    MAX_TITLE_CHARS,
    MIN_TIME_MS,
    SaleDraft,
    check_draft,
    check_restock,
)

_NOW = 1_790_000_000_000


def _draft(**changes: Any) -> SaleDraft:
    fields: dict[str, Any] = {"sku": "mug", "title": "A mug", "price": 500, "currency": "EUR", "stock": 10}
    return SaleDraft(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sku": "s" * MAX_SKU_CHARS},
        {"title": "t" * MAX_TITLE_CHARS},
        {"price": 0},
        {"price": MAX_PRICE},
        {"currency": "JPY"},
        {"stock": 1},
        {"stock": MAX_STOCK},
        {"per_user_limit": 1},
        {"per_user_limit": 10},
        {"starts_at": MIN_TIME_MS},
        {"ends_at": MAX_TIME_MS},
        {"starts_at": _NOW, "ends_at": _NOW + 1},
    ],
    ids=str,
)
def test_a_sale_within_its_bounds_may_be_made(changes: dict[str, Any]) -> None:
    """Each bound itself is allowed."""
    check_draft(_draft(**changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sku": ""}, "sku"),
        ({"sku": "s" * (MAX_SKU_CHARS + 1)}, "sku"),
        ({"title": ""}, "title"),
        ({"title": " \t"}, "title"),
        ({"title": "t" * (MAX_TITLE_CHARS + 1)}, "title"),
        ({"price": -1}, "price"),
        ({"price": MAX_PRICE + 1}, "price"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "E1R"}, "currency"),
        ({"currency": "ÉUR"}, "currency"),
        ({"stock": 0}, "stock"),
        ({"stock": -1}, "stock"),
        ({"stock": MAX_STOCK + 1}, "stock"),
        ({"per_user_limit": 0}, "per_user_limit"),
        ({"per_user_limit": 11}, "per_user_limit"),
        ({"starts_at": _NOW // 1000}, "starts_at"),
        ({"starts_at": _NOW * 1000}, "starts_at"),
        ({"ends_at": -1}, "ends_at"),
        ({"starts_at": _NOW, "ends_at": _NOW}, "ends_at"),
        ({"starts_at": _NOW, "ends_at": _NOW - 1}, "ends_at"),
        ({"hold_seconds": 86_401}, "hold_seconds"),
        ({"hold_seconds": -1}, "hold_seconds"),
    ],
    ids=str,
)
def test_a_sale_beyond_a_bound_is_refused_by_the_name_of_the_field(
    changes: dict[str, Any], field: str
) -> None:
    """The refusal is ``invalid`` and begins with the field that is wrong."""
    with pytest.raises(Refused, match=f"^{field} ") as refused:
        check_draft(_draft(**changes))
    assert refused.value.code == "invalid"


@pytest.mark.parametrize("units", [1, MAX_STOCK])
def test_a_restock_adds_units(units: int) -> None:
    """From one unit to as many as a sale may have."""
    check_restock(units)


@pytest.mark.parametrize("units", [0, -1, MAX_STOCK + 1])
def test_a_restock_of_nothing_is_refused(units: int) -> None:
    """None, fewer than none, or more than a sale may have."""
    with pytest.raises(Refused) as refused:
        check_restock(units)
    assert refused.value.code == "invalid"
