"""The present: the welcome in all four groups, and what state and facts do to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from liveroom.protocol.codec import EMPTY_ARRAY
from liveroom.protocol.events import Sale
from liveroom.protocol.messages import Welcome
from liveroom.server.room.flush import GROUPS, encoding_of
from liveroom.server.room.present import ENDED_SALES_SHOWN, RECENT_COMMENTS, Present
from tests.room.fakes import (
    LIMITS,
    NOW_MS,
    comment,
    comment_removed,
    decode,
    notice,
    pinned,
    room_closed,
    sale,
)

ALL_GROUPS = pytest.mark.parametrize("group", range(GROUPS))


def _present(*, sales: list[bytes] | None = None, state: bytes = b'{"likes":7,"viewers":2}') -> Present:
    present = Present("show", 25_000, LIMITS)
    present.load("e1", False, b'{"title":"Now"}', sales or [], state, NOW_MS)
    return present


def _welcome(present: Present, group: int = 0, *, resumed: bool = False, offset: int = 5) -> dict[str, Any]:
    orders = EMPTY_ARRAY[encoding_of(group)]
    return decode(present.welcome(group, "ann", offset, NOW_MS + 1, resumed, orders), group)


def _stored(id: str, **changes: Any) -> bytes:
    """Make a sale as the store keeps it: the fact without its type."""
    fields = msgspec.json.decode(sale(id, **changes).json)
    del fields["type"]
    return msgspec.json.encode(fields)


# --- welcome ------------------------------------------------------------------------------------------------


@ALL_GROUPS
@pytest.mark.parametrize("resumed", [False, True])
def test_a_welcome_is_one_in_every_group(group: int, resumed: bool) -> None:
    """The joined bytes are a ``Welcome`` with the values that were put in, whatever the encoding."""
    present = _present(
        sales=[_stored("s-1")], state=b'{"likes":7,"viewers":2,"stock":{"s-1":4},"orders":{"s-1":3}}'
    )
    present.apply([comment("c-1"), notice("hello"), comment("c-2"), pinned("A mug")])
    message = _welcome(present, group, resumed=resumed)
    welcome = msgspec.convert(message, Welcome)
    assert (welcome.user, welcome.offset, welcome.now, welcome.resumed) == ("ann", 5, NOW_MS + 1, resumed)
    assert (welcome.room, welcome.epoch, welcome.heartbeat_ms) == ("show", "e1", 25_000)
    assert welcome.orders == []
    assert welcome.limits == LIMITS
    assert (welcome.state.likes, welcome.state.viewers, welcome.state.stock) == (7, 2, {"s-1": 4})
    assert welcome.pinned is not None
    assert welcome.pinned.title == "A mug"
    assert [c.comment for c in welcome.recent] == ([] if resumed else ["c-1", "c-2"])
    (shown,) = welcome.sales
    assert (shown.sale, shown.left, shown.orders) == ("s-1", 4, 3)
    # Strict: nothing the schema does not know, so that the struct is the whole of what is sent.
    assert set(message) == {"type"} | set(Welcome.__struct_fields__)
    assert set(message["sales"][0]) == set(Sale.__struct_fields__)
    assert message == _welcome(present, 0, resumed=resumed)


@ALL_GROUPS
def test_a_long_user_and_many_orders_fit_the_own_part(group: int) -> None:
    """The part that is one viewer's own may be longer than a frame's and a stored block's small lengths."""
    present = _present()
    orders = [{"order": f"o-{n}", "title": "x" * 100} for n in range(700)]
    encoded = msgspec.json.encode(orders) if group < 2 else msgspec.msgpack.encode(orders)
    message = decode(present.welcome(group, "u" * 64, 5, NOW_MS, False, encoded), group)
    assert message["user"] == "u" * 64
    assert message["orders"] == orders


@ALL_GROUPS
def test_the_shared_part_is_made_once_until_something_changes(group: int) -> None:
    """Everyone who joins at one offset shares one object; an event, and new numbers, make another."""
    present = _present()
    present.apply([comment("c-1")])
    made = present._tail(group, False)
    assert present._tail(group, False) is made
    assert present._tail(group, True) is not made
    present.apply([])
    assert present._tail(group, False) is made
    present.set_state(b'{"likes":8,"viewers":2}', NOW_MS + 1)
    assert present._tail(group, False) is made, "what was not sent yet is in no welcome"
    present.take_changes()
    after_state = present._tail(group, False)
    assert after_state is not made
    present.apply([comment("c-2")])
    assert present._tail(group, False) is not after_state
    assert [c["comment"] for c in _welcome(present, group)["recent"]] == ["c-1", "c-2"]


