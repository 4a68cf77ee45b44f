"""The host's commands: ``liveroom room|sale|order ...``, each one request to the HTTP API.

Knows the API as any client does, and nothing of the server's insides. Prints JSON: one value readable for
people, a list one line an item. What goes wrong is one sentence on standard error, and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from liveroom.server.config import TOKEN_ENV, client_token

DEFAULT_TARGET = "http://127.0.0.1:8080"
TIMEOUT_S = 15.0
SALE_ACTIONS = ("open", "pause", "resume", "close", "cancel")
ORDER_ACTIONS = ("pay", "cancel", "refund", "accept", "reject", "ship", "complete")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CommandError(Exception):
    """The command failed; the message is the sentence to print."""


class Api:
    """The host API at ``target``, asked with ``token`` (None: with none, as ``serve --dev`` takes it)."""

    def __init__(self, target: str, token: str | None) -> None:
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"--target is an http:// or https:// address, not {target!r}")
        self._target = target.rstrip("/")
        self._token = token
        # A proxy set for the machine cannot reach this machine's own loopback.
        proxies = [urllib.request.ProxyHandler({})] if parts.hostname in _LOOPBACK else []
        self._opener = urllib.request.build_opener(*proxies)

    def call(self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        """Send one request; returns the answer's JSON, None for none.

        :raises CommandError: the server cannot be reached, or refused.
        """
        url = f"{self._target}/v1/rooms/{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)  # noqa: S310  scheme checked above
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                told = answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise CommandError(_sentence(refusal)) from None
        except (OSError, HTTPException) as fault:  # URLError is an OSError
            reason = getattr(fault, "reason", fault) or fault
            raise CommandError(
                f"no answer from {self._target}: {reason}; is `liveroom serve` running there?"
            ) from None
        try:
            return json.loads(told) if told else None
        except ValueError:
            raise CommandError(f"what answers at {self._target} is not liveroom") from None


def _sentence(refusal: urllib.error.HTTPError) -> str:
    """Return what a problem says; something else may have answered in the server's place."""
    try:
        problem = json.loads(refusal.read())
        said = f"{problem['detail']} ({problem['code']})"
    except (ValueError, KeyError, TypeError):
        return f"the answer was {refusal.code} {refusal.reason}"
    if refusal.code == 401:
        said += f"; put a host's token into {TOKEN_ENV} or give --token-file"
    return said


# --- the command line ---------------------------------------------------------------------------------


def add_host_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``room``, ``sale`` and ``order``; each sets ``func``, from arguments to exit code."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="URL", help=f"the server (default: {DEFAULT_TARGET})"
    )
    common.add_argument(
        "--token-file", metavar="FILE", help=f"file that holds the token (default: what {TOKEN_ENV} holds)"
    )
    _add_room(subparsers, common)
    _add_sale(subparsers, common)
    _add_order(subparsers, common)


Commands = Callable[[str, str, Callable[[Api, argparse.Namespace], Any]], argparse.ArgumentParser]


def _group(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    noun: str,
    text: str,
) -> Commands:
    """Add a noun; returns what adds a verb to it. Every verb's first argument is the room."""
    verbs = subparsers.add_parser(noun, help=text).add_subparsers(required=True, metavar="VERB")

    def add(verb: str, text: str, ask: Callable[[Api, argparse.Namespace], Any]) -> argparse.ArgumentParser:
        parser = verbs.add_parser(verb, help=text, parents=[common])
        parser.add_argument("room", metavar="ROOM", help="room id")
        parser.set_defaults(func=lambda args: run(ask, args))
        return parser

    return add


