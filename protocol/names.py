"""Names and numbers both ends must agree on.

Rules: an id that may stand in a path is checked here and nowhere else; every limit a client can
hit is named here and sent to it in ``welcome.limits``.
"""

from __future__ import annotations

import re

ID_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
_ID = re.compile(ID_PATTERN)

JSON_SUBPROTOCOL = "liveroom.v1.json"
MSGPACK_SUBPROTOCOL = "liveroom.v1.msgpack"
BEARER_SUBPROTOCOL_PREFIX = "liveroom.bearer."

MAX_MESSAGE_BYTES = 4096
MAX_COMMAND_ID_CHARS = 64
MAX_SAFE_INTEGER = 2**53 - 1  # what every JSON reader holds exactly (RFC 8259 section 6)
MAX_COMMENT_CHARS = 500
MAX_LIKES_PER_MESSAGE = 50
MAX_QUANTITY = 1_000_000
MAX_NAME_CHARS = 64


def is_id(text: str) -> bool:
    """Tell whether ``text`` may be a room, user, sale, order or comment id."""
    return _ID.fullmatch(text) is not None
