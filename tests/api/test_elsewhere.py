"""Orders placed elsewhere, told to the room."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from liveroom.protocol.events import OrderPlaced
from tests.api.conftest import Api

ORDER: dict[str, Any] = {"reference": "shop #1007/b", "name": "Zoë", "quantity": 2}


async def placed(api: Api) -> list[OrderPlaced]:
    """The facts of placed orders in the room's log."""
    loaded = await api.context.store.load(api.room, after=None, create=False)
    assert loaded is not None
    lines = [entry.json for delivery in loaded.deliveries for entry in delivery.entries]
    return [msgspec.json.decode(json, type=OrderPlaced) for json in lines if b'"order_placed"' in json]


async def test_the_room_is_told(api: Api) -> None:
    """It is the same fact as of an order placed here, with no sale, and it counts in the room's totals."""
    await api.make_room()
    told = await api.call("POST", "orders", ORDER | {"title": "Mug", "price": 1290, "currency": "EUR"})
    assert told.status == 201
    at = told.json["at"]
    assert told.json == ORDER | {"title": "Mug", "price": 1290, "currency": "EUR", "sale": "", "at": at}
    assert await placed(api) == [OrderPlaced(sale="", name="Zoë", quantity=2, others=0, at=at)]
    assert (await api.call("GET", "stats")).json["orders_elsewhere"] == 1


async def test_a_sale_it_names_is_not_touched(api: Api) -> None:
    """The fact names the sale; stock, orders and the list of orders are those of the sale alone."""
    await api.make_room()
    before = await api.make_sale(starts_at=1_700_000_000_000)
    assert (await api.call("POST", "orders", ORDER | {"sale": "s1"})).status == 201
    assert [fact.sale for fact in await placed(api)] == ["s1"]
    assert (await api.call("GET", "sales/s1")).json == before
    assert (await api.call("GET", "orders")).json["orders"] == []
    assert (await api.call("GET", "sales/s1/audit")).json["ok"] is True


async def test_a_reference_is_told_once(api: Api) -> None:
    """The same order again has the same answer and tells nobody; another under its reference is refused."""
    await api.make_room()
    first = await api.call("POST", "orders", ORDER)
    assert (await api.call("POST", "orders", ORDER)).json == first.json
    other = await api.call("POST", "orders", ORDER | {"quantity": 3})
    assert (other.status, other.code) == (409, "id_reused")
    assert len(await placed(api)) == 1
    assert (await api.call("GET", "stats")).json["orders_elsewhere"] == 1


async def test_a_key_is_told_once(api: Api) -> None:
    """A request repeated with its key is answered the same, and a key of another request is refused."""
    await api.make_room()
    first = await api.call("POST", "orders", ORDER, key="k")
    assert (await api.call("POST", "orders", ORDER, key="k")).json == first.json
    assert (await api.call("POST", "orders", ORDER | {"reference": "b"}, key="k")).code == "id_reused"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 129}, "reference"),
        ({"reference": "a\nb"}, "reference"),
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 10**9}, "quantity"),
        ({"title": "x" * 201}, "title"),
        ({"sale": "a b"}, "sale"),
        ({"price": -1, "currency": "EUR"}, "price"),
        ({"price": 12.9, "currency": "EUR"}, "price"),
        ({"price": 1290}, "currency"),
        ({"price": 1290, "currency": "euro"}, "currency"),
        ({"price": 1290, "currency": "EUX"}, "currency"),
    ],
)
async def test_bad_orders(api: Api, changes: dict[str, Any], named: str) -> None:
    """What cannot be told is refused with the field, and nothing is told."""
    await api.make_room()
    refused = await api.call("POST", "orders", ORDER | changes)
    assert (refused.status, refused.code) == (400, "invalid")
    assert refused.json["detail"].startswith(named)
    assert await placed(api) == []


async def test_where_it_cannot_be_told(api: Api) -> None:
    """No room, no such sale, a closed room, and a viewer who asks are told apart."""
    assert (await api.call("POST", "orders", ORDER)).code == "unknown_room"
    await api.make_room()
    assert (await api.call("POST", "orders", ORDER | {"sale": "s9"})).code == "unknown_sale"
    assert (await api.call("POST", "orders", ORDER, token="viewer")).code == "forbidden"
    told = await api.call("POST", "orders", ORDER)
    await api.call("POST", "close")
    assert (await api.call("POST", "orders", ORDER | {"reference": "b"})).code == "room_closed"
    assert (await api.call("POST", "orders", ORDER)).json == told.json
