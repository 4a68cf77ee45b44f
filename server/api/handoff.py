"""The hand-off to supply partners: webhook endpoints and the feed. What they may be is decided in ``handoff``."""

from __future__ import annotations

from aiohttp import web

from liveroom.protocol.names import is_id
from liveroom.server.api.call import DEFAULT_PAGE, MAX_PAGE, Call, answer
from liveroom.server.api.context import Handoff
from liveroom.server.api.shapes import (
    AckAnswer,
    AckBody,
    AttemptAnswer,
    ReplayBody,
    WebhookAnswer,
    WebhookBody,
    WebhooksPage,
)
from liveroom.server.handoff.ports import Webhook
from liveroom.server.handoff.signing import good_secrets
from liveroom.server.room.ports import Refused

DEFAULT_CONSUMER = "default"


def _handoff(call: Call) -> Handoff:
    handoff = call.context.handoff
    if handoff is None:
        raise Refused("unavailable", "this node has no outbox")
    return handoff


def _told(call: Call, w: Webhook, secret: str | None = None) -> WebhookAnswer:
    now = _handoff(call).now_ms()
    return WebhookAnswer(
        webhook=w.webhook,
        url=w.url,
        types=list(w.types),
        state=w.state,
        reason=w.reason,
        created_at=w.created_at,
        secrets=len(good_secrets(w.secrets, now)),
        delivered=w.delivered,
        failures=w.failures,
        last_success_at=w.last_success_at,
        last_failure_at=w.last_failure_at,
        last_failure=w.last_failure,
        paused_until=w.pause_until if w.pause_until > now else None,
        owed=w.owed,
        set_aside=w.set_aside,
        depth=w.depth,
        oldest_age_ms=None if w.oldest_at is None else max(0, now - w.oldest_at),
        secret=secret,
    )


async def get_webhooks(call: Call) -> web.Response:
    """List the webhook endpoints, with how each is."""
    found = await _handoff(call).webhooks.all()
    return answer(WebhooksPage(webhooks=[_told(call, webhook) for webhook in found], next=None))


async def get_webhook(call: Call) -> web.Response:
    """Read a webhook endpoint, with how it is; never its secrets."""
    return answer(_told(call, await _handoff(call).webhooks.get(call.id("webhook"))))


async def put_webhook(call: Call) -> web.Response:
    """Make a webhook endpoint, or change it and enable it. A secret that liveroom made is told here, and only here."""
    name = call.id("webhook")
    body: WebhookBody = call.decode(WebhookBody)
    webhook, made = await _handoff(call).webhooks.put(name, body.url, tuple(body.types), body.secret)
    return answer(_told(call, webhook, made))


async def delete_webhook(call: Call) -> web.Response:
    """Remove a webhook endpoint; what it was owed is not delivered."""
    await _handoff(call).webhooks.delete(call.id("webhook"))
    return web.Response(status=204)


async def post_rotate(call: Call) -> web.Response:
    """Make a new secret, told here and only here; the old one signs beside it for the time set."""
    return answer(_told(call, *await _handoff(call).webhooks.rotate(call.id("webhook"))))


async def post_enable(call: Call) -> web.Response:
    """Deliver to a parked or disabled endpoint again, from where it stands."""
    return answer(_told(call, await _handoff(call).webhooks.enable(call.id("webhook"))))


async def post_replay(call: Call) -> web.Response:
    """Deliver again what an endpoint is owed, or, with ``after``, everything after that position."""
    body: ReplayBody = call.decode(ReplayBody) if call.body.strip() else ReplayBody()
    return answer(_told(call, await _handoff(call).webhooks.replay(call.id("webhook"), body.after)))


async def post_test(call: Call) -> web.Response:
    """Send a signed ``webhook.test`` at once, and answer what came of it."""
    outcome = await _handoff(call).webhooks.test(call.id("webhook"))
    return answer(AttemptAnswer(ok=outcome.kind == "delivered", status=outcome.status, detail=outcome.detail))


def _consumer(name: str) -> str:
    if name and not is_id(name):
        raise Refused("invalid", "consumer has 1 to 64 characters out of A-Z a-z 0-9 _ . -")
    return name


async def get_feed(call: Call) -> web.Response:
    """Read what is handed to supply partners after a position, in order. ``next`` is never null: it has no end."""
    query = call.request.query
    limit = call.number("limit", DEFAULT_PAGE, 1, MAX_PAGE)
    page = await _handoff(call).feed.read(query.get("after", ""), _consumer(query.get("consumer", "")), limit)
    next = page.items[-1].position if page.items else page.start
    orders = b",".join(item.json() for item in page.items)
    return answer(b'{"orders":[%b],"next":"%b"}' % (orders, next.encode()))


async def post_ack(call: Call) -> web.Response:
    """Acknowledge everything up to a position: its orders are handed off. Never goes back."""
    body: AckBody = call.decode(AckBody)
    consumer = _consumer(body.consumer) or DEFAULT_CONSUMER
    after, handed = await _handoff(call).feed.acknowledge(consumer, body.after)
    return answer(AckAnswer(consumer=consumer, after=after, handed_off=handed))


async def delete_consumer(call: Call) -> web.Response:
    """Forget a consumer of the feed, so that nothing is kept for it any more."""
    await _handoff(call).feed.forget(call.id("consumer"))
    return web.Response(status=204)
