"""The handshake: what a room upgrade asks for, and what it is answered or refused with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from liveroom.protocol.codec import Encoding
from liveroom.server.edge.handshake import (
    BadHead,
    Head,
    Refused,
    Upgrade,
    answer,
    is_room_upgrade,
    parse_head,
    read_upgrade,
)
from tests.edge.wire import ACCEPT, upgrade


def head_of(
    *more: tuple[str, str], room: str = "shop", query: str = "user=ana", **changed: str | None
) -> Head:
    """Parse a handshake with these headers."""
    return parse_head(upgrade(room, *more, query=query, **changed)[:-4])


def read(*more: tuple[str, str], **changed: Any) -> Upgrade:
    """Read a handshake that is good."""
    got = read_upgrade(head_of(*more, **changed))
    assert isinstance(got, Upgrade), got
    return got


def refused(*more: tuple[str, str], **changed: Any) -> Refused:
    """Read a handshake that is refused."""
    head = head_of(*more, **changed)
    assert is_room_upgrade(head)
    got = read_upgrade(head)
    assert isinstance(got, Refused), got
    assert got.detail
    return got


def answered(upgrade: Upgrade) -> dict[str, str]:
    """Return the headers of the answer to an upgrade."""
    raw = answer(upgrade)
    assert raw.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert raw.endswith(b"\r\n\r\n")
    lines = raw.decode()[:-4].split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return headers


# --- the upgrade --------------------------------------------------------------------------------------


def test_sample_of_the_rfc() -> None:
    """The key of RFC 6455 section 1.3 is answered with its accept value, and nothing that was not offered."""
    assert answered(read()) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
    }


def test_what_is_asked_for() -> None:
    """Room, user, name and cursor come from the path and the query, decoded."""
    got = read(room="spring-sale_2.b", query="user=ana&name=Ana%20M%C3%BCller&resume=ep-1:42")
    assert (got.room, got.user, got.name, got.resume) == (
        "spring-sale_2.b",
        "ana",
        "Ana Müller",
        ("ep-1", 42),
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade"},
    ],
)
def test_spellings_of_an_upgrade(changed: dict[str, str]) -> None:
    """Header values are matched without case and within lists, as browsers and proxies write them."""
    assert read(**changed)


@pytest.mark.parametrize(
    "target", [b"/v1/rooms/a/ws/", b"/v1/rooms/a/b/ws", b"/v1/rooms/ws", b"/", b"/v1/rooms/a"]
)
def test_other_paths(target: bytes) -> None:
    """An upgrade on any other path is not a room's."""
    head = head_of()
    assert not is_room_upgrade(head._replace(target=target))
    assert is_room_upgrade(head)


def test_no_upgrade() -> None:
    """A plain request on a room's path is HTTP's business."""
    assert not is_room_upgrade(head_of(Upgrade=None))
    assert not is_room_upgrade(head_of(Upgrade="h2c"))


@pytest.mark.parametrize("version", [None, "8", "14", "", "13, 8", "013"])
def test_other_versions(version: str | None) -> None:
    """A version that is not 13 is refused with the one this server speaks (RFC 6455 section 4.2.2)."""
    got = refused(Sec_WebSocket_Version=version)
    assert (got.code, got.headers) == ("upgrade_required", (("Sec-WebSocket-Version", "13"),))


@pytest.mark.parametrize(
    "key", [None, "", "c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZ!==", "A" * 24, "\xff" * 24]
)
def test_bad_key(key: str | None) -> None:
    """A key that is not 16 bytes in base64 is refused."""
    raw = upgrade("shop", Sec_WebSocket_Key=None)[:-4]
    raw += b"" if key is None else b"\r\nSec-WebSocket-Key: " + key.encode("latin-1")
    got = read_upgrade(parse_head(raw))
    assert isinstance(got, Refused)
    assert got.code == "bad_request"


