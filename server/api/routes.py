"""The route table: the one place where a route is declared.

The application, the OpenAPI document and the tests are made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from liveroom.protocol.events import Pin, SaleEvent
from liveroom.protocol.messages import Order
from liveroom.server.api import events, handoff, node, orders, rooms, runsheet, sales
from liveroom.server.api.call import Call
from liveroom.server.api.shapes import (
    AckAnswer,
    AckBody,
    AttemptAnswer,
    AuditAnswer,
    ElsewhereAnswer,
    EventBody,
    EventsBody,
    FeedAnswer,
    Offset,
    OrdersPage,
    PinnedAnswer,
    PreflightAnswer,
    Ready,
    RefundBody,
    RehearsalAnswer,
    ReplayBody,
    RestockBody,
    RoomBody,
    RunSheetAnswer,
    RunSheetBody,
    SalesPage,
    Stats,
    Status,
    WebhookAnswer,
    WebhookBody,
    WebhooksPage,
)
from liveroom.server.room.identity import Role
from liveroom.server.room.ports import RoomRecord
from liveroom.server.sale.report import SaleReport
from liveroom.server.sale.rules import ElsewhereDraft, SaleChanges, SaleDraft


class Route(NamedTuple):
    """One route. ``role`` None: public.

    ``body`` and ``answer`` are types, None for none; a tuple is one of several.
    ``errors`` are the codes this route answers with beside those that every route of its kind has.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[web.Response]]
    role: Role | None
    body: Any = None
    body_optional: bool = False
    answer: Any = None
    statuses: tuple[int, ...] = (200,)
    query: tuple[str, ...] = ()
    keyed: bool = False  # takes Idempotency-Key
    errors: tuple[str, ...] = ()


_ROOM = "/v1/rooms/{room}"
_SALE = f"{_ROOM}/sales/{{sale}}"
_WEBHOOK = "/v1/webhooks/{webhook}"
_FEED = "/v1/orders/feed"
_NO_WEBHOOK = ("unknown_webhook",)
_PAGE = ("after", "limit")
_LOGS = ("room_closed", "unknown_room")

