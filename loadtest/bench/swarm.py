"""The crowd: thousands of websocket viewers in one process. Prints one line of JSON when it is done.

    python -m liveroom.loadtest.bench.swarm -n 5000 --port 8080 --path '/v1/rooms/R/ws?user=v%d' --seconds 5

Non-blocking sockets and one epoll, one receive buffer for all, no task and no queue a viewer: holding a crowd must
cost less than serving it. Linux only. On standard error it says ``joined`` when all are in, and ``measured`` when
the measuring is over, so that whoever started it can time what else belongs to the run. Processes named with
``--watch`` are looked at between the phases, by the one who knows when they begin and end.

A run: join (everybody, as fast as it goes), settle, measure, wait for answers, and a last moment in which
everything that is under way arrives. With ``--stall-s`` there are three phases to measure: before, while a share
of the viewers does not read, and after.
"""

from __future__ import annotations

import argparse
import errno
import gc
import math
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from liveroom.loadtest.bench.machine import Sample, allow_files, sample
from liveroom.loadtest.bench.senders import Comments, Sender, Silence, Template, client_frame
from liveroom.loadtest.bench.streams import Look, Reader, Stream, Unexpected
from liveroom.protocol import frames

SOURCES = 20  # loopback addresses: one alone has some 28,000 ports
SPARE_FILES = 100
RECEIVE_BYTES = 256 * 1024
STALLED_RECEIVE_BYTES = 4096  # a small window, so that a socket which is not read is soon full
SENDS_A_TURN = 256  # reading must not starve, or latencies would be the crowd's own
JOIN_DEADLINE_S = 120.0
ANSWERS_DEADLINE_S = 15.0
LAST_MOMENT_S = 0.5
UNDER_WAY_S = 1.0  # the longest window of the server, and some
_NO_PORT_YET = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
_HEAD_END = b"\r\n\r\n"


class SwarmError(Exception):
    """The run cannot be done; the message is the sentence to print."""


class Viewer(Stream):
    """One viewer's socket."""

    __slots__ = ("head", "number", "ready", "recv_into", "send", "sock", "stalls", "upgraded")

    def __init__(self, number: int, sock: socket.socket, look: Look, stalls: bool) -> None:
        super().__init__(look)
        self.number = number
        self.sock = sock
        self.recv_into = sock.recv_into
        self.send = sock.send
        self.stalls = stalls
        self.head = b""  # of the answer, until it is complete
        self.upgraded = False
        self.ready = False  # joined


