"""The OpenAPI document, the route table and the application are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from liveroom.server.api import openapi
from liveroom.server.api.routes import ROUTES

from .conftest import Api

DOCUMENT: Any = msgspec.json.decode(openapi.document(ROUTES))
OPERATIONS = [
    (path, method, found) for path, item in DOCUMENT["paths"].items() for method, found in item.items()
]

# What the contract names, written out once more so that a route cannot get lost with its row.
CONTRACT = """
PUT /v1/rooms/{room}
GET /v1/rooms/{room}
POST /v1/rooms/{room}/close
GET /v1/rooms/{room}/stats
GET /v1/rooms/{room}/ws
POST /v1/rooms/{room}/events
POST /v1/rooms/{room}/sales
GET /v1/rooms/{room}/sales
GET /v1/rooms/{room}/sales/{sale}
PATCH /v1/rooms/{room}/sales/{sale}
GET /v1/rooms/{room}/sales/{sale}/audit
GET /v1/rooms/{room}/sales/{sale}/report
POST /v1/rooms/{room}/sales/{sale}/{action}
GET /v1/rooms/{room}/runsheet
PUT /v1/rooms/{room}/runsheet
POST /v1/rooms/{room}/runsheet/{item}/{action}
GET /v1/rooms/{room}/orders
POST /v1/rooms/{room}/orders
GET /v1/rooms/{room}/orders/{order}
POST /v1/rooms/{room}/orders/{order}/{action}
PUT /v1/rooms/{room}/pinned
DELETE /v1/rooms/{room}/pinned
DELETE /v1/rooms/{room}/comments/{comment}
GET /v1/webhooks
PUT /v1/webhooks/{webhook}
GET /v1/webhooks/{webhook}
DELETE /v1/webhooks/{webhook}
POST /v1/webhooks/{webhook}/rotate
POST /v1/webhooks/{webhook}/enable
POST /v1/webhooks/{webhook}/replay
POST /v1/webhooks/{webhook}/test
GET /v1/orders/feed
POST /v1/orders/feed/ack
DELETE /v1/orders/feed/{consumer}
GET /healthz
GET /readyz
GET /metrics
GET /openapi.json
"""


def nested(value: Any) -> Iterator[dict[str, Any]]:
    """Go through every map of the document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nested(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nested(inner)


def test_table_is_the_contract() -> None:
    """The route table has exactly the routes the contract names."""
    assert {f"{route.method} {route.path}" for route in ROUTES} == set(CONTRACT.strip().splitlines())


async def test_application_is_the_table(api: Api) -> None:
    """The application serves exactly the routes of the table."""
    app = api.client.app
    assert app is not None
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    table = {(route.method, route.path) for route in ROUTES}
    assert served == table | {("HEAD", path) for method, path in table if method == "GET"}


def test_document_is_the_table() -> None:
    """The document describes exactly the routes of the table."""
    described = {(method.upper(), path) for path, method, _ in OPERATIONS}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_every_reference_resolves() -> None:
    """Each $ref names a schema that is there, and each schema is used."""
    used = {found["$ref"] for found in nested(DOCUMENT) if "$ref" in found}
    used |= {
        ref for found in nested(DOCUMENT) for ref in found.get("mapping", {}).values() if isinstance(ref, str)
    }
    assert used == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


@pytest.mark.parametrize(("path", "method", "found"), OPERATIONS)
def test_operations_are_complete(path: str, method: str, found: dict[str, Any]) -> None:
    """An operation has a summary, an answer, and a parameter for each name in its path."""
    named = {parameter["name"] for parameter in found.get("parameters", []) if parameter["in"] == "path"}
    assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert found["summary"] and found["responses"]
    assert all(response["description"] for response in found["responses"].values())


def test_operation_ids_are_unique() -> None:
    """No two operations share an id."""
    ids = [found["operationId"] for _, _, found in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_writes_take_a_key() -> None:
    """Every write that logs something takes an Idempotency-Key."""
    for path, method, found in OPERATIONS:
        names = {parameter["name"] for parameter in found.get("parameters", [])}
        # The room and its run-sheet are put as a whole: again is the same, and nothing is logged.
        puts_whole = method == "put" and path in ("/v1/rooms/{room}", "/v1/rooms/{room}/runsheet")
        logs = path.startswith("/v1/rooms/") and method != "get" and not puts_whole
        assert ("Idempotency-Key" in names) == logs


async def test_document_is_served(api: Api) -> None:
    """The document is at /openapi.json, for everyone."""
    assert (await api.call("GET", "/openapi.json", token=None)).json == DOCUMENT
