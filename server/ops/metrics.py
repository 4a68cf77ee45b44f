"""This node's counters in Prometheus's text format (exposition format 0.0.4). Pure.

Rules: a name and its unit never change; no label takes a value that a client chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counters(NamedTuple):
    """What is counted. ``edge``, ``commands`` and ``claims`` are totals by name."""

    rooms: int
    viewers: int
    lagging: int
    passes: int
    deliveries: int
    gaps_filled: int
    edge: dict[str, int]
    commands: dict[str, int]
    claims: dict[str, int]


# Of the edge's counts, those that go up and down; the others only grow.
GAUGES = frozenset({"connections"})

_EDGE_HELP = {
    "connections": "Open websocket connections.",
    "joins": "Joins that were welcomed.",
}


def render(counters: Counters) -> str:
    """Return the counters as text, each with its HELP and TYPE."""
    return "".join(f"{line}\n" for line in _lines(counters))


def _lines(c: Counters) -> Iterator[str]:
    yield from _metric("rooms", "gauge", "Rooms held by this node.", c.rooms)
    yield from _metric("viewers", "gauge", "Viewers connected to this node.", c.viewers)
    yield from _metric(
        "viewers_lagging", "gauge", "Of the viewers, those behind the flushed offset.", c.lagging
    )
    yield from _metric("passes_total", "counter", "Fan-out passes over a room's viewers.", c.passes)
    yield from _metric(
        "deliveries_total", "counter", "Frames written by fan-out, one a viewer.", c.deliveries
    )
    yield from _metric(
        "gaps_filled_total", "counter", "Gaps in a room's log read again from the store.", c.gaps_filled
    )
    for name, value in sorted(c.edge.items()):
        kind = "gauge" if name in GAUGES else "counter"
        suffix = "" if name in GAUGES or name.endswith("_total") else "_total"
        text = _EDGE_HELP.get(name, f"Edge: {name.replace('_', ' ')}.")
        yield from _metric(f"{name}{suffix}", kind, text, value)
    yield from _metric("commands_total", "counter", "Commands of viewers, by type.", c.commands, "type")
    yield from _metric("claims_total", "counter", "Claims decided, by outcome.", c.claims, "outcome")


def _metric(name: str, kind: str, text: str, value: int | dict[str, int], label: str = "") -> Iterator[str]:
    yield f"# HELP liveroom_{name} {text}"
    yield f"# TYPE liveroom_{name} {kind}"
    if isinstance(value, int):
        yield f"liveroom_{name} {value}"
        return
    for of, count in sorted(value.items()):
        yield f'liveroom_{name}{{{label}="{of}"}} {count}'