ROUTES: tuple[Route, ...] = (
    Route("PUT", _ROOM, rooms.put_room, Role.HOST, RoomBody, True, RoomRecord, (201, 200)),
    Route("GET", _ROOM, rooms.get_room, Role.VIEWER, answer=RoomRecord, errors=("unknown_room",)),
    Route("POST", f"{_ROOM}/close", rooms.close_room, Role.HOST, answer=RoomRecord, keyed=True, errors=_LOGS),
    Route("GET", f"{_ROOM}/stats", rooms.get_stats, Role.HOST, answer=Stats, errors=("unknown_room",)),
    Route("GET", f"{_ROOM}/ws", node.refuse_plain_join, None, statuses=(), errors=("upgrade_required",)),
    Route(
        "POST",
        f"{_ROOM}/events",
        events.post_events,
        Role.HOST,
        (EventBody, EventsBody),
        answer=Offset,
        keyed=True,
        errors=_LOGS,
    ),
    Route(
        "PUT",
        f"{_ROOM}/pinned",
        events.put_pinned,
        Role.HOST,
        Pin | None,
        answer=PinnedAnswer,
        keyed=True,
        errors=(*_LOGS, "unknown_sale"),
    ),
    Route(
        "DELETE",
        f"{_ROOM}/pinned",
        events.delete_pinned,
        Role.HOST,
        statuses=(204,),
        keyed=True,
        errors=_LOGS,
    ),
    Route(
        "DELETE",
        f"{_ROOM}/comments/{{comment}}",
        events.delete_comment,
        Role.HOST,
        statuses=(204,),
        keyed=True,
        errors=_LOGS,
    ),
    Route(
        "POST",
        f"{_ROOM}/sales",
        sales.post_sale,
        Role.HOST,
        SaleDraft,
        answer=SaleEvent,
        statuses=(201,),
        keyed=True,
        errors=(*_LOGS, "wrong_state"),
    ),
    Route(
        "GET",
        f"{_ROOM}/sales",
        sales.get_sales,
        Role.VIEWER,
        answer=SalesPage,
        query=_PAGE,
        errors=("unknown_room",),
    ),
    Route(
        "GET", _SALE, sales.get_sale, Role.VIEWER, answer=SaleEvent, errors=("unknown_room", "unknown_sale")
    ),
    Route(
        "PATCH",
        _SALE,
        sales.patch_sale,
        Role.HOST,
        SaleChanges,
        answer=SaleEvent,
        keyed=True,
        errors=("unknown_room", "unknown_sale", "wrong_state"),
    ),
    Route(
        "GET",
        f"{_SALE}/audit",
        sales.get_audit,
        Role.HOST,
        answer=AuditAnswer,
        errors=("unknown_room", "unknown_sale"),
    ),
    Route(
        "GET",
        f"{_SALE}/report",
        sales.get_report,
        Role.HOST,
        answer=SaleReport,
        errors=("unknown_room", "unknown_sale"),
    ),
    Route(
        "POST",
        f"{_SALE}/{{action}}",
        sales.post_action,
        Role.HOST,
        RestockBody,
        body_optional=True,
        answer=SaleEvent,
        keyed=True,
        errors=(*_LOGS, "unknown_sale", "wrong_state", "not_found"),
    ),
    Route(
        "GET",
        f"{_ROOM}/runsheet",
        runsheet.get_runsheet,
        Role.HOST,
        answer=RunSheetAnswer,
        errors=("unknown_room",),
    ),
    Route(
        "PUT",
        f"{_ROOM}/runsheet",
        runsheet.put_runsheet,
        Role.HOST,
        RunSheetBody,
        answer=RunSheetAnswer,
        errors=(*_LOGS, "wrong_state"),
    ),
    Route(
        "POST",
        f"{_ROOM}/runsheet/{{item}}/{{action}}",
        runsheet.post_item_action,
        Role.HOST,
        answer=(SaleEvent, PreflightAnswer, RehearsalAnswer),
        keyed=True,
        errors=(*_LOGS, "unknown_sale", "wrong_state", "not_found", "invalid"),
    ),
    Route(
        "GET",
        f"{_ROOM}/orders",
        orders.get_orders,
        Role.HOST,
        answer=OrdersPage,
        query=_PAGE,
        errors=("unknown_room",),
    ),
    Route(
        "POST",
        f"{_ROOM}/orders",
        orders.post_order,
        Role.HOST,
        ElsewhereDraft,
        answer=ElsewhereAnswer,
        statuses=(201,),
        keyed=True,
        errors=(*_LOGS, "unknown_sale"),
    ),
    Route(
        "GET",
        f"{_ROOM}/orders/{{order}}",
        orders.get_order,
        Role.HOST,
        answer=Order,
        errors=("unknown_room", "unknown_order"),
    ),
    Route(
        "POST",
        f"{_ROOM}/orders/{{order}}/{{action}}",
        orders.post_order_action,
        Role.HOST,
        RefundBody,
        body_optional=True,
        answer=Order,
        keyed=True,
        errors=("unknown_room", "unknown_order", "wrong_state", "not_found"),
    ),
    Route("GET", "/v1/webhooks", handoff.get_webhooks, Role.SERVICE, answer=WebhooksPage),
    Route(
        "PUT",
        _WEBHOOK,
        handoff.put_webhook,
        Role.SERVICE,
        WebhookBody,
        answer=WebhookAnswer,
        errors=("wrong_state",),
    ),
    Route("GET", _WEBHOOK, handoff.get_webhook, Role.SERVICE, answer=WebhookAnswer, errors=_NO_WEBHOOK),
    Route("DELETE", _WEBHOOK, handoff.delete_webhook, Role.SERVICE, statuses=(204,), errors=_NO_WEBHOOK),
    Route(
        "POST",
        f"{_WEBHOOK}/rotate",
        handoff.post_rotate,
        Role.SERVICE,
        answer=WebhookAnswer,
        errors=(*_NO_WEBHOOK, "wrong_state"),
    ),
    Route(
        "POST",
        f"{_WEBHOOK}/enable",
        handoff.post_enable,
        Role.SERVICE,
        answer=WebhookAnswer,
        errors=_NO_WEBHOOK,
    ),
    Route(
        "POST",
        f"{_WEBHOOK}/replay",
        handoff.post_replay,
        Role.SERVICE,
        ReplayBody,
        body_optional=True,
        answer=WebhookAnswer,
        errors=_NO_WEBHOOK,
    ),
    Route(
        "POST", f"{_WEBHOOK}/test", handoff.post_test, Role.SERVICE, answer=AttemptAnswer, errors=_NO_WEBHOOK
    ),
    Route(
        "GET",
        _FEED,
        handoff.get_feed,
        Role.SERVICE,
        answer=FeedAnswer,
        query=("after", "limit", "consumer"),
        errors=("invalid",),
    ),
    Route("POST", f"{_FEED}/ack", handoff.post_ack, Role.SERVICE, AckBody, answer=AckAnswer),
    Route(
        "DELETE",
        f"{_FEED}/{{consumer}}",
        handoff.delete_consumer,
        Role.SERVICE,
        statuses=(204,),
        errors=("not_found",),
    ),
    Route("GET", "/healthz", node.get_health, None, answer=Status),
    Route("GET", "/readyz", node.get_ready, None, answer=Ready),
    Route("GET", "/metrics", node.get_metrics, None, answer=str),
    Route("GET", "/openapi.json", node.get_document, None, answer=dict[str, Any]),
)
