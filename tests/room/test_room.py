"""A room on virtual time: when passes go, who resumes, what a gap does, and how it ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from liveroom.server.room.fanout import CATCH_UP_EVENTS
from liveroom.server.room.flush import GROUPS
from liveroom.server.room.log import Log
from liveroom.server.room.ports import Delivery
from tests.room.fakes import (
    NOW_MS,
    SETTINGS,
    FakeViewer,
    Stage,
    comment,
    loaded_room,
    notice,
    order,
    pinned,
    room_closed,
    sale,
    turns,
)
from tests.virtual_time import on_virtual_time

FACT_S, CHATTER_S, HOT_S, STATE_S = 0.05, 0.1, 0.5, 0.25
WINDOWS = SETTINGS._replace(
    fact_window_ms=50, chatter_window_ms=100, chatter_window_hot_ms=500, hot_viewers=10, state_window_ms=250
)


def _since(viewer: FakeViewer, start: float) -> list[float]:
    """Return when each batch came, in s of virtual time."""
    return [round(at - start, 3) for at in viewer.times[1:]]


# --- when a pass is due ---------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_quiet_room_s_first_fact_goes_at_once_and_the_next_within_the_window() -> None:
    """No time passes before the first; the second waits for the rest of the window, with what else came."""
    stage = Stage(WINDOWS)
    viewer = stage.join()
    await asyncio.sleep(10)
    start = stage.loop.time()
    stage.deliver(notice("a"))
    await asyncio.sleep(0.01)
    stage.deliver(notice("b"))
    await asyncio.sleep(0.01)
    stage.deliver(notice("c"))
    await asyncio.sleep(10)
    assert _since(viewer, start) == [0.0, FACT_S]
    assert [len(batch["events"]) for batch in viewer.client.batches] == [1, 2]


@on_virtual_time
async def test_what_comes_in_one_turn_goes_in_one_pass() -> None:
    """Several deliveries of one read make one batch, even when the room was quiet."""
    stage = Stage(WINDOWS)
    viewer = stage.join()
    await asyncio.sleep(10)
    for text in "abc":
        stage.deliver(notice(text))
    await turns()
    assert [len(batch["events"]) for batch in viewer.client.batches] == [3]
    assert stage.room.passes == 1


@on_virtual_time
async def test_a_comment_waits_longer_the_larger_the_room() -> None:
    """The chatter window grows with the audience from the small room's to the hot one's, and no further."""
    stage = Stage(WINDOWS)
    for present, window in ((0, CHATTER_S), (5, 0.3), (10, HOT_S), (20, HOT_S)):
        while len(stage.room.audience) < present:
            stage.join(f"user-{len(stage.room.audience)}")
        first = stage.join() if present == 0 else stage.room.audience.everyone()[0]
        assert isinstance(first, FakeViewer)
        await asyncio.sleep(10)
        stage.deliver(comment("c"))
        await turns()
        start, first.times = stage.loop.time(), [0.0]
        stage.deliver(comment("d"))
        await asyncio.sleep(10)
        if present == 0:
            first.leave()
            continue
        assert _since(first, start) == [window]


@on_virtual_time
async def test_a_fact_takes_waiting_comments_and_state_with_it() -> None:
    """The earliest lane that is due starts the pass, and the pass carries everything pending."""
    stage = Stage(WINDOWS)
    viewer = stage.join()
    await asyncio.sleep(10)
    stage.deliver(notice("a"))
    await turns()
    start, viewer.times = stage.loop.time(), [0.0]
    stage.deliver(state=b'{"likes":3}')
    stage.deliver(comment("c"))
    stage.deliver(notice("b"))
    await asyncio.sleep(10)
    assert _since(viewer, start) == [FACT_S]
    assert viewer.client.texts() == ["a", "c", "b"]
    assert viewer.client.state == {"likes": 3}


@on_virtual_time
async def test_state_alone_waits_for_its_own_window_and_is_conflated() -> None:
    """Many changes within the window are one batch with the last value and no event."""
    stage = Stage(WINDOWS)
    viewer = stage.join()
    await asyncio.sleep(10)
    stage.deliver(notice("a"))
    await turns()
    start, viewer.times = stage.loop.time(), [0.0]
    for n in range(9):
        stage.deliver(state=b'{"likes":%d}' % n)
        await asyncio.sleep(0.02)
    await asyncio.sleep(10)
    assert _since(viewer, start) == [STATE_S]
    assert viewer.client.batches[-1]["events"] == []
    assert viewer.client.state == {"likes": 8}


@on_virtual_time
async def test_numbers_that_do_not_change_start_no_pass() -> None:
    """The same numbers told again and again cost nothing."""
    stage = Stage(loaded=loaded_room(state=b'{"likes":3}'))
    viewer = stage.join()
    for _ in range(5):
        stage.deliver(state=b'{"likes":3}')
        await asyncio.sleep(1)
    assert viewer.client.batches == []
    assert stage.room.passes == 0


@on_virtual_time
async def test_what_comes_during_a_pass_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact that becomes due while a long pass runs is not forgotten, and starts no second pass beside it."""
    monkeypatch.setattr("liveroom.server.room.fanout.SLICE", 1)
    stage = Stage(WINDOWS)
    viewers = [stage.join(f"user-{n}") for n in range(30)]
    await asyncio.sleep(10)
    stage.deliver(notice("a"))
    await turns(8)
    assert stage.room.audience.passing
    stage.loop.advance(FACT_S)  # type: ignore[attr-defined]
    stage.deliver(notice("b"))
    await turns(8)
    assert stage.room.passes == 1
    await asyncio.sleep(10)
    assert stage.room.passes == 2
    assert all(viewer.client.texts() == ["a", "b"] for viewer in viewers)


