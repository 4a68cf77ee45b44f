"""Errors as RFC 9457 problem details, for everything that can go wrong under a route.

Rules: a code stands in ``protocol.errors.ERRORS`` and brings its status from there; what the caller did
wrong is said in one sentence; our own fault is logged, answered ``internal``, and the connection lives on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web

from liveroom.protocol.errors import ERRORS
from liveroom.server.room.ports import Refused

_log = logging.getLogger("liveroom.api")

PROBLEM_TYPE = "application/problem+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 9457 problem details. ``code`` tells faults apart; ``detail`` is a sentence for a person."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retry_after_ms: int | None = None


def problem(
    code: str, detail: str, retry_after_ms: int | None = None, *, headers: dict[str, str] | None = None
) -> web.Response:
    """Make the answer for a declared code.

    :param retry_after_ms: also sent as ``Retry-After``, in whole seconds and never too early.
    """
    status = ERRORS[code].status
    # RFC 9457 section 4.2.1: under about:blank the title is the status's own phrase.
    body = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        retry_after_ms=retry_after_ms,
    )
    sent = dict(headers or {})
    if code == "unauthorized":
        sent["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    if retry_after_ms is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after_ms / 1000)))
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=sent, content_type=PROBLEM_TYPE
    )


_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into its problem."""
    try:
        return await handler(request)
    except Refused as refused:
        return problem(refused.code, refused.message, refused.retry_after_ms)
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        return _of_aiohttp(request, answer)
    except Exception:
        _log.exception("%s %s failed", request.method, request.path)
        return problem("internal", "a fault of the server; it has been logged")


def _of_aiohttp(request: web.Request, answer: web.HTTPException) -> web.Response:
    code = _HTTP_CODES.get(answer.status, "bad_request" if answer.status < 500 else "internal")
    headers = {"Allow": answer.headers["Allow"]} if "Allow" in answer.headers else None
    match code:
        case "not_found":
            detail = f"there is nothing at {request.path}"
        case "method_not_allowed":
            detail = f"{request.method} is not possible here"
        case "too_large":
            detail = f"a request body has at most {request.client_max_size} bytes"
        case _:
            detail = answer.reason
    return problem(code, detail, headers=headers)
