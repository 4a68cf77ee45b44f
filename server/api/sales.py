"""Sales. What a sale may be and do is decided in ``sale.rules`` and the store's scripts."""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from liveroom.server.api.call import DEFAULT_PAGE, MAX_POSITION, Call, answer, page
from liveroom.server.api.rooms import record_of
from liveroom.server.api.shapes import AuditAnswer, RestockBody
from liveroom.server.room.ports import Refused
from liveroom.server.sale.audit import audit
from liveroom.server.sale.ports import Action
from liveroom.server.sale.report import report
from liveroom.server.sale.rules import SaleChanges, SaleDraft, check_changes, check_draft, check_restock

# A change is a PATCH, and a pause that stops the clock is the run-sheet's.
_NOT_ROUTES = ("read", "change", "pause_clock")
ACTIONS = tuple(action for action in get_args(Action) if action not in _NOT_ROUTES)
MAX_FAULTS = 100  # in one answer
MAX_SALES_PAGE = 100  # each is settled by the clock as it is read, which is a call of its own


async def post_sale(call: Call) -> web.Response:
    """Make a sale. It is open at once if ``starts_at`` has come, and waits for ``open`` if that is null."""
    draft: SaleDraft = call.decode(SaleDraft)
    check_draft(draft)
    await call.context.hub.ensure(call.room)
    return answer(await call.context.sales.create_sale(call.room, draft, call.idempotency()), 201)


async def get_sales(call: Call) -> web.Response:
    """List the room's sales, in the order they were made."""
    after, limit = (
        call.number("after", 0, 0, MAX_POSITION),
        call.number("limit", DEFAULT_PAGE, 1, MAX_SALES_PAGE),
    )
    await record_of(call)
    return page("sales", *await call.context.sales.sales(call.room, after, limit))


async def get_sale(call: Call) -> web.Response:
    """Read a sale as it stands."""
    await call.context.hub.ensure(call.room)
    return answer(await call.context.sales.act(call.room, call.id("sale"), "read"))


async def post_action(call: Call) -> web.Response:
    """Open, pause, resume, close or cancel a sale, or restock it; answers the sale as it then stands."""
    action = call.request.match_info["action"]
    if action not in ACTIONS:
        raise Refused(
            "not_found", f"there is no action {action[:40]!r} on a sale; there are {', '.join(ACTIONS)}"
        )
    units = 0
    if action == "restock":
        body: RestockBody = call.decode(RestockBody)
        units = body.add
        check_restock(units)
    sale, idempotency = call.id("sale"), call.idempotency()
    await call.context.hub.ensure(call.room)
    changed = await call.context.sales.act(call.room, sale, cast(Action, action), units, idempotency)
    call.context.claims.sale_told(call.room, changed)
    return answer(changed)


async def patch_sale(call: Call) -> web.Response:
    """Change a sale's offer. Once it has begun, the price can only fall, the limit rise and the end be extended."""
    changes: SaleChanges = call.decode(SaleChanges)
    fields = check_changes(changes)
    sale, idempotency = call.id("sale"), call.idempotency()
    await call.context.hub.ensure(call.room)
    changed = await call.context.sales.act(call.room, sale, "change", 0, idempotency, fields)
    call.context.claims.sale_told(call.room, changed)
    return answer(changed)


async def get_audit(call: Call) -> web.Response:
    """Derive the sale's books again from its ledger and compare them with what is live."""
    sale = call.id("sale")
    await call.context.hub.ensure(call.room)
    books = await call.context.sales.ledger(call.room, sale)
    faults = audit(books)
    return answer(
        AuditAnswer(sale=sale, ok=not faults, entries=len(books.entries), faults=faults[:MAX_FAULTS])
    )


async def get_report(call: Call) -> web.Response:
    """Read what the sale brought: units, revenue, holds, waitlist, refusals, and what is still open."""
    sale = call.id("sale")
    await call.context.hub.ensure(call.room)
    return answer(report(await call.context.sales.ledger(call.room, sale)))
