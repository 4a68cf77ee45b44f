"""A room's messages as the scripts publish and log them. Pure; the format is told in ``lua/prelude.lua``."""

from __future__ import annotations

from liveroom.server.room.log import Entry, Lane
from liveroom.server.room.ports import Delivery

FACT, COMMENT = b"f", b"c"
_F, _C, _O, _S = b"fcos"


def parse(message: bytes) -> Delivery:
    """Read one message.

    :raises ValueError: not a message of this format version.
    """
    lines = message.split(b"\n")
    version, epoch, first, _, at_text = lines[0].split(b" ")
    if version != b"1":
        raise ValueError(f"message format {version!r} is not known")
    at = int(at_text)
    entries: list[Entry] = []
    orders: list[tuple[str, bytes]] = []
    state: bytes | None = None
    for line in lines[1:]:
        kind = line[0]
        if kind == _F:
            entries.append(Entry(Lane.FACT, line[1:], at))
        elif kind == _C:
            entries.append(Entry(Lane.CHATTER, line[1:], at))
        elif kind == _O:
            user, _, order = line[1:].partition(b" ")
            orders.append((user.decode(), order))
        elif kind == _S:
            state = line[1:]
    return Delivery(epoch.decode(), int(first), at, entries, orders, state)