def test_a_load_replaces_everything() -> None:
    """After a load nothing of before is shown."""
    present = _present(sales=[_stored("s-1")])
    present.apply([comment("c-1"), room_closed()])
    assert present.closed
    _welcome(present)
    present.load("e2", False, b"", [_stored("s-2")], b'{"likes":1}', NOW_MS - 5)
    message = _welcome(present)
    assert (message["epoch"], message["pinned"], message["recent"]) == ("e2", None, [])
    assert [shown["sale"] for shown in message["sales"]] == ["s-2"]
    assert message["state"] == {"likes": 1}
    assert not present.closed


# --- facts and comments ---------------------------------------------------------------------------------------


def test_recent_comments_are_bounded_and_the_newest() -> None:
    """A welcome shows the last comments, oldest first."""
    present = _present()
    present.apply([comment(f"c-{n}") for n in range(RECENT_COMMENTS + 7)])
    shown = [c["comment"] for c in _welcome(present)["recent"]]
    assert shown == [f"c-{n}" for n in range(7, RECENT_COMMENTS + 7)]


def test_a_removed_comment_is_shown_to_nobody_who_comes_later() -> None:
    """The fact takes it out of the recent ones, and leaves the others; new ones still come in."""
    present = _present()
    present.apply([comment("c-1"), comment("c-2"), comment("c-3")])
    present.apply([comment_removed("c-2"), comment_removed("no-such"), comment("c-4")])
    assert [c["comment"] for c in _welcome(present)["recent"]] == ["c-1", "c-3", "c-4"]


def test_a_room_that_is_read_shows_its_comments_without_the_removed() -> None:
    """Recalling a log fills the recent comments, and applies nothing else of it."""
    present = _present()
    present.recall([comment("c-1"), pinned("Old"), comment("c-2"), comment_removed("c-1"), room_closed()])
    message = _welcome(present)
    assert [c["comment"] for c in message["recent"]] == ["c-2"]
    assert message["pinned"] == {"title": "Now"}
    assert not present.closed


def test_the_last_pin_is_shown_and_can_be_taken_away() -> None:
    """``pinned`` is what the newest fact says, null included."""
    present = _present()
    present.apply([pinned("One"), pinned("Two")])
    assert _welcome(present)["pinned"] == {"title": "Two"}
    present.apply([pinned(None)])
    assert _welcome(present)["pinned"] is None


def test_a_sale_is_shown_as_it_stands_and_in_the_order_of_making() -> None:
    """A later fact of the same sale replaces it in its place, and its numbers go into the state."""
    present = _present()
    version = present.sales_version
    present.apply([sale("s-1", left=10), sale("s-2", left=5), sale("s-1", left=8, state="paused", version=2)])
    present.take_changes()
    assert [(s["sale"], s["state"], s["left"]) for s in _welcome(present)["sales"]] == [
        ("s-1", "paused", 8),
        ("s-2", "open", 5),
    ]
    assert present.state["stock"] == {"s-1": 8, "s-2": 5}
    assert present.sales_version > version


def test_a_sale_told_by_a_fact_looks_like_one_that_was_read() -> None:
    """Which way this node learned of a sale does not show in the welcome."""
    told = _present()
    told.apply([sale("s-1")])
    assert _welcome(told)["sales"] == _welcome(_present(sales=[_stored("s-1")]))["sales"]


def test_ended_sales_are_bounded_and_live_ones_are_not() -> None:
    """Of the ended sales a welcome shows the newest; one that is live is always shown."""
    present = _present()
    present.apply([sale("live-1")])
    present.apply([sale(f"s-{n}", state="closed") for n in range(ENDED_SALES_SHOWN + 3)])
    present.apply([sale("live-2"), sale("gone", state="cancelled")])
    shown = [s["sale"] for s in _welcome(present)["sales"]]
    assert shown == ["live-1", *(f"s-{n}" for n in range(4, ENDED_SALES_SHOWN + 3)), "live-2", "gone"]


