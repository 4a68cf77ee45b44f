"""How the Redis that is used keeps what it acknowledged: its configuration and its replicas, as far as it tells.

Knows the commands and their answers. Judges nothing: that is for ``ops.durability``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from liveroom.server.backplane.pipe import Pipe
from liveroom.server.room.ports import Unavailable
from liveroom.server.sale.ports import Keeping

_NAMES = ("appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write")


async def read_keeping(call: Callable[..., Awaitable[Any]]) -> Keeping:
    """Ask with ``call``, which sends one command; what Redis refuses to tell is None.

    :raises Unavailable: Redis cannot be reached, or did not answer in time.
    """
    config = _pairs(await _ask(call, "CONFIG", "GET", *_NAMES))
    told = await _ask(call, "INFO", "replication")
    info = dict(line.split(":", 1) for line in _text(told).splitlines() if ":" in line)
    return Keeping(
        appendonly=None if "appendonly" not in config else config["appendonly"] == "yes",
        appendfsync=config.get("appendfsync"),
        policy=config.get("maxmemory-policy"),
        replicas=_number(info.get("connected_slaves")),
        min_replicas=_number(config.get("min-replicas-to-write")),
    )


async def look(url: str, timeout_s: float) -> Keeping:
    """Connect to ``url``, read and leave.

    :raises Unavailable: nothing answers there.
    """
    pool = redis.ConnectionPool.from_url(url, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0))
    pipe = Pipe(pool.make_connection, timeout_s)
    try:
        return await read_keeping(pipe.call)
    finally:
        await pipe.close()


async def _ask(call: Callable[..., Awaitable[Any]], *words: str) -> Any:
    try:
        return await call(*words)
    except ResponseError:  # not allowed by the ACL, or the command is renamed, as hosted ones do
        return None
    except (RedisError, OSError) as fault:
        raise Unavailable() from fault


def _pairs(answer: Any) -> dict[str, str]:
    """Read names and values: a flat list in RESP2, a map in RESP3."""
    if isinstance(answer, dict):
        return {_text(name): _text(value) for name, value in answer.items()}
    words = [_text(word) for word in answer or ()]
    return dict(zip(words[::2], words[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None
