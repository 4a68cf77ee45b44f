"""Fixtures every test may use: a private Redis, and a running liveroom."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Liveroom, private_redis, running


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A private Redis for the whole run; tests use rooms of their own."""
    # A short path: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="lr") as folder, private_redis(Path(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liveroom]:
    """A liveroom under --dev for the whole run; tests use rooms of their own."""
    with running(tmp_path_factory.mktemp("live") / "data") as process:
        yield process


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room id of this test's own."""
    return f"{request.node.name[:50].replace('[', '-').replace(']', '')}-{id(request.node) % 9973}"
