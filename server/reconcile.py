"""``liveroom orders reconcile``: hold a supply partner's list of orders against liveroom's.

Knows the HTTP API as any client does. Rules: every difference is named, a line each, on standard output; exit
code 0 if there is none, 1 if there is any, 2 if the lists could not be compared. Nothing is changed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from liveroom.server.host_commands import DEFAULT_TARGET, Api, CommandError, token_of

COLUMNS = ("order", "status", "quantity", "amount")
NEVER_THEIRS = ("reserved", "expired")  # a partner is told of an order when it is placed or paid
PERHAPS_THEIRS = ("cancelled",)  # one that was never paid is cancelled without a word to the partner
_PAGE = 1000


class Line(NamedTuple):
    """An order as one side has it. ``amount`` in minor units."""

    order: str
    status: str
    quantity: int
    amount: int


def add_orders(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``orders reconcile``; it sets ``func``, from arguments to exit code."""
    verbs = subparsers.add_parser("orders", help="compare orders with a supply partner").add_subparsers(
        required=True, metavar="VERB"
    )
    parser = verbs.add_parser("reconcile", help="name every difference to a partner's list of orders")
    parser.add_argument("--room", required=True, help="room id")
    parser.add_argument(
        "--partner",
        required=True,
        type=Path,
        metavar="FILE",
        help=f"the partner's list, .csv or .json, with {', '.join(COLUMNS)} (amount in minor units)",
    )
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="THEIRS=OURS",
        help="a word of the partner's for a status of liveroom's; may be given several times",
    )
    parser.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="URL", help=f"the server (default: {DEFAULT_TARGET})"
    )
    parser.add_argument("--token-file", metavar="FILE", help="file that holds a host's token")
    parser.set_defaults(func=_run)


def _run(args: argparse.Namespace) -> int:
    try:
        theirs = read_list(args.partner, _words(args.status))
        ours = _ours(Api(args.target, token_of(args.token_file)), args.room)
    except CommandError as fault:
        print(f"liveroom: {fault}", file=sys.stderr)
        return 2
    found = 0
    for difference in differences(ours, theirs):
        print(difference)
        found += 1
    print(
        f"{len(ours)} orders here, {len(theirs)} with the partner, {found} difference{'s' * (found != 1)}",
        file=sys.stderr,
    )
    return 1 if found else 0


def differences(ours: list[Line], theirs: list[Line]) -> Iterator[str]:
    """Name every difference: first by our order of orders, then what only the partner has."""
    listed: dict[str, Line] = {}
    for line in theirs:
        if line.order in listed:
            yield f"{line.order}: the partner lists it more than once"
        listed.setdefault(line.order, line)
    for line in ours:
        other = listed.pop(line.order, None)
        if other is None:
            if line.status not in (*NEVER_THEIRS, *PERHAPS_THEIRS):
                yield f"{line.order}: {line.status} here, and the partner does not have it"
            continue
        for field in COLUMNS[1:]:
            here, there = getattr(line, field), getattr(other, field)
            if here != there:
                yield f"{line.order}: {field} is {here} here, and {there} with the partner"
    for line in listed.values():
        yield f"{line.order}: {line.status} with the partner, and unknown here"


def _ours(api: Api, room: str) -> list[Line]:
    lines: list[Line] = []
    after: int | None = 0
    while after is not None:
        page = api.call("GET", f"{quote(room, safe='')}/orders", query={"after": after, "limit": _PAGE})
        lines += [Line(*(order[column] for column in COLUMNS)) for order in page["orders"]]
        after = page["next"]
    return lines


def _words(pairs: list[str]) -> dict[str, str]:
    words = {}
    for pair in pairs:
        theirs, equals, ours = pair.partition("=")
        if not (theirs and equals and ours):
            raise CommandError(f"--status is THEIRS=OURS, not {pair!r}")
        words[theirs] = ours
    return words


def read_list(file: Path, words: dict[str, str]) -> list[Line]:
    """Read a partner's list: CSV with a header line, or JSON, a list or a map with ``orders``.

    :param words: the partner's words for statuses, and ours.
    :raises CommandError: the file cannot be read, or a line of it cannot be compared.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise CommandError(f"--partner {file} cannot be read: {fault.strerror}") from None
    except ValueError:
        raise CommandError(f"--partner {file} is not UTF-8 text") from None
    match file.suffix.lower():
        case ".csv":
            rows: list[Any] = list(csv.DictReader(text.splitlines()))
        case ".json":
            rows = _json_rows(file, text)
        case _:
            raise CommandError(f"--partner is a .csv or .json file, not {file.name}")
    return [_line(file, number, row, words) for number, row in enumerate(rows, 1)]


def _json_rows(file: Path, text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError as fault:
        raise CommandError(f"--partner {file} is not JSON: {fault}") from None
    rows = found.get("orders") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise CommandError(f"--partner {file} is a list of orders, or a map with one under orders")
    return rows


def _line(file: Path, number: int, row: Any, words: dict[str, str]) -> Line:
    where = f"--partner {file}, order {number}"
    if not isinstance(row, dict) or any(row.get(column) in (None, "") for column in COLUMNS):
        raise CommandError(f"{where}: {', '.join(COLUMNS)} are needed")
    numbers = []
    for column in COLUMNS[2:]:
        given = row[column]
        text = given.strip() if isinstance(given, str) else given
        if isinstance(text, bool) or not (
            isinstance(text, int) or (isinstance(text, str) and text.isascii() and text.isdecimal())
        ):
            raise CommandError(f"{where}: {column} is a whole number (money in minor units), not {given!r}")
        numbers.append(int(text))
    status = str(row["status"]).strip()
    return Line(str(row["order"]).strip(), words.get(status, status), *numbers)
