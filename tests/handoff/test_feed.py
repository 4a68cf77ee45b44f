"""The feed, its acknowledgement, what is kept, and the API of webhooks and feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveroom.protocol.messages import Limits
from liveroom.server.api import ApiContext, make_api
from liveroom.server.api.context import Handoff
from liveroom.server.api.shapes import AckAnswer, AttemptAnswer, FeedAnswer, WebhookAnswer, WebhooksPage
from liveroom.server.backplane import keys
from liveroom.server.handoff.targets import Allowed
from liveroom.server.handoff.webhooks import MAX_WEBHOOKS
from liveroom.server.room.desk import Ids
from liveroom.server.room.hub import Hub
from liveroom.server.room.identity import Identity, Role
from liveroom.server.room.ports import Refused
from liveroom.server.room.room import RoomSettings
from liveroom.server.sale.desk import ClaimDesk
from liveroom.server.sale.known import KnownSales
from tests.api.conftest import Answer

from .conftest import Node, Partner, Received, Shop, until

LIMITS = Limits(4096, 100.0, 200, 500, 1.0, 5, 50, 10.0)
TOKENS = {
    "service": Identity("platform", "platform", Role.SERVICE, None),
    "service-of-room": Identity("platform", "platform", Role.SERVICE, "r"),
    "host": Identity("hana", "Hana", Role.HOST, None),
}
PLATFORM = "service"
FUTURE = "9999999999999-0"


class Api:
    """The API over a node's hand-off."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self._client = client

    async def call(
        self, method: str, path: str, body: Any = None, token: str = PLATFORM, query: Any = None
    ) -> Answer:
        """Ask."""
        data = None if body is None else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {token}"}
        async with self._client.request(method, path, data=data, headers=sent, params=query) as answer:
            text = await answer.read()
            return Answer(answer.status, msgspec.json.decode(text) if text else None, answer.headers)


def _authenticate(token: str) -> Identity:
    if token not in TOKENS:
        raise Refused("unauthorized", "the token is not valid")
    return TOKENS[token]


@pytest.fixture
async def api(node: Node) -> AsyncIterator[Api]:
    """The API over the node."""
    settings = RoomSettings(50, 50, 250, 1000, 250, 10_000, 600_000, 25_000, LIMITS)
    ids = Ids("t")
    context = ApiContext(
        hub=Hub(node.store, settings, comments_per_s=40.0, create_rooms=False, ids=ids),
        store=node.store,
        sales=node.store,
        claims=ClaimDesk(node.store, ids, KnownSales(), node.store.now_ms),
        handoff=Handoff(webhooks=node.webhooks, feed=node.feed, now_ms=node.store.now_ms),
        authenticate=_authenticate,
        open_api=False,
        ready=lambda: None,
        edge_counts=dict,
    )
    async with TestClient(TestServer(make_api(context))) as client:
        yield Api(client)


# --- the feed -----------------------------------------------------------------------------------------


async def test_pages_cover_everything_in_order(api: Api, shop: Shop) -> None:
    """Following ``next`` gives each item once, in order; at the end ``next`` stays, and goes on later."""
    orders = await shop.buy(7)
    got, after = [], ""
    while True:
        answer = await api.call("GET", "/v1/orders/feed", query={"after": after, "limit": 3})
        page = msgspec.convert(answer.json, FeedAnswer)
        if not page.orders:
            break
        got += [item.order.order for item in page.orders]
        after = page.next
    assert got == orders
    assert page.next == after
    [more] = await shop.buy()
    answer = await api.call("GET", "/v1/orders/feed", query={"after": after})
    assert [item["order"]["order"] for item in answer.json["orders"]] == [more]


async def test_an_acknowledgement_hands_off_what_was_read(api: Api, shop: Shop) -> None:
    """Orders up to the position are the partner's, later ones are not; repeated, or lower, it changes nothing."""
    orders = await shop.buy(5)
    page = await api.call("GET", "/v1/orders/feed", query={"limit": 3})
    position = page.json["next"]
    answer = await api.call("POST", "/v1/orders/feed/ack", {"after": position})
    assert msgspec.convert(answer.json, AckAnswer) == AckAnswer("default", position, 3)
    assert [await shop.status(order) for order in orders] == ["handed_off"] * 3 + ["placed"] * 2
    for again in (position, "0-0"):
        answer = await api.call("POST", "/v1/orders/feed/ack", {"after": again})
        assert answer.json == {"consumer": "default", "after": position, "handed_off": 0}


