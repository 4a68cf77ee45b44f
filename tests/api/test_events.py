"""Events, the pinned card and comments taken back, over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from .conftest import Api

CUSTOM = {"type": "custom", "name": "gift", "data": {"from": "ana", "n": 3}}


async def logged(api: Api) -> list[Any]:
    """Return the events of the test's room."""
    loaded = await api.context.store.load(api.room, after=None, create=False)
    assert loaded is not None
    return [msgspec.json.decode(entry.json) for delivery in loaded.deliveries for entry in delivery.entries]


async def test_custom_event_is_logged_untouched(api: Api) -> None:
    """A custom event stands in the log as it was sent."""
    await api.make_room()
    answer = await api.call("POST", "events", CUSTOM)
    assert (answer.status, answer.json) == (200, {"offset": 1})
    assert await logged(api) == [CUSTOM]


async def test_event_of_a_held_room(api: Api) -> None:
    """A room that this node holds takes events all the same."""
    await api.make_room()
    await api.context.hub.desk(api.room)
    assert (await api.call("POST", "events", CUSTOM)).json == {"offset": 1}


async def test_pretty_printed_data_stays_one_line(api: Api) -> None:
    """Line breaks in the body's JSON do not reach the log, whose items are lines."""
    await api.make_room()
    await api.call("POST", "events", raw=b'{"type":"custom",\n "name":"x",\n "data":{\n "a":\n 1}}')
    assert await logged(api) == [{"type": "custom", "name": "x", "data": {"a": 1}}]


async def test_notice_has_a_time_and_a_level(api: Api) -> None:
    """A notice is logged with the store's time, as information unless it says otherwise."""
    await api.make_room()
    await api.call("POST", "events", {"type": "notice", "text": " Back in 5 minutes "})
    (notice,) = await logged(api)
    assert (notice["text"], notice["level"]) == ("Back in 5 minutes", "info")
    assert abs(notice["at"] - api.context.store.now_ms()) < 60_000


async def test_several_events_are_neighbours(api: Api) -> None:
    """Several events of one request follow each other; the offset is that of the last."""
    await api.make_room()
    several = [CUSTOM | {"data": number} for number in range(3)]
    assert (await api.call("POST", "events", {"events": several})).json == {"offset": 3}
    assert [event["data"] for event in await logged(api)] == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 101])
async def test_number_of_events(api: Api, count: int) -> None:
    """No event, and more than a hundred, are refused."""
    await api.make_room()
    assert (await api.call("POST", "events", {"events": [CUSTOM] * count})).code == "invalid"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "bad_request"),
        (b"not json", "bad_request"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b"{}", "invalid"),
        (b'{"type":"gift"}', "invalid"),
        (b'{"type":"room_closed","at":1}', "invalid"),
        (b'{"type":5}', "invalid"),
        (b'{"type":"custom","name":"x"}', "invalid"),
        (b'{"type":"custom","name":5,"data":{}}', "invalid"),
        (b'{"type":"custom","name":"","data":{}}', "invalid"),
        (b'{"type":"custom","name":"a b","data":{}}', "invalid"),
        (b'{"type":"custom","name":"a\\n","data":{}}', "invalid"),
        (b'{"type":"custom","name":"x","data":{"n":99999999999999999999}}', "invalid"),
        (b'{"type":"custom","name":"x","data":{"n":-9223372036854775809}}', "invalid"),
        (b'{"type":"custom","name":"x","data":1e999}', "invalid"),
        (b'{"type":"custom","name":"x","data":NaN}', "bad_request"),
        (b'{"type":"custom","name":"x","data":"\\ud83d"}', "bad_request"),
        (b'{"type":"custom","name":"x","data":"' + b"x" * 16_384 + b'"}', "invalid"),
        (b'{"type":"custom","name":"x","data":' + b"[" * 33 + b"]" * 33 + b"}", "invalid"),
        (b'{"type":"custom","name":"x","data":' + b"[" * 5000, "bad_request"),
        (b'{"type":"notice"}', "invalid"),
        (b'{"type":"notice","text":"  "}', "invalid"),
        (b'{"type":"notice","text":"' + b"x" * 501 + b'"}', "invalid"),
        (b'{"type":"notice","text":"x","level":"loud"}', "invalid"),
        (b'{"events":{}}', "invalid"),
        (b'{"events":[5]}', "invalid"),
    ],
)
async def test_bad_events(api: Api, raw: bytes, code: str) -> None:
    """An event that is none of ours is refused and nothing is logged."""
    await api.make_room()
    answer = await api.call("POST", "events", raw=raw)
    assert (answer.status, answer.code) == (400, code)
    assert await logged(api) == []


async def test_one_bad_event_spoils_all(api: Api) -> None:
    """With one bad event among several none is logged, and the answer names it."""
    await api.make_room()
    answer = await api.call("POST", "events", {"events": [CUSTOM, {"type": "custom", "name": "x"}]})
    assert answer.json["detail"].startswith("events[1]: ")
    assert await logged(api) == []


async def test_largest_integers_pass(api: Api) -> None:
    """Integers that MessagePack holds (64 bits) are carried."""
    await api.make_room()
    assert (await api.call("POST", "events", CUSTOM | {"data": [2**64 - 1, -(2**63)]})).status == 200


async def test_deepest_data_passes(api: Api) -> None:
    """Data may be nested as deep as is documented."""
    await api.make_room()
    raw = b'{"type":"custom","name":"x","data":' + b"[" * 32 + b"]" * 32 + b"}"
    assert (await api.call("POST", "events", raw=raw)).status == 200