def test_ended_sales_of_a_room_that_is_read_are_bounded_too() -> None:
    """A room with a long past welcomes with the newest of its ended sales from the start."""
    stored = [_stored("live", state="paused"), *(_stored(f"s-{n}", state="closed") for n in range(40))]
    shown = [s["sale"] for s in _welcome(_present(sales=stored))["sales"]]
    assert shown == ["live", *(f"s-{n}" for n in range(40 - ENDED_SALES_SHOWN, 40))]


# --- state ----------------------------------------------------------------------------------------------------


def test_only_what_changed_is_told() -> None:
    """Numbers that stand are not repeated, neither whole keys nor single sales within one."""
    present = _present(state=b'{"likes":7,"viewers":2,"stock":{"s-1":4,"s-2":9}}')
    assert not present.changed
    assert present.set_state(b'{"likes":7,"viewers":3,"stock":{"s-1":3,"s-2":9}}', NOW_MS + 1)
    assert present.take_changes() == {"viewers": 3, "stock": {"s-1": 3}}
    assert not present.changed
    assert present.take_changes() == {}
    assert not present.set_state(b'{"likes":7,"viewers":3,"stock":{"s-1":3,"s-2":9}}', NOW_MS + 2)


def test_a_change_that_was_taken_back_is_not_told() -> None:
    """Conflation: what changed there and back between two passes is no change."""
    present = _present()
    assert present.set_state(b'{"likes":7,"viewers":3}', NOW_MS + 1)
    assert not present.set_state(b'{"likes":7,"viewers":2}', NOW_MS + 2)
    assert present.take_changes() == {}


def test_a_late_state_does_not_replace_a_newer_one() -> None:
    """Numbers told out of order: the newest by the store's clock stay."""
    present = _present()
    present.set_state(b'{"likes":9,"viewers":2}', NOW_MS + 2)
    present.set_state(b'{"likes":8,"viewers":2}', NOW_MS + 1)
    assert present.take_changes() == {"likes": 9}


def test_a_stale_fact_does_not_bring_back_an_old_stock_number() -> None:
    """A sale fact older than the state changes the sale, not its numbers; a newer one changes both."""
    present = _present()
    present.apply([sale("s-1", at=NOW_MS + 1, left=10)])
    present.set_state(b'{"stock":{"s-1":2},"orders":{"s-1":8}}', NOW_MS + 10)
    present.take_changes()
    present.apply([sale("s-1", at=NOW_MS + 5, left=6, orders=4, state="paused")])
    assert present.take_changes() == {}
    (shown,) = _welcome(present)["sales"]
    assert (shown["state"], shown["left"], shown["orders"]) == ("paused", 2, 8)
    present.apply([sale("s-1", at=NOW_MS + 11, left=0, orders=10, state="sold_out")])
    assert present.take_changes() == {"stock": {"s-1": 0}, "orders": {"s-1": 10}}


def test_a_sale_the_numbers_do_not_know_yet_brings_its_own() -> None:
    """A new sale's fact sets its stock even when the last told numbers are newer than the fact."""
    present = _present()
    present.set_state(b'{"stock":{"s-1":2}}', NOW_MS + 10)
    present.apply([sale("s-2", at=NOW_MS + 5, left=6)])
    assert present.state["stock"] == {"s-1": 2, "s-2": 6}


def test_numbers_that_are_gone_are_not_told_and_not_pending_for_ever() -> None:
    """When an ended sale leaves the numbers there is nothing to tell, and nothing stays to be told."""
    present = _present(state=b'{"likes":7,"stock":{"s-1":4,"s-2":9}}')
    present.set_state(b'{"likes":7,"stock":{"s-2":9}}', NOW_MS + 1)
    assert present.take_changes() == {}
    assert not present.changed
    assert _welcome(present)["state"] == {"likes": 7, "stock": {"s-2": 9}}


def test_what_a_welcome_shows_and_the_next_change_fit_together() -> None:
    """A welcome shows the numbers as last sent to everyone, so the next change told is one from these."""
    present = _present()
    present.set_state(b'{"likes":70,"viewers":2}', NOW_MS + 1)
    assert _welcome(present)["state"] == {"likes": 7, "viewers": 2}
    assert present.take_changes() == {"likes": 70}
    assert _welcome(present)["state"] == {"likes": 70, "viewers": 2}
