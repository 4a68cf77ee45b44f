"""One request to the API, checked step by step: who asks, for which room, with what.

Every check raises ``Refused`` with a sentence that names what is wrong.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from liveroom.protocol import codec
from liveroom.protocol.names import is_id
from liveroom.server.api.context import ApiContext
from liveroom.server.room.identity import Identity, Role
from liveroom.server.room.ports import Append, Refused
from liveroom.server.sale.ports import Idempotency

MAX_BODY_BYTES = 256 * 1024
MAX_KEY_CHARS = 128
DEFAULT_PAGE, MAX_PAGE = 100, 1000
MAX_POSITION = 2**53 - 1

T = TypeVar("T")

OPEN_IDENTITY = Identity(user="dev", name="dev", role=Role.SERVICE, room=None)


class Call:
    """A request whose sender may make it. ``room`` is empty for a route outside rooms."""

    __slots__ = ("body", "context", "request", "room")

    def __init__(self, context: ApiContext, request: web.Request, room: str, body: bytes) -> None:
        self.context = context
        self.request = request
        self.room = room
        self.body = body

    def id(self, noun: str) -> str:
        """Return an id from the path.

        :raises Refused: ``bad_request``, it is none.
        """
        return path_id(self.request, noun)

    def decode(self, type: type[T] | Any) -> T:
        """Read the body as ``type``.

        :raises Refused: ``bad_request`` (not JSON) or ``invalid`` (names the field).
        """
        if not self.body.strip():
            raise Refused("bad_request", "a JSON body is needed, and there is none")
        try:
            return msgspec.json.decode(self.body, type=type)
        except msgspec.ValidationError as fault:
            raise Refused("invalid", _explain(fault)) from None
        except RecursionError:
            raise Refused("bad_request", "the body is nested too deeply") from None
        except ValueError as fault:  # DecodeError, and text that is not UTF-8
            raise Refused("bad_request", f"the body is not JSON: {fault}") from None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Read an integer of the query.

        :raises Refused: ``bad_request``, it is none or out of range.
        """
        text = self.request.query.get(name)
        if text is None:
            return default
        # isdecimal() alone takes digits of every script, and int() a megabyte of them.
        if len(text) <= 16 and text.isascii() and text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise Refused("bad_request", f"{name} is an integer from {least} to {most}, not {text[:40]!r}")

    def idempotency(self) -> Idempotency:
        """Return the request's ``Idempotency-Key`` and what it stands for; empty when it has none.

        :raises Refused: ``bad_request``, not 1 to 128 printable ASCII characters.
        """
        request = self.request
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return Idempotency()
        if not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
            raise Refused(
                "bad_request", f"Idempotency-Key has 1 to {MAX_KEY_CHARS} printable ASCII characters"
            )
        stands_for = f"{request.method} {request.path}\n".encode() + self.body
        return Idempotency(key, hashlib.sha256(stands_for).hexdigest())

    async def append(self, events: list[msgspec.Struct], changes: tuple[tuple[str, bytes], ...] = ()) -> int:
        """Append facts to the room's log, with room fields that change with them; returns the last offset.

        :raises Refused: see ``Hub.publish``; and ``invalid``, an event that one of the encodings cannot hold.
        """
        key, fingerprint = self.idempotency()
        lines = [b"f" + encode_event(event) for event in events]
        return await self.context.hub.publish(self.room, Append(lines, changes, key, fingerprint))


def encode_event(event: msgspec.Struct) -> bytes:
    """Write an event as the log keeps it, and see that every viewer's encoding can hold it.

    :raises Refused: ``invalid``.
    """
    json = msgspec.json.encode(event)
    try:
        codec.transcode(json)
    except (OverflowError, RecursionError, ValueError) as fault:
        raise Refused("invalid", f"MessagePack cannot hold this event: {fault}") from None
    return json


def path_id(request: web.Request, noun: str) -> str:
    """Return an id from the path; see ``Call.id``."""
    id = request.match_info[noun]
    if not is_id(id):
        raise Refused("bad_request", f"a {noun} id has 1 to 64 characters out of A-Z a-z 0-9 _ . -")
    return id


def identify(context: ApiContext, request: web.Request) -> Identity:
    """Find out who asks.

    :raises Refused: ``unauthorized``; ``forbidden``, a page of another site uses the open API of ``--dev``.
    """
    if context.open_api:
        # Without a token, any page that this machine's browser has open could otherwise drive the rooms.
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise Refused("forbidden", "the API is open (--dev), but not to pages of other sites")
        return OPEN_IDENTITY
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused("unauthorized", "a token is needed: Authorization: Bearer <token>")
    return context.authenticate(token.strip())


async def read_body(request: web.Request) -> bytes:
    """Read the body.

    :raises Refused: ``too_large``; ``bad_request``, it broke off, or is not encoded as it says.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Refused("too_large", f"a request body has at most {MAX_BODY_BYTES} bytes")
    try:
        return await request.read()
    except (ConnectionError, web.RequestPayloadError, HttpProcessingError):
        # The sender's fault, and no news to us; to one that broke off, the answer goes into the void.
        raise Refused("bad_request", "the body broke off, or is not encoded as its head says") from None


def answer(value: Any, status: int = 200, *, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with a value as JSON; bytes are JSON already."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def page(noun: str, items: list[bytes], next: int | None) -> web.Response:
    """Answer with a page of a list: ``next`` is what to pass as ``after``, null at the end."""
    after = b"null" if next is None else b"%d" % next
    return answer(b'{"%b":[%b],"next":%b}' % (noun.encode(), b",".join(items), after))


def _explain(fault: msgspec.ValidationError) -> str:
    """Put the field first: "Expected `int` - at `$.price`" reads "price: expected int"."""
    text, _, path = str(fault).replace("`", "").partition(" - at $")
    text = text[:1].lower() + text[1:]
    field = path.lstrip(".")
    return f"{field}: {text}" if field else text
