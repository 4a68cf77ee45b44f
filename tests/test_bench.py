"""The benchmarks' instruments count rightly; what they measure is no business of the tests."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import select
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveroom.loadtest.bench import __main__ as command
from liveroom.loadtest.bench import bench, spread
from liveroom.loadtest.bench.bench import Settings, event_json, event_request, module
from liveroom.loadtest.bench.chat import make_chat
from liveroom.loadtest.bench.figures import Figure, Report, Result, Target, at_least, at_most, plain, to_table
from liveroom.loadtest.bench.machine import choose_cores, cpu_s, private_kb
from liveroom.loadtest.bench.senders import Comments, Template, client_frame
from liveroom.loadtest.bench.streams import Histogram, Look, Reader, Stream, Unexpected, marker
from liveroom.loadtest.bench.swarm import _in_share
from liveroom.protocol import codec, frames
from liveroom.protocol.codec import Encoding
from liveroom.protocol.names import MAX_COMMENT_CHARS

NOW_NS = 5_000_000_000


def make_reader(**more: object) -> tuple[Reader, list[bytes]]:
    """A reader whose clock stands still, and the pings it answered."""
    pings: list[bytes] = []
    reader = Reader(lambda _, payload: pings.append(payload), clock_ns=lambda: NOW_NS, **more)  # type: ignore[arg-type]
    return reader, pings


def feed(reader: Reader, stream: Stream, data: bytes, cuts: list[int]) -> None:
    """Feed bytes in pieces out of one buffer that is used again, as the swarm does."""
    buffer = bytearray(len(data) + 8)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        piece = data[start:end]
        if piece:
            buffer[: len(piece)] = piece
            reader.feed(stream, buffer, len(piece))
            buffer[:] = b"~" * len(buffer)


def batch(offset: int, events: list[bytes], skipped: int = 0) -> bytes:
    return codec.join_batch(Encoding.JSON, 1, offset, events, None, skipped)


# --- frames and markers -------------------------------------------------------------------------------

ages_ms = st.lists(st.integers(0, 3000), max_size=3)
some_frame = st.one_of(
    st.tuples(st.just("text"), ages_ms, st.sampled_from((0, 5, 60, 126, 200, 70_000))),
    st.tuples(st.just("ping"), st.just([]), st.integers(0, 125)),
    st.tuples(st.just("close"), st.just([]), st.just(0)),
)


@given(st.lists(some_frame, max_size=8), st.lists(st.integers(0, 1_000_000), max_size=12), st.booleans())
def test_frames_are_counted_however_they_are_cut(
    made: list[tuple[str, list[int], int]], cuts: list[int], timed: bool
) -> None:
    """Frames, markers, ages, pings and closes come out the same wherever reads begin and end."""
    data, ages, pings = b"", [], []
    for kind, marks, pad in made:
        if kind == "text":
            text = b"".join(marker(NOW_NS - age * 1_000_000) + b'","' for age in marks)
            data += frames.frame(frames.TEXT, text + b"." * pad)
            ages += marks
        elif kind == "ping":
            pings.append(b"p" * pad)
            data += frames.frame(frames.PING, b"p" * pad)
        else:
            data += frames.close_frame(4000, "bye")
    reader, answered = make_reader()
    stream = Stream(Look.LATENCY if timed else Look.NOTHING)
    feed(reader, stream, data, cuts)
    tally = reader.tally
    assert tally.frames == sum(kind == "text" for kind, _, _ in made)
    assert tally.events == len(ages)
    assert tally.bytes == len(data)
    assert (tally.pings, answered) == (len(pings), pings)
    assert tally.closes.get(4000, 0) == sum(kind == "close" for kind, _, _ in made)
    assert tally.latency.total == (len(ages) if timed else 0)
    if timed and ages:
        assert tally.latency.max_ns == max(ages) * 1_000_000
    assert stream.kept == b""


def test_half_a_frame_waits_for_the_other_half() -> None:
    """What is not complete is kept, and counted when it is."""
    reader, _ = make_reader()
    stream = Stream()
    whole = frames.frame(frames.TEXT, b"x" * 300)
    reader.feed(stream, whole, 3)
    assert (reader.tally.frames, stream.kept) == (0, whole[:3])
    reader.feed(stream, whole[3:], len(whole) - 3)
    assert (reader.tally.frames, stream.kept) == (1, b"")


@pytest.mark.parametrize("data", [b"\x81\x80....", b"\x01\x01x", b"\x80\x01x", b"\x83\x00"])
def test_what_a_server_must_not_send_is_found(data: bytes) -> None:
    """A masked frame, fragments and an unknown opcode end the viewer."""
    reader, _ = make_reader()
    with pytest.raises(Unexpected):
        reader.feed(Stream(), data, len(data))


def test_compressed_frames_are_inflated_for_those_who_are_looked_at() -> None:
    """Others only count them."""
    payload = batch(1, [event_json(), event_json()])
    squeezed = frames.deflate(payload)
    assert zlib.decompressobj(-15).decompress(squeezed + b"\x00\x00\xff\xff") == payload
    data = frames.frame(frames.TEXT, squeezed, compressed=True)
    reader, _ = make_reader()
    reader.feed(Stream(), data, len(data))
    assert (reader.tally.frames, reader.tally.events) == (1, 0)
    reader.feed(Stream(Look.LATENCY), data, len(data))
    assert (reader.tally.frames, reader.tally.events) == (2, 2)


def test_texts_and_likes_are_read() -> None:
    """Texts are counted wherever they occur; of like totals the newest is kept."""
    reader, _ = make_reader(texts=(b'"status":"reserved"',))
    stream = Stream(Look.LIKES)
    for payload in (b'{"status":"reserved"}{"status":"reserved"}', b'{"likes":7}', b'{"likes":1234,"x":0}'):
        data = frames.frame(frames.TEXT, payload)
        reader.feed(stream, data, len(data))
    assert reader.tally.texts == {b'"status":"reserved"': 2}
    assert reader.tally.likes == 1234


# --- offsets ------------------------------------------------------------------------------------------


def follow(*payloads: bytes) -> tuple[Stream, Reader]:
    reader, _ = make_reader(plain=True)
    stream = Stream(Look.OFFSETS)
    for payload in payloads:
        data = frames.frame(frames.TEXT, payload)
        reader.feed(stream, data, len(data))
    return stream, reader


WELCOME = b'{"type":"welcome","offset":10,"recent":[{"type":"comment"}]}'
COMMENT = b'{"type":"comment","comment":"c","user":"u","name":"u","text":"hi","at":1}'


def test_batches_that_join_on_leave_no_gap() -> None:
    """An offset is the one before, and the events, and the comments left out."""
    stream, reader = follow(
        WELCOME, batch(12, [COMMENT, event_json()]), batch(12, []), batch(18, [event_json()], 5)
    )
    assert (stream.first, stream.offset, stream.gaps) == (10, 18, 0)
    assert (stream.facts, stream.skipped) == (2, 5)
    assert reader.tally.read_events == 3


@pytest.mark.parametrize("payload", [batch(12, [COMMENT]), batch(11, []), batch(10, [COMMENT]), batch(9, [])])
def test_a_gap_or_a_double_is_found(payload: bytes) -> None:
    """Any other offset is one."""
    stream, reader = follow(WELCOME, payload)
    assert (stream.gaps, reader.tally.gaps) == (1, 1)


def test_plain_bytes_are_those_of_one_frame_an_event() -> None:
    """What ``bytes`` divides by is what a server would write that sends every event by itself."""
    _, reader = follow(WELCOME, batch(13, [COMMENT, COMMENT, COMMENT]))
    assert reader.tally.plain_bytes == 3 * len(frames.frame(frames.TEXT, batch(13, [COMMENT])))


# --- latencies ----------------------------------------------------------------------------------------


def test_percentiles_are_upper_edges_of_tenths_of_a_millisecond() -> None:
    """A percentile is never told smaller than it was."""
    histogram = Histogram()
    assert histogram.percentile_ms(0.5) is None
    for tenth in range(100):
        histogram.add(tenth * 100_000 + 1)
    assert histogram.percentile_ms(0.5) == pytest.approx(5.0)
    assert histogram.percentile_ms(0.99) == pytest.approx(9.9)
    histogram.add(3600 * 10**9)
    assert histogram.percentile_ms(1.0) == pytest.approx(20_000.1)
    assert histogram.report()["max"] == 3_600_000.0


# --- senders ------------------------------------------------------------------------------------------


def unmask(frame: bytes) -> bytes:
    """Read a client's frame back, by the letter of RFC 6455 section 5.3."""
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    start = 4 if frame[1] & 0x7F == 126 else 2
    size = int.from_bytes(frame[2:4]) if start == 4 else frame[1] & 0x7F
    key, masked = frame[start : start + 4], frame[start + 4 :]
    assert key != b"\0\0\0\0"
    assert len(masked) == size
    return bytes(byte ^ key[place % 4] for place, byte in enumerate(masked))


