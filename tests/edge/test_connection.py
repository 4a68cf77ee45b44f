"""A viewer's connection against a fake transport: what it costs is bounded, and its end is in order."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from liveroom.server.edge.connection import MAX_UNREAD_REPLIES
from liveroom.server.edge.edge import CLOSE_DEADLINE_S, SWEEP_S
from liveroom.server.room.log import Lane
from tests.edge.fakes import EDGE, FakeTransport, a_place, numbers, pass_time, settled
from tests.edge.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, masked, squeezed, text
from tests.virtual_time import on_virtual_time

HEARTBEAT_S = EDGE.heartbeat_ms / 1000
STALL_S = EDGE.stall_ms / 1000
PACKED = {"Sec_WebSocket_Protocol": "liveroom.v1.msgpack"}
CLOCK = text({"type": "ping", "t": 5})


def close_of(transport: FakeTransport) -> tuple[int, bytes]:
    """Return the code and the reason of the close frame that is the last of what was written."""
    *_, (opcode, payload) = transport.take()
    assert opcode == CLOSE
    return int.from_bytes(payload[:2]), payload[2:]


# --- messages -----------------------------------------------------------------------------------------


@on_virtual_time
async def test_welcome_comes_first() -> None:
    """The first message is the welcome, in the encoding that was chosen."""
    async with a_place() as place:
        plain, packed = await place.join("ana"), await place.join("ben", **PACKED)
        ((opcode, payload),) = plain.take()
        assert (opcode, json.loads(payload)["user"]) == (TEXT, "ana")
        ((opcode, payload),) = packed.take()
        assert (opcode, msgpack.unpackb(payload)["user"]) == (BINARY, "ben")


@on_virtual_time
async def test_commands_are_answered_in_their_encoding() -> None:
    """A command is answered in a frame of the connection's kind."""
    async with a_place() as place:
        plain, packed = await place.join("ana"), await place.join("ben", **PACKED)
        plain.receive(text({"type": "comment", "id": 1, "text": " "}))
        packed.receive(masked(BINARY, msgpack.packb({"type": "comment", "id": 1, "text": " "})))
        _, (opcode, payload) = plain.take()
        assert (opcode, json.loads(payload)["code"]) == (TEXT, "empty")
        _, (opcode, payload) = packed.take()
        assert (opcode, msgpack.unpackb(payload)["code"]) == (BINARY, "empty")


@on_virtual_time
async def test_compressed_command() -> None:
    """A compressed command is read where compression was agreed on."""
    async with a_place() as place:
        viewer = await place.join(Sec_WebSocket_Extensions="permessage-deflate")
        viewer.take()
        viewer.receive(masked(TEXT, squeezed(b'{"type":"ping","t":7}'), bits=0x40))
        assert [message["t"] for message in viewer.messages()] == [7]


@pytest.mark.parametrize(("chosen", "frame"), [(PACKED, CLOCK), ({}, masked(BINARY, b"\x80"))])
@on_virtual_time
async def test_frame_of_the_other_kind(chosen: dict[str, str], frame: bytes) -> None:
    """Text on a MessagePack connection, or binary on a JSON one, closes it with 1003; others go on."""
    async with a_place() as place:
        viewer, other = await place.join(**chosen), await place.join("ben")
        viewer.receive(frame)
        assert close_of(viewer)[0] == 1003
        await place.publish(1)
        assert viewer.take() == []
        assert numbers(other.messages()) == [1]


@on_virtual_time
async def test_bad_message_is_answered() -> None:
    """What is no command is answered with an error, and the connection goes on."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.receive(masked(TEXT, b"{") + text({"type": "gift", "id": "g"}) + CLOCK)
        _, bad, unknown, pong = viewer.messages()
        assert (bad["code"], unknown["code"], unknown["id"]) == ("bad_message", "unknown_type", "g")
        assert pong["type"] == "pong"


@on_virtual_time
async def test_fault_of_ours_closes_that_one(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the server while it carries out a command is logged, and closes that connection with 1011."""
    async with a_place() as place:
        viewer, other = await place.join(), await place.join("ben")

        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        place.edge.dispatch = fail  # type: ignore[assignment]
        viewer.receive(CLOCK)
        assert close_of(viewer)[0] == 1011
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        await place.publish(1)
        assert numbers(other.messages()) == [1]


# --- control frames and the close handshake -----------------------------------------------------------


