"""The run-sheet through the API: prepared, checked, rehearsed and run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from liveroom.server.api import runsheet
from tests.api.conftest import DRAFT, Api

MUG = {"item": "mug", "title": "Opener", "notes": "hold it up", "draft": DRAFT, "duration_s": 60}
BAG = {"item": "bag", "draft": DRAFT | {"sku": "bag-1"}, "delay_s": 30, "duration_s": 60}


async def put(api: Api, *items: dict[str, Any], **more: Any) -> Any:
    """Write the sheet; returns it."""
    answered = await api.call("PUT", "runsheet", {"items": items} | more)
    assert answered.status == 200, answered.json
    return answered.json


async def run(api: Api, item: str, action: str) -> Any:
    """Act on an item; returns the answer."""
    answered = await api.call("POST", f"runsheet/{item}/{action}")
    assert answered.status == 200, answered.json
    return answered.json


async def offset(api: Api) -> int:
    """How many events the room's log has had."""
    told: int = (await api.call("GET", "")).json["offset"]
    return told


async def test_a_sheet_is_written_and_read(api: Api) -> None:
    """Items keep their order and what was given; none has a sale yet."""
    await api.make_room()
    assert (await api.call("GET", "runsheet")).json == {"version": 0, "items": []}
    written = await put(api, MUG, BAG)
    assert (await api.call("GET", "runsheet")).json == written
    assert written["version"] == 1
    assert [found["item"] for found in written["items"]] == ["mug", "bag"]
    first = written["items"][0]
    assert (first["title"], first["draft"]["stock"], first["sale"], first["state"]) == (
        "Opener",
        10,
        None,
        None,
    )


async def test_of_two_who_replace_one_version_one_wins(api: Api) -> None:
    """A version that is not there any more is refused, and the one there is is named."""
    await api.make_room()
    await put(api, MUG, version=0)
    late = await api.call("PUT", "runsheet", {"items": [BAG], "version": 0})
    assert (late.status, late.code) == (409, "wrong_state")
    assert "version 1" in late.json["detail"]
    await put(api, BAG, version=1)


async def test_a_started_item_is_a_sale_with_its_time(api: Api) -> None:
    """It is open at once and ends as long after the start as the item says."""
    await api.make_room()
    await put(api, MUG, BAG)
    sale = await run(api, "mug", "start")
    assert (sale["sale"], sale["state"], sale["ends_at"] - sale["starts_at"]) == ("s1", "open", 60_000)
    later = await run(api, "bag", "start")
    assert (later["state"], later["starts_at"] - later["at"], later["ends_at"] - later["at"]) == (
        "scheduled",
        30_000,
        90_000,
    )
    sheet = (await api.call("GET", "runsheet")).json
    assert [(item["sale"], item["state"]) for item in sheet["items"]] == [("s1", "open"), ("s2", "scheduled")]


async def test_an_item_has_one_sale(api: Api) -> None:
    """Started again, and by many at once, it is the same sale."""
    await api.make_room()
    await put(api, MUG)
    sales = await asyncio.gather(*(run(api, "mug", "start") for _ in range(8)))
    assert {sale["sale"] for sale in sales} == {"s1"}
    assert len((await api.call("GET", "sales")).json["sales"]) == 1


async def test_what_was_started_stays_on_the_sheet(api: Api) -> None:
    """A started item cannot be changed or left out; items not yet started can."""
    await api.make_room()
    await put(api, MUG, BAG)
    await run(api, "mug", "start")
    for items in ([BAG], [MUG | {"duration_s": 90}, BAG]):
        refused = await api.call("PUT", "runsheet", {"items": items})
        assert (refused.status, refused.code) == (409, "wrong_state")
        assert "mug" in refused.json["detail"]
    kept = await put(api, BAG | {"delay_s": 0}, MUG)
    assert [item["sale"] for item in kept["items"]] == [None, "s1"]


async def test_a_start_of_a_sheet_that_changes_meanwhile(api: Api) -> None:
    """A start by an older version finds the newer, so that what is sold is what the sheet says."""
    await api.make_room()
    await put(api, MUG)
    sales = api.context.sales
    old = await sales.sheet(api.room)
    await put(api, MUG | {"draft": DRAFT | {"price": 990}})
    about = runsheet.SheetItem("mug", old.version, 0, 60_000)
    item = runsheet._items(old)[0]
    assert await sales.start_item(api.room, about, item.draft) is None
    assert (await api.call("GET", "sales")).json["sales"] == []
    assert (await run(api, "mug", "start"))["price"] == 990


async def test_a_paused_item_keeps_the_time_it_had(api: Api) -> None:
    """While it is paused it has no end that could come; resumed, it has as long to go as before. Both are facts."""
    await api.make_room()
    await put(api, MUG)
    running = await run(api, "mug", "start")
    paused = await run(api, "mug", "pause")
    assert (paused["state"], paused["ends_at"]) == ("paused", None)
    resumed = await run(api, "mug", "resume")
    assert resumed["state"] == "open"
    assert resumed["ends_at"] - resumed["at"] == running["ends_at"] - paused["at"]
    assert await offset(api) == resumed["version"] == 4  # made, opened, paused, resumed
    assert (await run(api, "mug", "close"))["state"] == "closed"
    assert (await api.call("GET", "sales/s1/audit")).json["ok"] is True


