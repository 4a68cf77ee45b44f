"""``liveroom replay``: recordings, and a replay through a server that plays what a test writes down."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from liveroom.loadtest import replay as replay_module
from liveroom.loadtest.replay import (
    Line,
    Place,
    Recording,
    ReplayError,
    add_replay,
    read_recording,
    replay,
    summary,
)
from liveroom.protocol import make_vectors

VECTORS = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))
WELCOME = next(v["value"] for v in VECTORS["messages"] if v["name"] == "welcome") | {
    "resumed": False,
    "offset": 0,
}

# --- recordings ---------------------------------------------------------------------------------------


def recorded(tmp_path: Path, content: bytes) -> Path:
    """Write a recording; returns where."""
    path = tmp_path / "chat.jsonl"
    path.write_bytes(content)
    return path


def test_lines_are_read(tmp_path: Path) -> None:
    """Each line is a time and a text; empty lines count for nothing."""
    path = recorded(tmp_path, b'{"t_ms":0,"text":"hi"}\r\n\n{"t_ms":12.5,"text":"\xe6\x9d\xaf"}\n')
    assert read_recording(path) == Recording([Line(0, "hi"), Line(12.5, "\u676f")], 0, "")


def test_lines_are_put_in_order(tmp_path: Path) -> None:
    """A line that comes too late in the file is said at its time."""
    path = recorded(tmp_path, b'{"t_ms":9,"text":"b"}\n{"t_ms":1,"text":"a"}\n')
    assert [line.text for line in read_recording(path).lines] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b'{"t_ms":1}',
        b'{"text":"x"}',
        b'{"t_ms":"1","text":"x"}',
        b'{"t_ms":-1,"text":"x"}',
        b'{"t_ms":1,"text":5}',
        b'{"t_ms":1e999,"text":"x"}',
        b'{"t_ms":1,"text":"\xff"}',
        b"[" * 5000,
    ],
)
def test_bad_lines_are_counted(tmp_path: Path, line: bytes) -> None:
    """A bad line is left out and counted, and the first is named by its number."""
    path = recorded(tmp_path, b'{"t_ms":0,"text":"a"}\n\n' + line + b"\nmore nonsense\n")
    found = read_recording(path)
    assert (len(found.lines), found.bad) == (1, 2)
    assert found.first_bad.startswith("line 3: ")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"nonsense\n"])
def test_recording_without_a_line(tmp_path: Path, content: bytes) -> None:
    """A recording that holds nothing to say cannot be replayed."""
    with pytest.raises(ReplayError, match="holds no line"):
        read_recording(recorded(tmp_path, content))


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_recording_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A file that is missing, or a directory, is named with what is wrong."""
    with pytest.raises(ReplayError, match="cannot be read"):
        read_recording(tmp_path / name)


# --- replays ------------------------------------------------------------------------------------------

Answering = Callable[["Server", str, dict[str, Any]], Awaitable[dict[str, Any] | None]]


