"""The room's desk on virtual time: beats, likes, comments, look-ups, and the end."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from liveroom.server.room.desk import LEASE_RENEW_S, Ids, RoomDesk
from liveroom.server.room.ports import Refused, Unavailable
from tests.room.fakes import FakeStore, FakeViewer, Stage, notice, order, sale, turns
from tests.virtual_time import on_virtual_time

STATE_S = 0.25


class _Desk(Stage):
    """A room and its desk on a store that tells the room what is published."""

    def __init__(self, comments_per_s: float = 40.0) -> None:
        super().__init__()
        self.store = FakeStore()
        self.store.add("show")
        self.store.following["show"] = self.room.receive
        self.desk = RoomDesk(self.room, self.store, comments_per_s, Ids("p"))

    def beats(self) -> list[tuple[int, int, int]]:
        """Return number, likes and viewers of each beat."""
        return [(number, likes, viewers) for _, number, likes, viewers, _ in self.store.named("beat")]

    def arrive(self, user: str = "ann") -> FakeViewer:
        """Let a viewer in, and the desk know."""
        viewer = self.join(user)
        self.desk.viewers_changed()
        return viewer


# --- likes and the beat ----------------------------------------------------------------------------------------


@on_virtual_time
async def test_likes_are_summed_and_sent_once_a_window() -> None:
    """Many likes are one number in one beat, and the next window's likes are in the next beat."""
    stage = _Desk()
    for _ in range(100):
        stage.desk.like(3)
    await asyncio.sleep(1)
    assert [likes for _, likes, _ in stage.beats()] == [300]
    for n in range(10):
        stage.desk.like(n)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    assert sum(likes for _, likes, _ in stage.beats()) == stage.store.likes == 345
    assert len(stage.beats()) == 3
    assert stage.desk.idle


@on_virtual_time
async def test_likes_during_a_beat_are_not_lost() -> None:
    """What comes while a beat is on its way goes with the next, which follows by itself."""
    stage = _Desk()
    stage.store.hold("beat")
    stage.desk.like(1)
    await asyncio.sleep(1)
    stage.desk.like(2)
    await asyncio.sleep(1)
    stage.store.release("beat")
    await asyncio.sleep(1)
    assert stage.store.likes == 3
    assert stage.desk.idle


@pytest.mark.parametrize("arrived", [True, False], ids=["answer lost", "beat lost"])
@on_virtual_time
async def test_a_beat_that_failed_is_repeated_with_its_number_and_its_likes(arrived: bool) -> None:
    """Whether the store had it or not, its likes are added once; later likes wait for their own beat."""
    stage = _Desk()
    stage.store.faults["beat_answer" if arrived else "beat"] = Unavailable()
    stage.desk.like(5)
    await asyncio.sleep(0.1)
    stage.desk.like(7)
    await asyncio.sleep(3)
    first, *repeated = stage.beats()
    assert repeated
    assert {beat[:2] for beat in repeated} == {first[:2]}
    assert not stage.desk.idle
    stage.store.faults.clear()
    await asyncio.sleep(10)
    assert stage.store.likes == 12
    assert stage.beats()[-1][0] > first[0]
    assert stage.desk.idle


@on_virtual_time
async def test_a_store_that_is_away_is_asked_less_and_less_often() -> None:
    """Repeats back off to one in five seconds, and the first success is at most that far away."""
    stage = _Desk()
    stage.store.away = True
    stage.desk.like(1)
    await asyncio.sleep(60)
    asked = len(stage.beats())
    assert 10 < asked < 20
    stage.store.away = False
    await asyncio.sleep(5)
    assert stage.store.likes == 1


