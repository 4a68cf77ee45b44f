"""Write the golden vectors: ``python -m liveroom.protocol.make_vectors`` makes ``vectors.json``.

The vectors are what every implementation of the protocol is checked against, in any language. Knows the
schema and the codec; reads no clock and no chance, so that the same code always writes the same file (the
body of a compressed frame depends on the zlib at hand; what it inflates to does not).

The file is one map:

``messages``   commands and server messages: name, direction, type, value, json, msgpack (hex)
``events``     events as they stand in a batch: the same fields
``tolerated``  what must be accepted although it is not in the schema: ``value`` is what is understood
``errors``     what a viewer may send by fault: ``encoding``, ``data`` (text, or hex), ``code``, ``id``
``frames``     server frames: ``head`` then ``body`` (hex); the payload is ``payload`` (hex) ``times`` over
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from liveroom.protocol import codec, frames
from liveroom.protocol.codec import Encoding
from liveroom.protocol.commands import Cancel, Claim, Command, Comment, Like, Ping, Seen
from liveroom.protocol.events import (
    CommentEvent,
    CommentRemoved,
    Custom,
    Event,
    Notice,
    OrderPlaced,
    Pin,
    Pinned,
    RoomClosed,
    Sale,
    SaleEvent,
)
from liveroom.protocol.messages import (
    Ack,
    Bye,
    Error,
    Limits,
    Order,
    OrderMessage,
    OrderStatus,
    Pong,
    State,
)

PATH = Path(__file__).with_name("vectors.json")

Vector = dict[str, Any]

NOW = 1_790_000_000_000  # ms since the Unix epoch; needs 41 bits, so MessagePack writes it as a uint 64
EPOCH = "m4x9q2"

# --- the schema by example ----------------------------------------------------------------------------

COMMANDS: list[tuple[str, Command]] = [
    ("comment", Comment(id="c-1", text="Is it waterproof?")),
    ("comment, integer id, CJK and emoji", Comment(id=7, text="このバッグ、防水ですか？👜✨")),
    ("comment, combined emoji and quotes", Comment(id="c-2", text='She said "yes" 👩‍👩‍👧 \\ ok')),
    ("comment, id of 64 characters", Comment(id="é" * 64, text="x")),
    ("like", Like(n=3)),
    ("like, more than is counted", Like(n=1000)),
    ("claim", Claim(id="3f0c5b1e-claim", sale="sale-1", quantity=2)),
    ("claim, largest integer id a double can hold", Claim(id=2**53 - 1, sale="Sale_1.b", quantity=1)),
    ("cancel", Cancel(id="x-1", order="order-1")),
    ("cancel, negative integer id", Cancel(id=-40, order="order-1")),
    ("ping", Ping(t=NOW - 12)),
    ("ping, fractions of a ms", Ping(t=123456.789)),
    ("seen", Seen(offset=48213, lag_ms=84)),
    ("seen, fractions of a ms", Seen(offset=70_000, lag_ms=84.5)),
]

SALE = Sale(
    sale="sale-1",
    sku="BAG-7",
    state="open",
    title="帆布バッグ 👜",
    gift="ポーチ付き",
    price=129_900,
    currency="JPY",
    stock=500,
    left=488,
    reserved=3,
    sold=9,
    per_user_limit=2,
    starts_at=NOW - 5_000,
    ends_at=NOW + 55_000,
    hold_seconds=600,
    orders=6,
    waiting=0,
    version=12,
    at=NOW - 40,
)
SCHEDULED = msgspec.structs.replace(
    SALE,
    sale="sale-2",
    state="scheduled",
    title="Canvas bag, second lot",
    gift="",
    left=500,
    reserved=0,
    sold=0,
    per_user_limit=None,
    starts_at=None,
    ends_at=None,
    hold_seconds=0,
    orders=0,
    version=1,
    at=NOW - 60_000,
)
SOLD_OUT = msgspec.structs.replace(
    SALE, state="sold_out", left=0, reserved=12, sold=488, orders=301, waiting=57, version=14
)


def _sale_event(sale: Sale) -> SaleEvent:
    return SaleEvent(**msgspec.structs.asdict(sale))


PLACED = OrderPlaced(sale="sale-1", name="Zoë", quantity=2, others=0, at=NOW)
COMMENT = CommentEvent(comment="n1-2a", user="alice", name="Alice", text="好可爱！❤️", at=NOW - 90)
EVENTS: list[tuple[str, Event]] = [
    ("comment", COMMENT),
    ("comment_removed", CommentRemoved(comment="n1-2a", at=NOW)),
    ("sale, open", _sale_event(SALE)),
    ("sale, scheduled, no times and no limit", _sale_event(SCHEDULED)),
    ("sale, sold out, with holds and a waitlist", _sale_event(SOLD_OUT)),
    ("order_placed", PLACED),
    (
        "order_placed, many at once",
        OrderPlaced(sale="sale-1", name="田中", quantity=180, others=149, at=NOW),
    ),
    ("order_placed, elsewhere", OrderPlaced(sale="", name="Zoë", quantity=1, others=0, at=NOW)),
    (
        "pinned, every field",
        Pinned(
            pinned=Pin(
                title="Today's bag",
                text="Free shipping until midnight",
                sale="sale-1",
                url="https://shop.example/bag?lot=7",
                image="https://shop.example/bag.webp",
            ),
            at=NOW,
        ),
    ),
    ("pinned, title alone", Pinned(pinned=Pin(title="Back in 5 minutes ☕"), at=NOW)),
    ("pinned, taken away", Pinned(pinned=None, at=NOW)),
    ("notice", Notice(text="本場直播即將結束", level="info", at=NOW)),
    ("notice, warning", Notice(text="Payment is slow at the moment", level="warning", at=NOW)),
    (
        "custom",
        Custom(
            name="poll.result",
            data={
                "question": "Red or blue?",
                "votes": [812, 790],
                "share": 0.5068664169787765,
                "open": False,
                "next": None,
                "negative": -129,
                "nested": {"empty": [], "map": {}},
            },
        ),
    ),
    ("custom, null data", Custom(name="confetti", data=None)),
    ("room_closed", RoomClosed(at=NOW)),
]

ORDER = Order(
    order="order-1",
    sale="sale-1",
    user="alice",
    name="Alice",
    quantity=2,
    status="reserved",
    title="帆布バッグ 👜",
    gift="ポーチ付き",
    price=129_900,
    amount=259_800,
    refunded=0,
    currency="JPY",
    version=12,
    expires_at=NOW + 599_970,
    offered=False,
    at=NOW - 30,
    changed_at=NOW - 30,
)


def _order_message(**changes: Any) -> OrderMessage:
    return OrderMessage(**msgspec.structs.asdict(ORDER) | changes)


LIMITS = Limits(
    message_bytes=4096,
    messages_per_s=100.0,
    messages_burst=200,
    comment_chars=500,
    comments_per_s=1.0,
    comments_burst=5,
    likes_per_message=50,
    like_messages_per_s=10.0,
)

# Messages that go to one viewer and are encoded whole. ``welcome`` and ``batch`` are joined, see below.
REPLIES: list[tuple[str, msgspec.Struct]] = [
    ("ack, comment shown", Ack(id="c-1", shown=True, comment="n1-2b")),
    ("ack, comment not shown", Ack(id=7, shown=False)),
    (
        "ack, claim reserved",
        Ack(id="3f0c5b1e-claim", status="reserved", order="order-1", expires_at=None, left=488),
    ),
    (
        "ack, claim reserved for a while",
        Ack(id=2**53 - 1, status="reserved", order="order-2", expires_at=NOW + 600_000, left=0),
    ),
    ("ack, claim sold out", Ack(id="k-2", status="sold_out", left=1)),
    ("ack, claim waitlisted", Ack(id="k-3", status="waitlisted", left=0, position=58)),
    ("ack, claim over the limit", Ack(id="k-4", status="limit_reached", left=488)),
    ("ack, claim too early", Ack(id="k-5", status="not_open", left=500)),
    (
        "ack, claim too early, with the time left",
        Ack(id="k-7", status="not_open", left=500, opens_in_ms=12_400),
    ),
    ("ack, claim too late", Ack(id="k-6", status="closed", left=0)),
    (
        "error, rate limited",
        Error(code="rate_limited", message="too many comments", id="c-9", retry_after_ms=734),
    ),
    (
        "error, id reused",
        Error(code="id_reused", message="this id claimed 2 units before", id="3f0c5b1e-claim"),
    ),
    (
        "error, cancel of a paid order",
        Error(code="wrong_state", message="cannot cancel an order that is paid", id="x-1"),
    ),
    ("error, no id", Error(code="bad_message", message="the field 'type' is missing or not a string")),
    ("order", _order_message()),
    ("order, offered from the waitlist", _order_message(order="order-2", offered=True)),
    *(
        (f"order, {status}", _order_message(status=status, expires_at=None, changed_at=NOW))
        for status in get_args(OrderStatus)
        if status not in ("reserved", "refunded")
    ),
    (
        "order, part refunded",
        _order_message(status="paid", expires_at=None, refunded=129_900, changed_at=NOW),
    ),
    (
        "order, refunded",
        _order_message(status="refunded", expires_at=None, refunded=259_800, changed_at=NOW),
    ),
    ("pong", Pong(t=NOW - 12, now=NOW)),
    ("pong, fractions of a ms", Pong(t=123456.789, now=NOW)),
    ("bye, restarting", Bye(code="restarting", message="the server restarts", reconnect_after_ms=2_500)),
    ("bye, room closed", Bye(code="room_closed", message="the room is closed", reconnect_after_ms=None)),
]

STATE = State(
    likes=1_204_331, viewers=20_117, stock={"sale-1": 488, "sale-2": 500}, orders={"sale-1": 6, "sale-2": 0}
)


class WelcomeParts(NamedTuple):
    """What differs between the welcomes here."""

    user: str
    offset: int
    resumed: bool
    orders: list[Order]
    sales: list[Sale]
    pinned: Pin | None
    recent: list[CommentEvent]
    state: State


WELCOMES = [
    (
        "welcome",
        WelcomeParts(
            user="alice",
            offset=48_213,
            resumed=False,
            orders=[ORDER],
            sales=[SALE, SCHEDULED],
            pinned=Pin(title="Today's bag", sale="sale-1"),
            recent=[COMMENT],
            state=STATE,
        ),
    ),
    ("welcome, resumed", WelcomeParts("alice", 48_190, True, [], [SALE], None, [], STATE)),
    (
        "welcome, a new room",
        WelcomeParts("bob.b-2_", 0, False, [], [], None, [], State(likes=0, viewers=1)),
    ),
]

# (name, offset, events, state, skipped)
BATCHES: list[tuple[str, int, list[Event], State | None, int]] = [
    ("batch, one comment", 48_214, [COMMENT], None, 0),
    ("batch, all event types", 48_230, [event for _, event in EVENTS], None, 0),
    (
        "batch, state alone",
        48_230,
        [],
        State(likes=1_204_390, viewers=20_121, stock={"sale-1": 486}, orders={"sale-1": 7}),
        0,
    ),
    ("batch, state and skipped", 48_902, [PLACED, COMMENT], State(likes=1_300_000), 670),
    ("batch, skipped alone", 49_002, [], None, 100),
    ("batch, 16 events", 49_018, [COMMENT] * 16, None, 0),
]

# --- one vector ---------------------------------------------------------------------------------------


def _vector(name: str, direction: str, json_bytes: bytes, msgpack: bytes) -> Vector:
    value = json.loads(json_bytes)
    return {
        "name": name,
        "direction": direction,
        "type": value["type"],
        "value": value,
        "json": json_bytes.decode(),
        "msgpack": msgpack.hex(),
    }


def _struct_vector(name: str, direction: str, struct: msgspec.Struct) -> Vector:
    as_json, as_msgpack = (codec.encode(struct, encoding) for encoding in Encoding)
    return _vector(name, direction, as_json, as_msgpack)


def _encoded_events(events: list[Event], encoding: Encoding) -> list[bytes]:
    """Encode events the way the log does: JSON first, MessagePack from that."""
    as_json = [msgspec.json.encode(event) for event in events]
    return as_json if encoding is Encoding.JSON else [codec.transcode(event) for event in as_json]


def _batches() -> list[Vector]:
    vectors = []
    for name, offset, events, state, skipped in BATCHES:
        as_json, as_msgpack = (
            codec.join_batch(
                encoding,
                NOW,
                offset,
                _encoded_events(events, encoding),
                None if state is None else codec.encode_value(state, encoding),
                skipped,
            )
            for encoding in Encoding
        )
        vectors.append(_vector(name, "to_viewer", as_json, as_msgpack))
    return vectors


def _welcome_parts(welcome: WelcomeParts, encoding: Encoding) -> tuple[bytes, bytes]:
    """Return a welcome as the server writes it: the viewer's own part, and the shared one."""
    shared = {
        "room": "spring-sale",
        "epoch": EPOCH,
        "heartbeat_ms": 25_000,
        "state": welcome.state,
        "sales": welcome.sales,
        "pinned": welcome.pinned,
        "recent": welcome.recent,
        "limits": LIMITS,
    }
    orders = codec.encode_value(welcome.orders, encoding)
    return (
        codec.welcome_head(encoding, welcome.user, welcome.offset, NOW, welcome.resumed, orders),
        codec.welcome_tail(
            encoding, [(key, codec.encode_value(value, encoding)) for key, value in shared.items()]
        ),
    )


