"""Rooms: make, read, close, and their numbers."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from liveroom.server.api.call import Call, answer
from liveroom.server.api.shapes import RoomBody, SaleStats, Stats
from liveroom.server.room.ports import Refused, RoomRecord


async def put_room(call: Call) -> web.Response:
    """Make the room, or set its title: 201 when it is new."""
    body: RoomBody = call.decode(RoomBody) if call.body.strip() else RoomBody()
    record, new = await call.context.store.create(call.room, body.title)
    return answer(record, 201 if new else 200)


async def get_room(call: Call) -> web.Response:
    """Read the room's record."""
    return answer(await record_of(call))


async def close_room(call: Call) -> web.Response:
    """Close the room for good; its record, sales and orders can still be read."""
    await call.context.hub.ensure(call.room)
    await call.context.store.close(call.room, *call.idempotency())
    return answer(await record_of(call))


async def get_stats(call: Call) -> web.Response:
    """Read the room's numbers. Sales that have ended are left out beyond the newest few."""
    hub, store = call.context.hub, call.context.store
    desk = hub.desks.get(call.room)
    if desk is not None:  # no call to the store: a room that is held here is told every change
        present, log = desk.room.present, desk.room.log
        numbers, sales = present.state, list(present.sales.values())
        epoch, offset, closed, here = log.epoch, log.head, present.closed, len(desk.room.audience)
    else:
        record = await record_of(call)
        loaded = await store.load(call.room, after=(record.epoch, record.offset), create=False)
        if loaded is None:
            raise Refused("unknown_room", "there is no such room")
        numbers, sales = (
            msgspec.json.decode(loaded.state),
            [msgspec.json.decode(sale) for sale in loaded.sales],
        )
        epoch, offset = loaded.record.epoch, loaded.record.offset
        closed, here = loaded.record.closed_at is not None, 0
    stats = Stats(
        room=call.room,
        epoch=epoch,
        offset=offset,
        now=store.now_ms(),
        closed=closed,
        likes=numbers.get("likes", 0),
        viewers=numbers.get("viewers", 0),
        viewers_here=here,
        orders_elsewhere=numbers.get("orders", {}).get("", 0),
        sales=[_sale_stats(sale, numbers) for sale in sales],
    )
    return answer(stats)


def _sale_stats(sale: dict[str, Any], numbers: dict[str, Any]) -> SaleStats:
    # The room's state is told more often than the sale's facts are.
    id = sale["sale"]
    return SaleStats(
        sale=id,
        state=sale["state"],
        title=sale["title"],
        stock=sale["stock"],
        left=numbers.get("stock", {}).get(id, sale["left"]),
        orders=numbers.get("orders", {}).get(id, sale["orders"]),
    )


async def record_of(call: Call) -> RoomRecord:
    """Return the record of the call's room.

    :raises Refused: ``unknown_room``.
    """
    await call.context.hub.ensure(call.room)
    record = await call.context.store.record(call.room)
    if record is None:
        raise Refused("unknown_room", f"there is no room {call.room!r}")
    return record
