"""Webhooks to real receivers, well and ill behaved: at least once, in order per order, nothing else delayed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from liveroom.server.handoff.schedule import Retries

from .conftest import Behaviour, Node, Partner, Received, Shop, until, well

Partners = Callable[[], Awaitable[Partner]]


async def test_a_placed_order_is_delivered_and_handed_off(node: Node, shop: Shop, partner: Partner) -> None:
    """The whole order arrives, signed, and the order is the partner's from then on."""
    _, secret = await node.webhooks.put("w", partner.url, (), None)
    assert secret is not None
    [order] = await shop.buy()
    await partner.until(lambda p: p.taken)
    await shop.until_status(order, "handed_off")
    [received] = partner.taken
    item = received.item
    assert item["type"] == "order.placed"
    assert item["room"] == shop.room
    assert item["status"] == "placed"
    assert item["order"]["order"] == order
    assert item["order"]["amount"] == 1000
    assert item["order"]["title"] == "Müg"
    assert item["id"] == received.headers["webhook-id"]
    assert received.headers["content-type"] == "application/json"
    assert received.is_signed_with(secret)
    assert not received.is_signed_with("whsec_" + "A" * 32)


async def test_every_change_of_an_order_arrives_in_order(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """Held orders are the partner's once paid; a part refunded is told as well; what was never paid is not told."""
    node = await nodes().start()
    shop = await Shop(node).open(hold_seconds=60)
    await node.webhooks.put("w", partner.url, (), None)
    paid, dropped = await shop.buy(2)
    await shop.act(dropped, "cancel")
    await shop.act(paid, "pay")
    await shop.until_status(paid, "handed_off")
    await shop.act(paid, "accept")
    await shop.act(paid, "refund", amount=300)
    await shop.act(paid, "cancel")
    await shop.act(paid, "accept_cancel")
    await partner.until(lambda p: len(p.taken) == 4)
    assert partner.firsts() == {
        paid: ["order.paid", "order.refunded", "order.cancel_requested", "order.cancelled"]
    }
    assert partner.taken[1].item["order"]["refunded"] == 300


async def failing(received: Received) -> web.StreamResponse:
    """Fail."""
    return web.Response(status=500)


async def redirecting(received: Received) -> web.StreamResponse:
    """Send elsewhere."""
    return web.Response(status=307, headers={"Location": "/elsewhere"})


async def limiting(received: Received) -> web.StreamResponse:
    """Ask for a pause of none."""
    return web.Response(status=429, headers={"Retry-After": "0"})


async def flooding(received: Received) -> web.StreamResponse:
    """Fail with a body without an end that is known."""
    return web.Response(status=503, body=b"x" * 1_000_000)


@pytest.mark.parametrize("bad", [failing, redirecting, limiting, flooding])
async def test_a_receiver_that_fails_for_a_while(
    bad: Behaviour, node: Node, shop: Shop, partner: Partner
) -> None:
    """Every order arrives at least once and in order per order, with the same id at every attempt."""
    await node.webhooks.put("w", partner.url, (), None)
    partner.behave = bad
    orders = await shop.buy(6)
    await shop.act(orders[0], "cancel")
    await partner.until(lambda p: len(p.asked) >= 8)
    assert not partner.taken
    assert {received.item["type"] for received in partner.asked} == {"order.placed"}
    partner.behave = well
    await partner.until(lambda p: len(p.firsts()) == 6 and len(p.firsts()[orders[0]]) == 2)
    assert partner.firsts() == {order: ["order.placed"] for order in orders} | {
        orders[0]: ["order.placed", "order.cancelled"]
    }
    for order in orders[1:]:
        await shop.until_status(order, "handed_off")
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.owed == 0)
    assert health.state == "enabled"
    assert health.failures == 0
    assert health.depth == 0