@on_virtual_time
async def test_ping_is_answered() -> None:
    """A ping is answered with its payload, also in the middle of a message."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.take()
        payload = bytes(range(125))
        viewer.receive(masked(TEXT, b'{"type":"ping",', fin=False) + masked(PING, payload))
        assert viewer.take() == [(PONG, payload)]
        viewer.receive(masked(CONT, b'"t":1}'))
        assert [message["type"] for message in viewer.messages()] == ["pong"]


@pytest.mark.parametrize(
    "body", [b"", (1000).to_bytes(2), (1001).to_bytes(2) + b"leaving", (4321).to_bytes(2)]
)
@on_virtual_time
async def test_close_is_echoed(body: bytes) -> None:
    """A close is answered with its code, the viewer leaves at once, and the socket is closed."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.take()
        viewer.receive(masked(CLOSE, body) + CLOCK + masked(PING))
        assert viewer.take() == [(CLOSE, body[:2])]
        assert len(place.hub.desks["shop"].room.audience) == 0
        await settled()
        assert viewer.lost
        assert not place.edge.closing
        assert place.edge.closes == {int.from_bytes(body[:2]) if body else 1005: 1}


@on_virtual_time
async def test_malformed_close() -> None:
    """A close that breaks the protocol is answered with the code that says so, and not echoed."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.receive(masked(CLOSE, (1005).to_bytes(2)))
        assert close_of(viewer)[0] == 1002


@on_virtual_time
async def test_close_of_one_who_does_not_read() -> None:
    """One who closes and does not read the answer does not keep its socket for ever."""
    async with a_place() as place:
        viewer = await place.join(full=True)
        viewer.receive(masked(CLOSE))
        await settled()
        assert not viewer.lost
        await pass_time(CLOSE_DEADLINE_S + 2 * SWEEP_S)
        assert viewer.lost
        assert not place.edge.closing


@on_virtual_time
async def test_bye_and_its_answer() -> None:
    """A close by the server says bye first, and ends when the peer answers it."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.take()
        viewer.protocol.bye("restarting", "back soon", 250)
        (opcode, said), (last, payload) = viewer.take()
        assert (opcode, last, payload[:2]) == (TEXT, CLOSE, (1012).to_bytes(2))
        bye = {"type": "bye", "code": "restarting", "message": "back soon", "reconnect_after_ms": 250}
        assert json.loads(said) == bye
        viewer.receive(CLOCK + masked(PING))  # was on its way
        assert viewer.take() == []
        viewer.receive(masked(CLOSE, payload[:2]))
        await settled()
        assert viewer.lost
        assert place.edge.closes == {1012: 1}


@on_virtual_time
async def test_nothing_follows_the_close() -> None:
    """An answer that is ready only after the close frame was sent is let fall (RFC 6455 section 5.5.1)."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.receive(text({"type": "comment", "id": 1, "text": "hello"}))
        viewer.protocol.bye("restarting", "back soon", 250)
        await place.publish(1)
        assert close_of(viewer)[0] == 1012


@on_virtual_time
async def test_unanswered_close() -> None:
    """A peer that does not answer the server's close is cut off after a while."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.protocol.bye("restarting", "back soon", 250)
        await pass_time(CLOSE_DEADLINE_S - SWEEP_S)
        assert not viewer.lost
        await pass_time(3 * SWEEP_S)
        assert viewer.lost


