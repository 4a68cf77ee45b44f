"""One attempt of a delivery: a signed POST, and what came of it.

Knows aiohttp's client. Never knows what is retried or when. Rules: a redirect is a failure and is not followed;
the answer's body is of no use and is not read beyond a bound; nothing of a secret or an answer is logged.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from liveroom.server.handoff import signing
from liveroom.server.handoff.ports import Secret
from liveroom.server.handoff.schedule import retry_after_ms
from liveroom.server.handoff.targets import Allowed, CheckedResolver, TargetRefused, check_url
from liveroom.server.room.ports import Refused

MAX_ANSWER_BYTES = 4096  # read so that the connection can be used again; of a longer one nothing more is read
RETRY_AFTER = (429, 503)
DNS_S = 10  # how long an address is used; lookups of one name are made once at a time


class Outcome(NamedTuple):
    """What came of an attempt. ``detail`` is a sentence for people; ``status`` 0: there was no answer."""

    kind: Literal["delivered", "failed", "gone"]
    status: int
    detail: str
    retry_after_ms: int | None = None


class Sender:
    """Sends to any target. Opened and closed with the process; used from any task."""

    def __init__(self, timeout_s: float, allowed: Allowed, resolver: AbstractResolver | None = None) -> None:
        self.allowed = allowed
        self._timeout_s = timeout_s
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; needs the running loop."""
        resolver = CheckedResolver(self._resolver or aiohttp.ThreadedResolver(), self.allowed)
        self._session = aiohttp.ClientSession(
            # No limit here: how much is under way is bounded per endpoint, and a bound over all of them would
            # let a slow one take every place.
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver, ttl_dns_cache=DNS_S),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": "liveroom", "Content-Type": "application/json"},
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def send(self, url: str, secrets: tuple[Secret, ...], id: str, body: bytes, now: int) -> Outcome:
        """Make one attempt at ``now`` (ms). Every fault of the other side is an outcome; none is raised."""
        session = self._session
        assert session is not None, "opened first"
        try:
            # Checked again, since what is allowed may have changed; and as the client reads it, which is what counts.
            target = URL(url)
            check_url(str(target), self.allowed)
            headers = signing.headers(secrets, id, now, body)
            async with session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
                outcome = _judge(answer.status, answer.headers.get("Retry-After"), now)
                await _drain(answer)
                return outcome
        except Refused as refused:
            return Outcome("failed", 0, refused.message)
        except TimeoutError:
            return Outcome("failed", 0, f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            return Outcome("failed", 0, _why(fault))


def _judge(status: int, retry_after: str | None, now: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome("delivered", status, f"answered {status}")
    if status == 410:
        return Outcome("gone", status, "answered 410: it wants no more")
    if 300 <= status < 400:
        return Outcome("failed", status, f"answered {status}: redirects are not followed, change the url")
    wait = retry_after_ms(retry_after, now) if status in RETRY_AFTER else None
    return Outcome("failed", status, f"answered {status}", wait)


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can be used again; the verdict stands whatever comes."""
    length = answer.content_length
    if length is None or length > MAX_ANSWER_BYTES:
        answer.close()
        return
    try:
        async with asyncio.timeout(1):
            await answer.read()
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        answer.close()


def _why(fault: Exception) -> str:
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, TargetRefused):
            return str(cause)
        cause = cause.__cause__ or getattr(cause, "os_error", None)
    match fault:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "its certificate cannot be verified"
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "the connection broke"
        case _:
            return "what it answered is not HTTP"