async def test_an_order_that_moved_on_is_acknowledged_all_the_same(api: Api, shop: Shop) -> None:
    """What was cancelled meanwhile stays cancelled."""
    kept, cancelled = await shop.buy(2)
    await shop.act(cancelled, "cancel")
    page = await api.call("GET", "/v1/orders/feed")
    assert [item["type"] for item in page.json["orders"]] == ["order.placed"] * 2 + ["order.cancelled"]
    answer = await api.call("POST", "/v1/orders/feed/ack", {"after": page.json["next"]})
    assert answer.json["handed_off"] == 1
    assert [await shop.status(order) for order in (kept, cancelled)] == ["handed_off", "cancelled"]


async def test_more_than_a_page_is_acknowledged_at_once(api: Api, shop: Shop) -> None:
    """However much lies before the position."""
    orders = await shop.buy(230)
    page = await api.call("GET", "/v1/orders/feed", query={"limit": 1000})
    answer = await api.call("POST", "/v1/orders/feed/ack", {"after": page.json["next"]})
    assert answer.json["handed_off"] == 230
    assert await shop.status(orders[-1]) == "handed_off"


async def test_consumers_are_told_apart(api: Api, shop: Shop) -> None:
    """Each goes on where it has acknowledged, and can be forgotten."""
    orders = await shop.buy(3)
    first = await api.call("GET", "/v1/orders/feed", query={"limit": 2})
    await api.call("POST", "/v1/orders/feed/ack", {"after": first.json["next"], "consumer": "erp"})
    mine = await api.call("GET", "/v1/orders/feed", query={"consumer": "erp"})
    other = await api.call("GET", "/v1/orders/feed", query={"consumer": "crm"})
    assert [item["order"]["order"] for item in mine.json["orders"]] == orders[2:]
    assert [item["order"]["order"] for item in other.json["orders"]] == orders
    assert (await api.call("DELETE", "/v1/orders/feed/erp")).status == 204
    assert (await api.call("DELETE", "/v1/orders/feed/erp")).code == "not_found"


@pytest.mark.parametrize(
    "after", [FUTURE, "1", "-", "1-", "1-2-3", "x-0", "-1-0", "٣-0", "9" * 30 + "-0", "$", "+", "1-0\n"]
)
async def test_a_position_from_the_future_or_garbage(api: Api, shop: Shop, after: str) -> None:
    """Neither is read from nor acknowledged."""
    [order] = await shop.buy()
    assert (await api.call("GET", "/v1/orders/feed", query={"after": after})).code == "invalid"
    assert (await api.call("POST", "/v1/orders/feed/ack", {"after": after})).code == "invalid"
    assert await shop.status(order) == "placed"


async def test_the_feed_of_an_empty_outbox(api: Api) -> None:
    """There is a position to begin with, and nothing after it."""
    assert (await api.call("GET", "/v1/orders/feed")).json == {"orders": [], "next": "0-0"}
    assert (await api.call("GET", "/v1/orders/feed", query={"after": "0-1"})).code == "invalid"
    assert (await api.call("GET", "/v1/orders/feed", query={"consumer": "a b"})).code == "invalid"
    assert (await api.call("GET", "/v1/orders/feed", query={"limit": 0})).code == "bad_request"
    ack = await api.call("POST", "/v1/orders/feed/ack", {"after": ""})
    assert ack.code == "invalid"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/orders/feed"),
        ("POST", "/v1/orders/feed/ack"),
        ("GET", "/v1/webhooks"),
        ("PUT", "/v1/webhooks/w"),
        ("POST", "/v1/webhooks/w/rotate"),
    ],
)
async def test_only_the_platform_asks(api: Api, method: str, path: str) -> None:
    """A host's token does not do, and neither does one for a single room."""
    for token in ("host", "service-of-room"):
        assert (await api.call(method, path, {}, token=token)).code == "forbidden"


# --- what is kept -------------------------------------------------------------------------------------


async def test_trimming_keeps_what_someone_does_not_have(
    node: Node, shop: Shop, partner: Partner, own_redis: str
) -> None:
    """An endpoint, a consumer of the feed and a consumer group each hold what they lack; a disabled one nothing."""

    async def gone(received: Received) -> web.StreamResponse:
        return web.Response(status=410)

    client = redis.Redis.from_url(own_redis)
    await node.webhooks.put("w", partner.url, (), None)
    await shop.buy(4)
    await partner.until(lambda p: len(p.taken) == 4)
    await until(lambda: node.webhooks.get("w"), lambda w: w.owed == 0)
    page = await node.feed.read("", "", 4)
    positions = [item.position for item in page.items]
    await node.feed.acknowledge("erp", positions[0])
    await client.xgroup_create(keys.OUTBOX, "group", positions[1])
    assert await node.outbox.trim(-1000) == 0
    await node.feed.acknowledge("erp", positions[3])
    assert await node.outbox.trim(-1000) == 1
    await client.xreadgroup("group", "one", {keys.OUTBOX: ">"})
    assert await node.outbox.trim(-1000) == 1
    await client.xack(keys.OUTBOX, "group", *positions)
    partner.behave = gone
    await shop.buy()
    await until(lambda: node.webhooks.get("w"), lambda w: w.state == "disabled")
    await node.feed.forget("erp")
    await client.xgroup_destroy(keys.OUTBOX, "group")
    assert await node.outbox.trim(600_000) == 0
    assert await node.outbox.trim(-1000) == 3
    await client.aclose()


