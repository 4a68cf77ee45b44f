"""What an endpoint is owed, and what of it may be sent now. Pure: no clock, no sockets, no await.

Rules:
- In order per order: only the first undelivered item of an order is ever sent; other orders go on.
- An item that fails is tried again after the schedule. When that is used up, the item is set aside if others
  came through meanwhile (it is the item that is at fault, and its order waits behind it); if nothing did, the
  endpoint is parked.
- An endpoint of which several items failed in a row, with no success between, is suspect: it is given one item at
  a time, at the schedule's pace, whatever waits. One success, and everything that waits is due.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from liveroom.server.handoff.ports import Item, Owing
from liveroom.server.handoff.schedule import Retries

SUSPECT_AFTER = 3  # different items in a row

Verdict = Literal["again", "set_aside", "park"]


class Message:
    """An item on its way. ``probe``: it was sent to find out whether a suspect endpoint is back."""

    __slots__ = ("attempts", "first_at", "item", "next_at", "probe", "sending", "set_aside")

    def __init__(self, item: Item, owing: Owing = Owing()) -> None:  # noqa: B008  a tuple
        self.item = item
        self.attempts, self.first_at, self.next_at, self.set_aside = owing
        self.sending = False
        self.probe = False

    @property
    def owing(self) -> Owing:
        """What the store keeps of it."""
        return Owing(self.attempts, self.first_at, self.next_at, self.set_aside)


class Owed:
    """See the module."""

    def __init__(
        self,
        retries: Retries,
        most: int,
        *,
        failures: int = 0,
        rounds: int = 0,
        pause_until: int = 0,
        last_success_at: int = 0,
    ) -> None:
        self.failures = failures
        self.rounds = rounds  # failed probes of a suspect endpoint; 0: it is not suspect
        self.pause_until = pause_until
        self.last_success_at = last_success_at
        self.set_aside = 0
        self._retries = retries
        self._most = most
        self._failed: set[str] = set()
        self._chains: dict[tuple[str, str], deque[Message]] = {}
        self._count = 0
        self._sending = 0

    def __len__(self) -> int:
        return self._count

    @property
    def sending(self) -> int:
        """How many are under way."""
        return self._sending

    def add(self, message: Message) -> None:
        """Owe one more; items come in the order of their positions."""
        self._chains.setdefault((message.item.room, message.item.order), deque()).append(message)
        self._count += 1
        self.set_aside += message.set_aside

    def _heads(self) -> list[Message]:
        heads = (chain[0] for chain in self._chains.values())
        return [head for head in heads if not head.sending and not head.set_aside]

    def ready(self, now: int) -> list[Message]:
        """Return what is to be sent now, and count it as under way."""
        places = (1 if self.rounds else self._most) - self._sending
        if places <= 0 or self.pause_until > now:
            return []
        heads = self._heads()
        if self.rounds:
            heads.sort(key=lambda head: head.attempts)  # so that one bad item does not stand for all
        else:
            heads = [head for head in heads if head.next_at <= now]
        for head in heads[:places]:
            head.sending, head.probe = True, bool(self.rounds)
        self._sending += len(heads[:places])
        return heads[:places]

    def due_at(self) -> int | None:
        """Return when something can be sent next, None when nothing can before something else happens."""
        if self._sending >= (1 if self.rounds else self._most):
            return None
        heads = self._heads()
        if not heads:
            return None
        return max(self.pause_until, 0 if self.rounds else min(head.next_at for head in heads))

    def succeeded(self, message: Message, now: int) -> None:
        """Take a message off: it was delivered."""
        self._landed(message)
        key = message.item.room, message.item.order
        chain = self._chains[key]
        assert chain[0] is message
        chain.popleft()
        self._count -= 1
        if not chain:
            del self._chains[key]
        self.failures = 0
        self.last_success_at = now
        self._failed.clear()
        if self.rounds:
            self.rounds, self.pause_until = 0, 0
            for waiting in self._chains.values():
                waiting[0].next_at = 0

    def failed(self, message: Message, now: int, retry_after_ms: int | None = None) -> Verdict:
        """Put a message back: the attempt failed. Says what becomes of it, or of the endpoint."""
        self._landed(message)
        message.attempts += 1
        message.first_at = message.first_at or now
        self.failures += 1
        self._failed.add(message.item.position)
        if retry_after_ms is not None:
            self.pause_until = max(self.pause_until, now + retry_after_ms)
        if message.probe or (not self.rounds and len(self._failed) >= SUSPECT_AFTER):
            self.rounds += 1
            pause = self._retries.wait_ms(self.rounds)
            if pause is None:
                return "park"
            self.pause_until = max(self.pause_until, now + pause)
        wait = self._retries.wait_ms(message.attempts)
        if wait is not None:
            message.next_at = now + max(wait, retry_after_ms or 0)
            return "again"
        if self.last_success_at >= message.first_at:
            message.set_aside = True
            self.set_aside += 1
            return "set_aside"
        if not self.rounds:
            return "park"
        message.next_at = now
        return "again"

    def _landed(self, message: Message) -> None:
        assert message.sending
        message.sending = False
        self._sending -= 1
