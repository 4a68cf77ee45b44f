"""Settings: one table, one order of precedence, and a sentence that mends whatever is wrong."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liveroom.server import config
from liveroom.server.config import SETTINGS, Config, ConfigError, Setting
from liveroom.server.edge.auth import MIN_SECRET_BYTES
from tests.running import Liveroom

NUMBERS = [setting for setting in SETTINGS if type(setting.default) in (int, float)]
FLAGGED = [setting for setting in SETTINGS if setting.flag]
CLI_S = 20


def name(setting: Setting) -> str:
    """Name a setting in a test's id."""
    return setting.name


def flags(*arguments: str) -> dict[str, Any]:
    """Parse a command line as ``serve`` does."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config.add_flags(parser)
    return vars(parser.parse_args(arguments))


def read(*arguments: str, **environ: str) -> Config:
    """Read a configuration from flags and from an environment of only these."""
    return config.read(flags(*arguments), environ)


def refused(*arguments: str, **environ: str) -> str:
    """Read a configuration that is wrong; returns the sentence."""
    with pytest.raises(ConfigError) as raised:
        read(*arguments, **environ)
    return str(raised.value)


def other(setting: Setting) -> Any:
    """Return a good value of a setting that is not its default."""
    good = {"host": "0.0.0.0", "log_level": "debug", "workers": 1, "dev": True, "redis": "redis://elsewhere"}
    if setting.name in good:
        return good[setting.name]
    kind = type(setting.default)
    return f"other-{setting.name}" if kind is str else kind(setting.default + 1)


# --- the table ----------------------------------------------------------------------------------------


def test_table_is_complete() -> None:
    """Every attribute of a configuration is a setting, with a default of its declared kind."""
    assert [setting.name for setting in SETTINGS] == list(Config.__annotations__)
    for setting in SETTINGS:
        assert type(setting.default).__name__ == Config.__annotations__[setting.name]
        assert setting.help.endswith(".")


def test_defaults_are_good() -> None:
    """Without flags and environment every setting has its default, and none is out of its own range."""
    got = read()
    assert {setting.name: getattr(got, setting.name) for setting in SETTINGS} == {
        setting.name: setting.default for setting in SETTINGS
    }
    assert all(setting.default >= setting.least for setting in NUMBERS)


def test_secrets_have_no_flag() -> None:
    """A secret cannot be given on the command line, where every user of the machine can read it."""
    assert [setting.name for setting in SETTINGS if not setting.flag] == ["token_secret"]
    with pytest.raises(SystemExit):
        flags("--token-secret", "x" * 40)


def test_every_flag_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every flag and its environment name."""
    with pytest.raises(SystemExit):
        flags("--help")
    told = capsys.readouterr().out
    for setting in FLAGGED:
        assert setting.option in told
        assert setting.env in told


@pytest.mark.parametrize("setting", SETTINGS, ids=name)
def test_environment(setting: Setting) -> None:
    """Every setting can be given by the environment; an empty value is as none."""
    assert getattr(read(**{setting.env: str(other(setting))}), setting.name) == other(setting)
    assert getattr(read(**{setting.env: ""}), setting.name) == setting.default


@pytest.mark.parametrize("setting", FLAGGED, ids=name)
def test_flag_wins(setting: Setting) -> None:
    """A flag wins over the environment."""
    if setting.name == "dev":
        assert read("--dev", LIVEROOM_DEV="no").dev is True
        return
    if type(setting.default) is bool:
        assert getattr(read(setting.option, **{setting.env: "no"}), setting.name) is True
        return
    # Even when it gives the default, and whatever the environment says.
    given = str(setting.default) or {"redis": "unix:///given"}.get(setting.name, "given")
    got = read(setting.option, given, **{setting.env: str(other(setting))})
    assert getattr(got, setting.name) == type(setting.default)(given)
    if type(setting.default) in (int, float):
        assert read(setting.option, given, **{setting.env: "nonsense"})


