"""A viewer for tests on the websockets library: it keeps every event and checks every offset."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

PATIENCE_S = 30  # for what must come; a test that waits this long has failed


class Watcher:
    """Reads one connection in the background; ``events`` are all it was given, over all its connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.events: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []  # all that are no batch
        self.welcomes: list[dict[str, Any]] = []
        self.epoch = ""
        self.offset = 0
        self.skipped = 0
        self.state: dict[str, Any] = {}
        self.closed: tuple[int, str] | None = None
        self._changed = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def join_at_last(self) -> Watcher:
        """Join a server that may still be coming back."""
        while True:
            try:
                return await self.join()
            except (OSError, websockets.WebSocketException):
                await asyncio.sleep(0.02)

    async def join(self, *, resume: bool = False, compression: str | None = None) -> Watcher:
        """Connect, and take the welcome."""
        url = f"{self.url}&resume={self.epoch}:{self.offset}" if resume else self.url
        self._socket = await websockets.connect(url, compression=compression, max_size=None, open_timeout=30)
        self.closed = None
        self._take(json.loads(await self._socket.recv()))
        self._task = asyncio.create_task(self._read(self._socket))
        return self

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                self._take(json.loads(await socket.recv()))
        self.closed = (socket.close_code or 0, socket.close_reason or "")
        self._changed.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "welcome":
            if message["resumed"]:
                assert message["offset"] == self.offset
                assert message["recent"] == []
            self.welcomes.append(message)
            self.epoch, self.offset = message["epoch"], message["offset"]
            self.state = dict(message["state"])
        elif message["type"] == "batch":
            skipped = message.get("skipped", {}).get("comments", 0)
            assert message["offset"] == self.offset + len(message["events"]) + skipped, (self.offset, message)
            self.offset = message["offset"]
            self.skipped += skipped
            self.events += message["events"]
            self.state |= message.get("state", {})
        else:
            self.messages.append(message)
        self._changed.set()

    async def send(self, **message: Any) -> None:
        """Send a command."""
        assert self._socket is not None
        await self._socket.send(json.dumps(message))

    async def until(self, condition: Any) -> Any:
        """Wait until ``condition(self)`` is true; returns what it returned."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition(self)):
                self._changed.clear()
                await self._changed.wait()
        return found

    async def reply(self, id: str | int) -> dict[str, Any]:
        """Wait for the answer to a command; ``ConnectionError`` when the connection ends before it."""

        def answer(watcher: Watcher) -> dict[str, Any] | None:
            for message in watcher.messages:
                if message.get("id") == id and message["type"] in ("ack", "error"):
                    return message
            if watcher.closed is not None:
                raise ConnectionError(f"closed: {watcher.closed}")
            return None

        found: dict[str, Any] = await self.until(answer)
        return found

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        await self.send(**message)
        return await self.reply(message["id"])

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    async def stall(self) -> None:
        """Stop reading; the connection stays."""
        assert self._socket is not None
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._socket.transport.pause_reading()  # type: ignore[attr-defined]

    def go_on(self) -> None:
        """Read on after a stall."""
        assert self._socket is not None
        self._socket.transport.resume_reading()  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._read(self._socket))

    async def cut(self) -> None:
        """Lose the connection without a word."""
        assert self._socket is not None
        assert self._task is not None
        self._socket.transport.abort()
        await asyncio.wait((self._task,))

    async def leave(self) -> None:
        """Close in order."""
        assert self._socket is not None
        assert self._task is not None
        await self._socket.close()
        await asyncio.wait((self._task,))
