"""The codec against decoders that share no code with it, and against whatever a peer may send."""

from __future__ import annotations

import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveroom.protocol import codec
from liveroom.protocol.codec import BadMessage, Encoding
from liveroom.protocol.commands import COMMAND_TYPES, Claim, Comment
from liveroom.protocol.messages import Welcome
from liveroom.protocol.names import MAX_COMMAND_ID_CHARS, MAX_SAFE_INTEGER

int64 = st.integers(-(2**63), 2**63 - 1)
offsets = st.integers(0, 2**53)
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | int64 | finite | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
events = st.fixed_dictionaries(
    {"type": st.just("custom"), "name": st.text(max_size=20), "data": values}
) | st.fixed_dictionaries({"type": st.just("comment"), "text": st.text(max_size=40), "at": offsets})
ids = st.text(max_size=MAX_COMMAND_ID_CHARS) | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
FIELDS = ("id", "text", "n", "sale", "quantity", "order", "t", "offset", "lag_ms")


def decoded(data: bytes, encoding: Encoding) -> Any:
    """Decode with the ``json`` module or the ``msgpack`` package."""
    return json.loads(data) if encoding is Encoding.JSON else msgpack.unpackb(data, strict_map_key=True)


def encoded(event: Any, encoding: Encoding) -> bytes:
    """Encode an event the way the log does: JSON first, MessagePack from that."""
    as_json = msgspec.json.encode(event)
    return as_json if encoding is Encoding.JSON else codec.transcode(as_json)


# --- what the server writes ---------------------------------------------------------------------------


@given(
    now=offsets,
    offset=offsets,
    events=st.lists(events, max_size=20),
    state=st.none() | st.dictionaries(st.sampled_from(["likes", "viewers"]), offsets),
    skipped=st.integers(0, 2**32),
)
def test_join_batch(
    now: int, offset: int, events: list[Any], state: dict[str, int] | None, skipped: int
) -> None:
    """A batch joined from any events decodes to the same value in both encodings."""
    expected: dict[str, Any] = {"type": "batch", "now": now, "offset": offset, "events": events}
    if state is not None:
        expected["state"] = state
    if skipped:
        expected["skipped"] = {"comments": skipped}
    for encoding in Encoding:
        joined = codec.join_batch(
            encoding,
            now,
            offset,
            [encoded(event, encoding) for event in events],
            None if state is None else codec.encode_value(state, encoding),
            skipped,
        )
        assert decoded(joined, encoding) == expected


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537])
def test_array_header_edges(encoding: Encoding, length: int) -> None:
    """A batch is well-formed at every border between the array formats of MessagePack."""
    joined = codec.join_batch(encoding, 1, length, [encoded(7, encoding)] * length, None, 0)
    assert decoded(joined, encoding)["events"] == [7] * length


@given(user=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), offset=offsets, resumed=st.booleans())
def test_join_welcome(user: str, offset: int, resumed: bool) -> None:
    """A welcome joined from its two parts has the fields of its struct, alike in both encodings."""
    shared = dict.fromkeys(("room", "epoch", "heartbeat_ms", "state", "sales", "pinned", "recent", "limits"))
    whole = {}
    for encoding in Encoding:
        head = codec.welcome_head(encoding, user, offset, 5, resumed, codec.EMPTY_ARRAY[encoding])
        fields = [(key, codec.encode_value(value, encoding)) for key, value in shared.items()]
        whole[encoding] = decoded(head + codec.welcome_tail(encoding, fields), encoding)
    assert whole[Encoding.JSON] == whole[Encoding.MSGPACK]
    assert whole[Encoding.JSON] == shared | {
        "type": "welcome",
        "user": user,
        "offset": offset,
        "now": 5,
        "resumed": resumed,
        "orders": [],
    }
    assert whole[Encoding.JSON].keys() == {"type", *Welcome.__struct_fields__}


@given(values)
def test_transcode(value: Any) -> None:
    """Transcoded JSON is the same value in MessagePack."""
    assert decoded(codec.transcode(msgspec.json.encode(value)), Encoding.MSGPACK) == value


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_transcode_refuses_what_does_not_fit(number: int) -> None:
    """An integer over 64 bits is refused, so that an event never differs between the encodings."""
    with pytest.raises(OverflowError):
        codec.transcode(str(number).encode())


# --- what a peer may send -----------------------------------------------------------------------------


def outcome(data: bytes | str, encoding: Encoding) -> BadMessage | None:
    """Decode; anything but a command or ``BadMessage`` escapes and fails the test."""
    try:
        codec.decode_command(data, encoding)
    except BadMessage as bad:
        return bad
    return None


