"""The Python client against a server that plays what a test writes down, one visit a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgpack  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from liveroom.protocol import client, make_vectors
from liveroom.protocol.client import CommandError, Lost, Over, Refused, Room, connect
from liveroom.protocol.errors import CLOSE_CODES
from liveroom.protocol.names import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

VECTORS = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))
WELCOME: dict[str, Any] = next(v["value"] for v in VECTORS["messages"] if v["name"] == "welcome")
BATCHES = [v for v in VECTORS["messages"] if v["type"] == "batch"]
NOTICE = {"type": "notice", "text": "hello", "level": "info", "at": 1}

Message = dict[str, Any]
Visit = Callable[["Viewer"], Awaitable[None]]


class Viewer:
    """One connection, as the playing server sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        assert socket.request is not None
        self.request = socket.request
        self.query = parse_qs(urlsplit(self.request.path).query)

    async def say(self, *messages: Message) -> None:
        """Send messages in the connection's encoding."""
        for message in messages:
            as_json = self.socket.subprotocol == JSON_SUBPROTOCOL
            await self.socket.send(json.dumps(message) if as_json else msgpack.packb(message))

    async def hear(self) -> Message:
        """Receive the next command that is no ping; pings are answered."""
        while True:
            data = await self.socket.recv()
            command: Message = json.loads(data) if isinstance(data, str) else msgpack.unpackb(data)
            if command["type"] != "ping":
                return command
            await self.say({"type": "pong", "t": command["t"], "now": WELCOME["now"]})

    async def stay(self) -> None:
        """Answer pings until the client leaves."""
        while True:
            await self.hear()

    def cut(self) -> None:
        """End the connection without a close frame."""
        self.socket.transport.abort()


class Host:
    """The playing server: its address, and what its visitors asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.viewers: list[Viewer] = []
        self.refusals: list[Response | None] = []  # for the next handshakes; None lets in

    @property
    def resumes(self) -> list[str | None]:
        """Return with what cursor each connection came."""
        return [viewer.query.get("resume", [None])[0] for viewer in self.viewers]


@asynccontextmanager
async def playing(*visits: Visit, refusals: tuple[Response | None, ...] = ()) -> AsyncIterator[Host]:
    """Serve the visits, one a connection, in turn; a visit that fails fails the test."""
    host = Host()
    left = list(visits)
    host.refusals = list(refusals)
    faults: list[BaseException] = []

    async def visit(socket: ServerConnection) -> None:
        viewer = Viewer(socket)
        host.viewers.append(viewer)
        try:
            await left.pop(0)(viewer)
        except ConnectionClosed:
            pass
        except Exception as fault:
            faults.append(fault)

    def let_in(socket: ServerConnection, request: Request) -> Response | None:
        return host.refusals.pop(0) if host.refusals else None

    names = [Subprotocol(JSON_SUBPROTOCOL), Subprotocol(MSGPACK_SUBPROTOCOL)]
    async with serve(visit, "127.0.0.1", 0, subprotocols=names, process_request=let_in) as server:
        host.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(10):
            yield host
    assert not faults, faults
    assert not left, "not every visit took place"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record how long the client would have waited between connections, and do not wait."""
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(client, "_pause", pause)
    return waited


def problem(status: int, code: str, **headers: str) -> Response:
    """Make a refusal as the server makes it."""
    body = json.dumps({"status": status, "code": code, "detail": "because"}).encode()
    return Response(status, HTTPStatus(status).phrase, Headers(headers), body)


def batch(offset: int, *events: Message, **more: Any) -> Message:
    """Make a batch."""
    return {"type": "batch", "now": 1, "offset": offset, "events": list(events)} | more


async def take(room: Room, count: int) -> list[Message]:
    """Take some events of a room."""
    async with aclosing(room.events()) as events:
        return [await anext(events) for _ in range(count)]


def welcome(**changed: Any) -> Message:
    """Make a welcome that differs from the golden one."""
    return WELCOME | changed