class Swarm:
    """See the module."""

    def __init__(self, options: argparse.Namespace, sender: Sender) -> None:
        self._options = options
        self._sender = sender
        self._reader = Reader(
            self._pong, texts=tuple(text.encode() for text in options.count), plain=options.plain
        )
        self._poll = select.epoll()
        self._buffer = bytearray(RECEIVE_BYTES)
        self._viewers: list[Viewer] = []  # who are in
        self._by_file: dict[int, Viewer] = {}
        self.failed = 0
        self.refusal = ""
        self.lost = 0
        self.sent = 0
        self.unsent = 0  # the socket was full
        self.behind_s = 0.0  # how late the crowd itself was with what it sends, at most
        self._send_began = 0.0

    # --- one viewer ---------------------------------------------------------------------------------

    def _connect(self, number: int) -> None:
        options = self._options
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        stalls = _in_share(number, options.stall_share)
        if stalls:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_RECEIVE_BYTES)
        sock.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        viewer = Viewer(number, sock, self._look_of(number, stalls), stalls)
        failure = sock.connect_ex((options.host, options.port))
        if failure not in (0, errno.EINPROGRESS):
            raise SwarmError(
                f"cannot connect to port {options.port}: {errno.errorcode.get(failure, failure)}"
            )
        self._by_file[sock.fileno()] = viewer
        # On loopback the connection stands by now, unless the server's backlog is full.
        waits_for = select.EPOLLIN if self._request(viewer) else select.EPOLLOUT
        self._poll.register(sock, waits_for)

    def _look_of(self, number: int, stalls: bool) -> Look:
        options = self._options
        look = Look.NOTHING
        if not stalls and _in_share(number, options.latency_share):
            look |= Look.LATENCY
        if stalls or _in_share(number, options.offsets_share):
            look |= Look.OFFSETS
        if options.until == "likes" and number == 0:
            look |= Look.LIKES
        return look

    def _request(self, viewer: Viewer) -> bool:
        options = self._options
        path = options.path.replace("%d", str(viewer.number))
        extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if options.deflate else ""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {options.host}:{options.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\n{extensions}\r\n"
        )
        try:
            viewer.send(request.encode())
        except (BlockingIOError, BrokenPipeError):
            return False
        except OSError as fault:
            if fault.errno == errno.ENOTCONN:
                return False
            raise
        return True

    def _pong(self, viewer: Viewer, payload: bytes) -> None:
        with suppress(OSError):
            viewer.send(client_frame(payload, frames.PONG))

    def _drop(self, viewer: Viewer) -> None:
        del self._by_file[viewer.sock.fileno()]
        viewer.sock.close()
        if viewer.ready:
            self.lost += 1
            viewer.ready = False
        else:
            self.failed += 1

    # --- reading ------------------------------------------------------------------------------------

    def _turn(self, wait_s: float) -> None:
        """Read from everyone who has something."""
        by_file, buffer, feed = self._by_file, self._buffer, self._reader.feed
        for file, events in self._poll.poll(max(0.0, wait_s), 512):
            viewer = by_file[file]
            if not viewer.ready:
                self._go_on_joining(viewer, events)
                continue
            try:
                size = viewer.recv_into(buffer)
                if size:
                    feed(viewer, buffer, size)
                    continue
            except BlockingIOError:
                continue
            except (OSError, Unexpected) as fault:
                self.refusal = self.refusal or repr(fault)
            self._drop(viewer)

    def _go_on_joining(self, viewer: Viewer, events: int) -> None:
        if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
            if self._request(viewer):
                self._poll.modify(viewer.sock, select.EPOLLIN)
            return
        try:
            data = viewer.sock.recv(RECEIVE_BYTES)
            if not data or not self._take_answer(viewer, data):
                self._drop(viewer)
        except BlockingIOError:
            return
        except (OSError, Unexpected) as fault:
            self.refusal = self.refusal or repr(fault)
            self._drop(viewer)

    def _take_answer(self, viewer: Viewer, data: bytes) -> bool:
        """Take in bytes until the viewer has joined; returns False if it is refused."""
        if not viewer.upgraded:
            viewer.head += data
            head, end, data = viewer.head.partition(_HEAD_END)
            if not end:
                return len(head) < RECEIVE_BYTES
            if not head.startswith(b"HTTP/1.1 101"):
                self.refusal = self.refusal or viewer.head.decode(errors="replace")[:500]
                return False
            viewer.upgraded = True
            viewer.head = b""
        before = self._reader.tally.frames
        self._reader.feed(viewer, data, len(data))
        if self._reader.tally.frames > before or not self._options.welcome:
            viewer.ready = True
            self._viewers.append(viewer)
        return True

    # --- sending ------------------------------------------------------------------------------------

    def _send_due(self, now: float) -> None:
        viewers, sender = self._viewers, self._sender
        elapsed = now - self._send_began
        waiting = sender.due(elapsed) - self.sent
        if waiting <= 0:
            return
        if elapsed > 0 and sender.total is None:
            self.behind_s = max(self.behind_s, elapsed * waiting / (self.sent + waiting))
        for _ in range(min(waiting, SENDS_A_TURN)):
            viewer = viewers[self.sent % len(viewers)]
            frame = sender.frame(self.sent, viewer.number)
            self.sent += 1
            try:
                if viewer.send(frame) != len(frame):
                    raise SwarmError("a message was sent in part: the server does not read what it is sent")
            except OSError:
                self.unsent += 1

    # --- a run --------------------------------------------------------------------------------------

    def join(self) -> float:
        """Let everybody join; returns how long it took, in s.

        :raises SwarmError: not everybody could.
        """
        options = self._options
        began = time.monotonic()
        started = 0
        while (settled := len(self._viewers) + self.failed) < options.viewers:
            while started < options.viewers and started - settled < options.at_once:
                self._connect(started)
                started += 1
                if started % 64 == 0:  # who is answered need not wait until all have asked
                    break
            self._turn(0 if started < options.viewers and started - settled < options.at_once else 0.1)
            if time.monotonic() > began + JOIN_DEADLINE_S:
                raise SwarmError(
                    f"{len(self._viewers)} of {options.viewers} joined in {JOIN_DEADLINE_S:.0f} s"
                )
        took = time.monotonic() - began
        if self.failed:
            raise SwarmError(f"{self.failed} of {options.viewers} could not join; the first: {self.refusal}")
        self._viewers.sort(key=lambda viewer: viewer.number)
        return took

    def watch(self, seconds: float, sending: bool = False) -> None:
        """Read, and send if that is asked for, for a while."""
        now = time.monotonic()
        end = now + seconds
        while now < end:
            if sending:
                self._send_due(now)
                if self.sent == self._sender.total:
                    return
            self._turn(min(end - now, 0.001 if sending else 0.05))
            now = time.monotonic()

    def send(self, seconds: float) -> None:
        """Send for a while, or all there is and then wait until it has come back, or nothing."""
        self._send_began = time.monotonic()
        if self._sender.total is None:
            self.watch(seconds, not isinstance(self._sender, Silence))
        else:
            self.watch(math.inf, sending=True)
            self.watch(UNDER_WAY_S)

    def await_answers(self) -> float:
        """Wait until everything sent is answered; returns how long that took since the first was sent, in s."""
        deadline = time.monotonic() + ANSWERS_DEADLINE_S
        tally = self._reader.tally
        likes_before = self._options.likes_before
        while time.monotonic() < deadline:
            seen = tally.events if self._options.until == "acks" else tally.likes - likes_before
            if seen >= self.sent - self.unsent:
                break
            self._turn(0.01)
        return time.monotonic() - self._send_began

    def stall(self, stalled: bool) -> None:
        """Stop reading at those who stall, or begin again."""
        for viewer in self._viewers:
            if viewer.stalls and viewer.ready:
                if stalled:
                    self._poll.unregister(viewer.sock)
                else:
                    self._poll.register(viewer.sock, select.EPOLLIN)

    def run(self) -> dict[str, Any]:
        """Do a whole run; returns the report."""
        options = self._options
        samples: dict[str, dict[int, Sample]] = {}
        phases: dict[str, dict[str, Any]] = {}

        def look(moment: str) -> None:
            samples[moment] = {pid: sample(pid) for pid in options.watch}

        def measured(name: str, began: float) -> None:
            look(name)
            phases[name] = {"seconds": time.monotonic() - began, **self._reader.new_phase().report()}

        look("before")
        joined_s = self.join()
        look("joined")
        _say("joined")
        self.watch(options.settle)
        gc.collect()
        gc.freeze()

        look("start")
        self._reader.new_phase()
        began, own_began = time.monotonic(), time.process_time()
        self.send(options.seconds)
        answered_s = None
        if options.until:
            look("sent")
            answered_s = self.await_answers()
        own_share = (time.process_time() - own_began) / (time.monotonic() - began)
        measured("measured", began)
        if options.stall_s:
            for name, stalled, seconds in (
                ("stalled", True, options.stall_s),
                ("returned", False, options.return_s),
            ):
                began = time.monotonic()
                self.stall(stalled)
                self.watch(seconds)
                measured(name, began)
        _say("measured")
        self.watch(LAST_MOMENT_S)
        self._reader.new_phase()
        look("end")
        return {
            "viewers": len(self._viewers),
            "lost": self.lost,
            "refusal": self.refusal,
            "joined_s": joined_s,
            "answered_s": answered_s,
            "sent": self.sent,
            "unsent": self.unsent,
            "behind_ms": round(self.behind_s * 1000, 1),
            "own_cpu_share": round(own_share, 3),
            "phases": phases,
            "offsets": self._offsets(),
            "samples": {
                moment: {str(pid): seen._asdict() for pid, seen in at.items()}
                for moment, at in samples.items()
            },
        }

    def _offsets(self) -> dict[str, Any]:
        """Return how those did whose offsets are looked at: whole is who has everything to the newest offset."""
        looked_at = [viewer for viewer in self._viewers if viewer.look & Look.OFFSETS]
        newest = max((viewer.offset for viewer in looked_at), default=0)
        whole = [
            viewer
            for viewer in looked_at
            if viewer.offset == newest and not viewer.gaps and viewer.first >= 0
        ]
        return {
            "viewers": len(looked_at),
            "whole": len(whole),
            "stalled": sum(viewer.stalls for viewer in looked_at),
            "stalled_whole": sum(viewer.stalls for viewer in whole),
            "facts_least": min((viewer.facts for viewer in looked_at), default=0),
            "facts_most": max((viewer.facts for viewer in looked_at), default=0),
            "skipped": sum(viewer.skipped for viewer in looked_at),
            "gaps": sum(viewer.gaps for viewer in looked_at),
        }


