"""The feed: partners that would rather ask than be called read the outbox page by page, and acknowledge.

Knows the port of the outbox. Rules: what is acknowledged is the partner's; an acknowledgement never goes back.
"""

from __future__ import annotations

from liveroom.server.handoff.endpoint import Orders, hand_off
from liveroom.server.handoff.ports import FeedPage, OutboxStore, place_of
from liveroom.server.handoff.webhooks import check_position
from liveroom.server.room.ports import Refused

_AT_ONCE = 100


class Feed:
    """See the module."""

    def __init__(self, store: OutboxStore, orders: Orders) -> None:
        self._store = store
        self._orders = orders

    async def read(self, after: str, consumer: str, limit: int) -> FeedPage:
        """Read a page after a position; empty: after what ``consumer`` has acknowledged, or from the start.

        :raises Refused: ``invalid``, no position, or one from the future.
        """
        if after:
            check_position(after, (await self._store.look()).last)
        return await self._store.page(after, consumer, limit)

    async def acknowledge(self, consumer: str, after: str) -> tuple[str, int]:
        """Note that a consumer has everything up to ``after``: its orders are handed off.

        Done page by page, each noted when it is done: broken off, it goes on from there when asked again.
        Returns how far the consumer is now, and how many orders are the partner's by this call.

        :raises Refused: ``invalid``, no position, or one from the future.
        """
        check_position(after, (await self._store.look()).last)
        to = place_of(after)
        handed = 0
        at = await self._store.acknowledged(consumer)
        while place_of(at) < to:
            page = await self._store.page(at, "", _AT_ONCE)
            mine = [item for item in page.items if place_of(item.position) <= to]
            for item in mine:
                handed += await hand_off(self._orders, item)
            at = mine[-1].position if len(mine) == _AT_ONCE else after
            await self._store.acknowledge(consumer, at)
        return await self._store.acknowledged(consumer), handed

    async def forget(self, consumer: str) -> None:
        """Forget a consumer, so that nothing is kept for it any more.

        :raises Refused: ``not_found``.
        """
        if not await self._store.forget(consumer):
            raise Refused("not_found", f"the feed has no consumer {consumer!r}")
