"""A liveroom that asks for tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liveroom.server.edge.auth import mint
from liveroom.server.room.identity import Role
from tests.running import Liveroom, running

SECRET = "a secret of the tests, of more than the 32 bytes it must have"


def token(user: str = "ana", *, role: Role = Role.VIEWER, room: str | None = None, ttl_s: int = 3600) -> str:
    """Make a token that the guarded server takes."""
    return mint(SECRET.encode(), user, role=role, room=room, name=None, ttl_s=ttl_s)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liveroom]:
    """A liveroom without --dev, with one room, ``shop``."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    with running(data, env={"LIVEROOM_TOKEN_SECRET": SECRET}, dev=False) as process:
        host = token("hana", role=Role.HOST)
        process.request("PUT", "/v1/rooms/shop", {"title": "Shop"}, Authorization=f"Bearer {host}")
        yield process
