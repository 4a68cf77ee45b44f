"""Servers and crowds of a benchmark: started on their cores, looked at, stopped.

Knows processes and the public contract of the server. Every process that is started here is ended here, by its id.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from liveroom.loadtest.bench.machine import Cores, pin
from liveroom.loadtest.bench.streams import marker

START_S = 60.0
STOP_S = 30.0
DISTURBED = 0.1  # share of the time a server had work and no core, beyond which that is told
ROOM = "bench"
ROOM_PATH = f"/v1/rooms/{ROOM}/ws?user=v%d"
_MODULE = "liveroom.loadtest.bench"


class BenchError(Exception):
    """A benchmark cannot be done; the message is the sentence to print."""


class Settings(NamedTuple):
    """What was asked for on the command line."""

    cores: Cores
    quick: bool = False
    viewers: int | None = None
    seconds: float | None = None
    floor: str = "auto"
    recording: Path | None = None

    def crowd(self, viewers: int) -> int:
        """Return how many viewers: what was asked for, else as the target says, a tenth for a quick look."""
        return self.viewers or (viewers // 10 if self.quick else viewers)

    def window(self, seconds: float) -> float:
        """Return how long to measure, in s."""
        return self.seconds or (min(2.0, seconds) if self.quick else seconds)

    def rate(self, rate: float) -> float:
        """Return how much to send a second: less where the crowd is smaller."""
        return rate / 10 if self.quick or self.viewers else rate

    @property
    def rounds(self) -> int:
        """How often what is compared is measured, in turns."""
        return 1 if self.quick else 3


def say(text: str) -> None:
    """Tell the one who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def module(name: str, *words: str) -> list[str]:
    """Return the command for a module of the benchmarks."""
    return [sys.executable, "-m", f"{_MODULE}.{name}", *words]


# --- the server ---------------------------------------------------------------------------------------


class Server:
    """A liveroom process with an empty data directory; see ``serving``."""

    def __init__(self, process: subprocess.Popen[str], data: Path, port: int) -> None:
        self.pid = process.pid
        self.redis_pid = int((data / "redis.pid").read_text())
        self.port = port
        self._data = data

    def rewrites(self) -> int:
        """Return how often Redis began to write its append-only file anew: a fork, and a busy child."""
        return (self._data / "redis.log").read_text().count("rewriting of AOF")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Make an API request on the room (path "" is the room itself); returns the decoded answer.

        :raises BenchError: it was refused.
        """
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body).encode()
            link.request(method, f"/v1/rooms/{ROOM}{path}", data, {"Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read()
        finally:
            link.close()
        if answer.status >= 300:
            raise BenchError(
                f"{method} {path} was answered {answer.status}: {text.decode(errors='replace')[:300]}"
            )
        return json.loads(text) if text else None

    def list(self, noun: str) -> Iterator[dict[str, Any]]:
        """Read a list of the room to its end."""
        after = "0"
        while after is not None:
            page = self.request("GET", f"/{noun}?after={after}&limit=1000")
            yield from page[noun]
            after = page["next"]

    def metric(self, name: str) -> float:
        """Read one number of ``/metrics``; 0 when it is not there."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request("GET", "/metrics")
            text = link.getresponse().read().decode()
        finally:
            link.close()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def serving(settings: Settings, *flags: str) -> Iterator[Server]:
    """Run a server on its core, its embedded Redis on the client's, for the length of a ``with``.

    :raises BenchError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="lr-bench-") as folder:
        data = Path(folder) / "data"
        log = Path(folder) / "log"
        words = [
            "serve",
            "--dev",
            "--port",
            "0",
            "--data",
            str(data),
            "--drain-s",
            "2",
            "--log-level",
            "warning",
        ]
        command = [sys.executable, "-m", "liveroom.server.cli", *words, *flags]
        with open(log, "w") as errors, _process(command, stderr=errors) as process:
            found = _first(process, r"serves on http://\S+:(\d+)")
            if found is None:
                raise BenchError(f"the server did not start: {log.read_text()[-2000:]}")
            server = Server(process, data, int(found[1]))
            pin(server.pid, settings.cores.server)
            pin(server.redis_pid, settings.cores.client)
            # What it says later is not read: with --dev that is nothing.
            yield server
            if process.poll() is not None:
                raise BenchError(f"the server has ended: {log.read_text()[-2000:]}")
        if text := log.read_text().strip():
            say(f"  the server's log: {text[-2000:]}")


@contextlib.contextmanager
def _process(command: list[str], stderr: Any = None) -> Iterator[subprocess.Popen[str]]:
    """Run a process for the length of a ``with``; it is asked to end, and then ended."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first(process: subprocess.Popen[str], pattern: str) -> re.Match[str] | None:
    """Read what a process prints until a line matches; None when it ends, or takes too long."""
    assert process.stdout is not None
    too_long = threading.Timer(START_S, process.kill)
    too_long.start()
    try:
        for line in process.stdout:
            found = re.search(pattern, line)
            if found:
                return found
        return None
    finally:
        too_long.cancel()


