"""The claim script against a tiny pure model: any order of claims and acts, step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveroom.server.backplane.store import RedisStore
from liveroom.server.room.ports import Refused
from liveroom.server.sale.ports import NO_KEY, ClaimRequest
from liveroom.server.sale.rules import SaleDraft

_rooms = itertools.count()
_orders = itertools.count()
LIVE = ("scheduled", "open", "paused", "sold_out")


@dataclass
class Model:
    """A sale as its rules say, without a store, a log or a clock."""

    stock: int
    limit: int | None
    state: str = "scheduled"
    left: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    answers: dict[tuple[str, Any], tuple[int, tuple[str, str, int]]] = field(default_factory=dict)

    def claim(self, user: str, id: str | int, quantity: int, order: str) -> tuple[str, str, int] | str:
        """Decide on one claim."""
        key = (user, id if isinstance(id, str) else (id,))
        if key in self.answers:
            asked, answer = self.answers[key]
            return answer if asked == quantity else "id_reused"
        if self.state in ("scheduled", "paused"):
            return ("not_open", "", self.left)
        if self.state in ("closed", "cancelled"):
            return ("closed", "", self.left)
        if self.limit is not None and self.taken.get(user, 0) + quantity > self.limit:
            return ("limit_reached", "", self.left)
        if quantity > self.left:
            return ("sold_out", "", self.left)
        self.left -= quantity
        self.taken[user] = self.taken.get(user, 0) + quantity
        answer = ("reserved", order, self.left)
        self.answers[key] = (quantity, answer)
        return answer

    def after_batch(self) -> None:
        """A sale without stock is sold out."""
        if self.state == "open" and self.left == 0:
            self.state = "sold_out"

    def act(self, action: str, units: int) -> bool:
        """Change the state; returns whether that was possible."""
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
            self.state = "open" if self.state == "sold_out" else self.state
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


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stock=st.integers(1, 8),
    limit=st.none() | st.integers(1, 4),
    steps=st.lists(st.one_of(claims, claims, acts), max_size=14),
)
async def test_the_script_and_the_model_agree(
    store: RedisStore, stock: int, limit: int | None, steps: list[Any]
) -> None:
    """Whatever is asked in whatever order, the store answers as the model does, and its books balance."""
    room = f"model-{next(_rooms)}"
    limit = None if limit is None else min(limit, stock)
    model = Model(stock, limit, left=stock)
    await store.create(room, None)
    draft = SaleDraft(sku="x", title="x", price=7, currency="EUR", stock=stock, per_user_limit=limit)
    sale = msgspec.json.decode(await store.create_sale(room, draft, NO_KEY))["sale"]
    for step in steps:
        if isinstance(step, tuple):
            action, units = step
            possible = model.act(action, units)
            try:
                await store.act(room, sale, action, units if action == "restock" else 0)
                assert possible
            except Refused as refused:
                assert not possible
                assert refused.code == "wrong_state"
        else:
            requests = [ClaimRequest(user, user, id, n, f"o{next(_orders)}") for user, id, n in step]
            expected = [model.claim(r.user, r.id, r.quantity, r.order) for r in requests]
            model.after_batch()
            answers = await store.claims(room, sale, requests)
            told = [a.status if a.status == "id_reused" else tuple(a) for a in answers]
            assert told == expected
        await _balances(store, room, sale, model)


async def _balances(store: RedisStore, room: str, sale: str, model: Model) -> None:
    """stock = left + sold, nobody over the limit, and every order is one that was acknowledged."""
    now = msgspec.json.decode(await store.act(room, sale, "read"))
    orders = [msgspec.json.decode(order) for order in (await store.orders(room, 0, 1000)).orders]
    assert (now["state"], now["stock"], now["left"]) == (model.state, model.stock, model.left)
    assert now["stock"] == now["left"] + sum(order["quantity"] for order in orders)
    assert now["orders"] == len(orders)
    assert {order["order"] for order in orders} == {answer[1] for _, answer in model.answers.values()}
    for user, taken in model.taken.items():
        assert taken == sum(order["quantity"] for order in orders if order["user"] == user)
        assert model.limit is None or taken <= model.limit
