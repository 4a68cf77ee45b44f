"""Natural batching: one call in flight, the rest together in the next, every item answered once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveroom.server.room import batched
from liveroom.server.room.batched import Batched
from liveroom.server.room.ports import Refused, Unavailable
from tests.room.fakes import turns
from tests.virtual_time import VirtualLoop, on_virtual_time


class _Calls:
    """A store whose calls are answered when the test says so."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self._answers: list[asyncio.Future[list[int | Refused]]] = []

    async def __call__(self, items: list[int]) -> list[int | Refused]:
        self.made.append(items)
        answer: asyncio.Future[list[int | Refused]] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        return await answer

    def answer(self, call: int) -> None:
        """Answer one call: each item with its tenfold."""
        self._answers[call].set_result([item * 10 for item in self.made[call]])


def _into(answers: list[int | Refused]) -> Callable[[int | Refused], None]:
    return answers.append


@on_virtual_time
async def test_what_comes_while_a_call_is_in_flight_goes_together_into_the_next() -> None:
    """The first goes with what else its turn of the loop brings; the others wait for its answer."""
    calls = _Calls()
    answers: list[int | Refused] = []
    batch: Batched[int, int] = Batched(calls, 3)
    batch.submit(1, _into(answers))
    batch.submit(2, _into(answers))
    await turns()
    for n in (3, 4, 5, 6):
        batch.submit(n, _into(answers))
    await turns()
    assert calls.made == [[1, 2]]
    calls.answer(0)
    await turns()
    assert answers == [10, 20]
    assert calls.made == [[1, 2], [3, 4, 5]]
    calls.answer(1)
    await turns()
    calls.answer(2)
    await turns()
    assert calls.made[2:] == [[6]]
    assert answers == [10, 20, 30, 40, 50, 60]
    assert batch.idle


@on_virtual_time
async def test_a_second_call_goes_out_beside_the_first_only_when_it_is_worth_it() -> None:
    """With a depth of two, half a batch starts the second call, and a third waits."""
    calls = _Calls()
    answers: list[int | Refused] = []
    batch: Batched[int, int] = Batched(calls, 4, depth=2)
    batch.submit(1, _into(answers))
    await turns()
    batch.submit(2, _into(answers))
    await turns()
    assert calls.made == [[1]]
    batch.submit(3, _into(answers))
    await turns()
    assert calls.made == [[1], [2, 3]]
    for n in range(4, 9):
        batch.submit(n, _into(answers))
    await turns()
    assert calls.made == [[1], [2, 3]]
    calls.answer(0)
    await turns()
    assert calls.made[2:] == [[4, 5, 6, 7]]
    for n in (1, 2):
        calls.answer(n)
    await turns()
    calls.answer(3)
    await batch.join()
    assert [item for call in calls.made for item in call] == list(range(1, 9))
    assert sorted(answers, key=str) == [n * 10 for n in range(1, 9)]


_plans = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 7)),
        st.tuples(st.just("turn"), st.just(1)),
        st.tuples(st.just("answer"), st.sampled_from(["right", "refused", "fault", "short", "one_refused"])),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(_plans, st.integers(1, 5), st.integers(1, 3))
