"""The checks of ``liveroom doctor``, each with what it looks at put before it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from resource import RLIM_INFINITY
from typing import Any

import pytest

from liveroom.server.backplane.embedded import EmbeddedError
from liveroom.server.config import Config
from liveroom.server.ops import doctor
from liveroom.server.ops.doctor import Finding


@pytest.mark.parametrize(("version", "level"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((4, 0, 0), "ok")])
def test_python(version: tuple[int, ...], level: str) -> None:
    """Python before 3.11 does not run the server."""
    assert doctor.check_python(version).level == level


@pytest.mark.parametrize(
    ("soft", "hard", "level"),
    [
        (1024, 1024, "warn"),
        (1024, 65_536, "warn"),
        (20_000, 20_000, "ok"),
        (RLIM_INFINITY, RLIM_INFINITY, "ok"),
    ],
)
def test_open_files(soft: int, hard: int, level: str) -> None:
    """A limit too small for a crowd is a warning that says how to raise it."""
    found = doctor.check_open_files(soft, hard)
    assert found.level == level
    assert ("ulimit" in found.mend) == (level == "warn")


@pytest.mark.parametrize(
    ("text", "level"), [("128\n", "warn"), ("4096\n", "ok"), ("what", "ok"), (None, "ok")]
)
def test_somaxconn(tmp_path: Path, text: str | None, level: str) -> None:
    """A short queue of the kernel is a warning; a system that does not tell is left in peace."""
    file = tmp_path / "somaxconn"
    if text is not None:
        file.write_text(text)
    assert doctor.check_somaxconn(file).level == level


def test_store_is_found() -> None:
    """On a machine that can run the tests there is a store."""
    assert doctor.check_store(Config()).level == "ok"


def test_store_of_ones_own() -> None:
    """With a Redis of one's own no binary is looked for."""
    assert "--redis" in doctor.check_store(Config(redis="redis://db")).what


def test_durability_of_the_embedded_store() -> None:
    """The embedded store is told without being started, and there is nothing to mend."""
    found = list(doctor.check_durability(Config()))
    assert [f.level for f in found] == ["ok"] * 5
    assert "survives a kill" in found[0].what


def test_durability_of_ones_own_store(redis_url: str) -> None:
    """A Redis of one's own is asked; what may cost an order is a warning that says how to mend it."""
    found = list(doctor.check_durability(Config(redis=redis_url)))
    assert [f.level for f in found] == ["warn", "warn", "ok", "ok", "ok"]
    assert "appendfsync always" in found[0].mend


def test_no_answer_of_ones_own_store() -> None:
    """A Redis that does not answer is a failure, and no password is printed."""
    (found,) = doctor.check_durability(Config(redis="redis://:secret@127.0.0.1:1/0"))
    assert found.level == "fail"
    assert "secret" not in found.what + found.mend


def test_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a binary the server does not start, and what helps is said."""

    def missing() -> str:
        raise EmbeddedError("install one")

    monkeypatch.setattr(doctor, "find_server", missing)
    assert doctor.check_store(Config()) == Finding("fail", "store: no server binary", "install one")


@pytest.mark.parametrize("version", [0, 6])
def test_old_store(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """A binary that is too old, or does not tell, is a failure."""
    monkeypatch.setattr(doctor, "find_server", lambda: "redis-server")
    monkeypatch.setattr(doctor, "server_version", lambda path: version)
    assert doctor.check_store(Config()).level == "fail"


def test_data_directory_that_is_there(tmp_path: Path) -> None:
    """A directory that can be written is well."""
    assert doctor.check_data(Config(data=str(tmp_path))).level == "ok"


def test_data_directory_to_be_made(tmp_path: Path) -> None:
    """A directory that can be made is well, and is not made by looking."""
    wanted = tmp_path / "a" / "b"
    assert doctor.check_data(Config(data=str(wanted))).level == "ok"
    assert not wanted.parent.exists()


def test_data_directory_that_is_a_file(tmp_path: Path) -> None:
    """A file in the directory's place is a failure."""
    (tmp_path / "data").write_text("")
    assert doctor.check_data(Config(data=str(tmp_path / "data"))).level == "fail"


def test_data_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of someone else is a failure that says what to do."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = doctor.check_data(Config(data=str(tmp_path)))
    assert found.level == "fail" and "--data" in found.mend


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, "fail"),
        ({"dev": True}, "ok"),
        ({"token_secret": "short"}, "fail"),
        ({"token_secret": "x" * 32}, "ok"),
    ],
)
def test_secret(settings: dict[str, Any], level: str) -> None:
    """A secret is needed, and a long one, unless --dev asks for no tokens."""
    assert doctor.check_secret(Config(**settings)).level == level


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_exit_code(level: Any, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a failure fails the command; what mends it stands under its line."""
    found = [Finding("ok", "fine"), Finding(level, "it", "mend it")]
    assert doctor.run(argparse.Namespace(), lambda config: iter(found)) == code
    assert capsys.readouterr().out == f"ok    fine\n{level:<4}  it\n      -> mend it\n"


def test_whole_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command makes all seven checks, with the settings that serve would have."""
    monkeypatch.delenv("LIVEROOM_TOKEN_SECRET", raising=False)
    parser = argparse.ArgumentParser()
    doctor.add_doctor(parser.add_subparsers())
    args = parser.parse_args(["doctor", "--data", str(tmp_path)])
    assert args.func(args) == 1  # no secret
    out = capsys.readouterr().out
    for what in (
        "Python",
        "open files",
        "somaxconn",
        "store",
        f"data directory: {tmp_path}",
        "token secret",
        "durability",
    ):
        assert what in out