async def test_garbage_instead_of_http(node: Node, shop: Shop) -> None:
    """A receiver that does not speak HTTP is a failed attempt, and told as one."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\xff rubbish\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await node.webhooks.put("w", f"http://127.0.0.1:{port}/", (), None)
        await shop.buy()
        health = await until(lambda: node.webhooks.get("w"), lambda w: w.failures >= 2)
        assert health.last_failure == "what it answered is not HTTP"
        await node.webhooks.delete("w")


async def test_a_receiver_that_dies_for_a_while(node: Node, shop: Shop, partner: Partner) -> None:
    """What was placed while it was dead arrives when it is back, on the same port."""
    await node.webhooks.put("w", partner.url, (), None)
    before = await shop.buy(3)
    await partner.until(lambda p: len(p.firsts()) == 3)
    await partner.stop()
    meanwhile = await shop.buy(20)
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.failures >= 5)
    assert health.owed == 20
    assert health.oldest_at is not None
    await partner.start()
    await partner.until(lambda p: len(p.firsts()) == 23)
    assert set(partner.firsts()) == {*before, *meanwhile}


async def test_a_slow_or_dead_endpoint_delays_no_other(node: Node, shop: Shop, partners: Partners) -> None:
    """One endpoint answers nothing at all, one fails; a third has everything meanwhile."""
    slow, dead, good = await partners(), await partners(), await partners()
    blocked = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await blocked.wait()
        return web.Response(status=204)

    slow.behave, dead.behave = hang, failing
    for name, partner in (("slow", slow), ("dead", dead), ("good", good)):
        await node.webhooks.put(name, partner.url, (), None)
    orders = await shop.buy(30)
    await good.until(lambda p: set(p.firsts()) == set(orders))
    assert not slow.taken
    assert not dead.taken
    blocked.set()
    await slow.until(lambda p: set(p.firsts()) == set(orders))


async def test_orders_behind_a_slow_answer_go_on(node: Node, shop: Shop, partner: Partner) -> None:
    """One order that hangs holds up its own next status, and no other order."""
    await node.webhooks.put("w", partner.url, (), None)
    [stuck] = await shop.buy()
    release = asyncio.Event()

    async def hang_on_one(received: Received) -> web.StreamResponse:
        if received.item["order"]["order"] == stuck:
            await release.wait()
        return web.Response(status=204)

    partner.taken.clear()
    partner.behave = hang_on_one
    await node.webhooks.replay("w", "0-0")
    await shop.act(stuck, "cancel")
    others = await shop.buy(5)
    await partner.until(lambda p: set(p.firsts()) >= set(others))
    assert stuck not in partner.firsts() or partner.firsts()[stuck] == ["order.placed"]
    release.set()
    await partner.until(lambda p: "cancel" in " ".join(p.firsts().get(stuck, [])))
    kinds = partner.firsts()[stuck]
    assert kinds[0] == "order.placed"
    assert len(kinds) == 2


async def test_retry_after_is_honoured(node: Node, shop: Shop, partner: Partner) -> None:
    """An endpoint that asks for an hour is left alone, for every order, and its health says so."""

    async def in_an_hour(received: Received) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "3600"})

    partner.behave = in_an_hour
    await node.webhooks.put("w", partner.url, (), None)
    await shop.buy()
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.failures == 1)
    assert health.pause_until - node.outbox.now_ms() > 3_000_000
    await shop.buy(3)
    await until(lambda: node.webhooks.get("w"), lambda w: w.owed == 4)
    assert len(partner.asked) == 1
    partner.behave = well
    await node.webhooks.enable("w")
    await partner.until(lambda p: len(p.firsts()) == 4)


async def test_410_disables_until_it_is_enabled(node: Node, shop: Shop, partner: Partner) -> None:
    """Gone is gone; what was not delivered is delivered when the platform enables it again."""

    async def gone(received: Received) -> web.StreamResponse:
        return web.Response(status=410)

    partner.behave = gone
    await node.webhooks.put("w", partner.url, (), None)
    [first] = await shop.buy()
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.state == "disabled")
    assert "410" in health.reason
    [second] = await shop.buy()
    await until(lambda: node.webhooks.get("w"), lambda w: w.depth == 2)
    assert len(partner.asked) == 1
    partner.behave = well
    await node.webhooks.enable("w")
    await partner.until(lambda p: set(p.firsts()) == {first, second})


async def test_a_failing_endpoint_is_parked_and_replayed(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """When the schedule is used up nothing more is sent; a replay delivers all of it."""
    node = await nodes(retries=Retries((0.0, 0.001, 0.001))).start()
    shop = await Shop(node).open()
    partner.behave = failing
    await node.webhooks.put("w", partner.url, (), None)
    orders = await shop.buy(5)
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.state == "parked")
    assert "500" in health.reason
    asked = len(partner.asked)
    orders += await shop.buy(5)
    await until(lambda: node.webhooks.get("w"), lambda w: w.depth == 10)
    assert len(partner.asked) == asked
    partner.behave = well
    await node.webhooks.replay("w", "")
    await partner.until(lambda p: set(p.firsts()) == set(orders))


async def test_one_bad_order_is_set_aside_and_others_go_on(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """An order the receiver cannot take does not park the endpoint; its later status waits behind it."""
    node = await nodes(retries=Retries((0.0, 0.02, 0.02))).start()
    shop = await Shop(node).open()
    bad: set[str] = set()

    async def cannot_take(received: Received) -> web.StreamResponse:
        return web.Response(status=500 if received.item["order"]["order"] in bad else 204)

    partner.behave = cannot_take
    await node.webhooks.put("w", partner.url, (), None)
    [poison] = await shop.buy()
    bad.add(poison)
    await partner.until(lambda p: p.asked)
    partner.taken.clear()
    await node.webhooks.replay("w", "0-0")
    while (await node.webhooks.get("w")).set_aside == 0:
        await shop.buy()
        await asyncio.sleep(0.01)
    await shop.act(poison, "cancel")
    [other] = await shop.buy()
    await partner.until(lambda p: other in p.firsts())
    assert poison not in partner.firsts()
    bad.clear()
    await node.webhooks.replay("w", "")
    await partner.until(lambda p: len(p.firsts().get(poison, [])) == 2)
    assert partner.firsts()[poison][0] == "order.placed"


async def test_types_choose_what_is_delivered(node: Node, shop: Shop, partner: Partner) -> None:
    """An endpoint that wants refunds only is given refunds only, and hands nothing off."""
    await node.webhooks.put("w", partner.url, ("order.refunded",), None)
    kept, refunded = await shop.buy(2)
    await shop.act(refunded, "refund")
    await partner.until(lambda p: p.taken)
    assert partner.firsts() == {refunded: ["order.refunded"]}
    assert await shop.status(kept) == "placed"


async def test_a_new_endpoint_begins_with_what_comes_next(node: Node, shop: Shop, partner: Partner) -> None:
    """What was before is delivered on request: replay after a position."""
    [before] = await shop.buy()
    await node.webhooks.put("w", partner.url, (), None)
    [after] = await shop.buy()
    await partner.until(lambda p: p.taken)
    assert list(partner.firsts()) == [after]
    await node.webhooks.replay("w", "0-0")
    await partner.until(lambda p: before in p.firsts())


async def test_another_node_takes_over_when_one_dies(nodes: Callable[..., Node], partner: Partner) -> None:
    """One node delivers at a time; when it dies in the middle, the other delivers the rest."""
    first = await nodes(timeout_s=0.3).start()
    shop = await Shop(nodes()).open()
    await first.webhooks.put("w", partner.url, (), None)
    await until(_delivers(first), bool)
    second = await nodes(timeout_s=0.3).start()
    orders = await shop.buy(3)
    await partner.until(lambda p: len(p.firsts()) == 3)
    assert second.courier.delivers == []
    arrived = asyncio.Event()

    async def die_on_arrival(received: Received) -> web.StreamResponse:
        partner.behave = well
        await first.die()
        arrived.set()
        return web.Response(status=204)

    partner.behave = die_on_arrival
    orders += await shop.buy(10)
    await arrived.wait()
    await until(_delivers(second), bool)
    await partner.until(lambda p: set(p.firsts()) == set(orders))
    for order in orders:
        await shop.until_status(order, "handed_off")


async def test_a_node_that_stops_gives_its_endpoints_back(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """After an orderly stop another node has the endpoint at once: the lease is not waited for."""
    first = await nodes(timeout_s=1000.0).start()
    await first.webhooks.put("w", partner.url, (), None)
    await until(_delivers(first), bool)
    second = await nodes(timeout_s=1000.0).start()
    first.started = False
    await first.courier.close()
    await until(_delivers(second), bool)


async def test_a_store_that_is_away_for_a_while(nodes: Callable[..., Node], partner: Partner) -> None:
    """What could not be written down is delivered again, by the same node, which need not wait out its lease."""
    node, shop_node = await nodes(timeout_s=1000.0).start(), nodes()
    shop = await Shop(shop_node).open()
    await node.webhooks.put("w", partner.url, (), None)
    await until(_delivers(node), bool)
    call, arrived = node.pipe.call, asyncio.Event()

    async def lose_the_store(received: Received) -> web.StreamResponse:
        await node.die()
        arrived.set()
        return web.Response(status=204)

    partner.behave = lose_the_store
    [order] = await shop.buy()
    await arrived.wait()
    await until(_delivers(node), lambda delivers: not delivers)
    assert await shop.status(order) == "placed"
    partner.behave = well
    node.pipe.call = call  # type: ignore[method-assign]
    await shop.until_status(order, "handed_off")
    assert len({received.headers["webhook-id"] for received in partner.taken}) == 1
    assert len(partner.taken) == 2


def _delivers(node: Node) -> Callable[[], Awaitable[list[str]]]:
    async def read() -> list[str]:
        return node.courier.delivers

    return read


async def test_many_orders_while_everything_fails_at_random(
    nodes: Callable[..., Node], partners: Partners
) -> None:
    """Two nodes, two receivers that fail in turns: every order's statuses arrive, each order's in order."""
    one, two = await nodes().start(), await nodes().start()
    shop = await Shop(one).open()
    both = [await partners(), await partners()]
    counts = [0, 0]

    def moody(number: int) -> Behaviour:
        async def behave(received: Received) -> web.StreamResponse:
            counts[number] += 1
            mood = counts[number] % 5
            if mood == 1:
                await asyncio.sleep(0)
            return web.Response(status=(204, 204, 500, 204, 429)[mood])

        return behave

    for number, partner in enumerate(both):
        partner.behave = moody(number)
        await two.webhooks.put(f"w{number}", partner.url, (), None)
    orders = await shop.buy(60)
    for order in orders[::2]:
        await shop.act(order, "refund")
    for partner in both:
        await partner.until(
            lambda p: len(p.firsts()) == 60 and all(len(p.firsts()[order]) == 2 for order in orders[::2])
        )
        for number, order in enumerate(orders):
            assert partner.firsts()[order] == ["order.placed", "order.refunded"][: 2 - number % 2]
