"""The host's commands against a server that notes what it is asked and answers what a test writes down."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from liveroom.server.config import TOKEN_ENV
from liveroom.server.host_commands import add_host_commands


class Server(ThreadingHTTPServer):
    """Answers every request with ``status`` and ``body``; ``asked`` are the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, Any]] = []
        self.token: str | None = None
        self.status = 200
        self.body = b"{}"

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def refuse(self, status: int, code: str, detail: str) -> None:
        """Answer with a problem from now on."""
        self.status, self.body = status, json.dumps({"code": code, "detail": detail}).encode()


class Handler(BaseHTTPRequestHandler):
    """One request to ``Server``."""

    server: Server

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, json.loads(sent) if sent else None))
        self.server.token = self.headers.get("Authorization")
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_PUT = do_POST = do_PATCH = _answer

    def log_message(self, *args: Any) -> None:
        """Stay quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the test's own; no token is in the environment."""
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def run(server: Server | str, *words: str) -> int:
    """Run ``liveroom`` with these words; returns the exit code."""
    parser = argparse.ArgumentParser()
    add_host_commands(parser.add_subparsers(required=True))
    target = server if isinstance(server, str) else server.target
    args = parser.parse_args([*words, "--target", target])
    code: int = args.func(args)
    return code


ARTICLE = "--sku m-1 --title Mug --price 1290 --currency EUR --stock 5"
CREATE = ["sale", "create", "r", *ARTICLE.split()]
DRAFT = {
    "sku": "m-1",
    "title": "Mug",
    "price": 1290,
    "currency": "EUR",
    "stock": 5,
    "per_user_limit": None,
    "starts_at": None,
    "ends_at": None,
}


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        ("room create r", "PUT", "/v1/rooms/r", {}),
        ("room create r --title Spring", "PUT", "/v1/rooms/r", {"title": "Spring"}),
        ("room show r", "GET", "/v1/rooms/r", None),
        ("room close r", "POST", "/v1/rooms/r/close", None),
        ("room stats r", "GET", "/v1/rooms/r/stats", None),
        ("room notice r hello", "POST", "/v1/rooms/r/events", {"type": "notice", "text": "hello"}),
        (" ".join(CREATE), "POST", "/v1/rooms/r/sales", DRAFT),
        (" ".join(CREATE) + " --limit 2", "POST", "/v1/rooms/r/sales", DRAFT | {"per_user_limit": 2}),
        ("sale show r s1", "GET", "/v1/rooms/r/sales/s1", None),
        ("sale open r s1", "POST", "/v1/rooms/r/sales/s1/open", None),
        ("sale pause r s1", "POST", "/v1/rooms/r/sales/s1/pause", None),
        ("sale resume r s1", "POST", "/v1/rooms/r/sales/s1/resume", None),
        ("sale close r s1", "POST", "/v1/rooms/r/sales/s1/close", None),
        ("sale cancel r s1", "POST", "/v1/rooms/r/sales/s1/cancel", None),
        ("sale restock r s1 5", "POST", "/v1/rooms/r/sales/s1/restock", {"add": 5}),
        (
            " ".join(CREATE) + " --hold 90 --gift Coaster --allow-overlap",
            "POST",
            "/v1/rooms/r/sales",
            DRAFT | {"hold_seconds": 90, "gift": "Coaster", "allow_overlap": True},
        ),
        ("sale report r s1", "GET", "/v1/rooms/r/sales/s1/report", None),
        ("sale change r s1 --price 990", "PATCH", "/v1/rooms/r/sales/s1", {"price": 990}),
        (
            "sale change r s1 --limit 4 --ends-at 2030-01-01T00:00:00Z",
            "PATCH",
            "/v1/rooms/r/sales/s1",
            {"per_user_limit": 4, "ends_at": 1_893_456_000_000},
        ),
        ("order show r o-1", "GET", "/v1/rooms/r/orders/o-1", None),
        ("order pay r o-1", "POST", "/v1/rooms/r/orders/o-1/pay", None),
        ("order cancel r o-1", "POST", "/v1/rooms/r/orders/o-1/cancel", None),
        ("order refund r o-1", "POST", "/v1/rooms/r/orders/o-1/refund", None),
        ("order refund r o-1 --amount 5", "POST", "/v1/rooms/r/orders/o-1/refund", {"amount": 5}),
        ("order accept r o-1", "POST", "/v1/rooms/r/orders/o-1/accept", None),
        ("order reject r o-1", "POST", "/v1/rooms/r/orders/o-1/reject", None),
        ("order ship r o-1", "POST", "/v1/rooms/r/orders/o-1/ship", None),
        ("order complete r o-1", "POST", "/v1/rooms/r/orders/o-1/complete", None),
        ("room show a/b", "GET", "/v1/rooms/a%2Fb", None),
    ],
)
def test_each_command_is_one_request(server: Server, words: str, method: str, path: str, body: Any) -> None:
    """A command asks the API for exactly what it names."""
    assert run(server, *words.split()) == 0
    assert server.asked == [(method, path, body)]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1893456000000", 1_893_456_000_000),
        ("2030-01-01T00:00:00Z", 1_893_456_000_000),
        ("2030-01-01T08:00:00+08:00", 1_893_456_000_000),
    ],
)
def test_times(server: Server, text: str, ms: int) -> None:
    """Times are given in ms or as ISO 8601, and sent in ms."""
    run(server, *CREATE, "--ends-at", text)
    assert server.asked[0][2]["ends_at"] == ms


