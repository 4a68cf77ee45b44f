"""What a sale may look like.

Pure. Rules that need the store's clock (an end in the past) or the sale's state stand in the scripts, where
they are decided together with the change.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from liveroom.protocol.names import MAX_QUANTITY, is_id
from liveroom.server.room.ports import Refused
from liveroom.server.sale.currencies import CURRENCIES

MAX_STOCK = 1_000_000_000
MAX_PRICE = 1_000_000_000  # minor units; times MAX_QUANTITY still exact in a double, as the scripts compute
MAX_TITLE_CHARS = 200
MAX_SKU_CHARS = 64
MAX_NAME_CHARS = 64
MAX_REFERENCE_CHARS = 128
MAX_HOLD_S = 86_400
HOLD_GRACE_S = 600  # a hold may last this much longer than its sale
MAX_TIME_MS = 4_102_444_800_000  # 2100-01-01: a later time is one in the wrong unit
MIN_TIME_MS = 1_000_000_000_000  # 2001-09-09: an earlier one is in seconds


class SaleDraft(msgspec.Struct, kw_only=True, forbid_unknown_fields=False):
    """A sale to be made. Prices in minor units; times in ms since the Unix epoch.

    ``starts_at`` null: the host opens it. ``ends_at`` null: the host closes it. ``per_user_limit`` null: none.
    ``allow_overlap``: although another sale of this sku is not over by then.
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
    gift: str = ""
    allow_overlap: bool = False


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
    _check_currency(draft.currency)
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
    _check(0 <= draft.hold_seconds <= MAX_HOLD_S, f"hold_seconds is from 0 (placed at once) to {MAX_HOLD_S}")
    _check(len(draft.gift) <= MAX_TITLE_CHARS, f"gift has at most {MAX_TITLE_CHARS} characters")
    if draft.starts_at is not None and draft.ends_at is not None:
        longest = (draft.ends_at - draft.starts_at) // 1000 + HOLD_GRACE_S
        _check(
            draft.hold_seconds <= longest, f"hold_seconds is at most the sale's length and a grace: {longest}"
        )


class SaleChanges(msgspec.Struct, kw_only=True):
    """What is to change in a sale's offer; what is left out stays. Units: as in ``SaleDraft``."""

    title: str | UnsetType = UNSET
    gift: str | UnsetType = UNSET
    price: int | UnsetType = UNSET
    per_user_limit: int | UnsetType | None = UNSET
    starts_at: int | UnsetType | None = UNSET
    ends_at: int | UnsetType | None = UNSET


def check_changes(changes: SaleChanges) -> tuple[tuple[str, str | int], ...]:
    """Return the changes as the store names them; what depends on the sale's state the script decides.

    :raises Refused: ``invalid``.
    """
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    _check(bool(given), "nothing to change was given")
    if "title" in given:
        _check(len(given["title"].strip()) >= 1 and len(given["title"]) <= MAX_TITLE_CHARS, _TITLE)
    if "gift" in given:
        _check(len(given["gift"]) <= MAX_TITLE_CHARS, f"gift has at most {MAX_TITLE_CHARS} characters")
    if "price" in given:
        _check(0 <= given["price"] <= MAX_PRICE, f"price is from 0 to {MAX_PRICE} minor units")
    if given.get("per_user_limit") is not None:
        _check(given["per_user_limit"] >= 1, "per_user_limit is at least 1, or null")
    for name in ("starts_at", "ends_at"):
        at = given.get(name)
        _check(
            at is None or MIN_TIME_MS <= at <= MAX_TIME_MS, f"{name} is in ms since the Unix epoch, or null"
        )
    names = {"per_user_limit": "limit"}
    return tuple((names.get(name, name), "" if value is None else value) for name, value in given.items())


_TITLE = f"title has 1 to {MAX_TITLE_CHARS} characters"


def check_restock(units: int) -> None:
    """Refuse to add a number of units that is none.

    :raises Refused: ``invalid``.
    """
    _check(1 <= units <= MAX_STOCK, f"add is from 1 to {MAX_STOCK}, not {units}")


class ElsewhereDraft(msgspec.Struct, kw_only=True):
    """An order that was placed elsewhere, to be told to the room. ``reference`` is the shop's own number of it.

    ``price`` is of one unit in minor units, with its ``currency``; null and empty: not told. ``sale`` is the sale
    of this room it belongs to, empty for none; that sale's stock and numbers are not touched.
    """

    reference: str
    name: str
    quantity: int
    title: str = ""
    sale: str = ""
    price: int | None = None
    currency: str = ""


def check_elsewhere(draft: ElsewhereDraft) -> None:
    """Refuse an order from elsewhere that cannot be told.

    :raises Refused: ``invalid``, naming the field.
    """
    _check(
        1 <= len(draft.reference) <= MAX_REFERENCE_CHARS and draft.reference.isprintable(),
        f"reference has 1 to {MAX_REFERENCE_CHARS} printable characters",
    )
    _check(
        bool(draft.name.strip()) and len(draft.name) <= MAX_NAME_CHARS,
        f"name has 1 to {MAX_NAME_CHARS} characters",
    )
    _check(1 <= draft.quantity <= MAX_QUANTITY, f"quantity is from 1 to {MAX_QUANTITY}, not {draft.quantity}")
    _check(len(draft.title) <= MAX_TITLE_CHARS, f"title has at most {MAX_TITLE_CHARS} characters")
    _check(not draft.sale or is_id(draft.sale), "sale is the id of a sale of this room")
    _check(
        draft.price is None or 0 <= draft.price <= MAX_PRICE,
        f"price is from 0 to {MAX_PRICE} minor units, or null",
    )
    _check(draft.price is None or bool(draft.currency), "currency: a price needs one")
    if draft.currency:
        _check_currency(draft.currency)


def _check_currency(code: str) -> None:
    _check(
        code in CURRENCIES,
        f"currency is an ISO 4217 code of three capital letters, and {code[:40]!r} is none",
    )


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused("invalid", otherwise)
