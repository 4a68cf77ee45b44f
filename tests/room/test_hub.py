"""The hub on virtual time: loading, following, repairing and letting go of rooms."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from liveroom.server.room.desk import Ids, RoomDesk
from liveroom.server.room.hub import IDLE_S, Hub
from liveroom.server.room.ports import Append, Refused, Unavailable
from tests.room.fakes import SETTINGS, FakeStore, FakeViewer, comment, notice, order, turns
from tests.virtual_time import on_virtual_time


class _Arrival:
    """Someone at the door; ``desk``, ``orders`` and ``told`` are set when the hub has answered."""

    def __init__(self, hub: Hub, room: str = "show", user: str = "ann") -> None:
        self.user = user
        self.answers = 0
        hub.arrive(room, user, self._done)

    def _done(self, desk: RoomDesk | Refused, orders: bytes, told: list[bytes]) -> None:
        self.answers += 1
        self.desk, self.orders, self.told = desk, orders, told

    @property
    def code(self) -> str:
        """Return the code of the refusal."""
        assert self.answers == 1
        assert isinstance(self.desk, Refused)
        return self.desk.code

    def join(self, group: int = 0) -> FakeViewer:
        """Join the room, as a connection does."""
        assert self.answers == 1
        assert isinstance(self.desk, RoomDesk), self.desk
        viewer = FakeViewer(self.desk.room, self.user, group)
        viewer.open(self.orders, told=self.told)
        self.desk.viewers_changed()
        return viewer


def _hub(store: FakeStore, **settings: Any) -> Hub:
    return Hub(
        store,
        SETTINGS,
        comments_per_s=40.0,
        create_rooms=settings.pop("create", False),
        ids=Ids("p"),
        **settings,
    )


def _with_room() -> tuple[FakeStore, Hub]:
    store = FakeStore()
    store.add("show")
    return store, _hub(store)


async def _joined(hub: Hub, user: str = "ann") -> FakeViewer:
    arrival = _Arrival(hub, user=user)
    await turns()
    return arrival.join()


# --- getting in ---------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_room_is_followed_before_it_is_read() -> None:
    """What is published between the two is held, and is in the room when somebody joins."""
    store, hub = _with_room()
    store.publish("show", notice("before"))
    store.hold("load")
    arrival = _Arrival(hub)
    await turns()
    assert [call[0] for call in store.calls] == ["follow", "load"]
    store.publish("show", notice("meanwhile"), comment("c-3"))
    store.release("load")
    await turns()
    viewer = arrival.join()
    assert viewer.client.offset == 3
    assert [c["comment"] for c in viewer.client.welcomes[0]["recent"]] == ["c-3"]
    assert hub.gaps_filled == 0


@on_virtual_time
async def test_what_was_both_read_and_delivered_is_there_once() -> None:
    """A delivery that came before the store was read is known already."""
    store, hub = _with_room()
    store.hold("load", read_first=False)
    arrival = _Arrival(hub)
    await turns()
    store.publish("show", notice("a"))
    store.release("load")
    await turns()
    viewer = arrival.join()
    assert viewer.client.offset == 1
    store.publish("show", notice("b"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["b"]
    assert hub.gaps_filled == 0


@on_virtual_time
async def test_two_who_come_at_once_load_a_room_once() -> None:
    """The second waits for the first one's load; both get in."""
    store, hub = _with_room()
    store.hold("load")
    arrivals = [_Arrival(hub, user=user) for user in ("ann", "bob")]
    asked = asyncio.ensure_future(hub.desk("show"))
    await turns()
    store.release("load")
    await turns()
    assert len(store.named("follow")) == len(store.named("load")) == 1
    assert {arrival.join().room for arrival in arrivals} == {(await asked).room}


@on_virtual_time
async def test_a_room_that_is_held_is_not_read_again() -> None:
    """Only the user's orders are asked for."""
    store, hub = _with_room()
    store.orders["bob"] = b'[{"order":"o-1"}]'
    await _joined(hub)
    store.calls.clear()
    viewer = await _joined(hub, "bob")
    assert {call[0] for call in store.calls} == {"open_orders", "beat"}
    assert viewer.client.welcomes[0]["orders"] == [{"order": "o-1"}]
    assert (await hub.desk("show")).room is viewer.room


