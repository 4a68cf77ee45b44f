"""The page says what is: its example of a consumer group is run, its table of types is the code's."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import redis

from liveroom.server.backplane import keys
from liveroom.server.handoff.ports import TYPES
from liveroom.server.handoff.schedule import WAITS_S

from .conftest import Shop

PAGE = (Path(__file__).parents[2] / "docs" / "handoff.md").read_text()


async def test_the_consumer_group_example(shop: Shop, own_redis: str) -> None:
    """Each entry is handled once, in order; what a reader did not finish comes again."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  our own page
    assert names["OUTBOX"] == keys.OUTBOX
    orders = await shop.buy(3)
    await shop.act(orders[0], "cancel")
    client = redis.Redis.from_url(own_redis)
    handled: list[tuple[str, str]] = []

    def handle(position: bytes, fields: dict[bytes, bytes]) -> None:
        if len(handled) == 2:
            handled.append(("", ""))
            raise InterruptedError
        handled.append((fields[b"order"].decode(), fields[b"type"].decode()))

    def take() -> None:
        names["take"](client, "one", handle)

    try:
        await asyncio.to_thread(take)
    except InterruptedError:
        handled.pop()
        handled.append(("broken off", ""))
    await asyncio.to_thread(take)
    await asyncio.to_thread(take)
    client.close()
    assert handled == [
        (orders[0], "order.placed"),
        (orders[1], "order.placed"),
        ("broken off", ""),
        (orders[2], "order.placed"),
        (orders[0], "order.cancelled"),
    ]


def test_types_and_schedule_are_the_codes() -> None:
    """The tables name every type, and the schedule is the default."""
    assert set(re.findall(r"^\| `(order\.\w+)` \|", PAGE, re.M)) == set(TYPES)
    units = {"s": 1, "min": 60, "h": 3600}
    [told] = re.findall(r"tried again at once, after (.*?), each\n", PAGE, re.S)
    waits = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", told)]
    assert waits == [int(wait) for wait in WAITS_S[1:]]
