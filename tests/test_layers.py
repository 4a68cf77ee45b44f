"""The map of the architecture (section 2), held against what every file imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import liveroom.protocol

ROOT = Path(liveroom.protocol.__file__ or "").resolve().parents[1]
PARTS = ("protocol", "server", "loadtest")
MAX_LINES = 1000

# Which parts each part may import; what is not named, it may not. The most exact row counts.
MAY_IMPORT: dict[str, set[str]] = {
    "protocol": {"protocol"},
    "server.room": {"server.room", "protocol"},
    "server.sale": {"server.sale", "server.room", "protocol"},
    "server.handoff": {"server.handoff", "server.sale", "server.room", "protocol"},
    "server.backplane": {"server.backplane", "server.handoff", "server.room", "server.sale", "protocol"},
    "server.edge": {"server.edge", "server.room", "server.sale", "protocol"},
    "server.api": {"server.api", "server.handoff", "server.room", "server.sale", "server.ops", "protocol"},
    "server.web": {"server.web", "protocol"},
    "server.ops": {"server.ops", "server.sale"},
    "server.config": {"server.config", "server.edge", "server.handoff", "server.room", "protocol"},
    "server.host_commands": {"server.config", "protocol"},
    "server.reconcile": {"server.host_commands", "protocol"},
    "server.app": {
        "server.api",
        "server.backplane",
        "server.config",
        "server.edge",
        "server.handoff",
        "server.ops",
        "server.room",
        "server.sale",
        "server.web",
        "protocol",
    },
    "server.cli": {
        "server",
        "server.app",
        "server.config",
        "server.edge",
        "server.host_commands",
        "server.ops",
        "server.reconcile",
        "server.room",
        "protocol",
    },
    "loadtest": {"loadtest", "protocol"},
}

# Files that import more than their part may, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("server.cli", "server.backplane.embedded"): "prints why the private Redis could not be started",
    (
        "server.cli",
        "loadtest.replay",
    ): "`liveroom replay` is a command; imported only when a command is asked for",
    ("server.ops.doctor", "server.config"): "looks at the settings `serve` would run with",
    ("server.ops.doctor", "server.backplane.embedded"): "looks for the Redis that `serve` would start",
    (
        "server.ops.doctor",
        "server.backplane.keeping",
    ): "asks the Redis of --redis how it keeps what it is told",
    ("server.ops.doctor", "server.room.ports"): "tells that this Redis cannot be reached",
}

# Packages of others that only some parts may know.
ONLY_IN: dict[str, set[str]] = {
    "redis": {"server.backplane", "server.app"},
    "aiohttp": {"server.api", "server.web", "server.app", "server.handoff.sender", "server.handoff.targets"},
    "websockets": {"server.edge", "protocol.client", "loadtest"},
    "uvloop": {"server.cli", "loadtest"},
    "jwt": {"server.edge.auth"},
    "locust": {"loadtest"},
}


def _files() -> Iterator[tuple[str, Path]]:
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


FILES = dict(_files())
ALL_FILES = pytest.mark.parametrize("name", FILES)


def _imports(name: str, path: Path) -> set[str]:
    """Return the full names of all modules a file imports, wherever in the file."""
    package = ["liveroom", *name.split(".")][: None if path.name == "__init__.py" else -1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*package[: len(package) - node.level + 1], module]).rstrip(".")
            # `from a.b import c` may name the module a.b.c.
            submodules = {f"{module}.{alias.name}" for alias in node.names}
            modules = {submodule for submodule in submodules if submodule.removeprefix("liveroom.") in FILES}
            found |= modules
            if len(modules) < len(node.names):
                found.add(module)
    return found


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _row(name: str) -> str:
    rows = [row for row in MAY_IMPORT if _within(name, row)]
    return max(rows, key=len, default="")


def test_the_files_are_found() -> None:
    """The checks below look at the whole project, not at nothing."""
    assert {"protocol.codec", "server.room.fanout", "server.app", "loadtest"} <= set(FILES)
    assert _imports("server.room.fanout", FILES["server.room.fanout"]) >= {
        "collections.abc",
        "liveroom.server.room.flush",
        "liveroom.server.room.log",
    }


@ALL_FILES
def test_imports_point_down_only(name: str) -> None:
    """A file imports of the project only what its part may, or what stands with a reason in the exceptions."""
    own = {
        module.removeprefix("liveroom.")
        for module in _imports(name, FILES[name])
        if _within(module, "liveroom")
    }
    row = _row(name)
    assert row or not own, f"{name} stands in no row of the map"
    wrong = {
        module
        for module in own
        if not any(module == part if part == "server" else _within(module, part) for part in MAY_IMPORT[row])
        and (name, module) not in EXCEPTIONS
    }
    assert not wrong


@ALL_FILES
def test_only_its_own_part_knows_a_library(name: str) -> None:
    """Redis, HTTP and sockets are known where the map says, and nowhere else."""
    libraries = {module.partition(".")[0] for module in _imports(name, FILES[name])}
    wrong = {
        library
        for library in libraries & set(ONLY_IN)
        if not any(_within(name, part) for part in ONLY_IN[library])
    }
    assert not wrong


@ALL_FILES
def test_no_import_of_the_project_is_relative(name: str) -> None:
    """A name is found by searching for it."""
    levels = [
        node.level
        for node in ast.walk(ast.parse(FILES[name].read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    assert not any(levels)


@pytest.mark.parametrize(("name", "module"), EXCEPTIONS)
def test_an_exception_that_is_not_needed_any_more_is_taken_out(name: str, module: str) -> None:
    """The exceptions are the truth, not history."""
    assert f"liveroom.{module}" in _imports(name, FILES[name])


@ALL_FILES
def test_only_the_settings_read_the_environment(name: str) -> None:
    """``os.environ`` and its like stand in ``config.py`` alone."""
    readers = {"environ", "environb", "getenv", "getenvb"}
    found = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(ast.parse(FILES[name].read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in readers)
        or (isinstance(node, ast.alias) and node.name in readers)
    }
    assert not found or name == "server.config"


_PURE = ("protocol", "server.room", "server.sale")
_SOCKETS = {"socket", "ssl", "selectors", "select", "http", "urllib"}


@pytest.mark.parametrize("name", [name for name in FILES if any(_within(name, part) for part in _PURE)])
def test_the_core_knows_no_socket(name: str) -> None:
    """Protocol, rooms and sales never open a connection, and none but the client has a reason to wait for one."""
    known = {module.partition(".")[0] for module in _imports(name, FILES[name])}
    if name == "protocol.client":  # a client is a socket's user; it leaves the socket to `websockets`
        known.discard("urllib")
    assert not known & _SOCKETS


@pytest.mark.parametrize(
    "name", [name for name in FILES if _within(name, "protocol") and name != "protocol.client"]
)
def test_the_protocol_has_no_clock_and_no_task(name: str) -> None:
    """What crosses the wire is made by pure functions."""
    path = FILES[name]
    assert not _imports(name, path) & {"time", "asyncio", "datetime", "threading", "random"}
    assert not any(
        isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize(
    "name", ["log", "rates", "comments", "identity", "flush", "present", "fanout", "ports"]
)
def test_the_pure_parts_of_a_room_take_now_as_an_argument(name: str) -> None:
    """They know no clock and no loop, so that a test can give them any time."""
    path = FILES[f"server.room.{name}"]
    assert not _imports(name, path) & {"time", "asyncio", "datetime"}


@ALL_FILES
def test_files_are_small(name: str) -> None:
    """A file that reaches a thousand lines has more than one subject."""
    assert len(FILES[name].read_text().splitlines()) < MAX_LINES


@ALL_FILES
def test_a_module_says_what_it_is(name: str) -> None:
    """Every module and package opens with a docstring."""
    assert ast.get_docstring(ast.parse(FILES[name].read_text()))


def test_every_package_is_one() -> None:
    """A folder with modules has an ``__init__.py``, so that its docstring has a place."""
    folders = {path.parent for path in FILES.values()}
    assert all((folder / "__init__.py").exists() for folder in folders)
