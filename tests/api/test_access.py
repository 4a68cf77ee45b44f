"""Who may do what: every route of the table, with every kind of token."""

from __future__ import annotations

import re

import pytest

from liveroom.server.api.routes import ROUTES, Route
from liveroom.server.room.identity import Role

from .conftest import Api

IN_ROOMS = [route for route in ROUTES if route.role is not None]
PUBLIC = [route for route in ROUTES if route.role is None]


def name(route: Route) -> str:
    """Name a route in a test's id."""
    return f"{route.method} {route.path}"


def filled(api: Api, route: Route) -> str:
    """Return a path of the route in the test's room."""
    return re.sub(r"\{\w+\}", "open", route.path.replace("{room}", api.room))


@pytest.mark.parametrize("route", IN_ROOMS, ids=name)
@pytest.mark.parametrize("token", [None, "forged"])
async def test_no_valid_token(api: Api, route: Route, token: str | None) -> None:
    """Without a valid token every route in rooms answers 401 and says how to authenticate."""
    answer = await api.call(route.method, filled(api, route), token=token)
    assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")


@pytest.mark.parametrize("route", IN_ROOMS, ids=name)
async def test_token_of_another_room(api: Api, route: Route) -> None:
    """A token for one room is no good in another."""
    answer = await api.call(route.method, filled(api, route), token="host-of-other")
    assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("route", IN_ROOMS, ids=name)
async def test_viewer(api: Api, route: Route) -> None:
    """A viewer may read what a viewer is shown anyway, and nothing else."""
    answer = await api.call(route.method, filled(api, route), token="viewer")
    assert (answer.status == 403) == (route.role is not Role.VIEWER)


@pytest.mark.parametrize("route", IN_ROOMS, ids=name)
async def test_service_may_do_everything(api: Api, route: Route) -> None:
    """The platform's own token is refused nowhere for who it is."""
    assert (await api.call(route.method, filled(api, route), token="service")).status not in (401, 403)


@pytest.mark.parametrize("route", PUBLIC, ids=name)
async def test_public_routes_ask_for_no_token(api: Api, route: Route) -> None:
    """Health, metrics and the document are open to all."""
    assert (await api.call(route.method, filled(api, route), token=None)).status in (200, 426)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic host", "host"])
async def test_other_authorization(api: Api, header: str) -> None:
    """Only the Bearer scheme with a token is taken."""
    answer = await api.call("GET", "", token=None, headers={"Authorization": header})
    assert answer.code == "unauthorized"


async def test_scheme_in_small_letters(api: Api) -> None:
    """The scheme's name is taken in any case (RFC 9110 section 11.1)."""
    await api.make_room()
    answer = await api.call("GET", "", token=None, headers={"Authorization": "bearer host"})
    assert answer.status == 200


async def test_dev_asks_for_no_token(dev_api: Api) -> None:
    """Under --dev the host API takes anyone."""
    assert (await dev_api.call("PUT", "", token=None)).status == 201


async def test_dev_is_closed_to_pages_of_other_sites(dev_api: Api) -> None:
    """Under --dev a page of another site cannot drive the API through the browser."""
    answer = await dev_api.call("PUT", "", token=None, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.code == "forbidden"
