"""Orders through the API: the whole order life, and every move that is not legal."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.server.backplane import keys
from liveroom.server.room.ports import Refused
from liveroom.server.sale.ports import ClaimRequest
from tests.api.conftest import Api


async def held(api: Api, *users: str, **changes: Any) -> None:
    """Make an open sale with holds, and one held order of each user: ``o-<user>``."""
    await api.make_room()
    await api.make_sale(starts_at=1_700_000_000_000, hold_seconds=600, **changes)
    requests = [ClaimRequest(user, user.title(), 1, 2, f"o-{user}") for user in users]
    answers, _ = await api.context.sales.claims(api.room, "s1", requests)
    assert all(answer.status in ("reserved", "waitlisted") for answer in answers)


async def move(api: Api, order: str, *actions: str) -> Any:
    """Move an order by several actions; returns it."""
    answered = None
    for action in actions:
        answered = await api.call("POST", f"orders/{order}/{action}")
        assert answered.status == 200, answered.json
    assert answered is not None
    return answered.json


async def audit_is_clean(api: Api) -> None:
    """The books agree."""
    answered = await api.call("GET", "sales/s1/audit")
    assert answered.json["faults"] == []
    assert answered.json["ok"] is True


async def test_an_order_goes_its_whole_way(api: Api) -> None:
    """Held, paid, handed off, accepted, shipped, completed; the books agree at the end."""
    await held(api, "ana")
    done = await move(api, "o-ana", "pay", "hand_off", "accept", "ship", "complete")
    assert (done["status"], done["expires_at"]) == ("completed", None)
    await audit_is_clean(api)


@pytest.mark.parametrize(
    ("actions", "status", "left"),
    [
        (["cancel"], "cancelled", 10),
        (["pay", "cancel"], "cancelled", 10),
        (["pay", "hand_off", "cancel"], "cancel_requested", 8),
        (["pay", "hand_off", "cancel", "accept_cancel"], "cancelled", 10),
        (["pay", "hand_off", "cancel", "refuse_cancel"], "accepted", 8),
        (["pay", "hand_off", "reject"], "rejected", 10),
        (["pay", "refund"], "refunded", 10),
        (["pay", "hand_off", "ship", "refund"], "refunded", 8),
    ],
)
async def test_units_come_back_where_the_rule_says_so(
    api: Api, actions: list[str], status: str, left: int
) -> None:
    """Cancelled and rejected orders, and refunds before shipping, give their units back."""
    await held(api, "ana")
    moved = await move(api, "o-ana", *actions)
    assert moved["status"] == status
    assert (await api.call("GET", "sales/s1")).json["left"] == left
    await audit_is_clean(api)


@pytest.mark.parametrize(
    ("before", "action", "state"),
    [
        ([], "ship", "reserved"),
        ([], "refund", "reserved"),
        (["cancel"], "pay", "cancelled"),
        (["pay", "refund"], "cancel", "refunded"),
        (["pay"], "accept", "paid"),
        (["pay", "hand_off", "ship"], "cancel", "shipped"),
    ],
)
async def test_an_illegal_move_is_refused_with_the_state(
    api: Api, before: list[str], action: str, state: str
) -> None:
    """409 wrong_state, naming what the order is."""
    await held(api, "ana")
    if before:
        await move(api, "o-ana", *before)
    refused = await api.call("POST", f"orders/o-ana/{action}")
    assert (refused.status, refused.code) == (409, "wrong_state")
    assert state in refused.json["detail"]


async def test_a_move_that_was_made_is_not_made_again(api: Api) -> None:
    """Paying twice answers the same order and takes nothing."""
    await held(api, "ana")
    first = await move(api, "o-ana", "pay")
    assert await move(api, "o-ana", "pay") == first
    await audit_is_clean(api)


async def test_a_refund_is_at_most_what_was_paid(api: Api) -> None:
    """Partial refunds add up to the amount, and not beyond it."""
    await held(api, "ana")
    await move(api, "o-ana", "pay")
    part = await api.call("POST", "orders/o-ana/refund", {"amount": 1000})
    assert (part.json["status"], part.json["refunded"]) == ("paid", 1000)
    above = await api.call("POST", "orders/o-ana/refund", {"amount": 1581})
    assert (above.status, above.code) == (400, "invalid")
    rest = await api.call("POST", "orders/o-ana/refund")
    assert (rest.json["status"], rest.json["refunded"]) == ("refunded", 2580)
    await audit_is_clean(api)


async def test_an_unknown_order_and_an_unknown_action_are_told_apart(api: Api) -> None:
    """404 unknown_order, and 404 not_found naming the actions there are."""
    await held(api, "ana")
    assert (await api.call("POST", "orders/o-bob/pay")).code == "unknown_order"
    assert (await api.call("POST", "orders/o-ana/eat")).code == "not_found"


async def test_what_is_cancelled_is_offered_to_the_next_in_line(api: Api) -> None:
    """Two hold the whole stock and two wait: the first who waits gets the offer, with its own timer."""
    await held(api, "ana", "ben", "cho", "dan", stock=4)
    waiting = (await api.call("GET", "sales/s1")).json
    assert (waiting["state"], waiting["waiting"], waiting["reserved"]) == ("sold_out", 2, 4)
    await move(api, "o-ana", "cancel")
    offered = (await api.call("GET", "orders/o-cho")).json
    assert (offered["status"], offered["offered"], offered["quantity"]) == ("reserved", True, 2)
    assert offered["expires_at"] > 0
    assert (await api.call("GET", "orders/o-dan")).code == "unknown_order"
    assert (await api.call("GET", "sales/s1")).json["left"] == 0
    await audit_is_clean(api)


async def test_a_running_sale_may_only_get_better(api: Api) -> None:
    """The price may fall, the limit rise, the end be extended; the rest is refused with a reason."""
    end = 4_000_000_000_000
    await held(api, "ana", per_user_limit=2, ends_at=end)
    better = await api.call("PATCH", "sales/s1", {"price": 990, "per_user_limit": 4, "ends_at": end + 1000})
    assert better.status == 200
    assert (better.json["price"], better.json["per_user_limit"]) == (990, 4)
    assert better.json["version"] == 3
    for worse in (  # each alone
        {"price": 991},
        {"per_user_limit": 3},
        {"ends_at": end},
        {"title": "Other"},
        {"starts_at": 1_800_000_000_000},
    ):
        refused = await api.call("PATCH", "sales/s1", worse)
        assert (refused.status, refused.code) == (400, "invalid"), worse
    assert (await api.call("GET", "orders/o-ana")).json["price"] == 1290  # under the offer it was made with
    await audit_is_clean(api)


async def expire(api: Api, order: str) -> None:
    """Let a hold's end come: the clock cannot be turned, but the end can."""
    holds = f"{keys.sale_prefix(api.room)}s1:holds"
    await api.context.sales._pipe.call("ZADD", holds, 1, order)  # type: ignore[attr-defined]


