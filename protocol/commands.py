"""Commands: what a viewer sends. One struct each; ``Command`` is their union, told apart by ``type``.

Unknown fields are ignored, so that a newer client can talk to this server. Ranges that need a kind
answer of their own (a quantity of zero, a text too long) are checked in dispatch, not here: a struct
only says what shape a message has.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from liveroom.protocol.names import MAX_COMMAND_ID_CHARS, MAX_SAFE_INTEGER

SafeInteger = Annotated[int, msgspec.Meta(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]

CommandId = Annotated[str, msgspec.Meta(max_length=MAX_COMMAND_ID_CHARS)] | SafeInteger
"""The client's own id of a command, echoed in the reply."""


class Comment(msgspec.Struct, tag="comment", tag_field="type", gc=False):
    """Say something to the room. Answered by ``ack`` with ``shown``."""

    id: CommandId
    text: str


class Like(msgspec.Struct, tag="like", tag_field="type", gc=False):
    """Add ``n`` likes, batched by the client. Not answered."""

    n: int


class Claim(msgspec.Struct, tag="claim", tag_field="type", gc=False):
    """Ask for ``quantity`` units of a sale. ``id`` is the idempotency key within (user, sale)."""

    id: CommandId
    sale: str
    quantity: int


class Cancel(msgspec.Struct, tag="cancel", tag_field="type", gc=False):
    """Give back an order that is not yet final."""

    id: CommandId
    order: str


class Ping(msgspec.Struct, tag="ping", tag_field="type", gc=False):
    """Ask for the server's time. ``t`` is the client's own clock in ms, echoed as it came."""

    t: SafeInteger | float


class Seen(msgspec.Struct, tag="seen", tag_field="type", gc=False):
    """A sampled latency report: batch ``offset`` was shown ``lag_ms`` after it was made. Not answered."""

    offset: int
    lag_ms: SafeInteger | float


Command = Comment | Like | Claim | Cancel | Ping | Seen
COMMAND_TYPES = ("comment", "like", "claim", "cancel", "ping", "seen")