async def test_events_of_no_room(api: Api) -> None:
    """Events cannot go to a room that was never made."""
    assert (await api.call("POST", "events", CUSTOM)).code == "unknown_room"


async def test_dev_room_appears_with_its_first_event(dev_api: Api) -> None:
    """Under --dev an event makes its room."""
    assert (await dev_api.call("POST", "events", CUSTOM, token=None)).json == {"offset": 1}


# --- repeated requests --------------------------------------------------------------------------------


async def test_repeated_key_logs_once(api: Api) -> None:
    """The same request with the same key gives the same offset and logs nothing more."""
    await api.make_room()
    first = await api.call("POST", "events", CUSTOM, key="gift-1")
    again = await api.call("POST", "events", CUSTOM, key="gift-1")
    assert first.json == again.json == {"offset": 1}
    assert len(await logged(api)) == 1


async def test_key_with_another_body(api: Api) -> None:
    """A key that was used for something else is refused."""
    await api.make_room()
    await api.call("POST", "events", CUSTOM, key="k")
    other = await api.call("POST", "events", CUSTOM | {"data": 1}, key="k")
    assert (other.status, other.code) == (409, "id_reused")


async def test_key_on_another_route(api: Api) -> None:
    """A key belongs to its request: the same one on another route is refused."""
    await api.make_room()
    await api.call("POST", "events", CUSTOM, key="k")
    assert (await api.call("POST", "close", key="k")).code == "id_reused"


async def test_key_is_the_rooms_own(api: Api) -> None:
    """Two rooms may use the same key."""
    await api.make_room()
    await api.call("PUT", f"/v1/rooms/{api.room}-b")
    await api.call("POST", "events", CUSTOM, key="k")
    assert (await api.call("POST", f"/v1/rooms/{api.room}-b/events", CUSTOM, key="k")).json == {"offset": 1}


@pytest.mark.parametrize("key", ["", "x" * 129, "caf\u00e9"])
async def test_bad_key(api: Api, key: str) -> None:
    """A key that is empty, too long or not ASCII is a bad request."""
    await api.make_room()
    assert (await api.call("POST", "events", CUSTOM, key=key)).code == "bad_request"


# --- pinned -------------------------------------------------------------------------------------------


async def pinned(api: Api) -> Any:
    """Return what someone who joins the test's room is shown pinned."""
    loaded = await api.context.store.load(api.room, after=None, create=False)
    assert loaded is not None
    return msgspec.json.decode(loaded.pinned) if loaded.pinned else None


async def test_pin_a_card(api: Api) -> None:
    """A card that is pinned is logged, and stored for those who join later."""
    await api.make_room()
    card = {"title": "Mug", "url": "https://shop.example/mug"}
    answer = await api.call("PUT", "pinned", card)
    assert (answer.status, answer.json) == (200, {"pinned": card, "offset": 1})
    assert (await logged(api))[0]["pinned"] == card
    assert await pinned(api) == card


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_unpin(api: Api, method: str) -> None:
    """PUT of null and DELETE both take the card away."""
    await api.make_room()
    await api.call("PUT", "pinned", {"title": "Mug"})
    answer = await api.call(method, "pinned", raw=b"null" if method == "PUT" else None)
    assert answer.status == (200 if method == "PUT" else 204)
    assert (await logged(api))[1]["pinned"] is None
    assert await pinned(api) is None


async def test_pin_a_sale(api: Api) -> None:
    """A card may name a sale of the room."""
    await api.make_room()
    sale = await api.make_sale()
    assert (await api.call("PUT", "pinned", {"title": "Mug", "sale": sale["sale"]})).status == 200


async def test_pin_an_unknown_sale(api: Api) -> None:
    """A card cannot name a sale that does not exist."""
    await api.make_room()
    assert (await api.call("PUT", "pinned", {"title": "Mug", "sale": "s9"})).code == "unknown_sale"


@pytest.mark.parametrize(
    "card",
    [
        {},
        [],
        {"title": ""},
        {"title": "x" * 201},
        {"title": "x", "text": "x" * 501},
        {"title": "x", "url": "javascript:alert(1)"},
        {"title": "x", "url": "https://"},
        {"title": "x", "url": "https://[::1"},
        {"title": "x", "image": "data:image/png;base64,AA"},
        {"title": "x", "url": "https://shop.example/" + "x" * 2048},
        {"title": "x", "url": "https://shop.example/\n"},
        {"title": "x", "sale": "a b"},
    ],
)
async def test_bad_cards(api: Api, card: object) -> None:
    """A card without title, too long, or with an address that is not a web page is refused."""
    await api.make_room()
    assert (await api.call("PUT", "pinned", card)).code == "invalid"
    assert await logged(api) == []


async def test_pin_without_a_body(api: Api) -> None:
    """To take a card away is said by null, not by nothing."""
    await api.make_room()
    assert (await api.call("PUT", "pinned")).code == "bad_request"


# --- comments -----------------------------------------------------------------------------------------


async def test_take_back_a_comment(api: Api) -> None:
    """Deleting a comment logs that everyone is to hide it."""
    await api.make_room()
    assert (await api.call("DELETE", "comments/n1-2a")).status == 204
    (removed,) = await logged(api)
    assert (removed["type"], removed["comment"]) == ("comment_removed", "n1-2a")


async def test_bad_comment_id(api: Api) -> None:
    """A comment id outside the pattern is a bad request."""
    await api.make_room()
    assert (await api.call("DELETE", "comments/a%20b")).code == "bad_request"
