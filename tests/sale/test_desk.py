"""The claim desk: claims of a sale together, in order, each answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from liveroom.protocol.commands import Cancel, Claim, CommandId
from liveroom.protocol.errors import ERRORS
from liveroom.protocol.messages import Ack
from liveroom.server.room.desk import Ids
from liveroom.server.room.ports import Refused, Unavailable
from liveroom.server.sale import desk as module
from liveroom.server.sale.desk import ClaimDesk
from liveroom.server.sale.known import KnownSales
from liveroom.server.sale.ports import ClaimAnswer, ClaimAnswers, ClaimRequest
from tests.room.fakes import NOW_MS, turns
from tests.virtual_time import on_virtual_time


@dataclass
class _Buyer:
    """The part of a viewer that the claim desk looks at."""

    user: str
    name: str = ""


class _Store:
    """Sales in memory: ``answers`` by user, else every claim is reserved."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, list[ClaimRequest]]] = []
        self.answers: dict[str, ClaimAnswer] = {}
        self.fault: Exception | None = None
        self.orders: dict[str, dict[str, Any]] = {}
        self.held: asyncio.Event | None = None

    async def claims(self, room: str, sale: str, requests: list[ClaimRequest]) -> ClaimAnswers:
        """See ``SaleStore``."""
        self.calls.append((room, sale, requests))
        if self.held is not None:
            await self.held.wait()
        if self.fault is not None:
            raise self.fault
        return ClaimAnswers(
            [
                self.answers.get(request.user, ClaimAnswer("reserved", request.order, 5))
                for request in requests
            ],
            None,
        )

    async def act_on_order(self, room: str, order: str, action: str, *, buyer: str = "") -> bytes:
        """See ``SaleStore``: a cancel by the buyer, of an order that is held."""
        assert action == "cancel_mine"
        if self.fault is not None:
            raise self.fault
        found = self.orders.get(order)
        if found is None or found["user"] != buyer:
            raise Refused("unknown_order", "you have no such order in this room")
        if found["status"] != "reserved":
            raise Refused("wrong_state", f"cannot cancel an order that is {found['status']}")
        return msgspec.json.encode(found | {"status": "cancelled"})


class _Stage:
    """A claim desk, and what became of each claim."""

    def __init__(self) -> None:
        self.store = _Store()
        self.known = KnownSales()
        self.desk = ClaimDesk(self.store, Ids("p"), self.known, lambda: NOW_MS)  # type: ignore[arg-type]
        self.answers: list[tuple[str, Ack | Refused]] = []

    def _done(self, user: str) -> Callable[[Ack | Refused], None]:
        return lambda answer: self.answers.append((user, answer))

    def claim(self, user: str, *, id: CommandId = 1, sale: str = "s-1", quantity: int = 1) -> None:
        """Claim."""
        command = Claim(id=id, sale=sale, quantity=quantity)
        self.desk.claim("show", _Buyer(user, user.title()), command, self._done(user))  # type: ignore[arg-type]

    def cancel(self, user: str, order: str) -> None:
        """Cancel."""
        self.desk.cancel("show", _Buyer(user), Cancel(id="k", order=order), self._done(user))  # type: ignore[arg-type]


@on_virtual_time
async def test_claims_of_one_turn_are_one_call_in_the_order_they_came() -> None:
    """The store gets user, name, id and quantity of each, and an order id that no other claim has."""
    stage = _Stage()
    for n in range(40):
        stage.claim(f"user-{n}", id=f"k-{n}", quantity=n + 1)
    await stage.desk.join()
    ((room, sale, requests),) = stage.store.calls
    assert (room, sale) == ("show", "s-1")
    assert [request[:4] for request in requests] == [
        (f"user-{n}", f"User-{n}", f"k-{n}", n + 1) for n in range(40)
    ]
    assert len({request.order for request in requests}) == 40
    assert [user for user, _ in stage.answers] == [f"user-{n}" for n in range(40)]


@on_virtual_time
async def test_a_call_carries_a_bounded_number_of_claims() -> None:
    """A rush is several calls, at most two of them on their way, and no claim is in two."""
    stage = _Stage()
    stage.store.held = asyncio.Event()
    rush = 5 * module.MAX_CLAIMS
    for n in range(rush):
        stage.claim(f"user-{n}")
    await turns()
    assert len(stage.store.calls) == 2
    stage.store.held.set()
    await stage.desk.join()
    sizes = [len(requests) for _, _, requests in stage.store.calls]
    assert max(sizes) <= module.MAX_CLAIMS
    claimed = [request.user for _, _, requests in stage.store.calls for request in requests]
    assert claimed == [f"user-{n}" for n in range(rush)]
    assert len(stage.answers) == rush


@on_virtual_time
async def test_sales_do_not_wait_for_each_other() -> None:
    """A sale whose call is on its way does not hold back another sale's."""
    stage = _Stage()
    stage.store.held = asyncio.Event()
    stage.claim("ann", sale="s-1")
    await turns()
    stage.claim("bob", sale="s-2")
    await turns()
    assert [sale for _, sale, _ in stage.store.calls] == ["s-1", "s-2"]
    stage.store.held.set()
    await stage.desk.join()