@pytest.mark.parametrize("room", ["", "a" * 65, "a%20b", "caf\xe9", "%2e%2e", "a:b", "a\x00b", "a*"])
def test_bad_room(room: str) -> None:
    """A room id with other characters, too many or none is refused, also when they are percent-encoded."""
    head = head_of()._replace(target=b"/v1/rooms/" + room.encode("latin-1") + b"/ws?user=ana")
    assert is_room_upgrade(head)
    got = read_upgrade(head)
    assert isinstance(got, Refused)
    assert got.code == "bad_request"


LONG = ["e" * 65 + ":1", "e:" + "9" * 19]


@pytest.mark.parametrize(
    "resume", ["", "5", "e:", ":5", "e:-1", "e:1.5", "e:x", "e:1:2", "e%20:1", "e:1%0A", *LONG]
)
def test_bad_resume(resume: str) -> None:
    """A cursor that no welcome ever gave is refused, rather than taken for a fresh join."""
    assert refused(query=f"user=ana&resume={resume}").code == "bad_request"


def test_too_many_query_fields() -> None:
    """A query of more fields than any client needs is refused."""
    assert refused(query="&".join(f"f{n}=1" for n in range(17))).code == "bad_request"


def test_other_method() -> None:
    """A handshake is a GET."""
    got = read_upgrade(head_of()._replace(method=b"POST"))
    assert isinstance(got, Refused)
    assert got.code == "bad_request"


def test_no_connection_upgrade() -> None:
    """Without ``Connection: Upgrade`` a proxy may not have meant it; it is refused."""
    assert refused(Connection="keep-alive").code == "bad_request"


# --- subprotocol and token ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen", "encoding"),
    [
        (None, None, Encoding.JSON),
        ("", None, Encoding.JSON),
        ("liveroom.v1.json", "liveroom.v1.json", Encoding.JSON),
        ("liveroom.v1.msgpack", "liveroom.v1.msgpack", Encoding.MSGPACK),
        ("liveroom.v1.msgpack, liveroom.v1.json", "liveroom.v1.msgpack", Encoding.MSGPACK),
        ("chat,liveroom.v1.msgpack", "liveroom.v1.msgpack", Encoding.MSGPACK),
        ("liveroom.bearer.t.o.k", "liveroom.v1.json", Encoding.JSON),
        ("liveroom.bearer.t.o.k, liveroom.v1.msgpack", "liveroom.v1.msgpack", Encoding.MSGPACK),
    ],
)
def test_subprotocol(offered: str | None, chosen: str | None, encoding: Encoding) -> None:
    """The first known one that is offered is taken; JSON without an answer when none is offered."""
    got = read(Sec_WebSocket_Protocol=offered)
    assert (got.subprotocol, got.encoding) == (chosen, encoding)
    assert answered(got).get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    "offered", ["chat", "liveroom.v2.json", "LIVEROOM.V1.JSON", "chat, liveroom.bearer.t"]
)
def test_unknown_subprotocols_only(offered: str) -> None:
    """A client that speaks only what this server does not is refused."""
    assert refused(Sec_WebSocket_Protocol=offered).code == "bad_request"


def test_subprotocols_over_two_lines() -> None:
    """A list may be spread over several headers (RFC 9110 section 5.3)."""
    got = read(
        ("Sec-WebSocket-Protocol", "liveroom.bearer.t.o.k"), ("Sec-WebSocket-Protocol", "liveroom.v1.msgpack")
    )
    assert (got.token, got.encoding) == ("t.o.k", Encoding.MSGPACK)


@pytest.mark.parametrize(
    ("changed", "token"),
    [
        ({}, None),
        ({"Authorization": "Bearer h.h.h"}, "h.h.h"),
        ({"Authorization": "bearer  h.h.h "}, "h.h.h"),
        ({"Authorization": "Basic aGVsbG8="}, None),
        ({"Authorization": "Bearer"}, None),
        ({"query": "token=q.q.q"}, "q.q.q"),
        ({"Sec_WebSocket_Protocol": "liveroom.v1.json, liveroom.bearer.p.p.p"}, "p.p.p"),
        (
            {"Authorization": "Bearer h", "query": "token=q", "Sec_WebSocket_Protocol": "liveroom.bearer.p"},
            "h",
        ),
        ({"query": "token=q", "Sec_WebSocket_Protocol": "liveroom.bearer.p"}, "q"),
    ],
)
def test_where_a_token_may_stand(changed: dict[str, str], token: str | None) -> None:
    """A token is taken from the header, else the query, else an offered subprotocol."""
    assert read(**changed).token == token