@given(data=st.binary(max_size=200), encoding=st.sampled_from(Encoding))
@settings(max_examples=300)
def test_any_bytes(data: bytes, encoding: Encoding) -> None:
    """Whatever bytes come, the only exception is ``BadMessage``."""
    outcome(data, encoding)


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text(text: str) -> None:
    """Whatever text comes, half a surrogate pair too, the only exception is ``BadMessage``."""
    outcome(text, Encoding.JSON)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(COMMAND_TYPES) | values},
        optional=dict.fromkeys(FIELDS, values),
    ),
    st.sampled_from(Encoding),
    st.data(),
)
@settings(max_examples=300)
def test_nearly_commands(value: Any, encoding: Encoding, data: st.DataObject) -> None:
    """Nearly right maps, whole, cut short or with a byte changed, raise nothing but ``BadMessage``."""
    sent = codec.encode_value(value, encoding)
    outcome(sent, encoding)
    at = data.draw(st.integers(0, len(sent) - 1))
    outcome(sent[:at], encoding)
    outcome(sent[:at] + data.draw(st.binary(min_size=1, max_size=2)) + sent[at + 1 :], encoding)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b'{"type":"comment","id":"\xff","text":"x"}', Encoding.JSON),  # not UTF-8 inside a string
        ('{"type":"comment","id":"\ud83d","text":"x"}', Encoding.JSON),  # half a surrogate pair
        (b'{"type":"ping","t":' + b"9" * 400 + b"}", Encoding.JSON),  # cannot become a float
        (b'{"type":"seen","offset":1,"lag_ms":' + b"9" * 400 + b"}", Encoding.JSON),
        (b'{"type":"comment","id":' + b"9" * 5000 + b',"text":"x"}', Encoding.JSON),  # Python refuses str()
        (b"[" * 100_000, Encoding.JSON),
        (b"\x91" * 100_000, Encoding.MSGPACK),
        (b"\x81\x80\xc0", Encoding.MSGPACK),  # a map as a key
        (b"\xd7\xff" + b"\xff" * 8, Encoding.MSGPACK),  # a timestamp out of range
        (b"\xdd\xff\xff\xff\xff", Encoding.MSGPACK),  # an array that claims four billion items
    ],
)
def test_known_traps(data: bytes | str, encoding: Encoding) -> None:
    """Inputs that once raised something else, or could, are a ``bad_message``."""
    bad = outcome(data, encoding)
    assert bad is not None
    assert bad.code == "bad_message"


@given(id=ids, extra=st.dictionaries(st.text("xyz", min_size=1, max_size=6), values, max_size=3))
def test_unknown_fields_are_ignored(id: str | int, extra: dict[str, Any]) -> None:
    """Fields the server does not know change nothing, whatever they hold."""
    value = extra | {"type": "claim", "id": id, "sale": "sale-1", "quantity": 1}
    for encoding in Encoding:
        assert codec.decode_command(codec.encode_value(value, encoding), encoding) == Claim(id, "sale-1", 1)


@given(kind=st.text(max_size=100).filter(lambda kind: kind not in COMMAND_TYPES), id=ids)
def test_unknown_type(kind: str, id: str | int) -> None:
    """A command the server does not know is answered ``unknown_type`` with its id."""
    for encoding in Encoding:
        bad = outcome(codec.encode_value({"type": kind, "id": id}, encoding), encoding)
        assert bad is not None
        assert (bad.code, bad.id) == ("unknown_type", id)
        assert len(bad.message) < 500  # what is echoed of it stays short


@pytest.mark.parametrize("encoding", list(Encoding))
def test_id_limits(encoding: Encoding) -> None:
    """Ids up to the limits are taken; beyond them they are refused and not echoed."""
    for id in (
        "",
        "x" * MAX_COMMAND_ID_CHARS,
        "界" * MAX_COMMAND_ID_CHARS,
        MAX_SAFE_INTEGER,
        -MAX_SAFE_INTEGER,
    ):
        sent = codec.encode_value({"type": "comment", "id": id, "text": "x"}, encoding)
        assert codec.decode_command(sent, encoding) == Comment(id, "x")
    for bad_id in (
        "x" * (MAX_COMMAND_ID_CHARS + 1),
        MAX_SAFE_INTEGER + 1,
        -MAX_SAFE_INTEGER - 1,
        True,
        1.5,
        None,
    ):
        bad = outcome(codec.encode_value({"type": "comment", "id": bad_id, "text": "x"}, encoding), encoding)
        assert bad is not None
        assert (bad.code, bad.id) == ("bad_message", None)
