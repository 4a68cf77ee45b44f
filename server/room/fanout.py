"""The fan-out pass: the same bytes to every viewer that goes with the pass, in slices.

Pure: it is driven by ``Room``, and writes through ``Viewer.write``. Rules:

- Viewers that take what they are given share one cursor and need no bookkeeping of their own. A viewer
  whose socket is full leaves them (``part``): nothing is queued for it, only its place in the log is kept.
- When its socket has drained, or when it joins with a cursor from the past, it is brought up to the flushed
  offset from the log (``catch_up``) and goes with the pass again. Facts are never left out; of the comments a
  lagging viewer missed, only the newest are given, the others are counted in ``skipped``.
- One bad socket never ends a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liveroom.server.room.flush import GROUPS, Flush
from liveroom.server.room.log import Entry, Lane, Log
from liveroom.server.room.ports import ALONE, Viewer

# Writing to one viewer costs about 6 us: a slice of 512 holds the loop for some 3 ms, the time a claim waits.
SLICE = 512
LOST, RESTARTING = -1, -2  # places of lagging viewers that must start afresh, and whose welcome is on its way
CATCH_UP_EVENTS = 256  # events in one frame to a viewer that catches up
COMMENTS_AFTER_LAG = 50


class Audience:
    """A room's viewers, and the pass over them."""

    __slots__ = (
        "_at",
        "_before",
        "_flush",
        "_missed",
        "_pending",
        "_resuming",
        "_unaware",
        "deliveries",
        "flushed",
        "groups",
        "lagging",
    )

    def __init__(self, flushed: int) -> None:
        self.flushed = flushed  # the offset the newest pass brings everyone to
        self.groups: tuple[dict[Viewer, None], ...] = tuple({} for _ in range(GROUPS))
        self.lagging: dict[Viewer, int] = {}  # place in the log of those who do not go with the pass
        self._resuming: set[Viewer] = set()  # of the lagging, those who were promised every comment
        self._unaware: set[Viewer] = set()  # of the lagging, those who missed a change of state
        self._flush: Flush | None = None
        self._before = flushed  # the cursor of those whom the running pass has not reached yet
        self._pending: list[tuple[int, list[Viewer]]] = []  # groups this pass has still to write to
        self._at = 0  # how far it is in the last of them
        self._missed: dict[tuple[int, bool], Flush] = {}  # shared catch-up batches, up to ``flushed``
        self.deliveries = 0  # frames written, for the metrics

    def __len__(self) -> int:
        return sum(map(len, self.groups)) + len(self.lagging)

    def everyone(self) -> list[Viewer]:
        """Return all viewers."""
        return [viewer for group in self.groups for viewer in group] + list(self.lagging)

    # --- coming and going ---------------------------------------------------------------------------

    def admit(self, viewer: Viewer, cursor: int) -> None:
        """Take a viewer in at ``cursor``; it goes with the pass if that is where the pass is.

        Everyone else is to be given what follows ``cursor`` by ``catch_up``, with every comment.
        """
        if cursor == self.flushed and not viewer.paused:
            viewer.cursor = cursor
            self.groups[viewer.group][viewer] = None
        else:
            viewer.cursor = ALONE
            self.lagging[viewer] = cursor
            self._resuming.add(viewer)

    def part(self, viewer: Viewer) -> None:
        """Take a viewer out of the pass, keeping its place; called when its socket is full."""
        if self.groups[viewer.group].pop(viewer, self) is None:
            if self._flush is not None and self._flush.state and viewer.cursor == self._before:
                self._unaware.add(
                    viewer
                )  # or perhaps not, in a pass that carries nothing else: it is told again
            self.lagging[viewer] = viewer.cursor
            viewer.cursor = ALONE

    def remove(self, viewer: Viewer) -> bool:
        """Forget a viewer; returns whether it was here."""
        was_alone = self.lagging.pop(viewer, None) is not None
        self._resuming.discard(viewer)
        self._unaware.discard(viewer)
        was_along = self.groups[viewer.group].pop(viewer, self) is None
        viewer.cursor = ALONE
        return was_alone or was_along

    def lose_place(self, viewers: list[Viewer]) -> None:
        """Mark viewers whose place means nothing any more (another epoch): they are to start afresh."""
        self._flush = None
        self._pending.clear()
        self._missed.clear()
        for viewer in viewers:
            self.part(viewer)
            self.lagging[viewer] = LOST

    def waiting(self) -> list[Viewer]:
        """Return those who lag though their socket takes more: they resumed ahead of this node."""
        if not self.lagging:
            return []
        return [viewer for viewer, cursor in self.lagging.items() if cursor >= 0 and not viewer.paused]

    # --- the pass -----------------------------------------------------------------------------------

    @property
    def passing(self) -> bool:
        """Tell whether a pass has viewers still to write to."""
        return self._flush is not None

    def begin(self, flush: Flush) -> None:
        """Start a pass that brings everyone from ``flushed`` to ``flush.offset``."""
        assert self._flush is None
        self._flush = flush
        self._before = self.flushed
        self.flushed = flush.offset
        self._pending = [(index, list(group)) for index, group in enumerate(self.groups) if group]
        self._at = 0
        self._missed.clear()
        if flush.state:
            self._unaware.update(self.lagging)

    def advance(self) -> bool:
        """Write to the next slice of viewers; returns whether there are more."""
        flush = self._flush
        assert flush is not None
        if self._pending:
            group, viewers = self._pending[-1]
            write_slice(viewers, self._at, flush.frame(group), self._before, flush.offset)
            self.deliveries += min(SLICE, len(viewers) - self._at)
            self._at += SLICE
            if self._at >= len(viewers):
                self._pending.pop()
                self._at = 0
        if self._pending:
            return True
        self._flush = None
        return False

    # --- catching up --------------------------------------------------------------------------------

    def catch_up(
        self, viewer: Viewer, log: Log, now: int, state: dict[str, Any], restart: Callable[[Viewer], None]
    ) -> None:
        """Bring a viewer from its own place to the flushed offset, as far as its socket takes it.

        :param state: the room's whole state, as last sent; who lagged has missed changes of it.
        :param restart: called instead when the log no longer holds the viewer's place.
        """
        while not viewer.paused:
            cursor = self.lagging.get(viewer)
            if cursor is None or cursor == RESTARTING or cursor > self.flushed:
                return  # gone, or waiting for its new welcome, or ahead until this node has flushed more
            if cursor == self.flushed and viewer not in self._unaware:
                del self.lagging[viewer]
                self._resuming.discard(viewer)
                self.admit(viewer, cursor)
                return
            if not log.holds(cursor):
                self.lagging[viewer] = RESTARTING
                restart(viewer)
                return
            flush = self._missed_after(cursor, log, now, state, viewer in self._resuming)
            self.lagging[viewer] = flush.offset
            if flush.offset == self.flushed:
                self._unaware.discard(viewer)
            try:
                viewer.write(flush.frame(viewer.group))
            except Exception:
                viewer.drop()
                return

    def _missed_after(self, cursor: int, log: Log, now: int, state: dict[str, Any], whole: bool) -> Flush:
        """Return the next batch for someone at ``cursor``; shared, since crowds lag and return together."""
        flush = self._missed.get((cursor, whole))
        if flush is None:
            if whole:
                upto = min(cursor + CATCH_UP_EVENTS, self.flushed)
                entries, skipped = log.between(cursor, upto), 0
            else:
                entries, upto, skipped = _facts_and_newest(log.between(cursor, self.flushed), cursor)
            flush = Flush(now, upto, entries, state if upto == self.flushed else None, skipped)
            self._missed[cursor, whole] = flush
        return flush


