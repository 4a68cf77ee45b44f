"""Figures of what goes out: fanout, coalesce, stall, bytes."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from liveroom.loadtest.bench.bench import (
    ROOM_PATH,
    CrowdReport,
    Publisher,
    Server,
    Settings,
    crowd,
    event_data,
    event_json,
    floor,
    run_crowd,
    say,
    serving,
)
from liveroom.loadtest.bench.chat import make_chat
from liveroom.loadtest.bench.figures import Result, at_least, at_most, plain
from liveroom.protocol import codec
from liveroom.protocol.codec import Encoding

_NOW_MS = 1_700_000_000_000
STALL_SHARE = 0.1


class Cost(NamedTuple):
    """Processor time of one delivery, in us; and who it was."""

    us: float
    kind: str
    crowd: CrowdReport


def payload_size(pad: int = 0) -> int:
    """Return the size of a batch that carries one event alone: what the floor sends."""
    return len(codec.join_batch(Encoding.JSON, _NOW_MS, 1000, [event_json(pad)], None, 0))


def floor_cost(settings: Settings, viewers: int, rate: float, seconds: float) -> Cost:
    """Measure the floor."""
    with floor(settings, rate, payload_size()) as bare:
        words = ("--seconds", str(seconds), "--settle", "0.5")
        report = run_crowd(settings, bare.port, viewers, *words, watch=(bare.pid,))
    frames = report.phase()["frames"]
    return Cost(report.cpu_s(bare.pid) * 1e6 / max(1, frames), bare.kind, report)


def publish_to_crowd(
    settings: Settings, server: Server, viewers: int, rate: float, words: tuple[str, ...], pad: int = 0
) -> CrowdReport:
    """Let a crowd join, and publish events to it for as long as it measures."""
    watch = (server.pid, server.redis_pid)
    with crowd(
        settings, server.port, viewers, "--path", ROOM_PATH, "--welcome", *words, watch=watch
    ) as running:
        running.wait_for("joined")
        with Publisher(server, rate, pad):
            running.wait_for("measured")
        return running.report()


class Round(NamedTuple):
    """A floor and a server, one right after the other. Costs in us of processor time an event delivered."""

    floor: Cost
    server_us: float
    redis_us: float
    crowd: CrowdReport
    server_pid: int

    @property
    def over_floor(self) -> float | None:
        """The server over the floor; None when so little was sent that the floor's time was not seen."""
        return self.server_us / self.floor.us if self.floor.us else None

    @property
    def all_over_floor(self) -> float | None:
        """The server and its Redis over the floor."""
        return (self.server_us + self.redis_us) / self.floor.us if self.floor.us else None


def compare(
    settings: Settings, name: str, viewers: int, rate: float, floor_rate: float, seconds: float
) -> list[Round]:
    """Measure floor and server in turns, so that what else the machine does falls on both."""
    rounds: list[Round] = []
    with serving(settings) as server:
        for number in range(settings.rounds):
            say(f"{name}: round {number + 1} of {settings.rounds}")
            bare = floor_cost(settings, viewers, floor_rate, seconds)
            words = ("--seconds", str(seconds))
            report = publish_to_crowd(settings, server, viewers, rate, words)
            events = max(1, report.phase()["events"])
            costs = [report.cpu_s(pid) * 1e6 / events for pid in (server.pid, server.redis_pid)]
            rounds.append(Round(bare, costs[0], costs[1], report, server.pid))
    return rounds


def _details(rounds: list[Round]) -> dict[str, Any]:
    return {
        "rounds": [
            {
                "floor_us": round(one.floor.us, 3),
                "server_us": round(one.server_us, 3),
                "redis_us": round(one.redis_us, 3),
                "floor_crowd": one.floor.crowd.all,
                "crowd": one.crowd.all,
            }
            for one in rounds
        ]
    }