@on_virtual_time
async def test_rest_after_a_breach() -> None:
    """What is still coming after a breach is thrown away: a reset would take the close code from the peer."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.receive(masked(BINARY, b"\x00" * 300_000))
        assert close_of(viewer)[0] == 1009
        assert viewer.ended, "the peer must see the end even if it never answers"
        viewer.receive(masked(CLOSE) + CLOCK)  # of the payload, for all one knows
        viewer.receive(b"\x00" * 300_000)
        assert not viewer.closing
        assert viewer.take() == []
        await pass_time(CLOSE_DEADLINE_S + 2 * SWEEP_S)
        assert viewer.lost
        assert place.edge.closes == {1009: 1}


# --- what one viewer may cost -------------------------------------------------------------------------


@on_virtual_time
async def test_message_rate() -> None:
    """Beyond the burst a message is refused with the time after which the next one is taken."""
    async with a_place() as place:
        viewer = await place.join()
        viewer.take()
        viewer.receive(CLOCK * (EDGE.messages_burst + 1))
        *pongs, refusal = viewer.messages()
        assert [pong["type"] for pong in pongs] == ["pong"] * EDGE.messages_burst
        assert (refusal["type"], refusal["code"]) == ("error", "rate_limited")
        await pass_time(refusal["retry_after_ms"] / 1000)
        viewer.receive(CLOCK * 2)
        assert [message["type"] for message in viewer.messages()] == ["pong", "error"]


@pytest.mark.parametrize("frame", [CLOCK, masked(PING, b"p")], ids=["messages", "pings"])
@on_virtual_time
async def test_flood(frame: bytes) -> None:
    """Who goes on beyond the rate is told bye and closed with 4101; others notice nothing."""
    async with a_place() as place:
        viewer, other = await place.join(), await place.join("ben")
        other.take()
        viewer.receive(frame * 1000)
        *_, (_, said), (opcode, payload) = viewer.take()
        assert (opcode, payload[:2]) == (CLOSE, (4101).to_bytes(2))
        bye = json.loads(said)
        assert (bye["type"], bye["code"], bye["reconnect_after_ms"]) == ("bye", "flooding", None)
        await place.publish(1)
        assert numbers(other.messages()) == [1]
        assert place.edge.closes == {4101: 1}


@on_virtual_time
async def test_one_burst_over_the_rate_is_forgiven() -> None:
    """Who is refused for a while and then keeps to the rate stays, over and over."""
    async with a_place() as place:
        viewer = await place.join()
        for _ in range(5):
            viewer.receive(CLOCK * 50)
            for _ in range(400):
                await pass_time(0.1)
                viewer.receive(CLOCK)
        assert not place.edge.closes
        assert not viewer.closing


@on_virtual_time
async def test_full_socket_keeps_its_place() -> None:
    """A viewer whose socket is full is written nothing more, and once it drains has every event once."""
    async with a_place() as place:
        slow, other = await place.join(), await place.join("ben")
        slow.full = True
        for n in range(1, 6):
            await place.publish(n)
        held = slow.buffered
        assert numbers(slow.messages()) == [1]
        await place.publish(*range(6, 400))
        assert slow.buffered == held
        slow.drain()
        await place.publish(400)
        received = slow.messages()
        assert numbers(received) == list(range(2, 401))
        assert [message["offset"] for message in received][-1] == 400
        assert numbers(other.messages()) == list(range(1, 401))


@on_virtual_time
async def test_full_again_while_catching_up() -> None:
    """A socket that fills up again in the middle of catching up goes on from there."""
    async with a_place() as place:
        slow = await place.join(full=True)
        await place.publish(*range(1, 1001))
        received = numbers(slow.messages())
        for _ in range(10):
            slow.drain()
            slow.full = True
            slow.protocol.resume_writing()
            received += numbers(slow.messages())
        slow.drain()
        await place.publish(1001)
        received += numbers(slow.messages())
        assert received == list(range(1, 1002))


@on_virtual_time
async def test_lagging_viewer_skips_comments_only() -> None:
    """Of what a full socket missed, old comments are counted as skipped and every fact is there."""
    async with a_place() as place:
        slow = await place.join(full=True)
        for n in range(60):
            await place.publish(n)
            await place.publish(*[-1] * 5, lane=Lane.CHATTER)
        slow.drain()
        received = slow.messages()
        assert [n for n in numbers(received) if n >= 0] == list(range(60))
        skipped = sum(message.get("skipped", {}).get("comments", 0) for message in received)
        assert skipped == 300 - numbers(received).count(-1) > 0


@on_virtual_time
async def test_broken_socket_drops_only_that_viewer() -> None:
    """A write that raises ends its connection; the pass goes on to all others."""
    async with a_place() as place:
        viewers = [await place.join(f"v{n}") for n in range(5)]
        viewers[2].broken = True
        await place.publish(1)
        await place.publish(2)
        assert [numbers(viewer.messages()) for viewer in viewers] == [[1, 2], [1, 2], [], [1, 2], [1, 2]]
        assert [viewer.lost for viewer in viewers] == [False, False, True, False, False]
        assert len(place.edge.connections) == len(place.hub.desks["shop"].room.audience) == 4


@pytest.mark.parametrize(
    "frame",
    [text({"type": "x" * 64, "id": "i" * 64}), masked(PING, b"p" * 125)],
    ids=["commands", "pings"],
)
@on_virtual_time
async def test_replies_nobody_reads(frame: bytes) -> None:
    """One who asks and never reads is dropped before its unread replies grow beyond their bound."""
    async with a_place(messages_burst=100_000) as place:
        viewer, other = await place.join(full=True), await place.join("ben")
        most = 0
        for _ in range(5000):
            viewer.receive(frame)
            most = max(most, viewer.buffered)
        await settled()
        assert most <= MAX_UNREAD_REPLIES + 1024
        assert viewer.lost
        await place.publish(1)
        assert numbers(other.messages()) == [1]


# --- the sweep ----------------------------------------------------------------------------------------


def pings(transport: FakeTransport) -> int:
    """Count the pings written since the last time."""
    return [opcode for opcode, _ in transport.take()].count(PING)


@pytest.mark.parametrize("viewers", [1, 3, 120])
@on_virtual_time
async def test_pinged_once_a_heartbeat(viewers: int) -> None:
    """Every viewer is pinged once a heartbeat, however many there are."""
    async with a_place() as place:
        transports = [await place.join(f"v{n}") for n in range(viewers)]
        await pass_time(HEARTBEAT_S)
        for _ in range(10):
            for transport in transports:
                transport.receive(masked(PONG))
            await pass_time(HEARTBEAT_S)
        assert {pings(transport) for transport in transports} <= {10, 11, 12}


@on_virtual_time
async def test_silent_for_three_heartbeats() -> None:
    """A peer that says nothing for three heartbeats is closed with 4000, and not before."""
    async with a_place() as place:
        viewer = await place.join()
        await pass_time(3 * HEARTBEAT_S - SWEEP_S)
        assert pings(viewer) == 3
        assert not viewer.protocol.ending
        await pass_time(HEARTBEAT_S)
        assert close_of(viewer)[0] == 4000
        await pass_time(CLOSE_DEADLINE_S + 2 * SWEEP_S)
        assert viewer.lost


@pytest.mark.parametrize(
    "sign", [masked(PONG), CLOCK, masked(TEXT, b"")[:1]], ids=["pong", "command", "a byte"]
)
@on_virtual_time
async def test_heard_viewer_stays(sign: bytes) -> None:
    """Any byte from the peer is a sign of life."""
    async with a_place() as place:
        viewer = await place.join()
        frames = b"".join([masked(TEXT, b"0123456789abcdef")]) if len(sign) == 1 else sign
        for n in range(12):
            await pass_time(2 * HEARTBEAT_S)
            viewer.receive(frames[n : n + 1] if len(sign) == 1 else frames)
        assert not viewer.protocol.ending
        assert not place.edge.closes


@on_virtual_time
async def test_stalled_viewer_is_closed() -> None:
    """A viewer whose socket stays full for too long is cut off; one that drained in time stays."""
    async with a_place() as place:
        stalled, slow = await place.join("ana", full=True), await place.join("ben", full=True)
        await pass_time(STALL_S - 2 * HEARTBEAT_S)
        assert not stalled.closing
        slow.drain()
        for _ in range(4):
            slow.receive(masked(PONG))
            await pass_time(HEARTBEAT_S)
        assert stalled.lost
        assert place.edge.closes == {4001: 1}
        assert not slow.closing


# --- the end ------------------------------------------------------------------------------------------


@on_virtual_time
async def test_lost_viewer_is_counted_no_more() -> None:
    """A viewer whose socket is gone leaves its room, and the room's count goes down."""
    async with a_place() as place:
        viewer, other = await place.join("ana"), await place.join("ben")
        await pass_time(1)
        assert place.store.viewers == {"shop": 2}
        viewer.vanish()
        await pass_time(1)
        assert place.store.viewers == {"shop": 1}
        assert place.edge.closes == {1006: 1}
        assert place.hub.desks["shop"].room.viewers_of("ana") == ()
        await place.publish(1)
        assert numbers(other.messages()) == [1]


