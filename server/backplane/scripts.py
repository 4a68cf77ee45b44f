"""The Lua scripts, loaded from ``lua/`` with the prelude before each, and called with every fault named."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import redis.asyncio as redis
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError

from liveroom.server.room.ports import Unavailable

NAMES = ("create", "load", "append", "beat", "open_orders", "sale_create", "sale_act", "claims")
_READS_ONLY = {"open_orders": ""}


class Scripts:
    """Calls scripts by name on one Redis."""

    def __init__(self, client: redis.Redis) -> None:
        folder = files(__package__).joinpath("lua")
        prelude = folder.joinpath("prelude.lua").read_text()
        self._scripts = {}
        for name in NAMES:
            body = folder.joinpath(f"{name}.lua").read_text()
            self._scripts[name] = client.register_script(_READS_ONLY.get(name, prelude) + body)

    async def call(self, name: str, keys: list[str], args: list[Any]) -> Any:
        """Run a script.

        :raises Unavailable: Redis cannot be reached, did not answer in time, or cannot write now.
        """
        try:
            return await self._scripts[name](keys=keys, args=args)
        except (ConnectionError, TimeoutError, OSError, asyncio.TimeoutError) as fault:
            raise Unavailable() from fault
        except ResponseError as fault:
            raise refusal(fault) from fault
        except RedisError as fault:
            raise Unavailable(str(fault)) from fault


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
