"""Endpoints as the platform manages them: made, changed, rotated, enabled again, replayed, tried out.

Knows the port of the outbox and the sender. Rules: a secret is told once, when liveroom made it; a change is made
to what was read, or read again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from liveroom.server.handoff import signing
from liveroom.server.handoff.ports import TYPES, Item, OutboxStore, Secret, Webhook, place_of
from liveroom.server.handoff.sender import Outcome, Sender
from liveroom.server.handoff.settings import HandoffSettings
from liveroom.server.handoff.targets import check_url
from liveroom.server.room.ports import Refused

MAX_WEBHOOKS = 100
_WORKING = {"state": "enabled", "reason": "", "failures": "0", "rounds": "0", "pause_until": "0"}
_ORDER = (
    b'{"order":"test","sale":"test","user":"test","name":"Test","quantity":1,"status":"placed","title":"Test",'
    b'"gift":"","price":0,"amount":0,"refunded":0,"currency":"EUR","version":1,"expires_at":null,"offered":false,'
    b'"at":0,"changed_at":0}'
)


class Webhooks:
    """See the module. ``changed`` is called after each change, so that this node looks at once."""

    def __init__(
        self, store: OutboxStore, sender: Sender, settings: HandoffSettings, changed: Callable[[], None]
    ) -> None:
        self._store = store
        self._sender = sender
        self._s = settings
        self._changed = changed

    async def all(self) -> list[Webhook]:
        """Read all endpoints, by name."""
        return await self._store.webhooks()

    async def get(self, name: str) -> Webhook:
        """Read one.

        :raises Refused: ``unknown_webhook``.
        """
        found = await self._store.webhooks(name)
        if not found:
            raise Refused("unknown_webhook", f"there is no webhook {name!r}")
        return found[0]

    async def put(
        self, name: str, url: str, types: tuple[str, ...], secret: str | None
    ) -> tuple[Webhook, str | None]:
        """Make an endpoint, or change it; either way it is enabled. Second: the secret, if it was made here.

        :raises Refused: ``invalid``; ``wrong_state``, there are too many.
        """
        check_url(url, self._sender.allowed)
        for type in types:
            if type not in TYPES:
                raise Refused("invalid", f"types: there is no {type[:40]!r}, there are {', '.join(TYPES)}")
        if secret is not None:
            signing.key_of(secret)
        made: str | None = None
        while True:
            all = await self._store.webhooks()
            known = next((webhook for webhook in all if webhook.webhook == name), None)
            now = self._store.now_ms()
            if known is not None:
                secrets = signing.good_secrets(known.secrets, now)
                if secret is not None and secret != secrets[0].secret:
                    others = tuple(s for s in secrets if s.secret != secret)
                    secrets = signing.rotate(others, secret, now, int(self._s.rotation_s * 1000))
            else:
                if len(all) >= MAX_WEBHOOKS:
                    raise Refused("wrong_state", f"there are {MAX_WEBHOOKS} webhooks already; delete one")
                made = None if secret is not None else signing.new_secret()
                secrets = (Secret(secret or made or ""),)
            fields = _WORKING | {
                "url": url,
                "types": msgspec.json.encode(list(dict.fromkeys(types))).decode(),
                "secrets": _written(secrets),
            }
            if await self._store.change(name, known.generation if known else "", fields, revive=True):
                self._changed()
                return await self.get(name), made if known is None else None

    async def delete(self, name: str) -> None:
        """Remove an endpoint; what it was owed is not delivered.

        :raises Refused: ``unknown_webhook``.
        """
        if not await self._store.delete(name):
            raise Refused("unknown_webhook", f"there is no webhook {name!r}")
        self._changed()

    async def rotate(self, name: str) -> tuple[Webhook, str]:
        """Make a new secret; the old one signs beside it for the time set. Second: the new secret.

        :raises Refused: ``unknown_webhook``; ``wrong_state``, too many are good already.
        """
        new = signing.new_secret()
        while True:
            known = await self.get(name)
            secrets = signing.rotate(known.secrets, new, self._store.now_ms(), int(self._s.rotation_s * 1000))
            if await self._store.change(name, known.generation, {"secrets": _written(secrets)}, revive=False):
                self._changed()
                return await self.get(name), new

    async def enable(self, name: str) -> Webhook:
        """Deliver to a parked or disabled endpoint again, from where it stands; what was set aside is tried again.

        :raises Refused: ``unknown_webhook``.
        """
        return await self.replay(name, "")

    async def replay(self, name: str, after: str) -> Webhook:
        """Deliver again everything after a position that is still kept; empty: only what is owed.

        :raises Refused: ``unknown_webhook``; ``invalid``, no position, or one from the future.
        """
        while True:
            known = await self.get(name)
            if after:
                check_position(after, (await self._store.look()).last)
            if await self._store.change(name, known.generation, _WORKING, revive=True, after=after):
                self._changed()
                return await self.get(name)

    async def test(self, name: str) -> Outcome:
        """Send a signed ``webhook.test`` at once, whatever the endpoint's state, and tell what came of it.

        :raises Refused: ``unknown_webhook``.
        """
        known = await self.get(name)
        now = self._store.now_ms()
        item = Item(f"test-{now}", "webhook.test", now, "test", "test", "placed", _ORDER)
        return await self._sender.send(known.url, known.secrets, item.id, item.json(), now)


def check_position(position: str, last: str) -> None:
    """Refuse what is no position up to ``last``.

    :raises Refused: ``invalid``.
    """
    try:
        future = place_of(position) > place_of(last)
    except ValueError:
        raise Refused("invalid", "after is a position as the feed tells it") from None
    if future:
        raise Refused("invalid", f"the position {position} is in the future: the last is {last}")


def _written(secrets: tuple[Secret, ...]) -> str:
    return msgspec.json.encode(secrets).decode()
