"""The golden vectors, read by the server's codec and by decoders that share no code with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest

from liveroom.protocol import codec, make_vectors
from liveroom.protocol.codec import BadMessage, Encoding
from liveroom.protocol.commands import COMMAND_TYPES
from liveroom.protocol.errors import ERRORS
from liveroom.protocol.events import EVENT_TYPES, Event
from liveroom.protocol.messages import MESSAGE_TYPES, Message

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))
NODE = shutil.which("node")
NODE_SCRIPT = Path(__file__).parents[1] / "js" / "vectors.test.mjs"


def cases(*lists: str, direction: str | None = None) -> list[Any]:
    """Return the vectors of some lists as parameters named after them."""
    return [
        pytest.param(vector, id=" ".join((f"{key}/{vector['name']}", vector.get("encoding", ""))).strip())
        for key in lists
        for vector in VECTORS[key]
        if direction in (None, vector.get("direction"))
    ]


def inflated(vector: dict[str, Any]) -> dict[str, Any]:
    """Return a frame vector with a compressed body inflated: how it is compressed is zlib's own affair."""
    if not vector["compressed"]:
        return vector
    body = zlib.decompressobj(-15).decompress(bytes.fromhex(vector["body"]) + b"\x00\x00\xff\xff")
    return vector | {"head": vector["head"][:2], "body": body.hex()}


def test_file_is_what_the_generator_writes() -> None:
    """The file holds what ``make_vectors`` writes now, to the byte where zlib has no say."""
    made = make_vectors.make()
    assert list(VECTORS) == list(made)
    for key in made.keys() - {"frames"}:
        assert VECTORS[key] == made[key], f"run python -m liveroom.protocol.make_vectors ({key})"
    assert list(map(inflated, VECTORS["frames"])) == list(map(inflated, made["frames"]))
    if made["frames"] == VECTORS["frames"]:
        assert make_vectors.PATH.read_text(encoding="utf-8") == make_vectors.write()


def test_names_are_unique() -> None:
    """A vector can be named by its list and its name (and encoding), so that documents can refer to it."""
    for key, vectors in VECTORS.items():
        names = [(vector["name"], vector.get("encoding")) for vector in vectors]
        assert len(names) == len(set(names)), key


def test_every_type_has_a_vector() -> None:
    """Every command, message and event type stands in the vectors."""
    by_direction: dict[str, set[str]] = {"to_server": set(), "to_viewer": set()}
    for vector in VECTORS["messages"]:
        by_direction[vector["direction"]].add(vector["type"])
    assert by_direction["to_server"] == set(COMMAND_TYPES)
    assert by_direction["to_viewer"] == set(MESSAGE_TYPES)
    assert {vector["type"] for vector in VECTORS["events"]} == set(EVENT_TYPES)


def test_one_batch_has_every_event() -> None:
    """One batch carries all event types, so that a client meets them in their place."""
    (batch,) = [v for v in VECTORS["messages"] if v["name"] == "batch, all event types"]
    assert {event["type"] for event in batch["value"]["events"]} == set(EVENT_TYPES)


@pytest.mark.parametrize("vector", cases("messages", "events"))
def test_independent_decoders_agree(vector: dict[str, Any]) -> None:
    """The ``json`` module and the ``msgpack`` package read the same value from the two encodings."""
    assert json.loads(vector["json"]) == vector["value"]
    assert msgpack.unpackb(bytes.fromhex(vector["msgpack"]), strict_map_key=True) == vector["value"]


@pytest.mark.parametrize("vector", cases("messages", "events"))
def test_fields_come_in_one_order(vector: dict[str, Any]) -> None:
    """``type`` is the first field, and both encodings write the fields in the same order."""
    fields = list(vector["value"])
    assert fields[0] == "type"
    assert list(msgpack.unpackb(bytes.fromhex(vector["msgpack"]))) == fields


@pytest.mark.parametrize("vector", cases("messages", direction="to_server"))
def test_server_decodes_commands(vector: dict[str, Any]) -> None:
    """The server reads a command alike from both encodings, and writing it again gives the same bytes."""
    from_json = codec.decode_command(vector["json"], Encoding.JSON)
    assert from_json == codec.decode_command(vector["json"].encode(), Encoding.JSON)
    assert from_json == codec.decode_command(bytes.fromhex(vector["msgpack"]), Encoding.MSGPACK)
    assert msgspec.to_builtins(from_json) == vector["value"]
    assert codec.encode(from_json, Encoding.JSON).decode() == vector["json"]
    assert codec.encode(from_json, Encoding.MSGPACK).hex() == vector["msgpack"]


@pytest.mark.parametrize("vector", cases("messages", direction="to_viewer"))
def test_messages_fit_their_structs(vector: dict[str, Any]) -> None:
    """What the server writes, joined or whole, decodes to the struct that is its schema, without a rest."""
    from_json = msgspec.json.decode(vector["json"], type=Message)
    assert msgspec.msgpack.decode(bytes.fromhex(vector["msgpack"]), type=Message) == from_json
    assert msgspec.to_builtins(from_json) == vector["value"]


@pytest.mark.parametrize("vector", cases("events"))
def test_events_fit_their_structs(vector: dict[str, Any]) -> None:
    """An event decodes to its struct, and its MessagePack form is what is transcoded from its JSON."""
    event: Event = msgspec.json.decode(vector["json"], type=Event)
    assert msgspec.to_builtins(event) == vector["value"]
    assert codec.transcode(vector["json"].encode()).hex() == vector["msgpack"]


@pytest.mark.parametrize("vector", cases("tolerated", direction="to_server"))
def test_server_tolerates(vector: dict[str, Any]) -> None:
    """The server passes over fields it does not know."""
    for data, encoding in (
        (vector["json"], Encoding.JSON),
        (bytes.fromhex(vector["msgpack"]), Encoding.MSGPACK),
    ):
        assert msgspec.to_builtins(codec.decode_command(data, encoding)) == vector["value"]


@pytest.mark.parametrize("vector", cases("errors"))
def test_server_answers_faults(vector: dict[str, Any]) -> None:
    """What is no command is answered with the declared code, and with the sender's id where it had one."""
    as_json = vector["encoding"] == "json"
    data = vector["data"] if as_json else bytes.fromhex(vector["data"])
    with pytest.raises(BadMessage) as caught:
        codec.decode_command(data, Encoding.JSON if as_json else Encoding.MSGPACK)
    assert caught.value.code == vector["code"]
    assert caught.value.id == vector["id"]
    assert vector["code"] in ERRORS
    assert caught.value.message


@pytest.mark.parametrize("vector", cases("frames"))
def test_frames_hold_their_payload(vector: dict[str, Any]) -> None:
    """A frame vector's head and body are of one frame, whose payload is the one given."""
    payload = bytes.fromhex(vector["payload"]) * vector["times"]
    if vector["body"] is None:
        assert not vector["compressed"]
    else:
        assert bytes.fromhex(inflated(vector)["body"]) == payload
    head = bytes.fromhex(vector["head"])
    size = len(payload) if vector["body"] is None else len(vector["body"]) // 2
    assert head[0] == 0x80 | vector["opcode"] | (0x40 if vector["compressed"] else 0)
    length = {126: head[2:4], 127: head[2:10]}.get(head[1], head[1:2])
    assert int.from_bytes(length) == size


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_vectors_in_javascript() -> None:
    """A decoder written in JavaScript for this alone reads every vector as Python does."""
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "--test", NODE_SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
