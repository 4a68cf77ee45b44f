"""How Redis keeps what it acknowledged, read from a real one and from one that does not tell."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio as redis

from liveroom.server.backplane.keeping import look, read_keeping
from liveroom.server.backplane.store import RedisStore
from liveroom.server.room.ports import Unavailable
from liveroom.server.sale.ports import Keeping


async def test_what_redis_tells(store: RedisStore) -> None:
    """The private Redis of these tests writes no file and has no replicas."""
    kept = await store.keeping()
    assert (kept.appendonly, kept.policy, kept.replicas, kept.min_replicas) == (False, "noeviction", 0, 0)


async def test_a_user_who_may_not_ask(redis_url: str) -> None:
    """What the ACL refuses is unknown, and the rest is read all the same."""
    client = redis.Redis.from_url(redis_url)
    await client.execute_command("ACL", "SETUSER", "shy", "on", ">pass", "~*", "+info", "+auth")  # type: ignore[no-untyped-call]
    try:
        kept = await look(f"{redis_url}?username=shy&password=pass", 5.0)
    finally:
        await client.execute_command("ACL", "DELUSER", "shy")  # type: ignore[no-untyped-call]
        await client.aclose()
    assert kept == Keeping(replicas=0)


async def test_nobody_there() -> None:
    """Where nothing listens the store is unavailable."""
    with pytest.raises(Unavailable):
        await look("unix:///nowhere/r.sock", 1.0)


@pytest.mark.parametrize(
    "config",
    [
        [b"appendonly", b"yes", b"appendfsync", b"everysec"],
        {b"appendonly": b"yes", b"appendfsync": b"everysec"},
        {"appendonly": "yes", "appendfsync": "everysec"},
    ],
)
async def test_both_forms_of_an_answer(config: Any) -> None:
    """A list, as RESP2 has it, and a map, as RESP3 has it, are read alike."""

    async def call(*words: str) -> Any:
        return config if words[0] == "CONFIG" else b"# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"

    assert await read_keeping(call) == Keeping(appendonly=True, appendfsync="everysec", replicas=2)
