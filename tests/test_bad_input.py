"""Bad input over real sockets: each gets its declared code, and a bystander in the room notices nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from liveroom.protocol.errors import CLOSE_CODES, ERRORS
from liveroom.protocol.names import MAX_COMMENT_CHARS, MAX_MESSAGE_BYTES
from tests.edge.wire import BINARY, CONT, DEFLATE, TEXT, RawPeer, connected, joined, masked, squeezed, text
from tests.running import Liveroom
from tests.watching import Watcher

SALE = {"sku": "mug", "title": "Mug", "price": 1290, "currency": "EUR", "stock": 100}
PING = {"type": "ping", "t": 1}
_numbers = itertools.count()


@pytest.fixture
def room() -> str:
    """A room id of this test's own; the bad input in a test's name must not be in it."""
    return f"bad-input-{next(_numbers)}"


@pytest.fixture(autouse=True)
async def bystander(server: Liveroom, room: str) -> AsyncIterator[Watcher]:
    """A viewer beside every test: in the end it gets the next comment, and has been told nothing else."""
    async with AsyncExitStack() as stack:
        watcher = await Watcher(server.room_url(room, "bystander")).join()
        stack.push_async_callback(watcher.leave)
        yield watcher
        author = await Watcher(server.room_url(room, f"author-{next(_numbers)}")).join()
        stack.push_async_callback(author.leave)
        said = await author.ask(type="comment", id=1, text="what comes next")
        assert said["shown"] is True
        await watcher.until(lambda w: said["comment"] in [event["comment"] for event in w.of("comment")])
        assert (watcher.closed, watcher.messages, len(watcher.welcomes), watcher.skipped) == (None, [], 1, 0)


@asynccontextmanager
async def packed(server: Liveroom, room: str) -> AsyncIterator[ClientConnection]:
    """Join with MessagePack, by the ``websockets`` library; the welcome has been read."""
    subprotocols = [websockets.Subprotocol("liveroom.v1.msgpack")]
    async with websockets.connect(server.room_url(room, "packer"), subprotocols=subprotocols) as socket:
        assert msgpack.unpackb(await socket.recv())["type"] == "welcome"
        yield socket


@asynccontextmanager
async def plain(server: Liveroom, room: str, user: str | None = None) -> AsyncIterator[Watcher]:
    """Join with JSON, by the ``websockets`` library; in the end the connection must still be good."""
    # A user of the test's own: comments have a rate a user, over all rooms.
    watcher = await Watcher(server.room_url(room, user or f"eve-{next(_numbers)}")).join()
    try:
        yield watcher
        await watcher.send(type="ping", t=77)
        await watcher.until(lambda w: any(message.get("t") == 77 for message in w.messages))
        assert watcher.closed is None
    finally:
        await watcher.leave()


async def error_to(watcher: Watcher, message: str | bytes) -> dict[str, Any]:
    """Send a message as it is; returns the error it is answered with, which must be a declared one."""
    before = len(watcher.messages)
    assert watcher._socket is not None
    await watcher._socket.send(message)
    await watcher.until(lambda w: len(w.messages) > before)
    error = watcher.messages[-1]
    assert error["type"] == "error"
    assert error["code"] in ERRORS
    assert error["message"]
    return error


async def refusal_of(watcher: Watcher, **command: Any) -> tuple[str, Any]:
    """Send a command; returns the code of the error it is answered with, and the id."""
    error = await error_to(watcher, json.dumps(command))
    return error["code"], error.get("id")


async def closed_with(peer: RawPeer, *frames: bytes) -> int:
    """Send frames after the welcome; returns the close code they are answered with, a declared one."""
    await peer.message("welcome")
    await peer.send(*frames)
    code = await peer.close_code()
    assert code in CLOSE_CODES
    return code


# --- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    ["", "{", "hello", '{"type":"like","n":1}}', "[1]", "null", '{"type":"ping","t":1e999}', "[" * 4000],
)
async def test_bad_json(server: Liveroom, room: str, bad: str) -> None:
    """What is not one JSON map is answered ``bad_message``."""
    async with plain(server, room) as eve:
        assert (await error_to(eve, bad))["code"] == "bad_message"


@pytest.mark.parametrize(
    "bad", [b"", b"\xc1", b"\x82\xa4type", b"\x93\x01\x02\x03", b"\x91" * 4000, b'{"type":"like"}']
)
async def test_bad_msgpack(server: Liveroom, room: str, bad: bytes) -> None:
    """What is not one MessagePack map is answered ``bad_message``, in MessagePack; the connection goes on."""
    async with packed(server, room) as socket:
        await socket.send(bad)
        answers = []
        while "error" not in answers:
            error = msgpack.unpackb(await socket.recv())
            answers.append(error["type"])
        assert error["code"] == "bad_message"
        await socket.send(msgpack.packb(PING))
        while msgpack.unpackb(await socket.recv())["type"] != "pong":
            pass


@pytest.mark.parametrize(
    "command",
    [
        {"type": "comment", "id": "c", "text": 5},
        {"type": "claim", "id": "c", "sale": "s", "quantity": "1"},
        {"type": "claim", "id": "c", "sale": "s", "quantity": 1.5},
        {"type": "claim", "id": "c", "sale": ["s"], "quantity": 1},
        {"type": "cancel", "id": "c", "order": None},
    ],
)
async def test_wrong_type(server: Liveroom, room: str, command: dict[str, Any]) -> None:
    """A field of a wrong type is answered ``bad_message`` with the command's id."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, **command) == ("bad_message", "c")