def test_every_item_is_answered_exactly_once_in_order_of_calls(
    plan: list[tuple[str, int | str]], limit: int, depth: int
) -> None:
    """Whatever calls do, each item is in one call, in order, of at most ``limit``, and gets one answer."""
    made: list[list[int]] = []
    waiting: list[tuple[list[int], asyncio.Future[list[int | Refused]]]] = []
    answers: Counter[int] = Counter()
    wrong: list[tuple[int, int | Refused]] = []
    submitted = 0

    async def call(items: list[int]) -> list[int | Refused]:
        made.append(items)
        assert len(waiting) < depth
        answer: asyncio.Future[list[int | Refused]] = asyncio.get_running_loop().create_future()
        waiting.append((items, answer))
        return await answer

    def answer_one(how: str) -> None:
        items, answer = waiting.pop(0)
        match how:
            case "right":
                answer.set_result([*items])
            case "refused":
                answer.set_exception(Unavailable())
            case "fault":
                answer.set_exception(ZeroDivisionError())
            case "short":
                answer.set_result([*items[:-1]])
            case "one_refused":
                answer.set_result([Refused("invalid", ""), *items[1:]])

    def submit(batch: Batched[int, int], item: int) -> None:
        def done(answer: int | Refused) -> None:
            answers[item] += 1
            if not isinstance(answer, Refused) and answer != item:
                wrong.append((item, answer))
            if item % 5 == 0:
                raise ValueError("who asked has a fault of its own")

        batch.submit(item, done)

    async def carry_out() -> None:
        nonlocal submitted
        batch: Batched[int, int] = Batched(call, limit, depth)
        for step, argument in plan:
            if step == "submit":
                assert isinstance(argument, int)
                for _ in range(argument):
                    submit(batch, submitted)
                    submitted += 1
            elif step == "turn":
                await asyncio.sleep(0)
            elif waiting:
                answer_one(str(argument))
        join = asyncio.ensure_future(batch.join())
        while not join.done():
            await asyncio.sleep(0)
            if waiting:
                answer_one("right")
        assert batch.idle

    logging.disable(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(carry_out())
    finally:
        logging.disable(logging.NOTSET)
    assert answers == dict.fromkeys(range(submitted), 1)
    assert wrong == []
    assert [item for items in made for item in items] == list(range(submitted))
    assert all(1 <= len(items) <= limit for items in made)


@on_virtual_time
async def test_an_item_between_the_last_look_and_the_end_is_not_forgotten() -> None:
    """An item that comes when the task has ended, but nobody was told yet, starts another call."""
    answers: list[int | Refused] = []

    async def call(items: list[int]) -> list[int | Refused]:
        await turns(5)
        return [*items]

    batch: Batched[int, int] = Batched(call, 4)
    batch.submit(1, _into(answers))
    (task,) = batch._tasks
    while not task.done():
        await asyncio.sleep(0)
        if not task.done():
            continue
        assert not batch.idle, "the task's end must not have been told yet for this test to mean anything"
        batch.submit(2, _into(answers))
    await batch.join()
    assert answers == [1, 2]


@on_virtual_time
async def test_what_waits_is_bounded() -> None:
    """One more than may wait is refused at once with ``unavailable``, and told when to ask again."""
    before, batched.MAX_WAITING = batched.MAX_WAITING, 3
    try:
        calls = _Calls()
        answers: list[int | Refused] = []
        batch: Batched[int, int] = Batched(calls, 10)
        for n in range(4):
            batch.submit(n, _into(answers))
        (refusal,) = answers
        assert isinstance(refusal, Refused)
        assert (refusal.code, refusal.retry_after_ms) == ("unavailable", 1000)
        await turns()
        calls.answer(0)
        await batch.join()
        assert answers[1:] == [0, 10, 20]
    finally:
        batched.MAX_WAITING = before


@on_virtual_time
async def test_ask_returns_the_answer_or_raises_the_refusal() -> None:
    """Who awaits gets the answer of its own item."""

    async def call(items: list[int]) -> list[int | Refused]:
        return [Refused("invalid", "odd") if item % 2 else item for item in items]

    batch: Batched[int, int] = Batched(call, 10)
    answers = await asyncio.gather(batch.ask(2), batch.ask(3), batch.ask(4), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], Refused)


@on_virtual_time
async def test_one_who_gave_up_waiting_does_not_hurt_the_others() -> None:
    """A cancelled ask is answered into nothing."""
    calls = _Calls()
    batch: Batched[int, int] = Batched(calls, 10)
    gone, stays = asyncio.ensure_future(batch.ask(1)), asyncio.ensure_future(batch.ask(2))
    await turns()
    gone.cancel()
    await turns()
    calls.answer(0)
    assert await stays == 20
    assert gone.cancelled()


@on_virtual_time
async def test_join_waits_for_what_was_submitted_meanwhile() -> None:
    """Join ends only when nothing waits and nothing is in flight."""
    calls = _Calls()
    answers: list[int | Refused] = []
    batch: Batched[int, int] = Batched(calls, 1)
    batch.submit(1, _into(answers))
    batch.submit(2, _into(answers))
    join = asyncio.ensure_future(batch.join())
    await turns()
    calls.answer(0)
    await turns()
    assert not join.done()
    calls.answer(1)
    await join
    assert answers == [10, 20]


@on_virtual_time
async def test_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A call that fails with anything but a refusal is answered ``internal`` and leaves a traceback."""

    async def call(items: list[int]) -> list[int | Refused]:
        raise ZeroDivisionError

    batch: Batched[int, int] = Batched(call, 10)
    with pytest.raises(Refused) as refused:
        await batch.ask(1)
    assert (refused.value.code, refused.value.retry_after_ms) == ("internal", 1000)
    assert "ZeroDivisionError" in caplog.text
