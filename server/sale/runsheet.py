"""The run-sheet: the sales a host prepares before going live, in order.

Pure. Says what a sheet may be, what is checked before an item is started, and how its sale would look. Rules: an
item has one sale, ever; what was started stays on the sheet as it is. Times of an item count from its start, so
that they are right however late it is started.
"""

from __future__ import annotations

from typing import Any

import msgspec

from liveroom.protocol.events import SaleEvent
from liveroom.protocol.names import is_id
from liveroom.server.room.ports import Refused
from liveroom.server.sale.rules import HOLD_GRACE_S, MAX_TITLE_CHARS, SaleDraft, check_draft

MAX_ITEMS = 100
MAX_NOTES_CHARS = 2000
MAX_WAIT_S = 86_400  # of a delay, and of a duration
SLIPPED = 10  # a price this many times another's of the same article looks like a slipped decimal point


class RunItem(msgspec.Struct, kw_only=True):
    """An item of the sheet: ``draft`` is the sale it starts; ``title`` and ``notes`` are for the host alone.

    ``delay_s``: from the start to the opening. ``duration_s``: from the opening to the end; null for the draft's own
    ``ends_at``. What is given here must be null in the draft.
    """

    item: str
    draft: SaleDraft
    title: str = ""
    notes: str = ""
    delay_s: int = 0
    duration_s: int | None = None


class Check(msgspec.Struct):
    """One thing that was looked at before a start; ``detail`` is a sentence. What was skipped is ok, and says why."""

    check: str
    ok: bool
    detail: str


def check_sheet(items: list[RunItem]) -> None:
    """Refuse a sheet with an item that could never be started.

    :raises Refused: ``invalid``, naming the item.
    """
    if len(items) > MAX_ITEMS:
        raise Refused("invalid", f"items: a run-sheet has at most {MAX_ITEMS}, not {len(items)}")
    seen: set[str] = set()
    for item in items:
        if not is_id(item.item):
            raise Refused("invalid", "items: an item's id has 1 to 64 characters out of A-Z a-z 0-9 _ . -")
        if item.item in seen:
            raise Refused("invalid", f"items: there are two of the id {item.item}")
        seen.add(item.item)
        try:
            check_item(item)
        except Refused as refused:
            raise Refused(refused.code, f"item {item.item}: {refused.message}") from None


def check_item(item: RunItem) -> None:
    """Refuse an item that could never be started.

    :raises Refused: ``invalid``, naming the field.
    """
    draft = item.draft
    check_draft(draft)
    for holds, otherwise in (
        (len(item.title) <= MAX_TITLE_CHARS, f"title has at most {MAX_TITLE_CHARS} characters"),
        (len(item.notes) <= MAX_NOTES_CHARS, f"notes has at most {MAX_NOTES_CHARS} characters"),
        (0 <= item.delay_s <= MAX_WAIT_S, f"delay_s is from 0 to {MAX_WAIT_S}, not {item.delay_s}"),
        (
            item.duration_s is None or 1 <= item.duration_s <= MAX_WAIT_S,
            f"duration_s is from 1 to {MAX_WAIT_S}, or null, not {item.duration_s}",
        ),
        (not item.delay_s or draft.starts_at is None, "delay_s and starts_at are two openings: give one"),
        (item.duration_s is None or draft.ends_at is None, "duration_s and ends_at are two ends: give one"),
        (
            item.duration_s is None or draft.hold_seconds <= item.duration_s + HOLD_GRACE_S,
            f"hold_seconds is at most the sale's length and a grace of {HOLD_GRACE_S}",
        ),
    ):
        if not holds:
            raise Refused("invalid", otherwise)


def keeps_started(before: list[RunItem], after: list[RunItem], started: dict[str, str]) -> str | None:
    """Return the id of an item that was started and is not kept as it was, or None."""
    now = {item.item: item for item in after}
    return next((item.item for item in before if item.item in started and now.get(item.item) != item), None)