def _add_room(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _group(subparsers, common, "room", "make, read and close rooms")
    create = add("create", "make a room, or set its title", _create_room)
    create.add_argument("--title", help="title of the room")
    add("show", "read a room's record", lambda api, args: api.call("GET", _room(args)))
    add("close", "close a room for good", lambda api, args: api.call("POST", f"{_room(args)}/close"))
    add("stats", "read a room's numbers", lambda api, args: api.call("GET", f"{_room(args)}/stats"))
    notice = add("notice", "tell everyone in a room something", _post_notice)
    notice.add_argument("text", metavar="TEXT", help="what to tell")


def _add_sale(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _group(subparsers, common, "sale", "make and run flash sales")
    create = add("create", "make a sale", _create_sale)
    create.add_argument("--sku", required=True, help="the shop's article number")
    create.add_argument("--title", required=True, help="what is sold")
    create.add_argument("--price", required=True, type=int, help="price of one, in minor units (cents)")
    create.add_argument("--currency", required=True, help="ISO 4217 code, for example EUR")
    create.add_argument("--stock", required=True, type=int, help="units for sale")
    create.add_argument("--limit", type=int, help="most units one user can have (default: no limit)")
    create.add_argument(
        "--hold",
        type=int,
        metavar="SECONDS",
        help="how long a claim is held unpaid (default: placed at once)",
    )
    create.add_argument("--gift", metavar="TEXT", help="what comes with each unit")
    create.add_argument(
        "--allow-overlap", action="store_true", help="although another sale of this sku is not over"
    )
    when = "ms since the Unix epoch, or ISO 8601 (without an offset: this machine's own time)"
    create.add_argument("--starts-at", type=_time, help=f"{when}; left out: `sale open` opens it")
    create.add_argument("--ends-at", type=_time, help=f"{when}; left out: `sale close` closes it")
    listed = add("list", "list a room's sales, a line each", _list("sales"))
    _add_paging(listed)
    for verb, text, ask in (
        ("show", "read a sale", lambda api, args: api.call("GET", _sale(args))),
        ("audit", "hold a sale's books against its ledger; says the first fault", _audit),
        ("report", "read what a sale brought", lambda api, args: api.call("GET", f"{_sale(args)}/report")),
    ):
        add(verb, text, ask).add_argument("sale", metavar="SALE", help="sale id")
    change = add("change", "change a sale's offer", _change_sale)
    change.add_argument("sale", metavar="SALE", help="sale id")
    change.add_argument("--price", type=int, help="price of one, in minor units; can only fall once it runs")
    change.add_argument("--limit", type=int, help="most units one user can have; can only rise once it runs")
    change.add_argument("--ends-at", type=_time, help=f"{when}; can only be later once it runs")
    for action in SALE_ACTIONS:
        parser = add(action, f"{action} a sale", _act(action))
        parser.add_argument("sale", metavar="SALE", help="sale id")
    restock = add("restock", "add units to a sale", _restock)
    restock.add_argument("sale", metavar="SALE", help="sale id")
    restock.add_argument("add", metavar="N", type=int, help="units to add")


def _add_order(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _group(subparsers, common, "order", "read and move orders")
    _add_paging(add("list", "list a room's orders, a line each", _list("orders")))
    show = add("show", "read an order", lambda api, args: api.call("GET", _order(args)))
    show.add_argument("order", metavar="ORDER", help="order id")
    for action in ORDER_ACTIONS:
        parser = add(action, f"{action} an order", _move_order(action))
        parser.add_argument("order", metavar="ORDER", help="order id")
        if action == "refund":
            parser.add_argument(
                "--amount", type=int, help="minor units to refund (default: all that is not refunded yet)"
            )


def _add_paging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--after", type=int, help="go on after this position (default: from the first)")
    parser.add_argument("--limit", type=int, help="most items to list (default: 100)")


# --- what each asks -----------------------------------------------------------------------------------


def _room(args: argparse.Namespace) -> str:
    return quote(args.room, safe="")


def _sale(args: argparse.Namespace) -> str:
    return f"{_room(args)}/sales/{quote(args.sale, safe='')}"


def _order(args: argparse.Namespace) -> str:
    return f"{_room(args)}/orders/{quote(args.order, safe='')}"


def _create_room(api: Api, args: argparse.Namespace) -> Any:
    return api.call("PUT", _room(args), {} if args.title is None else {"title": args.title})


def _post_notice(api: Api, args: argparse.Namespace) -> Any:
    return api.call("POST", f"{_room(args)}/events", {"type": "notice", "text": args.text})


def _create_sale(api: Api, args: argparse.Namespace) -> Any:
    names = ("sku", "title", "price", "currency", "stock", "starts_at", "ends_at")
    draft = {name: getattr(args, name) for name in names}
    draft["per_user_limit"] = args.limit
    for name, value in (("hold_seconds", args.hold), ("gift", args.gift)):
        if value is not None:
            draft[name] = value
    if args.allow_overlap:
        draft["allow_overlap"] = True
    return api.call("POST", f"{_room(args)}/sales", draft)


def _change_sale(api: Api, args: argparse.Namespace) -> Any:
    given = {"price": args.price, "per_user_limit": args.limit, "ends_at": args.ends_at}
    changes = {name: value for name, value in given.items() if value is not None}
    return api.call("PATCH", _sale(args), changes)


def _audit(api: Api, args: argparse.Namespace) -> Any:
    told = api.call("GET", f"{_sale(args)}/audit")
    if not told["ok"]:
        raise CommandError(f"the books of sale {args.sale} do not agree: {told['faults'][0]}")
    return told


def _move_order(action: str) -> Callable[[Api, argparse.Namespace], Any]:
    def ask(api: Api, args: argparse.Namespace) -> Any:
        amount = getattr(args, "amount", None)
        return api.call("POST", f"{_order(args)}/{action}", None if amount is None else {"amount": amount})

    return ask


def _act(action: str) -> Callable[[Api, argparse.Namespace], Any]:
    return lambda api, args: api.call("POST", f"{_sale(args)}/{action}")


def _restock(api: Api, args: argparse.Namespace) -> Any:
    return api.call("POST", f"{_sale(args)}/restock", {"add": args.add})


def _list(noun: str) -> Callable[[Api, argparse.Namespace], Any]:
    def ask(api: Api, args: argparse.Namespace) -> list[Any]:
        query = {name: getattr(args, name) for name in ("after", "limit") if getattr(args, name) is not None}
        page = api.call("GET", f"{_room(args)}/{noun}", query=query)
        if page["next"] is not None:
            print(f"there are more: --after {page['next']}", file=sys.stderr)
        items: list[Any] = page[noun]
        return items

    return ask


def _time(text: str) -> int:
    """Read a time as ms since the Unix epoch; the API says whether it can be one of a sale."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        message = f"{text!r} is neither ms since the Unix epoch nor ISO 8601, as 2030-01-31T20:00:00+08:00"
        raise argparse.ArgumentTypeError(message) from None


# --- running one --------------------------------------------------------------------------------------


def run(ask: Callable[[Api, argparse.Namespace], Any], args: argparse.Namespace) -> int:
    """Carry out one command; returns the exit code."""
    try:
        answer = ask(Api(args.target, token_of(args.token_file)), args)
    except CommandError as fault:
        print(f"liveroom: {fault}", file=sys.stderr)
        return 1
    if isinstance(answer, list):
        for item in answer:
            print(json.dumps(item, ensure_ascii=False))
    else:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    return 0


def token_of(file: str | None) -> str | None:
    """Return the token in a file, or without one what the environment holds.

    :raises CommandError: the file cannot be read, or holds none.
    """
    if file is None:
        return client_token()
    try:
        token = Path(file).read_text(encoding="ascii").strip()
    except OSError as fault:
        _fail(f"--token-file {file} cannot be read: {fault.strerror}")
    except ValueError:
        _fail(f"--token-file {file} does not hold a token")
    if not token:
        _fail(f"--token-file {file} is empty")
    return token


def _fail(sentence: str) -> NoReturn:
    raise CommandError(sentence) from None