@given(st.binary(max_size=300))
def test_client_frames_are_masked(payload: bytes) -> None:
    """Unmasked again they are what was sent."""
    assert unmask(client_frame(payload)) == payload


def test_a_template_is_filled_in_and_paced() -> None:
    """Each message has its viewer, number and time; how many are due is by the clock alone."""
    template = Template('{"id":"%t","n":%k,"by":"v%d"}', 1000, clock_ns=lambda: NOW_NS)
    assert unmask(template.frame(7, 3)) == b'{"id":"~%016x","n":7,"by":"v3"}' % NOW_NS
    assert [template.due(at) for at in (0, 0.5, 2)] == [0, 500, 2000]
    like = Template('{"type":"like","n":1}', 10)
    assert like.frame(0, 0) is like.frame(1, 1)


def test_comments_are_due_at_their_own_times() -> None:
    """A recording is sent at its own pace."""
    comments = Comments([(0, "a"), (100, "你好"), (100, "c"), (5000, "d")])
    assert [comments.due(at) for at in (0.0, 0.0999, 0.1, 1, 6)] == [1, 1, 3, 3, 4]
    assert json.loads(unmask(comments.frame(1, 0))) == {"type": "comment", "id": 1, "text": "你好"}


def test_a_share_of_the_viewers_is_spread_evenly() -> None:
    """A tenth of a crowd is a tenth of any part of it."""
    for share, most in ((0.0, 0), (0.1, 100), (0.25, 250), (1.0, 1000)):
        members = [_in_share(number, share) for number in range(1000)]
        assert abs(sum(members) - most) <= 1
        assert abs(sum(members[:200]) - most / 5) <= 1


