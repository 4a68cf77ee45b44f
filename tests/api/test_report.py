"""The sale report through the API, of sales that took place."""

from __future__ import annotations

import msgspec

from liveroom.server.sale.ports import ClaimRequest
from liveroom.server.sale.report import SaleReport
from tests.api.conftest import Api
from tests.api.test_orders import held, move


async def read(api: Api) -> SaleReport:
    """The report of the room's first sale."""
    answered = await api.call("GET", "sales/s1/report")
    assert answered.status == 200, answered.json
    return msgspec.convert(answered.json, SaleReport)


async def test_the_report_follows_the_sale(api: Api) -> None:
    """Holds, payments, refunds and the waitlist are told as they happened."""
    await held(api, "ana", "ben", "cho", "dan", stock=4)
    await move(api, "o-ana", "pay")
    await api.call("POST", "orders/o-ana/refund", {"amount": 1000})
    await move(api, "o-ben", "cancel")  # cho is offered what ben gave back
    await move(api, "o-cho", "pay")
    told = await read(api)
    assert (told.units, told.revenue, told.refunded, told.currency) == (4, 5160, 1000, "EUR")
    assert told.orders == {"cancelled": 1, "paid": 2}
    assert (told.holds.made, told.holds.paid, told.holds.cancelled) == (3, 2, 1)
    assert (told.waitlist.joined, told.waitlist.offered, told.waitlist.paid) == (2, 1, 1)
    assert (told.now.held, told.now.waiting) == (0, 1)
    assert told.sold_out_after_ms is not None
    assert [sold for _, sold in told.sell_through] in ([0, 2, 4], [2, 4], [0, 4], [4])  # by the clock's ms


async def test_the_host_sees_when_holds_end(api: Api) -> None:
    """What is held now says from when to when it ends."""
    await held(api, "ana", "ben")
    ends = [(await api.call("GET", f"orders/o-{user}")).json["expires_at"] for user in ("ana", "ben")]
    now = (await read(api)).now
    assert (now.held, now.held_units, now.next_expiry, now.last_expiry) == (2, 4, min(ends), max(ends))


async def test_refused_claims_are_counted_by_reason(api: Api) -> None:
    """A claim too many, too early, too late or over the limit is counted where it was refused."""
    await api.make_room()
    await api.make_sale(stock=3, per_user_limit=2)
    claims = api.context.sales.claims

    async def ask(*quantities: int) -> None:
        await claims(
            api.room,
            "s1",
            [ClaimRequest(f"u{q}{n}", "U", 1, q, f"o{q}{n}") for n, q in enumerate(quantities)],
        )

    await ask(1, 1)
    await api.call("POST", "sales/s1/open")
    await ask(3)
    await ask(2, 2, 2)
    await api.call("POST", "sales/s1/close")
    await ask(1)
    assert (await read(api)).refused == {"closed": 1, "limit_reached": 1, "not_open": 2, "sold_out": 2}


async def test_no_report_of_no_sale(api: Api) -> None:
    """A sale that was never made has no report, and viewers have none at all."""
    await api.make_room()
    assert (await api.call("GET", "sales/s9/report")).code == "unknown_sale"
    assert (await api.call("GET", "sales/s9/report", token="viewer")).code == "forbidden"
