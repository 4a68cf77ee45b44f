"""Rooms and sales as the scripts keep them, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from liveroom.protocol.messages import Order
from liveroom.server.backplane import keys
from liveroom.server.backplane.store import RedisStore
from liveroom.server.room.log import Lane
from liveroom.server.room.ports import Append, Delivery, Refused
from liveroom.server.sale.ports import NO_KEY, ClaimRequest, Idempotency
from liveroom.server.sale.rules import SaleDraft
from tests.backplane.conftest import Node

DRAFT = SaleDraft(sku="mug", title='Mug "big"/大', price=1290, currency="EUR", stock=10)
_decode = msgspec.json.decode


async def _claims(
    store: RedisStore, room: str, sale: str, requests: list[ClaimRequest]
) -> list[tuple[str, str, int]]:
    answers, _ = await store.claims(room, sale, requests)
    return [(answer.status, answer.order, answer.left) for answer in answers]


async def _sale(store: RedisStore, room: str, **changes: object) -> str:
    await store.create(room, None)
    draft = msgspec.structs.replace(DRAFT, **changes)
    sale = _decode(await store.create_sale(room, draft, NO_KEY))["sale"]
    await store.act(room, sale, "open")
    return str(sale)


def _claim(user: str, id: str | int, quantity: int = 1, order: str = "") -> ClaimRequest:
    return ClaimRequest(user, user.title(), id, quantity, order or f"o-{user}-{id}")


def _facts(deliveries: list[Delivery], kind: str) -> list[dict[str, object]]:
    events = [_decode(entry.json) for delivery in deliveries for entry in delivery.entries]
    return [event for event in events if event["type"] == kind]


async def test_a_room_keeps_its_epoch_when_it_is_created_again(store: RedisStore, room: str) -> None:
    """Creating a room that exists changes its title and nothing else."""
    first, new = await store.create(room, "one")
    again, new_again = await store.create(room, "two")
    assert (new, new_again) == (True, False)
    assert again.epoch == first.epoch
    assert (first.title, again.title) == ("one", "two")


async def test_offsets_are_contiguous_over_appends_of_one_and_of_many(store: RedisStore, room: str) -> None:
    """Each append is told the offset of its last event, without a hole between them."""
    await store.create(room, None)
    assert await store.append(room, [Append([b'f{"a":1}']), Append([b'c{"b":1}', b'c{"b":2}'])]) == [1, 3]
    assert await store.append(room, [Append([b'f{"a":2}'])]) == [4]
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    assert loaded.record.offset == 4
    entries = [entry for delivery in loaded.deliveries for entry in delivery.entries]
    assert [entry.lane for entry in entries] == [Lane.FACT, Lane.CHATTER, Lane.CHATTER, Lane.FACT]


async def test_what_is_appended_is_delivered_to_every_node_in_one_order(
    node: Callable[..., Node], room: str
) -> None:
    """Two nodes that follow a room get the same deliveries."""
    one, two = await node().start(), await node().start()
    await one.store.create(room, None)
    got: dict[str, list[Delivery]] = {"one": [], "two": []}
    done = asyncio.Event()

    def receive(name: str) -> Callable[[Delivery], None]:
        def take(delivery: Delivery) -> None:
            got[name].append(delivery)
            if all(deliveries and deliveries[-1].first >= 20 for deliveries in got.values()):
                done.set()

        return take

    await one.store.follow(room, receive("one"))
    await two.store.follow(room, receive("two"))
    for n in range(10):
        await asyncio.gather(
            one.store.append(room, [Append([b'f{"n":%d}' % n])]),
            two.store.append(room, [Append([b'f{"m":%d}' % n])]),
        )
    await done.wait()
    orders = [[entry.json for delivery in got[name] for entry in delivery.entries] for name in got]
    assert orders[0] == orders[1]
    assert [delivery.first for delivery in got["one"]] == list(range(1, 21))


async def test_an_append_to_no_room_or_to_a_closed_one_is_refused(store: RedisStore, room: str) -> None:
    """Nothing can be added to a room that is not there, or is over."""
    (refused,) = await store.append(room, [Append([b"f{}"])])
    assert isinstance(refused, Refused)
    assert refused.code == "unknown_room"
    await store.create(room, None)
    assert await store.close(room) == 1
    (refused,) = await store.append(room, [Append([b"f{}"])])
    assert isinstance(refused, Refused)
    assert refused.code == "room_closed"
    record = await store.record(room)
    assert record is not None
    assert record.closed_at is not None


async def test_closing_a_room_closes_its_sales_first(store: RedisStore, room: str) -> None:
    """After room_closed nothing is sold, opened or told."""
    sale = await _sale(store, room)
    await store.close(room)
    (answer,) = await _claims(store, room, sale, [_claim("ann", 1)])
    assert answer[0] == "closed"
    with pytest.raises(Refused):
        await store.act(room, sale, "restock", 1)
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    events = [_decode(entry.json) for delivery in loaded.deliveries for entry in delivery.entries]
    assert [(event["type"], event.get("state")) for event in events[-2:]] == [
        ("sale", "closed"),
        ("room_closed", None),
    ]


async def test_an_idempotency_key_appends_once(store: RedisStore, room: str) -> None:
    """The same key with the same request is answered with the first offset; with another it is refused."""
    await store.create(room, None)
    append = Append([b"f{}"], (), "k", "print-1")
    assert await store.append(room, [append, append]) == [1, 1]
    assert await store.append(room, [append]) == [1]
    (refused,) = await store.append(room, [append._replace(fingerprint="print-2")])
    assert isinstance(refused, Refused)
    assert refused.code == "id_reused"


async def test_loading_after_a_cursor_reads_only_what_follows(store: RedisStore, room: str) -> None:
    """A node that has up to 3 is given 4 and 5."""
    record, _ = await store.create(room, None)
    for n in range(5):
        await store.append(room, [Append([b'f{"n":%d}' % n])])
    loaded = await store.load(room, after=(record.epoch, 3), create=False)
    assert loaded is not None
    firsts = [delivery.first for delivery in loaded.deliveries]
    assert firsts[-1] == 5
    assert min(firsts) in (3, 4)  # the entry at the cursor may come again: its orders may not have arrived


async def test_a_log_that_has_lost_events_gets_a_new_epoch(store: RedisStore, room: str) -> None:
    """When the store is behind what a node has seen, no cursor of the old epoch is good any more."""
    record, _ = await store.create(room, None)
    await store.append(room, [Append([b"f{}"])])
    loaded = await store.load(room, after=(record.epoch, 7), create=False)
    assert loaded is not None
    assert loaded.record.epoch != record.epoch
    assert loaded.deliveries == []


async def test_the_log_is_bounded_by_count_and_by_age(node: Callable[..., Node], room: str) -> None:
    """Old batches leave the stream, by either bound."""
    by_count = (await node(history_events=10).start()).store
    await by_count.create(room, None)
    for _ in range(300):
        await by_count.append(room, [Append([b"f{}"])])
    by_age = await node(history_ms=1).start()
    assert await by_age.client.xlen(keys.key(room, "log")) < 200  # trimmed in whole nodes of the stream
    left = await by_age.client.xlen(keys.key(room, "log"))
    await asyncio.sleep(0.01)  # so that what is there has an age
    await by_age.store.append(room, [Append([b"f{}"])])
    assert await by_age.client.xlen(keys.key(room, "log")) < left


async def test_likes_of_a_beat_are_added_once_however_often_it_is_sent(store: RedisStore, room: str) -> None:
    """A beat that is repeated because its answer was lost does not count twice."""
    await store.create(room, None)
    for number in (1, 1, 2):
        await store.beat(room, number=number, likes=5, viewers=3, sales=[])
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    assert _decode(loaded.state)["likes"] == 10


async def test_viewers_are_the_sum_of_the_nodes(node: Callable[..., Node], room: str) -> None:
    """Each node counts its own; the room has all of them."""
    one, two = (await node().start()).store, (await node().start()).store
    await one.create(room, None)
    await one.beat(room, number=1, likes=0, viewers=3, sales=[])
    await two.beat(room, number=1, likes=0, viewers=4, sales=[])
    await one.beat(room, number=2, likes=0, viewers=2, sales=[])
    loaded = await one.load(room, after=None, create=False)
    assert loaded is not None
    assert _decode(loaded.state)["viewers"] == 6


async def test_a_late_beat_brings_no_older_count_back(store: RedisStore, room: str) -> None:
    """Beats of a node that arrive in the wrong order leave the count of the newer one."""
    await store.create(room, None)
    await store.beat(room, number=2, likes=0, viewers=5, sales=[])
    await store.beat(room, number=1, likes=0, viewers=0, sales=[])
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    assert _decode(loaded.state)["viewers"] == 5


async def test_state_is_told_once_per_gate(store: RedisStore, room: str) -> None:
    """The second of two beats in a row is told to try again."""
    await store.create(room, None)
    first = await store.beat(room, number=1, likes=1, viewers=0, sales=[])
    second = await store.beat(room, number=2, likes=1, viewers=0, sales=[])
    assert (first.told, second.told) == (True, False)


async def test_an_order_is_whole_and_true(store: RedisStore, room: str) -> None:
    """A claim that takes stock writes an order under the offer it was made with."""
    sale = await _sale(store, room)
    (answer,) = await _claims(store, room, sale, [_claim("ann", 1, 3, "o1")])
    assert answer == ("reserved", "o1", 7)
    json = await store.order(room, "o1")
    assert json is not None
    order = msgspec.json.decode(json, type=Order)
    assert (order.user, order.name, order.quantity, order.amount) == ("ann", "Ann", 3, 3 * 1290)
    assert (order.title, order.currency, order.sale, order.status) == (DRAFT.title, "EUR", sale, "placed")
    assert (await store.orders(room, 0, 10)).orders == [json]
    assert [_decode(orders) for orders in await store.open_orders(room, ["ann", "bob"])] == [
        [_decode(json)],
        [],
    ]


async def test_the_same_claim_again_has_the_same_answer(store: RedisStore, room: str) -> None:
    """A repeated id takes nothing, in one batch and in a later one; with another quantity it is refused."""
    sale = await _sale(store, room)
    answers = await _claims(store, room, sale, [_claim("ann", 1, order="a"), _claim("ann", 1, order="b")])
    answers += await _claims(
        store, room, sale, [_claim("ann", 1, order="c"), _claim("ann", 1, 2), _claim("ann", "1")]
    )
    assert answers[:3] == [("reserved", "a", 9)] * 3
    assert answers[3][0] == "id_reused"
    assert answers[4] == ("reserved", "o-ann-1", 8)  # "1" is another id than 1


async def test_order_facts_are_collapsed_with_true_counts(store: RedisStore, room: str) -> None:
    """However the facts are cut, their counts add up to the orders and the units."""
    sale = await _sale(store, room, stock=40)
    for batch in range(4):
        await _claims(store, room, sale, [_claim(f"u{batch}{n}", 1, 1 + n % 2) for n in range(5)])
    await store.act(room, sale, "close")
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    facts = _facts(loaded.deliveries, "order_placed")
    assert sum(1 + int(str(fact["others"])) for fact in facts) == 20
    assert sum(int(str(fact["quantity"])) for fact in facts) == 4 * 7
    assert len(facts) < 20


async def test_pending_order_facts_are_told_by_a_later_beat(node: Callable[..., Node], room: str) -> None:
    """Orders that were too many to be told at once are told when the gap is over."""
    store = (await node(order_fact_ms=20).start()).store
    sale = await _sale(store, room)
    await _claims(store, room, sale, [_claim("ann", 1)])
    await _claims(store, room, sale, [_claim("bob", 1)])
    number = 0
    while True:
        number += 1
        beat = await store.beat(room, number=number, likes=0, viewers=0, sales=[sale])
        if not beat.pending:
            break
        await asyncio.sleep(0.005)
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    assert [fact["name"] for fact in _facts(loaded.deliveries, "order_placed")] == ["Ann", "Bob"]


async def test_the_last_unit_sells_the_sale_out_and_a_restock_opens_it(store: RedisStore, room: str) -> None:
    """Sold out is told with the last unit; claims after it are refused until there is more."""
    sale = await _sale(store, room, stock=2)
    answers = await _claims(store, room, sale, [_claim("ann", 1, 2), _claim("bob", 1)])
    assert [status for status, _, _ in answers] == ["reserved", "sold_out"]
    loaded = await store.load(room, after=None, create=False)
    assert loaded is not None
    assert [fact["state"] for fact in _facts(loaded.deliveries, "sale")] == ["scheduled", "open", "sold_out"]
    restocked = _decode(await store.act(room, sale, "restock", 3))
    assert (restocked["state"], restocked["left"], restocked["stock"]) == ("open", 3, 5)
    (answer,) = await _claims(store, room, sale, [_claim("bob", 1)])
    assert answer[0] == "reserved"


async def test_a_claim_for_more_than_is_left_is_told_how_many_there_are(store: RedisStore, room: str) -> None:
    """Two are left, three are asked for: sold_out with left 2, and the two can still be had."""
    sale = await _sale(store, room, stock=2)
    answers = await _claims(store, room, sale, [_claim("ann", 1, 3), _claim("ann", 2, 2)])
    assert answers == [("sold_out", "", 2), ("reserved", "o-ann-2", 0)]


@pytest.mark.parametrize(
    ("acts", "status"),
    [
        ([], "not_open"),
        (["open"], "reserved"),
        (["open", "pause"], "not_open"),
        (["open", "pause", "resume"], "reserved"),
        (["open", "close"], "closed"),
        (["cancel"], "closed"),
    ],
)
async def test_a_claim_is_answered_by_the_state_of_the_sale(
    store: RedisStore, room: str, acts: list[str], status: str
) -> None:
    """Only an open sale sells."""
    await store.create(room, None)
    sale = _decode(await store.create_sale(room, DRAFT, NO_KEY))["sale"]
    for act in acts:
        await store.act(room, sale, act)  # type: ignore[arg-type]
    (answer,) = await _claims(store, room, sale, [_claim("ann", 1)])
    assert answer[0] == status


async def test_an_act_that_does_not_fit_the_state_is_refused_with_it(store: RedisStore, room: str) -> None:
    """A closed sale cannot be opened, and the refusal says that it is closed."""
    sale = await _sale(store, room)
    await store.act(room, sale, "close")
    with pytest.raises(Refused, match="closed") as refusal:
        await store.act(room, sale, "open")
    assert refusal.value.code == "wrong_state"


async def test_a_sale_opens_and_closes_by_the_clock(store: RedisStore, room: str) -> None:
    """Its times decide, whoever asks first: claims before, in and after the window."""
    await store.create(room, None)
    now = store.now_ms()
    early = msgspec.structs.replace(DRAFT, starts_at=now + 3_600_000)
    sale = _decode(await store.create_sale(room, early, NO_KEY))["sale"]
    (answer,) = await _claims(store, room, sale, [_claim("ann", 1)])
    assert answer[0] == "not_open"
    soon = msgspec.structs.replace(DRAFT, starts_at=now - 1000, ends_at=store.now_ms() + 60)
    sale = _decode(await store.create_sale(room, soon, NO_KEY))["sale"]
    (answer,) = await _claims(store, room, sale, [_claim("ann", 1)])
    assert answer[0] == "reserved"
    while store.now_ms() <= soon.ends_at + 5:  # type: ignore[operator]
        await asyncio.sleep(0.01)
    (answer,) = await _claims(store, room, sale, [_claim("ann", 2)])
    assert answer[0] == "closed"


async def test_an_end_in_the_past_is_refused_by_the_stores_clock(store: RedisStore, room: str) -> None:
    """A sale that would be over at once is not made."""
    await store.create(room, None)
    with pytest.raises(Refused, match="past") as refusal:
        await store.create_sale(room, msgspec.structs.replace(DRAFT, ends_at=store.now_ms() - 1000), NO_KEY)
    assert refusal.value.code == "invalid"


async def test_a_restock_with_the_same_key_adds_once(store: RedisStore, room: str) -> None:
    """A host's retry does not double the stock."""
    sale = await _sale(store, room)
    key = Idempotency("k1", "f1")
    first = await store.act(room, sale, "restock", 5, key)
    assert await store.act(room, sale, "restock", 5, key) == first
    assert _decode(await store.act(room, sale, "read"))["stock"] == 15


