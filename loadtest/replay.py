"""``liveroom replay``: put a recorded chat through a real room, at its own pace or faster.

The recording's lines go round many users, each with a connection of its own, so that every user stays below
the rate a user is allowed for as long as that can be. Every comment is sent when its time has come, whether
earlier ones were answered or not: a slow server makes latencies grow and never makes the load smaller. How
late the sender itself was is reported too, since beyond that no latency can be trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import uvloop
from websockets.exceptions import InvalidHandshake, InvalidURI

from liveroom.protocol.client import CommandError, Lost, Refused, Room, RoomError, connect
from liveroom.protocol.names import is_id

DEFAULT_TARGET = "ws://127.0.0.1:8080"
DEFAULT_USERS = 200
JOINS_AT_ONCE = 50
SETTLE_S = 3.0  # watchers are given this long after the last answer to see what was shown


class ReplayError(Exception):
    """The replay cannot be done; the message is the sentence to print."""


class Line(msgspec.Struct):
    """One line of a recording: when, in ms from its start, and what was said."""

    t_ms: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    text: str


class Recording(NamedTuple):
    """Lines in the order of their times; how many lines were bad, and what is wrong with the first."""

    lines: list[Line]
    bad: int
    first_bad: str


def read_recording(path: Path) -> Recording:
    """Read a recording: one JSON object a line, ``{"t_ms": 120, "text": "hello"}``.

    :raises ReplayError: it cannot be read, or holds no line that can be used.
    """
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise ReplayError(f"{path} cannot be read: {fault.strerror}") from None
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    bad, first_bad = 0, ""
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            lines.append(decoder.decode(line))
        except (ValueError, RecursionError) as fault:
            bad += 1
            first_bad = first_bad or f"line {number}: {fault}"
    if not lines:
        raise ReplayError(f"{path} holds no line to replay" + (f"; {first_bad}" if bad else ": it is empty"))
    lines.sort(key=lambda line: line.t_ms)
    return Recording(lines, bad, first_bad)


class Tally:
    """What happened to the comments, and how long the answers took. Times in ms."""

    def __init__(self) -> None:
        self.sent = 0
        self.shown: set[str] = set()
        self.sampled_out = 0
        self.errors: Counter[str] = Counter()
        self.ack_ms: list[float] = []
        self.late_ms: list[float] = []

    def report(self) -> dict[str, Any]:
        """Return the counts as a map for the report."""
        return {
            "sent": self.sent,
            "shown": len(self.shown),
            "sampled_out": self.sampled_out,
            "errors": dict(self.errors.most_common()),
            "ack_ms": _spread(self.ack_ms),
            "sent_late_ms": _spread(self.late_ms),
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    """Return the median, the 99th percentile (nearest rank) and the largest; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    ranks = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[max(0, -int(-len(ordered) * q // 1) - 1)], 2) for name, q in ranks.items()}


class Watcher:
    """A viewer that says nothing and notes which comments it was shown."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.seen: set[str] = set()
        self._news = asyncio.Event()

    async def watch(self) -> None:
        """Follow the room until it or the connection ends."""
        async for event in self.room.events():
            if event["type"] == "comment":
                self.seen.add(event["comment"])
                self._news.set()

    async def see(self, comments: set[str]) -> None:
        """Wait until all of these were seen."""
        while not comments <= self.seen:
            self._news.clear()
            await self._news.wait()


async def _ignore(room: Room) -> None:
    """Take the events of a user who only talks, so that they do not pile up."""
    async for _ in room.events():
        pass


async def _say(room: Room, text: str, tally: Tally) -> None:
    began = time.perf_counter()  # uvloop's own clock stands still within a turn of the loop
    tally.sent += 1
    try:
        ack = await room.comment(text)
    except CommandError as fault:
        tally.errors[fault.code] += 1
    except Lost:
        tally.errors["lost"] += 1
        return  # no answer, so no latency
    except RoomError as fault:
        tally.errors[getattr(fault, "code", "over")] += 1
        return
    else:
        if ack.shown and isinstance(ack.comment, str):
            tally.shown.add(ack.comment)
        else:
            tally.sampled_out += 1
    tally.ack_ms.append((time.perf_counter() - began) * 1000)


async def _send_all(lines: list[Line], speed: float, users: list[Room], tally: Tally) -> None:
    """Send every line when its time has come; returns when all are answered."""
    began = time.perf_counter() - lines[0].t_ms / 1000 / speed
    async with asyncio.TaskGroup() as comments:
        for number, line in enumerate(lines):
            due = began + line.t_ms / 1000 / speed
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tally.late_ms.append(max(0.0, (time.perf_counter() - due) * 1000))
            # One after the other: no other order leaves a user more time between two comments.
            comments.create_task(_say(users[number % len(users)], line.text, tally))


class Place(NamedTuple):
    """Which room, and how to get in: ``token``, or by name where the server runs with ``--dev``."""

    target: str
    room: str
    token: str | None = None


async def replay(
    recording: Recording, place: Place, *, speed: float, users: int, watchers: int = 0
) -> dict[str, Any]:
    """Put a recording through a room; returns the report.

    :param speed: 1.0 is the recording's own pace, 2.0 twice as fast.
    :param users: connections that comment. Without a token each is a user of its own; with one, all are its
        one user, and share what one user may say.
    :param watchers: connections that only watch, and see whether what was shown came to them.
    :raises ReplayError: a user cannot join.
    """
    tally = Tally()
    async with contextlib.AsyncExitStack() as stack:
        users = min(users, len(recording.lines))
        talkers = await _join(stack, place, "replay", users)
        watching = [Watcher(joined) for joined in await _join(stack, place, "watch", watchers)]
        readers = [asyncio.create_task(_ignore(talker)) for talker in talkers]
        readers += [asyncio.create_task(watcher.watch()) for watcher in watching]
        try:
            began = time.perf_counter()
            await _send_all(recording.lines, speed, talkers, tally)
            took_s = time.perf_counter() - began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    for watcher in watching:
                        await watcher.see(tally.shown)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
    report = {
        "room": place.room,
        "users": users,
        "speed": speed,
        "took_s": round(took_s, 3),
        "lines": len(recording.lines),
        "bad_lines": recording.bad,
        **tally.report(),
        "reconnects": sum(talker.joins - 1 for talker in talkers),
    }
    if watching:
        missed = [len(tally.shown - watcher.seen) for watcher in watching]
        report["watchers"] = {
            "count": len(watching),
            "missed_max": max(missed),
            "skipped": sum(watcher.room.skipped for watcher in watching),
            "gaps": sum(watcher.room.gaps for watcher in watching),
        }
    return report


async def _join(stack: contextlib.AsyncExitStack, place: Place, prefix: str, count: int) -> list[Room]:
    gate = asyncio.Semaphore(JOINS_AT_ONCE)

    async def join(number: int) -> Room:
        user = None if place.token else f"{prefix}-{number}"
        async with gate:
            joined = connect(place.target, place.room, user=user, token=place.token)
            return await stack.enter_async_context(joined)

    joins = [asyncio.create_task(join(number)) for number in range(count)]
    try:
        return list(await asyncio.gather(*joins))
    except Refused as refused:
        raise ReplayError(f"the server refused the join: {refused.message} ({refused.code})") from None
    except InvalidURI:
        raise ReplayError(f"--target is a ws:// or wss:// address, not {place.target!r}") from None
    except (OSError, InvalidHandshake) as fault:
        said = str(fault) or type(fault).__name__
        raise ReplayError(
            f"no liveroom answers at {place.target}: {said}; is `liveroom serve` running there?"
        ) from None
    finally:
        for task in joins:
            task.cancel()
        await asyncio.gather(*joins, return_exceptions=True)


def summary(report: dict[str, Any], first_bad: str = "") -> str:
    """Tell a report in sentences."""
    acks = report["ack_ms"]
    lines = [
        f"{report['sent']} comments of {report['users']} users in {report['took_s']:.1f} s: "
        f"{report['shown']} shown, {report['sampled_out']} sampled out, "
        f"{sum(report['errors'].values())} refused or lost.",
    ]
    if report["errors"]:
        lines.append(
            "Refused: " + ", ".join(f"{code} {count}" for code, count in report["errors"].items()) + "."
        )
    if acks:
        lines.append(f"Answers took {acks['p50']} ms at the median, {acks['p99']} ms at the 99th percentile.")
    if report["sent_late_ms"]["p99"] > 50:
        lines.append(
            f"The sender was up to {report['sent_late_ms']['max']:.0f} ms late: this machine was too busy, "
            "and the latencies cannot be trusted."
        )
    if "watchers" in report:
        watchers = report["watchers"]
        lines.append(
            f"{watchers['count']} watchers: {watchers['missed_max']} shown comments missed at most, "
            f"{watchers['skipped']} skipped, {watchers['gaps']} gaps."
        )
    if report["bad_lines"]:
        lines.append(f"{report['bad_lines']} lines of the recording were left out; the first is {first_bad}.")
    return "\n".join(lines)


# --- the command line ---------------------------------------------------------------------------------


def add_replay(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``replay``; it sets ``func``, from arguments to exit code."""
    parser = subparsers.add_parser("replay", help="put a recorded chat through a room")
    parser.add_argument("file", metavar="FILE", type=Path, help='lines of {"t_ms": 120, "text": "hello"}')
    parser.add_argument("--room", required=True, help="room id")
    parser.add_argument("--speed", type=_speed, default=1.0, help="times the recording's pace (default: 1)")
    parser.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="URL", help=f"the server (default: {DEFAULT_TARGET})"
    )
    parser.add_argument(
        "--users", type=_count(1), default=DEFAULT_USERS, help=f"who comment (default: {DEFAULT_USERS})"
    )
    parser.add_argument("--token", help="join with this token, all as its one user (default: --dev users)")
    parser.add_argument("--watchers", type=_count(0), default=0, help="who only watch (default: 0)")
    parser.set_defaults(func=run)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f"a speed is a number from 0.001 to 1000, not {text!r}")
    return speed


def _count(least: int) -> Any:
    def count(text: str) -> int:
        if text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"a whole number from {least} to 999999 is needed, not {text!r}")

    return count


def run(args: argparse.Namespace) -> int:
    """Carry out the command; returns the exit code. The report is JSON on standard output."""
    logging.getLogger("liveroom.client").setLevel(logging.ERROR)  # what it warns of is counted in the report
    try:
        if not is_id(args.room):
            raise ReplayError("a room id has 1 to 64 characters out of A-Z a-z 0-9 _ . -")
        recording = read_recording(args.file)
        place = Place(args.target, args.room, args.token)
        work = replay(recording, place, speed=args.speed, users=args.users, watchers=args.watchers)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(work)
    except ReplayError as fault:
        print(f"liveroom: {fault}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(report).decode())
    print(summary(report, recording.first_bad), file=sys.stderr)
    return 0
