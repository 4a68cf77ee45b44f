"""The API behind the real front door, on the port that websockets share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.running import Liveroom

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /v1/rooms/door/ws?user=ana HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Peer:
    """A connection of which every byte is the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each handed to the kernel before the next."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: its status and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return int(head.split(b" ", 2)[1]), await self.reader.readexactly(length)


@asynccontextmanager
async def connected(server: Liveroom) -> AsyncIterator[Peer]:
    """Connect to the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(20):
            yield Peer(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_requests_share_a_connection(server: Liveroom) -> None:
    """A connection that was handed to the API carries one request after another."""
    async with connected(server) as peer:
        for _ in range(3):
            await peer.send(HEALTH)
            assert (await peer.answer())[0] == 200


async def test_pipelined_requests(server: Liveroom) -> None:
    """Requests that come in one piece are answered in order."""
    async with connected(server) as peer:
        await peer.send(HEALTH + HEALTH.replace(b"healthz", b"nowhere"))
        assert [(await peer.answer())[0], (await peer.answer())[0]] == [200, 404]


async def test_large_body_in_pieces(server: Liveroom) -> None:
    """A body much larger than what the front door reads comes through whole."""
    body = b'{"title":"' + b"x" * 200 + b'"}' + b" " * 200_000
    head = b"PUT /v1/rooms/door HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connected(server) as peer:
        await peer.send(head + body[:3000], body[3000:120_000], body[120_000:])
        status, answer = await peer.answer()
    assert status in (200, 201) and b"x" * 200 in answer


async def test_body_after_its_head(server: Liveroom) -> None:
    """A body that comes after its head was handed on is read."""
    body = b'{"type":"notice","text":"hi"}'
    head = b"POST /v1/rooms/door/events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with connected(server) as peer:
        await peer.send(head % len(body))
        assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(body)
        assert (await peer.answer())[0] == 200


async def test_upgrade_on_a_used_connection(server: Liveroom) -> None:
    """An upgrade that is not a connection's first request is refused clearly, and the connection ends."""
    async with connected(server) as peer:
        await peer.send(HEALTH)
        await peer.answer()
        await peer.send(UPGRADE)
        status, body = await peer.answer()
        assert status == 426 and b"first request" in body
        assert await peer.reader.read() == b""
