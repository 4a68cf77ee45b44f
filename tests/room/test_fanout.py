"""The pass, one slice at a time; and a crowd that joins, stalls, breaks and comes back while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from liveroom.protocol import codec, frames
from liveroom.server.room import fanout
from liveroom.server.room.flush import GROUPS, Flush
from liveroom.server.room.log import Entry, Log
from liveroom.server.room.ports import Delivery
from liveroom.server.room.present import RECENT_COMMENTS
from tests.room.fakes import (
    NOW_MS,
    SETTINGS,
    Client,
    FakeViewer,
    Stage,
    comment,
    comment_removed,
    loaded_room,
    notice,
    pinned,
    room_closed,
    turns,
)
from tests.virtual_time import VirtualLoop, on_virtual_time


@pytest.fixture
def slice_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a pass need several slices for a handful of viewers."""
    monkeypatch.setattr(fanout, "SLICE", 2)
    yield


def _begin(stage: Stage, *entries: Entry, state: dict[str, Any] | None = None) -> None:
    """Start a pass over new entries, past the room's timers."""
    stage.room.log.append(list(entries))
    stage.room.audience.begin(Flush(NOW_MS, stage.room.log.head, list(entries), state))


def _finish(stage: Stage) -> None:
    while stage.room.audience.advance():
        pass


# --- slices -----------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_pass_writes_in_slices(slice_of_two: None) -> None:
    """One step writes to at most a slice of one group, and the last one says that there is no more."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}", group) for n, group in enumerate((0, 0, 0, 3))]
    _begin(stage, notice("a"))
    reached = [0]
    while True:
        more = stage.room.audience.advance()
        reached.append(sum(len(viewer.client.batches) for viewer in viewers))
        assert reached[-1] - reached[-2] <= 2
        if not more:
            break
    assert reached == [0, 1, 3, 4]
    assert not stage.room.audience.passing
    assert stage.room.audience.deliveries == 4


@on_virtual_time
async def test_a_batch_is_encoded_once_a_group_and_only_if_the_group_is_there(
    slice_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many viewers, one join of bytes a group, one compression, and the same bytes object for all."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}", n % 3) for n in range(30)]  # nobody in MessagePack with deflate
    joined: list[codec.Encoding] = []
    deflated: list[int] = []
    join_batch, deflate = codec.join_batch, frames.deflate

    def counted_join(encoding: codec.Encoding, *args: Any) -> bytes:
        joined.append(encoding)
        return join_batch(encoding, *args)

    def counted_deflate(payload: bytes) -> bytes:
        deflated.append(len(payload))
        return deflate(payload)

    monkeypatch.setattr(codec, "join_batch", counted_join)
    monkeypatch.setattr(frames, "deflate", counted_deflate)
    _begin(stage, *(notice(f"number {n}") for n in range(5)))
    _finish(stage)
    assert sorted(joined) == [codec.Encoding.JSON, codec.Encoding.JSON, codec.Encoding.MSGPACK]
    assert len(deflated) == 1
    for group in range(3):
        assert len({id(viewer.frames[-1]) for viewer in viewers if viewer.group == group}) == 1


@on_virtual_time
async def test_who_joins_during_a_pass_neither_misses_nor_doubles(slice_of_two: None) -> None:
    """A viewer let in between two slices starts behind the pass's end and is not written to by it."""
    stage = Stage()
    early = [stage.join(f"user-{n}") for n in range(5)]
    _begin(stage, notice("a"))
    assert stage.room.audience.advance()
    late = stage.join("late")
    assert late.client.offset == 1
    _finish(stage)
    assert late.client.texts() == []
    _begin(stage, notice("b"))
    _finish(stage)
    assert late.client.texts() == ["b"]
    assert all(viewer.client.texts() == ["a", "b"] for viewer in early)


