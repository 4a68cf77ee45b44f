"""``liveroom doctor``: will ``liveroom serve`` run well on this machine, and if not, what mends it.

Each check looks at one thing and changes nothing. It says ok, warn (runs, but not for a crowd) or fail (does
not run), and how to mend it. It takes the flags and the environment that ``serve`` takes, so that both look
at the same settings.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from liveroom.server import config as settings
from liveroom.server.backplane.embedded import MIN_VERSION, EmbeddedError, find_server, server_version
from liveroom.server.backplane.keeping import look
from liveroom.server.config import Config, ConfigError
from liveroom.server.ops.durability import durability
from liveroom.server.room.ports import Unavailable
from liveroom.server.sale.ports import Keeping

MIN_PYTHON = (3, 11)
OPEN_FILES = 20_000  # a socket a viewer, and some for everything else
SOMAXCONN = 4096  # joins that may wait to be accepted: a crowd arrives within a second
LOOK_TIMEOUT_S = 5.0
EMBEDDED = Keeping(True, "always", "noeviction", 0, 0)  # how liveroom starts its own
WEAK = ("process_kill", "power_cut", "full_memory")
_SOMAXCONN_FILE = Path("/proc/sys/net/core/somaxconn")


class Finding(NamedTuple):
    """What a check found. ``mend`` is empty when all is well."""

    level: Literal["ok", "warn", "fail"]
    what: str
    mend: str = ""


def check_python(version: tuple[int, ...]) -> Finding:
    """Look at the interpreter's version."""
    told = ".".join(map(str, version[:3]))
    if version[:2] < MIN_PYTHON:
        return Finding("fail", f"Python {told}", "install Python 3.11 or newer, and liveroom into it")
    return Finding("ok", f"Python {told}")


def check_open_files(soft: int, hard: int) -> Finding:
    """Look at how many files a process may open; each viewer's socket is one."""
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return Finding("ok", "open files: unlimited")
    if soft >= OPEN_FILES:
        return Finding("ok", f"open files: {soft}")
    raised = "`ulimit -n 65536` in the shell that starts it"
    if hard != unlimited and hard < OPEN_FILES:
        raised = f"the hard limit is {hard}, so raise it first (nofile in /etc/security/limits.conf)"
    return Finding(
        "warn",
        f"open files: {soft}, so no more than about {max(0, soft - 100)} viewers",
        f"raise it to {OPEN_FILES} or more: {raised}, LimitNOFILE=65536 in a systemd unit, "
        "--ulimit nofile=65536 for a container",
    )


def check_somaxconn(file: Path) -> Finding:
    """Look at how many connections the kernel lets wait to be accepted."""
    try:
        value = int(file.read_text())
    except (OSError, ValueError):
        return Finding("ok", "somaxconn: not told on this system")
    if value >= SOMAXCONN:
        return Finding("ok", f"somaxconn: {value}")
    return Finding(
        "warn",
        f"somaxconn: {value}, so of a crowd that joins at once many have to try again",
        f"as root: sysctl -w net.core.somaxconn={SOMAXCONN}",
    )


def check_store(config: Config) -> Finding:
    """Look for the embedded store's binary, unless there is a store of one's own."""
    if config.redis:
        return Finding("ok", "store: your own (--redis)")
    try:
        path = find_server()
    except EmbeddedError as fault:
        return Finding("fail", "store: no server binary", str(fault))
    version = server_version(path)
    if version < MIN_VERSION:
        told = f"version {version}" if version else "and it does not start"
        return Finding(
            "fail", f"store: {path}, {told}", f"install redis-server or valkey-server >= {MIN_VERSION}"
        )
    return Finding("ok", f"store: {path}, version {version}")


def check_durability(config: Config) -> Iterator[Finding]:
    """Ask the store what an acknowledged order survives: a line for each thing that can go wrong."""
    kept = EMBEDDED
    if config.redis:
        try:
            kept = asyncio.run(look(config.redis, LOOK_TIMEOUT_S))
        except Unavailable as fault:
            where = urlsplit(config.redis)  # not the whole of it: it may hold a password
            yield Finding(
                "fail",
                f"durability: nothing answers at {where.scheme}://{where.hostname or where.path}: {fault.__cause__}",
                "start it, or give another --redis URL",
            )
            return
    told = durability(kept)
    for name, sentence in zip(
        ("process_kill", "power_cut", "machine_loss", "failover", "full_memory"), told.sentences, strict=True
    ):
        weak = name in WEAK and getattr(told, name) != "survives"
        mend = "appendonly yes, appendfsync always and maxmemory-policy noeviction; docs/sales.md says why"
        yield Finding("warn" if weak else "ok", f"durability: {sentence}", mend if weak else "")


def check_data(config: Config) -> Finding:
    """Look whether the embedded store could write its data, without writing anything."""
    if config.redis:
        return Finding("ok", "data directory: not needed")
    wanted = config.data_dir()
    existing = wanted
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return Finding(
            "fail", f"data directory: {existing} is no directory", "give another one with --data DIR"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "fail",
            f"data directory: {wanted} cannot be written",
            f"make {existing} writable for this user, or give another one with --data DIR",
        )
    return Finding("ok", f"data directory: {wanted}" + ("" if existing == wanted else " (will be made)"))


def check_secret(config: Config) -> Finding:
    """Look whether tokens can be checked."""
    try:
        secret = config.secret()
    except ConfigError as fault:
        return Finding("fail", "token secret", str(fault))
    if secret is None:
        return Finding("ok", "token secret: none, and with --dev none is needed")
    return Finding("ok", f"token secret: {len(secret)} bytes")


def examine(config: Config) -> Iterator[Finding]:
    """Make every check."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield check_python(tuple(sys.version_info[:3]))
    yield check_open_files(soft, hard)
    yield check_somaxconn(_SOMAXCONN_FILE)
    for check in (check_store, check_data, check_secret):
        yield check(config)
    yield from check_durability(config)


def add_doctor(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor``; it sets ``func``, from arguments to exit code."""
    parser = subparsers.add_parser("doctor", help="check whether this machine can run the server well")
    settings.add_flags(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, examine: Callable[[Config], Iterator[Finding]] = examine) -> int:
    """Print a line a check; returns 1 if the server would not run.

    :raises ConfigError: a flag or the environment has a value that is none.
    """
    worst = 0
    for level, what, mend in examine(settings.read(vars(args))):
        print(f"{level:<4}  {what}")
        if mend:
            print(f"      -> {mend}")
        worst |= level == "fail"
    return int(worst)
