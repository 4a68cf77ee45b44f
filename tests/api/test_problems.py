"""Errors as problem details, for whatever goes wrong under a route."""

from __future__ import annotations

import gzip
import io
import re
from typing import Any

import pytest

from liveroom.protocol.errors import ERRORS
from liveroom.server.api.call import MAX_BODY_BYTES
from liveroom.server.api.problems import problem
from liveroom.server.room.ports import RoomRecord, Unavailable

from .conftest import Api


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_is_a_problem(code: str) -> None:
    """Each declared code answers with its status, and the title that RFC 9457 asks for."""
    answer = problem(code, "why")
    assert answer.status == ERRORS[code].status
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(("retry_after_ms", "seconds"), [(1, "1"), (1000, "1"), (1001, "2")])
def test_retry_after_is_never_too_early(retry_after_ms: int, seconds: str) -> None:
    """Retry-After is in whole seconds, rounded up."""
    assert problem("unavailable", "why", retry_after_ms).headers["Retry-After"] == seconds


async def test_whole_problem(api: Api) -> None:
    """A problem has exactly the members we document."""
    answer = await api.call("GET", "")
    assert answer.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "unknown_room",
        "detail": f"there is no room '{api.room}'",
    }


async def test_unknown_path(api: Api) -> None:
    """A path without a route is not found, as a problem."""
    assert (await api.call("GET", "/v2/rooms")).code == "not_found"


async def test_wrong_method(api: Api) -> None:
    """A route with another method says which it takes."""
    answer = await api.call("PATCH", "")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(re.findall(r"\w+", answer.headers["Allow"])) == {"GET", "HEAD", "PUT"}


async def test_body_that_is_said_to_be_too_large(api: Api) -> None:
    """A body over the limit is refused."""
    answer = await api.call("PUT", "", raw=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status, answer.code) == (413, "too_large")


async def test_body_that_turns_out_too_large(api: Api) -> None:
    """A body whose length was not announced is refused when it passes the limit."""

    async def pieces() -> Any:
        for _ in range(5):
            yield b"x" * 65_536

    headers = {"Authorization": "Bearer host"}
    async with api.client.put(api.at, data=pieces(), headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (413, "too_large")


async def test_largest_body(api: Api) -> None:
    """A body of exactly the limit is read."""
    body = b'{"title":"x"}'
    assert (await api.call("PUT", "", raw=body + b" " * (MAX_BODY_BYTES - len(body)))).status == 201


async def test_body_that_inflates_too_large(api: Api) -> None:
    """A compressed body counts by what it inflates to."""
    body = gzip.compress(b" " * (MAX_BODY_BYTES + 1))
    assert (await api.call("PUT", "", raw=body, headers={"Content-Encoding": "gzip"})).code == "too_large"


async def test_body_that_does_not_inflate(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A body that is not encoded as its head says is a bad request, and nothing the API logs."""
    body = io.BytesIO(b"hello")
    headers = {"Authorization": "Bearer host", "Content-Encoding": "gzip"}
    async with api.client.put(api.at, data=body, headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (400, "bad_request")
    assert "liveroom.api" not in {record.name for record in caplog.records}


async def test_store_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store is away the answer is 503 and says when to ask again."""

    async def away(room: str) -> RoomRecord | None:
        raise Unavailable

    monkeypatch.setattr(api.context.store, "record", away)
    answer = await api.call("GET", "")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert answer.json["retry_after_ms"] == 1000


async def test_our_own_fault(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is logged, tells nothing of itself, and leaves the connection usable."""

    async def broken(room: str) -> RoomRecord | None:
        raise KeyError("secret detail")

    monkeypatch.setattr(api.context.store, "record", broken)
    answer = await api.call("GET", "")
    assert (answer.status, answer.code) == (500, "internal")
    assert "secret" not in str(answer.json) and "secret detail" in caplog.text
    assert (await api.call("GET", "/healthz")).status == 200
