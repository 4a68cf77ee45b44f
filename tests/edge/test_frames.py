"""The frame reader: what clients may send comes out whole, what they may not ends with the declared code."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.uri import parse_uri

from liveroom.server.edge.frames import Breach, FrameReader, inflate, read_close
from tests.edge.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, masked, squeezed

MAX = 300  # of a message, in these tests: more than a control frame, less than hypothesis likes to draw
CONTROL_FRAME = 131  # a whole one, waiting for its last byte inside a message of the largest size


class Said(NamedTuple):
    """A message of a client, and how it is cut into frames."""

    opcode: int
    payload: bytes
    squeezed: bool
    cuts: list[int]
    between: list[tuple[int, bytes]]  # a control frame after each piece, as far as they go
    mask: bytes


def _bounded_text(text: str) -> bytes:
    return text.encode()[:MAX].decode(errors="ignore").encode()


CONTROLS = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
SAID = st.builds(
    lambda data, *rest: Said(*data, *rest),
    st.tuples(st.just(TEXT), st.text(max_size=MAX).map(_bounded_text))
    | st.tuples(st.just(BINARY), st.binary(max_size=MAX)),
    st.booleans(),
    st.lists(st.integers(0, MAX), max_size=4).map(sorted),
    st.lists(CONTROLS, max_size=5),
    st.just(b"\0\0\0\0") | st.binary(min_size=4, max_size=4),
)
PIECES = st.lists(st.integers(1, 60), min_size=1, max_size=20)


def encode(said: Said) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return a message's frames as bytes, and what a reader makes of them, in order."""
    body = squeezed(said.payload) if said.squeezed else said.payload
    if len(body) > MAX:  # what does not get smaller is sent as it is
        body = said.payload
    bits = 0x40 if body is not said.payload else 0
    edges = [0, *(cut for cut in said.cuts if cut <= len(body)), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    data, read = b"", []
    for number, piece in enumerate(pieces):
        first, last = number == 0, number == len(pieces) - 1
        data += masked(
            said.opcode if first else CONT, piece, fin=last, bits=bits if first else 0, mask=said.mask
        )
        if last:
            read.append((said.opcode, said.payload))
        if number < len(said.between):
            opcode, payload = said.between[number]
            data += masked(opcode, payload, mask=said.mask)
            read.append((opcode, payload))
    return data, read


def feed_in_pieces(reader: FrameReader, data: bytes, sizes: list[int]) -> list[tuple[int, bytes]]:
    """Feed data in pieces of these sizes, over and over; holds the bound on what is kept at each."""
    read: list[tuple[int, bytes]] = []
    at = number = 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        read += reader.feed(data[at : at + size])
        assert held(reader) <= MAX + CONTROL_FRAME
        at, number = at + size, number + 1
    return read


def held(reader: FrameReader) -> int:
    """Count the bytes a reader keeps, in whatever it keeps them."""
    values = [getattr(reader, name) for name in FrameReader.__slots__]
    return sum(
        len(part)
        for value in values
        for part in (value if isinstance(value, list) else [value])
        if _is_bytes(part)
    )


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes | bytearray | memoryview)


@given(said=st.lists(SAID, max_size=6), sizes=PIECES)
@example(said=[Said(TEXT, b"a" * MAX, False, [MAX - 1], [(PING, b"p" * 125)], b"mask")], sizes=[7])
def test_any_cut_reads_the_same(said: list[Said], sizes: list[int]) -> None:
    """However messages are fragmented, interleaved with control frames and cut by the network, they are read."""
    encoded = [encode(message) for message in said]
    data = b"".join(frames for frames, _ in encoded)
    expected = [message for _, messages in encoded for message in messages]
    assert FrameReader(MAX, deflate=True).feed(data) == expected
    reader = FrameReader(MAX, deflate=True)
    assert feed_in_pieces(reader, data, sizes) == expected
    assert held(reader) == 0


def library_client(deflate: bool) -> ClientProtocol:
    """The ``websockets`` library's client, past its handshake."""
    client = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN)
    if deflate:
        client.extensions = [PerMessageDeflate(True, True, 15, 15)]
    return client