def _facts_and_newest(missed: list[Entry], cursor: int) -> tuple[list[Entry], int, int]:
    """Choose from what a lagging viewer missed: (events, offset after them, comments left out)."""
    comments = sum(entry.lane is Lane.CHATTER for entry in missed)
    to_skip = max(0, comments - COMMENTS_AFTER_LAG)
    chosen: list[Entry] = []
    skipped = 0
    for entry in missed:
        if len(chosen) == CATCH_UP_EVENTS:
            break
        cursor += 1
        if entry.lane is Lane.CHATTER and skipped < to_skip:
            skipped += 1
        else:
            chosen.append(entry)
    return chosen, cursor, skipped


def write_slice(viewers: list[Viewer], start: int, frame: bytes, before: int, after: int) -> None:
    """Write one frame to a slice of viewers. The hot loop: each line of it is needed.

    The check leaves out who left, lags or has caught up by itself since the pass began; the cursor is set
    first because a full socket calls back at once, and then it is what is kept.
    """
    size = len(frame)
    for viewer in viewers[start : start + SLICE]:
        if viewer.cursor == before:
            viewer.cursor = after
            send = viewer.send  # loaded apart from the call: CPython then reads the slot directly
            try:
                sent = send(frame)
            except BlockingIOError:
                sent = 0
            except Exception:  # a socket that has just broken; its connection_lost follows
                viewer.drop()
                continue
            if sent != size:
                write_rest(viewer, frame[sent:])


def write_rest(viewer: Viewer, rest: bytes) -> None:
    """Leave to the transport what a full socket did not take; it then takes the viewer out of the pass."""
    try:
        viewer.write(rest)
    except Exception:
        viewer.drop()
