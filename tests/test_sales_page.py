"""docs/sales.md against the code: the pictures of orders, and the walk-throughs run line by line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

from liveroom.protocol.messages import ClaimStatus, OrderStatus
from liveroom.server.sale.audit import POOLS
from liveroom.server.sale.ports import OrderAction
from tests.backplane import test_claims_model
from tests.running import Liveroom

PAGE = (Path(__file__).parent.parent / "docs" / "sales.md").read_text(encoding="utf-8")
LUA = files("liveroom.server.backplane").joinpath("lua")


def section(heading: str) -> str:
    """The text under a heading of the page."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found is not None, heading
    return found[1]


def lua_table(script: str, name: str) -> str:
    """What stands between the braces of a table of a script."""
    found = re.search(rf"^local {name} = {{\n(.*?)^}}", LUA.joinpath(script).read_text(), re.M | re.S)
    assert found is not None, name
    return found[1]


def pairs(text: str) -> dict[str, str]:
    """Read ``name = 'value'`` pairs."""
    return dict(re.findall(r"(\w+) = '(\w+)'", text))


def moves() -> dict[str, dict[str, str]]:
    """What each action makes of each status, by the script."""
    return {
        action: pairs(of) for action, of in re.findall(r"(\w+) = {(.*?)}", lua_table("order_act.lua", "NEXT"))
    }


def test_the_script_moves_as_the_model() -> None:
    """The table in the script is the one the model has, with every action there is."""
    assert moves() == test_claims_model.NEXT
    assert set(moves()) == set(get_args(OrderAction))


def test_the_picture_is_the_script() -> None:
    """Every arrow of the picture is a move of the script, and every move has its arrow."""
    drawn: dict[str, dict[str, str]] = {}
    for source, target, labels in re.findall(r"(\S+) --> (\w+): (.+)", section("Life of an order")):
        for label in labels.split(", "):
            if label == "claim":
                assert (source, target) in (("[*]", "reserved"), ("[*]", "placed"))
            elif label == "expires_at":
                assert (source, target) == ("reserved", "expired")
            else:
                drawn.setdefault(label, {})[source] = target
    assert drawn == moves()


def test_the_picture_ends_where_orders_end() -> None:
    """A final status is one that the script takes off the open orders."""
    drawn = set(re.findall(r"(\w+) --> \[\*\]", section("Life of an order")))
    final = re.search(r"local FINAL = { (.*) }", LUA.joinpath("sale.lua").read_text())
    assert final is not None
    assert drawn == set(re.findall(r"(\w+) = 1", final[1]))
    # What is final is never among what an action begins from.
    assert drawn.isdisjoint(status for sources in moves().values() for status in sources)


def test_pools_are_the_same_everywhere() -> None:
    """Page, script and audit put an order's units in the same place, for every status there is."""
    told = {
        status: pool
        for pool, statuses in re.findall(r"^\| `(\w+)` \| (`.*`) \|$", section("Life of an order"), re.M)
        for status in re.findall(r"`(\w+)`", statuses)
    }
    assert told == POOLS == pairs(lua_table("sale.lua", "POOL"))
    assert set(POOLS) == set(get_args(OrderStatus))


def test_every_answer_to_a_claim_is_told() -> None:
    """The table of answers has every status."""
    told = re.findall(r"^\| `(\w+)` \|", section("What a claim is answered"), re.M)
    assert set(told) == set(get_args(ClaimStatus))


# --- the walk-throughs --------------------------------------------------------------------------------

CURL = shutil.which("curl")


def curls(heading: str) -> list[str]:
    """The curl commands of a section, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", section(heading), re.S)
    return [
        line
        for block in blocks
        for line in re.split(r"\n(?=curl )", block.strip())
        if line.startswith("curl")
    ]


def run(command: str, server: Liveroom) -> Any:
    """Run a command of the page against ``server``; returns the answer."""
    told = command.replace("localhost:8080", f"127.0.0.1:{server.port}")
    assert told != command
    ran = subprocess.run(
        ["bash", "-c", told.replace("curl ", "curl -sS --noproxy '*' --fail-with-body ", 1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return json.loads(ran.stdout)


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_the_run_sheet_can_be_followed(server: Liveroom) -> None:
    """A host who copies the page line by line has prepared, run and closed three sales."""
    answers = [(command, run(command, server)) for command in curls("A run-sheet, step by step")]
    told = {command.partition("/rooms/")[2].strip(): answer for command, answer in answers}
    assert told["show/runsheet/mug/rehearse"]["dry_run"] is True
    assert told["show/runsheet/mug/preflight"]["ok"] is True
    assert told["show/runsheet/mug/start"]["state"] == "open"
    assert told["show/runsheet/mug/pause"]["ends_at"] is None
    assert told["show/runsheet/mug/resume"]["ends_at"] is not None
    assert [(item["item"], item["sale"], item["state"]) for item in told["show/runsheet"]["items"]] == [
        ("mug", "s1", "closed"),
        ("bag", "s2", "scheduled"),
        ("last", "s3", "closed"),
    ]
    assert told["show/sales/s1/audit"]["ok"] is True
    assert told["show/sales/s1/report"]["units"] == 0


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_orders_from_elsewhere_can_be_told(server: Liveroom) -> None:
    """The example of an order from elsewhere is taken."""
    *_, told = [run(command, server) for command in curls("Orders from elsewhere")]
    assert told["reference"] == "#1007"


def test_every_curl_of_the_page_is_run() -> None:
    """No section but those above has a curl line, so none can be wrong unseen."""
    assert PAGE.count("\ncurl ") == len(curls("A run-sheet, step by step") + curls("Orders from elsewhere"))