# --- resume -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", range(GROUPS))
@on_virtual_time
async def test_one_who_resumes_within_the_window_gets_exactly_what_it_missed(group: int) -> None:
    """Every fact and every comment after its offset, in order, however many, and no snapshot."""
    stage = Stage()
    texts = [f"{n}" for n in range(300)]
    for n, text in enumerate(texts):
        stage.deliver(comment(text) if n % 2 else notice(text))
    await asyncio.sleep(1)
    viewer = stage.join(group=group, resume=("e1", 7))
    (welcome,) = viewer.client.welcomes
    assert (welcome["resumed"], welcome["offset"], welcome["recent"]) == (True, 7, [])
    assert viewer.client.texts() == texts[7:]
    assert all("skipped" not in batch for batch in viewer.client.batches)
    assert all(len(batch["events"]) <= CATCH_UP_EVENTS for batch in viewer.client.batches)
    stage.deliver(notice("next"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == [*texts[7:], "next"]


@on_virtual_time
async def test_one_who_resumes_at_the_head_misses_nothing() -> None:
    """A resume with nothing missed is a resume, with no batch."""
    stage = Stage()
    stage.deliver(notice("a"))
    await asyncio.sleep(1)
    viewer = stage.join(resume=("e1", 1))
    assert viewer.client.welcomes[0]["resumed"]
    assert viewer.client.batches == []


@on_virtual_time
async def test_one_who_resumes_ahead_of_this_node_waits_for_it() -> None:
    """An offset this node has read but not flushed yet is kept: the next pass brings only what follows."""
    stage = Stage()
    await asyncio.sleep(10)
    stage.deliver(notice("a"), notice("b"))
    viewer = stage.join(resume=("e1", 1))
    assert viewer.client.welcomes[0]["resumed"]
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["b"]
    stage.deliver(notice("c"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["b", "c"]


@pytest.mark.parametrize("resume", [("e1", 5), ("e1", 31), ("e1", 10**12), ("other", 28), ("", 0)], ids=str)
@on_virtual_time
async def test_a_resume_that_cannot_be_kept_is_a_snapshot(
    resume: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the window, beyond the head or of another epoch: ``resumed`` false, and the room as it stands."""
    monkeypatch.setattr(Log, "_TRIM_STEP", 1)
    stage = Stage(SETTINGS._replace(history_events=10))
    for n in range(29):
        stage.deliver(comment(f"c-{n}"))
        await asyncio.sleep(1)
    stage.deliver(pinned("A mug"))
    await asyncio.sleep(1)
    viewer = stage.join(resume=resume)
    (welcome,) = viewer.client.welcomes
    assert (welcome["resumed"], welcome["epoch"], welcome["offset"]) == (False, "e1", 30)
    assert welcome["pinned"] == {"title": "A mug"}
    assert [c["comment"] for c in welcome["recent"]] == [f"c-{n}" for n in range(29)]
    assert viewer.client.batches == []


@on_virtual_time
async def test_a_joiner_is_shown_what_was_flushed_and_then_given_the_rest() -> None:
    """A fact that has arrived but was not flushed is not in the snapshot, and comes as a batch."""
    stage = Stage()
    await asyncio.sleep(10)
    stage.deliver(pinned("First"))
    await turns()
    stage.deliver(pinned("Second"))
    viewer = stage.join()
    assert viewer.client.welcomes[0]["pinned"] == {"title": "First"}
    assert viewer.client.offset == 1
    await asyncio.sleep(1)
    assert [event["pinned"] for event in viewer.client.events] == [{"title": "Second"}]


# --- orders --------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_an_order_goes_to_all_of_its_buyer_s_connections_and_to_nobody_else() -> None:
    """Every tab and every device of the buyer, in its own encoding, at once and beside the log."""
    stage = Stage()
    buyers = [stage.join("ann", group) for group in range(GROUPS)]
    other = stage.join("bob")
    stage.deliver(orders=[("ann", order("o-1")), ("nobody", order("o-2"))])
    for viewer in buyers:
        assert viewer.client.orders == [{"type": "order", "order": "o-1", "version": 1}]
    assert other.client.orders == []
    buyers.pop().leave()
    stage.deliver(orders=[("ann", order("o-3"))])
    assert [[told["order"] for told in viewer.client.orders] for viewer in buyers] == [["o-1", "o-3"]] * 3
    for viewer in buyers:
        viewer.leave()
    stage.deliver(orders=[("ann", order("o-4"))])
    assert set(stage.room.by_user) == {"bob"}


@on_virtual_time
async def test_an_order_that_cannot_be_written_drops_that_connection_only() -> None:
    """One broken tab of the buyer does not keep the order from the other."""
    stage = Stage()
    broken, other = stage.join("ann"), stage.join("ann")
    broken.broken = True
    stage.deliver(notice("a"), orders=[("ann", order("o-1"))])
    await turns()
    assert broken.dropped
    assert [told["order"] for told in other.client.orders] == ["o-1"]
    assert other.client.texts() == ["a"]


# --- gaps and repairs ----------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_gap_is_told_and_nothing_after_it_is_taken_in() -> None:
    """A delivery beyond the next offset, or of another epoch, is not appended."""
    stage = Stage()
    viewer = stage.join()
    stage.deliver(notice("a"))
    stage.deliver(notice("c"), first=3, orders=[("ann", order("o-1"))], state=b'{"likes":1}')
    assert stage.gaps == 1
    stage.deliver(notice("x"), first=2, epoch="e2")
    assert stage.gaps == 2
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["a"]
    assert (viewer.client.orders, viewer.client.state) == ([], {})


@on_virtual_time
async def test_numbers_told_beyond_a_gap_show_it() -> None:
    """A delivery without events names the offset it would have had, so a lost message is noticed at once."""
    stage = Stage()
    stage.deliver(state=b'{"likes":1}', first=2)
    assert stage.gaps == 1


@on_virtual_time
async def test_a_delivery_that_comes_twice_or_overlaps_adds_only_what_is_new() -> None:
    """Events that are known are left out, wherever the delivery begins."""
    stage = Stage()
    viewer = stage.join()
    first = stage.deliver(notice("a"), notice("b"))
    stage.room.receive(first)
    stage.deliver(notice("b"), notice("c"), first=2)
    stage.room.receive(first)
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["a", "b", "c"]
    assert stage.gaps == 0


@on_virtual_time
async def test_what_was_missed_is_taken_in_and_nobody_starts_afresh() -> None:
    """After a repair within the window everyone has everything, in order, with the numbers of the store."""
    stage = Stage()
    viewer = stage.join()
    stage.deliver(notice("a"))
    lost = [stage.delivery(notice("b"), first=2), stage.delivery(notice("c"), comment("d"), first=3)]
    stage.room.repair(loaded_room(lost, offset=4, state=b'{"likes":9}', at=stage.now_ms()))
    stage.deliver(notice("e"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == ["a", "b", "c", "d", "e"]
    assert viewer.client.state == {"likes": 9}
    assert len(viewer.client.welcomes) == 1
    assert stage.restarts == []


@on_virtual_time
async def test_a_repair_that_brings_only_numbers_tells_them() -> None:
    """Nothing was missed but a change of state: it is told within the state's window."""
    stage = Stage()
    viewer = stage.join()
    await asyncio.sleep(10)
    stage.room.repair(loaded_room(state=b'{"likes":9}', at=stage.now_ms()))
    await asyncio.sleep(1)
    assert viewer.client.state == {"likes": 9}


_AFRESH = pytest.mark.parametrize(
    ("epoch", "first", "offset"),
    [("e2", 1, 2), ("e1", 8, 9), ("e1", None, 9)],
    ids=["another epoch", "beyond the window", "nothing is left of it"],
)


@_AFRESH
@on_virtual_time
async def test_what_cannot_be_filled_restarts_everyone(
    epoch: str, first: int | None, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Every viewer, also a stalled one when it returns, gets a new welcome with its orders, and goes on."""
    caplog.set_level(logging.CRITICAL)
    stage = Stage()
    viewers = [stage.join(f"user-{n}", n) for n in range(GROUPS)]
    stalled = stage.join("slow")
    stalled.capacity = 0
    stage.deliver(notice("a"))
    await turns()
    assert stalled.paused
    deliveries = (
        [] if first is None else [Delivery(epoch, first, NOW_MS, [notice("x"), comment("y")], [], None)]
    )
    changed: list[None] = []
    stage.room.on_sales_changed = lambda: changed.append(None)
    stage.room.repair(loaded_room(deliveries, epoch=epoch, offset=offset, pinned=b'{"title":"P"}'))
    assert changed
    assert stage.restarts == viewers
    stage.deliver(notice("b"))
    await asyncio.sleep(1)
    assert all(len(viewer.client.welcomes) == 1 for viewer in viewers), "nothing before the new welcome"
    stalled.drain()
    assert stage.restarts == [*viewers, stalled]
    for viewer in stage.restarts:
        stage.room.restart(viewer, b'[{"order":"o-1"}]')
    for viewer in stage.restarts:
        welcome = viewer.client.welcomes[-1]
        assert (welcome["epoch"], welcome["offset"], welcome["resumed"]) == (epoch, offset + 1, False)
        assert welcome["orders"] == [{"order": "o-1"}]
        assert welcome["pinned"] == {"title": "P"}
    stage.deliver(notice("c"))
    await asyncio.sleep(1)
    assert all(viewer.client.texts() == ["c"] for viewer in stage.restarts)


@on_virtual_time
async def test_a_pass_under_way_ends_when_everyone_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slices are given up; the viewers it had not reached get the new welcome and no old event."""
    monkeypatch.setattr("liveroom.server.room.fanout.SLICE", 1)
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(9)]
    await asyncio.sleep(10)
    stage.deliver(notice("old"))
    while not viewers[3].client.batches:
        await asyncio.sleep(0)
    stage.room.repair(loaded_room(epoch="e2"))
    for viewer in viewers:
        stage.room.restart(viewer, b"[]")
    stage.deliver(notice("new"))
    await asyncio.sleep(1)
    assert all(viewer.client.texts() == ["new"] for viewer in viewers)
    assert [len(viewer.client.batches) for viewer in viewers] == [2] * 4 + [1] * 5


@on_virtual_time
async def test_who_starts_afresh_with_a_full_socket_is_not_written_to_until_it_drains() -> None:
    """The new welcome waits in its socket; what follows waits in the log."""
    stage = Stage()
    viewer = stage.join()
    stage.room.repair(loaded_room(epoch="e2"))
    viewer.capacity = 0
    stage.deliver(orders=[("ann", order("o-1"))])
    assert viewer.paused
    stage.room.restart(viewer, b"[]")
    stage.deliver(comment("c-1"), notice("a"))
    await asyncio.sleep(1)
    assert viewer.client.texts() == []
    viewer.drain()
    assert viewer.client.texts() == ["c-1", "a"]


@on_virtual_time
async def test_who_left_meanwhile_is_not_restarted() -> None:
    """Orders found for one who has gone are thrown away."""
    stage = Stage()
    viewer = stage.join()
    stage.room.repair(loaded_room(epoch="e2"))
    viewer.leave()
    stage.room.restart(viewer, b"[]")
    assert len(viewer.frames) == 1
    assert len(stage.room.audience) == 0


@on_virtual_time
async def test_a_restart_that_cannot_be_written_drops_the_viewer() -> None:
    """One broken socket among those that start afresh is dropped, and nothing is raised."""
    stage = Stage()
    viewer = stage.join()
    stage.room.repair(loaded_room(epoch="e2"))
    viewer.broken = True
    stage.room.restart(viewer, b"[]")
    await turns()
    assert viewer.dropped == 1
    assert len(stage.room.audience) == 0


# --- the end -----------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_everyone_is_told_that_the_room_is_closed_and_then_goodbye() -> None:
    """The fact first, then ``bye`` that says not to come back; a stalled viewer gets both when it drains."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}", n) for n in range(GROUPS)]
    stalled = stage.join("slow")
    stalled.capacity = 0
    stage.deliver(notice("a"))
    await asyncio.sleep(1)
    stage.deliver(notice("b"), room_closed())
    await asyncio.sleep(1)
    for viewer in viewers:
        assert viewer.client.texts() == ["a", "b", "room_closed"]
        assert viewer.byes == [("room_closed", None)]
    assert stalled.client.texts() == ["a"]
    assert stalled.byes == []
    stalled.drain()
    assert stalled.client.texts() == ["a", "b", "room_closed"]
    assert stalled.byes == [("room_closed", None)]
    assert len(stage.room.audience) == 0


@on_virtual_time
async def test_who_came_while_the_room_closed_is_told_goodbye() -> None:
    """A join that was under way when the room closed ends with a welcome and ``bye``."""
    stage = Stage(loaded=loaded_room(closed=True))
    viewer = stage.join()
    assert len(viewer.client.welcomes) == 1
    assert viewer.byes == [("room_closed", None)]


@on_virtual_time
async def test_who_starts_afresh_in_a_room_that_is_closed_is_told_goodbye() -> None:
    """A room found closed after a gap does not keep its viewers waiting for nothing."""
    stage = Stage()
    viewer = stage.join()
    stage.room.repair(loaded_room(epoch="e2", closed=True))
    stage.room.restart(viewer, b"[]")
    await asyncio.sleep(1)
    assert len(viewer.client.welcomes) == 2
    assert viewer.byes == [("room_closed", None)]


@on_virtual_time
async def test_a_room_knows_since_when_nobody_is_there() -> None:
    """Idle from the start and from the last one's leaving; not while somebody is there."""
    stage = Stage()
    assert stage.room.idle_since == stage.loop.time()
    one, two = stage.join("ann"), stage.join("ann")
    assert stage.room.idle_since is None
    one.leave()
    one.leave()
    assert stage.room.idle_since is None
    await asyncio.sleep(3)
    two.leave()
    assert stage.room.idle_since == stage.loop.time()
    assert stage.room.by_user == {}


@on_virtual_time
async def test_a_stopped_room_does_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a pass that was due nor one that was under way goes on."""
    monkeypatch.setattr("liveroom.server.room.fanout.SLICE", 1)
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(3)]
    await asyncio.sleep(10)
    stage.deliver(notice("a"))
    await turns(2)
    stage.deliver(notice("b"))
    stage.room.stop()
    written = sum(len(viewer.client.batches) for viewer in viewers)
    await asyncio.sleep(1)
    assert sum(len(viewer.client.batches) for viewer in viewers) == written < 3


@on_virtual_time
async def test_a_sale_told_by_a_fact_is_told_to_the_desk() -> None:
    """Whoever watches the sales' times hears of a change with the pass that carries it."""
    stage = Stage()
    changed: list[list[str]] = []
    stage.room.on_sales_changed = lambda: changed.append(list(stage.room.present.sales))
    stage.deliver(notice("a"))
    await asyncio.sleep(1)
    assert changed == []
    stage.deliver(sale("s-1"))
    await asyncio.sleep(1)
    assert changed == [["s-1"]]


@on_virtual_time
async def test_a_room_is_read_with_its_past() -> None:
    """What the store still holds can be resumed from, and its comments are shown."""
    past = [
        Delivery("e1", 4, NOW_MS, [comment("c-4"), notice("n-5")], [], None),
        Delivery("e1", 6, NOW_MS, [comment("c-6")], [], None),
    ]
    stage = Stage(loaded=loaded_room(past, offset=6, sales=[sale("s-1").json], state=b'{"likes":2}'))
    fresh = stage.join()
    (welcome,) = fresh.client.welcomes
    assert (welcome["offset"], welcome["state"]) == (6, {"likes": 2})
    assert [c["comment"] for c in welcome["recent"]] == ["c-4", "c-6"]
    assert [shown["sale"] for shown in welcome["sales"]] == ["s-1"]
    assert stage.join(resume=("e1", 3)).client.texts() == ["c-4", "n-5", "c-6"]
    assert not stage.join(resume=("e1", 2)).client.welcomes[0]["resumed"]
    assert welcome["orders"] == []