def test_token_is_never_answered() -> None:
    """The subprotocol that carries a token is not the one that is chosen, so the answer does not hold it."""
    raw = answer(read(Sec_WebSocket_Protocol="liveroom.bearer.sesame"))
    assert b"sesame" not in raw
    assert b"liveroom.v1.json" in raw


# --- permessage-deflate -------------------------------------------------------------------------------

NO_TAKEOVER = {"server_no_context_takeover", "client_no_context_takeover"}


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate;client_max_window_bits;server_no_context_takeover",
        'permessage-deflate; server_max_window_bits="10", permessage-deflate',
        "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
    ],
)
def test_deflate_is_agreed_on(offer: str) -> None:
    """An offer that can be met is answered without context takeover on either side."""
    got = read(Sec_WebSocket_Extensions=offer)
    assert got.deflate
    name, *params = answered(got)["Sec-WebSocket-Extensions"].split("; ")
    assert (name, set(params)) == ("permessage-deflate", NO_TAKEOVER)


@pytest.mark.parametrize(
    "offer",
    [
        None,
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; unheard_of",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
        "permessage-deflate;",
        "permessage-deflate; =1",
        ", ;",
        '"permessage-deflate"',
        'permessage-deflate; client_max_window_bits="',
    ],
)
def test_deflate_is_passed_over(offer: str | None) -> None:
    """An offer that is malformed, or needs a window of its own in shared frames, is not answered."""
    got = read(Sec_WebSocket_Extensions=offer)
    assert not got.deflate
    assert "Sec-WebSocket-Extensions" not in answered(got)


def test_window_of_15_bits_is_granted() -> None:
    """A client that asks for the window this server has is told that it gets it (RFC 7692 section 7.1.2.1)."""
    got = read(Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=15")
    assert got.deflate
    _, *params = answered(got)["Sec-WebSocket-Extensions"].split("; ")
    assert set(params) == NO_TAKEOVER | {"server_max_window_bits=15"}


@pytest.mark.parametrize("server_bits", [None, 10, 15])
@pytest.mark.parametrize("client_bits", [None, True, 9, 15])
@pytest.mark.parametrize("no_takeover", [False, True])
def test_websockets_library_takes_the_answer(
    server_bits: int | None, client_bits: int | bool | None, no_takeover: bool
) -> None:
    """The ``websockets`` library's client, whatever it offers, opens with what it is answered."""
    factory = ClientPerMessageDeflateFactory(no_takeover, no_takeover, server_bits, client_bits)
    client = ClientProtocol(
        parse_uri("ws://x/v1/rooms/shop/ws?user=ana"),
        extensions=[factory],
        subprotocols=[Subprotocol("liveroom.v1.msgpack")],
    )
    client.send_request(client.connect())
    (request,) = client.data_to_send()
    got = read_upgrade(parse_head(request[:-4]))
    assert isinstance(got, Upgrade)
    client.receive_data(answer(got))
    assert client.handshake_exc is None
    assert client.state is State.OPEN
    assert client.subprotocol == "liveroom.v1.msgpack"
    assert bool(client.extensions) == (server_bits != 10)
    for extension in client.extensions:
        assert isinstance(extension, PerMessageDeflate)
        assert extension.remote_no_context_takeover
        assert extension.local_no_context_takeover


@given(st.text(st.sampled_from('permessage-deflate;,= "15_x\\'), max_size=60))
def test_any_extension_offer(offer: str) -> None:
    """Whatever is offered, the handshake itself goes on."""
    head = head_of()
    head.headers[b"sec-websocket-extensions"] = offer.encode()
    assert isinstance(read_upgrade(head), Upgrade)


# --- heads --------------------------------------------------------------------------------------------


def test_head_is_parsed() -> None:
    """Names are lower-case, values without outer white space, and repeated headers joined."""
    head = parse_head(b"GET /a?b HTTP/1.1\r\nHOST:x\r\nAccept: \t a \t\r\naccept: b\r\nEmpty:")
    assert head == Head(b"GET", b"/a?b", {b"host": b"x", b"accept": b"a, b", b"empty": b""})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"GET /",
        b"GET / HTTP/2",
        b"GET / HTTP/0.9",
        b"GET  / HTTP/1.1",
        b"GET / x HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n: no name",
        b"GET / HTTP/1.1\r\nHost : x",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded",
        b"GET / HTTP/1.1\r\n Host: x",
        b"GET / HTTP/1.1\r\n\r\nHost: x",
        b"GET / HTTP/1.1\nHost: x",
    ],
)
def test_bad_heads(raw: bytes) -> None:
    """What is no request head, or is written in the ways used to smuggle one past a proxy, is refused."""
    with pytest.raises(BadHead):
        parse_head(raw)


