"""What an acknowledged order survives, told from how the store is set up.

Pure. Knows what Redis and Valkey promise (their pages on persistence and replication) and says it in sentences.
Rules: what is not known is said to be unknown, never guessed; weak is what an operator should be warned of.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from liveroom.server.sale.ports import Keeping

Fate = Literal["survives", "may be lost", "is lost", "unknown"]


class Durability(msgspec.Struct, kw_only=True):
    """What becomes of an acknowledged order, by what goes wrong.

    ``process_kill`` is of the store's process, ``power_cut`` leaves the disk, ``machine_loss`` does not, and
    ``failover`` puts a replica in its place. ``full_memory`` is when the store has no more room. ``weak``: one of
    process kill, power cut and full memory may cost an order, or it is not known. ``sentences`` say all of it.
    """

    process_kill: Fate
    power_cut: Fate
    machine_loss: Fate
    failover: Fate
    full_memory: Fate
    weak: bool
    sentences: list[str]


def durability(kept: Keeping) -> Durability:
    """Tell what an acknowledged order survives in a store that is set up so."""
    kill, kill_said = _process_kill(kept)
    cut, cut_said = _power_cut(kept)
    lost, lost_said, failover, failover_said = _replicas(kept)
    full, full_said = _full_memory(kept)
    return Durability(
        process_kill=kill,
        power_cut=cut,
        machine_loss=lost,
        failover=failover,
        full_memory=full,
        weak=any(fate != "survives" for fate in (kill, cut, full)),
        sentences=[kill_said, cut_said, lost_said, failover_said, full_said],
    )


def _process_kill(kept: Keeping) -> tuple[Fate, str]:
    if kept.appendonly is None or kept.appendfsync is None:
        return "unknown", "A kill of the store's process: unknown, the store does not tell its configuration."
    if not kept.appendonly:
        return "is lost", (
            "A kill of the store's process loses orders: appendonly is no. Set appendonly yes and appendfsync always."
        )
    if kept.appendfsync == "always":
        return "survives", "An order survives a kill of liveroom, of the store's process, and of both."
    return "may be lost", (
        f"An order survives a kill of the store's process unless the disk is slow at that moment (appendfsync "
        f"{kept.appendfsync} then puts writing off by up to 2 s). Set appendfsync always."
    )


def _power_cut(kept: Keeping) -> tuple[Fate, str]:
    if kept.appendonly is None or kept.appendfsync is None:
        return "unknown", "A power cut: unknown, the store does not tell its configuration."
    if not kept.appendonly:
        return "is lost", "A power cut loses orders: nothing is written to disk before it is acknowledged."
    if kept.appendfsync == "always":
        return "survives", "An order survives a power cut: it is synced to disk before it is acknowledged."
    window = "1 to 2 s" if kept.appendfsync == "everysec" else "some 30 s"
    return (
        "may be lost",
        f"A power cut may lose the orders of the last {window}: appendfsync is {kept.appendfsync}.",
    )


def _replicas(kept: Keeping) -> tuple[Fate, str, Fate, str]:
    if kept.replicas is None:
        said = "unknown, the store does not tell its replicas."
        return "unknown", f"The loss of the machine: {said}", "unknown", f"A failover: {said}"
    if kept.replicas == 0:
        return (
            "is lost",
            "The loss of the machine with its disk loses orders: no replica is connected.",
            "is lost",
            "There is no failover: no replica is connected.",
        )
    count = f"{kept.replicas} replica{'s' if kept.replicas > 1 else ''}"
    bound = (
        f"writes stop when fewer than {kept.min_replicas} follow, which bounds the loss and does not end it"
        if kept.min_replicas
        else "min-replicas-to-write is 0, so nothing bounds the loss"
    )
    return (
        "may be lost",
        f"The loss of the machine may lose the last orders: {count} follow it, and an order is acknowledged before "
        "they have it.",
        "may be lost",
        f"A failover may lose the last orders: replication is asynchronous; {bound}.",
    )


def _full_memory(kept: Keeping) -> tuple[Fate, str]:
    if kept.policy is None:
        return "unknown", "Full memory: unknown, the store does not tell its maxmemory-policy."
    if kept.policy == "noeviction":
        return "survives", "When memory is full, new orders are refused and those there are stay."
    return "may be lost", (
        f"When memory is full, orders may be evicted: maxmemory-policy is {kept.policy}. Set noeviction."
    )