@pytest.mark.parametrize(
    ("answer", "ack"),
    [
        (
            ClaimAnswer("reserved", "o-1", 4),
            Ack(id="k", status="reserved", order="o-1", expires_at=None, left=4),
        ),
        (ClaimAnswer("sold_out", "", 0), Ack(id="k", status="sold_out", left=0)),
        (ClaimAnswer("limit_reached", "", 3), Ack(id="k", status="limit_reached", left=3)),
        (ClaimAnswer("not_open", "", 3), Ack(id="k", status="not_open", left=3)),
        (ClaimAnswer("closed", "", 3), Ack(id="k", status="closed", left=3)),
    ],
    ids=lambda value: getattr(value, "status", ""),
)
@on_virtual_time
async def test_each_outcome_is_acknowledged_with_the_claim_s_id(answer: ClaimAnswer, ack: Ack) -> None:
    """An order and its expiry stand only in the ack of a claim that got one; every outcome is counted."""
    stage = _Stage()
    stage.store.answers["ann"] = answer
    stage.claim("ann", id="k")
    await stage.desk.join()
    assert stage.answers == [("ann", ack)]
    assert stage.desk.outcomes == {answer.status: 1}


@pytest.mark.parametrize("code", ["unknown_sale", "id_reused"])
@on_virtual_time
async def test_a_claim_that_makes_no_sense_to_the_store_is_refused(code: str) -> None:
    """It is an error with a declared code, not an outcome; its neighbours in the call are not touched."""
    stage = _Stage()
    stage.store.answers["ann"] = ClaimAnswer(code, "", 0)
    stage.claim("ann")
    stage.claim("bob")
    await stage.desk.join()
    (_, refusal), (_, ack) = stage.answers
    assert isinstance(refusal, Refused)
    assert refusal.code == code
    assert code in ERRORS
    assert isinstance(ack, Ack)
    assert stage.desk.outcomes == {code: 1, "reserved": 1}


@on_virtual_time
async def test_while_the_store_is_away_every_claim_is_told_to_ask_again() -> None:
    """Each gets ``unavailable`` once, with a time to wait; the next claim is decided as ever."""
    stage = _Stage()
    stage.store.fault = Unavailable()
    for user in ("ann", "bob"):
        stage.claim(user)
    await stage.desk.join()
    assert [user for user, _ in stage.answers] == ["ann", "bob"]
    for _, refusal in stage.answers:
        assert isinstance(refusal, Unavailable)
        assert refusal.retry_after_ms == 1000
    assert stage.desk.outcomes == {"unavailable": 2}
    stage.store.fault = None
    stage.claim("ann")
    await stage.desk.join()
    assert isinstance(stage.answers[-1][1], Ack)


@on_virtual_time
async def test_names_of_sales_that_were_asked_for_once_do_not_stay() -> None:
    """A client that claims of a thousand made-up sales leaves a bounded number behind; one under way stays."""
    stage = _Stage()
    stage.store.held = asyncio.Event()
    stage.claim("ann", sale="busy")
    await turns()
    held, stage.store.held = stage.store.held, None
    for n in range(1000):
        stage.claim("eve", sale=f"made-up-{n}")
        await turns(5)
    assert len(stage.desk._sales) <= module._KEEP_QUIET_SALES + 1
    stage.claim("bob", sale="busy")
    held.set()
    await stage.desk.join()
    assert {user for user, _ in stage.answers} == {"ann", "bob", "eve"}
    assert len(stage.answers) == 1002


@on_virtual_time
async def test_an_order_that_is_placed_cannot_be_cancelled_by_its_buyer() -> None:
    """The refusal names the state the order is in."""
    stage = _Stage()
    stage.store.orders["o-1"] = {"user": "ann", "status": "placed"}
    stage.cancel("ann", "o-1")
    await stage.desk.join()
    ((_, refusal),) = stage.answers
    assert isinstance(refusal, Refused)
    assert refusal.code == "wrong_state"
    assert "placed" in refusal.message


@on_virtual_time
async def test_an_order_of_another_is_as_unknown_as_one_that_is_none() -> None:
    """Nobody learns from the answer that an order exists."""
    stage = _Stage()
    stage.store.orders["o-1"] = {"user": "ann", "status": "placed"}
    stage.cancel("eve", "o-1")
    stage.cancel("eve", "o-2")
    await stage.desk.join()
    (_, other), (_, none) = stage.answers
    assert isinstance(other, Refused)
    assert isinstance(none, Refused)
    assert (other.code, other.message) == (none.code, none.message)
    assert other.code == "unknown_order"


@on_virtual_time
async def test_a_cancel_while_the_store_is_away_is_told_to_ask_again() -> None:
    """``unavailable``, as for everything else."""
    stage = _Stage()
    stage.store.fault = Unavailable()
    stage.cancel("ann", "o-1")
    await stage.desk.join()
    assert isinstance(stage.answers[0][1], Unavailable)


@on_virtual_time
async def test_join_waits_for_every_claim_and_cancel() -> None:
    """The process can stop when it returns: nobody is left without an answer."""
    stage = _Stage()
    stage.store.held = asyncio.Event()
    stage.claim("ann", sale="s-1")
    stage.claim("bob", sale="s-2")
    stage.cancel("eve", "o-1")
    join = asyncio.ensure_future(stage.desk.join())
    await turns()
    assert not join.done()
    stage.store.held.set()
    await join
    assert {user for user, _ in stage.answers} == {"ann", "bob", "eve"}