def _notes(rounds: list[Round]) -> list[str]:
    notes = [f"the floor is the one in {rounds[0].floor.kind}"]
    for number, one in enumerate(rounds, 1):
        notes += [f"round {number}: {note}" for note in one.crowd.disturbances(one.server_pid)]
    return notes


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def fanout(settings: Settings) -> Result:
    """5,000 viewers x 10 events/s: processor time a delivery over the floor, and latency."""
    viewers, seconds = settings.crowd(5000), settings.window(6)
    rounds = compare(settings, "fanout", viewers, 10, 10, seconds)
    latencies = [one.crowd.phase()["latency_ms"] for one in rounds]
    return Result(
        benchmark="fanout",
        what=f"{viewers} viewers, 10 events/s, JSON; server and its Redis over the bare send loop",
        flags=[],
        figures=[
            at_most("cpu_over_floor", _middle(one.all_over_floor for one in rounds), "ratio", 1.30),
            plain("server_alone_over_floor", _middle(one.over_floor for one in rounds), "ratio"),
            plain("floor", _middle(one.floor.us for one in rounds), "us/delivery"),
            plain("server", _middle(one.server_us for one in rounds), "us/delivery"),
            plain("redis", _middle(one.redis_us for one in rounds), "us/delivery"),
            plain("latency_p50", _middle([one["p50"] for one in latencies]), "ms"),
            at_most("latency_p99", _middle([one["p99"] for one in latencies]), "ms", 100),
        ],
        notes=_notes(rounds),
        details=_details(rounds),
    )


def coalesce(settings: Settings) -> Result:
    """2,000 viewers x 100 events/s over HTTP: processor time an event delivered over the floor."""
    viewers, seconds = settings.crowd(2000), settings.window(6)
    # The floor's cost a write does not depend on its rate; at the full rate it would not be kept up with.
    rounds = compare(settings, "coalesce", viewers, 100, 25, seconds)
    frames = [one.crowd.phase()["events"] / max(1, one.crowd.phase()["frames"]) for one in rounds]
    return Result(
        benchmark="coalesce",
        what=f"{viewers} viewers, 100 events/s published over HTTP; the floor has one write an event",
        flags=[],
        figures=[
            at_most("cpu_over_floor", _middle(one.over_floor for one in rounds), "ratio", 0.45),
            plain("with_redis_over_floor", _middle(one.all_over_floor for one in rounds), "ratio"),
            plain("floor", _middle(one.floor.us for one in rounds), "us/event"),
            plain("server", _middle(one.server_us for one in rounds), "us/event"),
            plain("redis", _middle(one.redis_us for one in rounds), "us/event"),
            plain("events_a_frame", _middle(frames), "events"),
            plain("latency_p99", _middle([one.crowd.phase()["latency_ms"]["p99"] for one in rounds]), "ms"),
        ],
        notes=[*_notes(rounds), "the floor is measured at 25 writes/s a viewer"],
        details=_details(rounds),
    )


# --- viewers that do not read -------------------------------------------------------------------------