@on_virtual_time
async def test_who_leaves_during_a_pass_is_not_written_to(slice_of_two: None) -> None:
    """A viewer that left before its slice came is left out; the rest get theirs."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(5)]
    _begin(stage, notice("a"))
    assert stage.room.audience.advance()
    viewers[4].leave()
    _finish(stage)
    assert [len(viewer.client.batches) for viewer in viewers] == [1, 1, 1, 1, 0]
    assert len(stage.room.audience) == 4


@on_virtual_time
async def test_who_stalls_and_returns_during_a_pass_gets_each_event_once(slice_of_two: None) -> None:
    """Before its slice or after it: the cursor says what it has, and the catch-up brings the rest only."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(5)]
    before, after = viewers[4], viewers[0]
    after.capacity = 0
    _begin(stage, notice("a"))
    assert stage.room.audience.advance()
    before.paused = True
    stage.room.audience.part(before)
    for viewer in (before, after):
        viewer.drain()
        assert viewer.client.texts() == ["a"]
    _finish(stage)
    assert all(viewer.client.texts() == ["a"] for viewer in viewers)
    assert not stage.room.audience.lagging


@on_virtual_time
async def test_one_bad_socket_does_not_end_a_pass(slice_of_two: None) -> None:
    """A write that raises drops that viewer; all others of its slice and of the next get the batch."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(6)]
    viewers[0].broken = viewers[3].broken = True
    _begin(stage, notice("a"))
    _finish(stage)
    await turns()
    assert [viewer.dropped for viewer in viewers] == [1, 0, 0, 1, 0, 0]
    assert [len(viewer.client.batches) for viewer in viewers] == [0, 1, 1, 0, 1, 1]
    assert len(stage.room.audience) == 4


@on_virtual_time
async def test_a_bad_socket_that_catches_up_is_dropped() -> None:
    """A write that raises while catching up drops the viewer, and nothing is raised."""
    stage = Stage()
    viewer = stage.join()
    viewer.capacity = 0
    for text in "abc":
        _begin(stage, notice(text))
        _finish(stage)
    viewer.broken = True
    viewer.drain()
    await turns()
    assert viewer.dropped == 1
    assert len(stage.room.audience) == 0


# --- lagging ------------------------------------------------------------------------------------------------


def _stalled(stage: Stage) -> FakeViewer:
    viewer = stage.join()
    viewer.capacity = 0
    _begin(stage, notice("before"))
    _finish(stage)
    assert viewer.paused
    return viewer


@on_virtual_time
async def test_nothing_is_queued_for_who_lags() -> None:
    """While a socket is full nothing is written to it, whatever happens in the room."""
    stage = Stage()
    viewer = _stalled(stage)
    for n in range(20):
        _begin(stage, notice(f"{n}"))
        _finish(stage)
    assert len(viewer.client.batches) == 1
    viewer.drain()
    assert viewer.client.texts() == ["before", *map(str, range(20))]
    assert len(viewer.client.batches) == 2


@on_virtual_time
async def test_of_the_comments_missed_only_the_newest_are_given() -> None:
    """All facts, the newest comments, and a true count of those left out."""
    stage = Stage()
    viewer = _stalled(stage)
    many = fanout.COMMENTS_AFTER_LAG + 9
    _begin(stage, notice("x"), *(comment(f"c-{n}") for n in range(many)), notice("y"))
    _finish(stage)
    viewer.drain()
    assert viewer.client.texts() == ["before", "x", *(f"c-{n}" for n in range(9, many)), "y"]
    assert viewer.client.batches[-1]["skipped"] == {"comments": 9}
    assert viewer.client.offset == stage.room.log.head


@on_virtual_time
async def test_a_long_absence_is_given_in_frames_of_a_bounded_size() -> None:
    """Many facts come in several frames; one that fills the socket again ends it until it has drained."""
    stage = Stage()
    viewer = _stalled(stage)
    many = 2 * fanout.CATCH_UP_EVENTS + 10
    _begin(stage, *(notice(f"{n}") for n in range(many)))
    _finish(stage)
    viewer.drain(capacity=0)
    assert [len(batch["events"]) for batch in viewer.client.batches[1:]] == [fanout.CATCH_UP_EVENTS]
    viewer.drain()
    assert [len(batch["events"]) for batch in viewer.client.batches[2:]] == [fanout.CATCH_UP_EVENTS, 10]
    assert viewer.client.texts() == ["before", *map(str, range(many))]
    assert viewer in stage.room.audience.groups[0]


@on_virtual_time
async def test_a_crowd_that_lagged_together_shares_what_it_missed() -> None:
    """Viewers that stalled at one place and return together are given one bytes object."""
    stage = Stage()
    viewers = [stage.join(f"user-{n}") for n in range(3)]
    for viewer in viewers:
        viewer.capacity = 0
    for text in "abc":
        _begin(stage, notice(text))
        _finish(stage)
    for viewer in viewers:
        viewer.drain()
    assert len({id(viewer.frames[-1]) for viewer in viewers}) == 1
    assert viewers[0].client.texts() == ["a", "b", "c"]


@on_virtual_time
async def test_who_returns_has_the_numbers_everyone_has() -> None:
    """What was told while it lagged it is told on return, whole."""
    stage = Stage(loaded=loaded_room(state=b'{"likes":1,"viewers":1}'))
    viewer = _stalled(stage)
    stage.deliver(notice("a"), state=b'{"likes":5,"viewers":1}')
    await turns()
    stage.deliver(notice("b"), state=b'{"likes":5,"viewers":2}')
    await asyncio.sleep(1)
    viewer.drain()
    assert viewer.client.state == {"likes": 5, "viewers": 2}


@on_virtual_time
async def test_numbers_missed_without_any_event_are_told_on_return() -> None:
    """State has no offset: who lagged through a pass that carried nothing else still gets the last value."""
    stage = Stage(loaded=loaded_room(state=b'{"likes":1}'))
    viewer = _stalled(stage)
    stage.deliver(state=b'{"likes":5}')
    await asyncio.sleep(1)
    assert viewer.client.state == {"likes": 1}
    viewer.drain()
    assert viewer.client.state == {"likes": 5}
    told = len(viewer.frames)
    viewer.paused = True
    stage.room.audience.part(viewer)
    viewer.drain()
    assert len(viewer.frames) == told, "who missed nothing is told nothing"


@on_virtual_time
async def test_a_crowd_that_returns_one_by_one_is_told_the_newest_numbers() -> None:
    """What was shared with the first is not given to one who returns after another change."""
    stage = Stage(loaded=loaded_room(state=b'{"likes":1}'))
    first, second = stage.join("ann"), stage.join("bob")
    first.capacity = second.capacity = 0
    for text in ("before", "a", "b"):
        stage.deliver(notice(text))
        await asyncio.sleep(1)
    first.drain()
    stage.deliver(state=b'{"likes":5}')
    await asyncio.sleep(1)
    second.drain()
    for viewer in (first, second):
        assert viewer.client.texts() == ["before", "a", "b"]
        assert viewer.client.state == {"likes": 5}


@on_virtual_time
async def test_who_resumed_and_lags_later_is_one_who_lags() -> None:
    """The promise of every comment ends when it has caught up."""
    stage = Stage()
    stage.deliver(*(comment(f"c-{n}") for n in range(fanout.COMMENTS_AFTER_LAG + 5)))
    await asyncio.sleep(1)
    viewer = stage.join(resume=("e1", 0))
    assert len(viewer.client.events) == fanout.COMMENTS_AFTER_LAG + 5
    viewer.capacity = 0
    stage.deliver(notice("a"))
    await asyncio.sleep(1)
    stage.deliver(*(comment(f"d-{n}") for n in range(fanout.COMMENTS_AFTER_LAG + 5)))
    await asyncio.sleep(1)
    viewer.drain()
    assert viewer.client.batches[-1]["skipped"] == {"comments": 5}


@on_virtual_time
async def test_who_is_beyond_the_log_starts_afresh_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place the log no longer holds is given up: one restart is asked for, and nothing is written before."""
    monkeypatch.setattr(Log, "_TRIM_STEP", 1)
    stage = Stage(SETTINGS._replace(history_events=3))
    viewer = _stalled(stage)
    for n in range(5):
        _begin(stage, notice(f"{n}"))
        _finish(stage)
    stage.room.log.trim(NOW_MS)
    viewer.drain()
    stage.room.catch_up(viewer)
    assert stage.restarts == [viewer]
    assert len(viewer.client.batches) == 1
    stage.room.restart(viewer, b"[]")
    assert viewer.client.offset == stage.room.log.head
    assert viewer in stage.room.audience.groups[0]