@on_virtual_time
async def test_an_order_made_during_the_arrival_reaches_the_viewer() -> None:
    """It is in no list that was read, and comes right after the welcome."""
    store, hub = _with_room()
    await hub.desk("show")
    store.hold("open_orders")
    arrival = _Arrival(hub)
    await turns()
    store.publish("show", notice("a"), orders=[("ann", order("o-1"))])
    store.release("open_orders")
    await turns()
    assert [told["order"] for told in arrival.join().client.orders] == ["o-1"]


@on_virtual_time
async def test_an_unknown_room_is_refused_and_leaves_nothing_behind() -> None:
    """Without rooms on first use: ``unknown_room``, and nothing is followed or held."""
    store = FakeStore()
    hub = _hub(store)
    arrival = _Arrival(hub, "nowhere")
    await turns()
    assert arrival.code == "unknown_room"
    assert (store.following, store.records, hub.desks, hub._held, hub._loading) == ({}, {}, {}, {}, {})
    with pytest.raises(Refused, match="nowhere"):
        await hub.desk("nowhere")


@on_virtual_time
async def test_rooms_appear_on_first_use_where_they_may() -> None:
    """With ``create_rooms`` a join makes the room."""
    store = FakeStore()
    hub = _hub(store, create=True)
    arrival = _Arrival(hub, "new")
    await turns()
    arrival.join()
    assert set(store.records) == {"new"}


@on_virtual_time
async def test_a_closed_room_is_refused() -> None:
    """Nobody joins a room that is over, whether it was held or not."""
    store, hub = _with_room()
    store.records["show"].closed_at = 1
    for _ in range(2):
        arrival = _Arrival(hub)
        await turns()
        assert arrival.code == "room_closed"


@pytest.mark.parametrize("call", ["follow", "load"])
@on_virtual_time
async def test_a_load_that_fails_leaves_nothing_behind_and_the_next_succeeds(call: str) -> None:
    """The refusal is handed on, nothing is followed or held, and the store is asked afresh next time."""
    store, hub = _with_room()
    store.faults[call] = Unavailable()
    first, second = _Arrival(hub), _Arrival(hub)
    await turns()
    assert first.code == second.code == "unavailable"
    assert (store.following, hub.desks, hub._held, hub._loading) == ({}, {}, {}, {})
    store.faults.clear()
    third = _Arrival(hub)
    await turns()
    third.join()


@on_virtual_time
async def test_a_load_that_fails_by_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The viewer is answered ``internal``, whose meaning is that the fault was logged."""
    store, hub = _with_room()
    store.faults["load"] = ZeroDivisionError()
    arrival = _Arrival(hub)
    await turns()
    assert arrival.code == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert (store.following, hub.desks, hub._held) == ({}, {}, {})


@on_virtual_time
async def test_orders_that_cannot_be_read_refuse_the_join() -> None:
    """A room that is held lets nobody in who would not see their own orders."""
    store, hub = _with_room()
    await hub.desk("show")
    store.away = True
    arrival = _Arrival(hub)
    await turns()
    assert arrival.code == "unavailable"


@on_virtual_time
async def test_one_who_stops_waiting_does_not_end_the_load_for_others() -> None:
    """A cancelled request for a room leaves the load to those who still want it."""
    store, hub = _with_room()
    store.hold("load")
    gone = asyncio.ensure_future(hub.desk("show"))
    arrival = _Arrival(hub)
    await turns()
    gone.cancel()
    await turns()
    store.release("load")
    await turns()
    arrival.join()


# --- from the host's side ---------------------------------------------------------------------------------------------


def _event(text: str) -> Append:
    return Append([b"f" + notice(text).json])


@on_virtual_time
async def test_publishing_to_a_room_that_is_held_is_batched() -> None:
    """What comes while a call is under way goes together into the next, and each gets its own offset."""
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.hold("append")
    first = asyncio.ensure_future(hub.publish("show", _event("0")))
    await turns()
    rest = [asyncio.ensure_future(hub.publish("show", _event(f"{n}"))) for n in range(1, 20)]
    await turns()
    store.release("append")
    assert await asyncio.gather(first, *rest) == list(range(1, 21))
    assert [len(appends) for _, appends in store.named("append")] == [1, 19]
    await asyncio.sleep(1)
    assert viewer.client.texts() == [f"{n}" for n in range(20)]


@on_virtual_time
async def test_publishing_to_a_room_nobody_watches_does_not_load_it() -> None:
    """One call, no subscription; an unknown room is refused."""
    store, hub = _with_room()
    assert await hub.publish("show", _event("a")) == 1
    assert [call[0] for call in store.calls] == ["append"]
    with pytest.raises(Refused) as refused:
        await hub.publish("nowhere", _event("a"))
    assert refused.value.code == "unknown_room"


@on_virtual_time
async def test_publishing_makes_the_room_where_rooms_appear_on_first_use() -> None:
    """The event is the room's first."""
    hub = _hub(FakeStore(), create=True)
    assert await hub.publish("new", _event("a")) == 1


