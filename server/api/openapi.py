"""The API's OpenAPI 3.1 document, made from the route table and the structs of bodies and answers."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from typing import Any

import msgspec

from liveroom.protocol.errors import ERRORS
from liveroom.protocol.names import ID_PATTERN
from liveroom.server.api import orders, runsheet
from liveroom.server.api.call import DEFAULT_PAGE, MAX_KEY_CHARS, MAX_PAGE, MAX_POSITION
from liveroom.server.api.problems import PROBLEM_TYPE, Problem
from liveroom.server.api.routes import Route
from liveroom.server.api.sales import ACTIONS, MAX_SALES_PAGE
from liveroom.server.room.identity import Role

_ACTIONS = {"sales": ACTIONS, "orders": orders.ACTIONS, "runsheet": runsheet.ACTIONS}
_REF = "#/components/schemas/{name}"
_STATUS_TEXTS = {200: "Done.", 201: "Made.", 204: "Done; there is no body."}


def document(routes: tuple[Route, ...]) -> bytes:
    """Return the document as JSON."""
    types = [type for route in routes for type in (*_one_of(route.body), *_one_of(route.answer))]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    found = iter(schemas)  # unions of types cannot be keys: schemas are paired with types by place
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        body = _any_of([next(found) for _ in _one_of(route.body)])
        answer = _any_of([next(found) for _ in _one_of(route.answer)])
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, body, answer)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "liveroom host API",
                "version": version("liveroom"),
                "description": "Times are integer ms since the Unix epoch; money is integer minor units. "
                "Errors are RFC 9457 problem details whose code tells them apart.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }
    )


def _one_of(types: Any) -> tuple[Any, ...]:
    if types is None:
        return ()
    return types if isinstance(types, tuple) else (types,)


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(schemas) > 1:
        return {"anyOf": schemas}
    return schemas[0] if schemas else None


def _operation(route: Route, body: dict[str, Any] | None, answer: dict[str, Any] | None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": _summary(route),
        "security": [] if route.role is None else [{"token": []}],
        "responses": _responses(route, answer),
    }
    parameters = [_in_path(name, route) for name in re.findall(r"\{(\w+)\}", route.path)]
    parameters += [_in_query(name, route) for name in route.query]
    if route.keyed:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _summary(route: Route) -> str:
    text = " ".join((inspect.getdoc(route.handler) or "").split())
    return text if route.role in (None, Role.VIEWER) else f"{text} Takes the role {route.role.name.lower()}."


def _responses(route: Route, answer: dict[str, Any] | None) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in route.statuses:
        responses[str(status)] = {"description": _STATUS_TEXTS[status]}
        if answer is not None:
            kind = "text/plain" if route.answer is str else "application/json"
            responses[str(status)]["content"] = {kind: {"schema": answer}}
    by_status: dict[int, list[str]] = {}
    for code in sorted(_errors(route)):
        by_status.setdefault(ERRORS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        meanings = " ".join(f"{code}: {ERRORS[code].meaning}" for code in codes)
        responses[str(status)] = {
            "description": meanings,
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    return responses


def _errors(route: Route) -> set[str]:
    """Return the codes a route may answer with: its own, and those of its kind."""
    codes = {*route.errors, "internal", "too_large"}
    if route.role is not None:
        codes |= {"unauthorized", "forbidden", "unavailable"}
    if "{" in route.path or route.query or route.body is not None:
        codes.add("bad_request")
    if route.body is not None:
        codes.add("invalid")
    if route.keyed:
        codes |= {"id_reused", "bad_request"}
    if route.path == "/readyz":
        codes.add("unavailable")
    return codes


def _in_path(name: str, route: Route) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
    if name == "action":
        schema = {"enum": list(_ACTIONS[route.path.split("/")[4]])}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, route: Route) -> dict[str, Any]:
    if name == "consumer":
        schema: dict[str, Any] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
    elif name == "after" and route.path.endswith("/feed"):
        schema = {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,15}$"}
    elif name == "after":
        schema = {"type": "integer", "minimum": 0, "maximum": MAX_POSITION, "default": 0}
    else:
        most = MAX_SALES_PAGE if route.path.endswith("/sales") else MAX_PAGE
        schema = {"type": "integer", "minimum": 1, "maximum": most, "default": DEFAULT_PAGE}
    return {"name": name, "in": "query", "schema": schema}


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request repeated with its key within a day does nothing more and is answered the same.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
}
