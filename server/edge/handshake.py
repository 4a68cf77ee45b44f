"""The websocket handshake (RFC 6455 section 4) and the room path, read from a request head.

Pure: bytes in, an ``Upgrade`` or a ``Refusal`` out. What repeats from viewer to viewer (header values) is
worked out once and remembered, so that a storm of joins costs parsing and one SHA-1 each.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from hashlib import sha1
from typing import NamedTuple
from urllib.parse import parse_qsl

from websockets.exceptions import InvalidHeader
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_extension

from liveroom.protocol.codec import SUBPROTOCOLS, Encoding
from liveroom.protocol.names import BEARER_SUBPROTOCOL_PREFIX, JSON_SUBPROTOCOL, is_id

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_ROOM_PATH = re.compile(rb"/v1/rooms/([^/?]*)/ws(?:\?(.*))?\Z", re.DOTALL)
_RESUME = re.compile(r"([A-Za-z0-9_-]{1,64}):(\d{1,18})")


class Refused(NamedTuple):
    """The handshake is answered with this problem instead; ``headers`` go with it."""

    code: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


class Upgrade(NamedTuple):
    """A valid request to join a room."""

    room: str
    accept: bytes
    subprotocol: str | None
    encoding: Encoding
    deflate: str | None  # permessage-deflate as it is agreed on, for the answer; None when it is not
    token: str | None
    user: str | None
    name: str | None
    resume: tuple[str, int] | None


class Head(NamedTuple):
    """A request head: method and target as sent, headers by lower-case name, values joined by comma."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]


class BadHead(Exception):
    """Not an HTTP/1.1 request head."""


def parse_head(raw: bytes) -> Head:
    """Read a request head (RFC 9112), without its final empty line.

    :raises BadHead: it is none.
    """
    lines = raw.split(b"\r\n")
    request = lines[0].split(b" ")
    if len(request) != 3 or not request[2].startswith(b"HTTP/1."):
        raise BadHead("the first line is not an HTTP/1.1 request line")
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name[-1:] in b" \t" or name[:1] in b" \t":
            raise BadHead("a header line is not 'name: value'")
        name = name.lower()
        value = value.strip(b" \t")
        if name in headers:
            value = headers[name] + b", " + value
        headers[name] = value
    return Head(request[0], request[1], headers)


def is_room_upgrade(head: Head) -> bool:
    """Tell whether this is a websocket upgrade on a room path; everything else is HTTP's business."""
    return (
        b"websocket" in head.headers.get(b"upgrade", b"").lower()
        and _ROOM_PATH.match(head.target) is not None
    )


def read_upgrade(head: Head) -> Upgrade | Refused:
    """Check a room upgrade and read what it asks for."""
    match = _ROOM_PATH.match(head.target)
    assert match is not None
    headers = head.headers
    room = match[1].decode("latin-1")
    if not is_id(room):
        return Refused("bad_request", "a room id is 1 to 64 of A-Z a-z 0-9 _ . -")
    if head.method != b"GET":
        return Refused("bad_request", "a websocket handshake is a GET request")
    if b"upgrade" not in headers.get(b"connection", b"").lower():
        return Refused("bad_request", "the header 'Connection: Upgrade' is missing")
    if headers.get(b"sec-websocket-version") != b"13":
        version = (("Sec-WebSocket-Version", "13"),)
        return Refused("upgrade_required", "this server speaks websocket version 13", version)
    key = headers.get(b"sec-websocket-key", b"")
    if not _is_key(key):
        return Refused("bad_request", "the header 'Sec-WebSocket-Key' is not 16 bytes in base64")
    subprotocol, encoding, bearer, wrong = _choose(headers.get(b"sec-websocket-protocol", b""))
    if wrong:
        return Refused("bad_request", wrong)
    try:
        query = _query(match[2] or b"")
    except ValueError:
        return Refused("bad_request", "the query has too many fields")
    resume = None
    if "resume" in query:
        found = _RESUME.fullmatch(query["resume"])
        if found is None:
            return Refused(
                "bad_request", "resume is '<epoch>:<offset>', as the last welcome and batch gave them"
            )
        resume = (found[1], int(found[2]))
    return Upgrade(
        room=room,
        accept=base64.b64encode(sha1(key + _GUID, usedforsecurity=False).digest()),
        subprotocol=subprotocol,
        encoding=encoding,
        deflate=_agree_on_deflate(headers.get(b"sec-websocket-extensions", b"")),
        token=_bearer(headers.get(b"authorization", b"")) or query.get("token") or bearer,
        user=query.get("user"),
        name=query.get("name"),
        resume=resume,
    )


def answer(upgrade: Upgrade) -> bytes:
    """Build the 101 answer."""
    return _answer_start(upgrade.subprotocol, upgrade.deflate) + upgrade.accept + b"\r\n\r\n"


@lru_cache(64)
def _answer_start(subprotocol: str | None, deflate: str | None) -> bytes:
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if deflate is not None:
        lines.append(f"Sec-WebSocket-Extensions: {deflate}")
    return "\r\n".join([*lines, "Sec-WebSocket-Accept: "]).encode()


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


@lru_cache(1024)
def _choose(offered: bytes) -> tuple[str | None, Encoding, str | None, str | None]:
    """Choose a subprotocol: (chosen, its encoding, bearer token among the offered, what is wrong)."""
    chosen: str | None = None
    bearer: str | None = None
    names = [name.strip() for name in offered.decode("latin-1").split(",") if name.strip()]
    for name in names:
        if name.startswith(BEARER_SUBPROTOCOL_PREFIX):
            bearer = name[len(BEARER_SUBPROTOCOL_PREFIX) :]
        elif chosen is None and name in SUBPROTOCOLS:
            chosen = name
    if chosen is None and any(not name.startswith(BEARER_SUBPROTOCOL_PREFIX) for name in names):
        return (
            None,
            Encoding.JSON,
            None,
            f"none of the offered subprotocols is known; there are {', '.join(SUBPROTOCOLS)}",
        )
    if chosen is None and bearer is not None:
        chosen = JSON_SUBPROTOCOL  # a browser fails the handshake when it offered some and none is chosen
    return chosen, SUBPROTOCOLS[chosen or JSON_SUBPROTOCOL], bearer, None


_deflate = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
# No takeover on either side: our frames are shared between viewers (RFC 7692 section 7.1.1), and theirs need
# no inflater kept for each.
_DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@lru_cache(256)
def _agree_on_deflate(header: bytes) -> str | None:
    """Return the answer to a client's offer, None if it does not allow the one form this server speaks."""
    try:
        offers = parse_extension(header.decode("latin-1")) if header else []
    except InvalidHeader:
        return None
    for name, params in offers:
        if name != "permessage-deflate":
            continue
        windows = [value for key, value in params if key == "server_max_window_bits"]
        # A smaller window than 32 KiB would have to be honoured in frames that are shared with others.
        if any(value != "15" for value in windows):
            continue
        try:
            _deflate.process_request_params(params, [])
        except Exception:  # noqa: S112  an offer that is malformed or cannot be met is passed over (RFC 7692 section 5)
            continue
        # Who asks for a window must be told that it is granted (section 7.1.2.1).
        return f"{_DEFLATE}; server_max_window_bits=15" if windows else _DEFLATE
    return None


def _query(raw: bytes) -> dict[str, str]:
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=16)) if raw else {}


def _bearer(header: bytes) -> str | None:
    scheme, _, token = header.decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


__all__ = ["BadHead", "Head", "Refused", "Upgrade", "answer", "is_room_upgrade", "parse_head", "read_upgrade"]
