"""The viewer's and the host's page, and the files they are made of.

Knows files only: never a room, a token or who asks. Rules: what can be asked for is what lies in the two
folders when the server starts, by exact name, so no request reaches the file system; nothing on a page runs
or is shown in a frame that we did not write, whatever text a viewer sends (Content-Security-Policy).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from aiohttp import ETag, web

CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' https: http:",  # a pinned card may show the shop's own picture
        "connect-src 'self' ws: wss:",  # not every browser takes 'self' to cover websockets
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)

HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # may be kept, but asked about each time: a page and its script belong together
}


class Asset(NamedTuple):
    """One file as it is served. ``etag`` is made from the content."""

    body: bytes
    content_type: str
    etag: str


def read_folder(folder: Traversable) -> dict[str, Asset]:
    """Read what lies in a folder and may be served, by name."""
    assets = {}
    for entry in folder.iterdir():
        content_type = CONTENT_TYPES.get("." + entry.name.rpartition(".")[2])
        if content_type is not None and entry.is_file():
            body = entry.read_bytes()
            assets[entry.name] = Asset(body, content_type, hashlib.sha256(body).hexdigest()[:20])
    return assets


def add_pages(app: web.Application) -> None:
    """Add the routes of the pages to an application: ``/``, ``/host``, ``/static/{name}``, ``/js/{name}``."""
    static = read_folder(files("liveroom.server.web") / "static")
    client = read_folder(files("liveroom.protocol") / "js")
    app.router.add_get("/", _one(static["viewer.html"]))
    app.router.add_get("/host", _one(static["host.html"]))
    app.router.add_get("/static/{name}", _any(static))
    app.router.add_get("/js/{name}", _any(client))


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _one(asset: Asset) -> _Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        return _answer(request, asset)

    return serve


def _any(assets: dict[str, Asset]) -> _Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        asset = assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return _answer(request, asset)

    return serve


def _answer(request: web.Request, asset: Asset) -> web.StreamResponse:
    asked = request.if_none_match or ()
    if any(tag.value in (asset.etag, "*") for tag in asked):
        answer = web.Response(status=304, headers=HEADERS)
    else:
        answer = web.Response(
            body=asset.body, content_type=asset.content_type, charset="utf-8", headers=HEADERS
        )
    answer.etag = ETag(asset.etag)
    return answer