class Server:
    """A room that answers comments as ``answering`` says; None closes the connection for good."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.sockets: set[ServerConnection] = set()
        self.said: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.offset = 0
        self.target = ""

    async def visit(self, socket: ServerConnection) -> None:
        """Take one connection."""
        assert socket.request is not None
        user = parse_qs(urlsplit(socket.request.path).query).get("user", [""])[0]
        self.tokens.add(socket.request.headers.get("Authorization"))
        await socket.send(json.dumps(WELCOME | {"offset": self.offset}))
        self.sockets.add(socket)
        async for data in socket:
            command = json.loads(data)
            if command["type"] == "ping":
                await socket.send(json.dumps({"type": "pong", "t": command["t"], "now": WELCOME["now"]}))
                continue
            self.said.append((user, command["text"]))
            answer = await self.answering(self, user, command)
            if answer is None:
                bye = {"type": "bye", "code": "room_closed", "message": "over", "reconnect_after_ms": None}
                await socket.send(json.dumps(bye))
                return
            await socket.send(json.dumps({"id": command["id"]} | answer))

    def show(self, comment: str) -> None:
        """Show a comment to everyone."""
        self.offset += 1
        event = {"type": "comment", "comment": comment, "user": "x", "name": "x", "text": "x", "at": 1}
        batch = {"type": "batch", "now": 1, "offset": self.offset, "events": [event]}
        broadcast(self.sockets, json.dumps(batch))


@asynccontextmanager
async def serving(answering: Answering) -> AsyncIterator[Server]:
    """Run a server."""
    server = Server(answering)
    async with serve(
        server.visit, "127.0.0.1", 0, subprotocols=[Subprotocol("liveroom.v1.json")]
    ) as listening:
        server.target = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


async def shown(server: Server, user: str, command: dict[str, Any]) -> dict[str, Any]:
    """Show the comment to everyone."""
    comment = f"c-{len(server.said)}"
    server.show(comment)
    return {"type": "ack", "shown": True, "comment": comment}


def lines(*texts: str) -> Recording:
    """Return a recording that is said all at once."""
    return Recording([Line(0, text) for text in texts], 0, "")


async def play(server: Server, recording: Recording, *, users: int = 4, watchers: int = 0) -> dict[str, Any]:
    """Replay through the server's room."""
    return await replay(recording, Place(server.target, "demo"), speed=1.0, users=users, watchers=watchers)


async def test_every_line_is_said() -> None:
    """Every line is sent once, and the answers are counted and timed."""
    async with serving(shown) as server:
        report = await play(server, lines(*"abcdefgh"))
    assert Counter(text for _, text in server.said) == Counter("abcdefgh")
    assert (report["lines"], report["sent"], report["shown"], report["sampled_out"]) == (8, 8, 8, 0)
    assert report["ack_ms"].keys() == {"p50", "p99", "max"}


async def test_users_take_turns() -> None:
    """The lines go round the users, so that each has the longest time between two."""
    async with serving(shown) as server:
        await play(server, lines(*"abcdefgh"), users=4)
    assert Counter(user for user, _ in server.said) == Counter({f"replay-{n}": 2 for n in range(4)})


async def test_no_more_users_than_lines() -> None:
    """A user who would have nothing to say does not join."""
    async with serving(shown) as server:
        assert (await play(server, lines("a", "b"), users=200))["users"] == 2
        assert len(server.sockets) == 2


async def test_speed() -> None:
    """At a speed of a thousand a recording of seconds takes milliseconds of its own time."""
    recording = Recording([Line(5000, "a"), Line(6000, "b"), Line(9000, "c")], 0, "")
    async with serving(shown) as server:
        report = await replay(recording, Place(server.target, "demo"), speed=1000.0, users=3)
    assert report["sent"] == 3
    assert [text for _, text in sorted(server.said, key=lambda said: said[1])] == ["a", "b", "c"]


async def test_sampled_out() -> None:
    """A comment that the room had no place for is counted apart."""

    async def none_shown(server: Server, user: str, command: dict[str, Any]) -> dict[str, Any]:
        return {"type": "ack", "shown": False}

    async with serving(none_shown) as server:
        report = await play(server, lines("a", "b"))
    assert (report["shown"], report["sampled_out"]) == (0, 2)


async def test_refusals_by_code() -> None:
    """Refused comments are counted by their code."""

    async def refuse(server: Server, user: str, command: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "error",
            "code": "empty" if command["text"] == "b" else "rate_limited",
            "message": "no",
        }

    async with serving(refuse) as server:
        report = await play(server, lines("a", "b", "c"))
    assert report["errors"] == {"rate_limited": 2, "empty": 1}


async def test_room_that_ends() -> None:
    """When the room ends in the middle, what could not be said is counted and the replay ends."""

    async def over(server: Server, user: str, command: dict[str, Any]) -> None:
        return None

    async with serving(over) as server:
        report = await play(server, lines("a", "b"), users=1)
    assert sum(report["errors"].values()) == 2
    assert report["ack_ms"] is None