@pytest.mark.parametrize(
    "command",
    [
        {"type": "comment", "id": "c"},
        {"type": "claim", "id": "c", "sale": "s"},
        {"type": "claim", "id": "c", "quantity": 1},
        {"type": "cancel", "id": "c"},
        {"id": "c", "text": "hello"},
    ],
)
async def test_missing_field(server: Liveroom, room: str, command: dict[str, Any]) -> None:
    """A missing field is answered ``bad_message`` with the command's id."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, **command) == ("bad_message", "c")


async def test_bad_id(server: Liveroom, room: str) -> None:
    """An id that cannot be one is not echoed."""
    async with plain(server, room) as eve:
        for id in (None, 1.5, ["c"], "x" * 65, 2**60):
            assert await refusal_of(eve, type="comment", id=id, text="hello") == ("bad_message", None)


async def test_unknown_type(server: Liveroom, room: str) -> None:
    """A type that this server does not know is answered ``unknown_type``, and what follows it is done."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="gift", id="g", gift="rose") == ("unknown_type", "g")
        assert (await eve.ask(type="comment", id="c", text="hello"))["shown"] is True


async def test_text_too_long(server: Liveroom, room: str, bystander: Watcher) -> None:
    """A comment that is too long is answered ``too_long``; one of just the allowed length is said."""
    async with plain(server, room) as eve:
        text = "x" * (MAX_COMMENT_CHARS + 1)
        assert await refusal_of(eve, type="comment", id=1, text=text) == ("too_long", 1)
        assert (await eve.ask(type="comment", id=2, text=text[1:]))["shown"] is True
        await bystander.until(lambda w: [event["text"] for event in w.of("comment")] == [text[1:]])


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u3000"])
async def test_empty_text(server: Liveroom, room: str, blank: str) -> None:
    """A comment of nothing but white space is answered ``empty``."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="comment", id=1, text=blank) == ("empty", 1)


@pytest.mark.parametrize("control", ["\0", "\x1b", "\n", "\x7f", "\x85", "\u2028", "\u202e", "\u2066"])
async def test_control_character(server: Liveroom, room: str, bystander: Watcher, control: str) -> None:
    """A character that would break a line of chat, or turn it around, is answered ``invalid`` and shown to nobody."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="comment", id=1, text=f"a{control}b") == ("invalid", 1)
        assert (await eve.ask(type="comment", id=2, text="after"))["shown"] is True
        await bystander.until(lambda w: w.of("comment"))
        assert [event["text"] for event in bystander.of("comment")] == ["after"]


