"""The front door: one port, a deadline and a size for the head, and each request to where it belongs."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets

from liveroom.protocol.errors import ERRORS
from liveroom.server.edge.edge import CLOSE_DEADLINE_S, HEAD_DEADLINE_S, SWEEP_S
from liveroom.server.edge.front_door import MAX_EARLY_BYTES, MAX_HEAD_BYTES
from tests.edge.conftest import token
from tests.edge.fakes import FakeHttp, a_place, numbers, pass_time, settled
from tests.edge.wire import ACCEPT, TEXT, connected, joined, masked, text, upgrade
from tests.running import Liveroom
from tests.virtual_time import on_virtual_time

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

# --- on virtual time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", upgrade("shop")[:60]], ids=["nothing", "half a head"])
@on_virtual_time
async def test_half_a_handshake_held_open(sent: bytes) -> None:
    """A head that is not complete in time is answered 408, then cut off; viewers notice nothing."""
    async with a_place() as place:
        viewer = await place.join()
        slow = await place.knock()
        slow.receive(sent)
        await pass_time(HEAD_DEADLINE_S - SWEEP_S)
        assert slow.written == b""
        await pass_time(2 * SWEEP_S)
        assert slow.status() == (408, "head_timeout")
        assert slow.ended
        answer = slow.written
        slow.receive(upgrade("shop")[60:])
        assert slow.written == answer
        await pass_time(CLOSE_DEADLINE_S + 2 * SWEEP_S)
        assert slow.lost
        await place.publish(1)
        assert numbers(viewer.messages()) == [1]
        assert not place.edge.waiting and not place.edge.closing


@on_virtual_time
async def test_bytes_do_not_put_the_deadline_off() -> None:
    """A head that comes a byte at a time has no longer than any other."""
    async with a_place() as place:
        slow = await place.knock()
        for byte in upgrade("shop"):
            if slow.written:
                break
            slow.receive(bytes((byte,)))
            await pass_time(0.1)
        assert slow.status() == (408, "head_timeout")


@on_virtual_time
async def test_joined_in_time_is_swept_no_more() -> None:
    """The head's deadline is over with the head, for viewers and for HTTP."""
    async with a_place() as place:
        viewer, http = await place.join(), await place.knock()
        http.receive(HEALTH)
        assert isinstance(http.protocol, FakeHttp)
        await pass_time(2 * HEAD_DEADLINE_S)
        assert not viewer.closing and not http.closing
        assert http.written == b""
        assert place.edge.counts["head_timeouts"] == 0


@on_virtual_time
async def test_peer_that_leaves_before_it_speaks() -> None:
    """A connection that ends without a head leaves nothing behind."""
    async with a_place() as place:
        peer = await place.knock()
        peer.vanish()
        assert not place.edge.waiting
        await pass_time(2 * HEAD_DEADLINE_S)
        assert place.edge.counts["head_timeouts"] == 0