# --- what is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "1e", "0x10", "9" * 5000])
@pytest.mark.parametrize("setting", NUMBERS, ids=name)
def test_bad_number(setting: Setting, value: str) -> None:
    """A number that is none, or out of range, is refused in a sentence that names where it was given."""
    told = refused(setting.option, value)
    assert told.startswith(f"{setting.option} is ")
    if value:
        assert refused(**{setting.env: value}).startswith((f"{setting.env} is ", f"{setting.option} is "))


@pytest.mark.parametrize("setting", [s for s in NUMBERS if s.least > 0], ids=name)
def test_below_the_least(setting: Setting) -> None:
    """A number below what makes sense is refused with the least that is allowed."""
    told = refused(setting.option, "0")
    assert told == f"{setting.option} is at least {setting.least:g}, not 0"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "65536"], "--port"),
        (["--workers", "2"], "--workers"),
        (["--log-level", "loud"], "--log-level"),
        (["--log-level", "INFO"], "--log-level"),
    ],
)
def test_bad_value(arguments: list[str], named: str) -> None:
    """Any other value that cannot be is refused in a sentence that names the option and the value."""
    told = refused(*arguments)
    assert told.startswith(named)
    assert arguments[1] in told


@pytest.mark.parametrize(
    ("value", "dev"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)]
)
def test_switch_in_the_environment(value: str, dev: bool) -> None:
    """A switch is read from the usual words."""
    assert read(LIVEROOM_DEV=value).dev is dev


def test_bad_switch() -> None:
    """A switch that is neither is refused by its name."""
    assert refused(LIVEROOM_DEV="maybe").startswith("LIVEROOM_DEV is true or false, not 'maybe'")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])
def test_dev_with_a_public_host(host: str) -> None:
    """--dev asks for no tokens, so it does not listen where others could come."""
    told = refused("--dev", "--host", host)
    assert "--dev" in told and "--host" in told and "loopback" in told


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_dev_on_loopback(host: str) -> None:
    """--dev listens on any name of loopback."""
    assert read("--dev", "--host", host).host == host


# --- the secret ---------------------------------------------------------------------------------------


def secret_refused(*arguments: str, **environ: str) -> str:
    """Ask for a secret that cannot be given; returns the sentence."""
    with pytest.raises(ConfigError) as raised:
        read(*arguments, **environ).secret()
    return str(raised.value)


def test_missing_secret_names_the_mend() -> None:
    """Without --dev a missing secret is refused with everything that would mend it."""
    told = secret_refused()
    for mend in ("LIVEROOM_TOKEN_SECRET", "--token-secret-file", "--dev", str(MIN_SECRET_BYTES)):
        assert mend in told


def test_dev_needs_no_secret() -> None:
    """Under --dev there may be none."""
    assert read("--dev").secret() is None


@pytest.mark.parametrize("size", [1, MIN_SECRET_BYTES - 1])
def test_short_secret(size: int) -> None:
    """A secret that is too short is refused, with --dev too, and is not repeated."""
    for arguments in ([], ["--dev"]):
        told = secret_refused(*arguments, LIVEROOM_TOKEN_SECRET="q" * size)
        assert str(MIN_SECRET_BYTES) in told
        assert "q" * 5 not in told


def test_secret_of_just_enough() -> None:
    """A secret of the least length is taken as it is."""
    assert read(LIVEROOM_TOKEN_SECRET="q" * MIN_SECRET_BYTES).secret() == b"q" * MIN_SECRET_BYTES