# --- the floor ----------------------------------------------------------------------------------------


class Floor(NamedTuple):
    """A running floor, and which it is."""

    pid: int
    port: int
    kind: str


@contextlib.contextmanager
def floor(settings: Settings, rate: float, size: int) -> Iterator[Floor]:
    """Run the bare send loop on the server's core: ``size`` bytes of payload, ``rate`` times a second."""
    with tempfile.TemporaryDirectory(prefix="lr-floor-") as folder:
        kind, command = _floor_command(settings, Path(folder))
        with _process([*command, f"{rate:g}", str(size)]) as process:
            pin(process.pid, settings.cores.server)
            found = _first(process, r"^port (\d+)$")
            if found is None:
                raise BenchError("the floor did not start")
            yield Floor(process.pid, int(found[1]), kind)


def _floor_command(settings: Settings, folder: Path) -> tuple[str, list[str]]:
    source = Path(__file__).with_name("floor.c")
    compiler = shutil.which("cc")
    if settings.floor != "python" and compiler and source.exists():
        binary = folder / "floor"
        made = subprocess.run(
            [compiler, "-O2", "-o", str(binary), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode == 0:
            return "C", [str(binary)]
        say(f"  floor.c cannot be compiled: {made.stderr.strip()[:500]}")
    if settings.floor == "c":
        raise BenchError("--floor c needs a C compiler, `cc`")
    return "Python", module("floor")


# --- the crowd ----------------------------------------------------------------------------------------


class Crowd:
    """A running swarm; see ``crowd``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said: list[str] = []

    def wait_for(self, word: str) -> None:
        """Wait until it has ``joined`` or ``measured``.

        :raises BenchError: it ended before.
        """
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip() == word:
                return
            self._said.append(line.strip())
        raise BenchError("the crowd has ended: " + "\n".join(self._said))

    def report(self) -> CrowdReport:
        """Wait for its end; returns its report.

        :raises BenchError: it failed.
        """
        text, said = self._process.communicate(timeout=STOP_S)
        if self._process.returncode:
            raise BenchError("the crowd failed: " + "\n".join([*self._said, said.strip()]))
        return CrowdReport(json.loads(text))


class CrowdReport:
    """What a crowd has seen."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.all = report

    def __getitem__(self, key: str) -> Any:
        return self.all[key]

    def phase(self, name: str = "measured") -> dict[str, Any]:
        """Return the tally of a phase."""
        phase: dict[str, Any] = self.all["phases"][name]
        return phase

    def cpu_s(self, pid: int, start: str = "start", end: str = "measured") -> float:
        """Return the processor time a watched process used between two moments."""
        samples = self.all["samples"]
        spent: float = samples[end][str(pid)]["cpu_s"] - samples[start][str(pid)]["cpu_s"]
        return spent

    def disturbances(self, pid: int, start: str = "start", end: str = "measured") -> list[str]:
        """Tell in a sentence, if there is reason, that other processes took the server's core or the crowd's time."""
        samples, notes = self.all["samples"], []
        waited = samples[end][str(pid)]["waited_s"] - samples[start][str(pid)]["waited_s"]
        ran = self.cpu_s(pid, start, end)
        if waited > DISTURBED * (waited + ran):
            notes.append(
                f"the server waited for its core {waited / (waited + ran):.0%} of the time it had work: "
                "other processes ran there, so latencies and rates are theirs too"
            )
        if self.all["own_cpu_share"] > 0.8:
            notes.append(
                f"the crowd used {self.all['own_cpu_share']:.0%} of its core: latencies may be its own"
            )
        if self.all["behind_ms"] > 50 or self.all["unsent"]:
            notes.append(
                f"the crowd was up to {self.all['behind_ms']} ms late with what it sent, and found "
                f"{self.all['unsent']} sockets full"
            )
        return notes

    def private_kb(self, pid: int, moment: str) -> int:
        """Return the memory a watched process had at a moment, in KiB."""
        kb: int = self.all["samples"][moment][str(pid)]["private_kb"]
        return kb


@contextlib.contextmanager
def crowd(
    settings: Settings, port: int, viewers: int, *words: str, watch: tuple[int, ...] = ()
) -> Iterator[Crowd]:
    """Run a swarm on the client's core."""
    options = ["-n", str(viewers), "--port", str(port), *words]
    for pid in watch:
        options += ["--watch", str(pid)]
    with _process(module("swarm", *options), stderr=subprocess.PIPE) as process:
        pin(process.pid, settings.cores.client)
        try:
            yield Crowd(process)
        finally:
            assert process.stderr is not None
            process.stderr.close()


def run_crowd(
    settings: Settings, port: int, viewers: int, *words: str, watch: tuple[int, ...] = ()
) -> CrowdReport:
    """Run a swarm to its end."""
    with crowd(settings, port, viewers, *words, watch=watch) as running:
        running.wait_for("measured")
        return running.report()


# --- the host -----------------------------------------------------------------------------------------


class Publisher:
    """Puts custom events with markers into the room over HTTP, at a steady rate, on connections that are kept.

    Each of ``links`` threads has a connection and its share of the times; a request that is late does not hold
    up the others'.
    """

    def __init__(self, server: Server, rate: float, pad: int = 0, links: int = 4) -> None:
        self._port = server.port
        self._rate = rate
        self._pad = pad
        self._links = links
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._faults: list[str] = []
        self._counts = [0] * links
        self._began = 0.0

    def __enter__(self) -> Publisher:
        self._began = time.monotonic()
        for link in range(self._links):
            thread = threading.Thread(target=self._run, args=(link,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Publish no more.

        :raises BenchError: something could not be published.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)
        if self._faults:
            raise BenchError(f"publishing failed: {self._faults[0]}")

    @property
    def published(self) -> int:
        """Events so far."""
        return sum(self._counts)

    def _run(self, link: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), STOP_S) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                number = link
                while not self._stop.wait(max(0.0, self._began + number / self._rate - time.monotonic())):
                    sock.sendall(event_request(self._pad))
                    status = _read_answer(sock)
                    if status != 200:
                        raise BenchError(f"status {status}")
                    self._counts[link] += 1
                    number += self._links
        except (OSError, BenchError) as fault:
            self._faults.append(str(fault))


def event_data(pad: int = 0) -> dict[str, str]:
    """Make the data of an event that holds a marker, and ``pad`` more bytes."""
    data = {"m": marker(time.monotonic_ns()).decode()}
    if pad:
        data["pad"] = "." * pad
    return data


def event_json(pad: int = 0) -> bytes:
    """Make such an event as the room's log holds it."""
    return json.dumps(
        {"type": "custom", "name": "bench", "data": event_data(pad)}, separators=(",", ":")
    ).encode()


def event_request(pad: int = 0) -> bytes:
    """Make the request that publishes such an event: head and body in one piece."""
    body = event_json(pad)
    head = (
        f"POST /v1/rooms/{ROOM}/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _read_answer(sock: socket.socket) -> int:
    """Read one answer to its end; returns the status."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    length = int(found[1]) if found else 0
    while len(body) < length:
        body += _some(sock)
    return int(head.split(b" ", 2)[1])


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise BenchError("the server closed the connection")
    return data
