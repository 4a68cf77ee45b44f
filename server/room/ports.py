"""What a room needs from the store and from a viewer's connection, and what can go wrong there.

Knows shapes only. ``backplane`` implements ``RoomStore``; ``edge.connection`` is a ``Viewer``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from liveroom.protocol.commands import Cancel, Claim
from liveroom.protocol.messages import Ack
from liveroom.server.room.identity import Role
from liveroom.server.room.log import Entry


class Refused(Exception):
    """What was asked cannot be done; nothing changed. ``code`` stands in ``protocol.errors.ERRORS``."""

    def __init__(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


class Unavailable(Refused):
    """The store cannot be reached, or did not answer in time: the outcome is unknown, ask again."""

    def __init__(self, message: str = "the store cannot be reached now", retry_after_ms: int = 1000) -> None:
        super().__init__("unavailable", message, retry_after_ms)


class Delivery(NamedTuple):
    """One published message of a room, as the store hands it to every node.

    ``entries`` have the offsets ``first``, ``first + 1``, ...; ``orders`` are (user, order JSON) for the
    buyers alone; ``state`` is a JSON map of the room's numbers, or None.
    """

    epoch: str
    first: int
    at: int
    entries: list[Entry]
    orders: list[tuple[str, bytes]]
    state: bytes | None


class RoomRecord(msgspec.Struct, kw_only=True):
    """A room as stored. Times in ms since the Unix epoch; ``closed_at`` null while it is open."""

    room: str
    title: str
    epoch: str
    offset: int
    created_at: int
    closed_at: int | None


class LoadedRoom(NamedTuple):
    """A room read in one step: record, what it shows now, and the deliveries after what the caller has.

    ``pinned`` is JSON or empty, ``sales`` JSON maps in the order they were made, ``state`` a JSON map.
    """

    record: RoomRecord
    pinned: bytes
    sales: list[bytes]
    state: bytes
    deliveries: list[Delivery]
    now: int


class Beat(NamedTuple):
    """What one beat told: the store's clock, whether the state could be told to the nodes, whether facts are
    pending, and when a sale changes next by the clock."""

    now: int
    told: bool
    pending: bool
    due: int | None = None


class Append(NamedTuple):
    """Events to append together. ``lines`` are lane-marked JSON; ``changes`` are room fields set with them."""

    lines: list[bytes]
    changes: tuple[tuple[str, bytes], ...] = ()
    idempotency_key: str = ""
    fingerprint: str = ""


class RoomStore(Protocol):
    """Rooms in the store. Every call raises ``Unavailable`` when the store cannot answer."""

    def now_ms(self) -> int:
        """Return the store's clock as this process knows it, ms since the Unix epoch."""

    async def create(self, room: str, title: str | None) -> tuple[RoomRecord, bool]:
        """Create the room, or set the title of one that exists; the flag tells whether it is new."""

    async def record(self, room: str) -> RoomRecord | None:
        """Read a room's record; None when there is no such room."""

    async def load(self, room: str, *, after: tuple[str, int] | None, create: bool) -> LoadedRoom | None:
        """Read a room in one step.

        :param after: (epoch, offset) of what the caller has; only what follows is read. If the store's
            log is behind that offset, it has lost events, and the room is given a new epoch.
        :param create: make the room when there is none.
        """

    async def append(self, room: str, appends: list[Append]) -> list[int | Refused]:
        """Append to the room's log in one call; each answer is the offset of the append's last event."""

    async def close(self, room: str, idempotency_key: str = "", fingerprint: str = "") -> int:
        """Close a room and its live sales; returns the offset of ``room_closed``.

        :raises Refused: ``unknown_room``, ``room_closed`` or ``id_reused``.
        """

    async def beat(self, room: str, *, number: int, likes: int, viewers: int, sales: list[str]) -> Beat:
        """Add likes, renew this node's viewer count, settle what is due in ``sales``, tell the state.

        :param number: greater than that of this node's last beat; the likes of a number are added once.
        """

    async def open_orders(self, room: str, users: list[str]) -> list[bytes]:
        """Return each user's open orders, as JSON arrays."""

    async def follow(self, room: str, receive: Callable[[Delivery], None]) -> None:
        """Subscribe to the room's deliveries; returns when nothing published from now on can be missed."""

    async def unfollow(self, room: str) -> None:
        """End a subscription."""


class SaleWatch(Protocol):
    """Whoever wants to know at once what a held room is told of sales and buyers (see ``sale.known``)."""

    def hold(self, room: str) -> None:
        """The room is held from now on."""

    def forget(self, room: str) -> None:
        """The room is held no longer."""

    def sale_told(self, room: str, sale: bytes) -> None:
        """A sale as it now stands, as JSON."""

    def buyer_told(self, room: str, user: str) -> None:
        """A user has, or had, an order."""


class Viewer(Protocol):
    """A connection, as the room sees it."""

    user: str
    name: str
    role: Role
    group: int  # which of the four encodings; see ``flush``
    cursor: int  # offset of the last event written, or ALONE when it does not go with the pass
    paused: bool  # its socket takes no more at the moment
    send: Callable[[bytes], int]  # give the socket what it takes at once; returns how many bytes that was

    def write(self, data: bytes) -> None:
        """Write all of it; what the socket does not take at once waits, and the viewer is paused meanwhile."""

    def reply(self, message: msgspec.Struct) -> None:
        """Write a message that is for this viewer alone."""

    def drop(self) -> None:
        """End a connection that cannot be written to."""

    def bye(self, code: str, message: str, reconnect_after_ms: int | None) -> None:
        """Say ``bye`` and close."""


ALONE = -1
"""The cursor of a viewer that the pass leaves out: it lags, or it has left."""


class ClaimStore(Protocol):
    """The claim desk, as dispatch sees it. ``done`` is called exactly once with the answer or a refusal."""

    def claim(self, room: str, viewer: Viewer, command: Claim, done: Callable[[Ack | Refused], None]) -> None:
        """Claim units of a sale for a viewer."""

    def cancel(
        self, room: str, viewer: Viewer, command: Cancel, done: Callable[[Ack | Refused], None]
    ) -> None:
        """Give back an order of a viewer."""
