"""Real kills: what was acknowledged stays, what was missed is filled, and the process never gives up."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import websockets

from liveroom.server.backplane.embedded import find_server
from tests.running import Liveroom, running
from tests.watching import Watcher

pytestmark = pytest.mark.slow
SALE = {"sku": "mug", "title": "Mug", "price": 1290, "currency": "EUR"}


def _open_sale(server: Liveroom, room: str, stock: int) -> str:
    sale: str = server.request("POST", f"/v1/rooms/{room}/sales", SALE | {"stock": stock})["sale"]
    server.request("POST", f"/v1/rooms/{room}/sales/{sale}/open")
    return sale


def _orders(server: Liveroom, room: str) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = []
    after: Any = 0
    while after is not None:
        page = server.request("GET", f"/v1/rooms/{room}/orders?after={after}&limit=1000")
        orders += page["orders"]
        after = page["next"]
    return orders


@asynccontextmanager
async def _watching(*urls: str) -> AsyncIterator[list[Watcher]]:
    watchers = [await Watcher(url).join() for url in urls]
    try:
        yield watchers
    finally:
        for watcher in watchers:
            await watcher.leave()


class Buyer:
    """Claims one unit after the other, and asks again with the same id until it is answered."""

    def __init__(self, url: str, sale: str, name: str) -> None:
        self.url, self.sale, self.name = url, sale, name
        self.answers: dict[int, dict[str, Any]] = {}  # by claim id, the first acknowledgement

    async def buy(self, count: int) -> None:
        """Make ``count`` claims, whatever happens in between."""
        watcher: Watcher | None = None
        for id in range(count):
            while True:
                try:
                    if watcher is None or watcher.closed:
                        watcher = await Watcher(self.url).join()
                    answer = await watcher.ask(type="claim", id=id, sale=self.sale, quantity=1)
                except (OSError, websockets.WebSocketException, TimeoutError):
                    watcher = None
                    await asyncio.sleep(0.02)
                    continue
                watcher.messages.clear()
                if answer["type"] == "ack":
                    self.answers[id] = answer
                    break
                assert answer["code"] in ("unavailable", "internal"), answer
                await asyncio.sleep(0.02)
        if watcher is not None:
            with suppress(OSError, websockets.WebSocketException):
                await watcher.leave()

    async def ask_again(self) -> None:
        """Ask for every answer once more: the same id has the same order."""
        watcher = await Watcher(self.url).join_at_last()
        for id, first in self.answers.items():
            answer = await watcher.ask(type="claim", id=id, sale=self.sale, quantity=1)
            assert answer["type"] == "ack"
            if first["status"] == "reserved":
                assert answer["order"] == first["order"], (self.name, id)
        await watcher.leave()


async def _sell_through_kills(server: Liveroom, room: str, kill: Any, rounds: int) -> None:
    """Sell to eight buyers while things are killed, then hold the books against what they were told."""
    buyers, each, stock = 8, 120, 700
    sale = _open_sale(server, room, stock)
    people = [Buyer(server.room_url(room, f"u{n}"), sale, f"u{n}") for n in range(buyers)]
    buying = [asyncio.create_task(person.buy(each)) for person in people]
    for _ in range(rounds):
        await asyncio.sleep(random.uniform(0.05, 0.3))
        await asyncio.to_thread(kill)
    await asyncio.gather(*buying)
    for person in people:
        await person.ask_again()
    orders = await asyncio.to_thread(_orders, server, room)
    told = [a["order"] for p in people for a in p.answers.values() if a["status"] == "reserved"]
    assert len(told) == len(set(told)) == len(orders) == stock
    assert {order["order"] for order in orders} == set(told)
    state = await asyncio.to_thread(server.request, "GET", f"/v1/rooms/{room}/sales/{sale}")
    assert (state["left"], state["state"], state["orders"]) == (0, "sold_out", stock)


async def test_kill_9_of_liveroom_loses_no_acknowledged_order(tmp_path: Path) -> None:
    """Killed again and again in the middle of a sale, it has every order it ever acknowledged, once."""
    server = Liveroom(tmp_path / "data").start()

    def kill() -> None:
        server.kill()
        server.start()

    try:
        await _sell_through_kills(server, "killed", kill, 5)
    finally:
        server.stop()


async def test_kill_9_of_the_embedded_server_loses_no_acknowledged_order(tmp_path: Path) -> None:
    """The store is killed again and again; liveroom starts it again and the sale goes on."""
    with running(tmp_path / "data") as server:

        def kill() -> None:
            with suppress(ProcessLookupError, FileNotFoundError):
                os.kill(server.redis_pid, signal.SIGKILL)

        await _sell_through_kills(server, "store", kill, 5)


async def test_kill_9_of_both_at_once_loses_no_acknowledged_order(tmp_path: Path) -> None:
    """Even when everything ends in the same moment."""
    server = Liveroom(tmp_path / "data").start()

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(server.redis_pid, signal.SIGKILL)
        server.kill()
        server.start()

    try:
        await _sell_through_kills(server, "both", kill, 3)
    finally:
        server.stop()


async def test_viewers_stay_while_the_store_is_away_and_miss_nothing(tmp_path: Path) -> None:
    """The store is killed between facts: the same connections have all of them, in order, once."""
    with running(tmp_path / "data") as server:
        urls = [server.room_url("away", f"v{n}") for n in range(5)]
        async with _watching(*urls) as watchers:
            published = 0
            for round in range(4):
                for _ in range(25):
                    event = {"type": "custom", "name": "n", "data": published}
                    while True:
                        try:
                            await asyncio.to_thread(
                                server.request,
                                "POST",
                                "/v1/rooms/away/events",
                                event,
                                Idempotency_Key=f"n{published}",
                            )
                            break
                        except OSError:  # HTTPError is one: 503 while the store is away
                            await asyncio.sleep(0.05)
                    published += 1
                if round < 3:
                    os.kill(server.redis_pid, signal.SIGKILL)
            for watcher in watchers:
                await watcher.until(lambda w: len(w.of("custom")) >= published)
                assert [event["data"] for event in watcher.of("custom")] == list(range(published))
                assert watcher.closed is None
                assert len(watcher.welcomes) == 1


async def test_commands_are_refused_kindly_while_the_store_does_not_answer(tmp_path: Path) -> None:
    """A store that is silent: `unavailable` with when to ask again; pings work; afterwards all is well."""
    with running(tmp_path / "data") as server, _stopped_on_exit(server):
        sale = _open_sale(server, "silent", 5)
        async with _watching(server.room_url("silent", "ann")) as (ann,):
            os.kill(server.redis_pid, signal.SIGSTOP)
            await ann.send(type="comment", id="c", text="hello")
            await ann.send(type="claim", id="k", sale=sale, quantity=1)
            await ann.send(type="ping", t=1)
            await ann.until(lambda w: any(m["type"] == "pong" for m in w.messages))
            for id in ("c", "k"):
                answer = await ann.reply(id)
                assert answer["code"] == "unavailable"
                assert answer["retry_after_ms"] > 0
            os.kill(server.redis_pid, signal.SIGCONT)
            answer = await ann.ask(type="claim", id="again", sale=sale, quantity=1)
            assert answer["status"] == "reserved"
            assert ann.closed is None


class _stopped_on_exit:
    """Let a stopped embedded server run again, or liveroom could not stop it."""

    def __init__(self, server: Liveroom) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, *fault: object) -> None:
        os.kill(self._server.redis_pid, signal.SIGCONT)


async def test_a_restart_carries_rooms_sales_and_orders(tmp_path: Path) -> None:
    """A resumed viewer goes on where it was; sale, orders, comments and likes are as they were."""
    server = Liveroom(tmp_path / "data").start()
    try:
        sale = _open_sale(server, "kept", 5)
        ann = await Watcher(server.room_url("kept", "ann")).join()
        first = await ann.ask(type="claim", id="k", sale=sale, quantity=2)
        await ann.ask(type="comment", id="c", text="hello")
        await ann.send(type="like", n=7)
        await ann.until(lambda w: w.state.get("likes") == 7 and w.of("comment"))
        await asyncio.to_thread(server.stop)
        await ann.until(lambda w: w.closed)
        assert ann.closed is not None
        assert ann.closed[0] == 1012
        bye = next(m for m in ann.messages if m["type"] == "bye")
        assert bye["code"] == "restarting"
        assert bye["reconnect_after_ms"] >= 0
        server.start()
        await ann.join(resume=True)
        assert ann.welcomes[-1]["resumed"] is True
        assert [order["order"] for order in ann.welcomes[-1]["orders"]] == [first["order"]]
        assert ann.welcomes[-1]["state"]["likes"] == 7
        assert ann.welcomes[-1]["sales"][0]["left"] == 3
        bob = await Watcher(server.room_url("kept", "bob")).join()
        assert [comment["text"] for comment in bob.welcomes[0]["recent"]] == ["hello"]
        await bob.leave()
        await ann.leave()
    finally:
        server.stop()


async def test_stopping_ends_both_processes_cleanly(tmp_path: Path) -> None:
    """SIGTERM: exit code 0, and the embedded server is gone with its socket free for the next."""
    server = Liveroom(tmp_path / "data").start()
    pid = server.redis_pid
    assert server.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_redis_of_your_own_can_be_restarted(tmp_path: Path) -> None:
    """With --redis URL: it goes away and comes back, and viewers have every fact."""
    port = 7300 + os.getpid() % 1000
    redis = [find_server(), "--port", str(port), "--dir", str(tmp_path), "--appendonly", "yes"]
    redis += ["--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"]
    numbers = itertools.count()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(redis, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    process = start()
    try:
        await _listening(port)
        with running(tmp_path / "data", "--redis", f"redis://127.0.0.1:{port}") as server:
            async with _watching(server.room_url("own", "ann")) as (ann,):
                for _ in range(3):
                    event = {"type": "custom", "name": "n", "data": next(numbers)}
                    await asyncio.to_thread(server.request, "POST", "/v1/rooms/own/events", event)
                    process.terminate()
                    process.wait()
                    process = start()
                    await _listening(port)
                while True:
                    try:
                        event = {"type": "custom", "name": "n", "data": 3}
                        await asyncio.to_thread(server.request, "POST", "/v1/rooms/own/events", event)
                        break
                    except OSError:
                        await asyncio.sleep(0.05)
                await ann.until(lambda w: len(w.of("custom")) == 4)
                assert [event["data"] for event in ann.of("custom")] == [0, 1, 2, 3]
    finally:
        process.terminate()
        process.wait()


async def _listening(port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.01)
