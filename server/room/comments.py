"""The display budget: how many comments a second a room can show, and which, when there are more.

Pure; takes ``now`` in seconds. Within the budget a comment is shown at once. Beyond it, comments gather for
one slot, and at its end as many as the budget allows are drawn: every author has the same chance in a draw,
however much they write. Authors of the others are told that theirs was not shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

SLOT_S = 0.25
MAX_HELD = 4096  # comments in a slot; beyond it a newcomer replaces a random one or is left out


class CommentGate(Generic[Item]):
    """Holds back what is over ``per_s`` comments a second."""

    def __init__(self, per_s: float, choice: Callable[[int], int] = random.randrange) -> None:
        self.per_s = per_s
        self._randrange = choice
        self._tokens = per_s
        self._at = 0.0
        self._held: list[tuple[str, Item]] = []
        self._overflow: list[Item] = []

    @property
    def holding(self) -> bool:
        """Tell whether a slot is under way, to be ended by ``settle``."""
        return bool(self._held)

    def offer(self, now: float, user: str, item: Item) -> bool:
        """Take a comment; returns whether it is to be shown at once. Otherwise ``settle`` decides on it."""
        self._refill(now)
        if not self._held and self._tokens >= 1:
            self._tokens -= 1
            return True
        if len(self._held) < MAX_HELD:
            self._held.append((user, item))
        else:  # reservoir: the one who came late has the same chance as the one who came early
            place = self._randrange(MAX_HELD + len(self._overflow) + 1)
            if place < MAX_HELD:
                self._overflow.append(self._held[place][1])
                self._held[place] = (user, item)
            else:
                self._overflow.append(item)
        return False

    def settle(self, now: float) -> tuple[list[Item], list[Item]]:
        """End the slot: (to be shown, in the order they came; not shown)."""
        self._refill(now)
        held, left_out = self._held, self._overflow
        self._held, self._overflow = [], []
        count = min(int(self._tokens), len(held))
        self._tokens -= count
        chosen = self._draw(held, count)
        shown = [item for place, (_, item) in enumerate(held) if place in chosen]
        left_out += [item for place, (_, item) in enumerate(held) if place not in chosen]
        return shown, left_out

    def _draw(self, held: list[tuple[str, Item]], count: int) -> set[int]:
        """Draw ``count`` places, an author at a time; a second comment of one only when all had one."""
        if count >= len(held):
            return set(range(len(held)))
        by_author: dict[str, list[int]] = {}
        for place, (user, _) in enumerate(held):
            by_author.setdefault(user, []).append(place)
        chosen: set[int] = set()
        authors = list(by_author.values())
        while len(chosen) < count:
            self._shuffle(authors)
            for places in authors[: count - len(chosen)]:
                chosen.add(places.pop(self._randrange(len(places))))
            authors = [places for places in authors if places]
        return chosen

    def _shuffle(self, authors: list[list[int]]) -> None:
        for i in range(len(authors) - 1, 0, -1):
            j = self._randrange(i + 1)
            authors[i], authors[j] = authors[j], authors[i]

    def _refill(self, now: float) -> None:
        # A second's worth may be saved up, but at least one comment: below one a second, none would ever show.
        self._tokens = min(max(1.0, self.per_s), self._tokens + (now - self._at) * self.per_s)
        self._at = now
