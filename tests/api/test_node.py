"""Health, metrics, and the word on websockets."""

from __future__ import annotations

import dataclasses

import pytest
from aiohttp.test_utils import TestClient, TestServer

from liveroom.server.api import make_api
from liveroom.server.ops.metrics import Counters, render

from .conftest import Api


async def test_health(api: Api) -> None:
    """A process that serves says ok."""
    answer = await api.call("GET", "/healthz", token=None)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_health_by_head(api: Api) -> None:
    """Load balancers that ask with HEAD get the same answer, without the body."""
    answer = await api.call("HEAD", "/healthz", token=None)
    assert (answer.status, answer.json) == (200, b"")


async def test_ready(api: Api) -> None:
    """A node that can serve says so."""
    assert (await api.call("GET", "/readyz", token=None)).json == {
        "status": "ready",
        "durability": None,
    }


async def test_not_ready(api: Api) -> None:
    """A node that should get no traffic answers 503 with the reason."""
    context = dataclasses.replace(api.context, ready=lambda: "stopping")
    async with TestClient(TestServer(make_api(context))) as http, http.get("/readyz") as response:
        body = await response.json(content_type=None)
        assert (response.status, body["code"], body["detail"]) == (503, "unavailable", "stopping")


async def test_metrics_are_this_nodes(api: Api) -> None:
    """The counters of hub, edge, commands and claims are all there."""
    await api.make_room()
    await api.context.hub.desk(api.room)
    api.context.claims.outcomes["sold_out"] = 4
    answer = await api.call("GET", "/metrics", token=None)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.json.decode().splitlines()
    for line in (
        "liveroom_rooms 1",
        "liveroom_viewers 0",
        "liveroom_connections 3",
        "liveroom_joins_total 7",
        'liveroom_commands_total{type="comment"} 5',
        'liveroom_claims_total{outcome="sold_out"} 4',
    ):
        assert line in lines


def test_metrics_text() -> None:
    """Each metric has its HELP and TYPE before its samples, and every line ends."""
    text = render(Counters(1, 2, 0, 3, 4, 5, {}, {"like": 1, "claim": 2}, {}))
    assert text.endswith("\n")
    assert (
        "# HELP liveroom_commands_total Commands of viewers, by type.\n"
        "# TYPE liveroom_commands_total counter\n"
        'liveroom_commands_total{type="claim"} 2\n'
        'liveroom_commands_total{type="like"} 1\n'
    ) in text


@pytest.mark.parametrize("upgrade", [True, False])
async def test_websocket_path_as_http(api: Api, upgrade: bool) -> None:
    """The room path over HTTP says that an upgrade must be a connection's first request, and closes."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"} if upgrade else {}
    answer = await api.call("GET", "ws", token=None, headers=headers)
    assert (answer.status, answer.code, answer.headers["Upgrade"]) == (426, "upgrade_required", "websocket")
    assert "first" in answer.json["detail"] and "close" in answer.headers["Connection"]
