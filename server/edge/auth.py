"""Who is joining or asking: tokens (JWT, RFC 7519, HS256) checked, and minted for the command line.

Knows the secret. Rules: the algorithm is ours to choose, never the token's; a refusal says what is wrong with
a token but never repeats it; under ``dev`` a viewer may simply say who it is.
"""

from __future__ import annotations

import time
from typing import Any

import jwt

from liveroom.protocol.names import MAX_NAME_CHARS, is_id
from liveroom.server.room.identity import Identity, Role
from liveroom.server.room.ports import Refused

MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: as long as the hash
_ALGORITHM = "HS256"
_LEEWAY_S = 10


class Authenticator:
    """Checks tokens. ``secret`` None: every token is refused (only possible under ``dev``)."""

    def __init__(self, secret: bytes | None, dev: bool) -> None:
        self._secret = secret
        self._dev = dev

    def check(self, token: str) -> Identity:
        """Return whose token this is.

        :raises Refused: ``unauthorized``.
        """
        if self._secret is None:
            raise Refused("unauthorized", "this server has no token secret, so no token is valid")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY_S,
                options={"require": ["sub", "exp"]},
            )
        except jwt.PyJWTError as fault:
            raise Refused("unauthorized", f"the token is not valid: {fault}") from None
        return _identity(claims)

    def join(self, token: str | None, user: str | None, name: str | None) -> Identity:
        """Return who joins, by token or, under ``dev``, by ``?user=``.

        :raises Refused: ``unauthorized`` or ``bad_request``.
        """
        if token is not None:
            return self.check(token)
        if not self._dev:
            raise Refused(
                "unauthorized", "a token is needed: Authorization: Bearer, ?token= or a subprotocol"
            )
        if user is None:
            raise Refused("unauthorized", "say who you are: ?user=alice (or give a token)")
        if not is_id(user):
            raise Refused("bad_request", "a user id is 1 to 64 of A-Z a-z 0-9 _ . -")
        return Identity(user, _name(name, user), Role.VIEWER, None)


def _identity(claims: dict[str, Any]) -> Identity:
    user, room, name = claims["sub"], claims.get("room"), claims.get("name")
    if not isinstance(user, str) or not is_id(user):
        raise Refused("unauthorized", "the token's sub is not a user id")
    if room is not None and (not isinstance(room, str) or not is_id(room)):
        raise Refused("unauthorized", "the token's room is not a room id")
    role = claims.get("role", "viewer")
    if not isinstance(role, str) or role.upper() not in Role.__members__:
        raise Refused("unauthorized", "the token's role is not known")
    return Identity(user, _name(name, user), Role[role.upper()], room)


def _name(name: Any, user: str) -> str:
    """Return the name to show: cut, without control characters, the user's id when there is none."""
    if not isinstance(name, str):
        return user
    shown = "".join(char for char in name if char.isprintable()).strip()[:MAX_NAME_CHARS]
    return shown or user


def mint(secret: bytes, user: str, *, role: Role, room: str | None, name: str | None, ttl_s: int) -> str:
    """Make a token."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "role": role.name.lower(), "iat": now, "exp": now + ttl_s}
    if room is not None:
        claims["room"] = room
    if name is not None:
        claims["name"] = name
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)