def stall(settings: Settings) -> Result:
    """A tenth of 2,000 viewers stop reading for 30 s while 50 events/s flow."""
    viewers, before, stalled = settings.crowd(2000), settings.window(15), settings.window(30)
    pad, rate = 300, 50
    # More than is missed; filled before the start, so that the log's own growth is not taken for a leak.
    history = int(rate * stalled * 1.3) + 500
    flags = ["--history-events", str(history)]
    with serving(settings, *flags) as server:
        say(f"stall: {before:g} s as it is, {stalled:g} s with a tenth stalled")
        _fill(server, history + 600, pad)
        words = ["--settle", "2", "--seconds", str(before), "--stall-share", str(STALL_SHARE)]
        words += ["--stall-s", str(stalled), "--offsets-share", "0.02", "--latency-share", "0.5"]
        report = publish_to_crowd(settings, server, viewers, rate, tuple(words), pad)
        pauses = server.metric("liveroom_pauses_total")
        memory = {
            moment: report.private_kb(server.pid, moment)
            for moment in ("start", "measured", "stalled", "end")
        }
    p99 = {name: report.phase(name)["latency_ms"]["p99"] for name in ("measured", "stalled", "returned")}
    offsets = report["offsets"]
    ratio = p99["stalled"] / p99["measured"] if p99["stalled"] and p99["measured"] else None
    return Result(
        benchmark="stall",
        what=f"{viewers} viewers, {rate} events/s; a tenth stop reading for {stalled:g} s, then go on",
        flags=flags,
        figures=[
            at_most("others_p99_over_before", ratio, "ratio", 1.2),
            plain("others_p99_before", p99["measured"], "ms"),
            plain("others_p99_meanwhile", p99["stalled"], "ms"),
            plain("others_p99_on_return", p99["returned"], "ms"),
            at_most("memory_after_over_before", memory["end"] / memory["measured"], "ratio", 1.05),
            plain("memory_meanwhile_over_before", memory["stalled"] / memory["measured"], "ratio"),
            at_least(
                "stalled_with_every_fact",
                offsets["stalled_whole"] / max(1, offsets["stalled"]),
                "of all",
                1.0,
            ),
            at_most("lost_connections", report["lost"], "viewers", 0),
            plain("left_the_pass", pauses, "times"),
        ],
        notes=report.disturbances(server.pid, "start", "returned"),
        details={"crowd": report.all, "memory_kb": memory},
    )


def _fill(server: Server, events: int, pad: int) -> None:
    """Put this many events into the log."""
    server.request("PUT", "", {})
    one = {"type": "custom", "name": "fill", "data": {**event_data(pad), "m": "."}}
    for start in range(0, events, 100):
        server.request("POST", "/events", {"events": [one] * min(100, events - start)})


# --- bytes --------------------------------------------------------------------------------------------


def bytes_received(settings: Settings) -> Result:
    """A recording replayed as comments into a hot room: bytes a viewer over those of one event a frame."""
    viewers = settings.viewers or 200
    flags = ["--chatter-window-ms", "250", "--chatter-window-hot-ms", "250"]
    flags += ["--room-comments-per-s", "1000", "--comments-per-s", "100", "--comments-burst", "100"]
    with tempfile.TemporaryDirectory(prefix="lr-chat-") as folder, serving(settings, *flags) as server:
        # A shorter one is mostly its first moments; a recording of one's own is replayed to its end.
        seconds = settings.seconds or (20 if settings.quick else 3600 if settings.recording else 60)
        recording = settings.recording or _made_up(Path(folder), seconds)
        say("bytes: a recording at its own pace")
        words = ["--path", ROOM_PATH, "--welcome", "--deflate", "--offsets-share", "0.05", "--plain"]
        words += ["--comments", str(recording), "--seconds", str(seconds), "--count", '"type":"error"']
        words += ["--latency-share", "0"]
        report = run_crowd(settings, server.port, viewers, *words, watch=(server.pid,))
    phase = report.phase()
    looked_at = max(1, report["offsets"]["viewers"])
    shown = phase["read_events"] / looked_at
    return Result(
        benchmark="bytes",
        what=f"{report['sent']} comments at their own pace to {viewers} viewers with deflate; "
        "over one uncompressed JSON event a frame",
        flags=flags,
        figures=[
            at_most("bytes_over_plain", phase["read_bytes"] / max(1, phase["plain_bytes"]), "ratio", 0.40),
            plain("received", phase["read_bytes"] / looked_at / phase["seconds"], "bytes/s/viewer"),
            plain("plain", phase["plain_bytes"] / looked_at / phase["seconds"], "bytes/s/viewer"),
            plain("frames", phase["frames"] / viewers / phase["seconds"], "frames/s/viewer"),
            at_least("comments_shown", shown / max(1, report["sent"]), "of all", 0.98),
        ],
        notes=[f"the recording: {settings.recording.name if settings.recording else 'made up by rule'}"],
        details={"crowd": report.all},
    )


def _made_up(folder: Path, seconds: float) -> Path:
    path = folder / "chat.jsonl"
    lines = [json.dumps(line._asdict(), ensure_ascii=False) for line in make_chat(seconds)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
