"""The hand-off of running liveroom processes: set up by settings, taken over when one is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from tests.running import Liveroom
from tests.watching import Watcher

from .conftest import Partner, until

FLAGS = (
    *("--webhook-allow-http", "--webhook-allow-private", "--webhook-timeout-s", "0.5"),
    *("--webhook-retries-s", "0,0.01,0.05,0.1,0.2,0.5,1,1,1,1,1,1", "--outbox-poll-ms", "20"),
)


async def ask(server: Liveroom, method: str, path: str, body: Any = None) -> Any:
    """Ask the API without holding up the receivers."""
    return await asyncio.to_thread(server.request, method, path, body)


async def test_killed_while_it_delivers(own_redis: str, tmp_path: Path, partner: Partner, room: str) -> None:
    """Two processes on one Redis; the one that delivers is killed: the other delivers the rest, in order."""
    servers = [
        await asyncio.to_thread(Liveroom(tmp_path / name, "--redis", own_redis, *FLAGS).start)
        for name in ("one", "two")
    ]
    client = redis.Redis.from_url(own_redis)
    try:
        made = await ask(servers[0], "PUT", "/v1/webhooks/erp", {"url": partner.url})
        await ask(servers[0], "PUT", f"/v1/rooms/{room}")
        draft = {"sku": "m", "title": "M", "price": 250, "currency": "EUR", "stock": 500}
        sale = (await ask(servers[0], "POST", f"/v1/rooms/{room}/sales", draft))["sale"]
        await ask(servers[0], "POST", f"/v1/rooms/{room}/sales/{sale}/open")
        lease = "{liveroom:handoff}:webhook:erp:lease"
        holder = (await until(lambda: client.get(lease), bool)).decode()
        killed, other = sorted(servers, key=lambda s: f":{s.port}/" not in holder)
        watcher = await Watcher(other.room_url(room, "uma")).join()

        async def buy(first: int) -> list[str]:
            for number in range(first, first + 10):
                await watcher.send(type="claim", id=number, sale=sale, quantity=1)
            return [(await watcher.reply(number))["order"] for number in range(first, first + 10)]

        orders = await buy(0)
        await partner.until(lambda p: p.taken)
        killed.kill()
        orders += await buy(10)
        for order in orders[:3]:
            await ask(other, "POST", f"/v1/rooms/{room}/orders/{order}/refund")
        await partner.until(
            lambda p: set(p.firsts()) == set(orders) and all(len(p.firsts()[o]) == 2 for o in orders[:3])
        )
        assert all(p == ["order.placed", "order.refunded"] for p in (partner.firsts()[o] for o in orders[:3]))
        assert all(received.is_signed_with(made["secret"]) for received in partner.asked)
        assert await client.get(lease) != holder.encode()
        await watcher.leave()
    finally:
        await client.aclose()
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                await asyncio.to_thread(server.stop)


async def test_as_it_is_by_default_private_targets_are_refused(server: Liveroom) -> None:
    """Without the settings neither http nor loopback is a target."""
    for url in ("http://partner.example/", "https://127.0.0.1/"):
        with pytest.raises(Exception, match="400"):
            await ask(server, "PUT", "/v1/webhooks/w", {"url": url})