# --- endpoints through the API ------------------------------------------------------------------------


async def test_the_life_of_an_endpoint(api: Api, shop: Shop, partner: Partner) -> None:
    """Made with a secret told once, read, tried out, listed, rotated, replayed, removed."""
    made = await api.call("PUT", "/v1/webhooks/erp", {"url": partner.url, "types": ["order.placed"]})
    assert made.status == 200
    told = msgspec.convert(made.json, WebhookAnswer)
    assert told.secret is not None
    assert (told.state, told.depth, told.secrets) == ("enabled", 0, 1)
    tried = await api.call("POST", "/v1/webhooks/erp/test")
    assert msgspec.convert(tried.json, AttemptAnswer) == AttemptAnswer(True, 204, "answered 204")
    assert partner.taken[0].is_signed_with(told.secret)
    assert partner.taken[0].item["type"] == "webhook.test"
    [order] = await shop.buy()
    await shop.until_status(order, "handed_off")
    read = await until(lambda: api.call("GET", "/v1/webhooks/erp"), lambda a: a.json["delivered"] == 1)
    assert "secret" not in read.json
    assert read.json["last_success_at"] > 0
    rotated = await api.call("POST", "/v1/webhooks/erp/rotate")
    assert rotated.json["secrets"] == 2
    assert rotated.json["secret"] != told.secret
    listed = msgspec.convert((await api.call("GET", "/v1/webhooks")).json, WebhooksPage)
    assert [(w.webhook, w.secret) for w in listed.webhooks] == [("erp", None)]
    taken = len(partner.taken)
    assert (await api.call("POST", "/v1/webhooks/erp/replay", {"after": "0-0"})).status == 200
    await partner.until(lambda p: len(p.taken) == taken + 1)
    assert (await api.call("POST", "/v1/webhooks/erp/enable")).json["state"] == "enabled"
    assert (await api.call("DELETE", "/v1/webhooks/erp")).status == 204
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/enable"),
        ("POST", "/replay"),
        ("POST", "/test"),
    ):
        assert (await api.call(method, f"/v1/webhooks/erp{path}")).code == "unknown_webhook"


async def test_a_failed_try_is_told(api: Api, partner: Partner) -> None:
    """What a test attempt met is the answer, not an error."""

    async def refuse(received: Received) -> web.StreamResponse:
        return web.Response(status=401)

    partner.behave = refuse
    await api.call("PUT", "/v1/webhooks/w", {"url": partner.url})
    answer = await api.call("POST", "/v1/webhooks/w/test")
    assert answer.json == {"ok": False, "status": 401, "detail": "answered 401"}
    await partner.stop()
    answer = await api.call("POST", "/v1/webhooks/w/test")
    assert (answer.json["ok"], answer.json["status"]) == (False, 0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": "ftp://partner.example/"},
        {"url": "https://user:pass@partner.example/"},
        {"url": "https://partner.example/", "types": ["order.lost"]},
        {"url": "https://partner.example/", "types": "order.placed"},
        {"url": "https://partner.example/", "secret": "hunter2"},
    ],
)
async def test_bad_endpoints_are_refused(api: Api, body: Any) -> None:
    """Nothing is made of them."""
    assert (await api.call("PUT", "/v1/webhooks/w", body)).code == "invalid"
    assert (await api.call("GET", "/v1/webhooks/w")).code == "unknown_webhook"


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "http://partner.example/"]
)
async def test_private_targets_need_a_setting(nodes: Callable[..., Node], url: str) -> None:
    """As it is by default, they are refused when they are given."""
    with pytest.raises(Refused) as refused:
        await nodes(allowed=Allowed()).webhooks.put("w", url, (), None)
    assert refused.value.code == "invalid"


async def test_replay_from_the_future_is_refused(api: Api, partner: Partner) -> None:
    """As a position of the feed."""
    await api.call("PUT", "/v1/webhooks/w", {"url": partner.url})
    assert (await api.call("POST", "/v1/webhooks/w/replay", {"after": FUTURE})).code == "invalid"
    assert (await api.call("POST", "/v1/webhooks/w/replay", {"after": "now"})).code == "invalid"


async def test_endpoints_are_bounded(node: Node, partner: Partner) -> None:
    """Each costs every node a look; there is a most."""
    for number in range(MAX_WEBHOOKS):
        await node.webhooks.put(f"w{number}", partner.url, (), None)
    with pytest.raises(Refused, match="already"):
        await node.webhooks.put("one-more", partner.url, (), None)
