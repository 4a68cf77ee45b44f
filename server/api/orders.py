"""Orders: read, and moved as the platform or its supply partner says. Which move is legal the script decides."""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from liveroom.server.api.call import DEFAULT_PAGE, MAX_PAGE, MAX_POSITION, Call, answer, page
from liveroom.server.api.rooms import record_of
from liveroom.server.api.shapes import RefundBody
from liveroom.server.room.ports import Refused
from liveroom.server.sale.ports import OrderAction
from liveroom.server.sale.rules import ElsewhereDraft, check_elsewhere

# ``cancel_mine`` is the buyer's, by websocket.
ACTIONS = tuple(action for action in get_args(OrderAction) if action != "cancel_mine")


async def get_orders(call: Call) -> web.Response:
    """List the room's orders, in the order they were placed."""
    after, limit = call.number("after", 0, 0, MAX_POSITION), call.number("limit", DEFAULT_PAGE, 1, MAX_PAGE)
    await record_of(call)
    return page("orders", *await call.context.sales.orders(call.room, after, limit))


async def post_order(call: Call) -> web.Response:
    """Tell the room of an order placed elsewhere. A reference is told once; it takes no sale's stock."""
    draft: ElsewhereDraft = call.decode(ElsewhereDraft)
    check_elsewhere(draft)
    await call.context.hub.ensure(call.room)
    told = await call.context.sales.order_elsewhere(call.room, draft, call.idempotency())
    return answer(told, 201)


async def get_order(call: Call) -> web.Response:
    """Read an order."""
    order = call.id("order")
    await record_of(call)
    found = await call.context.sales.order(call.room, order)
    if found is None:
        raise Refused("unknown_order", f"there is no order {order!r} in this room")
    return answer(found)


async def post_order_action(call: Call) -> web.Response:
    """Pay, cancel or refund an order, or tell what the supply partner did with it; answers the order as it then is."""
    action = call.request.match_info["action"]
    if action not in ACTIONS:
        raise Refused(
            "not_found", f"there is no action {action[:40]!r} on an order; there are {', '.join(ACTIONS)}"
        )
    amount = None
    if action == "refund" and call.body.strip():
        body: RefundBody = call.decode(RefundBody)
        amount = body.amount
        if amount is not None and amount < 1:
            raise Refused("invalid", f"amount is at least 1 minor unit, not {amount}")
    order, idempotency = call.id("order"), call.idempotency()
    await record_of(call)
    moved = await call.context.sales.act_on_order(
        call.room, order, cast(OrderAction, action), amount=amount, idempotency=idempotency
    )
    return answer(moved)
