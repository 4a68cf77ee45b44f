"""What a sale may look like.

Pure. Rules that need the store's clock (an end in the past) or the sale's state stand in the scripts, where
they are decided together with the change.
"""

from __future__ import annotations

import msgspec

from liveroom.server.room.ports import Refused

MAX_STOCK = 1_000_000_000
MAX_PRICE = 1_000_000_000  # minor units; times MAX_QUANTITY still exact in a double, as the scripts compute
MAX_TITLE_CHARS = 200
MAX_SKU_CHARS = 64
MAX_TIME_MS = 4_102_444_800_000  # 2100-01-01: a later time is one in the wrong unit
MIN_TIME_MS = 1_000_000_000_000  # 2001-09-09: an earlier one is in seconds


class SaleDraft(msgspec.Struct, kw_only=True, forbid_unknown_fields=False):
    """A sale to be made. Prices in minor units; times in ms since the Unix epoch.

    ``starts_at`` null: the host opens it. ``ends_at`` null: the host closes it. ``per_user_limit`` null: none.
    """

    sku: str
    title: str
    price: int
    currency: str
    stock: int
    per_user_limit: int | None = None
    starts_at: int | None = None
    ends_at: int | None = None
    hold_seconds: int = 0


def check_draft(draft: SaleDraft) -> None:
    """Refuse a draft that could not be kept.

    :raises Refused: ``invalid``, naming the field and what would be right.
    """
    _check(1 <= len(draft.sku) <= MAX_SKU_CHARS, f"sku has 1 to {MAX_SKU_CHARS} characters")
    _check(
        len(draft.title.strip()) >= 1 and len(draft.title) <= MAX_TITLE_CHARS,
        f"title has 1 to {MAX_TITLE_CHARS} characters",
    )
    _check(0 <= draft.price <= MAX_PRICE, f"price is from 0 to {MAX_PRICE} minor units, not {draft.price}")
    _check(
        len(draft.currency) == 3
        and draft.currency.isascii()
        and draft.currency.isalpha()
        and draft.currency.isupper(),
        "currency is an ISO 4217 code of three capital letters",
    )
    _check(1 <= draft.stock <= MAX_STOCK, f"stock is from 1 to {MAX_STOCK}, not {draft.stock}")
    if draft.per_user_limit is not None:
        _check(
            1 <= draft.per_user_limit <= draft.stock,
            f"per_user_limit is from 1 to the stock of {draft.stock}, or null, not {draft.per_user_limit}",
        )
    for name, at in (("starts_at", draft.starts_at), ("ends_at", draft.ends_at)):
        _check(
            at is None or MIN_TIME_MS <= at <= MAX_TIME_MS, f"{name} is in ms since the Unix epoch, or null"
        )
    if draft.starts_at is not None and draft.ends_at is not None:
        _check(draft.starts_at < draft.ends_at, "ends_at must be after starts_at")
    _check(
        draft.hold_seconds == 0, "hold_seconds is 0: an order is placed at once; holds are not available yet"
    )


def check_restock(units: int) -> None:
    """Refuse to add a number of units that is none.

    :raises Refused: ``invalid``.
    """
    _check(1 <= units <= MAX_STOCK, f"add is from 1 to {MAX_STOCK}, not {units}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused("invalid", otherwise)
