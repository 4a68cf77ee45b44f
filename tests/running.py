"""A real liveroom process and a real private Redis for tests: started, read, stopped or killed by id."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liveroom.server.backplane.embedded import find_server

START_S = 30


class Liveroom:
    """A ``liveroom serve`` process on a free port."""

    def __init__(self, data: Path, *flags: str, env: dict[str, str] | None = None, dev: bool = True) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        self._flags = [*flags, *(["--dev"] if dev else [])]
        self._env = env or {}
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> Liveroom:
        """Start it, and wait until it has printed its address."""
        command = [sys.executable, "-m", "liveroom.server.cli", "serve", "--port", str(self.port)]
        command += ["--data", str(self.data), *self._flags]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **self._env}
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"serves on http://\S+:(\d+)", line)
            if found:
                self.port = int(found[1])
                return self
        raise AssertionError(f"liveroom did not start: {self.log.read_text()}")

    @property
    def http(self) -> str:
        """The base URL of the HTTP API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """The base URL of websockets."""
        return f"ws://127.0.0.1:{self.port}"

    def room_url(self, room: str, user: str, **query: str) -> str:
        """The URL with which ``user`` joins ``room`` under --dev."""
        more = "".join(f"&{key}={value}" for key, value in query.items())
        return f"{self.ws}/v1/rooms/{room}/ws?user={user}{more}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Make an API request; returns the decoded answer, raises ``urllib.error.HTTPError`` on a refusal."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        request = urllib.request.Request(self.http + path, data=data, method=method, headers=sent)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    @property
    def redis_pid(self) -> int:
        """The process id of the embedded server."""
        return int((self.data / "redis.pid").read_text())

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


@contextlib.contextmanager
def running(
    data: Path, *flags: str, env: dict[str, str] | None = None, dev: bool = True
) -> Iterator[Liveroom]:
    """A process for the length of a ``with``."""
    server = Liveroom(data, *flags, env=env, dev=dev).start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """A Redis of this test's own on a unix socket; yields its URL."""
    socket = folder / "r.sock"
    options = [
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(folder),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = subprocess.Popen(
        [find_server(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + START_S
    while not socket.exists():
        assert process.poll() is None, "the private Redis ended at once"
        assert time.monotonic() < deadline, "the private Redis did not start"
        time.sleep(0.01)
    try:
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(timeout=10)