# --- joining and following ----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_follows_the_log(encoding: Literal["json", "msgpack"], compression: bool) -> None:
    """The golden batches give their events in order and fit the cursor; numbers are merged."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        for vector in BATCHES:
            data = vector["json"] if encoding == "json" else bytes.fromhex(vector["msgpack"])
            await viewer.socket.send(data)
        await viewer.stay()

    expected = [event for vector in BATCHES for event in vector["value"]["events"]]
    async with (
        playing(visit) as host,
        connect(
            host.url,
            "spring-sale",
            user="alice",
            name="Alice",
            token="t.o.k",
            encoding=encoding,
            compression=compression,
        ) as room,
    ):
        assert await take(room, len(expected)) == expected
        assert (room.offset, room.gaps, room.skipped, room.dropped) == (49_018, 0, 770, 0)
        assert room.state == {
            "likes": 1_300_000,
            "viewers": 20_121,
            "stock": {"sale-1": 486, "sale-2": 500},
            "orders": {"sale-1": 7, "sale-2": 0},
        }
        assert (room.sales["sale-1"]["left"], room.sales["sale-1"]["orders"]) == (486, 7)
        assert room.orders == {"order-1": WELCOME["orders"][0]}
        assert room.welcome == WELCOME
        assert room.pinned is None

    (viewer,) = host.viewers
    assert urlsplit(viewer.request.path).path == "/v1/rooms/spring-sale/ws"
    assert viewer.query == {"user": ["alice"], "name": ["Alice"]}
    assert viewer.request.headers["Authorization"] == "Bearer t.o.k"
    assert viewer.socket.subprotocol == f"liveroom.v1.{encoding}"
    assert ("permessage-deflate" in viewer.request.headers.get("Sec-WebSocket-Extensions", "")) is compression


async def test_resumes_after_a_cut(pauses: list[float]) -> None:
    """After a cut the client comes back with its cursor, keeps what it holds, and is given what it missed."""

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_214, NOTICE | {"text": "one"}))
        await viewer.hear()  # the like that tells that the batch has come
        viewer.cut()

    async def second(viewer: Viewer) -> None:
        newer, older = ({**WELCOME["sales"][0], "version": v, "title": str(v)} for v in (13, 11))
        await viewer.say(
            welcome(resumed=True, offset=48_214, recent=[], sales=[newer]),
            batch(48_216, NOTICE | {"text": "two"}, older | {"type": "sale"}),
        )
        await viewer.stay()

    async with (
        playing(first, second) as host,
        connect(host.url, "spring-sale", backoff=lambda n: 0.25 + n) as room,
        aclosing(room.events()) as events,
    ):
        assert (await anext(events))["text"] == "one"
        room.like()
        assert (await anext(events))["text"] == "two"
        assert (await anext(events))["type"] == "sale"
        assert room.sales["sale-1"]["title"] == "13"  # what follows may be older than the welcome
        assert room.joins == 2
    assert host.resumes == [None, "m4x9q2:48214"]
    assert pauses == [0.25]


async def test_gap_is_counted_and_resumed() -> None:
    """A batch that does not fit is not applied: the client comes back with the cursor it has."""

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_214, NOTICE), batch(48_216, NOTICE | {"text": "too far"}))
        await viewer.stay()

    async def second(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True, offset=48_214), batch(48_216, NOTICE, skipped={"comments": 1}))
        await viewer.stay()

    async with playing(first, second) as host, connect(host.url, "spring-sale") as room:
        assert await take(room, 2) == [NOTICE, NOTICE]
        assert (room.gaps, room.offset, room.skipped) == (1, 48_216, 1)
    assert host.resumes == [None, "m4x9q2:48214"]


async def test_gap_at_once_starts_afresh() -> None:
    """When the first batch after a resume does not fit either, the client comes without a cursor."""

    async def broken(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True), batch(50_000))
        await viewer.stay()

    async def good(viewer: Viewer) -> None:
        await viewer.say(welcome(offset=60_000))
        await viewer.stay()

    async with playing(broken, good) as host, connect(host.url, "spring-sale") as room:
        assert await take(room, 1) == [welcome(offset=60_000)]
        assert room.gaps == 1
    assert host.resumes == [None, None]


async def test_afresh_on_a_live_connection() -> None:
    """A second welcome replaces what is held, and stands among the events where the break is."""
    again = welcome(epoch="new", offset=3, sales=[], orders=[], state={"likes": 1})

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_214, NOTICE), again, batch(4, NOTICE))
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        assert await take(room, 3) == [NOTICE, again, NOTICE]
        assert (room.epoch, room.offset, room.joins) == ("new", 4, 1)
        assert (room.sales, room.orders, room.state) == ({}, {}, {"likes": 1})


async def test_passes_over_what_it_does_not_know() -> None:
    """Unknown messages, events and fields do no harm, and an unknown event counts for the offset."""
    unknown = [vector["value"] | json.loads(vector["json"]) for vector in VECTORS["tolerated"]]

    async def visit(viewer: Viewer) -> None:
        await viewer.say(welcome(offset=11, new_field=1))
        await viewer.say(*(m for m in unknown if m["type"] in ("pong", "weather")))
        await viewer.say(batch(13, {"type": "raffle_drawn"}, NOTICE | {"by": "host"}), batch(14, NOTICE))
        command = await viewer.hear()
        await viewer.say({"type": "ack", "id": command["id"], "status": "drawn_by_lot", "lot": 7})
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        assert [event["type"] for event in await take(room, 3)] == ["raffle_drawn", "notice", "notice"]
        ack = await room.claim("sale-1", 1)
        assert str(ack.status) == "drawn_by_lot"
        assert room.gaps == 0


async def test_unread_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events nobody takes are held up to a limit; then the oldest go, and are counted."""
    monkeypatch.setattr(client, "MAX_UNREAD_EVENTS", 2)

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_217, *(NOTICE | {"text": str(n)} for n in range(4))))
        await viewer.say({"type": "ack", "id": (await viewer.hear())["id"], "shown": True})
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        await room.comment("the answer comes after the events")
        assert [event["text"] for event in await take(room, 2)] == ["2", "3"]
        assert room.dropped == 2