@pytest.mark.parametrize("n", [0, -1, -(2**40)])
async def test_likes_below_one(server: Liveroom, room: str, n: int) -> None:
    """A like of nothing, or less, is answered ``invalid`` and takes none away."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="like", n=n) == ("invalid", None)


# --- claims -------------------------------------------------------------------------------------------


async def open_sale(server: Liveroom, room: str, **changes: Any) -> str:
    """Make and open a sale."""

    def make() -> str:
        sale: str = server.request("POST", f"/v1/rooms/{room}/sales", SALE | changes)["sale"]
        server.request("POST", f"/v1/rooms/{room}/sales/{sale}/open")
        return sale

    return await asyncio.to_thread(make)


async def sale_of(server: Liveroom, room: str, sale: str) -> Any:
    """Read a sale."""
    return await asyncio.to_thread(server.request, "GET", f"/v1/rooms/{room}/sales/{sale}")


async def test_bad_quantity(server: Liveroom, room: str) -> None:
    """A negative, zero or huge quantity is answered ``invalid``, and takes no stock."""
    sale = await open_sale(server, room)
    async with plain(server, room) as eve:
        for quantity in (0, -1, -(2**53), 1_000_001, 2**53, 2**63, 2**70):
            code, id = await refusal_of(eve, type="claim", id="c", sale=sale, quantity=quantity)
            assert (code, id) == ("invalid", "c")
        eve.messages.clear()  # none of them has used the id up
        assert (await eve.ask(type="claim", id="c", sale=sale, quantity=1))["status"] == "reserved"
    assert (await sale_of(server, room, sale))["left"] == 99


@pytest.mark.parametrize("sale", ["nothing", "", "a b", "x" * 65, "a\0b", "{x}"])
async def test_unknown_sale(server: Liveroom, room: str, sale: str) -> None:
    """A claim of a sale that is not there, or cannot be, is answered ``unknown_sale``."""
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="claim", id="c", sale=sale, quantity=1) == ("unknown_sale", "c")


async def test_sale_of_another_room(server: Liveroom, room: str) -> None:
    """A sale is known in its own room only."""
    sale = await open_sale(server, f"{room}-other")
    async with plain(server, room) as eve:
        assert await refusal_of(eve, type="claim", id="c", sale=sale, quantity=1) == ("unknown_sale", "c")


async def test_claim_after_close(server: Liveroom, room: str) -> None:
    """A claim of a sale that was closed is acknowledged ``closed``, and takes no stock."""
    sale = await open_sale(server, room)
    await asyncio.to_thread(server.request, "POST", f"/v1/rooms/{room}/sales/{sale}/close")
    async with plain(server, room) as eve:
        answer = await eve.ask(type="claim", id="c", sale=sale, quantity=1)
        assert (answer["type"], answer["status"], answer.get("order")) == ("ack", "closed", None)
    assert (await sale_of(server, room, sale))["left"] == 100


async def test_same_claim_twice(server: Liveroom, room: str) -> None:
    """The same claim again, at once or on another connection, is answered with the same order and takes nothing."""
    sale = await open_sale(server, room)
    claim = {"type": "claim", "id": "c", "sale": sale, "quantity": 2}
    async with plain(server, room, "eve") as eve:
        assert eve._socket is not None
        await asyncio.gather(*(eve._socket.send(json.dumps(claim)) for _ in range(5)))
        await eve.until(lambda w: sum(message["type"] == "ack" for message in w.messages) == 5)
        orders = {message["order"] for message in eve.messages if message["type"] == "ack"}
    async with plain(server, room, "eve") as again:
        orders.add((await again.ask(**claim))["order"])
    assert len(orders) == 1
    assert (await sale_of(server, room, sale))["left"] == 98


async def test_same_id_other_quantity(server: Liveroom, room: str) -> None:
    """An id that was used for another quantity is answered ``id_reused``; the first claim stands."""
    sale = await open_sale(server, room)
    async with plain(server, room) as eve:
        first = await eve.ask(type="claim", id="c", sale=sale, quantity=2)
        eve.messages.clear()
        answer = await eve.ask(type="claim", id="c", sale=sale, quantity=3)
        assert (answer["type"], answer["code"]) == ("error", "id_reused")
        eve.messages.clear()
        assert (await eve.ask(type="claim", id="c", sale=sale, quantity=2))["order"] == first["order"]
    assert (await sale_of(server, room, sale))["left"] == 98


# --- frames -------------------------------------------------------------------------------------------

BOMB = masked(TEXT, squeezed(b" " * 4_000_000), bits=0x40)
assert len(BOMB) < MAX_MESSAGE_BYTES
BAD_FRAMES = {
    "oversize": (1009, masked(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1))),
    "oversize, declared": (1009, b"\x82\xff" + (2**40).to_bytes(8) + b"mask"),
    "oversize, in fragments": (
        1009,
        masked(TEXT, b"x" * MAX_MESSAGE_BYTES, fin=False) + masked(CONT, b"x"),
    ),
    "unmasked": (1002, b"\x81\x02{}"),
    "bad opcode": (1002, masked(0x3, b"{}")),
    "bad control opcode": (1002, masked(0xB)),
    "reserved bit": (1002, masked(TEXT, b"{}", bits=0x20)),
    "bad UTF-8": (1007, masked(TEXT, b'{"type":"comment","id":1,"text":"\xff"}')),
    "binary on JSON": (1003, masked(BINARY, msgpack.packb(PING))),
}


@pytest.mark.parametrize(("code", "frame"), BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_bad_frame(server: Liveroom, room: str, code: int, frame: bytes) -> None:
    """A frame that breaks the rules ends its connection with the declared close code."""
    async with joined(server, room) as peer:
        assert await closed_with(peer, frame) == code


@pytest.mark.parametrize(
    ("code", "frame"), [(1009, BOMB), (1007, masked(TEXT, b"\xff\xff", bits=0x40))], ids=["bomb", "garbage"]
)
async def test_bad_compression(server: Liveroom, room: str, code: int, frame: bytes) -> None:
    """A deflate bomb is closed with 1009, what does not inflate with 1007."""
    async with joined(server, room, DEFLATE) as peer:
        assert await closed_with(peer, frame) == code


async def test_many_deflate_bombs(server: Liveroom, room: str) -> None:
    """A crowd of deflate bombs costs the server no memory."""
    before = memory_of(server)
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(joined(server, room, DEFLATE)) for _ in range(30)]
        assert await asyncio.gather(*(closed_with(peer, BOMB) for peer in peers)) == [1009] * 30
    assert memory_of(server) - before < 30 * 1_000_000


async def test_oversize_message_of_a_library(server: Liveroom, room: str) -> None:
    """A library that sends far too large a message gets to read why it was closed."""
    async with websockets.connect(server.room_url(room, "eve"), compression=None) as socket:
        await socket.recv()
        with pytest.raises(websockets.ConnectionClosed):
            await socket.send("x" * 3_000_000)
            while True:
                await socket.recv()
        assert socket.close_code == 1009


async def test_good_before_bad(server: Liveroom, room: str) -> None:
    """Commands that were read before a connection broke the rules have been carried out."""
    async with joined(server, room) as peer:
        await peer.message("welcome")
        await peer.send(text({"type": "comment", "id": 1, "text": "said before"}))
        assert (await peer.message("ack"))["shown"] is True
        await peer.send(masked(0x3, b"{}"))
        assert await peer.close_code() == 1002


async def test_flood(server: Liveroom, room: str) -> None:
    """Who sends without end is refused, told bye, and closed with 4101."""
    async with joined(server, room) as peer:
        await peer.message("welcome")
        await peer.send(text(PING) * 2000)
        bye = await peer.message("bye")
        assert (bye["code"], bye["reconnect_after_ms"]) == ("flooding", None)
        assert await peer.close_code() == 4101
        codes = {message["code"] for message in peer.messages if message["type"] == "error"}
        assert codes == {"rate_limited"}


# --- a client that never reads ------------------------------------------------------------------------


def memory_of(server: Liveroom) -> int:
    """Return the resident memory of the server's process, in bytes."""
    assert server.process is not None
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096