def test_secret_file(tmp_path: Path) -> None:
    """A secret's file is read without the line end, and wins over the environment."""
    file = tmp_path / "secret"
    file.write_bytes(b"f" * 40 + b"\n")
    got = read("--token-secret-file", str(file), LIVEROOM_TOKEN_SECRET="q" * 40)
    assert got.secret() == b"f" * 40


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_useless_secret_file(tmp_path: Path, content: bytes | None) -> None:
    """A secret's file that is missing or empty is refused, not passed over."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    assert "secret" in secret_refused("--token-secret-file", str(file), LIVEROOM_TOKEN_SECRET="q" * 40)


def test_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data directory is absolute, and by default under the user's state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert read().data_dir() == Path("/state/liveroom")
    assert read("--data", "here").data_dir() == Path.cwd() / "here"
    assert read("--data", "~/there").data_dir() == Path.home() / "there"


# --- what the parts are told --------------------------------------------------------------------------


def test_parts_are_told() -> None:
    """What a viewer is told it may send is what the edge holds it to."""
    got = read("--messages-per-s", "7", "--messages-burst", "9", "--heartbeat-ms", "5000")
    limits, edge, room = got.limits(), got.edge_settings(), got.room_settings()
    assert (
        (limits.messages_per_s, limits.messages_burst) == (7, 9) == (edge.messages_per_s, edge.messages_burst)
    )
    assert limits.message_bytes == edge.max_message_bytes
    assert edge.heartbeat_ms == room.heartbeat_ms == 5000
    assert room.limits == limits


def test_hot_window_is_never_the_shorter() -> None:
    """A chatter window that is longer than the hot one lifts the hot one with it."""
    assert read("--chatter-window-ms", "400").room_settings().chatter_window_hot_ms == 400


# --- the command --------------------------------------------------------------------------------------


def serve(*arguments: str, **environ: str) -> tuple[int, str]:
    """Run ``liveroom serve`` where it cannot start; returns its exit code and what it said."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("LIVEROOM_")} | environ
    command = [sys.executable, "-m", "liveroom.server.cli", "serve", *arguments]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=CLI_S, check=False)
    assert "Traceback" not in ran.stderr
    assert "serves on" not in ran.stdout
    return ran.returncode, ran.stderr


def test_serve_without_a_secret(tmp_path: Path) -> None:
    """Without a secret the server refuses to start, with the sentence, and touches nothing."""
    code, told = serve("--data", str(tmp_path / "data"))
    assert code == 1
    assert told.startswith(
        "liveroom: no token secret: put 32 random bytes or more into LIVEROOM_TOKEN_SECRET"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "http"], "liveroom: --port is a number, not 'http'"),
        (["--host", "no.such.host.invalid"], "liveroom: cannot listen on no.such.host.invalid:0: "),
        (["--host", "a..b"], "liveroom: cannot listen on a..b:0: "),
        (["--data", "/dev/null/x"], "liveroom: the data directory /dev/null/x cannot be used: "),
        (["--redis", "redis://127.0.0.1:1"], "liveroom: no Redis answers at redis://127.0.0.1: "),
    ],
    ids=["number", "unknown host", "malformed host", "data", "redis"],
)
def test_serve_with_what_cannot_be(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    """What cannot be found out before it starts ends it with code 1 and one sentence."""
    port = [] if "--port" in arguments else ["--port", "0"]
    data = [] if "--data" in arguments else ["--data", str(tmp_path / "data")]
    code, told = serve(*port, *data, *arguments, LIVEROOM_TOKEN_SECRET="q" * 40)
    assert code == 1
    assert told.splitlines()[-1].startswith(sentence)


def test_port_taken(tmp_path: Path) -> None:
    """A port that another process has ends it with code 1 and what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told = serve("--dev", "--port", str(port), "--data", str(tmp_path / "data"))
    assert code == 1
    assert told.splitlines()[-1].startswith(f"liveroom: cannot listen on 127.0.0.1:{port}: ")
    assert "--port" in told


def test_data_directory_in_use(server: Liveroom) -> None:
    """A data directory that another liveroom has ends it with code 1, and the other goes on."""
    code, told = serve("--dev", "--port", "0", "--data", str(server.data))
    assert code == 1
    assert told.startswith("liveroom: the data directory ")
    assert "in use by another liveroom" in told and "--data" in told
    assert server.request("GET", "/readyz")
