"""The run-sheet: read, written as a whole, and each item checked, rehearsed and run.

What a sheet may be is decided in ``sale.runsheet``; that an item has one sale, in the store's script.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from liveroom.server.api.call import Call, answer
from liveroom.server.api.context import Handoff
from liveroom.server.api.rooms import record_of
from liveroom.server.api.sales import MAX_SALES_PAGE
from liveroom.server.api.shapes import (
    PreflightAnswer,
    RehearsalAnswer,
    RunItemAnswer,
    RunSheetAnswer,
    RunSheetBody,
)
from liveroom.server.ops.durability import durability
from liveroom.server.room.ports import Refused
from liveroom.server.sale.ports import Action, Sheet, SheetItem
from liveroom.server.sale.runsheet import Check, RunItem, check_sheet, keeps_started, preflight, rehearsed

ACTIONS = ("preflight", "rehearse", "start", "pause", "resume", "close")
_OF_SALE: dict[str, Action] = {"pause": "pause_clock", "resume": "resume", "close": "close"}
_TRIES = 5  # against others who change the sheet at the same time


async def get_runsheet(call: Call) -> web.Response:
    """Read the run-sheet, with the sale of each item that was started."""
    await record_of(call)
    return answer(await _told(call))


async def put_runsheet(call: Call) -> web.Response:
    """Write the whole run-sheet. Items that were started stay on it as they are."""
    body: RunSheetBody = call.decode(RunSheetBody)
    check_sheet(body.items)
    await record_of(call)
    for _ in range(_TRIES):
        sheet = await call.context.sales.sheet(call.room)
        if body.version is not None and body.version != sheet.version:
            raise Refused("wrong_state", f"the run-sheet is of version {sheet.version}, not {body.version}")
        lost = keeps_started(_items(sheet), body.items, sheet.started)
        if lost is not None:
            raise Refused("wrong_state", f"item {lost} was started: it stays on the run-sheet as it is")
        items = msgspec.json.encode(body.items)
        if await call.context.sales.put_sheet(call.room, items, sheet.version) is not None:
            return answer(await _told(call))
    raise Refused("wrong_state", "others are changing the run-sheet: read it and try again")


async def post_item_action(call: Call) -> web.Response:
    """Check (``preflight``), rehearse, start, pause, resume or close an item; starting it again changes nothing."""
    action = call.request.match_info["action"]
    if action not in ACTIONS:
        raise Refused(
            "not_found", f"there is no action {action[:40]!r} on an item; there are {', '.join(ACTIONS)}"
        )
    name, idempotency = call.id("item"), call.idempotency()
    await record_of(call)
    sheet = await call.context.sales.sheet(call.room)
    item = _find(sheet, name)
    if action == "preflight":
        checks = await _preflight(call, sheet, item)
        return answer(PreflightAnswer(name, all(check.ok for check in checks), checks))
    if action == "rehearse":
        checks = await _preflight(call, sheet, item)
        sale = rehearsed(item, call.context.store.now_ms())
        return answer(RehearsalAnswer(name, True, sale, checks))
    if action == "start":
        return answer(await _start(call, sheet, item))
    if name not in sheet.started:
        raise Refused("wrong_state", f"cannot {action} item {name}: it has not been started")
    act = call.context.sales.act
    return answer(await act(call.room, sheet.started[name], _OF_SALE[action], 0, idempotency))


async def _start(call: Call, sheet: Sheet, item: RunItem) -> bytes:
    for _ in range(_TRIES):
        duration = None if item.duration_s is None else item.duration_s * 1000
        about = SheetItem(item.item, sheet.version, item.delay_s * 1000, duration)
        sale = await call.context.sales.start_item(call.room, about, item.draft)
        if sale is not None:
            return sale
        sheet = await call.context.sales.sheet(call.room)
        item = _find(sheet, item.item)
    raise Refused("wrong_state", "others are changing the run-sheet: try again")


def _items(sheet: Sheet) -> list[RunItem]:
    return msgspec.json.decode(sheet.items, type=list[RunItem])


def _find(sheet: Sheet, name: str) -> RunItem:
    for item in _items(sheet):
        if item.item == name:
            return item
    raise Refused("not_found", f"there is no item {name!r} on this room's run-sheet")


async def _told(call: Call) -> RunSheetAnswer:
    sheet = await call.context.sales.sheet(call.room)
    items = []
    for item in _items(sheet):
        sale, state = sheet.started.get(item.item), None
        if sale is not None:
            state = msgspec.json.decode(await call.context.sales.act(call.room, sale, "read"))["state"]
        items.append(RunItemAnswer(**msgspec.structs.asdict(item), sale=sale, state=state))
    return RunSheetAnswer(sheet.version, items)


# --- preflight ----------------------------------------------------------------------------------------


async def _preflight(call: Call, sheet: Sheet, item: RunItem) -> list[Check]:
    sales, after = [], 0
    more: int | None = 0
    while more is not None:
        found, more = await call.context.sales.sales(call.room, after, MAX_SALES_PAGE)
        sales += [msgspec.json.decode(sale) for sale in found]
        after = more or 0
    own = sheet.started.get(item.item)
    others = [sale for sale in sales if sale["sale"] != own]
    checks = preflight(item, _items(sheet), others, call.context.store.now_ms())
    checks.append(await _webhooks(call.context.handoff))
    told = durability(await call.context.sales.keeping())
    checks.append(Check("durability", not told.weak, " ".join(told.sentences)))
    return checks


async def _webhooks(handoff: Handoff | None) -> Check:
    if handoff is None:
        return Check("webhooks", True, "skipped: this node hands nothing off")
    found = await handoff.webhooks.all()
    if not found:
        return Check("webhooks", True, "skipped: no webhook is configured")
    for webhook in found:
        outcome = await handoff.webhooks.test(webhook.webhook)
        if outcome.kind != "delivered":
            return Check("webhooks", False, f"webhook {webhook.webhook} cannot be reached: {outcome.detail}")
    return Check("webhooks", True, f"{len(found)} answered a test")
