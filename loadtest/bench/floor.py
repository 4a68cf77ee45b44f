"""The floor: the least a server can do for its viewers. ``python -m liveroom.loadtest.bench.floor RATE SIZE``

Accepts, answers every request with 101, and sends one frame of SIZE bytes of payload to every socket RATE
times a second, from one thread, one ``send`` a socket. What liveroom's processor time a delivery is divided by.
Prints ``port N`` once it listens, and runs until it is ended.

This loop is Python around ``socket.send`` and so a few tenths of a microsecond above the same loop in C, which
stands in ``floor.c``; the benchmarks take that where there is a C compiler, as the stricter measure.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
import time
from collections.abc import Callable

from liveroom.loadtest.bench.streams import marker
from liveroom.protocol import frames

_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"  # of the key every viewer of the crowd sends
)


class Floor:
    """See the module."""

    def __init__(self, rate: float, size: int) -> None:
        self._period = 1 / rate
        self._size = size
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._joining: dict[int, socket.socket] = {}
        self._viewers: dict[int, socket.socket] = {}
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until the process is ended."""
        due = time.monotonic() + self._period
        while True:
            wait = due - time.monotonic()
            if wait > 0:
                for file, _ in self._poll.poll(wait, 1024):
                    self._take(file)
                continue
            # A loop that cannot keep up sends less often; it does not send more later.
            due = max(due + self._period, time.monotonic())
            self._send_all()

    def _send_all(self) -> None:
        frame = self.frame(time.monotonic_ns())
        sends: list[Callable[[bytes], int]] = [viewer.send for viewer in self._viewers.values()]
        for send in sends:
            try:
                send(frame)
            except OSError:
                continue  # full or gone: what is gone is found by reading

    def frame(self, now_ns: int) -> bytes:
        """Build one frame: a marker, filled up to the size."""
        return frames.frame(frames.TEXT, marker(now_ns).ljust(self._size, b".")[: self._size])

    def _take(self, file: int) -> None:
        if file == self._listener.fileno():
            self._accept()
        else:
            self._read(file)

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listener.accept()
            except BlockingIOError:
                return
            viewer.setblocking(False)
            viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(viewer, select.EPOLLIN)
            self._joining[viewer.fileno()] = viewer

    def _read(self, file: int) -> None:
        viewer = self._viewers.get(file) or self._joining[file]
        try:
            data = viewer.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._viewers.pop(file, None)
            self._joining.pop(file, None)
            viewer.close()
        elif file in self._joining:  # a request comes in one piece from the crowd
            del self._joining[file]
            self._viewers[file] = viewer
            viewer.send(_ANSWER)


def main() -> None:
    """Run the floor."""
    floor = Floor(float(sys.argv[1]), int(sys.argv[2]))
    print(f"port {floor.port}", flush=True)
    gc.freeze()
    floor.run()


if __name__ == "__main__":
    main()
