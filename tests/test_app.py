"""The process as a whole: what its sockets are set to, and what it says when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from liveroom.server.app import KEEPALIVE_S, USER_TIMEOUT_MS, _connections, _listen
from tests.running import Liveroom


def test_accepted_sockets_have_the_listeners_options() -> None:
    """A dead peer is found by keepalive and user timeout, without a call per connection."""
    listener = _listen("127.0.0.1", 0)
    listener.listen()
    listener.setblocking(True)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            values = [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options]
            assert values == [*KEEPALIVE_S, USER_TIMEOUT_MS]
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_connection_to_the_store_may_be_idle() -> None:
    """A read has no time limit of its own, or a quiet room's next command would meet a dropped connection."""
    for url in ("unix:///nowhere/redis.sock", "redis://127.0.0.1:1"):
        assert _connections(url).make_connection().socket_timeout is None


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nowhere/redis.sock"])
def test_a_store_that_does_not_answer_is_told_at_the_start(tmp_path: Path, url: str) -> None:
    """It does not start, and the sentence names where it looked and which flag to check."""
    server = Liveroom(tmp_path / "data", "--redis", url)
    with pytest.raises(AssertionError, match=r"no Redis answers at .*check --redis"):
        server.start()
    assert server.stop() == 1


def test_a_password_in_the_stores_url_is_not_told(tmp_path: Path) -> None:
    """The sentence about a store that does not answer holds no secret."""
    server = Liveroom(tmp_path / "data", "--redis", "redis://user:hunter2@127.0.0.1:1")
    with pytest.raises(AssertionError) as told:
        server.start()
    assert "hunter2" not in str(told.value)
    server.stop()
