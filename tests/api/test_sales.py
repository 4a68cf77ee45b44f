"""Sales and orders over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from liveroom.protocol.events import Sale
from liveroom.protocol.messages import Order
from liveroom.server.sale.ports import ClaimRequest

from .conftest import DRAFT, Api

SOON = 4_000_000_000_000  # ms since the Unix epoch


async def test_make_a_sale(api: Api) -> None:
    """POST answers 201 and the whole sale, waiting to be opened."""
    await api.make_room()
    sale = msgspec.convert(await api.make_sale(per_user_limit=2), Sale)
    assert (sale.sale, sale.state, sale.left, sale.per_user_limit, sale.price) == (
        "s1",
        "scheduled",
        10,
        2,
        1290,
    )


async def test_sale_that_has_begun_is_open(api: Api) -> None:
    """A sale whose start has come is open at once."""
    await api.make_room()
    assert (await api.make_sale(starts_at=1_700_000_000_000))["state"] == "open"


async def test_sale_in_no_room(api: Api) -> None:
    """A sale needs a room that exists."""
    assert (await api.call("POST", "sales", DRAFT)).code == "unknown_room"


async def test_dev_room_appears_with_its_first_sale(dev_api: Api) -> None:
    """Under --dev a sale makes its room."""
    assert (await dev_api.call("POST", "sales", DRAFT, token=None)).status == 201


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"price": -1}, "price"),
        ({"price": 12.5}, "price"),
        ({"price": "12"}, "price"),
        ({"price": 10**30}, "price"),
        ({"price": None}, "price"),
        ({"stock": 0}, "stock"),
        ({"stock": -5}, "stock"),
        ({"stock": 10**10}, "stock"),
        ({"stock": True}, "stock"),
        ({"per_user_limit": 0}, "per_user_limit"),
        ({"per_user_limit": 11}, "per_user_limit"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": ""}, "currency"),
        ({"currency": "EUX"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"sku": ""}, "sku"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"starts_at": 1_900_000_000}, "starts_at"),
        ({"ends_at": 1_900_000_000}, "ends_at"),
        ({"ends_at": 10**17}, "ends_at"),
        ({"starts_at": "2030-01-01T00:00:00Z"}, "starts_at"),
        ({"starts_at": 1_900_000_000_000, "ends_at": 1_900_000_000_000}, "ends_at"),
        ({"starts_at": 1_900_000_000_000, "ends_at": 1_800_000_000_000}, "ends_at"),
        ({"ends_at": 1_600_000_000_000}, "ends_at"),
        ({"hold_seconds": -1}, "hold_seconds"),
        ({"hold_seconds": 1.5}, "hold_seconds"),
        ({"hold_seconds": 86_401}, "hold_seconds"),
        ({"starts_at": SOON, "ends_at": SOON + 1000, "hold_seconds": 602}, "hold_seconds"),
        ({"gift": "x" * 201}, "gift"),
    ],
)
async def test_bad_sales(api: Api, changes: dict[str, Any], named: str) -> None:
    """A sale that could not be kept is refused, and the sentence names the field."""
    await api.make_room()
    answer = await api.call("POST", "sales", DRAFT | changes)
    assert (answer.status, answer.code) == (400, "invalid")
    assert answer.json["detail"].startswith(named)
    assert (await api.call("GET", "sales")).json["sales"] == []


async def test_a_hold_longer_than_what_is_left_of_the_sale(api: Api) -> None:
    """Of a sale that has begun, what is left counts: by the store's clock, its end and the grace."""
    await api.make_room()
    now = api.context.store.now_ms()
    late = DRAFT | {"starts_at": 1_700_000_000_000, "ends_at": now + 60_000}
    refused = await api.call("POST", "sales", late | {"hold_seconds": 700})
    assert (refused.status, refused.code) == (400, "invalid")
    assert refused.json["detail"].startswith("hold_seconds")
    assert (await api.call("POST", "sales", late | {"hold_seconds": 600})).status == 201


@pytest.mark.parametrize("field", ["sku", "title", "price", "currency", "stock"])
async def test_missing_fields(api: Api, field: str) -> None:
    """A field that every sale needs is named when it is missing."""
    await api.make_room()
    draft = {name: value for name, value in DRAFT.items() if name != field}
    answer = await api.call("POST", "sales", draft)
    assert (answer.code, answer.json["detail"]) == ("invalid", f"object missing required field {field}")


async def test_sale_repeated_with_its_key(api: Api) -> None:
    """A sale that is sent again with its key is made once."""
    await api.make_room()
    first = await api.call("POST", "sales", DRAFT, key="k")
    again = await api.call("POST", "sales", DRAFT, key="k")
    assert (again.status, again.json) == (201, first.json)
    assert len((await api.call("GET", "sales")).json["sales"]) == 1


