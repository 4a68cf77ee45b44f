"""What an endpoint is owed: order, retries, suspicion, parking. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveroom.server.handoff.owed import SUSPECT_AFTER, Message, Owed
from liveroom.server.handoff.ports import Item
from liveroom.server.handoff.schedule import MAX_RETRY_AFTER_MS, Retries, retry_after_ms

RETRIES = Retries((0.0, 1.0, 10.0), random=lambda: 0.0)


def message(number: int, order: str) -> Message:
    """An item of an order."""
    return Message(Item(f"{number}-0", "order.placed", 0, "r", order, "placed", b"{}"))


def owed(*orders: str, most: int = 4, retries: Retries = RETRIES) -> Owed:
    """Items of these orders, in this order."""
    made = Owed(retries, most)
    for number, order in enumerate(orders, 1):
        made.add(message(number, order))
    return made


def names(messages: list[Message]) -> list[str]:
    """Order and number of each."""
    return [f"{m.item.order}{m.item.position[:-2]}" for m in messages]


def test_only_the_first_of_an_order_is_sent() -> None:
    """The next one follows when it has succeeded; other orders do not wait."""
    queue = owed("a", "a", "b")
    first = queue.ready(0)
    assert names(first) == ["a1", "b3"]
    assert queue.ready(0) == []
    queue.succeeded(first[0], 0)
    assert names(queue.ready(0)) == ["a2"]
    assert len(queue) == 2


def test_places_are_bounded() -> None:
    """No more are under way than the endpoint may have."""
    queue = owed("a", "b", "c", most=2)
    [one, two] = queue.ready(0)
    assert queue.due_at() is None
    queue.succeeded(one, 0)
    assert names(queue.ready(0)) == ["c3"]
    assert two.sending


def test_a_failure_waits_for_its_schedule() -> None:
    """It is due after its wait, and what is behind it waits as well."""
    queue = owed("a", "a")
    [first] = queue.ready(0)
    assert queue.failed(first, 100) == "again"
    assert queue.due_at() == 1100
    assert queue.ready(1099) == []
    assert names(queue.ready(1100)) == ["a1"]
    assert queue.failed(first, 1100) == "again"
    assert queue.due_at() == 11_100


def test_alone_with_an_endpoint_that_never_answers() -> None:
    """When the schedule is used up and nothing ever came through, the endpoint is parked."""
    queue = owed("a")
    now = 1
    for verdict in ("again", "again", "park"):
        now = max(now, queue.due_at() or 0)
        [only] = queue.ready(now)
        assert queue.failed(only, now) == verdict


def test_one_that_fails_while_others_succeed_is_set_aside() -> None:
    """It is at fault, not the endpoint; its order waits behind it."""
    queue = owed("a", "a")
    now = 1
    for verdict in ("again", "again", "set_aside"):
        now = max(now, queue.due_at() or 0)
        [bad] = queue.ready(now)
        assert queue.failed(bad, now) == verdict
        queue.add(message(100 + now, f"good{now}"))
        [good] = queue.ready(now)
        queue.succeeded(good, now)
    assert queue.set_aside == 1
    assert queue.due_at() is None
    assert bad.owing.set_aside


def test_a_suspect_endpoint_is_asked_one_at_a_time() -> None:
    """Several failures in a row: one probe at the schedule's pace, another item each time; a success frees all."""
    queue = owed(*"abcdef", most=3)
    for failing in queue.ready(0):
        assert queue.failed(failing, 0) == "again"
    assert queue.rounds == 1
    assert queue.due_at() == 1000
    assert queue.ready(999) == []
    [probe] = queue.ready(1000)
    assert names([probe]) == ["d4"]
    assert queue.due_at() is None
    queue.failed(probe, 1000)
    assert queue.due_at() == 11_000
    [probe] = queue.ready(11_000)
    assert names([probe]) == ["e5"]
    queue.succeeded(probe, 11_000)
    assert queue.rounds == 0
    assert len(queue.ready(11_000)) == 3


def test_a_suspect_endpoint_is_parked_after_its_rounds() -> None:
    """The schedule holds for the endpoint as a whole, however much waits."""
    queue = owed(*"abcdefgh", most=SUSPECT_AFTER)
    for failing in queue.ready(0):
        queue.failed(failing, 0)
    verdicts = []
    for _ in range(2):
        now = queue.due_at() or 0
        [probe] = queue.ready(now)
        verdicts.append(queue.failed(probe, now))
    assert verdicts == ["again", "park"]


def test_retry_after_holds_for_the_endpoint() -> None:
    """What the receiver asks for holds for everything it is owed."""
    queue = owed("a", "b")
    one, _ = queue.ready(0)
    queue.failed(one, 0, 60_000)
    queue.add(message(9, "c"))
    assert queue.ready(59_999) == []
    assert names(queue.ready(60_000)) == ["a1", "c9"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40), st.integers(1, 4))
def test_in_order_per_order_whatever_fails(plan: list[tuple[str, int]], most: int) -> None:
    """With any failures, each item is delivered once, each order's in order, and nothing is left."""
    queue = Owed(Retries((0.0,) * 1000, random=lambda: 0.0), most)
    fails = {}
    for number, (order, failures) in enumerate(plan, 1):
        queue.add(message(number, order))
        fails[f"{number}-0"] = failures
    delivered: list[Message] = []
    while len(queue):
        sent = queue.ready(0)
        assert sent
        assert len({m.item.order for m in sent}) == len(sent) <= most
        for m in sent:
            if fails[m.item.position]:
                fails[m.item.position] -= 1
                assert queue.failed(m, 0) == "again"
            else:
                queue.succeeded(m, 0)
                delivered.append(m)
    for order in "abc":
        numbers = [int(m.item.position[:-2]) for m in delivered if m.item.order == order]
        assert numbers == sorted(numbers)
    assert len(delivered) == len(plan)


def test_jitter_only_prolongs() -> None:
    """A wait is never shorter than the schedule says, and at most a fifth longer."""
    assert Retries((0.0, 10.0), random=lambda: 0.0).wait_ms(1) == 10_000
    assert Retries((0.0, 10.0), random=lambda: 1.0).wait_ms(1) == 12_000
    assert Retries((0.0, 10.0)).wait_ms(2) is None


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120_000),
        ("0", 0),
        ("99999999999", MAX_RETRY_AFTER_MS),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 100, None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER_MS),
        ("Thu, 01 Jan 1970 00:00:30 GMT", 0),
        ("Sun, 25 Feb 2021 15:02:40 GMT", 30_000),
    ],
)
def test_retry_after(header: str | None, wait: int | None) -> None:
    """Seconds or a date; garbage counts for nothing, and a day is the most."""
    now = int(datetime(2021, 2, 25, 15, 2, 10, tzinfo=UTC).timestamp() * 1000)
    assert retry_after_ms(header, now) == wait
