"""Rooms and sales in Redis: the ports of ``room`` and ``sale``, each call one script.

Knows the scripts' arguments and answers. Never decides anything a script could decide.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import RedisError

from liveroom.server.backplane import keys
from liveroom.server.backplane.keeping import read_keeping
from liveroom.server.backplane.lines import parse
from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.scripts import Scripts
from liveroom.server.backplane.subscription import Subscription
from liveroom.server.room.ports import Append, Beat, Delivery, LoadedRoom, Refused, RoomRecord, Unavailable
from liveroom.server.sale.ports import (
    NO_KEY,
    Action,
    ClaimAnswer,
    ClaimAnswers,
    ClaimRequest,
    Idempotency,
    Keeping,
    OrderAction,
    OrderPage,
    SaleBooks,
    Sheet,
    SheetItem,
)
from liveroom.server.sale.rules import ElsewhereDraft, SaleDraft

_log = logging.getLogger("liveroom.store")

MAX_LIVE_SALES = 100  # in a room
MAX_WAITING = 10_000  # in a sale's waitlist; beyond it a claim is told that the sale is sold out
LEASE_MS = 10_000  # a node's viewers are counted this long after its last beat
CLOCK_EVERY_S = 10.0


class StoreSettings(NamedTuple):
    """How much is kept, and how often state and order facts are told. Times in ms."""

    node: str
    history_events: int
    history_ms: int
    state_window_ms: int
    order_fact_ms: int


class RedisStore:
    """Implements ``RoomStore`` and ``SaleStore``."""

    def __init__(self, pipe: Pipe, subscription: Subscription, settings: StoreSettings) -> None:
        self._pipe = pipe
        self._scripts = Scripts(pipe)
        self._subscription = subscription
        self._s = settings
        self._clock_offset_ms = 0.0

    # --- clock --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Return Redis's clock, as last compared, ms since the Unix epoch."""
        return int(time.time() * 1000 + self._clock_offset_ms)

    async def read_clock(self) -> None:
        """Compare this process's clock with Redis's; a sample taken over a slow round trip is left."""
        before = time.time()
        seconds, micros = await self._read("TIME")
        after = time.time()
        if after - before < 1:
            self._clock_offset_ms = (int(seconds) + int(micros) / 1e6 - (before + after) / 2) * 1000

    async def keep_clock(self) -> None:
        """Compare clocks now and then, until cancelled."""
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            try:
                await self.read_clock()
            except Unavailable:
                _log.debug("clock not compared: the store is away")

    # --- rooms --------------------------------------------------------------------------------------

    def _log_args(self, room: str) -> list[Any]:
        return [keys.channel(room), self._s.history_events, self._s.history_ms]

    async def create(self, room: str, title: str | None) -> tuple[RoomRecord, bool]:
        """See ``RoomStore``."""
        args = [_new_epoch(), title or "", "1" if title is not None else ""]
        new, flat = await self._scripts.call("create", [keys.key(room, "room")], args)
        return _record(room, _hash(flat)), bool(new)

    async def record(self, room: str) -> RoomRecord | None:
        """See ``RoomStore``."""
        found = await self._read("HMGET", keys.key(room, "room"), *_RECORD)
        fields = {name: value for name, value in zip(_RECORD, found, strict=True) if value is not None}
        return _record(room, fields) if fields else None

    async def load(self, room: str, *, after: tuple[str, int] | None, create: bool) -> LoadedRoom | None:
        """See ``RoomStore``."""
        epoch, offset = after or ("", 0)
        answer = await self._scripts.call(
            "load",
            [keys.key(room, name) for name in ("room", "log", "nodes", "sales")],
            [
                _new_epoch(),
                "1" if create else "",
                epoch,
                offset,
                self._s.history_events,
                keys.sale_prefix(room),
            ],
        )
        if answer is None:
            return None
        flat, sales, state, batches, now = answer
        fields = _hash(flat)
        return LoadedRoom(
            record=_record(room, fields),
            pinned=fields.get(b"pinned", b""),
            sales=sales,
            state=state,
            deliveries=[parse(batch) for batch in batches],
            now=int(now),
        )

    async def append(self, room: str, appends: list[Append]) -> list[int | Refused]:
        """See ``RoomStore``."""
        names = [keys.key(room, "room"), keys.key(room, "log")]
        args = self._log_args(room)
        for lines, changes, idempotency_key, fingerprint in appends:
            if idempotency_key:
                names.append(keys.key(room, f"idem:{idempotency_key}"))
            args += (len(names) - 2 if idempotency_key else 0, fingerprint, len(changes))
            for change in changes:
                args += change
            args.append(len(lines))
            args += lines
        answers = await self._scripts.call("append", names, args)
        return [answer if isinstance(answer, int) else _refused(answer) for answer in answers]

    async def close(self, room: str, idempotency_key: str = "", fingerprint: str = "") -> int:
        """See ``RoomStore``."""
        names = [keys.key(room, name) for name in ("room", "log", "sales", f"idem:{idempotency_key}")]
        names += keys.order_keys(room)
        args = [*self._log_args(room), keys.sale_prefix(room), fingerprint, keys.open_prefix(room)]
        answer = await self._scripts.call("room_close", names, args)
        if isinstance(answer, list):
            raise Refused(answer[0].decode(), answer[1].decode())
        return int(answer)

    async def beat(self, room: str, *, number: int, likes: int, viewers: int, sales: list[str]) -> Beat:
        """See ``RoomStore``."""
        names = [keys.key(room, name) for name in ("room", "log", "nodes", "gate")]
        names += keys.order_keys(room)
        names += [keys.sale_prefix(room) + sale for sale in sales]
        s = self._s
        args = [*self._log_args(room), s.node, number, viewers, LEASE_MS, likes]
        args += [max(1, s.state_window_ms * 4 // 5), s.order_fact_ms, keys.open_prefix(room)]
        answer = await self._scripts.call("beat", names, args)
        if answer is None:
            raise Refused("unknown_room", f"there is no room {room!r}")
        return Beat(int(answer[0]), bool(answer[1]), bool(answer[2]), int(answer[3]) if answer[3] else None)

    async def open_orders(self, room: str, users: list[str]) -> list[bytes]:
        """See ``RoomStore``."""
        answers: list[bytes] = await self._scripts.call(
            "open_orders", [keys.key(room, "orders")], [keys.open_prefix(room), *users]
        )
        return answers

    async def follow(self, room: str, receive: Callable[[Delivery], None]) -> None:
        """See ``RoomStore``."""
        await self._subscription.follow(keys.channel(room), lambda message: receive(parse(message)))

    async def unfollow(self, room: str) -> None:
        """See ``RoomStore``."""
        await self._subscription.unfollow(keys.channel(room))

    # --- sales --------------------------------------------------------------------------------------

    async def create_sale(self, room: str, draft: SaleDraft, idempotency: Idempotency) -> bytes:
        """See ``SaleStore``."""
        made = await self._make_sale(room, draft, idempotency, ("", "", "", ""))
        assert made is not None  # only an item's sheet can be another
        return made

    async def start_item(self, room: str, item: SheetItem, draft: SaleDraft) -> bytes | None:
        """See ``SaleStore``."""
        duration = "" if item.duration_ms is None else item.duration_ms
        return await self._make_sale(room, draft, NO_KEY, (item.item, item.version, item.delay_ms, duration))

    async def _make_sale(
        self, room: str, draft: SaleDraft, idempotency: Idempotency, item: tuple[str | int, ...]
    ) -> bytes | None:
        d = draft
        answer = await self._scripts.call(
            "sale_create",
            [
                keys.key(room, name)
                for name in ("room", "log", "sales", f"idem:{idempotency.key}", "runsheet")
            ],
            [
                *self._log_args(room),
                keys.sale_prefix(room),
                MAX_LIVE_SALES,
                idempotency.fingerprint,
                d.sku,
                d.title,
                d.price,
                d.currency,
                d.stock,
                "" if d.per_user_limit is None else d.per_user_limit,
                "" if d.starts_at is None else d.starts_at,
                "" if d.ends_at is None else d.ends_at,
                d.hold_seconds,
                d.gift,
                "1" if d.allow_overlap else "",
                *item,
            ],
        )
        return None if answer is None else _answered(answer)

    async def sheet(self, room: str) -> Sheet:
        """See ``SaleStore``."""
        read = await self._read(
            "EVAL", "return redis.call('HGETALL', KEYS[1])", 1, keys.key(room, "runsheet")
        )
        fields = {name.decode(): value for name, value in _hash(read).items()}
        mark = "started:"
        return Sheet(
            version=int(fields.get("version", 0)),
            items=fields.get("items", b"[]"),
            started={
                name[len(mark) :]: sale.decode() for name, sale in fields.items() if name.startswith(mark)
            },
        )

    async def put_sheet(self, room: str, items: bytes, version: int) -> int | None:
        """See ``SaleStore``."""
        names = [keys.key(room, "room"), keys.key(room, "runsheet")]
        answer = await self._scripts.call("runsheet_put", names, [version, items])
        if isinstance(answer, list):
            raise Refused(answer[0].decode(), answer[1].decode())
        return None if answer is None else int(answer)

    async def act(
        self,
        room: str,
        sale: str,
        action: Action,
        units: int = 0,
        idempotency: Idempotency = NO_KEY,
        changes: tuple[tuple[str, str | int], ...] = (),
    ) -> bytes:
        """See ``SaleStore``."""
        names = [*self._sale_keys(room, sale)[:3], keys.key(room, f"idem:{idempotency.key}")]
        names += keys.order_keys(room)
        args = [*self._log_args(room), action, units, idempotency.fingerprint, keys.open_prefix(room)]
        for change in changes:
            args += change
        return _answered(await self._scripts.call("sale_act", names, args))

    async def sales(self, room: str, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """See ``SaleStore``."""
        ids = await self._read("LRANGE", keys.key(room, "sales"), after, after + limit)
        found = [await self.act(room, id.decode(), "read") for id in ids[:limit]]
        return found, after + limit if len(ids) > limit else None

    def _sale_keys(self, room: str, sale: str) -> list[str]:
        """The keys every script that sells is given; a sale's own parts have its key as their prefix."""
        names = [keys.key(room, "room"), keys.key(room, "log"), keys.sale_prefix(room) + sale]
        return names + keys.order_keys(room)

    async def claims(self, room: str, sale: str, requests: list[ClaimRequest]) -> ClaimAnswers:
        """See ``SaleStore``."""
        args = [*self._log_args(room), keys.open_prefix(room), self._s.order_fact_ms, MAX_WAITING]
        for user, name, id, quantity, order in requests:
            # 1 and "1" are two ids: a string goes with a mark before it.
            args += (user, name, f"s{id}" if isinstance(id, str) else id, quantity, order)
        _, _, due, *flat = await self._scripts.call("claims", self._sale_keys(room, sale), args)
        parts = iter(flat)
        return ClaimAnswers(
            [
                ClaimAnswer(
                    status.decode(), order.decode(), left, int(expires) if expires else None, position
                )
                for status, order, left, expires, position in zip(
                    parts, parts, parts, parts, parts, strict=True
                )
            ],
            int(due) if due else None,
        )

    async def act_on_order(
        self,
        room: str,
        order: str,
        action: OrderAction,
        *,
        buyer: str = "",
        amount: int | None = None,
        idempotency: Idempotency = NO_KEY,
    ) -> bytes:
        """See ``SaleStore``."""
        json = await self.order(room, order)
        if json is None:
            raise Refused("unknown_order", "there is no such order in this room")
        sale = msgspec.json.decode(json, type=_OfSale).sale
        names = [*self._sale_keys(room, sale), keys.key(room, f"idem:{idempotency.key}")]
        args = [*self._log_args(room), keys.open_prefix(room), action, order, buyer]
        args += ["" if amount is None else amount, idempotency.fingerprint]
        return _answered(await self._scripts.call("order_act", names, args))

    async def ledger(self, room: str, sale: str) -> SaleBooks:
        """See ``SaleStore``."""
        await self.act(room, sale, "read")  # what the clock says first
        read = await self._scripts.call(
            "sale_books", [keys.sale_prefix(room) + sale, keys.key(room, "orders")], []
        )
        live, chain, entries, taken, waitlist, orders, refused = read
        return SaleBooks(
            sale=live,
            chain=chain.decode(),
            entries=entries,
            taken={user.decode(): int(units) for user, units in _hash(taken).items()},
            waitlist=waitlist,
            orders=orders,
            refused={status.decode(): int(count) for status, count in _hash(refused).items()},
        )

    async def order(self, room: str, order: str) -> bytes | None:
        """See ``SaleStore``."""
        found: bytes | None = await self._read("HGET", keys.key(room, "orders"), order)
        return found

    async def orders(self, room: str, after: int, limit: int) -> OrderPage:
        """See ``SaleStore``."""
        ids = await self._read("LRANGE", keys.key(room, "order_ids"), after, after + limit)
        page = ids[:limit]
        found = await self._read("HMGET", keys.key(room, "orders"), *page) if page else []
        return OrderPage([order for order in found if order], after + limit if len(ids) > limit else None)

    async def order_elsewhere(self, room: str, draft: ElsewhereDraft, idempotency: Idempotency) -> bytes:
        """See ``SaleStore``."""
        d = draft
        names = [keys.key(room, name) for name in ("room", "log", "nodes", "sales", "elsewhere")]
        names.append(keys.key(room, f"idem:{idempotency.key}"))
        args = [*self._log_args(room), keys.sale_prefix(room), idempotency.fingerprint]
        args += [d.reference, d.name, d.quantity, d.title, d.sale]
        args += ["" if d.price is None else d.price, d.currency]
        return _answered(await self._scripts.call("elsewhere", names, args))

    async def keeping(self) -> Keeping:
        """See ``SaleStore``."""
        return await read_keeping(self._pipe.call)

    async def _read(self, *words: Any) -> Any:
        try:
            return await self._pipe.call(*words)
        except (RedisError, OSError) as fault:
            raise Unavailable() from fault


class _OfSale(msgspec.Struct):
    """Which sale an order belongs to."""

    sale: str


_RECORD = (b"title", b"epoch", b"offset", b"created_at", b"closed_at")


def _new_epoch() -> str:
    return f"{int(time.time() * 1000):x}{secrets.token_hex(3)}"


def _hash(flat: list[bytes]) -> dict[bytes, bytes]:
    pairs = iter(flat)
    return dict(zip(pairs, pairs, strict=True))


def _record(room: str, fields: dict[bytes, bytes]) -> RoomRecord:
    closed_at = fields.get(b"closed_at")
    return RoomRecord(
        room=room,
        title=fields[b"title"].decode(),
        epoch=fields[b"epoch"].decode(),
        offset=int(fields[b"offset"]),
        created_at=int(fields[b"created_at"]),
        closed_at=int(closed_at) if closed_at else None,
    )


_MESSAGES = {
    "unknown_room": "there is no such room",
    "room_closed": "the room is closed",
    "id_reused": "this Idempotency-Key was used for another request",
}


def _refused(code: bytes) -> Refused:
    name = code.decode()
    return Refused(name, _MESSAGES[name])


def _answered(answer: bytes | list[bytes]) -> bytes:
    if isinstance(answer, list):
        raise Refused(answer[0].decode(), answer[1].decode())
    return answer