@given(
    st.binary(max_size=200)
    | st.lists(st.binary(max_size=30), max_size=6).map(
        lambda lines: b"GET / HTTP/1.1\r\n" + b"\r\n".join(lines)
    )
    | st.text(st.sampled_from("GET /HTP1.:\r\n\t x\0\xff"), max_size=60).map(
        lambda text: text.encode("latin-1")
    )
)
def test_any_head(raw: bytes) -> None:
    """Bytes of any kind are a head or refused as none; nothing else is raised."""
    try:
        head = parse_head(raw)
    except BadHead:
        return
    assert isinstance(is_room_upgrade(head), bool)


FIELD = st.binary(max_size=40).filter(lambda value: b"\r\n" not in value)


@given(room=FIELD, query=FIELD, key=FIELD, protocol=FIELD, extensions=FIELD, authorization=FIELD)
@example(b"shop", b"name=%0d%0aX: y", b"dGhlIHNhbXBsZSBub25jZQ==", b"a\nX: y", b"a\rX: y", b"Bearer \n")
def test_nothing_a_client_writes_is_answered(
    room: bytes, query: bytes, key: bytes, protocol: bytes, extensions: bytes, authorization: bytes
) -> None:
    """Whatever stands in an upgrade is read or refused, and the answer has only lines of the server's own."""
    raw = upgrade("@@", query="QUERY", Sec_WebSocket_Key=None)[:-4]
    raw = raw.replace(b"@@", room).replace(b"QUERY", query)
    for name, value in (
        (b"Key", key),
        (b"Protocol", protocol),
        (b"Extensions", extensions),
    ):
        raw += b"\r\nSec-WebSocket-" + name + b": " + value
    raw += b"\r\nAuthorization: " + authorization
    try:
        head = parse_head(raw)
    except BadHead:
        return
    if not is_room_upgrade(head):
        return
    got = read_upgrade(head)
    if isinstance(got, Upgrade):
        assert set(answered(got)) <= {
            "Upgrade",
            "Connection",
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions",
        }
    else:
        assert json.dumps(got.detail).isascii()
        assert "\n" not in got.detail and "\r" not in got.detail


@pytest.mark.parametrize("header", ["Sec_WebSocket_Protocol", "Sec_WebSocket_Key", "Authorization"])
@pytest.mark.parametrize("inside", ["\r", "\n", "\n\n", "\rX-Evil: 1", "\nX-Evil: 1"])
def test_lone_line_ends(header: str, inside: str) -> None:
    """A lone CR or LF within a header's value starts no new header, here or in the answer."""
    head = head_of(**{header: f"liveroom.v1.json{inside}"})
    assert b"x-evil" not in head.headers
    got = read_upgrade(head)
    assert isinstance(got, Refused) or b"Evil" not in answer(got)