def _in_share(number: int, share: float) -> bool:
    """Tell whether a viewer belongs to a share of all, spread evenly; viewer 0 does unless the share is 0."""
    return (share > 0 and int(number * share) != int((number - 1) * share)) or (number == 0 and share > 0)


def _say(word: str) -> None:
    print(word, file=sys.stderr, flush=True)


def _make_sender(options: argparse.Namespace) -> Sender:
    if options.send:
        return Template(options.send, options.rate)
    if options.comments:
        return Comments(list(_read_comments(options.comments, options.seconds)))
    return Silence()


def _read_comments(path: Path, seconds: float) -> Iterator[tuple[float, str]]:
    """Read the lines of a recording up to ``seconds``: ``{"t_ms": 120, "text": "hello"}``."""
    for line in path.read_bytes().splitlines():
        if line.strip():
            comment = msgspec.json.decode(line)
            if comment["t_ms"] <= seconds * 1000:
                yield comment["t_ms"], comment["text"]


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m liveroom.loadtest.bench.swarm", description="A crowd.")
    add = parser.add_argument
    add("-n", "--viewers", type=int, default=1000, help="how many (default: 1000)")
    add("--host", default="127.0.0.1")
    add("--port", type=int, required=True)
    add("--path", default="/", help="what they ask for; %%d is a viewer's number")
    add("--at-once", type=int, default=1024, help="joins under way at a time, below the server's backlog")
    add("--welcome", action="store_true", help="who has no message yet has not joined")
    add("--deflate", action="store_true", help="offer permessage-deflate")
    add("--settle", type=float, default=1.0, help="seconds between joining and measuring")
    add("--seconds", type=float, default=5.0, help="how long to measure")
    add("--latency-share", type=float, default=0.25, help="whose markers are timed")
    add("--offsets-share", type=float, default=0.0, help="whose offsets are checked")
    add(
        "--plain",
        action="store_true",
        help="add up the events as frames of their own, where offsets are checked",
    )
    add("--count", action="append", default=[], metavar="TEXT", help="count a text in all payloads")
    add("--send", metavar="TEXT", help="a message: %%d viewer's number, %%k counter, %%t marker")
    add("--rate", type=float, default=1000.0, help="messages a second, of all viewers together")
    add("--comments", type=Path, metavar="FILE", help="a recording to comment from, at its own pace")
    add(
        "--until",
        choices=("acks", "likes"),
        help="wait until all that was sent is answered, or counted as likes",
    )
    add("--likes-before", type=int, default=0)
    add("--stall-share", type=float, default=0.0, help="who stop reading")
    add("--stall-s", type=float, default=0.0, help="for how long, after the measured time")
    add("--return-s", type=float, default=5.0, help="how long to measure after that")
    add("--watch", type=int, action="append", default=[], metavar="PID", help="a process to look at")
    return parser.parse_args(words)


def main() -> int:
    """Run the crowd; returns the exit code."""
    options = parse(sys.argv[1:])
    gc.disable()  # nothing here is cyclic, and a collection over a crowd would show in the latencies
    try:
        allow_files(options.viewers + SPARE_FILES)
        report = Swarm(options, _make_sender(options)).run()
    except (SwarmError, OSError) as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(report).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