# --- commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_commands_and_answers(encoding: Literal["json", "msgpack"]) -> None:
    """Every command goes out in its form and takes the answer that has its id."""
    order = WELCOME["orders"][0] | {"type": "order", "order": "order-9"}

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        comment = await viewer.hear()
        assert comment == {"type": "comment", "id": comment["id"], "text": "可愛い 👜"}
        await viewer.say({"type": "ack", "id": comment["id"], "shown": True, "comment": "n1-1"})
        claim = await viewer.hear()
        assert claim == {"type": "claim", "id": "wish-1", "sale": "sale-1", "quantity": 2}
        ack = {"type": "ack", "id": "wish-1", "status": "reserved", "order": "order-9", "expires_at": None}
        await viewer.say(order, ack | {"left": 486})
        cancel = await viewer.hear()
        assert cancel == {"type": "cancel", "id": cancel["id"], "order": "order-9"}
        await viewer.say({"type": "error", "id": cancel["id"], "code": "wrong_state", "message": "placed"})
        likes = [await viewer.hear() for _ in range(3)]
        assert [like["n"] for like in likes] == [5, 50, 20]
        await viewer.say(batch(48_214, NOTICE))
        await viewer.stay()

    async with (
        playing(visit) as host,
        connect(host.url, "spring-sale", encoding=encoding) as room,
    ):
        said = await room.comment("可愛い 👜")
        assert (said.shown, said.comment) == (True, "n1-1")
        claimed = await room.claim("sale-1", 2, id="wish-1")
        assert (claimed.status, claimed.order, claimed.left) == ("reserved", "order-9", 486)
        assert claimed.expires_at is None
        assert room.orders["order-9"] == order
        with pytest.raises(CommandError) as refused:
            await room.cancel("order-9")
        assert refused.value.code == "wrong_state"
        room.like(5)
        room.like(30)
        room.like(40)
        await take(room, 1)


async def test_claim_survives_a_cut() -> None:
    """A claim that was not answered goes out again with its id, on the next connection."""
    heard: list[Message] = []

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        heard.append(await viewer.hear())
        viewer.cut()

    async def second(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True))
        heard.append(await viewer.hear())
        await viewer.say({"type": "ack", "id": heard[1]["id"], "status": "sold_out", "left": 1})
        await viewer.stay()

    async with playing(first, second) as host, connect(host.url, "spring-sale") as room:
        answer = await room.claim("sale-1", 2)
        assert (answer.status, answer.left) == ("sold_out", 1)
    assert heard[0] == heard[1]
    assert len(str(heard[0]["id"])) >= 32  # random enough to be one wish to buy and no other