@on_virtual_time
async def test_answer_to_one_who_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that comes after its viewer has gone is let fall without a word."""
    async with a_place() as place:
        viewer = await place.join()
        protocol = viewer.protocol
        viewer.receive(text({"type": "comment", "id": 1, "text": "going"}))
        viewer.vanish()
        await pass_time(1)
        assert len(place.store.logs["shop"]) == 1
        protocol.bye("restarting", "x", None)
        protocol.drop()
        protocol.beat(0.0)
        assert not caplog.records


@pytest.mark.parametrize("how", ["vanish", "close", "breach", "stall", "drop"])
@on_virtual_time
async def test_nothing_is_kept(how: str) -> None:
    """Of a connection that ended nothing is left, and it needs no collector to go: it is in no cycle."""
    async with a_place() as place:
        await place.join("ben")
        viewer = await place.join("ana", full=how == "stall")
        viewer.receive(text({"type": "comment", "id": 1, "text": "hello"}))
        await place.publish(1)
        ref = weakref.ref(viewer.protocol)
        gc.disable()
        try:
            match how:
                case "vanish":
                    viewer.vanish()
                case "close":
                    viewer.receive(masked(CLOSE))
                case "breach":
                    viewer.receive(b"\0\0")
                case "stall":
                    await pass_time(STALL_S + 2 * HEARTBEAT_S)
                case "drop":
                    viewer.broken = True
                    await place.publish(2)
            await pass_time(CLOSE_DEADLINE_S + HEARTBEAT_S)
            assert viewer.lost
            assert ref() is None
        finally:
            gc.enable()
        assert not place.edge.closing and not place.edge.waiting