async def publish(server: Liveroom, room: str, numbers: range) -> None:
    """Publish custom events of some 3 KB each."""
    for start in range(numbers.start, numbers.stop, 20):
        part = range(start, min(start + 20, numbers.stop))
        events = [{"type": "custom", "name": "n", "data": [n, "x" * 3000]} for n in part]
        await asyncio.to_thread(server.request, "POST", f"/v1/rooms/{room}/events", {"events": events})


async def lagging(server: Liveroom) -> int:
    """Return how many viewers are behind."""
    async with connected(server) as peer:
        await peer.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        _, _, body = await peer.answer()
    found = re.search(rb"^liveroom_viewers_lagging (\d+)$", body, re.MULTILINE)
    assert found
    return int(found[1])


async def test_clients_that_never_read(server: Liveroom, room: str, bystander: Watcher) -> None:
    """Sockets left full cost the server no queue, others get everything, and once read they have every fact."""
    stalled, events = 25, range(600)  # 1.8 MB of events: 45 MB if each of the stalled had a queue
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(
                joined(server, room, query=f"user=stalled-{n}", receive_buffer=4096)
            )
            for n in range(stalled)
        ]
        before = memory_of(server)
        await publish(server, room, events)
        await bystander.until(lambda w: len(w.of("custom")) == len(events))
        assert await lagging(server) == stalled  # they keep a place in the log, and nothing else
        assert memory_of(server) - before < 25_000_000
        for peer in peers[:3]:
            await peer.message("welcome")
            received: list[int] = []
            while len(received) < len(events):
                batch = await peer.message("batch")
                received += [event["data"][0] for event in batch["events"] if event["type"] == "custom"]
            assert received == list(events)