async def test_sale_key_with_another_body(api: Api) -> None:
    """A key that made one sale cannot make another."""
    await api.make_room()
    await api.call("POST", "sales", DRAFT, key="k")
    assert (await api.call("POST", "sales", DRAFT | {"stock": 11}, key="k")).code == "id_reused"


# --- reading ------------------------------------------------------------------------------------------


async def test_read_a_sale(api: Api) -> None:
    """GET answers the sale as it was made."""
    await api.make_room()
    sale = await api.make_sale()
    assert (await api.call("GET", "sales/s1")).json == sale


@pytest.mark.parametrize(("path", "code"), [("sales/s9", "unknown_sale"), ("sales/a%20b", "bad_request")])
async def test_read_no_sale(api: Api, path: str, code: str) -> None:
    """A sale that was never made is unknown, and what is no id is a bad request."""
    await api.make_room()
    assert (await api.call("GET", path)).code == code


async def test_read_a_sale_of_no_room(api: Api) -> None:
    """In a room that was never made it is the room that is unknown."""
    assert (await api.call("GET", "sales/s1")).code == "unknown_room"


async def test_list_sales_in_pages(api: Api) -> None:
    """Pages follow each other through ``next`` until it is null."""
    await api.make_room()
    for n in range(3):
        await api.make_sale(sku=f"mug-{n}")
    first = (await api.call("GET", "sales?limit=2")).json
    assert [sale["sale"] for sale in first["sales"]] == ["s1", "s2"]
    rest = (await api.call("GET", f"sales?limit=2&after={first['next']}")).json
    assert ([sale["sale"] for sale in rest["sales"]], rest["next"]) == (["s3"], None)


async def test_list_sales_of_no_room(api: Api) -> None:
    """A room that was never made has no list."""
    assert (await api.call("GET", "sales")).code == "unknown_room"


@pytest.mark.parametrize("noun", ["sales", "orders"])
@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "after=-1",
        "after=1.5",
        "after=" + "9" * 5000,
        "after=\u0663",
    ],
)
async def test_bad_pages(api: Api, noun: str, query: str) -> None:
    """A page that is not asked for in numbers of its range is a bad request."""
    await api.make_room()
    assert (await api.call("GET", f"{noun}?{query}")).code == "bad_request"


# --- actions ------------------------------------------------------------------------------------------


async def test_a_sale_through_its_states(api: Api) -> None:
    """Open, pause, resume and close each answer the sale as it then stands."""
    await api.make_room()
    await api.make_sale()
    states = [
        (await api.call("POST", f"sales/s1/{action}")).json["state"]
        for action in ("open", "pause", "resume", "close")
    ]
    assert states == ["open", "paused", "open", "closed"]


async def test_cancel_a_sale(api: Api) -> None:
    """A sale can be called off."""
    await api.make_room()
    await api.make_sale()
    assert (await api.call("POST", "sales/s1/cancel")).json["state"] == "cancelled"


async def test_restock(api: Api) -> None:
    """Restocking adds to stock and to what is left."""
    await api.make_room()
    await api.make_sale()
    sale = (await api.call("POST", "sales/s1/restock", {"add": 5})).json
    assert (sale["stock"], sale["left"]) == (15, 15)


async def test_restock_repeated_with_its_key(api: Api) -> None:
    """A restock that is sent again with its key adds once."""
    await api.make_room()
    await api.make_sale()
    await api.call("POST", "sales/s1/restock", {"add": 5}, key="k")
    assert (await api.call("POST", "sales/s1/restock", {"add": 5}, key="k")).json["stock"] == 15


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "bad_request"),
        (b"{}", "invalid"),
        (b'{"add":0}', "invalid"),
        (b'{"add":-1}', "invalid"),
        (b'{"add":1.5}', "invalid"),
        (b'{"add":"5"}', "invalid"),
        (b'{"add":1000000000}', "invalid"),
        (b'{"add":99999999999999999999}', "invalid"),
    ],
)
async def test_bad_restock(api: Api, raw: bytes, code: str) -> None:
    """Units that cannot be added are refused, and the stock stays."""
    await api.make_room()
    await api.make_sale()
    assert (await api.call("POST", "sales/s1/restock", raw=raw)).code == code
    assert (await api.call("GET", "sales/s1")).json["stock"] == 10


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_action_in_a_wrong_state(api: Api, action: str) -> None:
    """What is not possible now is refused with the present state in the sentence."""
    await api.make_room()
    await api.make_sale()
    answer = await api.call("POST", f"sales/s1/{action}")
    assert (answer.status, answer.code) == (409, "wrong_state")
    assert "scheduled" in answer.json["detail"]