@on_virtual_time
async def test_peer_that_leaves_while_it_joins(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that is gone before its room was read does not become a viewer."""
    async with a_place() as place:
        peer = await place.knock()
        peer.receive(upgrade("shop"))
        peer.vanish()
        await settled()
        assert not place.edge.connections
        assert not place.hub.desks["shop"].room.audience
        assert not caplog.records


@on_virtual_time
async def test_early_frames_are_bounded() -> None:
    """One who sends without end before its handshake is answered is cut off."""
    async with a_place() as place:
        peer = await place.knock()
        peer.receive(upgrade("shop"))
        peer.receive(b"\0" * (MAX_EARLY_BYTES + 1))
        await settled()
        assert peer.lost
        assert not place.edge.connections


@on_virtual_time
async def test_store_away() -> None:
    """While the store cannot be asked a join is refused with 503 and when to come back."""
    async with a_place() as place:
        await place.join()
        place.store.away = True
        peer = await place.knock()
        peer.receive(upgrade("shop"))
        await settled()
        assert peer.status() == (503, "unavailable")
        assert b"\r\nRetry-After: 1\r\n" in peer.written


@on_virtual_time
async def test_stopping() -> None:
    """A server that stops refuses to be joined, with 503 and when to come back."""
    async with a_place() as place:
        place.edge.draining = True
        peer = await place.knock()
        peer.receive(upgrade("shop"))
        assert peer.status() == (503, "unavailable")
        assert b"\r\nRetry-After: 1\r\n" in peer.written


# --- on sockets ---------------------------------------------------------------------------------------


async def test_head_byte_by_byte(server: Liveroom, room: str) -> None:
    """A head may come in any number of pieces."""
    async with connected(server) as peer:
        for byte in upgrade(room):
            await peer.send(bytes((byte,)))
        status, headers = await peer.head()
        assert (status, headers["sec-websocket-accept"]) == (101, ACCEPT)
        assert (await peer.message("welcome"))["room"] == room


async def test_frames_with_the_handshake(server: Liveroom, room: str) -> None:
    """Frames that come together with the handshake are read after the welcome, also one that is cut in two."""
    async with connected(server) as peer:
        frames = text({"type": "ping", "t": 1}) + text({"type": "ping", "t": 2})
        await peer.send(upgrade(room) + frames[:-4])
        assert (await peer.head())[0] == 101
        assert (await peer.message("welcome"))["user"] == "raw"
        assert (await peer.message("pong"))["t"] == 1
        await peer.send(frames[-4:])
        assert (await peer.message("pong"))["t"] == 2


@pytest.mark.parametrize("ended", [True, False], ids=["whole", "endless"])
async def test_head_too_large(server: Liveroom, ended: bool) -> None:
    """A head of more than 8 KiB is answered 431, whether or not it ever ends."""
    head = b"GET /healthz HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES + (b"\r\n\r\n" if ended else b"")
    async with connected(server) as peer:
        await peer.send(head)
        assert await peer.refused() == (431, "head_too_large")


async def test_largest_head(server: Liveroom) -> None:
    """A head of just 8 KiB is taken."""
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
    async with connected(server) as peer:
        await peer.send(start + b"a" * (MAX_HEAD_BYTES - len(start)) + b"\r\n\r\n")
        assert (await peer.answer())[0] == 200


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", b"GET / SIP/2.0\r\n\r\n"]
)
async def test_not_http(server: Liveroom, sent: bytes) -> None:
    """What is not HTTP is answered 400 and closed."""
    async with connected(server) as peer:
        await peer.send(sent)
        assert await peer.refused() == (400, "bad_request")


async def test_large_body(server: Liveroom) -> None:
    """A body of 200 KB is answered, and the connection carries what follows it."""
    body = json.dumps({"type": "custom", "name": "n", "data": "x" * 200_000}).encode()
    head = b"POST /v1/rooms/door/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connected(server) as peer:
        await peer.send(head + body[:1000], body[1000:], HEALTH)
        status, _, problem = await peer.answer()
        assert (status, problem["code"]) in ((413, "too_large"), (400, "invalid"))
        assert (await peer.answer())[0] == 200


async def test_kept_alive_and_pipelined(server: Liveroom) -> None:
    """Requests that follow on a connection, at once or later, are answered in order."""
    async with connected(server) as peer:
        await peer.send(HEALTH + HEALTH.replace(b"healthz", b"nowhere") + HEALTH)
        assert [(await peer.answer())[0] for _ in range(3)] == [200, 404, 200]
        await peer.send(HEALTH)
        assert (await peer.answer())[0] == 200


async def test_upgrade_on_a_kept_alive_connection(server: Liveroom, room: str) -> None:
    """An upgrade that follows another request is refused with 426; a first one in its place joins."""
    async with connected(server) as peer:
        await peer.send(HEALTH)
        assert (await peer.answer())[0] == 200
        await peer.send(upgrade(room))
        status, _, problem = await peer.answer()
        assert (status, problem["code"]) == (426, "upgrade_required")
        assert await peer.reader.read() == b""
    async with joined(server, room):
        pass


async def test_room_path_without_an_upgrade(server: Liveroom, room: str) -> None:
    """A plain request on a room's path is told what is missing."""
    async with connected(server) as peer:
        await peer.send(upgrade(room, Upgrade=None, Connection=None))
        status, headers, problem = await peer.answer()
        assert (status, problem["code"]) == (426, "upgrade_required")
        assert headers["upgrade"] == "websocket"


@pytest.mark.parametrize("path", ["/", "/v1/rooms/shop", "/v1/rooms/shop/ws/", "/chat"])
async def test_upgrade_elsewhere(server: Liveroom, path: str) -> None:
    """An upgrade on a path that is no room's is answered as a plain request, never switched."""
    async with connected(server) as peer:
        await peer.send(upgrade("shop").replace(b"/v1/rooms/shop/ws?user=raw", path.encode()))
        status, _, _ = await peer.answer()
        assert status == (404 if path in ("/v1/rooms/shop/ws/", "/chat") else 200)


async def test_refused_version(server: Liveroom, room: str) -> None:
    """Another websocket version is answered 426 with the one there is."""
    async with connected(server) as peer:
        await peer.send(upgrade(room, Sec_WebSocket_Version="8"))
        status, headers, problem = await peer.answer()
        assert (status, problem["code"]) == (426, "upgrade_required")
        assert (headers["sec-websocket-version"], headers["upgrade"]) == ("13", "websocket")


async def test_refusal_reaches_one_who_is_still_sending(server: Liveroom, room: str) -> None:
    """A refusal is read whole though the peer has sent a great deal after its head."""
    async with connected(server) as peer:
        peer.writer.write(upgrade(room, Sec_WebSocket_Key="no") + b"\0" * 2_000_000)
        status, _, problem = await peer.answer()
        assert (status, problem["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "user", ["", "a%20b", "a" * 65, "a%0d%0aX:1"], ids=["empty", "space", "long", "lines"]
)
async def test_bad_user(server: Liveroom, room: str, user: str) -> None:
    """Under --dev a user id is checked as everywhere; none at all is no join."""
    async with connected(server) as peer:
        await peer.send(upgrade(room, query=f"user={user}"))
        assert await peer.refused() == (400, "bad_request")
    async with connected(server) as peer:
        await peer.send(upgrade(room, query=""))
        assert await peer.refused() == (401, "unauthorized")


# --- tokens -------------------------------------------------------------------------------------------


def bearer(value: str) -> tuple[str, str]:
    """Make the header that carries a token."""
    return "Authorization", f"Bearer {value}"


async def test_no_token(guarded: Liveroom) -> None:
    """Without a token a join is answered 401 and what would be taken; a user's name is no token."""
    async with connected(guarded) as peer:
        await peer.send(upgrade("shop", query="user=ana"))
        status, headers, problem = await peer.answer()
        assert (status, problem["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
        assert ERRORS["unauthorized"].status == 401


@pytest.mark.parametrize("where", ["header", "query", "subprotocol"])
async def test_token(guarded: Liveroom, where: str) -> None:
    """A token is taken from any of the three places, and says who the viewer is."""
    good, sent, query = token("ana", room="shop"), {}, ""
    match where:
        case "header":
            sent["Authorization"] = f"Bearer {good}"
        case "query":
            query = f"token={good}&user=eve"
        case "subprotocol":
            sent["Sec_WebSocket_Protocol"] = f"liveroom.v1.json, liveroom.bearer.{good}"
    async with joined(guarded, "shop", query=query, **sent) as peer:
        assert (await peer.message("welcome"))["user"] == "ana"


async def test_token_by_the_websockets_library(guarded: Liveroom) -> None:
    """A library that offers only the token's subprotocol is answered one that it can go on with."""
    url = f"{guarded.ws}/v1/rooms/shop/ws"
    subprotocols = [
        websockets.Subprotocol("liveroom.v1.json"),
        websockets.Subprotocol(f"liveroom.bearer.{token()}"),
    ]
    async with websockets.connect(url, subprotocols=subprotocols) as socket:
        assert socket.subprotocol == "liveroom.v1.json"
        assert json.loads(await socket.recv())["user"] == "ana"


@pytest.mark.parametrize(
    ("room", "given", "answer"),
    [
        ("shop", token(room="other"), (403, "forbidden")),
        ("shop", token(ttl_s=-60), (401, "unauthorized")),
        ("shop", "not.a.token", (401, "unauthorized")),
        ("nowhere", token(), (404, "unknown_room")),
        ("nowhere", token(room="shop"), (403, "forbidden")),
    ],
    ids=["wrong room", "expired", "no token at all", "unknown room", "unknown to this token"],
)
async def test_refused_token(guarded: Liveroom, room: str, given: str, answer: tuple[int, str]) -> None:
    """A token that is not good here is refused with what is wrong, and is not repeated."""
    async with connected(guarded) as peer:
        await peer.send(upgrade(room, bearer(given)))
        assert await peer.refused() == answer


async def test_many_refusals_and_a_viewer(guarded: Liveroom) -> None:
    """While many are refused, one who may join joins and is answered."""
    async with joined(guarded, "shop", bearer(token())) as viewer:

        async def knock() -> None:
            async with connected(guarded) as peer:
                await peer.send(upgrade("shop", bearer("forged")))
                assert await peer.refused() == (401, "unauthorized")

        await asyncio.gather(*(knock() for _ in range(50)))
        await viewer.send(masked(TEXT, b'{"type":"ping","t":9}'))
        assert (await viewer.message("pong"))["t"] == 9
