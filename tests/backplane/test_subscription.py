"""Following channels: confirmed, and told when it was away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from liveroom.server.backplane import keys
from liveroom.server.room.ports import Append, Delivery, Unavailable
from tests.backplane.conftest import Node


async def test_what_is_published_after_follow_returns_is_received(
    node: Callable[..., Node], room: str
) -> None:
    """There is no moment after follow in which a delivery is missed."""
    one = await node().start()
    await one.store.create(room, None)
    got: asyncio.Queue[Delivery] = asyncio.Queue()
    await one.store.follow(room, got.put_nowait)
    await one.store.append(room, [Append([b"f{}"])])
    assert (await got.get()).first == 1


async def test_nothing_is_received_after_unfollow(node: Callable[..., Node], room: str) -> None:
    """A room that is let go no longer costs its messages."""
    one = await node().start()
    await one.store.create(room, None)
    await one.store.create(room + "2", None)
    got: asyncio.Queue[str] = asyncio.Queue()
    await one.store.follow(room, lambda delivery: got.put_nowait("one"))
    await one.store.follow(room + "2", lambda delivery: got.put_nowait("two"))
    await one.store.unfollow(room)
    await one.store.append(room, [Append([b"f{}"])])
    await one.store.append(room + "2", [Append([b"f{}"])])
    assert await got.get() == "two"


async def test_a_subscription_that_was_cut_comes_back_and_tells_which_rooms(
    node: Callable[..., Node], room: str
) -> None:
    """After the connection was killed, deliveries flow again and the room is named for repair."""
    one = await node().start()
    await one.store.create(room, None)
    got: asyncio.Queue[Delivery] = asyncio.Queue()
    await one.store.follow(room, got.put_nowait)
    await one.client.client_kill_filter(_type="pubsub")
    while room not in one.returned:
        await asyncio.sleep(0.01)
    await one.store.append(room, [Append([b"f{}"])])
    assert (await got.get()).first == 1


async def test_a_message_that_cannot_be_read_does_not_end_the_subscription(
    node: Callable[..., Node], room: str
) -> None:
    """Rubbish on a channel is logged, and the next delivery arrives."""
    one = await node().start()
    await one.store.create(room, None)
    got: asyncio.Queue[Delivery] = asyncio.Queue()
    await one.store.follow(room, got.put_nowait)
    await one.client.publish(keys.channel(room), "rubbish")
    await one.store.append(room, [Append([b"f{}"])])
    assert (await got.get()).first == 1


async def test_following_without_a_redis_is_unavailable(node: Callable[..., Node]) -> None:
    """A subscription that cannot be made says so."""
    with pytest.raises(Unavailable):
        await node("redis://127.0.0.1:1").subscription.start()