# --- the chat -----------------------------------------------------------------------------------------


def test_the_made_up_chat_is_the_same_every_time_and_like_a_chat() -> None:
    """Sorted, within the server's limits, in several scripts, at about the rate it says."""
    lines = make_chat(60)
    assert lines == make_chat(60)
    assert lines == sorted(lines, key=lambda line: line.t_ms)
    assert all(0 < len(line.text) <= MAX_COMMENT_CHARS and line.text.strip() for line in lines)
    assert 600 < len(lines) < 1200
    text = "".join(line.text for line in lines)
    for letters in ("一-鿿", "가-힯", "ぁ-ん", "а-я", "🌀-🙏"):
        assert re.search(f"[{letters}]", text), letters
    assert len({line.text for line in lines}) < 0.8 * len(lines)


# --- the floor ----------------------------------------------------------------------------------------


def has_compiler() -> bool:
    return shutil.which("cc") is not None


@pytest.fixture(params=["python", "c"])
def floor_of(request: pytest.FixtureRequest) -> Iterator[Callable[[float, int], bench.Floor]]:
    """Both floors, started with a rate and a size."""
    if request.param == "c" and not has_compiler():
        pytest.skip("needs a C compiler")
    with contextlib.ExitStack() as stack:
        settings = Settings(choose_cores(), floor=request.param)
        yield lambda rate, size: stack.enter_context(bench.floor(settings, rate, size))


