"""The scripts that sell against a tiny pure model: any order of steps, and the audit after each example."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveroom.server.backplane import keys
from liveroom.server.backplane.store import RedisStore
from liveroom.server.room.ports import Refused
from liveroom.server.sale.audit import POOLS, audit
from liveroom.server.sale.ports import NO_KEY, ClaimRequest
from liveroom.server.sale.rules import SaleDraft

_rooms = itertools.count()
_orders = itertools.count()
LIVE = ("scheduled", "open", "paused", "sold_out")
NEXT = {
    "pay": {"reserved": "paid"},
    "cancel_mine": {"reserved": "cancelled"},
    "cancel": {
        "reserved": "cancelled",
        "placed": "cancelled",
        "paid": "cancelled",
        "handed_off": "cancel_requested",
        "accepted": "cancel_requested",
    },
    "hand_off": {"placed": "handed_off", "paid": "handed_off"},
    "accept": {"handed_off": "accepted"},
    "reject": {"handed_off": "rejected", "accepted": "rejected"},
    "ship": {"handed_off": "shipped", "accepted": "shipped"},
    "complete": {"shipped": "completed"},
    "accept_cancel": {"cancel_requested": "cancelled"},
    "refuse_cancel": {"cancel_requested": "accepted"},
    "refund": dict.fromkeys(
        ("placed", "paid", "handed_off", "accepted", "shipped", "cancel_requested"), "refunded"
    ),
}


@dataclass
class Model:
    """A sale as its rules say, without a store, a log or a clock."""

    stock: int
    limit: int | None
    hold: bool
    state: str = "scheduled"
    left: int = 0
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, Any], tuple[int, Any]] = field(default_factory=dict)
    waitlist: list[tuple[str, int, str, Any]] = field(default_factory=list)  # user, quantity, order, key

    def units(self, pool: str) -> int:
        """Units of the orders in a pool."""
        return sum(o["quantity"] for o in self.orders.values() if o["pool"] == pool)

    def taken(self, user: str) -> int:
        """Units a user has."""
        return sum(o["quantity"] for o in self.orders.values() if o["user"] == user and o["pool"] != "left")

    def _place(self, order: str, user: str, quantity: int) -> None:
        self.left -= quantity
        status = "reserved" if self.hold else "placed"
        self.orders[order] = {"user": user, "quantity": quantity, "status": status, "pool": POOLS[status]}

    def claim(self, user: str, id: str | int, quantity: int, order: str) -> Any:
        """Decide on one claim: (status, order), with a position instead of the order when it waits."""
        key = (user, id if isinstance(id, str) else (id,))
        if key in self.answers:
            asked, answer = self.answers[key]
            if asked != quantity:
                return "id_reused"
            if answer != "waitlisted":
                return answer
            waits = [w[0] for w in self.waitlist]
            return ("waitlisted", waits.index(user) + 1) if user in waits else ("sold_out", "")
        if self.state in ("scheduled", "paused"):
            return ("not_open", "")
        if self.state in ("closed", "cancelled"):
            return ("closed", "")
        if self.limit is not None and self.taken(user) + quantity > self.limit:
            return ("limit_reached", "")
        if quantity <= self.left:
            self._place(order, user, quantity)
            self.answers[key] = (quantity, ("reserved", order))
            return ("reserved", order)
        if self.left == 0 and self.hold and self.units("reserved"):
            if user not in [w[0] for w in self.waitlist]:
                self.waitlist.append((user, quantity, order, key))
            self.answers[key] = (quantity, "waitlisted")
            return ("waitlisted", [w[0] for w in self.waitlist].index(user) + 1)
        return ("sold_out", "")

    def rebalance(self) -> None:
        """Those who wait first, then the state follows what is left."""
        while self.left and self.waitlist and self.state in ("open", "sold_out"):
            user, quantity, order, key = self.waitlist.pop(0)
            quantity = min(quantity, self.left)
            if self.limit is not None:
                quantity = min(quantity, self.limit - self.taken(user))
            if quantity > 0:
                self.answers[key] = (self.answers[key][0], ("reserved", order))
                self._place(order, user, quantity)
        if self.state == "open" and self.left == 0:
            self.state = "sold_out"
        elif self.state == "sold_out" and self.left:
            self.state = "open"

    def move(self, order: str, action: str) -> str | None:
        """Move an order; returns the state it is refused for, or None."""
        o = self.orders[order]
        after = "expired" if action == "expire" else NEXT[action].get(o["status"])
        if after is None:
            return None if o["status"] in NEXT[action].values() else str(o["status"])
        gone = o["status"] == "shipped" and after == "refunded"
        pool = o["pool"] if gone else POOLS[after]
        if pool == "left" and o["pool"] != "left":
            self.left += o["quantity"]
        o["status"], o["pool"] = after, pool
        self.rebalance()
        return None

    def act(self, action: str, units: int) -> bool:
        """Change the sale; returns whether that was possible."""
        if action == "open" and self.state == "scheduled":
            self.state = "open"
        elif action == "pause" and self.state == "open":
            self.state = "paused"
        elif action == "resume" and self.state == "paused":
            self.state = "open" if self.left else "sold_out"
        elif action in ("close", "cancel") and self.state in LIVE:
            self.state = "closed" if action == "close" else "cancelled"
        elif action == "restock" and self.state in LIVE:
            self.stock += units
            self.left += units
            self.rebalance()
        else:
            return False
        return True


claims = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2, "1", "x"]), st.integers(1, 4)),
    min_size=1,
    max_size=6,
)
acts = st.tuples(
    st.sampled_from(["open", "open", "pause", "resume", "restock", "close", "cancel"]), st.integers(1, 5)
)
moves = st.tuples(st.sampled_from(["expire", *NEXT]), st.integers(0, 30), st.just("order"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stock=st.integers(1, 6),
    limit=st.none() | st.integers(1, 4),
    hold=st.booleans(),
    steps=st.lists(st.one_of(claims, claims, acts, moves, moves), max_size=20),
)
async def test_the_scripts_and_the_model_agree(
    store: RedisStore, stock: int, limit: int | None, hold: bool, steps: list[Any]
) -> None:
    """Whatever is asked in whatever order, the store answers as the model does, and its books balance."""
    room = f"model-{next(_rooms)}"
    limit = None if limit is None else min(limit, stock)
    model = Model(stock, limit, hold, left=stock)
    await store.create(room, None)
    draft = SaleDraft(
        sku="x",
        title="x",
        price=7,
        currency="EUR",
        stock=stock,
        per_user_limit=limit,
        hold_seconds=3600 * hold,
    )
    sale = msgspec.json.decode(await store.create_sale(room, draft, NO_KEY))["sale"]
    for step in [("open", 0), *steps]:
        if isinstance(step, list):
            await _claim(store, room, sale, model, step)
        elif len(step) == 3:
            await _move(store, room, sale, model, step[0], step[1])
        else:
            await _act(store, room, sale, model, *step)
        await _balances(store, room, sale, model)
    assert audit(await store.ledger(room, sale)) == []


async def _claim(store: RedisStore, room: str, sale: str, model: Model, step: list[Any]) -> None:
    requests = [ClaimRequest(user, user, id, n, f"o{next(_orders)}") for user, id, n in step]
    expected = [model.claim(r.user, r.id, r.quantity, r.order) for r in requests]
    if model.state == "open" and model.left == 0:
        model.state = "sold_out"
    answers, _ = await store.claims(room, sale, requests)
    told = [a.status if a.status == "id_reused" else (a.status, a.position or a.order) for a in answers]
    assert told == expected


async def _move(store: RedisStore, room: str, sale: str, model: Model, action: str, number: int) -> None:
    if not model.orders:
        return
    order = list(model.orders)[number % len(model.orders)]
    if action == "expire":  # the clock cannot be turned, but the hold's end can
        if model.orders[order]["status"] != "reserved":
            return
        await store._pipe.call("ZADD", f"{keys.sale_prefix(room)}{sale}:holds", 1, order)
        await store.act(room, sale, "read")
        assert model.move(order, "expire") is None
        return
    refused = model.move(order, action)
    try:
        moved = msgspec.json.decode(await store.act_on_order(room, order, action))  # type: ignore[arg-type]
        assert refused is None
        assert moved["status"] == model.orders[order]["status"]
    except Refused as refusal:
        assert refused is not None
        assert refusal.code == "wrong_state"
        assert refused in refusal.message


async def _act(store: RedisStore, room: str, sale: str, model: Model, action: str, units: int) -> None:
    possible = model.act(action, units)
    try:
        await store.act(room, sale, action, units if action == "restock" else 0)  # type: ignore[arg-type]
        assert possible
    except Refused as refused:
        assert not possible
        assert refused.code == "wrong_state"


async def _balances(store: RedisStore, room: str, sale: str, model: Model) -> None:
    """stock = left + reserved + sold, nobody over the limit, and every order is where the model has it."""
    now = msgspec.json.decode(await store.act(room, sale, "read"))
    orders = [msgspec.json.decode(order) for order in (await store.orders(room, 0, 1000)).orders]
    assert now["stock"] == now["left"] + now["reserved"] + now["sold"]
    assert (now["state"], now["stock"], now["left"]) == (model.state, model.stock, model.left)
    assert (now["reserved"], now["sold"]) == (model.units("reserved"), model.units("sold"))
    assert now["waiting"] == len(model.waitlist)
    assert {o["order"]: o["status"] for o in orders} == {id: o["status"] for id, o in model.orders.items()}
    for user in "abc":
        assert model.limit is None or model.taken(user) <= model.limit
