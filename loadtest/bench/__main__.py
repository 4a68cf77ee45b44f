"""``python -m liveroom.loadtest.bench``: the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from liveroom.loadtest.bench import intake, spread
from liveroom.loadtest.bench.bench import BenchError, Settings, say
from liveroom.loadtest.bench.figures import Report, Result, to_table
from liveroom.loadtest.bench.machine import allow_files, choose_cores, describe, pin_self

BENCHMARKS: dict[str, Callable[[Settings], Result]] = {
    "fanout": spread.fanout,
    "coalesce": spread.coalesce,
    "memory": intake.memory,
    "joins": intake.joins,
    "likes": intake.likes,
    "claims": intake.claims,
    "bytes": spread.bytes_received,
    "stall": spread.stall,
}
FILES = 16_000  # the largest crowd, and what a server has besides


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m liveroom.loadtest.bench",
        description="Measure a real server from outside: it runs on one core; crowd and Redis on another.",
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    add(
        "--quick",
        action="store_true",
        help="a tenth of the viewers and 2 s each: for a look, not for the record",
    )
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add(
        "--recording",
        type=Path,
        metavar="FILE",
        help="chat to replay in 'bytes' (default: one made up by rule)",
    )
    add("--floor", choices=("auto", "c", "python"), default="auto", help="which bare loop to compare with")
    add("--viewers", type=int, help="viewers, instead of each benchmark's own number")
    add("--seconds", type=float, help="seconds to measure, instead of each benchmark's own")
    options = parser.parse_args(words)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return options


def run(options: argparse.Namespace) -> Report:
    """Run the benchmarks that were asked for; one that cannot be done is told and left out."""
    cores = choose_cores()
    allow_files(options.viewers + 1000 if options.viewers else FILES)
    machine = describe() | {"server_core": cores.server, "client_core": cores.client}
    pin_self(cores.client)
    settings = Settings(
        cores,
        quick=options.quick,
        viewers=options.viewers,
        seconds=options.seconds,
        floor=options.floor,
        recording=options.recording,
    )
    report = Report(quick=options.quick, machine=machine, results=[])
    for name in options.names or BENCHMARKS:
        try:
            report.results.append(BENCHMARKS[name](settings))
        except BenchError as fault:
            say(f"{name}: {fault}")
    return report


def show(report: Report) -> None:
    """Print the table, and below it what was run."""
    print(to_table(report.results))
    print()
    for result in report.results:
        print(f"{result.benchmark}: {result.what}")
        if result.flags:
            print(f"  server flags: {' '.join(result.flags)}")
        for note in result.notes:
            print(f"  {note}")
    print("machine: " + ", ".join(f"{key} {value}" for key, value in report.machine.items()))
    if report.quick:
        print("A quick look: the targets are meant for the full size.")


def main() -> int:
    """Run the command; returns the exit code: 1 when a benchmark could not be done."""
    options = parse(sys.argv[1:])
    try:
        report = run(options)
    except OSError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 1
    show(report)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return 0 if len(report.results) == len(options.names or BENCHMARKS) else 1


if __name__ == "__main__":
    sys.exit(main())