def times(item: RunItem, now: int) -> tuple[int, int | None]:
    """Return when the item's sale opens and ends if it is started ``now``; an end of None: the host closes it."""
    starts_at = item.draft.starts_at
    opens = now + item.delay_s * 1000 if starts_at is None else starts_at
    ends = item.draft.ends_at if item.duration_s is None else max(opens, now) + item.duration_s * 1000
    return opens, ends


# --- before a start -----------------------------------------------------------------------------------


def preflight(item: RunItem, items: list[RunItem], sales: list[dict[str, Any]], now: int) -> list[Check]:
    """Look at what can be told without asking anyone: times, stock, price and other sales of the article.

    :param sales: the room's sales as they stand, as maps.
    """
    opens, ends = times(item, now)
    return [
        _times(opens, ends, now),
        _stock(item.draft),
        _price(item, items),
        _overlap(item.draft, opens, ends, sales, now),
    ]


def _times(opens: int, ends: int | None, now: int) -> Check:
    if ends is not None and ends <= max(opens, now):
        return Check(
            "times", False, f"it would end at {ends}, which is not after its opening: give a later end"
        )
    opening = "opens at once" if opens <= now else f"opens {(opens - now) // 1000} s after its start"
    if ends is None:
        return Check("times", True, f"{opening}, and is open until the host closes it")
    return Check("times", True, f"{opening}, and is open for {(ends - max(opens, now)) // 1000} s")


def _stock(draft: SaleDraft) -> Check:
    limit = draft.per_user_limit
    each = "without a limit" if limit is None else f"at most {limit} each"
    return Check("stock", True, f"{draft.stock} units, {each}")


def _price(item: RunItem, items: list[RunItem]) -> Check:
    draft = item.draft
    if draft.price == 0:
        return Check("price", False, "the price is 0: is it meant to be free?")
    for other in items:
        if other.item == item.item or other.draft.sku != draft.sku:
            continue
        theirs = f"item {other.item} of the same sku costs {other.draft.price} {other.draft.currency}"
        if other.draft.currency != draft.currency:
            return Check("price", False, f"the price is in {draft.currency}, but {theirs}")
        high, low = max(draft.price, other.draft.price), min(draft.price, other.draft.price)
        if high >= SLIPPED * low:
            return Check("price", False, f"the price is {draft.price} {draft.currency}, but {theirs}")
    return Check("price", True, f"{draft.price} {draft.currency} in minor units")


def _overlap(draft: SaleDraft, opens: int, ends: int | None, sales: list[dict[str, Any]], now: int) -> Check:
    end = float("inf") if ends is None else ends
    for sale in sales:
        if sale["sku"] != draft.sku or sale["state"] in ("closed", "cancelled"):
            continue
        its_end = sale["ends_at"]
        if (its_end is None or max(opens, now) < its_end) and (sale["starts_at"] or 0) < end:
            told = f"sale {sale['sale']} of the same sku is {sale['state']}"
            if draft.allow_overlap:
                return Check("overlap", True, f"{told}, and allow_overlap is set")
            return Check("overlap", False, f"{told}: close it first, or set allow_overlap")
    return Check("overlap", True, "no other sale of the sku at that time")


def rehearsed(item: RunItem, now: int) -> SaleEvent:
    """Return the sale as viewers would be shown it if the item were started ``now``; it has no id."""
    draft = item.draft
    opens, ends = times(item, now)
    return SaleEvent(
        sale="",
        sku=draft.sku,
        state="open" if opens <= now else "scheduled",
        title=draft.title,
        gift=draft.gift,
        price=draft.price,
        currency=draft.currency,
        stock=draft.stock,
        left=draft.stock,
        reserved=0,
        sold=0,
        per_user_limit=draft.per_user_limit,
        starts_at=opens,
        ends_at=ends,
        hold_seconds=draft.hold_seconds,
        orders=0,
        waiting=0,
        version=0,
        at=now,
    )