# --- following -------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_gap_is_filled_from_the_store() -> None:
    """A lost message is read again, what comes meanwhile waits, and everyone has everything in order."""
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.deaf = True
    store.publish("show", notice("lost"))
    store.deaf = False
    store.hold("load")
    store.publish("show", notice("seen"))
    await turns()
    store.publish("show", notice("meanwhile"))
    store.release("load")
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["lost", "seen", "meanwhile"]
    assert store.named("load")[1:] == [("show", ("e1", 0))]
    assert hub.gaps_filled == 1


@on_virtual_time
async def test_a_repair_is_tried_again_while_the_store_is_away() -> None:
    """Viewers stay; once the store is back the gap is filled, and deliveries are taken in again."""
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.deaf = store.away = True
    store.publish("show", notice("lost"))
    hub.repair("show")
    await asyncio.sleep(20)
    asked = len(store.named("load"))
    assert 10 < asked < 60
    assert viewer.client.texts() == []
    store.deaf = store.away = False
    store.publish("show", notice("next"))
    await asyncio.sleep(2)
    assert viewer.client.texts() == ["lost", "next"]
    assert (hub.gaps_filled, hub._held) == (1, {})
    store.publish("show", notice("last"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["lost", "next", "last"]


@on_virtual_time
async def test_a_repair_that_fails_by_a_fault_of_ours_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One fault does not leave a room deaf."""
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.faults["load"] = ZeroDivisionError()
    hub.repair("show")
    await asyncio.sleep(1)
    assert "ZeroDivisionError" in caplog.text
    store.faults.clear()
    store.publish("show", notice("a"))
    await asyncio.sleep(2)
    assert viewer.client.texts() == ["a"]


@on_virtual_time
async def test_a_room_that_is_gone_from_the_store_does_not_stay_held(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and the repair ends."""
    store, hub = _with_room()
    await _joined(hub)
    del store.records["show"]
    hub.repair("show")
    await turns()
    assert "gone from the store" in caplog.text
    assert hub._held == {}


@on_virtual_time
async def test_a_repair_of_a_room_that_is_not_held_is_nothing() -> None:
    """A subscription that comes back for a room just freed asks for nothing."""
    store, hub = _with_room()
    hub.repair("show")
    await turns()
    assert store.calls == []


@on_virtual_time
async def test_a_new_epoch_restarts_viewers_with_their_orders(caplog: pytest.LogCaptureFixture) -> None:
    """Each gets a welcome of the new epoch with what the store has of its orders, looked up together."""
    caplog.set_level(logging.CRITICAL)
    store, hub = _with_room()
    ann, bob = await _joined(hub, "ann"), await _joined(hub, "bob")
    store.orders["ann"] = b'[{"order":"o-1"}]'
    store.records["show"].epoch = "e2"
    store.log.clear()
    store.records["show"].offset = 0
    asked = len(store.named("open_orders"))
    store.publish("show", notice("a"))
    await asyncio.sleep(1)
    for viewer, orders in ((ann, [{"order": "o-1"}]), (bob, [])):
        assert [welcome["epoch"] for welcome in viewer.client.welcomes] == ["e1", "e2"]
        assert viewer.client.welcomes[-1]["orders"] == orders
        assert viewer.client.offset == 1
    assert len(store.named("open_orders")) == asked + 1
    store.publish("show", notice("b"))
    await asyncio.sleep(1)
    assert ann.client.texts() == bob.client.texts() == ["b"]


@on_virtual_time
async def test_an_order_made_while_a_viewer_starts_afresh_is_told_after_its_welcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The welcome replaces what the client held, so an order it does not hold must come again behind it."""
    caplog.set_level(logging.CRITICAL)
    store, hub = _with_room()
    viewer, gone = await _joined(hub), await _joined(hub, "bob")
    store.records["show"].epoch = "e2"
    hub.repair("show")
    store.hold("open_orders")
    await turns()
    store.publish("show", notice("a"), orders=[("ann", order("o-1")), ("bob", order("o-2"))])
    gone.leave()
    seen: list[str] = []
    take = viewer.on_frame

    def note(message: dict[str, Any]) -> None:
        seen.append(message["type"])
        take(message)

    viewer.on_frame = note
    store.release("open_orders")
    await turns()
    assert seen[:2] == ["welcome", "order"]
    assert viewer.client.orders[-1]["order"] == "o-1"


@on_virtual_time
async def test_a_viewer_whose_orders_cannot_be_read_is_sent_away_to_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot be given a true welcome, so it is told when to join again."""
    caplog.set_level(logging.CRITICAL)
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.records["show"].epoch = "e2"
    store.faults["open_orders"] = Unavailable()
    hub.repair("show")
    await turns()
    assert viewer.byes == [("too_slow", 1000)]


# --- letting go -------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_an_idle_room_is_freed_and_loads_again() -> None:
    """After a while without viewers nothing of it is left here; the next viewer finds everything."""
    store, hub = _with_room()
    viewer = await _joined(hub)
    store.publish("show", comment("c-1"))
    await asyncio.sleep(IDLE_S + 1)
    await hub.free_idle()
    assert set(hub.desks) == {"show"}, "somebody is there"
    viewer.leave()
    hub.desks["show"].viewers_changed()
    await asyncio.sleep(IDLE_S - 1)
    await hub.free_idle()
    assert set(hub.desks) == {"show"}, "not for so long"
    await asyncio.sleep(2)
    await hub.free_idle()
    assert (hub.desks, store.following, hub._held, hub._loading) == ({}, {}, {}, {})
    assert (hub.freed_passes, hub.freed_deliveries) == (1, 1)
    assert store.viewers == {"show": 0}
    count = len(store.calls)
    await asyncio.sleep(600)
    assert len(store.calls) == count
    again = await _joined(hub)
    assert [c["comment"] for c in again.client.welcomes[0]["recent"]] == ["c-1"]


@on_virtual_time
async def test_a_room_with_something_under_way_is_not_freed() -> None:
    """Likes that wait for the store, and a repair, keep a room."""
    store, hub = _with_room()
    desk = await hub.desk("show")
    await asyncio.sleep(IDLE_S + 1)
    store.away = True
    desk.like(1)
    await asyncio.sleep(1)
    await hub.free_idle()
    assert set(hub.desks) == {"show"}
    store.away = False
    await asyncio.sleep(10)
    store.away = True
    hub.repair("show")
    await turns()
    await hub.free_idle()
    assert set(hub.desks) == {"show"}
    store.away = False
    await asyncio.sleep(10)
    await hub.free_idle()
    assert hub.desks == {}
    assert store.likes == 1


@on_virtual_time
async def test_one_who_comes_while_a_room_is_freed_is_not_left_deaf() -> None:
    """The end of the old subscription does not take the new one with it."""
    store, hub = _with_room()
    await hub.desk("show")
    await asyncio.sleep(IDLE_S + 1)
    store.hold("unfollow")
    freeing = asyncio.ensure_future(hub.free_idle())
    await turns()
    arrival = _Arrival(hub)
    await turns()
    store.release("unfollow")
    await freeing
    await turns()
    viewer = arrival.join()
    store.publish("show", notice("a"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["a"]


@on_virtual_time
async def test_close_brings_what_desks_hold_to_the_store_and_refuses_who_comes() -> None:
    """Likes arrive, repairs end, and nobody is let in any more."""
    store, hub = _with_room()
    await _joined(hub)
    await asyncio.sleep(1)
    hub.desks["show"].like(5)
    store.hold("load")
    hub.repair("show")
    await turns()
    await hub.close()
    assert store.likes == 5
    assert store.viewers == {"show": 0}
    assert hub.desks == {}
    arrival = _Arrival(hub)
    await turns()
    assert arrival.code == "unavailable"