# --- resume -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", ["{epoch}:{beyond}", "other:{offset}", "{epoch}:999999999999999999"])
async def test_resume_that_cannot_be(server: Liveroom, room: str, cursor: str) -> None:
    """A cursor beyond the log, or of another epoch, is answered with a whole welcome: ``resumed`` is false."""
    async with plain(server, room) as eve:
        await eve.ask(type="comment", id=1, text="hello")
        await eve.until(lambda w: w.of("comment"))
        offset, epoch = eve.offset, eve.epoch
    given = cursor.format(epoch=epoch, offset=offset, beyond=offset + 1)
    url = server.room_url(room, "eve", resume=given)
    async with websockets.connect(url) as socket:
        welcome = json.loads(await socket.recv())
    assert (welcome["resumed"], welcome["epoch"], welcome["offset"]) == (False, epoch, offset)
    assert [comment["text"] for comment in welcome["recent"]] == ["hello"]


async def test_resume_that_can_be(server: Liveroom, room: str) -> None:
    """The very cursor that was given is taken: ``resumed`` is true, and nothing is told twice."""
    async with plain(server, room) as eve:
        await eve.ask(type="comment", id=1, text="hello")
        await eve.until(lambda w: w.of("comment"))
        url = server.room_url(room, "eve", resume=f"{eve.epoch}:{eve.offset}")
    async with websockets.connect(url) as socket:
        welcome = json.loads(await socket.recv())
    assert (welcome["resumed"], welcome["recent"]) == (True, [])


@pytest.mark.parametrize("cursor", ["5", "e:-1", "e:x", ""])
async def test_malformed_resume(server: Liveroom, room: str, cursor: str) -> None:
    """A cursor that is none is refused with 400 before there is a connection."""
    with pytest.raises(websockets.InvalidStatus) as raised:
        await websockets.connect(server.room_url(room, "eve", resume=cursor))
    assert raised.value.response.status_code == 400
    assert json.loads(raised.value.response.body)["code"] == "bad_request"
