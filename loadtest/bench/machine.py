"""What the kernel tells of processes: processor time, memory, cores (proc(5)). Linux only."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any, NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Cores(NamedTuple):
    """Who runs where: the server on one core; the crowd, and the server's Redis, on another."""

    server: int
    client: int


def choose_cores() -> Cores:
    """Return the first two cores this process may use; the same one twice where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[1] if len(cores) > 1 else cores[0])


def pin(pid: int, core: int) -> None:
    """Keep a process, with the threads it has and those it will start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def pin_self(core: int) -> None:
    """Keep this process, and what it starts, on one core."""
    os.sched_setaffinity(0, {core})


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used, in s: its own and the kernel's for it."""
    # The name is in parentheses and may hold anything; utime and stime are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def private_kb(pid: int) -> int:
    """Return the memory that is this process's own, in KiB: what it shares with no other is counted."""
    kb = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kb += int(line.split()[1])
    return kb


def waited_s(pid: int) -> float:
    """Return how long a process was ready to run and had no core, in s; its first thread alone.

    0 where the kernel does not tell.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class Sample(NamedTuple):
    """A process at one moment."""

    cpu_s: float
    private_kb: int
    waited_s: float


def sample(pid: int) -> Sample:
    """Look at a process."""
    memory = private_kb(pid)
    return Sample(cpu_s(pid), memory, waited_s(pid))


def allow_files(count: int) -> None:
    """Let this process, and those it starts, hold this many files.

    :raises OSError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise OSError(f"{count} open files are needed and at most {hard} are allowed: raise `ulimit -n`")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def describe() -> dict[str, Any]:
    """Return what a reader of the figures must know of this machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }
