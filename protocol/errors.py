"""Every code a peer can be answered with, in three tables.

``ERRORS``      codes of the ``error`` message and of HTTP problem bodies.
``CLOSE_CODES`` websocket close codes; their range says what a client does next.
``BYES``        codes of the ``bye`` message that goes before a close by the server.

Rule: a code used anywhere in the server stands here; a test holds the tables, the docs and the
code together.
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """One row: the HTTP status it travels under, whether asking again can help, and what it means."""

    status: int
    retry: bool
    meaning: str


ERRORS: dict[str, ErrorCode] = {
    # what was sent cannot be understood
    "bad_message": ErrorCode(
        400, False, "Not one map of this encoding, or a field is missing or of a wrong type."
    ),
    "bad_request": ErrorCode(
        400, False, "The HTTP request is malformed: head, path, query, headers or JSON body."
    ),
    "unknown_type": ErrorCode(400, False, "No command of this type exists; the message was ignored."),
    "invalid": ErrorCode(
        400, False, "Well-formed, but a value is outside what is allowed; the message says which."
    ),
    "too_long": ErrorCode(400, False, "The text is longer than limits.comment_chars."),
    "empty": ErrorCode(400, False, "The text is empty or only white space."),
    "id_reused": ErrorCode(409, False, "This id was used before with other parameters."),
    # who asks
    "unauthorized": ErrorCode(401, False, "No token, or one that is not valid here."),
    "forbidden": ErrorCode(403, False, "The token is valid, but not for this room or with too small a role."),
    # what is asked for
    "not_found": ErrorCode(404, False, "No such page or route."),
    "unknown_room": ErrorCode(404, False, "No such room."),
    "unknown_sale": ErrorCode(404, False, "No such sale in this room."),
    "unknown_order": ErrorCode(404, False, "No such order of this user in this room."),
    "unknown_webhook": ErrorCode(404, False, "No such webhook endpoint."),
    "method_not_allowed": ErrorCode(405, False, "The route exists, but not with this method."),
    "wrong_state": ErrorCode(409, False, "Not possible in the present state, which the message names."),
    "room_closed": ErrorCode(409, False, "The room is closed: it can be read, but nothing can be added."),
    "too_large": ErrorCode(413, False, "The request body is larger than allowed."),
    "upgrade_required": ErrorCode(426, False, "This path speaks websocket: send an Upgrade request."),
    "head_too_large": ErrorCode(431, False, "The request head is larger than 8 KiB."),
    # not now
    "head_timeout": ErrorCode(408, True, "The request head did not arrive within its deadline."),
    "rate_limited": ErrorCode(429, True, "Too many in too short a time; retry_after_ms says when again."),
    "unavailable": ErrorCode(503, True, "The store cannot be reached now; nothing is known to have changed."),
    "internal": ErrorCode(500, True, "A fault of the server; it has been logged."),
}


class CloseCode(NamedTuple):
    """One row: whether the client should come back by itself, and what it means."""

    reconnect: bool
    meaning: str


# RFC 6455 section 7.4.1 up to 1999. Ours: 4000-4099 come back (with backoff), 4100-4199 stay away.
CLOSE_CODES: dict[int, CloseCode] = {
    1000: CloseCode(False, "Closed as the client asked."),
    1002: CloseCode(False, "The client broke RFC 6455: framing, masking, opcode, reserved bit."),
    1003: CloseCode(False, "A text frame on a MessagePack connection, or a binary one on a JSON connection."),
    1007: CloseCode(
        False, "A text message, or a close reason, that is not UTF-8; or data that does not inflate."
    ),
    1009: CloseCode(False, "A message larger than limits.message_bytes, after inflating."),
    1011: CloseCode(True, "A fault of the server; it has been logged."),
    1012: CloseCode(True, "The server restarts; bye.reconnect_after_ms says when to come back."),
    4000: CloseCode(True, "Nothing was heard from the client for too long."),
    4001: CloseCode(True, "The client did not read for too long."),
    4100: CloseCode(False, "The room is closed."),
    4101: CloseCode(False, "The client kept on sending beyond its message rate."),
}

BYES: dict[str, int] = {
    "restarting": 1012,
    "too_slow": 4001,
    "room_closed": 4100,
    "flooding": 4101,
}
