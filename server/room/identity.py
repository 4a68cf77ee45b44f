"""Who is at the other end, and what a role may do.

Pure. How a token is checked is the edge's business; everything behind it sees an ``Identity``.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Role(enum.IntEnum):
    """Roles in rising order: each may do what those before it may."""

    VIEWER = 1
    HOST = 2
    SERVICE = 3


class Identity(NamedTuple):
    """A checked user. ``room`` None means any room."""

    user: str
    name: str
    role: Role
    room: str | None

    def may_enter(self, room: str) -> bool:
        """Tell whether this identity is good for ``room``."""
        return self.room is None or self.room == room


COMMAND_ROLES: dict[str, Role] = {
    "comment": Role.VIEWER,
    "like": Role.VIEWER,
    "claim": Role.VIEWER,
    "cancel": Role.VIEWER,
    "ping": Role.VIEWER,
    "seen": Role.VIEWER,
}
"""The least role each websocket command asks for; routes have theirs in ``api``."""
