"""Websocket bytes made and read by hand, for what no well-behaved library would send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import zlib
from collections.abc import AsyncIterator
from typing import Any

from websockets.frames import Opcode
from websockets.utils import apply_mask

from tests.running import Liveroom
from tests.watching import PATIENCE_S

CONT, TEXT, BINARY = int(Opcode.CONT), int(Opcode.TEXT), int(Opcode.BINARY)
CLOSE, PING, PONG = int(Opcode.CLOSE), int(Opcode.PING), int(Opcode.PONG)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEFLATE = ("Sec-WebSocket-Extensions", "permessage-deflate")


def masked(
    opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, mask: bytes = b"\x11\xfe\x33\x80"
) -> bytes:
    """Make a client's frame. ``bits``: reserved bits, 0x40 is RSV1."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes(((0x80 if fin else 0) | bits | opcode,)) + length + mask + apply_mask(payload, mask)


def squeezed(payload: bytes) -> bytes:
    """Compress a message as permessage-deflate has it."""
    squeezer = zlib.compressobj(wbits=-15)
    return (squeezer.compress(payload) + squeezer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def text(message: Any, **options: Any) -> bytes:
    """Make a text frame of a JSON message."""
    return masked(TEXT, json.dumps(message).encode(), **options)


def upgrade(room: str, *more: tuple[str, str], query: str = "user=raw", **changed: str | None) -> bytes:
    """Make a handshake. ``changed`` headers are by name with ``_``; None leaves one out."""
    headers: dict[str, str | None] = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"GET /v1/rooms/{room}/ws?{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (*headers.items(), *more) if value is not None]
    return "\r\n".join([*lines, "", ""]).encode()


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Read the whole frames in ``data``: (opcode, payload), inflated."""
    frames = []
    while data:
        opcode, payload, size = _server_frame(data)
        frames.append((opcode, payload))
        data = data[size:]
    return frames


def _server_frame(data: bytes) -> tuple[int, bytes, int]:
    first, size, at = data[0], data[1], 2
    assert first & 0x80, "the server sends whole messages"
    assert size < 128, "a server's frame is not masked"
    if size == 126:
        size, at = int.from_bytes(data[2:4]), 4
    elif size == 127:
        size, at = int.from_bytes(data[2:10]), 10
    assert len(data) >= at + size, "a frame is cut off"
    payload = data[at : at + size]
    if first & 0x40:
        payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
    return first & 0x0F, payload, at + size


class RawPeer:
    """A TCP connection of which every byte is the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.messages: list[dict[str, Any]] = []

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each handed to the kernel before the next."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read an answer's head: its status and headers."""
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = raw[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1]), headers

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Read an answer: status, headers, and the body decoded if it is JSON."""
        status, headers = await self.head()
        body = await self.reader.readexactly(int(headers["content-length"]))
        return status, headers, json.loads(body) if "json" in headers["content-type"] else body

    async def refused(self) -> tuple[int, str]:
        """Read a refusal, and see that the server closes after it; returns the status and the problem's code."""
        status, headers, problem = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert problem["status"] == status
        assert await self.reader.read() == b""
        return status, problem["code"]

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame."""
        start = await self.reader.readexactly(2)
        extra = {126: 2, 127: 8}.get(start[1], 0)
        start += await self.reader.readexactly(extra)
        size = int.from_bytes(start[2:]) if extra else start[1]
        opcode, payload, _ = _server_frame(start + await self.reader.readexactly(size))
        return opcode, payload

    async def message(self, kind: str) -> dict[str, Any]:
        """Read until a message of one type has come; all are kept in ``messages``."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                continue
            assert opcode == TEXT, (opcode, payload)
            self.messages.append(json.loads(payload))
            if self.messages[-1]["type"] == kind:
                return self.messages[-1]

    async def close_code(self) -> int:
        """Read up to the server's close frame, and see that nothing but the end follows it."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                break
        self.writer.write(masked(CLOSE, payload[:2]))
        assert await self.reader.read() == b""
        return int.from_bytes(payload[:2]) if payload else 1005


@contextlib.asynccontextmanager
async def connected(server: Liveroom, receive_buffer: int = 0) -> AsyncIterator[RawPeer]:
    """Connect to a server; everything in the block must come within the tests' patience."""
    peer = socket.socket()
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", server.port))
    # One who is not read from takes nothing on its own account either.
    limit = 2**20 if not receive_buffer else 1024
    reader, writer = await asyncio.open_connection(sock=peer, limit=limit)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield RawPeer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def joined(
    server: Liveroom, room: str, *more: tuple[str, str], receive_buffer: int = 0, **options: Any
) -> AsyncIterator[RawPeer]:
    """Join a room with a handshake made by hand; the answer's head has been read."""
    async with connected(server, receive_buffer) as peer:
        await peer.send(upgrade(room, *more, **options))
        status, headers = await peer.head()
        assert (status, headers["sec-websocket-accept"]) == (101, ACCEPT)
        yield peer