@given(
    said=st.lists(
        st.tuples(st.just(TEXT), st.text(max_size=70).map(str.encode))
        | st.tuples(st.just(BINARY), st.binary(max_size=MAX - 20))
        | CONTROLS,
        max_size=6,
    ),
    fragmented=st.booleans(),
    deflate=st.booleans(),
    sizes=PIECES,
)
def test_reads_the_websockets_library(
    said: list[tuple[int, bytes]], fragmented: bool, deflate: bool, sizes: list[int]
) -> None:
    """What the ``websockets`` library writes is read as it was meant, with and without compression."""
    client = library_client(deflate)
    for opcode, payload in said:
        if opcode in (PING, PONG):
            (client.send_ping if opcode == PING else client.send_pong)(payload)
            continue
        send = client.send_text if opcode == TEXT else client.send_binary
        half = len(payload) // 2
        if fragmented:
            send(payload[:half], fin=False)
            client.send_continuation(payload[half:], fin=True)
        else:
            send(payload)
    data = b"".join(client.data_to_send())
    assert feed_in_pieces(FrameReader(MAX, deflate), data, sizes) == said


def test_reads_the_library_s_close() -> None:
    """A close frame of the ``websockets`` library gives its code."""
    client = library_client(deflate=False)
    client.send_close(CloseCode.GOING_AWAY, "bye")
    ((opcode, payload),) = FrameReader(MAX, deflate=False).feed(b"".join(client.data_to_send()))
    assert (opcode, read_close(payload)) == (CLOSE, 1001)


@given(data=st.binary(max_size=200), sizes=PIECES, deflate=st.booleans())
def test_any_bytes(data: bytes, sizes: list[int], deflate: bool) -> None:
    """Bytes of any kind are read, waited on or a breach with a close code; nothing else is raised."""
    try:
        feed_in_pieces(FrameReader(MAX, deflate), data, sizes)
    except Breach as breach:
        assert breach.code in (1002, 1007, 1009)


def breach_of(*pieces: bytes, deflate: bool = False, max_message: int = MAX) -> int:
    """Feed pieces; all but the last must be accepted, and the last is a breach with the code returned."""
    reader = FrameReader(max_message, deflate)
    for piece in pieces[:-1]:
        assert reader.feed(piece) == []
    with pytest.raises(Breach) as raised:
        reader.feed(pieces[-1])
    assert raised.value.reason
    return raised.value.code


UNMASKED = b"\x81\x02hi"
START, START_BINARY = masked(TEXT, b"a", fin=False), masked(BINARY, b"a", fin=False)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([UNMASKED], id="unmasked"),
        pytest.param([masked(PING)[:1] + b"\0"], id="unmasked ping"),
        *(
            pytest.param([masked(opcode)], id=f"opcode {opcode}")
            for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        ),
        pytest.param([masked(TEXT, b"a", bits=0x20)], id="rsv2"),
        pytest.param([masked(TEXT, b"a", bits=0x10)], id="rsv3"),
        pytest.param([masked(TEXT, squeezed(b"a"), bits=0x40)], id="rsv1 without deflate"),
        pytest.param([masked(PING, b"a", fin=False)], id="fragmented ping"),
        pytest.param([masked(CLOSE, b"", fin=False)], id="fragmented close"),
        pytest.param([masked(PING, b"a" * 126)], id="ping of 126 bytes"),
        pytest.param([masked(CLOSE, b"a" * 200)], id="close of 200 bytes"),
        pytest.param([masked(CONT, b"a")], id="continuation of nothing"),
        pytest.param([masked(TEXT, b"a") + masked(CONT, b"b")], id="continuation of a whole message"),
        pytest.param([START, masked(TEXT, b"b")], id="message inside a message"),
        pytest.param([START, START_BINARY], id="start inside a message"),
    ],
)
def test_breach_of_framing(pieces: list[bytes]) -> None:
    """What RFC 6455 forbids in a frame's head is a breach with 1002."""
    assert breach_of(*pieces) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_compressed_control_frame(opcode: int) -> None:
    """A control frame is never compressed, whatever was agreed on (RFC 7692 section 6.1)."""
    assert breach_of(masked(opcode, squeezed(b"a"), bits=0x40), deflate=True) == 1002


