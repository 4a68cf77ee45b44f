"""The room as it stands at the last flush: what a welcome shows.

Pure. Facts and comments are applied when a pass begins, not when they arrive, so that what a joiner is
shown and the cursor it is given always belong together: the next pass brings exactly the rest. State
(likes, viewers, stock, order totals) has no offset; it is kept as last told, and as last sent.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from liveroom.protocol import codec, frames
from liveroom.protocol.codec import Encoding
from liveroom.protocol.messages import Limits
from liveroom.server.room.flush import GROUPS, encoding_of
from liveroom.server.room.log import Entry, Lane

RECENT_COMMENTS = 50
ENDED_SALES_SHOWN = 20  # in a welcome, the newest; the HTTP API lists them all
ENDED = ("closed", "cancelled")

_decode = msgspec.json.decode
_REMOVED = b'{"type":"comment_removed"'


class Present:
    """A room's present, and the welcome bytes made from it."""

    def __init__(self, room: str, heartbeat_ms: int, limits: Limits) -> None:
        self._room = room
        self._heartbeat_ms = heartbeat_ms
        self._limits = limits
        self.epoch = ""
        self.closed = False
        self.sales: dict[str, dict[str, Any]] = {}
        self.sales_version = 0  # grows with every change of a sale
        self.pinned: Any = None
        self.recent: deque[Entry] = deque(maxlen=RECENT_COMMENTS)
        self.state: dict[str, Any] = {}
        self._state_at = 0
        self.sent: dict[str, Any] = {}  # the state as everyone who goes with the pass has it
        self._tails: list[bytes | None] = [None] * (2 * GROUPS)

    def load(
        self, epoch: str, closed: bool, pinned: bytes, sales: list[bytes], state: bytes, at: int
    ) -> None:
        """Take over what the store shows; comments are applied separately."""
        self.epoch = epoch
        self.closed = closed
        self.pinned = _decode(pinned) if pinned else None
        self.sales = {sale["sale"]: sale for sale in map(_decode, sales)}
        self._forget_ended()
        self.sales_version += 1
        self.state = _decode(state)
        self._state_at = at
        self.sent = dict(self.state)
        self.recent.clear()
        self.touch()

    def touch(self) -> None:
        """Forget the encoded welcome: something in it changed."""
        self._tails = [None] * (2 * GROUPS)

    # --- facts and comments -------------------------------------------------------------------------

    def apply(self, entries: list[Entry]) -> None:
        """Bring the present up to the end of ``entries``."""
        if entries:
            self.touch()
        for entry in entries:
            if entry.lane is Lane.CHATTER:
                self.recent.append(entry)
                continue
            # Only these four kinds change what a welcome shows; a custom event need not be decoded.
            kind = entry.json[9:17]
            if kind.startswith((b'sale"', b"pinned", b"comment_", b"room_clo")):
                self._apply_fact(_decode(entry.json))

    def recall(self, entries: list[Entry]) -> None:
        """Fill the recent comments from a log that was read, without those that were removed in it."""
        for entry in entries:
            if entry.lane is Lane.CHATTER:
                self.recent.append(entry)
            elif entry.json.startswith(_REMOVED):
                self._remove(_decode(entry.json)["comment"])

    def _remove(self, comment: str) -> None:
        kept = [entry for entry in self.recent if _decode(entry.json)["comment"] != comment]
        self.recent = deque(kept, maxlen=RECENT_COMMENTS)

    def _apply_fact(self, fact: dict[str, Any]) -> None:
        match fact["type"]:
            case "sale":
                self._apply_sale(fact)
            case "pinned":
                self.pinned = fact["pinned"]
            case "comment_removed":
                self._remove(fact["comment"])
            case "room_closed":
                self.closed = True

    def _apply_sale(self, fact: dict[str, Any]) -> None:
        sale = fact["sale"]
        del fact["type"]  # a welcome shows it as it shows one that was read
        self.sales[sale] = fact
        self.sales_version += 1
        self._forget_ended()
        # The state beside the log may be newer than the fact; an older number must not come back.
        if fact["at"] >= self._state_at or sale not in self.state.get("stock", ()):
            self.state["stock"] = self.state.get("stock", {}) | {sale: fact["left"]}
            self.state["orders"] = self.state.get("orders", {}) | {sale: fact["orders"]}

    def _forget_ended(self) -> None:
        ended = [id for id, sale in self.sales.items() if sale["state"] in ENDED]
        for id in ended[:-ENDED_SALES_SHOWN]:
            del self.sales[id]

    # --- state --------------------------------------------------------------------------------------

    def set_state(self, state: bytes, at: int) -> bool:
        """Take newly told numbers; returns whether any differs from what was sent last."""
        if at >= self._state_at:
            self.state = _decode(state)
            self._state_at = at
        return self.changed

    @property
    def changed(self) -> bool:
        """Tell whether there are numbers that were not sent yet."""
        return self.state != self.sent

    def take_changes(self) -> dict[str, Any]:
        """Return what changed since it was last sent, and count it as sent."""
        changes: dict[str, Any] = {}
        for key, value in self.state.items():
            sent = self.sent.get(key)
            if value == sent:
                continue
            if isinstance(value, dict) and isinstance(sent, dict):
                value = {name: n for name, n in value.items() if sent.get(name) != n}  # noqa: PLW2901
                if not value:
                    continue
            changes[key] = value
        if self.changed:  # also when a number is only gone, which is not told
            self.sent = dict(self.state)
            self.touch()
        return changes

    # --- welcome ------------------------------------------------------------------------------------

    def welcome(self, group: int, user: str, offset: int, now: int, resumed: bool, orders: bytes) -> bytes:
        """Return a whole ``welcome`` frame; ``orders`` is the user's own, encoded for the group."""
        encoding = encoding_of(group)
        head = codec.welcome_head(encoding, user, offset, now, resumed, orders)
        tail = self._tail(group, resumed)
        opcode = frames.BINARY if group >> 1 else frames.TEXT
        if group & 1:
            return frames.frame(opcode, frames.deflate_joined(head, tail), compressed=True)
        return frames.frame(opcode, head + tail)

    def _tail(self, group: int, resumed: bool) -> bytes:
        """Return the shared part, made once until ``touch``; a resumed viewer gets no recent comments."""
        index = group * 2 + resumed
        made = self._tails[index]
        if made is None:
            encoding = encoding_of(group)
            made = codec.welcome_tail(encoding, self._fields(encoding, resumed))
            if group & 1:
                made = frames.deflate(made)
            self._tails[index] = made
        return made

    def _fields(self, encoding: Encoding, resumed: bool) -> list[tuple[str, bytes]]:
        # The numbers as last sent to everyone, so that the next change told is a change from these.
        stock = self.sent.get("stock", {})
        orders = self.sent.get("orders", {})
        sales = [
            sale | {"left": stock.get(id, sale["left"]), "orders": orders.get(id, sale["orders"])}
            for id, sale in self.sales.items()
        ]
        recent = [] if resumed else [_decode(entry.json) for entry in self.recent]
        values = {
            "room": self._room,
            "epoch": self.epoch,
            "heartbeat_ms": self._heartbeat_ms,
            "state": self.sent,
            "sales": sales,
            "pinned": self.pinned,
            "recent": recent,
            "limits": self._limits,
        }
        return [(key, codec.encode_value(value, encoding)) for key, value in values.items()]