@on_virtual_time
async def test_a_fault_of_ours_is_logged_and_the_beat_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Anything but a refusal leaves a traceback, and the beat is repeated."""
    stage = _Desk()
    stage.store.faults["beat"] = ZeroDivisionError()
    stage.desk.like(1)
    await asyncio.sleep(1)
    assert "ZeroDivisionError" in caplog.text
    stage.store.faults.clear()
    await asyncio.sleep(10)
    assert stage.store.likes == 1


@on_virtual_time
async def test_a_change_that_could_not_be_told_is_told_by_a_later_beat() -> None:
    """While another node's beat holds the cluster's gate the beat is repeated, and then it stops."""
    stage = _Desk()
    stage.store.tell = False
    stage.desk.touch()
    await asyncio.sleep(2)
    assert len(stage.beats()) >= 7
    stage.store.tell = True
    await asyncio.sleep(1)
    count = len(stage.beats())
    await asyncio.sleep(2)
    assert len(stage.beats()) == count
    assert stage.desk.idle


@on_virtual_time
async def test_a_beat_is_repeated_while_order_facts_are_pending() -> None:
    """What the store still has to tell is asked for again until it is told."""
    stage = _Desk()
    stage.store.pending = True
    stage.desk.touch()
    await asyncio.sleep(2)
    assert len(stage.beats()) >= 7
    stage.store.pending = False
    await asyncio.sleep(1)
    assert stage.desk.idle


@on_virtual_time
async def test_the_viewer_count_is_told_and_its_lease_renewed() -> None:
    """A join and a leave are told within the window; in between the lease is renewed, and not afterwards."""
    stage = _Desk()
    viewer = stage.arrive()
    await asyncio.sleep(STATE_S)
    assert stage.store.viewers == {"show": 1}
    count = len(stage.beats())
    await asyncio.sleep(10 * LEASE_RENEW_S + 0.1)
    assert len(stage.beats()) == count + 10
    viewer.leave()
    stage.desk.viewers_changed()
    await asyncio.sleep(1)
    assert stage.store.viewers == {"show": 0}
    count = len(stage.beats())
    await asyncio.sleep(60)
    assert len(stage.beats()) == count
    assert stage.desk.idle


# --- sales' times ------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_beat_happens_when_a_sale_opens_and_when_it_ends() -> None:
    """The times in a sale's fact are watched by the store's clock, without any other activity."""
    stage = _Desk()
    now = stage.now_ms()
    stage.store.publish("show", sale("s-1", state="scheduled", starts_at=now + 7_000, ends_at=now + 20_000))
    await asyncio.sleep(6.9)
    assert stage.beats() == []
    await asyncio.sleep(0.2)
    assert len(stage.beats()) >= 1
    assert stage.store.named("beat")[0][-1] == ("s-1",)
    stage.store.publish("show", sale("s-1", starts_at=now + 7_000, ends_at=now + 20_000, version=2))
    await asyncio.sleep(12)
    count = len(stage.beats())
    await asyncio.sleep(1)
    assert len(stage.beats()) > count
    stage.store.publish("show", sale("s-1", state="closed", version=3))
    await asyncio.sleep(1)
    count = len(stage.beats())
    await asyncio.sleep(60)
    assert len(stage.beats()) == count
    assert stage.desk.live_sales() == []


@on_virtual_time
async def test_a_sale_that_is_due_and_whose_fact_does_not_come_is_asked_for_within_reason() -> None:
    """While the fact of its opening is lost on the way, the store is not asked at every turn of the loop."""
    stage = _Desk()
    stage.store.publish("show", sale("s-1", state="scheduled", starts_at=stage.now_ms() + 1_000))
    await asyncio.sleep(2)
    assert 5 <= len(stage.beats()) <= 1000 / stage.room.settings.fact_window_ms


# --- comments ------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_comment_within_the_budget_is_published_and_its_id_told() -> None:
    """The author is told the id under which everyone sees it."""
    stage = _Desk()
    viewer = stage.join()
    told: list[str | Refused | None] = []
    stage.desk.comment("bob", "Bob", "hello", told.append)
    await asyncio.sleep(1)
    (event,) = viewer.client.events
    assert told == [event["comment"]] == ["p-1"]
    assert (event["user"], event["name"], event["text"]) == ("bob", "Bob", "hello")


@on_virtual_time
async def test_beyond_the_budget_some_are_shown_and_every_author_is_told() -> None:
    """At the slot's end as many as the budget allows are published, and the others are told: not shown."""
    stage = _Desk(comments_per_s=8.0)
    viewer = stage.join()
    told: dict[int, list[str | Refused | None]] = {n: [] for n in range(20)}
    for n, answers in told.items():
        stage.desk.comment(f"user-{n}", "", f"{n}", answers.append)
    await turns()
    assert [len(answers) for answers in told.values()] == [1] * 8 + [0] * 12
    assert not stage.desk.idle
    await asyncio.sleep(1)
    assert [len(answers) for answers in told.values()] == [1] * 20
    shown = [n for n, (answer,) in told.items() if isinstance(answer, str)]
    assert len(shown) == 10
    assert [int(event["text"]) for event in viewer.client.events] == shown
    assert stage.desk.idle


@on_virtual_time
async def test_a_comment_the_store_refuses_is_told_as_refused() -> None:
    """The refusal goes to its author."""
    stage = _Desk()
    stage.store.away = True
    told: list[str | Refused | None] = []
    stage.desk.comment("bob", "Bob", "hello", told.append)
    await turns()
    (refusal,) = told
    assert isinstance(refusal, Unavailable)