@pytest.mark.parametrize(
    "words",
    [
        [*CREATE, "--starts-at", "tomorrow"],
        [*CREATE, "--limit", "two"],
        ["sale", "create", "r", "--sku", "m-1"],
        ["sale", "restock", "r", "s1", "many"],
        ["sale", "explode", "r", "s1"],
        ["sale", "change", "r", "s1", "--price", "9.90"],
        ["order", "pay", "r", "o-1", "--amount", "5"],
        ["room", "show"],
    ],
)
def test_words_that_make_no_command(
    server: Server, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be understood is said with the usage, and nothing is asked."""
    with pytest.raises(SystemExit):
        run(server, *words)
    assert "usage" in capsys.readouterr().err
    assert server.asked == []


def test_one_value_is_printed_to_be_read(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer is printed as JSON over several lines, text as it is."""
    server.body = '{"room":"r","title":"\u676f"}'.encode()
    run(server, "room", "show", "r")
    assert capsys.readouterr().out == '{\n  "room": "r",\n  "title": "\u676f"\n}\n'


@pytest.mark.parametrize("noun", ["sale", "order"])
def test_lists_are_lines(server: Server, noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A list is printed an item a line; that there is more goes to standard error."""
    server.body = json.dumps({f"{noun}s": [{"n": 1}, {"n": 2}], "next": 7}).encode()
    assert run(server, noun, "list", "r", "--after", "5", "--limit", "2") == 0
    assert server.asked == [("GET", f"/v1/rooms/r/{noun}s?after=5&limit=2", None)]
    printed = capsys.readouterr()
    assert printed.out == '{"n": 1}\n{"n": 2}\n'
    assert "--after 7" in printed.err


def test_last_page(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end of a list nothing is said."""
    server.body = b'{"orders":[],"next":null}'
    run(server, "order", "list", "r")
    assert capsys.readouterr() == ("", "")


def test_books_that_agree(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A clean audit is printed, and the exit code is 0."""
    server.body = b'{"sale":"s1","ok":true,"entries":3,"faults":[]}'
    assert run(server, "sale", "audit", "r", "s1") == 0
    assert server.asked == [("GET", "/v1/rooms/r/sales/s1/audit", None)]
    assert '"entries": 3' in capsys.readouterr().out


def test_books_that_do_not_agree(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an audit with faults the first is named, and the exit code is 1."""
    server.body = b'{"sale":"s1","ok":false,"entries":3,"faults":["entry 2: changed","left is 3"]}'
    assert run(server, "sale", "audit", "r", "s1") == 1
    assert capsys.readouterr() == (
        "",
        "liveroom: the books of sale s1 do not agree: entry 2: changed\n",
    )


def test_refusal(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is one sentence with its code, and exit code 1."""
    server.refuse(409, "room_closed", "the room is closed")
    assert run(server, "room", "close", "r") == 1
    assert capsys.readouterr() == ("", "liveroom: the room is closed (room_closed)\n")


def test_refusal_for_want_of_a_token(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A refused token says where tokens come from."""
    server.refuse(401, "unauthorized", "a token is needed")
    run(server, "room", "show", "r")
    assert "LIVEROOM_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error":1}'])
def test_refusal_by_something_else(server: Server, body: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A proxy's refusal is told by its status."""
    server.status, server.body = 502, body
    assert run(server, "room", "show", "r") == 1
    assert "502" in capsys.readouterr().err


def test_answer_of_something_else(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that is not JSON comes from another server, and that is said."""
    server.body = b"<html>"
    assert run(server, "room", "show", "r") == 1
    assert "is not liveroom" in capsys.readouterr().err


def test_no_server(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing listens the sentence says so and what to look at."""
    server.server_close()
    assert run(server, "room", "show", "r") == 1
    assert "liveroom serve" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["127.0.0.1:8080", "ws://127.0.0.1:8080", "file:///etc/passwd", "http://"])
def test_bad_target(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A target that is no web address is refused before anything is asked."""
    assert run(target, "room", "show", "r") == 1
    assert "--target" in capsys.readouterr().err


# --- tokens -------------------------------------------------------------------------------------------


def test_no_token(server: Server) -> None:
    """Without a token none is sent, as --dev takes it."""
    run(server, "room", "show", "r")
    assert server.token is None


def test_token_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is taken from the environment."""
    monkeypatch.setenv(TOKEN_ENV, "abc")
    run(server, "room", "show", "r")
    assert server.token == "Bearer abc"


def test_token_of_a_file(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token file goes before the environment; space around the token is left out."""
    monkeypatch.setenv(TOKEN_ENV, "abc")
    (tmp_path / "token").write_text("xyz\n")
    run(server, "room", "show", "r", "--token-file", str(tmp_path / "token"))
    assert server.token == "Bearer xyz"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_bad_token_file(
    server: Server, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token file that is missing, empty or no text is named, and nothing is asked."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    assert run(server, "room", "show", "r", "--token-file", str(path)) == 1
    assert str(path) in capsys.readouterr().err
    assert server.asked == []
