"""The host's HTTP API: check what was sent, ask the store or the hub, answer.

Knows aiohttp, and rooms and sales through their ports. Never knows Redis or a viewer's socket. Decides
nothing that the store could decide: the API holds no state of its own.
"""

from liveroom.server.api.app import make_api
from liveroom.server.api.context import ApiContext

__all__ = ["ApiContext", "make_api"]