def _welcomes() -> list[Vector]:
    return [
        _vector(
            name,
            "to_viewer",
            b"".join(_welcome_parts(welcome, Encoding.JSON)),
            b"".join(_welcome_parts(welcome, Encoding.MSGPACK)),
        )
        for name, welcome in WELCOMES
    ]


# --- what is not in the schema ------------------------------------------------------------------------


def _odd(name: str, direction: str, sent: dict[str, Any], understood: dict[str, Any]) -> Vector:
    """Make a vector whose ``value`` is what is understood of what is sent."""
    vector = _vector(name, direction, msgspec.json.encode(sent), msgspec.msgpack.encode(sent))
    vector["value"] = understood
    return vector


def _tolerated() -> list[Vector]:
    claim = {"type": "claim", "id": 5, "sale": "sale-1", "quantity": 1}
    like = {"type": "like", "n": 2}
    event = {"type": "comment_removed", "comment": "n1-2a", "at": NOW}
    batch = {"type": "batch", "now": NOW, "offset": 12, "events": [event]}
    unknown = {"type": "raffle_drawn", "raffle": "r-1", "at": NOW}
    pong = {"type": "pong", "t": 1, "now": NOW}
    return [
        _odd("unknown field in a command", "to_server", claim | {"gift": True, "note": None}, claim),
        _odd("unknown nested field in a command", "to_server", like | {"device": {"os": ["x", 1.5]}}, like),
        _odd("type is not the first field", "to_server", {"n": 2, "type": "like"}, like),
        _odd("unknown field in a message", "to_viewer", pong | {"node": "a"}, pong),
        _odd("unknown field in an event", "to_viewer", batch | {"events": [event | {"by": "host"}]}, batch),
        # Nothing is shown of an unknown event, but it counts for the offset as every event does.
        _odd(
            "unknown event",
            "to_viewer",
            batch | {"offset": 13, "events": [unknown, event]},
            batch | {"offset": 13},
        ),
        _odd("unknown message", "to_viewer", {"type": "weather", "sky": "clear"}, {}),
    ]