def test_compressed_continuation() -> None:
    """Only a message's first frame says that it is compressed (RFC 7692 section 6)."""
    start = masked(TEXT, squeezed(b"a"), fin=False, bits=0x40)
    assert breach_of(start, masked(CONT, b"", bits=0x40), deflate=True) == 1002


def test_head_is_enough() -> None:
    """A breach that the first two bytes tell is found before anything more has come."""
    assert breach_of(masked(PING, b"a" * 126)[:2]) == 1002
    assert breach_of(masked(3, b"a" * 100)[:2]) == 1002


@pytest.mark.parametrize("size", [MAX + 1, 65_535, 65_536, 2**40, 2**63 + 5])
def test_declared_too_large(size: int) -> None:
    """A frame that says it is too large is refused before its payload arrives."""
    length = b"\xfe" + size.to_bytes(2) if size < 65_536 else b"\xff" + size.to_bytes(8)
    assert breach_of(b"\x81" + length + b"mask") == 1009


def test_largest_message() -> None:
    """A message of just the allowed size is read, in one frame or in several."""
    assert FrameReader(MAX, deflate=False).feed(masked(BINARY, b"a" * MAX)) == [(BINARY, b"a" * MAX)]
    pieces = masked(BINARY, b"a" * 100, fin=False) + masked(CONT, b"a" * (MAX - 100))
    assert FrameReader(MAX, deflate=False).feed(pieces) == [(BINARY, b"a" * MAX)]


def test_size_is_counted_afresh() -> None:
    """A message of the largest size may follow one that came in fragments."""
    data = masked(TEXT, b"a" * 200, fin=False) + masked(CONT, b"a" * 50) + masked(BINARY, b"b" * MAX)
    assert FrameReader(MAX, deflate=False).feed(data) == [(TEXT, b"a" * 250), (BINARY, b"b" * MAX)]


def test_length_of_64_bits() -> None:
    """A length of eight bytes is read, also when it comes a byte at a time."""
    reader, payload = FrameReader(100_000, deflate=False), b"a" * 65_536
    data = masked(BINARY, payload)
    for byte in data[:20]:
        assert reader.feed(bytes((byte,))) == []
    assert reader.feed(data[20:]) == [(BINARY, payload)]


def test_fragments_too_large_together() -> None:
    """Fragments that are each small enough are refused when their sum is not, before the last one's payload."""
    start = masked(TEXT, b"a" * 200, fin=False)
    assert breach_of(start, masked(CONT, b"b" * (MAX - 199))[:8]) == 1009
    assert breach_of(start, masked(CONT, b"b" * (MAX - 200), fin=False), masked(CONT, b"c")) == 1009


def test_control_frame_does_not_count() -> None:
    """A ping in the middle of a message of the largest size does not make the message too large."""
    reader = FrameReader(MAX, deflate=False)
    assert reader.feed(masked(TEXT, b"a" * MAX, fin=False) + masked(PING, b"p" * 125)) == [(PING, b"p" * 125)]
    assert reader.feed(masked(CONT, b"")) == [(TEXT, b"a" * MAX)]


def test_endless_empty_fragments() -> None:
    """A message of empty fragments without end is refused, since each is kept."""
    reader = FrameReader(MAX, deflate=False)
    reader.feed(masked(TEXT, b"", fin=False))
    with pytest.raises(Breach) as raised:
        reader.feed(masked(CONT, b"", fin=False) * (MAX + 1))
    assert raised.value.code == 1009