def join_floor(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return sock


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


@pytest.mark.parametrize("size", [40, 125, 126, 400])
def test_the_floor_answers_and_sends_frames(floor_of: Callable[[float, int], bench.Floor], size: int) -> None:
    """Every viewer gets the 101 of RFC 6455 section 1.3 and then the same whole frames of the asked size."""
    floor = floor_of(50, size)
    viewers = [join_floor(floor.port) for _ in range(3)]
    payloads = []
    for sock in viewers:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive(sock, 1)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        expected = frames.frame(frames.TEXT, b"." * size)
        got = [receive(sock, len(expected)) for _ in range(4)]
        head_size = len(expected) - size
        assert {frame[:head_size] for frame in got} == {expected[:head_size]}
        payloads.append([frame[head_size:] for frame in got])
    ages = [time.monotonic_ns() - int(payload[1:17], 16) for viewer in payloads for payload in viewer]
    assert all(age > 0 for age in ages)
    assert all(re.fullmatch(rb"~[0-9a-f]{16}\.*", payload) for viewer in payloads for payload in viewer)
    for sock in viewers:
        sock.close()


def test_the_floor_goes_on_when_viewers_leave(floor_of: Callable[[float, int], bench.Floor]) -> None:
    """Who leaves takes nothing from those who stay."""
    floor = floor_of(100, 50)
    viewers = [join_floor(floor.port) for _ in range(4)]
    for sock in viewers:
        receive(sock, 300)
    for gone in (viewers.pop(0), viewers.pop(1)):
        gone.close()
    viewers.append(join_floor(floor.port))
    for sock in viewers:
        receive(sock, 52 * 30)
        sock.close()


@pytest.mark.slow
def test_the_swarm_counts_what_the_floor_sends(floor_of: Callable[[float, int], bench.Floor]) -> None:
    """Rate times viewers, within a round at each end, each with a marker and a latency."""
    floor = floor_of(20, 100)
    settings = Settings(choose_cores())
    report = bench.run_crowd(
        settings, floor.port, 40, "--seconds", "1", "--settle", "0.2", "--latency-share", "1",
        watch=(floor.pid,),
    )  # fmt: skip
    phase = report.phase()
    rounds = phase["seconds"] * 20
    assert report["viewers"] == 40
    # A busy machine leaves rounds out, and never adds one.
    assert 40 <= phase["frames"] <= 40 * (rounds + 2)
    assert phase["events"] == phase["frames"] == phase["latency_ms"]["count"]
    assert phase["bytes"] == phase["frames"] * 102
    assert report["lost"] == 0


# --- figures ------------------------------------------------------------------------------------------


def test_a_figure_knows_whether_it_is_met() -> None:
    """At the limit it is; without a target, or a value, nobody can say."""
    assert at_most("a", 1.3, "ratio", 1.3).met is True
    assert at_most("a", 1.301, "ratio", 1.3).met is False
    assert at_least("a", 8000, "joins/s", 8000).met is True
    assert at_least("a", 7999, "joins/s", 8000).met is False
    assert at_least("a", None, "joins/s", 8000).met is None
    assert plain("a", 1, "x").met is None
    assert str(Target(at_least=8000)) == ">= 8,000"


def test_the_table_shows_every_figure() -> None:
    """One line each, with value, target and verdict."""
    result = Result(benchmark="joins", what="", flags=[], figures=[at_least("rate", 9123.4, "joins/s", 8000)])
    lines = to_table([result]).splitlines()
    assert lines[2].split() == ["joins", "rate", "9,123", "joins/s", ">=", "8,000", "yes"]
    figure = msgspec.json.decode(msgspec.json.encode(result.figures[0]))
    assert figure == {
        "name": "rate",
        "value": 9123,
        "unit": "joins/s",
        "target": {"at_least": 8000.0},
        "met": True,
    }


def test_a_process_is_seen_from_outside() -> None:
    """Processor time grows with work, and memory with what is held."""
    child = subprocess.Popen(
        ["python3", "-c", "x=bytearray(b'x')*30_000_000\nwhile True: pass"], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while (cpu_s(child.pid) < 0.2 or private_kb(child.pid) < 29_000) and time.monotonic() < deadline:
            select.select([], [], [], 0.02)
        assert cpu_s(child.pid) >= 0.2
        assert private_kb(child.pid) >= 29_000
    finally:
        child.kill()
        child.wait()


# --- the command --------------------------------------------------------------------------------------


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those there are."""
    with pytest.raises(SystemExit):
        command.parse(["fanout", "fnaout"])
    assert "there is no benchmark 'fnaout'; there are fanout, coalesce" in capsys.readouterr().err


def test_the_floor_sends_as_much_as_the_server() -> None:
    """The size compared with is that of a batch with one event, marker and all."""
    assert spread.payload_size() == len(batch(1000, [event_json()])) + len("1700000000000") - 1
    request = event_request(pad=10)
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["data"]["pad"] == "." * 10


def run_bench(file: Path, *words: str) -> Report:
    """Run the command as a user does; returns what it wrote."""
    done = subprocess.run(
        module("__main__", *words, "--json", str(file)),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    assert all(figure.name in done.stdout for result in report.results for figure in result.figures)
    return report


@pytest.mark.slow
def test_a_quick_fanout_runs_from_end_to_end(tmp_path: Path) -> None:
    """A server, a floor, a crowd and a publisher; a table and a file of the declared shape."""
    report = run_bench(tmp_path / "b.json", "fanout", "--quick", "--viewers", "50", "--seconds", "1.5")
    (result,) = report.results
    figures: dict[str, Figure] = {figure.name: figure for figure in result.figures}
    assert figures["cpu_over_floor"].target == Target(at_most=1.3)
    assert report.machine["cores"] >= 1
    crowd = result.details["rounds"][0]["crowd"]
    assert crowd["viewers"] == 50
    assert crowd["phases"]["measured"]["events"] >= 50
    assert crowd["lost"] == 0


@pytest.mark.slow
def test_what_is_counted_at_both_ends_agrees(tmp_path: Path) -> None:
    """Likes sent and told, claims acked and ordered, facts missed and given: in a small crowd too."""
    names = ("likes", "claims", "stall", "bytes")
    report = run_bench(tmp_path / "b.json", *names, "--viewers", "40", "--seconds", "1.5")
    figures = {figure.name: figure.value for result in report.results for figure in result.figures}
    assert figures["counted"] == figures["sent"] > 0
    for name in (
        "miscounted",
        "unanswered",
        "oversold",
        "undersold",
        "acks_orders_and_stock_differ",
        "lost_connections",
    ):
        assert figures[name] == 0, name
    assert figures["stalled_with_every_fact"] == 1
    assert figures["comments_shown"] == 1