# (name, what is sent, code, the id that is echoed)
FAULTS: list[tuple[str, dict[str, Any] | list[Any] | str | int | None, str, str | int | None]] = [
    ("no map but an array", ["like", 1], "bad_message", None),
    ("no map but a string", "like", "bad_message", None),
    ("no map but null", None, "bad_message", None),
    ("an empty map", {}, "bad_message", None),
    ("type is missing", {"id": "c-1", "text": "hello"}, "bad_message", "c-1"),
    ("type is no string", {"type": 1, "id": 4}, "bad_message", 4),
    ("unknown type", {"type": "gift", "id": "g-1", "gift": "rose"}, "unknown_type", "g-1"),
    ("unknown type, no id", {"type": "join"}, "unknown_type", None),
    ("unknown type, id too long to echo", {"type": "gift", "id": "x" * 65}, "unknown_type", None),
    ("a server message", {"type": "ack", "id": 1, "shown": True}, "unknown_type", 1),
    ("type in capitals", {"type": "Like", "n": 1}, "unknown_type", None),
    ("field missing", {"type": "claim", "id": 9, "sale": "sale-1"}, "bad_message", 9),
    ("id missing", {"type": "comment", "text": "hello"}, "bad_message", None),
    ("id null", {"type": "comment", "id": None, "text": "hello"}, "bad_message", None),
    ("id a boolean", {"type": "comment", "id": True, "text": "hello"}, "bad_message", None),
    ("id an integer over 53 bits", {"type": "comment", "id": 2**53, "text": "hello"}, "bad_message", None),
    ("id of 65 characters", {"type": "comment", "id": "x" * 65, "text": "hello"}, "bad_message", None),
    ("text of a wrong type", {"type": "comment", "id": "c-1", "text": 5}, "bad_message", "c-1"),
    (
        "quantity a string",
        {"type": "claim", "id": "k", "sale": "sale-1", "quantity": "1"},
        "bad_message",
        "k",
    ),
    ("integer written as a float", {"type": "like", "n": 1.0}, "bad_message", None),
    ("number null", {"type": "ping", "t": None}, "bad_message", None),
]
JSON_FAULTS = [
    ("empty", ""),
    ("not JSON", "hello"),
    ("cut off", '{"type":"like","n":'),
    ("two values", '{"type":"like","n":1}{"type":"like","n":1}'),
    ("single quotes", "{'type':'like','n':1}"),
    ("NaN", '{"type":"ping","t":NaN}'),
    ("integer over 64 bits", '{"type":"ping","t":99999999999999999999}'),
    ("number out of range", '{"type":"ping","t":1e999}'),
    ("half of a surrogate pair", '{"type":"comment","id":1,"text":"\\ud83d"}'),
    ("nested too deep", "[" * 2000),
]
MSGPACK_FAULTS = [
    ("empty", ""),
    ("reserved byte", "c1"),
    ("cut off", "82a474797065a46c696b65a16e"),
    ("bytes left over", "82a474797065a46c696b65a16e0101"),
    ("map as a key", "8180c0"),
    ("string that is not UTF-8", "82a474797065a46c696b65a16ea1ff"),
    ("JSON text", b'{"type":"like","n":1}'.hex()),
    ("binary in place of a string", "83a474797065a7636f6d6d656e74a2696401a474657874c40178"),
]


