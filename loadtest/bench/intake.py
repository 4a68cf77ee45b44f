"""Figures of what comes in: memory, joins, likes, claims."""

from __future__ import annotations

import statistics
import time
from typing import Any

from liveroom.loadtest.bench.bench import (
    ROOM_PATH,
    BenchError,
    CrowdReport,
    Server,
    Settings,
    run_crowd,
    say,
    serving,
)
from liveroom.loadtest.bench.figures import Figure, Result, at_least, at_most, plain

_JOIN = ("--path", ROOM_PATH, "--welcome")


def memory(settings: Settings) -> Result:
    """15,000 idle viewers: what each adds to the server's own memory."""
    viewers = settings.crowd(15_000)
    with serving(settings) as server:
        say(f"memory: {viewers} viewers join and stay")
        # What the first viewers bring into memory (code, caches) is not counted as theirs.
        run_crowd(settings, server.port, 20, *_JOIN, "--seconds", "0.5")
        report = run_crowd(
            settings, server.port, viewers, *_JOIN, "--seconds", str(settings.window(5)), watch=(server.pid,)
        )
    before, after = (report.private_kb(server.pid, moment) for moment in ("before", "measured"))
    return Result(
        benchmark="memory",
        what=f"{viewers} idle viewers; growth of the server's private memory",
        flags=[],
        figures=[
            at_most("memory_a_viewer", (after - before) / viewers, "KiB", 2.0),
            plain("server_before", before / 1024, "MiB"),
            plain("server_with_viewers", after / 1024, "MiB"),
        ],
        details={"crowd": report.all},
    )


def joins(settings: Settings) -> Result:
    """15,000 at once, each with a welcome that shows 50 comments, a pinned card and three sales."""
    viewers = settings.crowd(15_000)
    flags = ["--comments-per-s", "100", "--comments-burst", "100", "--room-comments-per-s", "1000"]
    reports: list[CrowdReport] = []
    with serving(settings, *flags) as server:
        _furnish(settings, server)
        for number in range(settings.rounds):
            say(f"joins: round {number + 1} of {settings.rounds}, {viewers} at once")
            reports.append(
                run_crowd(settings, server.port, viewers, *_JOIN, "--seconds", "0.2", watch=(server.pid,))
            )
            time.sleep(0.5)  # the server forgets those who have gone
    by_cpu = [viewers / report.cpu_s(server.pid, "before", "joined") for report in reports]
    by_clock = [viewers / report["joined_s"] for report in reports]
    return Result(
        benchmark="joins",
        what=f"{viewers} at once, each with welcome and snapshot",
        flags=flags,
        figures=[
            at_least("joins_a_cpu_second", statistics.median(by_cpu), "joins/s", 8000),
            plain("joins_a_second", statistics.median(by_clock), "joins/s"),
            plain(
                "server_busy",
                statistics.median(c / d for c, d in zip(by_clock, by_cpu, strict=True)),
                "of a core",
            ),
        ],
        notes=[
            "joins_a_cpu_second is by the server's processor time; joins_a_second is by the clock, and what the "
            "crowd's own core could open in that time",
            *reports[-1].disturbances(server.pid, "before", "joined"),
        ],
        details={"crowds": [report.all for report in reports]},
    )


def _furnish(settings: Settings, server: Server) -> None:
    """Put into the room what a snapshot shows."""
    server.request("PUT", "", {"title": "The bench"})
    for number in range(3):
        _make_sale(server, f"Item {number}", 100)
    server.request(
        "PUT", "/pinned", {"title": "Today only", "text": "Everything in the first row at half price"}
    )
    comment = (
        '{"type":"comment","id":%k,"text":"How much is the second one, number %k, and do you have it in M?"}'
    )
    words = ["--send", comment, "--rate", "100", "--seconds", "0.6"]
    run_crowd(settings, server.port, 60, *_JOIN, *words)


def _make_sale(server: Server, title: str, stock: int) -> str:
    draft = {"sku": "B-1", "title": title, "price": 1999, "currency": "EUR", "stock": stock}
    draft["allow_overlap"] = True  # several are made in one room
    sale: str = server.request("POST", "/sales", draft)["sale"]
    server.request("POST", f"/sales/{sale}/open", {})
    return sale


# --- likes --------------------------------------------------------------------------------------------


