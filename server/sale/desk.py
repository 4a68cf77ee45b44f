"""The claim desk: gathers the claims of a sale into one call to the store, and answers each.

Knows ``SaleStore``. Never knows Redis or a socket. Rules: claims of a sale are decided in the order they
came; every claim is answered exactly once; when the store is away the answer says that the outcome is
unknown and to ask again with the same id, which is always safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

from liveroom.protocol.commands import Cancel, Claim, CommandId
from liveroom.protocol.messages import Ack, ClaimStatus
from liveroom.server.room.batched import Batched
from liveroom.server.room.desk import Ids
from liveroom.server.room.ports import Refused, Unavailable, Viewer
from liveroom.server.sale.known import KnownSales, Late
from liveroom.server.sale.ports import ClaimAnswer, ClaimRequest, SaleStore

MAX_CLAIMS = 256  # in one call: some 3 ms of the store's time, which everyone else waits for
_KEEP_QUIET_SALES = 64

_REFUSALS = {
    "unknown_sale": "there is no such sale in this room",
    "id_reused": "this id was used for a claim of another quantity",
}


class ClaimDesk:
    """See the module."""

    def __init__(self, store: SaleStore, ids: Ids, known: KnownSales, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._ids = ids
        self._known = known
        self._now_ms = now_ms
        self._asking: Counter[tuple[str, str]] = Counter()  # claims under way, by (room, user)
        self._sales: dict[tuple[str, str], Batched[ClaimRequest, ClaimAnswer]] = {}
        self._cancels: Batched[tuple[str, str, str], None] = Batched(self._decide_cancels, 64)
        self.outcomes: dict[str, int] = {}
        self.on_due: Callable[[str, int], None] = lambda room, due: (
            None
        )  # a hold ends then, by the store's clock

    def claim(self, room: str, viewer: Viewer, command: Claim, done: Callable[[Ack | Refused], None]) -> None:
        """Claim units of a sale; ``done`` gets the ack, or a refusal."""
        asker = (room, viewer.user)
        if asker not in self._asking:
            late = self._known.answer(room, command.sale, viewer.user, self._now_ms())
            if late is not None:
                self.outcomes[late.status] = self.outcomes.get(late.status, 0) + 1
                done(_ack_late(command.id, late))
                return
        batch = self._sales.get((room, command.sale))
        if batch is None:
            batch = self._open(room, command.sale)
        id, outcomes = command.id, self.outcomes

        def answered(answer: ClaimAnswer | Refused) -> None:
            self._asking[asker] -= 1
            if not self._asking[asker]:
                del self._asking[asker]
            if isinstance(answer, Refused):
                outcomes[answer.code] = outcomes.get(answer.code, 0) + 1
                done(answer)
                return
            status, order, left, expires_at, position = answer
            outcomes[status] = outcomes.get(status, 0) + 1
            if status in _REFUSALS:
                done(Refused(status, _REFUSALS[status]))
            elif order:
                done(
                    Ack(
                        id=id, status=cast(ClaimStatus, status), order=order, expires_at=expires_at, left=left
                    )
                )
            elif position:
                done(Ack(id=id, status="waitlisted", position=position, left=left))
            else:
                done(Ack(id=id, status=cast(ClaimStatus, status), left=left))

        self._asking[asker] += 1
        batch.submit(ClaimRequest(viewer.user, viewer.name, id, command.quantity, self._ids.next()), answered)

    def sale_told(self, room: str, sale: bytes) -> None:
        """Take in a sale the host has just changed here, as JSON, before its fact comes by the subscription.

        So a claim that follows the host's answer on this node never meets what was known before it.
        """
        self._known.sale_told(room, sale)

    def _open(self, room: str, sale: str) -> Batched[ClaimRequest, ClaimAnswer]:
        if len(self._sales) >= _KEEP_QUIET_SALES:
            # What clients name is not trusted: names that were asked for once must not stay.
            self._sales = {key: batch for key, batch in self._sales.items() if not batch.idle}
        batch: Batched[ClaimRequest, ClaimAnswer] = Batched(
            partial(self._decide, room, sale), MAX_CLAIMS, depth=2
        )
        self._sales[room, sale] = batch
        return batch

    async def _decide(
        self, room: str, sale: str, requests: list[ClaimRequest]
    ) -> list[ClaimAnswer | Refused]:
        answers, due = await self._store.claims(room, sale, requests)
        if due is not None:
            self.on_due(room, due)
        return [*answers]

    def cancel(
        self, room: str, viewer: Viewer, command: Cancel, done: Callable[[Ack | Refused], None]
    ) -> None:
        """Give back an order that is still held; ``done`` gets the ack or the refusal."""
        self._cancels.submit(
            (room, viewer.user, command.order),
            lambda answer: done(answer if isinstance(answer, Refused) else Ack(id=command.id)),
        )

    async def _decide_cancels(self, cancels: list[tuple[str, str, str]]) -> list[Refused | None]:
        answers: list[Refused | None] = []
        for room, user, order in cancels:
            try:
                await self._store.act_on_order(room, order, "cancel_mine", buyer=user)
                answers.append(None)
            except Unavailable:
                raise
            except Refused as refused:
                answers.append(refused)
        return answers

    async def join(self) -> None:
        """Wait until every claim taken in so far is answered."""
        for batch in list(self._sales.values()):
            await batch.join()
        await self._cancels.join()


def _ack_late(id: CommandId, late: Late) -> Ack:
    ack = Ack(id=id, status=cast(ClaimStatus, late.status), left=late.left)
    if late.opens_in_ms is not None:
        ack.opens_in_ms = late.opens_in_ms
    return ack
