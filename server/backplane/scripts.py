"""The Lua scripts, loaded from ``lua/`` with what they share before each, and called with every fault named."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from liveroom.server.backplane.pipe import Pipe
from liveroom.server.room.ports import Unavailable

NAMES = (
    "create",
    "load",
    "append",
    "beat",
    "open_orders",
    "sale_create",
    "sale_act",
    "claims",
    "room_close",
    "order_act",
    "sale_books",
    "elsewhere",
    "runsheet_put",
    "outbox_look",
    "outbox_health",
    "outbox_change",
    "outbox_lease",
    "outbox_take",
    "outbox_settle",
    "outbox_feed",
    "outbox_trim",
)
_PARTS = {"open_orders": (), "create": ("prelude",), "append": ("prelude",), "runsheet_put": ()}
_OUTBOX_PARTS = ("prelude", "outbox")
_ALL_PARTS = ("prelude", "sale")


class Scripts:
    """Calls scripts by name, through one pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        folder = files(__package__).joinpath("lua")
        self._bodies = {}
        self._digests = {}
        for name in NAMES:
            default = _OUTBOX_PARTS if name.startswith("outbox_") else _ALL_PARTS
            parts = (*_PARTS.get(name, default), name)
            body = "\n".join(folder.joinpath(f"{part}.lua").read_text() for part in parts)
            self._bodies[name] = body
            self._digests[name] = sha1(body.encode(), usedforsecurity=False).hexdigest()

    async def call(self, name: str, keys: list[str], args: list[Any]) -> Any:
        """Run a script.

        :raises Unavailable: Redis cannot be reached, did not answer in time, or cannot write now.
        """
        try:
            try:
                return await self._pipe.call("EVALSHA", self._digests[name], len(keys), *keys, *args)
            except NoScriptError:  # a Redis that was started since; from now on it knows the script
                return await self._pipe.call("EVAL", self._bodies[name], len(keys), *keys, *args)
        except ResponseError as fault:
            raise refusal(fault) from fault
        except (RedisError, OSError) as fault:
            raise Unavailable() from fault


# Answers with which Redis says that it cannot do this now: loading, read only, out of memory, disk fault.
_NOT_NOW = (
    "LOADING",
    "READONLY",
    "OOM",
    "MISCONF",
    "BUSY",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
)


def refusal(fault: ResponseError) -> Exception:
    """Return ``Unavailable`` for a Redis that cannot do this now, else the fault itself: it is a bug of ours."""
    if any(word in str(fault) for word in _NOT_NOW):
        return Unavailable(f"the store cannot do this now: {fault}")
    return fault