def likes(settings: Settings) -> Result:
    """5,000 viewers, 40,000 like messages a second: the total the server tells is what was sent."""
    viewers, seconds, rate = settings.crowd(5000), settings.window(8), settings.rate(44_000)
    flags = ["--like-messages-per-s", "1000", "--messages-per-s", "1000", "--messages-burst", "1000"]
    with serving(settings, *flags) as server:
        say(f"likes: {rate:g} messages/s of {viewers} viewers")
        words = ["--send", '{"type":"like","n":1}', "--rate", str(rate), "--until", "likes"]
        words += ["--seconds", str(seconds), "--count", '"type":"error"']
        report = run_crowd(settings, server.port, viewers, *_JOIN, *words, watch=(server.pid,))
        total = server.request("GET", "/stats")["likes"]
    cpu_s = report.cpu_s(server.pid, "start", "measured")
    return Result(
        benchmark="likes",
        what=f"{rate:,.0f} like messages/s of {viewers} viewers, until the last is told in the room's total",
        flags=flags,
        figures=[
            at_least("likes_a_second", total / report["answered_s"], "likes/s", settings.rate(40_000)),
            plain("sent", report["sent"] - report["unsent"], "likes"),
            plain("counted", total, "likes"),
            at_most("miscounted", abs(report["sent"] - report["unsent"] - total), "likes", 0),
            plain("server_busy", cpu_s / report.phase()["seconds"], "of a core"),
            plain("likes_a_cpu_second", total / cpu_s if cpu_s else None, "likes/s"),
        ],
        notes=report.disturbances(server.pid),
        details={"crowd": report.all},
    )


# --- claims -------------------------------------------------------------------------------------------


def claims(settings: Settings) -> Result:
    """2,000 viewers, 15,000 claims a second, every answer on disk before it is given; and a sale that sells out."""
    viewers, seconds, rate = settings.crowd(2000), settings.window(6), settings.rate(15_500)
    stock_of_last = int(rate / 2)
    flags = ["--messages-per-s", "1000", "--messages-burst", "2000"]
    with serving(settings, *flags) as server:
        server.request("PUT", "", {})
        say(f"claims: {rate:g}/s of {viewers} viewers")
        sale = _make_sale(server, "Plenty", 10_000_000)
        report = _claim(settings, server, viewers, sale, rate, seconds)
        rewrites = server.rewrites()
        say("claims: a sale that sells out")
        last = _make_sale(server, "The last", stock_of_last)
        sold_out = _claim(settings, server, viewers, last, rate, min(1.0, seconds))
        taken = {id: _taken(server, id) for id in (sale, last)}
        for order in server.list("orders"):
            taken[order["sale"]]["orders"] += 1
            taken[order["sale"]]["units"] += order["quantity"]
    acked = {sale: _reserved(report), last: _reserved(sold_out)}
    latency = report.phase()["latency_ms"]
    acks = report.phase()["events"]
    cpu_s = {pid: report.cpu_s(pid, "start", "measured") for pid in (server.pid, server.redis_pid)}
    wrong = sum(
        abs(one["taken"] - one["units"]) + abs(one["orders"] - acked[id]) for id, one in taken.items()
    )
    oversold = max(0, acked[last] - stock_of_last, taken[last]["units"] - stock_of_last)
    figures: list[Figure] = [
        at_least("claims_acked_a_second", acks / report["answered_s"], "claims/s", settings.rate(15_000)),
        at_most("latency_p99", latency["p99"], "ms", 50),
        plain("latency_p50", latency["p50"], "ms"),
        at_most("unanswered", report["sent"] - report["unsent"] - acks, "claims", 0),
        at_most("oversold", oversold, "units", 0),
        at_most("undersold", max(0, stock_of_last - taken[last]["units"]), "units", 0),
        at_most("acks_orders_and_stock_differ", wrong, "units", 0),
        plain("server_busy", cpu_s[server.pid] / report.phase()["seconds"], "of a core"),
        plain("redis_busy", cpu_s[server.redis_pid] / report.phase()["seconds"], "of a core"),
        plain("crowd_busy", report["own_cpu_share"], "of a core"),
    ]
    return Result(
        benchmark="claims",
        what=f"{rate:,.0f} claims/s of {viewers} viewers, appendfsync always; then {stock_of_last} units too few",
        flags=flags,
        figures=figures,
        notes=[*report.disturbances(server.pid), *_rewritten(rewrites)],
        details={"crowd": report.all, "sold_out_crowd": sold_out.all, "sales": taken, "acked": acked},
    )


def _claim(
    settings: Settings, server: Server, viewers: int, sale: str, rate: float, seconds: float
) -> CrowdReport:
    words = ["--send", f'{{"type":"claim","id":"%t","sale":"{sale}","quantity":1}}', "--rate", str(rate)]
    words += ["--seconds", str(seconds), "--until", "acks", "--count", '"status":"reserved"']
    return run_crowd(settings, server.port, viewers, *_JOIN, *words, watch=(server.pid, server.redis_pid))


def _rewritten(times: int) -> list[str]:
    if not times:
        return []
    return [
        f"Redis wrote its append-only file anew {times} time(s) while this was measured, on the crowd's own core: "
        "latencies hold that too"
    ]


def _reserved(report: CrowdReport) -> int:
    count: int = report.phase()["texts"]['"status":"reserved"']
    return count


def _taken(server: Server, sale: str) -> dict[str, Any]:
    told = server.request("GET", f"/sales/{sale}")
    if told["left"] < 0:
        raise BenchError(f"the sale {sale} has {told['left']} left")
    return {"stock": told["stock"], "taken": told["stock"] - told["left"], "orders": 0, "units": 0}
