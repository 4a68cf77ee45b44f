"""What an acknowledged order survives: the rules, and that a running node says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from liveroom.server.backplane.embedded import EmbeddedServer
from liveroom.server.backplane.keeping import look
from liveroom.server.ops.doctor import EMBEDDED
from liveroom.server.ops.durability import durability
from liveroom.server.sale.ports import Keeping
from tests.running import running

SAFE = EMBEDDED


@pytest.mark.parametrize(
    ("kept", "kill", "cut", "weak"),
    [
        (SAFE, "survives", "survives", False),
        (SAFE._replace(appendfsync="everysec"), "may be lost", "may be lost", True),
        (SAFE._replace(appendfsync="no"), "may be lost", "may be lost", True),
        (SAFE._replace(appendonly=False), "is lost", "is lost", True),
        (SAFE._replace(appendonly=None), "unknown", "unknown", True),
        (Keeping(), "unknown", "unknown", True),
    ],
)
def test_the_file_decides_what_a_kill_and_a_power_cut_cost(
    kept: Keeping, kill: str, cut: str, weak: bool
) -> None:
    """Only a file that is synced before the answer survives both; what is not told is unknown, and weak."""
    told = durability(kept)
    assert (told.process_kill, told.power_cut, told.weak) == (kill, cut, weak)


@pytest.mark.parametrize(
    ("replicas", "least", "lost", "failover", "says"),
    [
        (0, 0, "is lost", "is lost", "no replica"),
        (2, 0, "may be lost", "may be lost", "nothing bounds"),
        (2, 1, "may be lost", "may be lost", "fewer than 1"),
        (None, None, "unknown", "unknown", "unknown"),
    ],
)
def test_replicas_decide_what_the_loss_of_a_machine_costs(
    replicas: int | None, least: int | None, lost: str, failover: str, says: str
) -> None:
    """Replication is asynchronous, so with replicas the last orders may be lost, and without them all."""
    told = durability(SAFE._replace(replicas=replicas, min_replicas=least))
    assert (told.machine_loss, told.failover) == (lost, failover)
    assert says in told.sentences[3]


@pytest.mark.parametrize(
    ("policy", "fate"), [("noeviction", "survives"), ("allkeys-lru", "may be lost"), (None, "unknown")]
)
def test_eviction_is_weak(policy: str | None, fate: str) -> None:
    """A store that may evict orders is weak, however well it writes."""
    told = durability(SAFE._replace(policy=policy))
    assert told.full_memory == fate
    assert told.weak == (fate != "survives")


async def test_the_embedded_store_is_what_the_doctor_takes_it_for(tmp_path: Path) -> None:
    """Liveroom's own store is set up as the rules are told that it is."""
    server = EmbeddedServer(tmp_path / "data")
    await server.start()
    try:
        assert await look(server.url, 5.0) == EMBEDDED
    finally:
        await server.stop()


def test_a_weak_store_is_warned_of_and_told_by_readyz(redis_url: str, tmp_path: Path) -> None:
    """With a Redis that keeps nothing, the start logs a warning and /readyz says what would be lost."""
    with running(tmp_path / "data", "--redis", redis_url) as server:
        ready = server.request("GET", "/readyz")
        log = server.log.read_text()
    assert ready["status"] == "ready"
    assert (ready["durability"]["process_kill"], ready["durability"]["weak"]) == ("is lost", True)
    assert "an acknowledged order may be lost" in log
    assert "appendfsync always" in log


def test_a_strong_store_is_not_warned_of(tmp_path: Path) -> None:
    """With the embedded store nothing is warned of."""
    with running(tmp_path / "data") as server:
        ready = server.request("GET", "/readyz")
        log = server.log.read_text()
    assert ready["durability"]["weak"] is False
    assert "may be lost" not in log