async def test_watchers_see_what_is_shown() -> None:
    """Watchers say nothing, and are checked against what was shown."""
    async with serving(shown) as server:
        report = await play(server, lines(*"abcd"), watchers=3)
    assert report["watchers"] == {"count": 3, "missed_max": 0, "skipped": 0, "gaps": 0}
    assert not any(user.startswith("watch") for user, _ in server.said)


async def test_watchers_miss_what_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment that was said to be shown and was not is found missing."""
    monkeypatch.setattr(replay_module, "SETTLE_S", 0.05)

    async def lie(server: Server, user: str, command: dict[str, Any]) -> dict[str, Any]:
        return {"type": "ack", "shown": True, "comment": "c-lost"}

    async with serving(lie) as server:
        report = await play(server, lines("a"), watchers=2)
    assert report["watchers"]["missed_max"] == 1


async def test_token() -> None:
    """With a token all join by it, and by no name."""
    async with serving(shown) as server:
        await replay(lines("a", "b"), Place(server.target, "demo", "abc"), speed=1.0, users=2)
    assert server.tokens == {"Bearer abc"}
    assert {user for user, _ in server.said} == {""}


async def test_refused_join() -> None:
    """A join that is refused ends the replay with the server's reason."""

    def refuse(socket: ServerConnection, request: Request) -> Response:
        body = b'{"code":"unknown_room","detail":"there is no room"}'
        headers = Headers({"Content-Length": str(len(body)), "Content-Type": "application/problem+json"})
        return Response(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase, headers, body)

    async def never(socket: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as listening:
        target = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        with pytest.raises(ReplayError, match=r"there is no room \(unknown_room\)"):
            await replay(lines("a"), Place(target, "demo"), speed=1.0, users=1)


@pytest.mark.parametrize(
    ("target", "said"), [("ws://127.0.0.1:1", "liveroom serve"), ("http://127.0.0.1:1", "ws:// or wss://")]
)
async def test_no_server(target: str, said: str) -> None:
    """A target where nothing answers, or that is none, is told with what to look at."""
    with pytest.raises(ReplayError, match=said):
        await replay(lines("a"), Place(target, "demo"), speed=1.0, users=1)


# --- the command --------------------------------------------------------------------------------------


def run(*words: str) -> int:
    """Run ``liveroom replay`` with these words; returns the exit code."""
    parser = argparse.ArgumentParser()
    add_replay(parser.add_subparsers(required=True))
    args = parser.parse_args(["replay", *words])
    code: int = args.func(args)
    return code


@pytest.mark.parametrize(
    "words", [["--speed", "0"], ["--speed", "nan"], ["--speed", "x"], ["--users", "0"], ["--watchers", "-1"]]
)
def test_numbers_that_are_none(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A speed or a number of users that makes no sense is refused with the usage."""
    with pytest.raises(SystemExit):
        run(str(tmp_path), "--room", "r", *words)
    assert "not" in capsys.readouterr().err


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing recording is one sentence and exit code 1."""
    path = tmp_path / "none.jsonl"
    assert run(str(path), "--room", "r") == 1
    assert capsys.readouterr() == ("", f"liveroom: {path} cannot be read: No such file or directory\n")


def test_bad_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A room id that is none is said before anything is read or joined."""
    assert run(str(tmp_path), "--room", "a b") == 1
    assert "room id" in capsys.readouterr().err


def test_summary_tells_everything_that_went_wrong() -> None:
    """The summary names refusals, a sender that was late, missed comments and bad lines."""
    spread = {"p50": 1.0, "p99": 80.0, "max": 90.0}
    report = {
        "sent": 5,
        "users": 2,
        "took_s": 1.0,
        "shown": 1,
        "sampled_out": 1,
        "errors": {"rate_limited": 3},
        "ack_ms": spread,
        "sent_late_ms": spread,
        "bad_lines": 2,
        "watchers": {"count": 1, "missed_max": 1, "skipped": 0, "gaps": 0},
    }
    text = summary(report, "line 3: bad")
    for part in ("1 shown", "3 refused", "rate_limited 3", "90 ms late", "1 shown comments missed", "line 3"):
        assert part in text
