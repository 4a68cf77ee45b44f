"""The two encodings of protocol v1, and how the server writes them by joining bytes.

Knows JSON and MessagePack. Never knows who sends or receives. Rules:

- An event is made once, as JSON; its MessagePack form is transcoded from those bytes at most once.
- ``batch`` and ``welcome`` are joined from parts that are already encoded, so that their cost does not
  grow with the number of viewers. The structs in ``messages`` are what the joined bytes decode to.
- What cannot be decoded raises ``BadMessage`` with the code the sender is answered with.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from liveroom.protocol.commands import COMMAND_TYPES, Command, CommandId
from liveroom.protocol.names import (
    JSON_SUBPROTOCOL,
    MAX_COMMAND_ID_CHARS,
    MAX_SAFE_INTEGER,
    MSGPACK_SUBPROTOCOL,
)


class Encoding(enum.IntEnum):
    """How messages are written on one connection."""

    JSON = 0
    MSGPACK = 1


SUBPROTOCOLS = {JSON_SUBPROTOCOL: Encoding.JSON, MSGPACK_SUBPROTOCOL: Encoding.MSGPACK}


class BadMessage(Exception):
    """A message that is no command. ``code`` stands in ``errors.ERRORS``; ``id`` is the sender's, if it had one."""

    def __init__(self, code: str, message: str, id: CommandId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


_json_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_msgpack_command: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_json_any = msgspec.json.Decoder()
_msgpack_any = msgspec.msgpack.Decoder()
_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()
# Text that is not UTF-8 raises UnicodeError, a map as a key ValueError, and neither is a DecodeError.
_UNDECODABLE = (msgspec.DecodeError, RecursionError, ValueError)


def decode_command(data: bytes | str, encoding: Encoding) -> Command:
    """Decode one message of a viewer.

    :param data: text of a JSON message, or bytes of a MessagePack one.
    :raises BadMessage: ``bad_message`` or ``unknown_type``; answer the sender with it and go on.
    """
    try:
        if encoding is Encoding.JSON:
            return _json_command.decode(data)
        return _msgpack_command.decode(data)  # type: ignore[arg-type]
    except _UNDECODABLE as fault:
        raise _explain(data, encoding, fault) from None


def _explain(data: bytes | str, encoding: Encoding, fault: Exception) -> BadMessage:
    """Find what is wrong with a message; slow, and paid only by who sends such."""
    name = "JSON" if encoding is Encoding.JSON else "MessagePack"
    try:
        value: Any = _json_any.decode(data) if encoding is Encoding.JSON else _msgpack_any.decode(data)  # type: ignore[arg-type]
    except _UNDECODABLE as broken:
        return BadMessage("bad_message", f"not {name}: {broken}")
    if not isinstance(value, dict):
        return BadMessage("bad_message", f"a message is one {name} map with a 'type'")
    raw_id = value.get("id")
    id = raw_id if _is_command_id(raw_id) else None
    kind = value.get("type")
    if not isinstance(kind, str):
        return BadMessage("bad_message", "the field 'type' is missing or not a string", id)
    if kind not in COMMAND_TYPES:
        return BadMessage(
            "unknown_type", f"no command {kind[:64]!r}; there are {', '.join(COMMAND_TYPES)}", id
        )
    return BadMessage("bad_message", f"{kind}: {fault}", id)


def _is_command_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_COMMAND_ID_CHARS
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER


def encode(message: msgspec.Struct, encoding: Encoding) -> bytes:
    """Encode one message struct whole (acks, errors, orders: what goes to one viewer)."""
    return _json_encoder.encode(message) if encoding is Encoding.JSON else _msgpack_encoder.encode(message)


def encode_value(value: Any, encoding: Encoding) -> bytes:
    """Encode any value, as a part for ``join_welcome``."""
    return _json_encoder.encode(value) if encoding is Encoding.JSON else _msgpack_encoder.encode(value)


def transcode(json: bytes) -> bytes:
    """Turn JSON bytes into the same value as MessagePack.

    :raises msgspec.DecodeError: not JSON.
    :raises OverflowError: an integer that MessagePack cannot hold (64 bits).
    """
    return _msgpack_encoder.encode(_json_any.decode(json))


# --- messages joined from encoded parts ---------------------------------------------------------------


def join_batch(
    encoding: Encoding, now: int, offset: int, events: list[bytes], state: bytes | None, skipped: int
) -> bytes:
    """Join a ``batch`` message.

    :param now: server time, ms since the Unix epoch.
    :param offset: the log offset after this batch.
    :param events: events, each already in ``encoding``.
    :param state: the encoded map of changed state, or None.
    :param skipped: comments left out.
    """
    if encoding is Encoding.JSON:
        parts = b'{"type":"batch","now":%d,"offset":%d,"events":[%b]' % (now, offset, b",".join(events))
        if state is not None:
            parts += b',"state":' + state
        if skipped:
            parts += b',"skipped":{"comments":%d}' % skipped
        return parts + b"}"
    fields = 4 + (state is not None) + (skipped > 0)
    parts = (
        (0x80 | fields).to_bytes(1)
        + _BATCH_NOW
        + _msgpack_encoder.encode(now)
        + _OFFSET
        + _msgpack_encoder.encode(offset)
        + _EVENTS
        + _array_header(len(events))
        + b"".join(events)
    )
    if state is not None:
        parts += _STATE + state
    if skipped:
        parts += _SKIPPED + _msgpack_encoder.encode({"comments": skipped})
    return parts


def join_map(encoding: Encoding, fields: list[tuple[str, bytes]]) -> bytes:
    """Write the fields of a map, without what opens and closes it; see ``join_welcome``."""
    if encoding is Encoding.JSON:
        return b",".join(b'"%b":%b' % (key.encode(), value) for key, value in fields)
    return b"".join(_msgpack_encoder.encode(key) + value for key, value in fields)


# The fields of ``welcome`` that differ from viewer to viewer come first, so that the rest is one shared
# run of bytes (and one shared run of compressed bytes) for everyone who joins at the same offset.
WELCOME_OWN_FIELDS = 6  # type, user, offset, now, resumed, orders
WELCOME_SHARED_FIELDS = 8  # room, epoch, heartbeat_ms, state, sales, pinned, recent, limits


def welcome_head(encoding: Encoding, user: str, offset: int, now: int, resumed: bool, orders: bytes) -> bytes:
    """Write the part of ``welcome`` that is one viewer's own. ``orders`` is an encoded array."""
    if encoding is Encoding.JSON:
        return b'{"type":"welcome","user":"%b","offset":%d,"now":%d,"resumed":%b,"orders":%b,' % (
            user.encode(),
            offset,
            now,
            b"true" if resumed else b"false",
            orders,
        )
    encode = _msgpack_encoder.encode
    return b"".join(
        (
            (0x80 | (WELCOME_OWN_FIELDS + WELCOME_SHARED_FIELDS)).to_bytes(1),
            _WELCOME_USER,
            encode(user),
            _OFFSET,
            encode(offset),
            _NOW,
            encode(now),
            _RESUMED,
            encode(resumed),
            _ORDERS,
            orders,
        )
    )


def welcome_tail(encoding: Encoding, fields: list[tuple[str, bytes]]) -> bytes:
    """Write the part of ``welcome`` that all viewers share, from encoded values."""
    assert len(fields) == WELCOME_SHARED_FIELDS
    joined = join_map(encoding, fields)
    return joined + b"}" if encoding is Encoding.JSON else joined


def _array_header(length: int) -> bytes:
    """MessagePack array header (specification: array format family)."""
    if length < 16:
        return (0x90 | length).to_bytes(1)
    if length < 65536:
        return b"\xdc" + length.to_bytes(2)
    return b"\xdd" + length.to_bytes(4)


_key = _msgpack_encoder.encode
_BATCH_NOW = _key("type") + _key("batch") + _key("now")
_WELCOME_USER = _key("type") + _key("welcome") + _key("user")
_OFFSET, _NOW, _EVENTS, _STATE, _SKIPPED = map(_key, ("offset", "now", "events", "state", "skipped"))
_RESUMED, _ORDERS = _key("resumed"), _key("orders")
EMPTY_ARRAY = {Encoding.JSON: b"[]", Encoding.MSGPACK: b"\x90"}
