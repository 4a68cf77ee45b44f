"""A figure, the table of all, and the file they are kept in."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Target(msgspec.Struct, omit_defaults=True):
    """What a figure is to reach; one of the two is given."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Tell whether a value reaches it."""
        if self.at_most is not None:
            return value <= self.at_most
        assert self.at_least is not None
        return value >= self.at_least

    def __str__(self) -> str:
        return f"<= {self.at_most:,g}" if self.at_most is not None else f">= {self.at_least:,g}"


class Figure(msgspec.Struct):
    """One number. ``met`` is null where there is no target, or nothing was measured."""

    name: str
    value: float | None
    unit: str
    target: Target | None = None
    met: bool | None = None

    def __post_init__(self) -> None:
        if self.target is not None and self.value is not None:
            self.met = self.target.met(self.value)


def at_most(name: str, value: float | None, unit: str, limit: float) -> Figure:
    """Make a figure that should be small."""
    return Figure(name, _rounded(value), unit, Target(at_most=limit))


def at_least(name: str, value: float | None, unit: str, limit: float) -> Figure:
    """Make a figure that should be large."""
    return Figure(name, _rounded(value), unit, Target(at_least=limit))


def plain(name: str, value: float | None, unit: str) -> Figure:
    """Make a figure that is only told."""
    return Figure(name, _rounded(value), unit)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}") if abs(value) < 1000 else round(value)


class Result(msgspec.Struct, kw_only=True):
    """One benchmark: what was asked of the server (its flags), the figures, and what lies behind them."""

    benchmark: str
    what: str
    flags: list[str]
    figures: list[Figure]
    notes: list[str] = []
    details: dict[str, Any] = {}


class Report(msgspec.Struct, kw_only=True):
    """One run of the benchmarks: what is written to the file."""

    schema: Literal["liveroom.bench/1"] = "liveroom.bench/1"
    quick: bool
    machine: dict[str, Any]
    results: list[Result]


def to_table(results: list[Result]) -> str:
    """Return the figures as lines to read."""
    rows = [("benchmark", "figure", "value", "unit", "target", "met")]
    for result in results:
        for figure in result.figures:
            value = "-" if figure.value is None else f"{figure.value:,.4g}"
            if figure.value is not None and abs(figure.value) >= 1000:
                value = f"{figure.value:,.0f}"
            target = str(figure.target or "")
            met = {None: "", True: "yes", False: "NO"}[figure.met]
            rows.append((result.benchmark, figure.name, value, figure.unit, target, met))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column == 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
