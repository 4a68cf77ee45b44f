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


# The hand-off is the platform's, not a room's: its keys share a slot of their own, and no room's name can hold a colon.
_HANDOFF = "{liveroom:handoff}"
OUTBOX = f"{_HANDOFF}:outbox"  # stream: what supply partners are told, in order
WEBHOOKS = f"{_HANDOFF}:webhooks"  # set: names of the endpoints
FEEDS = f"{_HANDOFF}:feeds"  # hash: how far each consumer of the feed has acknowledged
WEBHOOK_PREFIX = f"{_HANDOFF}:webhook:"


def order_keys(room: str) -> list[str]:
    """The keys of a room's orders, as the scripts that sell are given them; the outbox is the platform's."""
    return [key(room, "orders"), key(room, "order_ids"), OUTBOX]


def sale_prefix(room: str) -> str:
    """What the keys of a room's sales begin with."""
    return f"liveroom:{{{room}}}:sale:"


def open_prefix(room: str) -> str:
    """What the keys of users' open orders begin with; each is a list of order ids."""
    return f"liveroom:{{{room}}}:open:"
