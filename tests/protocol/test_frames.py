"""Frames against the ``websockets`` library's parser, and compressed bodies against zlib."""

from __future__ import annotations

import dataclasses
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions import Extension
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from websockets.typing import ExtensionName

from liveroom.protocol import frames

DATA_OPCODES = st.sampled_from([frames.TEXT, frames.BINARY])
EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 200_000]


class Deflated(Extension):
    """Stands in the parser where permessage-deflate would, and takes the bit without inflating."""

    name = ExtensionName("permessage-deflate")

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Take RSV1 away, so that the parser accepts the frame, and note it."""
        self.seen = frame.rsv1
        return dataclasses.replace(frame, rsv1=False)


def parse(data: bytes) -> Frame:
    """Parse one frame as a client does, and see that nothing is left over."""
    deflated = Deflated()
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = Frame.parse(reader.read_exact, mask=False, max_size=None, extensions=[deflated])
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    assert not reader.buffer
    frame = parsed.value.value
    assert isinstance(frame, Frame)
    assert frame.fin
    assert not frame.rsv2
    assert not frame.rsv3
    return dataclasses.replace(frame, rsv1=deflated.seen)


def inflate(body: bytes) -> bytes:
    """Inflate a message as RFC 7692 section 7.2.2 says; the window starts empty for each."""
    inflater = zlib.decompressobj(-15)
    whole = inflater.decompress(body + b"\x00\x00\xff\xff")
    assert not inflater.unused_data
    assert not inflater.unconsumed_tail
    return whole


@given(opcode=DATA_OPCODES, payload=st.binary(max_size=300), compressed=st.booleans())
def test_frame(opcode: int, payload: bytes, compressed: bool) -> None:
    """A frame parses to the payload and the bits it was built with."""
    read = parse(frames.frame(opcode, payload, compressed))
    assert (read.opcode, bytes(read.data), read.rsv1) == (opcode, payload, compressed)


@pytest.mark.parametrize("size", EDGES)
def test_frame_lengths(size: int) -> None:
    """A frame is right, and its length in the shortest form, at every border of the length formats."""
    payload = bytes(size)
    built = frames.frame(frames.BINARY, payload)
    assert bytes(parse(built).data) == payload
    assert len(built) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@given(code=st.sampled_from([1000, 1012, 4000, 4101]), reason=st.text(max_size=200))
@example(code=1000, reason="a" * 200)
@example(code=1000, reason="é" * 100)
@example(code=1000, reason="a" + "é" * 100)
def test_close_frame(code: int, reason: str) -> None:
    """A close frame fits a control frame: its reason is cut, between characters, to 123 bytes."""
    read = parse(frames.close_frame(code, reason))
    assert read.opcode is Opcode.CLOSE
    close = Close.parse(read.data)
    assert close.code == code
    assert reason.startswith(close.reason)
    whole, kept = len(reason.encode()), len(close.reason.encode())
    assert kept == whole if whole <= 123 else 120 <= kept <= 123


@given(st.binary(max_size=2000) | st.text("ab{}:,", max_size=2000).map(str.encode))
def test_deflate(payload: bytes) -> None:
    """A deflated message inflates to itself, without anything that went before."""
    assert inflate(frames.deflate(payload)) == payload


@given(own=st.binary(max_size=500), shared=st.text("ab{}:,", max_size=2000).map(str.encode))
def test_deflate_joined(own: bytes, shared: bytes) -> None:
    """An own part before a shared deflated part inflates to both."""
    assert inflate(frames.deflate_joined(own, frames.deflate(shared))) == own + shared


@given(size=st.sampled_from(EDGES) | st.integers(60_000, 200_000))
@settings(max_examples=20)
def test_deflate_joined_own_part_of_any_size(size: int) -> None:
    """An own part over 64 KiB goes in several stored blocks and inflates to itself."""
    own = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    shared = b'"room":"spring-sale","epoch":"m4x9q2"}'
    assert inflate(frames.deflate_joined(own, frames.deflate(shared))) == own + shared


def test_compressed_frame_is_shared() -> None:
    """The same compressed frame reads right whatever a viewer was sent before."""
    first, second = (frames.deflate(b'{"type":"batch","n":%d}' % n * 20) for n in (1, 2))
    assert inflate(second) == b'{"type":"batch","n":2}' * 20
    assert inflate(first) == b'{"type":"batch","n":1}' * 20
    assert inflate(second) == b'{"type":"batch","n":2}' * 20