@pytest.mark.parametrize("bad", [b"\xff", b"a\xc0\xaf", "\N{EURO SIGN}".encode()[:2], b"\xed\xa0\x80"])
def test_bad_utf_8(bad: bytes) -> None:
    """A text that is not UTF-8 is a breach with 1007, whole, in fragments and compressed."""
    assert breach_of(masked(TEXT, bad)) == 1007
    assert breach_of(masked(TEXT, bad[:1], fin=False), masked(CONT, bad[1:])) == 1007
    assert breach_of(masked(TEXT, squeezed(bad), bits=0x40), deflate=True) == 1007
    assert FrameReader(MAX, deflate=False).feed(masked(BINARY, bad)) == [(BINARY, bad)]


def test_character_over_two_fragments() -> None:
    """A character may be cut in two by a fragment's border."""
    euro = "\N{EURO SIGN}".encode()
    data = masked(TEXT, euro[:1], fin=False) + masked(PING) + masked(CONT, euro[1:])
    assert FrameReader(MAX, deflate=False).feed(data) == [(PING, b""), (TEXT, euro)]


@pytest.mark.parametrize("over", [1, 100, 4_000_000])
def test_deflate_bomb(over: int) -> None:
    """A small message that inflates to more than the bound is refused, and no more than the bound is made."""
    bomb = masked(BINARY, squeezed(b"\0" * (4096 + over)), bits=0x40)
    reader = FrameReader(4096, deflate=True)
    tracemalloc.start()
    try:
        with pytest.raises(Breach) as raised:
            reader.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert raised.value.code == 1009
    assert peak < 200_000  # bytes: zlib's own window and some


def test_inflates_to_the_bound() -> None:
    """A message that inflates to just the allowed size is read."""
    data = masked(BINARY, squeezed(b"\0" * MAX), bits=0x40)
    assert FrameReader(MAX, deflate=True).feed(data) == [(BINARY, b"\0" * MAX)]


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x07", b"hello, this is no deflate"])
def test_deflate_garbage(garbage: bytes) -> None:
    """A message that does not inflate is a breach with 1007."""
    assert breach_of(masked(TEXT, garbage, bits=0x40), deflate=True) == 1007


@given(payload=st.binary(max_size=100))
def test_inflate_any_bytes(payload: bytes) -> None:
    """Whatever is to be inflated gives at most the bound, or a breach."""
    try:
        assert len(inflate(payload, MAX)) <= MAX
    except Breach as breach:
        assert breach.code in (1007, 1009)


def test_compression_is_forgotten() -> None:
    """A plain message after a fragmented compressed one is not inflated."""
    body = squeezed(b"a" * 50)
    data = masked(TEXT, body[:3], fin=False, bits=0x40) + masked(CONT, body[3:]) + masked(TEXT, b"plain")
    assert FrameReader(MAX, deflate=True).feed(data) == [(TEXT, b"a" * 50), (TEXT, b"plain")]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1014, 3000, 4000, 4999])
def test_close_codes(code: int) -> None:
    """A close with a code that may be sent gives it."""
    assert read_close(code.to_bytes(2) + b"why") == code


def test_close_without_a_code() -> None:
    """An empty close has no code."""
    assert read_close(b"") is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])
def test_close_codes_that_may_not_be_sent(code: int) -> None:
    """A close with a code that is reserved or unassigned is a breach with 1002."""
    with pytest.raises(Breach) as raised:
        read_close(code.to_bytes(2))
    assert raised.value.code == 1002


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007)])
def test_malformed_close(payload: bytes, code: int) -> None:
    """A close of one byte is a breach with 1002, one whose reason is not UTF-8 with 1007."""
    with pytest.raises(Breach) as raised:
        read_close(payload)
    assert raised.value.code == code


def test_nothing_is_kept_of_what_was_read() -> None:
    """Of a long run of messages only the incomplete last frame is kept."""
    reader = FrameReader(MAX, deflate=False)
    last = masked(TEXT, b"b" * 100)
    assert len(reader.feed(masked(TEXT, b"a" * 200) * 300 + last[:50])) == 300
    assert held(reader) == 50
    assert reader.feed(last[50:]) == [(TEXT, b"b" * 100)]
    assert held(reader) == 0
