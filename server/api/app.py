"""The aiohttp application, made from the route table.

Before a handler is called, in this order: who asks, is the room's id one, may they, how large is the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from liveroom.server.api import node, openapi
from liveroom.server.api.call import MAX_BODY_BYTES, Call, identify, path_id, read_body
from liveroom.server.api.context import ApiContext
from liveroom.server.api.problems import answer_problems
from liveroom.server.api.routes import ROUTES, Route
from liveroom.server.room.ports import Refused


def make_api(context: ApiContext) -> web.Application:
    """Return the API as an application; pages may be added to it, and share its problem answers."""
    app = web.Application(middlewares=[answer_problems], client_max_size=MAX_BODY_BYTES)
    app[node.DOCUMENT] = openapi.document(ROUTES)
    for route in ROUTES:
        handler = _guarded(context, route)
        if route.method == "GET":
            app.router.add_get(route.path, handler)  # and HEAD, which load balancers ask with
        else:
            app.router.add_route(route.method, route.path, handler)
    return app


def _guarded(context: ApiContext, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    in_room = "{room}" in route.path

    async def handle(request: web.Request) -> web.StreamResponse:
        identity = None if route.role is None else identify(context, request)
        room = path_id(request, "room") if in_room else ""
        if identity is not None and route.role is not None:
            if identity.role < route.role:
                needed, has = route.role.name.lower(), identity.role.name.lower()
                raise Refused("forbidden", f"this takes the role {needed}, and the token has {has}")
            if not identity.may_enter(room):
                raise Refused("forbidden", f"the token is for room {identity.room!r}, not {room!r}")
        return await route.handler(Call(context, request, room, await read_body(request)))

    return handle