@pytest.mark.parametrize("action", ["pay", "cancel", "refund"])
async def test_an_expired_order_cannot_be_moved(api: Api, action: str) -> None:
    """Who pays after the end of the hold is told that it expired, and the units are back."""
    await held(api, "ana")
    await expire(api, "o-ana")
    refused = await api.call("POST", f"orders/o-ana/{action}")
    assert (refused.status, refused.code) == (409, "wrong_state")
    assert "expired" in refused.json["detail"]
    assert (await api.call("GET", "sales/s1")).json["left"] == 10
    await audit_is_clean(api)


async def test_a_foreign_order_is_as_an_unknown_one(api: Api) -> None:
    """A buyer cannot cancel another's order, nor learn that there is one."""
    await held(api, "ana")
    for order in ("o-ana", "o-nobody"):
        with pytest.raises(Refused) as refused:
            await api.context.sales.act_on_order(api.room, order, "cancel_mine", buyer="ben")
        assert refused.value.code == "unknown_order"
    assert (await api.call("GET", "orders/o-ana")).json["status"] == "reserved"


@pytest.mark.parametrize("amount", [0, -1, 1.5, "5"])
async def test_refunds_that_are_none(api: Api, amount: Any) -> None:
    """A refund is a whole number of minor units from 1."""
    await held(api, "ana")
    await move(api, "o-ana", "pay")
    refused = await api.call("POST", "orders/o-ana/refund", {"amount": amount})
    assert (refused.status, refused.code) == (400, "invalid")
    assert (await api.call("GET", "orders/o-ana")).json["refunded"] == 0