def test_ids_do_not_repeat() -> None:
    """Each id of a process is new and carries the process's prefix."""
    ids = Ids("p")
    made = [ids.next() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(id.startswith("p-") for id in made)


# --- look-ups ------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_many_joins_ask_for_their_orders_together() -> None:
    """A storm of joins is two calls, not one a viewer."""
    stage = _Desk()
    stage.store.orders["user-7"] = b'[{"order":"o-7"}]'
    stage.store.hold("open_orders")
    found: dict[str, bytes | Refused] = {}

    def look_up(user: str) -> None:
        stage.desk.look_up_orders(user, lambda orders, told: found.__setitem__(user, orders))

    look_up("first")
    await turns()
    for n in range(50):
        look_up(f"user-{n}")
    stage.store.release("open_orders")
    await turns()
    assert len(stage.store.named("open_orders")) == 2
    assert found["user-7"] == b'[{"order":"o-7"}]'
    assert len(found) == 51


@on_virtual_time
async def test_an_order_made_while_orders_are_looked_up_reaches_the_joiner() -> None:
    """What the store read does not hold it, so it is handed over beside it, once."""
    stage = _Desk()
    stage.store.hold("open_orders")
    found: list[tuple[bytes | Refused, list[bytes]]] = []
    stage.desk.look_up_orders("ann", lambda orders, told: found.append((orders, told)))
    await turns()
    stage.store.publish("show", notice("a"), orders=[("ann", order("o-1")), ("bob", order("o-2"))])
    stage.store.release("open_orders")
    await turns()
    assert found == [(b"[]", [order("o-1")])]
    stage.store.publish("show", notice("b"), orders=[("ann", order("o-3"))])
    assert found == [(b"[]", [order("o-1")])]
    assert stage.room.arriving == {}


@on_virtual_time
async def test_two_look_ups_of_one_user_are_each_told_what_was_made_meanwhile() -> None:
    """The first one's end does not take from the second what is told after it."""
    stage = _Desk()
    found: list[tuple[bytes | Refused, list[bytes]]] = []
    stage.store.hold("open_orders")
    stage.desk.look_up_orders("ann", lambda orders, told: found.append((orders, told)))
    await turns()
    stage.desk.look_up_orders("ann", lambda orders, told: found.append((orders, told)))
    stage.store.publish("show", notice("a"), orders=[("ann", order("o-1"))])
    stage.store.release("open_orders")
    stage.store.hold("open_orders")
    await turns()
    assert len(found) == 1
    stage.store.publish("show", notice("b"), orders=[("ann", order("o-2"))])
    stage.store.release("open_orders")
    await turns()
    assert found == [(b"[]", [order("o-1")]), (b"[]", [order("o-1"), order("o-2")])]
    assert stage.room.arriving == {}


@on_virtual_time
async def test_a_look_up_that_fails_leaves_nothing_behind() -> None:
    """The refusal is handed on, and orders told later are not kept for it."""
    stage = _Desk()
    stage.store.away = True
    found: list[bytes | Refused] = []
    stage.desk.look_up_orders("ann", lambda orders, told: found.append(orders))
    await turns()
    assert isinstance(found[0], Unavailable)
    assert stage.room.arriving == {}
    assert stage.desk.idle


# --- the end ---------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_close_brings_what_is_held_to_the_store() -> None:
    """Likes not sent yet, comments of a slot, and that nobody is here any more."""
    stage = _Desk(comments_per_s=4.0)
    stage.arrive()
    await asyncio.sleep(1)
    stage.desk.like(9)
    told: list[str | Refused | None] = []
    for n in range(6):
        stage.desk.comment(f"user-{n}", "", f"{n}", told.append)
    await stage.desk.close()
    assert stage.store.likes == 9
    assert stage.store.viewers == {"show": 0}
    assert len(told) == 6
    said = [append.lines[0] for _, appends in stage.store.named("append") for append in appends]
    assert len(said) == sum(isinstance(answer, str) for answer in told)
    assert [msgspec.json.decode(line[1:])["text"] for line in said][:4] == ["0", "1", "2", "3"]
    count = len(stage.store.calls)
    await asyncio.sleep(60)
    assert len(stage.store.calls) == count


@on_virtual_time
async def test_close_waits_for_a_beat_and_repeats_one_that_failed() -> None:
    """A beat in flight whose answer is lost is sent again as it was, and its likes count once."""
    stage = _Desk()
    stage.store.hold("beat")
    stage.desk.like(4)
    await asyncio.sleep(1)
    stage.desk.like(2)
    close = asyncio.ensure_future(stage.desk.close())
    await turns()
    assert not close.done()
    stage.store.faults["beat_answer"] = Unavailable()
    stage.store.release("beat")
    await turns(3)
    stage.store.faults.clear()
    await close
    assert stage.store.likes == 6


@on_virtual_time
async def test_close_with_the_store_away_ends_and_says_what_was_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process can stop without the store; the log says that the last beat is lost."""
    caplog.set_level(logging.WARNING)
    stage = _Desk()
    stage.store.away = True
    stage.desk.like(4)
    await stage.desk.close()
    assert "last beat lost" in caplog.text


@on_virtual_time
async def test_a_quiet_desk_closes_without_a_word() -> None:
    """Nothing held, nothing told: no call."""
    stage = _Desk()
    await stage.desk.close()
    assert stage.store.calls == []
