"""This node itself: is it up, is it ready, its counters; the API's description; and a word on websockets."""

from __future__ import annotations

from aiohttp import web

from liveroom.server.api.call import Call, answer
from liveroom.server.api.problems import problem
from liveroom.server.api.shapes import Ready, Status
from liveroom.server.ops.metrics import CONTENT_TYPE, Counters, render

DOCUMENT: web.AppKey[bytes] = web.AppKey("document", bytes)


async def get_health(call: Call) -> web.Response:
    """Tell that the process is up and serves."""
    return answer(Status("ok"))


async def get_ready(call: Call) -> web.Response:
    """Tell whether this node should be sent traffic, and what an order that it acknowledges survives."""
    reason = call.context.ready()
    if reason is not None:
        return problem("unavailable", reason, 1000)
    return answer(Ready("ready", call.context.durability()))


async def get_metrics(call: Call) -> web.Response:
    """Read this node's counters, in Prometheus's text format."""
    context = call.context
    rooms = [desk.room for desk in context.hub.desks.values()]
    counters = Counters(
        rooms=len(rooms),
        viewers=sum(len(room.audience) for room in rooms),
        lagging=sum(len(room.audience.lagging) for room in rooms),
        passes=context.hub.freed_passes + sum(room.passes for room in rooms),
        deliveries=context.hub.freed_deliveries + sum(room.audience.deliveries for room in rooms),
        gaps_filled=context.hub.gaps_filled,
        edge=context.edge_counts(),
        commands=context.command_counts(),
        claims=context.claims.outcomes,
    )
    return web.Response(body=render(counters).encode(), headers={"Content-Type": CONTENT_TYPE})


async def get_document(call: Call) -> web.Response:
    """Read this API's OpenAPI 3.1 document."""
    return answer(call.request.app[DOCUMENT])


async def refuse_plain_join(call: Call) -> web.Response:
    """Say how to join: reached by plain HTTP, or by an upgrade that is not a connection's first request."""
    request = call.request
    if request.headers.get("Upgrade", "").lower() == "websocket":
        detail = (
            "a websocket upgrade must be the first request of its connection, and this connection has "
            "carried others: open a new one"
        )
    else:
        detail = "this path speaks websocket: send an upgrade request, as the first of a connection"
    # RFC 9110 section 15.5.22 asks for Upgrade. Closed, because what follows an upgrade request on the same
    # connection may be websocket frames, which must never be read as a request.
    answered = problem(
        "upgrade_required", detail, headers={"Upgrade": "websocket", "Connection": "Upgrade, close"}
    )
    answered.force_close()
    return answered
