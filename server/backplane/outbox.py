"""The outbox and its endpoints in Redis: the port of ``handoff``, each call one script.

Knows the scripts' arguments and answers, and how items and endpoints are written down. Never delivers anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from liveroom.server.backplane import keys
from liveroom.server.backplane.pipe import Pipe
from liveroom.server.backplane.scripts import Scripts
from liveroom.server.handoff.ports import (
    MAX_DEPTH,
    Claimed,
    FeedPage,
    Item,
    Look,
    Owing,
    Secret,
    Seen,
    Taken,
    Webhook,
    WebhookState,
)

_ALL = [keys.WEBHOOKS, keys.OUTBOX]
_SECRETS = msgspec.json.Decoder(tuple[Secret, ...])


def _keys(webhook: str) -> list[str]:
    """The keys of one endpoint, and the outbox."""
    key = keys.WEBHOOK_PREFIX + webhook
    return [key, f"{key}:lease", f"{key}:owed", keys.OUTBOX]


class RedisOutbox:
    """Implements ``OutboxStore``."""

    def __init__(self, pipe: Pipe, now_ms: Callable[[], int]) -> None:
        self._scripts = Scripts(pipe)
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """See ``OutboxStore``."""
        return self._now_ms()

    # --- endpoints ----------------------------------------------------------------------------------

    async def look(self) -> Look:
        """See ``OutboxStore``."""
        last, *flat = await self._scripts.call("outbox_look", _ALL, [keys.WEBHOOK_PREFIX])
        parts = iter(flat)
        seen = [
            Seen(name.decode(), generation.decode(), _state(state), holder.decode())
            for name, generation, state, holder in zip(parts, parts, parts, parts, strict=True)
        ]
        return Look(last.decode(), seen)

    async def webhooks(self, only: str = "") -> list[Webhook]:
        """See ``OutboxStore``."""
        found = await self._scripts.call("outbox_health", _ALL, [keys.WEBHOOK_PREFIX, MAX_DEPTH, only])
        return [
            _webhook(name, flat)._replace(
                owed=owed,
                set_aside=set_aside,
                depth=depth,
                oldest_at=int(oldest.split(b"-")[0]) if oldest else None,
            )
            for name, flat, owed, set_aside, depth, oldest in found
        ]

    async def change(
        self, webhook: str, expected: str, fields: dict[str, str], *, revive: bool, after: str = ""
    ) -> bool:
        """See ``OutboxStore``."""
        args: list[Any] = [webhook, "put", expected, "1" if revive else "", after]
        for field in fields.items():
            args += field
        return bool(await self._scripts.call("outbox_change", [keys.WEBHOOKS, *_keys(webhook)], args))

    async def delete(self, webhook: str) -> bool:
        """See ``OutboxStore``."""
        args = [webhook, "delete", "", "", ""]
        return bool(await self._scripts.call("outbox_change", [keys.WEBHOOKS, *_keys(webhook)], args))

    # --- what a node does for one -------------------------------------------------------------------

    async def claim(self, webhook: str, node: str, lease_ms: int) -> Claimed | None:
        """See ``OutboxStore``."""
        answer = await self._scripts.call("outbox_lease", _keys(webhook), ["claim", node, lease_ms])
        if answer is None:
            return None
        flat, *owed = answer
        return Claimed(
            _webhook(webhook.encode(), flat), [(_item(entry), _owing(owing)) for entry, owing in owed]
        )

    async def keep(self, webhook: str, node: str, generation: str, lease_ms: int) -> bool:
        """See ``OutboxStore``."""
        return bool(
            await self._scripts.call("outbox_lease", _keys(webhook), ["keep", node, lease_ms, generation])
        )

    async def release(self, webhook: str, node: str) -> None:
        """See ``OutboxStore``."""
        await self._scripts.call("outbox_lease", _keys(webhook), ["release", node])

    async def take(
        self, webhook: str, node: str, generation: str, count: int, types: tuple[str, ...]
    ) -> Taken | None:
        """See ``OutboxStore``."""
        answer = await self._scripts.call("outbox_take", _keys(webhook), [node, generation, count, *types])
        if answer is None:
            return None
        looked, *entries = answer
        return Taken([_item(entry) for entry in entries], looked)

    async def settle(
        self,
        webhook: str,
        node: str,
        generation: str,
        position: str,
        owing: Owing | None,
        fields: dict[str, str],
    ) -> bool:
        """See ``OutboxStore``."""
        written = "" if owing is None else " ".join(str(int(part)) for part in owing)
        args = [node, generation, position, written]
        for field in fields.items():
            args += field
        return bool(await self._scripts.call("outbox_settle", _keys(webhook)[:3], args))

    # --- the feed -----------------------------------------------------------------------------------

    async def page(self, after: str, consumer: str, limit: int) -> FeedPage:
        """See ``OutboxStore``."""
        start, last, *entries = await self._scripts.call(
            "outbox_feed", [keys.OUTBOX, keys.FEEDS], ["page", consumer, after, limit]
        )
        return FeedPage(start.decode(), last.decode(), [_item(entry) for entry in entries])

    async def acknowledged(self, consumer: str) -> str:
        """See ``OutboxStore``."""
        return (await self.page("", consumer, 1)).start

    async def acknowledge(self, consumer: str, position: str) -> str:
        """See ``OutboxStore``."""
        args = ["ack", consumer, position]
        answer: bytes = await self._scripts.call("outbox_feed", [keys.OUTBOX, keys.FEEDS], args)
        return answer.decode()

    async def forget(self, consumer: str) -> bool:
        """See ``OutboxStore``."""
        return bool(await self._scripts.call("outbox_feed", [keys.OUTBOX, keys.FEEDS], ["forget", consumer]))

    async def trim(self, keep_ms: int) -> int:
        """See ``OutboxStore``."""
        names = [keys.OUTBOX, keys.WEBHOOKS, keys.FEEDS]
        return int(await self._scripts.call("outbox_trim", names, [keys.WEBHOOK_PREFIX, keep_ms]))


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    parts = iter(flat)
    return dict(zip(parts, parts, strict=True))


def _state(state: bytes) -> WebhookState:
    return cast(WebhookState, state.decode())


def _item(entry: list[Any]) -> Item:
    position, flat = entry
    fields = _pairs(flat)
    return Item(
        position=position.decode(),
        type=fields[b"type"].decode(),
        at=int(fields[b"at"]),
        room=fields[b"room"].decode(),
        order=fields[b"order"].decode(),
        status=fields[b"status"].decode(),
        order_json=fields[b"json"],
    )


def _owing(owing: bytes) -> Owing:
    attempts, first_at, next_at, set_aside = owing.split(b" ")
    return Owing(int(attempts), int(first_at), int(next_at), set_aside == b"1")


def _webhook(name: bytes, flat: list[bytes]) -> Webhook:
    fields = {field.decode(): value.decode() for field, value in _pairs(flat).items()}

    def number(field: str) -> int:
        return int(fields.get(field) or 0)

    return Webhook(
        webhook=name.decode(),
        url=fields["url"],
        types=tuple(msgspec.json.decode(fields["types"], type=list[str])),
        secrets=_SECRETS.decode(fields["secrets"]),
        state=_state(fields["state"].encode()),
        reason=fields.get("reason", ""),
        generation=fields["generation"],
        created_at=number("created_at"),
        delivered=number("delivered"),
        failures=number("failures"),
        rounds=number("rounds"),
        pause_until=number("pause_until"),
        last_success_at=number("last_success_at") or None,
        last_failure_at=number("last_failure_at") or None,
        last_failure=fields.get("last_failure", ""),
    )