@pytest.mark.parametrize("action", ["read", "explode"])
async def test_unknown_action(api: Api, action: str) -> None:
    """An action that is none is not found, and those there are are named."""
    await api.make_room()
    await api.make_sale()
    answer = await api.call("POST", f"sales/s1/{action}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert "restock" in answer.json["detail"]


async def test_action_on_no_sale(api: Api) -> None:
    """A sale that was never made cannot be opened."""
    await api.make_room()
    assert (await api.call("POST", "sales/s1/open")).code == "unknown_sale"


async def test_most_live_sales(api: Api) -> None:
    """A room takes a hundred sales that are not closed, and then asks to close some."""
    await api.make_room()
    for n in range(100):
        await api.make_sale(sku=f"mug-{n}")
    assert (await api.call("POST", "sales", DRAFT)).code == "wrong_state"


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, {}, True),  # the host may open either at any time
        ({"starts_at": SOON, "ends_at": SOON + 1000}, {}, True),
        ({"starts_at": SOON, "ends_at": SOON + 1000}, {"starts_at": SOON + 999}, True),
        ({"starts_at": SOON, "ends_at": SOON + 1000}, {"starts_at": SOON + 1000}, False),
        ({"starts_at": SOON, "ends_at": SOON + 1000}, {"ends_at": SOON}, False),
        ({"starts_at": SOON, "ends_at": SOON + 1000}, {"ends_at": SOON + 1}, True),
        ({"starts_at": SOON}, {"starts_at": SOON + 10**9}, True),
        ({}, {"sku": "mug-2"}, False),
        ({}, {"allow_overlap": True}, False),
    ],
)
async def test_overlapping_sales_of_one_sku(
    api: Api, first: dict[str, Any], second: dict[str, Any], refused: bool
) -> None:
    """Two sales of a sku at one time are refused unless it is said that they may; the sentence names the other."""
    await api.make_room()
    await api.make_sale(**first)
    made = await api.call("POST", "sales", DRAFT | second)
    assert made.status == (409 if refused else 201)
    if refused:
        assert made.code == "wrong_state"
        assert "s1" in made.json["detail"]
        assert "allow_overlap" in made.json["detail"]


@pytest.mark.parametrize("action", ["close", "cancel"])
async def test_a_sale_that_is_over_is_in_no_way(api: Api, action: str) -> None:
    """When a sale is closed or cancelled, its sku can be sold again."""
    await api.make_room()
    await api.make_sale()
    await api.call("POST", f"sales/s1/{action}")
    assert (await api.make_sale())["sale"] == "s2"


# --- orders -------------------------------------------------------------------------------------------


async def order(api: Api, *users: str) -> None:
    """Make an open sale, and one order of each user."""
    await api.make_room()
    await api.make_sale(starts_at=1_700_000_000_000)
    requests = [ClaimRequest(user, user.title(), 1, 2, f"o-{user}") for user in users]
    answers, _ = await api.context.sales.claims(api.room, "s1", requests)
    assert [answer.status for answer in answers] == ["reserved"] * len(users)


async def test_list_orders_in_pages(api: Api) -> None:
    """Orders are listed as they were placed, page by page."""
    await order(api, "ana", "ben", "cho")
    first = (await api.call("GET", "orders?limit=2")).json
    assert [found["user"] for found in first["orders"]] == ["ana", "ben"]
    rest = (await api.call("GET", f"orders?after={first['next']}&limit=1000")).json
    assert ([found["user"] for found in rest["orders"]], rest["next"]) == (["cho"], None)


async def test_no_orders_yet(api: Api) -> None:
    """A room without orders answers an empty last page."""
    await api.make_room()
    assert (await api.call("GET", "orders")).json == {"orders": [], "next": None}


async def test_orders_of_no_room(api: Api) -> None:
    """A room that was never made has no orders to list."""
    assert (await api.call("GET", "orders")).code == "unknown_room"


async def test_read_an_order(api: Api) -> None:
    """An order tells the offer it was made with, and its whole amount."""
    await order(api, "ana")
    found = msgspec.convert((await api.call("GET", "orders/o-ana")).json, Order)
    assert (found.user, found.name, found.quantity, found.amount, found.currency) == (
        "ana",
        "Ana",
        2,
        2580,
        "EUR",
    )


@pytest.mark.parametrize(("path", "code"), [("orders/o-9", "unknown_order"), ("orders/a%20b", "bad_request")])
async def test_read_no_order(api: Api, path: str, code: str) -> None:
    """An order that was never placed is unknown, and what is no id is a bad request."""
    await api.make_room()
    assert (await api.call("GET", path)).code == code


async def test_stats_follow_orders(api: Api) -> None:
    """The room's numbers count orders and what is left."""
    await order(api, "ana", "ben")
    (sale,) = (await api.call("GET", "stats")).json["sales"]
    assert (sale["orders"], sale["left"], sale["state"]) == (2, 6, "open")