def _errors() -> list[Vector]:
    vectors = []
    for name, value, code, id in FAULTS:
        for encoding, data in (
            ("json", msgspec.json.encode(value).decode()),
            ("msgpack", msgspec.msgpack.encode(value).hex()),
        ):
            vectors.append({"name": name, "encoding": encoding, "data": data, "code": code, "id": id})
    for encoding, faults in (("json", JSON_FAULTS), ("msgpack", MSGPACK_FAULTS)):
        for name, data in faults:
            id = 1 if name == "binary in place of a string" else None
            vectors.append(
                {"name": name, "encoding": encoding, "data": data, "code": "bad_message", "id": id}
            )
    return vectors


# --- frames -------------------------------------------------------------------------------------------


def _frame(name: str, opcode: int, payload: bytes, *, times: int = 1, body: bytes | None = None) -> Vector:
    whole = payload * times
    compressed = body is not None
    carried = whole if body is None else body
    built = frames.frame(opcode, carried, compressed=compressed)
    return {
        "name": name,
        "opcode": opcode,
        "compressed": compressed,
        "payload": payload.hex(),
        "times": times,
        "head": built[: len(built) - len(carried)].hex(),
        "body": carried.hex() if times == 1 else None,
    }


def _frames() -> list[Vector]:
    pong = codec.encode(Pong(t=NOW - 12, now=NOW), Encoding.JSON)
    packed = codec.encode(Pong(t=NOW - 12, now=NOW), Encoding.MSGPACK)
    batch = codec.join_batch(
        Encoding.JSON, NOW, 49_018, _encoded_events([COMMENT] * 16, Encoding.JSON), None, 0
    )
    own, shared = _welcome_parts(WELCOMES[0][1], Encoding.JSON)
    # A close frame's payload is given with its code; what is cut is the middle of a character.
    closes = [
        ("close, room closed", 4100, "the room is closed"),
        ("close, reason cut to 123 bytes", 1012, "é" * 100),
    ]
    return [
        _frame("empty text", frames.TEXT, b""),
        _frame("small text", frames.TEXT, pong),
        _frame("small binary", frames.BINARY, packed),
        _frame("125 bytes", frames.TEXT, b"a", times=125),
        _frame("126 bytes", frames.TEXT, b"a", times=126),
        _frame("65535 bytes", frames.TEXT, b"a", times=65_535),
        _frame("65536 bytes", frames.BINARY, b"a", times=65_536),
        _frame("ping", frames.PING, b""),
        *(_frame(name, frames.CLOSE, frames.close_frame(code, reason)[2:]) for name, code, reason in closes),
        _frame("deflated", frames.TEXT, batch, body=frames.deflate(batch)),
        _frame(
            "welcome, deflated, joined from an own and a shared part",
            frames.TEXT,
            own + shared,
            body=frames.deflate_joined(own, frames.deflate(shared)),
        ),
    ]


# --- the file -----------------------------------------------------------------------------------------


def make() -> dict[str, list[Vector]]:
    """Return all vectors."""
    return {
        "messages": [
            *(_struct_vector(name, "to_server", command) for name, command in COMMANDS),
            *_welcomes(),
            *_batches(),
            *(_struct_vector(name, "to_viewer", message) for name, message in REPLIES),
        ],
        "events": [_struct_vector(name, "to_viewer", event) for name, event in EVENTS],
        "tolerated": _tolerated(),
        "errors": _errors(),
        "frames": _frames(),
    }


def write() -> str:
    """Return the text of ``vectors.json``: one vector a line, so that a change shows as one."""
    lists = []
    for key, vectors in make().items():
        lines = ",\n".join("  " + json.dumps(vector, ensure_ascii=False) for vector in vectors)
        lists.append(f' "{key}": [\n{lines}\n ]')
    return "{\n" + ",\n".join(lists) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(write(), encoding="utf-8")