async def test_comment_does_not_survive_a_cut() -> None:
    """A comment that was not answered is lost to its author's knowledge, and is not said twice."""

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        await viewer.hear()
        viewer.cut()

    async def second(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True), batch(48_214, NOTICE))
        assert (await viewer.hear())["type"] == "like"
        await viewer.say(batch(48_215, NOTICE))
        await viewer.stay()

    async with playing(first, second) as host, connect(host.url, "spring-sale") as room:
        with pytest.raises(Lost):
            await room.comment("hello?")
        with pytest.raises(Lost):
            await room.comment("not connected now")
        await take(room, 1)
        room.like()
        await take(room, 1)


async def test_refused_comment() -> None:
    """An error names its code and when to ask again."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        error = {"type": "error", "code": "rate_limited", "message": "too many", "retry_after_ms": 734}
        await viewer.say(error | {"id": (await viewer.hear())["id"]})
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        with pytest.raises(CommandError) as refused:
            await room.comment("spam")
        assert (refused.value.code, refused.value.retry_after_ms) == ("rate_limited", 734)


async def test_claim_that_was_not_read_goes_again() -> None:
    """A message over the rate is refused without its id; a claim it may have been is sent again."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        comment, claim = await viewer.hear(), await viewer.hear()
        error = {"type": "error", "code": "rate_limited", "message": "too many", "retry_after_ms": 1}
        await viewer.say(error)
        assert await viewer.hear() == claim  # and not the comment: it may have been said
        await viewer.say({"type": "ack", "id": comment["id"], "shown": False})
        await viewer.say({"type": "ack", "id": claim["id"], "status": "reserved", "order": "o", "left": 1})
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        said, claimed = await asyncio.gather(room.comment("hello"), room.claim("sale-1"))
        assert (said.shown, claimed.status) == (False, "reserved")


async def test_one_id_waits_once() -> None:
    """A second command with the id of one that waits is refused here: its answer could not be told apart."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        claim = await viewer.hear()
        await viewer.say({"type": "ack", "id": claim["id"], "status": "closed", "left": 0})
        await viewer.stay()

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        first = asyncio.ensure_future(room.claim("sale-1", 1, id=5))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="waits"):
            await room.claim("sale-1", 2, id=5)
        assert (await first).id == 5


# --- the end, and coming back -------------------------------------------------------------------------


async def test_bye_null_ends_it() -> None:
    """After a bye without a time the client stays away: events end, and what waits is told."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_214, {"type": "room_closed", "at": 1}))
        await viewer.hear()
        bye = {"type": "bye", "code": "room_closed", "message": "over", "reconnect_after_ms": None}
        await viewer.say(bye)
        await viewer.socket.close(4100)

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        with pytest.raises(Over) as over:
            await room.claim("sale-1")
        assert over.value.code == "room_closed"
        assert [event["type"] async for event in room.events()] == ["room_closed"]
        with pytest.raises(Over):
            await room.claim("sale-1")
        with pytest.raises(Over):
            await room.comment("anyone?")
    assert len(host.viewers) == 1


async def test_bye_names_the_time(pauses: list[float]) -> None:
    """The time in a bye goes before the close code, and chance is added to it."""

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        bye = {"type": "bye", "code": "restarting", "message": "back soon", "reconnect_after_ms": 2_500}
        await viewer.say(bye)
        await viewer.socket.close(1012)

    async def second(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True), batch(48_214, NOTICE))
        await viewer.stay()

    async with (
        playing(first, second) as host,
        connect(host.url, "spring-sale", backoff=lambda n: 0.125) as room,
    ):
        await take(room, 1)
    assert pauses == [2.625]


@pytest.mark.parametrize(
    "code", [code for code, close in CLOSE_CODES.items() if close.reconnect] + [1001, 3000]
)
async def test_close_codes_that_come_back(code: int) -> None:
    """After these close codes the client comes back with its cursor."""

    async def first(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        await viewer.socket.close(code)

    async def second(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True), batch(48_214, NOTICE))
        await viewer.stay()

    async with playing(first, second) as host, connect(host.url, "spring-sale") as room:
        assert await take(room, 1) == [NOTICE]
    assert host.resumes == [None, "m4x9q2:48213"]


