"""The names of everything liveroom keeps in Redis. Pure."""

from __future__ import annotations

CONTROL_CHANNEL = "liveroom:control"


def channel(room: str) -> str:
    """Where a room's messages are published."""
    return f"liveroom:{{{room}}}"


def room_of(channel: str) -> str:
    """Return the room a channel belongs to."""
    return channel[len("liveroom:{") : -1]


def key(room: str, name: str) -> str:
    """A key of a room: ``room`` (hash), ``log`` (stream), ``nodes``, ``gate``, ``sales``, ``orders``, ..."""
    return f"liveroom:{{{room}}}:{name}"


def sale_prefix(room: str) -> str:
    """What the keys of a room's sales begin with."""
    return f"liveroom:{{{room}}}:sale:"


def open_prefix(room: str) -> str:
    """What the keys of users' open orders begin with; each is a list of order ids."""
    return f"liveroom:{{{room}}}:open:"