async def test_an_item_without_an_end_has_none_after_a_pause(api: Api) -> None:
    """Where the host closes it there is no time to keep."""
    await api.make_room()
    await put(api, MUG | {"duration_s": None})
    await run(api, "mug", "start")
    await run(api, "mug", "pause")
    assert (await run(api, "mug", "resume"))["ends_at"] is None


async def test_a_rehearsal_makes_nothing(api: Api) -> None:
    """The host is shown the sale; no event is logged, no sale made, and the sheet is as it was."""
    await api.make_room()
    before = await put(api, MUG)
    shown = await run(api, "mug", "rehearse")
    assert (shown["dry_run"], shown["sale"]["type"], shown["sale"]["state"]) == (True, "sale", "open")
    assert (shown["sale"]["sale"], shown["sale"]["left"]) == ("", 10)
    assert await offset(api) == 0
    assert (await api.call("GET", "sales")).json["sales"] == []
    assert (await api.call("GET", "runsheet")).json == before


async def test_preflight(api: Api) -> None:
    """Every check is told; the Redis of these tests keeps nothing, and that is one that fails."""
    await api.make_room()
    await put(api, MUG, BAG)
    told = await run(api, "mug", "preflight")
    assert [check["check"] for check in told["checks"]] == [
        "times",
        "stock",
        "price",
        "overlap",
        "webhooks",
        "durability",
    ]
    failed = [check for check in told["checks"] if not check["ok"]]
    assert [check["check"] for check in failed] == ["durability"]
    assert told["ok"] is False
    assert "skipped" in told["checks"][4]["detail"]


async def test_preflight_foresees_a_refused_start(api: Api) -> None:
    """A sale of the sku that is not over is pointed out, and then refuses the start; one's own is no overlap."""
    await api.make_room()
    await put(api, MUG, BAG)
    await api.make_sale()
    overlap = (await run(api, "mug", "preflight"))["checks"][3]
    assert (overlap["check"], overlap["ok"]) == ("overlap", False)
    assert (await api.call("POST", "runsheet/mug/start")).code == "wrong_state"
    await run(api, "bag", "start")
    assert (await run(api, "bag", "preflight"))["checks"][3]["ok"] is True


@pytest.mark.parametrize(("kind", "ok"), [("delivered", True), ("failed", False)])
async def test_webhooks_are_sent_a_test(kind: str, ok: bool) -> None:
    """Every webhook is asked; one that does not take a test is named with what came of it."""

    async def every() -> list[Any]:
        return [SimpleNamespace(webhook="erp")]

    async def test(name: str) -> Any:
        return SimpleNamespace(kind=kind, detail="refused")

    handoff: Any = SimpleNamespace(webhooks=SimpleNamespace(all=every, test=test))
    check = await runsheet._webhooks(handoff)
    assert (check.check, check.ok) == ("webhooks", ok)
    assert ok or "erp cannot be reached: refused" in check.detail


@pytest.mark.parametrize("action", ["pause", "resume", "close"])
async def test_what_was_not_started_cannot_be_run(api: Api, action: str) -> None:
    """409, saying that it has not been started."""
    await api.make_room()
    await put(api, MUG)
    refused = await api.call("POST", f"runsheet/mug/{action}")
    assert (refused.status, refused.code) == (409, "wrong_state")
    assert "not been started" in refused.json["detail"]


async def test_items_and_actions_that_are_none(api: Api) -> None:
    """404 for each, saying which actions there are."""
    await api.make_room()
    await put(api, MUG)
    assert (await api.call("POST", "runsheet/hat/start")).code == "not_found"
    unknown = await api.call("POST", "runsheet/mug/explode")
    assert unknown.code == "not_found"
    assert "rehearse" in unknown.json["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"items": [MUG, MUG]}, "invalid"),
        ({"items": [MUG | {"draft": DRAFT | {"price": 12.9}}]}, "invalid"),
        ({"items": [MUG | {"draft": DRAFT | {"ends_at": 4_000_000_000_000}}]}, "invalid"),
        ({"items": [{"item": "x"}]}, "invalid"),
        ({}, "invalid"),
    ],
)
async def test_bad_sheets(api: Api, body: dict[str, Any], code: str) -> None:
    """A sheet with an item that could never be started is refused, and the one before stays."""
    await api.make_room()
    before = await put(api, BAG)
    assert (await api.call("PUT", "runsheet", body)).code == code
    assert (await api.call("GET", "runsheet")).json == before


async def test_who_may_and_where(api: Api) -> None:
    """Viewers have no part in it; a room that was never made has no sheet, and a closed one takes none."""
    assert (await api.call("GET", "runsheet")).code == "unknown_room"
    assert (await api.call("PUT", "runsheet", {"items": []})).code == "unknown_room"
    await api.make_room()
    assert (await api.call("GET", "runsheet", token="viewer")).code == "forbidden"
    await put(api, MUG)
    await api.call("POST", "close")
    assert (await api.call("PUT", "runsheet", {"items": []})).code == "room_closed"
    assert (await api.call("POST", "runsheet/mug/start")).code == "room_closed"