@pytest.mark.parametrize(
    "code", [code for code, close in CLOSE_CODES.items() if not close.reconnect] + [4199]
)
async def test_close_codes_that_stay_away(code: int) -> None:
    """After these close codes the client stays away."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        await viewer.socket.close(code)

    async with playing(visit) as host, connect(host.url, "spring-sale") as room:
        assert [event async for event in room.events()] == []
    assert len(host.viewers) == 1


async def test_backs_off_until_it_is_let_in(pauses: list[float]) -> None:
    """Refusals that may pass are waited out: as told, or longer each time; a welcome starts anew."""

    async def cut(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed="resume" in viewer.query))
        await viewer.socket.recv()  # the first ping, so that the welcome has come
        viewer.cut()

    async def last(viewer: Viewer) -> None:
        await viewer.say(welcome(resumed=True), batch(48_214, NOTICE))
        await viewer.stay()

    refusals = (
        None,
        problem(500, "internal"),
        problem(503, "unavailable"),
        problem(429, "rate_limited", **{"Retry-After": "7"}),
        None,
    )
    async with (
        playing(cut, cut, last, refusals=refusals) as host,
        connect(host.url, "spring-sale", backoff=lambda n: 0.5 + n) as room,
    ):
        await take(room, 1)
    assert pauses == [0.5, 1.5, 2.5, 7.5, 0.5]


async def test_refused_at_first() -> None:
    """A first join that is refused raises, with the problem's code."""
    async with playing(refusals=(problem(404, "unknown_room"),)) as host:
        with pytest.raises(Refused) as refused:
            async with connect(host.url, "no-such-room"):
                pass
    assert (refused.value.status, refused.value.code, refused.value.retry) == (404, "unknown_room", False)


async def test_refused_when_it_comes_back() -> None:
    """When coming back is refused for good, events end with the refusal."""

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME, batch(48_214, NOTICE))
        await viewer.socket.recv()  # the first ping, so that the welcome has come
        viewer.cut()

    async with (
        playing(visit, refusals=(None, problem(401, "unauthorized"))) as host,
        connect(host.url, "spring-sale") as room,
        aclosing(room.events()) as events,
    ):
        with pytest.raises(Refused) as refused:
            while True:
                await anext(events)
    assert refused.value.code == "unauthorized"


async def test_cannot_be_reached() -> None:
    """Without a server the first join raises what the system says."""
    async with playing() as host:
        pass
    with pytest.raises(OSError, match="Connect"):
        async with connect(host.url, "spring-sale"):
            pass


async def test_room_id_is_checked() -> None:
    """A room that is no id never gets into a path."""
    with pytest.raises(ValueError, match="room id"):
        async with connect("ws://127.0.0.1:1", "../admin"):
            pass


async def test_leaving_ends_what_waits() -> None:
    """When the block ends, the connection is closed as asked and nothing waits on."""
    closed: list[int | None] = []

    async def visit(viewer: Viewer) -> None:
        await viewer.say(WELCOME)
        try:
            await viewer.stay()
        finally:
            await viewer.socket.wait_closed()
            closed.append(viewer.socket.close_code)

    async with playing(visit) as host:
        async with connect(host.url, "spring-sale") as room:
            claim = asyncio.ensure_future(room.claim("sale-1"))
            await asyncio.sleep(0)
        with pytest.raises(Over):
            await claim
    assert closed == [1000]


# --- time and chance ----------------------------------------------------------------------------------


async def test_clock_believes_the_smallest_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Server time comes from the ping with the smallest round trip, whenever it was."""
    at = 1000.0
    monkeypatch.setattr(client, "_clock_ms", lambda: at)
    room = Room("", query={}, token=None, encoding="json", compression=False, backoff=client.full_jitter)
    room._take(welcome(now=5_000))
    assert room.now() == 5_000
    for sent, back, now in ((1000, 1100, 5_090), (1200, 1210, 5_205), (1300, 1500, 5_310)):
        at = back
        room._take({"type": "pong", "t": sent, "now": now})
    assert room.now() == 1500 + 4_000  # of the second: 5205 at 1205
    room._stop(Over("left", ""))
    room._disconnected()


def test_full_jitter() -> None:
    """Delays are spread from nothing to a bound that doubles up to 30 seconds."""
    bounds = [max(client.full_jitter(n) for _ in range(500)) for n in (0, 2, 4, 50)]
    assert all(lower < upper for lower, upper in pairwise(bounds))
    assert bounds[0] <= 0.5
    assert bounds[-1] <= 30
    assert min(client.full_jitter(50) for _ in range(500)) < 3