# --- a crowd ------------------------------------------------------------------------------------------------

_KINDS = ("notice", "notice", "comment", "comment", "comment", "pin", "remove")
_USERS = ("ann", "bob", "eve")
HISTORY = 20


class _Watched(Client):
    """A client that holds each batch against what the room's log truly was."""

    def __init__(self, truth: dict[str, dict[int, dict[str, Any]]], floor: dict[str, int]) -> None:
        super().__init__()
        self._truth = truth
        self._floor = floor  # by epoch: up to this offset the room has not read the log
        self.promised = 0  # up to this offset no comment may be left out
        self.viewer: FakeViewer | None = None  # the connection it has now

    def take(self, message: dict[str, Any]) -> None:
        """Take one message in, and see that it is the truth."""
        before = self.offset
        super().take(message)
        if message["type"] == "batch":
            missing = self._left_out(before, message)
            assert all(event["type"] == "comment" for event in missing), "a fact was left out"
            assert len(missing) == message.get("skipped", {"comments": 0})["comments"]
            if missing:
                assert self.viewer is not None
                assert self.viewer.stalls, "comments left out for one who was never slow"
                assert before >= self.promised, "comments left out for one who resumed"
        elif message["type"] == "welcome" and not message["resumed"]:
            self._check_snapshot(message)

    def _left_out(self, before: int, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the true events that a batch does not hold; what it does hold must be the rest, in order."""
        log = self._truth[self.epoch]
        given = list(batch["events"])
        missing = []
        for offset in range(before + 1, batch["offset"] + 1):
            if given and given[0] == log[offset]:
                given.pop(0)
            else:
                missing.append(log[offset])
        assert not given, "out of order, doubled, or from nowhere"
        return missing

    def _check_snapshot(self, welcome: dict[str, Any]) -> None:
        log = self._truth[welcome["epoch"]]
        past = [log[offset] for offset in sorted(log) if offset <= welcome["offset"]]
        pins = [event["pinned"] for event in past if event["type"] == "pinned"]
        assert welcome["pinned"] == (pins[-1] if pins else None)
        removed = {event["comment"] for event in past if event["type"] == "comment_removed"}
        said = [
            log[offset]
            for offset in sorted(log)
            if self._floor[welcome["epoch"]] < offset <= welcome["offset"]
            and log[offset]["type"] == "comment"
            and log[offset]["comment"] not in removed
        ]
        recent = welcome["recent"]
        assert recent == said[len(said) - len(recent) :]
        assert len(recent) >= min(len(said), RECENT_COMMENTS // 2)


class Crowd(RuleBasedStateMachine):
    """Viewers of all groups come, stall, return, break and resume, while a room tells what happens."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(fanout, "SLICE", 1)
        self._patch.setattr(fanout, "CATCH_UP_EVENTS", 4)
        self._patch.setattr(fanout, "COMMENTS_AFTER_LAG", 1)
        self._patch.setattr(Log, "_TRIM_STEP", 1)
        self.loop = VirtualLoop()

        async def stage() -> Stage:
            return Stage(SETTINGS._replace(history_events=HISTORY, history_ms=60_000))

        self.stage = self.loop.run_until_complete(stage())
        self.room = self.stage.room
        self.truth: dict[str, dict[int, dict[str, Any]]] = {"e1": {}}
        self.floor = {"e1": 0}
        self.deliveries: list[Delivery] = []  # of this epoch, as the store has them
        self.head = 0
        self.epoch = "e1"
        self.lost = False  # something published has not reached the room
        self.pinned: bytes = b""
        self.numbers: dict[str, Any] = {}
        self.viewers: list[FakeViewer] = []
        self.left: list[FakeViewer] = []
        self.count = 0
        self.comments: list[str] = []
        self.sent_orders: dict[FakeViewer, list[str]] = {}

    @initialize(groups=st.lists(st.integers(0, GROUPS - 1), max_size=7))
    def open_the_room(self, groups: list[int]) -> None:
        """Some are there from the start."""
        for number, group in enumerate(groups):
            self.join(_USERS[number % len(_USERS)], group, None)

    # --- the store's side ---

    def _entry(self, kind: str) -> Entry:
        self.count += 1
        at = self.stage.now_ms()
        if kind == "comment":
            self.comments.append(f"c-{self.count}")
            return comment(f"c-{self.count}", at)
        if kind == "remove" and self.comments:
            return comment_removed(self.comments[self.count % len(self.comments)], at)
        if kind == "pin":
            return pinned(f"card {self.count}", at)
        return notice(f"n-{self.count}", at)

    def _accept(self, delivery: Delivery) -> None:
        """Note that the room takes a delivery in: the buyers who are here are to be told."""
        for user, order in delivery.orders:
            for viewer in self.viewers:
                if viewer.user == user and not viewer.broken:
                    self.sent_orders[viewer].append(codec._json_any.decode(order)["order"])

    @rule(
        kinds=st.lists(st.sampled_from(_KINDS), max_size=4),
        buyer=st.sampled_from([None, None, None, *_USERS]),
        likes=st.one_of(st.none(), st.integers(1, 5)),
        lost=st.integers(0, 7).map(lambda n: n == 0),
    )
    def publish(self, kinds: list[str], buyer: str | None, likes: int | None, lost: bool) -> None:
        """Something happens in the room; now and then the message about it is lost."""
        entries = [self._entry(kind) for kind in kinds]
        for number, entry in enumerate(entries, self.head + 1):
            event = codec._json_any.decode(entry.json)
            self.truth[self.epoch][number] = event
            if event["type"] == "pinned":
                self.pinned = codec._json_encoder.encode(event["pinned"])
        if likes is not None:
            self.numbers = {
                "likes": self.count,
                "stock": {**self.numbers.get("stock", {}), f"s-{likes}": self.count},
            }
        delivery = self.stage.delivery(
            *entries,
            first=self.head + 1,
            epoch=self.epoch,
            orders=[(buyer, b'{"order":"o-%d"}' % self.count)] if buyer and entries else (),
            state=codec._json_encoder.encode(self.numbers) if likes is not None else None,
        )
        self.head += len(entries)
        if entries:
            self.deliveries.append(delivery)
            if lost:
                self.lost = True
                return
        if self.lost:
            gaps = self.stage.gaps
            self.room.receive(delivery)
            assert self.stage.gaps == gaps + 1, "a gap was not seen"
        else:
            self._accept(delivery)
            self.room.receive(delivery)

    @precondition(lambda self: self.deliveries and not self.lost)
    @rule(back=st.integers(1, 4))
    def tell_again(self, back: int) -> None:
        """A delivery comes a second time: its events are not new, and no gap is seen."""
        delivery = self.deliveries[-back:][0]._replace(orders=[], state=None)
        head, gaps = self.room.log.head, self.stage.gaps
        self.room.receive(delivery)
        assert (self.room.log.head, self.stage.gaps) == (head, gaps)

    def _read(self, deliveries: list[Delivery]) -> None:
        self.room.repair(
            loaded_room(
                deliveries,
                epoch=self.epoch,
                offset=self.head,
                pinned=self.pinned,
                state=codec._json_encoder.encode(self.numbers),
                at=self.stage.now_ms(),
            )
        )
        self.lost = False

    @precondition(lambda self: self.lost)
    @rule(kept=st.integers(0, 12))
    def repair(self, kept: int) -> None:
        """What was missed is read from the store, of which some may be gone already."""
        missed = [d for d in self.deliveries if d.first > self.room.log.head]
        if len(missed) > kept:
            self._read(missed[len(missed) - kept :])
            self.floor[self.epoch] = self.room.log.tail
            assert all(viewer.cursor == -1 for viewer in self.viewers)
        else:
            for delivery in missed:
                self._accept(delivery)
            self._read(missed)

    @rule(kept=st.integers(0, 2), sure=st.integers(0, 4).map(lambda n: n == 0))
    def lose_the_store(self, kept: int, sure: bool) -> None:
        """The store comes back without its newest events: another epoch, and everyone starts afresh."""
        if not sure:
            return
        before = self.epoch
        self.epoch = f"e{len(self.truth) + 1}"
        self.deliveries = self.deliveries[:kept]
        self.head = self.deliveries[-1].first + len(self.deliveries[-1].entries) - 1 if self.deliveries else 0
        self.truth[self.epoch] = {n: self.truth[before][n] for n in range(1, self.head + 1)}
        pins = [e["pinned"] for e in self.truth[self.epoch].values() if e["type"] == "pinned"]
        self.pinned = codec._json_encoder.encode(pins[-1]) if pins else b""
        self.deliveries = [d._replace(epoch=self.epoch) for d in self.deliveries]
        self.floor[self.epoch] = 0
        self._read(self.deliveries)

    # --- the viewers' side ---

    def _join(self, viewer: FakeViewer, resume: tuple[str, int] | None) -> None:
        assert isinstance(viewer.client, _Watched)
        resumable = resume is not None and resume[0] == self.room.log.epoch and self.room.log.holds(resume[1])
        viewer.client.promised = self.room.audience.flushed if resumable else 0
        viewer.client.viewer = viewer
        self.viewers.append(viewer)
        self.sent_orders[viewer] = []
        viewer.open(resume=resume)
        assert viewer.client.welcomes[-1]["resumed"] == resumable

    @rule(
        user=st.sampled_from(_USERS),
        group=st.integers(0, GROUPS - 1),
        capacity=st.sampled_from([None, None, 0, 1]),
    )
    def join(self, user: str, group: int, capacity: int | None) -> None:
        """Somebody new comes."""
        viewer = FakeViewer(self.room, user, group, _Watched(self.truth, self.floor))
        viewer.capacity = capacity
        self._join(viewer, None)

    @precondition(lambda self: self.left)
    @rule(
        which=st.integers(0, 99),
        group=st.integers(0, GROUPS - 1),
        capacity=st.sampled_from([None, None, 0, 1]),
    )
    def come_back(self, which: int, group: int, capacity: int | None) -> None:
        """Somebody who was cut off resumes from what it has."""
        old = self.left.pop(which % len(self.left))
        viewer = FakeViewer(self.room, old.user, group, old.client)
        viewer.client.orders.clear()
        viewer.capacity = capacity
        self._join(viewer, (old.client.epoch, old.client.offset))

    @precondition(lambda self: self.viewers)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        """Somebody's connection ends."""
        viewer = self.viewers.pop(which % len(self.viewers))
        viewer.leave()
        self.left.append(viewer)

    @precondition(lambda self: self.viewers)
    @rule(which=st.integers(0, 99), capacity=st.integers(0, 2))
    def stall(self, which: int, capacity: int) -> None:
        """Somebody's socket takes a few frames more and is then full."""
        viewer = self.viewers[which % len(self.viewers)]
        if not viewer.paused:
            viewer.capacity = capacity

    @precondition(lambda self: any(viewer.paused for viewer in self.viewers))
    @rule(which=st.integers(0, 99), capacity=st.sampled_from([None, None, 0, 1]))
    def drain(self, which: int, capacity: int | None) -> None:
        """Somebody's socket has drained."""
        paused = [viewer for viewer in self.viewers if viewer.paused]
        paused[which % len(paused)].drain(capacity)

    @precondition(lambda self: self.viewers)
    @rule(which=st.integers(0, 99), sure=st.integers(0, 3).map(lambda n: n == 0))
    def break_(self, which: int, sure: bool) -> None:
        """From now on writing to somebody raises."""
        if sure:
            self.viewers[which % len(self.viewers)].broken = True

    @precondition(lambda self: self.stage.restarts)
    @rule()
    def look_up(self) -> None:
        """The orders of one who must start afresh were found."""
        self.room.restart(self.stage.restarts.pop(0), b"[]")

    # --- time ---

    @rule(count=st.integers(1, 3))
    def slices(self, count: int) -> None:
        """The loop turns, and no time passes."""
        for _ in range(count):
            self.loop.turn()

    @rule(ms=st.sampled_from([1, 30, 50, 60, 250, 1000]))
    def time(self, ms: int) -> None:
        """Time passes, and the loop turns once."""
        self.loop.advance(ms / 1000)
        self.loop.turn()

    # --- what holds always ---

    @invariant()
    def nothing_failed(self) -> None:
        """No callback raised, and everyone has its place."""
        assert self.loop.faults == []
        for viewer in [viewer for viewer in self.viewers if viewer.gone]:
            assert viewer.dropped, "left by itself"
            self.viewers.remove(viewer)
        audience = self.room.audience
        assert set(audience.everyone()) == set(self.viewers)
        for viewer in self.viewers:
            along = viewer in audience.groups[viewer.group]
            assert along != (viewer in audience.lagging)
            assert along == (viewer.cursor != -1)
            if along and not viewer.broken:
                assert viewer.client.offset == viewer.cursor
            assert {order["order"] for order in viewer.client.orders} == set(self.sent_orders[viewer])
        users = {viewer.user for viewer in self.viewers}
        assert set(self.room.by_user) == users
        for user in users:
            assert set(self.room.viewers_of(user)) == {v for v in self.viewers if v.user == user}

    def _settle(self) -> None:
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(2))
            while self.stage.restarts:
                self.look_up()
            for viewer in list(self.viewers):
                viewer.drain()
        self.nothing_failed()

    def teardown(self) -> None:
        """Everyone drains: all have the same, up to the head. Then the room closes for everyone."""
        try:
            if self.loop.faults:
                return
            if self.lost:
                self.repair(kept=1000)
            self._settle()
            assert (self.room.log.epoch, self.room.log.head) == (self.epoch, self.head)
            for viewer in [viewer for viewer in self.viewers if not viewer.broken]:
                assert (viewer.client.epoch, viewer.client.offset) == (self.epoch, self.head)
                assert viewer.client.state == self.numbers
            self.stage.deliver(room_closed())
            self.truth[self.epoch][self.head + 1] = {"type": "room_closed", "at": NOW_MS}
            viewers = list(self.viewers)
            self.loop.run_until_complete(asyncio.sleep(2))
            assert self.loop.faults == []
            assert len(self.room.audience) == 0
            for viewer in viewers:
                if not viewer.dropped:
                    assert viewer.client.events[-1]["type"] == "room_closed"
                    assert viewer.byes == [("room_closed", None)]
        finally:
            self._patch.undo()
            self.room.stop()
            self.loop.close()


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(
    report_multiple_bugs=False,
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
