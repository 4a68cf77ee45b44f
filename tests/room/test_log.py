"""The log against a plain list."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from liveroom.protocol.codec import Encoding
from liveroom.server.room.log import Entry, Lane, Log
from tests.room.fakes import comment, notice

MAX_EVENTS = 600
MAX_AGE_MS = 1000

# Steps of the age and of the count of what is appended: far below, around and above the step of a trim.
_appends = st.tuples(st.just("append"), st.integers(0, 400), st.integers(0, 300))
_trims = st.tuples(st.just("trim"), st.integers(0, 1500), st.just(0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_appends, _trims), max_size=12), st.integers(0, 10_000))
def test_log_is_a_list_with_its_front_cut_off(steps: list[tuple[str, int, int]], head: int) -> None:
    """Whatever is appended and trimmed, the log holds the newest stretch of all events, with their offsets."""
    log = Log("e", head, max_events=MAX_EVENTS, max_age_ms=MAX_AGE_MS)
    everything: list[Entry] = []
    start, now = head, 0
    for step, by, n in steps:
        if step == "append":
            now += n
            entries = [Entry(Lane.FACT, b"%d" % (len(everything) + i), now) for i in range(by)]
            log.append(entries)
            everything += entries
        else:
            now += by
            before = log.tail
            log.trim(now)
            # Only what is over a bound goes, and what is over it stays only while it is less than a step.
            wanted = [entry for entry in everything[-MAX_EVENTS:] if entry.at >= now - MAX_AGE_MS]
            excess = (log.head - log.tail) - len(wanted)
            assert excess == 0 or (0 < excess < Log._TRIM_STEP and log.tail == before)
        assert log.head == start + len(everything)
        assert 0 <= log.tail - start <= len(everything)
        for cursor in {start - 1, log.tail - 1, log.tail, (log.tail + log.head) // 2, log.head, log.head + 1}:
            assert log.holds(cursor) == (log.tail <= cursor <= log.head)
            if log.holds(cursor):
                assert log.between(cursor, log.head) == everything[cursor - start :]
                middle = (cursor + log.head) // 2
                assert log.between(cursor, middle) == everything[cursor - start : middle - start]


def test_all_that_is_old_goes_though_it_is_little() -> None:
    """A room that fell silent does not keep its last few events for ever."""
    log = Log("e", 0, max_events=MAX_EVENTS, max_age_ms=MAX_AGE_MS)
    log.append([notice("a", at=5), notice("b", at=6)])
    log.trim(6 + MAX_AGE_MS)
    assert (log.tail, log.head) == (0, 2)
    log.trim(7 + MAX_AGE_MS)
    assert (log.tail, log.head) == (2, 2)
    assert log.holds(2)
    assert not log.holds(1)


@given(st.lists(st.sampled_from(Lane), max_size=30), st.integers(0, 12))
def test_last_returns_the_newest_of_a_lane_oldest_first(lanes: list[Lane], count: int) -> None:
    """The newest events of one lane are found between those of the other."""
    log = Log("e", 7, max_events=100, max_age_ms=1000)
    entries = [Entry(lane, b"%d" % i, 0) for i, lane in enumerate(lanes)]
    log.append(entries)
    for lane in Lane:
        of_lane = [entry for entry in entries if entry.lane is lane]
        assert log.last(lane, count) == of_lane[max(0, len(of_lane) - count) :]


def test_an_entry_is_transcoded_once() -> None:
    """The MessagePack form is the same value, and the same bytes object every time."""
    entry = comment("c-1")
    made = entry.encoded(Encoding.MSGPACK)
    assert msgpack.unpackb(made)["comment"] == "c-1"
    assert entry.encoded(Encoding.MSGPACK) is made
    assert entry.encoded(Encoding.JSON) is entry.json
