"""The main job, whole: many viewers, many kinds of client, one room, one order of events."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from liveroom.protocol.client import connect
from tests.chromium import BINARY, chromium
from tests.running import Liveroom, private_redis, running
from tests.watching import Watcher

pytestmark = pytest.mark.slow
SALE = {"sku": "mug", "title": "Mug", "price": 1290, "currency": "EUR"}
WORDS = ["LUL", "EZ Clap", "多少钱", "想要这个", "🔥🔥🔥", "how much?", "NOOOO", "take my money", "wow", "❤️"]


def _recording(path: Path, seconds: int, per_s: int) -> Path:
    """A chat of short, repeated texts, as such rooms have them."""
    chance = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for n in range(seconds * per_s):
            text = " ".join(chance.choices(WORDS, k=chance.choice([1, 1, 1, 2, 3, 8])))
            file.write(json.dumps({"t_ms": n * 1000 // per_s, "text": text}, ensure_ascii=False) + "\n")
    return path


async def _publish(server: Liveroom, room: str, count: int, every_s: float) -> None:
    for n in range(count):
        event = {"type": "custom", "name": "n", "data": n}
        await asyncio.to_thread(server.request, "POST", f"/v1/rooms/{room}/events", event)
        await asyncio.sleep(every_s)


async def _cut_and_resume(watchers: list[Watcher], until: asyncio.Event) -> int:
    """Cut some viewers off, over and over, and let them come back with their cursor."""
    cuts = 0
    while not until.is_set():
        for watcher in random.sample(watchers, 5):
            await watcher.cut()
            await asyncio.sleep(random.uniform(0, 0.2))
            await watcher.join(resume=True)
            assert watcher.welcomes[-1]["resumed"] is True
            cuts += 1
    return cuts


async def test_a_replayed_recording_reaches_1000_viewers_in_one_order(tmp_path: Path) -> None:
    """At ten times its speed, with viewers cut off and resumed: every fact once, in one order, for everyone."""
    recording = _recording(tmp_path / "chat.jsonl", seconds=60, per_s=15)
    with running(tmp_path / "data") as server:
        url = [server.room_url("crowd", f"v{n}") for n in range(1000)]
        watchers = [Watcher(u) for u in url]
        for start in range(0, 1000, 100):
            await asyncio.gather(*(watcher.join() for watcher in watchers[start : start + 100]))
        command = [sys.executable, "-m", "liveroom.server.cli", "replay", str(recording), "--room", "crowd"]
        replay = await asyncio.create_subprocess_exec(
            *command, "--speed", "10", "--target", server.ws, stdout=asyncio.subprocess.PIPE
        )
        over = asyncio.Event()
        cutting = asyncio.create_task(_cut_and_resume(watchers[:50], over))
        await _publish(server, "crowd", 100, 0.05)
        assert replay.stdout is not None
        report = json.loads((await replay.stdout.read()).splitlines()[0])
        assert await replay.wait() == 0
        over.set()
        assert await cutting > 0
        final = await asyncio.to_thread(server.request, "GET", "/v1/rooms/crowd")
        for watcher in watchers:
            await watcher.until(lambda w: w.offset == final["offset"])
        whole = [event for event in watchers[-1].events if event["type"] != "comment"]
        comments = watchers[-1].of("comment")
        assert [event["data"] for event in whole] == list(range(100))
        assert len(comments) + watchers[-1].skipped == report["shown"]
        for watcher in watchers:
            assert watcher.of("custom") == whole
            if not watcher.skipped:
                assert watcher.of("comment") == comments
            else:
                order = {event["comment"]: n for n, event in enumerate(comments)}
                places = [order[event["comment"]] for event in watcher.of("comment")]
                assert places == sorted(set(places))
        for watcher in watchers:
            await watcher.cut()


async def _node(server: Liveroom, room: str, sale: str, events: int) -> asyncio.subprocess.Process:
    script = Path(__file__).parent / "js" / "one_room.mjs"
    return await asyncio.create_subprocess_exec(
        "node",
        "--experimental-websocket",
        "--no-warnings",
        str(script),
        server.http,
        room,
        sale,
        str(events),
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.skipif(BINARY is None, reason="neither chromium nor chromium-browser is on PATH")
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
async def test_every_kind_of_client_shares_one_room(server: Liveroom, room: str, tmp_path: Path) -> None:
    """Two browsers, Node, the Python client in both encodings and a plain websocket see the same room."""
    path = f"/v1/rooms/{room}/sales"
    sale = (await asyncio.to_thread(server.request, "POST", path, SALE | {"stock": 3}))["sale"]
    await asyncio.to_thread(server.request, "POST", f"{path}/{sale}/open")
    plain = await Watcher(server.room_url(room, "plain", name="Plain")).join(compression="deflate")
    seen: dict[str, list[Any]] = {"json": [], "msgpack": []}

    async def python(encoding: str) -> None:
        async with connect(server.ws, room, user=f"py-{encoding}", encoding=encoding) as client:  # type: ignore[arg-type]
            async for event in client.events():
                if event["type"] == "custom":
                    seen[encoding].append(event["data"])
                    if len(seen[encoding]) == 5:
                        return

    tasks = [asyncio.create_task(python(encoding)) for encoding in seen]
    node = await _node(server, room, sale, 5)
    assert node.stdout is not None
    assert json.loads(await node.stdout.readline()) == {"ready": True, "shown": True, "claim": "reserved"}
    async with chromium(tmp_path / "profile") as browser:
        pages = [await browser.new_page() for _ in range(2)]
        for number, page in enumerate(pages):
            await page.goto(f"{server.http}/?room={room}&user=b{number}")
            await page.wait_for("document.body.dataset.status === 'live'")
        await plain.until(lambda w: w.state["viewers"] >= 6)
        await plain.ask(type="comment", id="c", text="hello from plain")
        for page in pages:
            await page.sees("body", "hello from node")
            await page.sees("body", "hello from plain")
        answers = [await plain.ask(type="claim", id=n, sale=sale, quantity=1) for n in range(3)]
        assert [answer["status"] for answer in answers] == ["reserved", "reserved", "sold_out"]
        await _publish(server, room, 5, 0)
        await asyncio.gather(*tasks)
        last = json.loads(await node.stdout.readline())
        assert await node.wait() == 0
    assert last["gaps"] == 0
    assert (
        seen["json"] == seen["msgpack"] == last["custom"] == [event["data"] for event in plain.of("custom")]
    )
    assert "hello from plain" in last["comments"]
    assert sum(1 + event["others"] for event in plain.of("order_placed")) == 3
    await plain.leave()


async def test_a_sale_opens_and_ends_by_itself_for_everyone(server: Liveroom, room: str) -> None:
    """Its times come, nobody asks, and every viewer is told."""
    ann = await Watcher(server.room_url(room, "ann")).join()
    now = ann.welcomes[0]["now"]
    body = SALE | {"stock": 3, "starts_at": now + 600, "ends_at": now + 1200}
    await asyncio.to_thread(server.request, "POST", f"/v1/rooms/{room}/sales", body)
    await ann.until(lambda w: [sale["state"] for sale in w.of("sale")] == ["scheduled", "open", "closed"])
    opened, closed = ann.of("sale")[1:]
    assert opened["at"] >= body["starts_at"]
    assert closed["at"] >= body["ends_at"]
    await ann.leave()


async def test_two_nodes_on_one_redis_show_one_room(tmp_path: Path) -> None:
    """Comments, claims, likes and orders cross over; counts are of both."""
    with (
        private_redis(tmp_path) as url,
        running(tmp_path / "a", "--redis", url) as one,
        running(tmp_path / "b", "--redis", url) as two,
    ):
        sale = one.request("POST", "/v1/rooms/shared/sales", SALE | {"stock": 2})["sale"]
        one.request("POST", f"/v1/rooms/shared/sales/{sale}/open")
        ann = await Watcher(one.room_url("shared", "ann")).join()
        bob = await Watcher(two.room_url("shared", "bob")).join()
        ann_too = await Watcher(two.room_url("shared", "ann")).join()
        await ann.until(lambda w: w.state["viewers"] == 3)
        await ann.ask(type="comment", id=1, text="from one")
        await bob.ask(type="comment", id=1, text="from two")
        await ann.send(type="like", n=3)
        await bob.send(type="like", n=4)
        answer = await ann.ask(type="claim", id="k", sale=sale, quantity=2)
        for watcher in (ann, bob, ann_too):
            await watcher.until(lambda w: len(w.of("comment")) == 2 and w.state["likes"] == 7)
            await watcher.until(lambda w: w.state["stock"] == {sale: 0} and w.of("order_placed"))
        assert ann.events == bob.events == ann_too.events
        order = await ann_too.until(lambda w: next((m for m in w.messages if m["type"] == "order"), None))
        assert order["order"] == answer["order"]
        assert not [m for m in bob.messages if m["type"] == "order"]
        for watcher in (ann, bob, ann_too):
            await watcher.leave()


async def test_a_viewer_that_stalls_has_every_fact_on_return(server: Liveroom, room: str) -> None:
    """It stops reading until its socket is full, and then gets what it missed: whole, in order, once."""
    stalled = await Watcher(server.room_url(room, "slow")).join()
    await stalled.stall()
    quick = await Watcher(server.room_url(room, "quick")).join()
    filler = "x" * 2000
    for first in range(0, 2000, 50):  # 4 MB: more than the sockets on both sides hold
        events = [
            {"type": "custom", "name": filler[:60], "data": [n, filler]} for n in range(first, first + 50)
        ]
        await asyncio.to_thread(server.request, "POST", f"/v1/rooms/{room}/events", {"events": events})
    await quick.until(lambda w: len(w.of("custom")) == 2000)
    metrics = await asyncio.to_thread(_metrics, server)
    assert metrics["liveroom_viewers_lagging"] >= 1
    stalled.go_on()
    await stalled.until(lambda w: len(w.of("custom")) == 2000)
    assert [event["data"][0] for event in stalled.of("custom")] == list(range(2000))
    assert stalled.events == quick.events
    await stalled.leave()
    await quick.leave()


def _metrics(server: Liveroom) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=10) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.split() for line in lines if line[0] != "#" and "{" not in line)
    }


async def test_a_claim_right_after_a_restock_is_never_told_the_old_answer(
    server: Liveroom, room: str
) -> None:
    """The node answers late claims by itself, and still the host's restock counts from its answer on."""
    path = f"/v1/rooms/{room}/sales"
    sale = (await asyncio.to_thread(server.request, "POST", path, SALE | {"stock": 1}))["sale"]
    await asyncio.to_thread(server.request, "POST", f"{path}/{sale}/open")
    ann = await Watcher(server.room_url(room, "ann")).join()
    assert (await ann.ask(type="claim", id="a", sale=sale, quantity=1))["status"] == "reserved"
    for n in range(25):
        late = await Watcher(server.room_url(room, f"late{n}")).join()
        assert (await late.ask(type="claim", id="l", sale=sale, quantity=1))["status"] == "sold_out"
        await asyncio.to_thread(server.request, "POST", f"{path}/{sale}/restock", {"add": 1})
        assert (await late.ask(type="claim", id="again", sale=sale, quantity=1))["status"] == "reserved"
        assert (await late.ask(type="claim", id="again", sale=sale, quantity=1))["status"] == "reserved"
        await late.leave()
    await ann.leave()
