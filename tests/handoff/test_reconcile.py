"""``liveroom orders reconcile`` against a running liveroom, and what it makes of a partner's list."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from liveroom.server import cli
from liveroom.server.host_commands import CommandError
from liveroom.server.reconcile import Line, differences, read_list
from tests.running import Liveroom
from tests.watching import Watcher

HEAD = "order,status,quantity,amount\n"


@pytest.fixture
async def orders(server: Liveroom, room: str) -> list[dict[str, Any]]:
    """Three orders of a room, as liveroom tells them."""
    server.request("PUT", f"/v1/rooms/{room}")
    draft = {"sku": "m", "title": "M", "price": 250, "currency": "EUR", "stock": 9}
    sale = server.request("POST", f"/v1/rooms/{room}/sales", draft)["sale"]
    server.request("POST", f"/v1/rooms/{room}/sales/{sale}/open")
    watcher = await Watcher(server.room_url(room, "uma")).join()
    for number in range(3):
        await watcher.ask(type="claim", id=number, sale=sale, quantity=number + 1)
    await watcher.leave()
    found: list[dict[str, Any]] = server.request("GET", f"/v1/rooms/{room}/orders")["orders"]
    return found


def run(server: Liveroom, room: str, file: Path, *more: str) -> int:
    """Run the command."""
    words = ["orders", "reconcile", "--room", room, "--partner", str(file), "--target", server.http, *more]
    return cli.main(words)


def as_csv(orders: list[dict[str, Any]]) -> str:
    """Write a partner's list, in an order of its own."""
    rows = [f"{o['order']},{o['status']},{o['quantity']},{o['amount']}\n" for o in orders]
    random.Random(7).shuffle(rows)
    return HEAD + "".join(rows)


async def test_lists_that_agree(
    server: Liveroom,
    room: str,
    orders: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is named, and the exit code is 0; for CSV and for JSON."""
    file = tmp_path / "theirs.csv"
    file.write_text(as_csv(orders))
    assert run(server, room, file) == 0
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps({"orders": orders}))
    assert run(server, room, file) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "3 orders here, 3 with the partner, 0 differences" in told.err


async def test_every_difference_is_named(
    server: Liveroom,
    room: str,
    orders: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Missing, unknown, doubled, and each field that differs."""
    one, two, three = orders
    theirs = [two | {"quantity": 5, "amount": 1}, three | {"status": "shipped"}, three, one | {"order": "x"}]
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps(theirs))
    assert run(server, room, file) == 1
    assert set(capsys.readouterr().out.splitlines()) == {
        f"{three['order']}: the partner lists it more than once",
        f"{one['order']}: placed here, and the partner does not have it",
        f"{two['order']}: quantity is 2 here, and 5 with the partner",
        f"{two['order']}: amount is 500 here, and 1 with the partner",
        f"{three['order']}: status is placed here, and shipped with the partner",
        "x: placed with the partner, and unknown here",
    }


async def test_the_partners_words(
    server: Liveroom, room: str, orders: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A partner may have other words for a status."""
    file = tmp_path / "theirs.csv"
    file.write_text(as_csv([order | {"status": "NEW"} for order in orders]))
    assert run(server, room, file) == 1
    assert run(server, room, file, "--status", "NEW=placed") == 0


async def test_what_cannot_be_compared(
    server: Liveroom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No room id, no such file: a sentence, and exit code 2."""
    file = tmp_path / "theirs.csv"
    assert run(server, "nowhere", file) == 2
    file.write_text(HEAD)
    assert run(server, "no room", file) == 2
    assert "bad_request" in capsys.readouterr().err


def test_orders_a_partner_was_never_told_of() -> None:
    """Held, expired and never paid ones need not be with the partner; if they are, their status differs."""
    ours = [Line("a", "reserved", 1, 1), Line("b", "expired", 1, 1), Line("c", "cancelled", 1, 1)]
    assert list(differences(ours, [])) == []
    assert list(differences(ours, [Line("b", "paid", 1, 1)])) == [
        "b: status is expired here, and paid with the partner"
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "order,status\no1,placed\n", "are needed"),
        ("a.csv", HEAD + "o1,placed,1,12.90\n", "amount is a whole number"),
        ("a.csv", HEAD + "o1,placed,-1,12\n", "quantity is a whole number"),
        ("a.csv", HEAD + "o1,placed,,12\n", "are needed"),
        ("a.json", "{}", "a list of orders"),
        ("a.json", "[5]", "are needed"),
        ("a.json", "[", "is not JSON"),
        (
            "a.json",
            '[{"order":"o","status":"placed","quantity":true,"amount":1}]',
            "quantity is a whole number",
        ),
        ("a.json", '[{"order":"o","status":"placed","quantity":1,"amount":1.5}]', "amount is a whole number"),
        ("a.xls", "", ".csv or .json"),
    ],
)
def test_bad_lists(tmp_path: Path, name: str, text: str, says: str) -> None:
    """Each is refused with a sentence that names the place."""
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(CommandError, match=says):
        read_list(file, {})


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, other columns and blanks do no harm."""
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffamount,order,note,status,quantity\r\n 5,o1,"a, b",paid , 2\r\n'.encode())
    assert read_list(file, {}) == [Line("o1", "paid", 2, 5)]
