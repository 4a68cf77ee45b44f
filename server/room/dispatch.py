"""Commands of a connected viewer, each to where it is done.

Knows rooms, rates and the claim desk's port. Never knows a socket or Redis. Rules: a command is answered
exactly once (likes and seen reports: not at all, unless refused); a refusal costs its sender and nobody
else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from liveroom.protocol.commands import Cancel, Claim, Command, CommandId, Comment, Like, Ping, Seen
from liveroom.protocol.messages import Ack, Error, Pong
from liveroom.protocol.names import MAX_COMMENT_CHARS, MAX_LIKES_PER_MESSAGE, MAX_QUANTITY, is_id
from liveroom.server.room.desk import RoomDesk
from liveroom.server.room.hub import Hub
from liveroom.server.room.identity import COMMAND_ROLES
from liveroom.server.room.ports import ClaimStore, Refused, Viewer

# Characters that would break a line of chat or turn it around: control (Cc) but for none, line and
# paragraph separators (Zl, Zp), and the bidirectional overrides and isolates.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def refusal_of(id: CommandId | None, refused: Refused) -> Error:
    """Make the ``error`` message for a refused command."""
    error = Error(code=refused.code, message=refused.message)
    if id is not None:
        error.id = id
    if refused.retry_after_ms is not None:
        error.retry_after_ms = refused.retry_after_ms
    return error


def clean_comment(text: str) -> str:
    """Return the text to show.

    :raises Refused: ``too_long``, ``empty`` or ``invalid`` (a control character).
    """
    if len(text) > MAX_COMMENT_CHARS:
        raise Refused(
            "too_long", f"a comment has at most {MAX_COMMENT_CHARS} characters, this one {len(text)}"
        )
    text = text.strip()
    if not text:
        raise Refused("empty", "a comment needs a text")
    if text.isprintable():
        return text
    for char in text:
        if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") or char in _BIDI:
            raise Refused("invalid", f"a comment cannot hold the character U+{ord(char):04X}")
    return text


class Dispatch:
    """Carries out commands."""

    def __init__(self, hub: Hub, claims: ClaimStore) -> None:
        self._hub = hub
        self._claims = claims
        self._handlers: dict[type[Command], Callable[[RoomDesk, Viewer, Any, float], None]] = {
            Comment: self._comment,
            Like: self._like,
            Claim: self._claim,
            Cancel: self._cancel,
            Ping: self._ping,
            Seen: self._seen,
        }
        self._roles = {kind: COMMAND_ROLES[str(kind.__struct_config__.tag)] for kind in self._handlers}
        self.counts = dict.fromkeys(("comment", "like", "claim", "cancel", "ping", "seen"), 0)
        self.seen_lag_ms = 0.0  # of the last sampled report

    def __call__(self, desk: RoomDesk, viewer: Viewer, command: Command, now: float) -> None:
        """Carry out one command; ``now`` is the loop's time in seconds."""
        kind = type(command)
        if viewer.role < self._roles[kind]:
            id = getattr(command, "id", UNSET)
            viewer.reply(Error(id=id, code="forbidden", message=f"your role may not {kind.__name__.lower()}"))
            return
        self._handlers[kind](desk, viewer, command, now)

    def _comment(self, desk: RoomDesk, viewer: Viewer, command: Comment, now: float) -> None:
        self.counts["comment"] += 1
        id = command.id
        try:
            text = clean_comment(command.text)
            if desk.room.present.closed:
                raise Refused("room_closed", "the room is closed")
            wait = self._hub.comment_rates.spend(viewer.user, now)
            if wait:
                raise Refused("rate_limited", "too many comments", int(wait * 1000) + 1)
        except Refused as refused:
            viewer.reply(refusal_of(id, refused))
            return

        def done(answer: str | Refused | None) -> None:
            if answer is None:
                viewer.reply(Ack(id=id, shown=False))
            elif isinstance(answer, Refused):
                viewer.reply(refusal_of(id, answer))
            else:
                viewer.reply(Ack(id=id, shown=True, comment=answer))

        desk.comment(viewer.user, viewer.name, text, done)

    def _like(self, desk: RoomDesk, viewer: Viewer, command: Like, now: float) -> None:
        self.counts["like"] += 1
        if command.n < 1:
            viewer.reply(Error(code="invalid", message=f"like: n is at least 1, not {command.n}"))
            return
        wait = self._hub.like_rates.spend(viewer.user, now)
        if wait:
            viewer.reply(
                Error(
                    code="rate_limited", message="too many like messages", retry_after_ms=int(wait * 1000) + 1
                )
            )
            return
        if not desk.room.present.closed:
            desk.like(min(command.n, MAX_LIKES_PER_MESSAGE))

    def _claim(self, desk: RoomDesk, viewer: Viewer, command: Claim, now: float) -> None:
        self.counts["claim"] += 1
        id = command.id
        if not 1 <= command.quantity <= MAX_QUANTITY:
            message = f"claim: quantity is from 1 to {MAX_QUANTITY}, not {command.quantity}"
            viewer.reply(Error(id=id, code="invalid", message=message))
            return
        if not is_id(command.sale):
            viewer.reply(Error(id=id, code="unknown_sale", message="claim: no such sale"))
            return

        def done(answer: Ack | Refused) -> None:
            if isinstance(answer, Refused):
                viewer.reply(refusal_of(id, answer))
                return
            viewer.reply(answer)
            if answer.status == "reserved":
                desk.touch()

        self._claims.claim(desk.room.id, viewer, command, done)

    def _cancel(self, desk: RoomDesk, viewer: Viewer, command: Cancel, now: float) -> None:
        self.counts["cancel"] += 1
        id = command.id
        if not is_id(command.order):
            viewer.reply(Error(id=id, code="unknown_order", message="cancel: no such order"))
            return
        self._claims.cancel(
            desk.room.id,
            viewer,
            command,
            lambda answer: viewer.reply(refusal_of(id, answer) if isinstance(answer, Refused) else answer),
        )

    def _ping(self, desk: RoomDesk, viewer: Viewer, command: Ping, now: float) -> None:
        self.counts["ping"] += 1
        viewer.reply(Pong(t=command.t, now=self._hub.store.now_ms()))

    def _seen(self, desk: RoomDesk, viewer: Viewer, command: Seen, now: float) -> None:
        self.counts["seen"] += 1
        self.seen_lag_ms = float(command.lag_ms)
