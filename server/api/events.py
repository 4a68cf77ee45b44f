"""What the host puts into a room's log: events, the pinned card, comments taken back."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from liveroom.protocol.events import CommentRemoved, Custom, Notice, Pin, Pinned
from liveroom.protocol.names import is_id
from liveroom.server.api.call import Call, answer
from liveroom.server.api.shapes import (
    MAX_DATA_BYTES,
    MAX_DATA_DEPTH,
    MAX_PIN_TEXT_CHARS,
    MAX_TITLE_CHARS,
    MAX_URL_CHARS,
    CustomBody,
    EventBody,
    EventsBody,
    NoticeBody,
    Offset,
    PinnedAnswer,
)
from liveroom.server.room.ports import Refused


async def post_events(call: Call) -> web.Response:
    """Append one event, or several that stay neighbours; answers the offset of the last."""
    probe: dict[str, msgspec.Raw] = call.decode(dict[str, msgspec.Raw])
    if "events" in probe:
        several: EventsBody = call.decode(EventsBody)
        bodies = several.events
    else:
        one: EventBody = call.decode(EventBody)
        bodies = [one]
    now = call.context.store.now_ms()
    return answer(Offset(await call.append([_event_of(body, now) for body in bodies])))


def _event_of(body: EventBody, now: int) -> msgspec.Struct:
    match body:
        case CustomBody(name=name, data=data):
            _check(is_id(name), "name has 1 to 64 characters out of A-Z a-z 0-9 _ . -")
            _check_data(data)
            return Custom(name, data)
        case NoticeBody(text=text, level=level):
            _check(bool(text.strip()), "text: a notice needs one")
            return Notice(text.strip(), level, now)


def _check_data(data: Any) -> None:
    """Refuse data that some viewer could not take: a decoder that gives up ends that viewer's connection."""
    depth, level = 0, [data]
    while holders := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        _check(depth <= MAX_DATA_DEPTH, f"data is nested at most {MAX_DATA_DEPTH} deep")
        level = [inner for held in holders for inner in (held.values() if isinstance(held, dict) else held)]
    size = len(msgspec.json.encode(data))
    _check(size <= MAX_DATA_BYTES, f"data has at most {MAX_DATA_BYTES} bytes of JSON, not {size}")


# --- the pinned card ----------------------------------------------------------------------------------


async def put_pinned(call: Call) -> web.Response:
    """Pin a card above the comments; null takes it away."""
    pin: Pin | None = call.decode(Pin | None)
    if pin is not None:
        _check_pin(pin)
        if pin.sale:
            await call.context.hub.ensure(call.room)
            await call.context.sales.act(call.room, pin.sale, "read")
    return answer(PinnedAnswer(pin, await _pin(call, pin)))


async def delete_pinned(call: Call) -> web.Response:
    """Take the pinned card away."""
    await _pin(call, None)
    return web.Response(status=204)


async def _pin(call: Call, pin: Pin | None) -> int:
    stored = msgspec.json.encode(pin) if pin else b""
    return await call.append([Pinned(pin, call.context.store.now_ms())], (("pinned", stored),))


def _check_pin(pin: Pin) -> None:
    _check(
        bool(pin.title.strip()) and len(pin.title) <= MAX_TITLE_CHARS,
        f"title has 1 to {MAX_TITLE_CHARS} characters",
    )
    _check(len(pin.text) <= MAX_PIN_TEXT_CHARS, f"text has at most {MAX_PIN_TEXT_CHARS} characters")
    _check(not pin.sale or is_id(pin.sale), "sale is the id of a sale of this room")
    for name, url in (("url", pin.url), ("image", pin.image)):
        _check(not url or _is_web_address(url), f"{name} is an http:// or https:// address")


def _is_web_address(url: str) -> bool:
    """Tell whether a viewer's page may link to this: "javascript:" and the like must not get through."""
    if len(url) > MAX_URL_CHARS or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


# --- comments -----------------------------------------------------------------------------------------


async def delete_comment(call: Call) -> web.Response:
    """Take a comment back: everyone is told to hide it, and nobody who joins later is shown it."""
    await call.append([CommentRemoved(call.id("comment"), call.context.store.now_ms())])
    return web.Response(status=204)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused("invalid", otherwise)
