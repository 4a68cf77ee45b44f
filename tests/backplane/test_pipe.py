"""The pipelined connection: order, faults, time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as redis
from redis.exceptions import ConnectionError, ResponseError

from liveroom.server.backplane.pipe import Pipe


@asynccontextmanager
async def _pipe(url: str, timeout_s: float = 5.0) -> AsyncIterator[Pipe]:
    client = redis.Redis.from_url(url)
    pipe = Pipe(client.connection_pool.make_connection, timeout_s)
    yield pipe
    await pipe.close()
    await client.aclose()


async def test_calls_take_effect_in_the_order_they_were_made(redis_url: str) -> None:
    """Two hundred calls that are not awaited one by one append in order."""
    async with _pipe(redis_url) as pipe:
        await pipe.call("DEL", "pipe-order")
        await asyncio.gather(*(pipe.call("RPUSH", "pipe-order", n) for n in range(200)))
        assert await pipe.call("LRANGE", "pipe-order", 0, -1) == [b"%d" % n for n in range(200)]


async def test_a_refused_call_is_told_and_the_others_are_answered(redis_url: str) -> None:
    """An error of one call is its own."""
    async with _pipe(redis_url) as pipe:
        answers = await asyncio.gather(
            pipe.call("PING"), pipe.call("NOSUCH"), pipe.call("ECHO", "x"), return_exceptions=True
        )
        assert isinstance(answers[1], ResponseError)
        assert (answers[0], answers[2]) == (b"PONG", b"x")


async def test_a_lost_connection_tells_every_call_and_the_next_call_connects(redis_url: str) -> None:
    """When Redis drops the connection, what waits fails at once, and the pipe is good again."""
    async with _pipe(redis_url) as pipe:
        me = await pipe.call("CLIENT", "ID")
        waiting = [asyncio.create_task(pipe.call("BLPOP", "pipe-nothing", 0)) for _ in range(3)]
        async with _pipe(redis_url) as other:
            await other.call("CLIENT", "KILL", "ID", me)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, ConnectionError) for answer in answers)
        assert await pipe.call("PING") == b"PONG"


async def test_a_redis_that_never_answers_is_given_up() -> None:
    """A server that accepts and is silent fails the calls after the time limit."""
    accepted: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda reader, writer: accepted.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with _pipe(f"redis://127.0.0.1:{port}", timeout_s=0.2) as pipe:
        with pytest.raises(ConnectionError):
            await pipe.call("PING")
    for writer in accepted:
        writer.close()
    silent.close()


async def test_no_redis_is_told_at_once() -> None:
    """A port nobody listens on fails the call."""
    async with _pipe("redis://127.0.0.1:1") as pipe:
        with pytest.raises(ConnectionError):
            await pipe.call("PING")


async def test_a_cancelled_call_does_not_shift_the_answers(redis_url: str) -> None:
    """Whoever stops waiting leaves the others' answers where they belong."""
    async with _pipe(redis_url) as pipe:
        await pipe.call("PING")
        first = asyncio.create_task(pipe.call("ECHO", "first"))
        second = asyncio.create_task(pipe.call("ECHO", "second"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"second"