async def test_an_order_is_told_to_its_buyer_in_the_delivery_that_logs_it(
    store: RedisStore, room: str
) -> None:
    """The order travels beside the log, marked with its user."""
    sale = await _sale(store, room)
    got: asyncio.Queue[Delivery] = asyncio.Queue()
    await store.follow(room, got.put_nowait)
    await _claims(store, room, sale, [_claim("ann", 1, order="o1")])
    delivery = await got.get()
    ((user, order),) = delivery.orders
    assert user == "ann"
    assert _decode(order)["order"] == "o1"


async def test_orders_are_paged_in_the_order_they_were_placed(store: RedisStore, room: str) -> None:
    """Pages join to the whole list, and the last says that it is the last."""
    sale = await _sale(store, room)
    await _claims(store, room, sale, [_claim("ann", n, order=f"o{n}") for n in range(7)])
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = await store.orders(room, after, 3)
        seen += [_decode(order)["order"] for order in page.orders]
        after = page.next
    assert seen == [f"o{n}" for n in range(7)]


async def test_claims_of_no_sale_are_each_told_so(store: RedisStore, room: str) -> None:
    """An unknown sale answers every claim of the batch."""
    await store.create(room, None)
    answers = await _claims(store, room, "s9", [_claim("ann", 1), _claim("bob", 1)])
    assert [status for status, _, _ in answers] == ["unknown_sale"] * 2
