"""Rooms over HTTP."""

from __future__ import annotations

import pytest

from .conftest import DRAFT, Api


async def test_put_makes_a_room(api: Api) -> None:
    """PUT answers 201 and the record of a new room."""
    made = await api.call("PUT", "", {"title": "Spring sale"})
    assert (made.status, made.json["room"], made.json["title"]) == (201, api.room, "Spring sale")
    assert (made.json["offset"], made.json["closed_at"]) == (0, None)


async def test_put_again_answers_200(api: Api) -> None:
    """PUT of a room that exists answers 200 and renames it."""
    await api.make_room()
    again = await api.call("PUT", "", {"title": "New"})
    assert (again.status, again.json["title"]) == (200, "New")


async def test_put_without_a_title_keeps_it(api: Api) -> None:
    """An empty body leaves the title of a room that exists as it is."""
    await api.call("PUT", "", {"title": "Kept"})
    assert (await api.call("PUT", "")).json["title"] == "Kept"


async def test_get_reads_the_record(api: Api) -> None:
    """GET answers what PUT made."""
    made = await api.call("PUT", "", {"title": "x"})
    assert (await api.call("GET", "")).json == made.json


async def test_get_of_no_room(api: Api) -> None:
    """A room that was never made is unknown."""
    missing = await api.call("GET", "")
    assert (missing.status, missing.code) == (404, "unknown_room")


async def test_dev_room_appears_on_first_use(dev_api: Api) -> None:
    """Under --dev a room that is read for the first time is there."""
    assert (await dev_api.call("GET", "", token=None)).status == 200


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "bad_request"),
        (b'{"title":5}', "invalid"),
        (b"[]", "invalid"),
        (b'{"title":"\xff"}', "bad_request"),
        (b'{"title":"' + b"x" * 201 + b'"}', "invalid"),
    ],
)
async def test_put_with_a_bad_body(api: Api, raw: bytes, code: str) -> None:
    """A body that is not JSON, or of a wrong shape, makes no room."""
    assert (await api.call("PUT", "", raw=raw)).code == code
    assert (await api.call("GET", "")).status == 404


async def test_wrong_type_names_the_field(api: Api) -> None:
    """The sentence of a refusal begins with the field that is wrong."""
    answer = await api.call("PUT", "", {"title": 5})
    assert answer.json["detail"] == "title: expected str | null, got int"


@pytest.mark.parametrize("room", ["a b", "x" * 65, "caf\u00e9", "a%2Fb"])
async def test_bad_room_id(api: Api, room: str) -> None:
    """A room id outside the pattern is a bad request."""
    assert (await api.call("PUT", f"/v1/rooms/{room}")).code == "bad_request"


# --- closing ------------------------------------------------------------------------------------------


async def test_close_sets_the_time_and_logs_it(api: Api) -> None:
    """Closing answers the record with its time, one event further."""
    await api.make_room()
    closed = await api.call("POST", "close")
    assert (closed.status, closed.json["offset"]) == (200, 1)
    assert abs(closed.json["closed_at"] - api.context.store.now_ms()) < 60_000


async def test_close_twice(api: Api) -> None:
    """Closing a closed room is refused, and the first time stands."""
    await api.make_room()
    first = await api.call("POST", "close")
    again = await api.call("POST", "close")
    assert (again.status, again.code) == (409, "room_closed")
    assert (await api.call("GET", "")).json == first.json


async def test_close_repeated_with_its_key(api: Api) -> None:
    """A close that is sent again with its key is answered as the first was."""
    await api.make_room()
    first = await api.call("POST", "close", key="k")
    again = await api.call("POST", "close", key="k")
    assert (again.status, again.json) == (200, first.json)


async def test_close_of_no_room(api: Api) -> None:
    """A room that was never made cannot be closed."""
    assert (await api.call("POST", "close")).code == "unknown_room"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "events", {"type": "notice", "text": "hi"}),
        ("POST", "sales", DRAFT),
        ("PUT", "pinned", {"title": "x"}),
        ("DELETE", "pinned", None),
        ("DELETE", "comments/c1", None),
    ],
)
async def test_nothing_is_added_to_a_closed_room(api: Api, method: str, path: str, body: object) -> None:
    """Every write that would log something is refused in a closed room."""
    await api.make_room()
    await api.call("POST", "close")
    assert (await api.call(method, path, body)).code == "room_closed"


# --- numbers ------------------------------------------------------------------------------------------


async def test_stats_of_a_room_that_is_not_held(api: Api) -> None:
    """Stats are read from the store when this node does not hold the room."""
    await api.make_room()
    sale = await api.make_sale()
    stats = (await api.call("GET", "stats")).json
    assert (stats["offset"], stats["likes"], stats["viewers"], stats["closed"]) == (1, 0, 0, False)
    expected = {
        "sale": sale["sale"],
        "state": "scheduled",
        "title": "Mug",
        "stock": 10,
        "left": 10,
        "orders": 0,
    }
    assert stats["sales"] == [expected]


async def test_stats_are_the_same_when_the_room_is_held(api: Api) -> None:
    """A room held here gives the numbers the store gives."""
    await api.make_room()
    await api.make_sale()
    read = (await api.call("GET", "stats")).json
    await api.context.hub.desk(api.room)
    held = (await api.call("GET", "stats")).json
    assert read | {"now": 0} == held | {"now": 0}


async def test_stats_count_likes(api: Api) -> None:
    """Likes that a node has brought to the store are in the numbers."""
    await api.make_room()
    await api.context.store.beat(api.room, number=1, likes=12, viewers=3, sales=[])
    stats = (await api.call("GET", "stats")).json
    assert (stats["likes"], stats["viewers"], stats["viewers_here"]) == (12, 3, 0)


async def test_stats_of_no_room(api: Api) -> None:
    """A room that was never made has no numbers."""
    assert (await api.call("GET", "stats")).code == "unknown_room"
