"""One table of settings: flag, environment name, default, help. The only reader of the environment.

A flag wins over the environment, the environment over the default. Secrets have no flag: a command line can
be read by every user of a machine.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from liveroom.protocol.messages import Limits
from liveroom.protocol.names import MAX_COMMENT_CHARS, MAX_LIKES_PER_MESSAGE, MAX_MESSAGE_BYTES
from liveroom.server.edge.auth import MIN_SECRET_BYTES
from liveroom.server.edge.edge import EdgeSettings
from liveroom.server.handoff.schedule import WAITS_S, Retries
from liveroom.server.handoff.settings import HandoffSettings
from liveroom.server.handoff.targets import Allowed
from liveroom.server.room.room import RoomSettings

MAX_WAIT_S = 30 * 86_400  # between two attempts of a delivery


class ConfigError(Exception):
    """A setting is missing or wrong; the message is the sentence that mends it."""


class Setting(NamedTuple):
    """One row. ``least`` is the smallest value allowed for a number; a bool is a switch."""

    name: str
    default: Any
    help: str
    least: float = 0
    flag: bool = True

    @property
    def env(self) -> str:
        """The environment name."""
        return f"LIVEROOM_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The command line flag."""
        return "--" + self.name.replace("_", "-")


SETTINGS = (
    Setting("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all. With --dev it must be loopback."),
    Setting("port", 8080, "Port to listen on; 0 lets the system choose one."),
    Setting("workers", 1, "Worker processes. This version runs one.", 1),
    Setting(
        "redis", "", "URL of your own Redis or Valkey >= 7 (redis://, rediss:// or unix://). Empty: embedded."
    ),
    Setting(
        "data", "", "Directory of the embedded server. Empty: liveroom under the user's state directory."
    ),
    Setting(
        "dev", False, "For a laptop only: no tokens are asked, rooms appear on first use, loopback only."
    ),
    Setting("node", "", "Name of this node in the cluster. Empty: host name and port."),
    Setting("token_secret", "", f"Secret of HS256 tokens, {MIN_SECRET_BYTES} bytes or more.", flag=False),
    Setting("token_secret_file", "", "File that holds the secret of HS256 tokens."),
    Setting("log_level", "info", "Least level that is logged: debug, info, warning or error."),
    Setting(
        "heartbeat_ms", 25_000, "A viewer is pinged this often, and closed after three without a sign.", 100
    ),
    Setting("stall_ms", 60_000, "A viewer that does not read for this long is closed.", 100),
    Setting("fact_window_ms", 50, "Facts go out at once, but passes are at least this far apart.", 1),
    Setting("chatter_window_ms", 50, "How long a comment may wait in a small room.", 1),
    Setting("chatter_window_hot_ms", 250, "How long a comment may wait in a hot room.", 1),
    Setting("hot_viewers", 1_000, "A room with this many viewers on this node is hot.", 1),
    Setting("state_window_ms", 250, "Likes, viewers and stock are told at most this often.", 10),
    Setting(
        "order_fact_ms", 200, "Orders of a sale are told at most this often, collapsed into one fact.", 0
    ),
    Setting("history_events", 10_000, "Events of a room that can be resumed from.", 1),
    Setting("history_ms", 600_000, "How old an event that can be resumed from may be.", 1000),
    Setting("idle_room_s", 60.0, "A room without viewers is held in memory this long.", 0),
    Setting("room_comments_per_s", 40.0, "Comments a room shows a second; beyond it they are sampled.", 0.1),
    Setting("comments_per_s", 1.0, "Comments of one user a second.", 0.01),
    Setting("comments_burst", 5, "Comments of one user at once.", 1),
    Setting("like_messages_per_s", 10.0, "Like messages of one user a second.", 0.01),
    Setting("messages_per_s", 100.0, "Messages of one connection a second, of any kind.", 0.1),
    Setting("messages_burst", 200, "Messages of one connection at once.", 1),
    Setting("outbox_poll_ms", 250, "How often a node looks whether there is something to hand off.", 10),
    Setting(
        "outbox_keep_s", 604_800.0, "How long what was handed off to everyone can be replayed and read.", 0
    ),
    Setting(
        "webhook_retries_s",
        ",".join(f"{wait:g}" for wait in WAITS_S),
        "Waits in seconds before each attempt of a delivery; each is prolonged by up to a fifth, at random.",
    ),
    Setting("webhook_timeout_s", 15.0, "How long an attempt may take.", 0.1),
    Setting("webhook_in_flight", 8, "Deliveries to one endpoint at a time, each of another order.", 1),
    Setting("webhook_rotation_s", 86_400.0, "How long a replaced secret signs beside the new one.", 0),
    Setting("webhook_allow_http", False, "Webhooks may lead to http:// addresses as well."),
    Setting(
        "webhook_allow_private", False, "Webhooks may lead to private, loopback and link-local addresses."
    ),
    Setting(
        "drain_s", 10.0, "How long stopping may take; viewers' returns are spread over the first half.", 0
    ),
)


class Config:
    """Settings as attributes, by their names in ``SETTINGS``."""

    host: str
    port: int
    workers: int
    redis: str
    data: str
    dev: bool
    node: str
    token_secret: str
    token_secret_file: str
    log_level: str
    heartbeat_ms: int
    stall_ms: int
    fact_window_ms: int
    chatter_window_ms: int
    chatter_window_hot_ms: int
    hot_viewers: int
    state_window_ms: int
    order_fact_ms: int
    history_events: int
    history_ms: int
    idle_room_s: float
    room_comments_per_s: float
    comments_per_s: float
    comments_burst: int
    like_messages_per_s: float
    messages_per_s: float
    messages_burst: int
    outbox_poll_ms: int
    outbox_keep_s: float
    webhook_retries_s: str
    webhook_timeout_s: float
    webhook_in_flight: int
    webhook_rotation_s: float
    webhook_allow_http: bool
    webhook_allow_private: bool
    drain_s: float

    def __init__(self, **values: Any) -> None:
        for setting in SETTINGS:
            setattr(self, setting.name, values.get(setting.name, setting.default))

    def data_dir(self) -> Path:
        """Return the embedded server's directory."""
        if self.data:
            return Path(self.data).expanduser().absolute()
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "liveroom"

    def secret(self) -> bytes | None:
        """Return the token secret.

        :raises ConfigError: there is none though one is needed, it is too short, or its file cannot be read.
        """
        secret = self.token_secret.encode()
        if self.token_secret_file:
            try:
                secret = Path(self.token_secret_file).read_bytes().strip()
            except OSError as fault:
                raise ConfigError(f"--token-secret-file cannot be read: {fault.strerror}") from fault
        if not secret:
            if self.dev:
                return None
            raise ConfigError(
                "no token secret: put 32 random bytes or more into LIVEROOM_TOKEN_SECRET or a --token-secret-file "
                "(for example: head -c 32 /dev/urandom | base64 > secret), or use --dev on a laptop"
            )
        if len(secret) < MIN_SECRET_BYTES:
            raise ConfigError(f"the token secret has {len(secret)} bytes; give it {MIN_SECRET_BYTES} or more")
        return secret

    def limits(self) -> Limits:
        """Return what a viewer is told it may send."""
        return Limits(
            message_bytes=MAX_MESSAGE_BYTES,
            messages_per_s=self.messages_per_s,
            messages_burst=self.messages_burst,
            comment_chars=MAX_COMMENT_CHARS,
            comments_per_s=self.comments_per_s,
            comments_burst=self.comments_burst,
            likes_per_message=MAX_LIKES_PER_MESSAGE,
            like_messages_per_s=self.like_messages_per_s,
        )

    def room_settings(self) -> RoomSettings:
        """Return what concerns rooms."""
        return RoomSettings(
            fact_window_ms=self.fact_window_ms,
            chatter_window_ms=self.chatter_window_ms,
            chatter_window_hot_ms=max(self.chatter_window_ms, self.chatter_window_hot_ms),
            hot_viewers=self.hot_viewers,
            state_window_ms=self.state_window_ms,
            history_events=self.history_events,
            history_ms=self.history_ms,
            heartbeat_ms=self.heartbeat_ms,
            limits=self.limits(),
        )

    def handoff_settings(self) -> HandoffSettings:
        """Return what concerns the hand-off to supply partners.

        :raises ConfigError: the schedule is none.
        """
        try:
            waits = tuple(float(wait) for wait in self.webhook_retries_s.split(","))
        except ValueError:
            waits = ()
        if not waits or not all(0 <= wait <= MAX_WAIT_S for wait in waits):
            raise ConfigError(
                "--webhook-retries-s is a list of seconds, as 0,5,300: the waits before each attempt"
            )
        return HandoffSettings(
            retries=Retries(waits),
            timeout_s=self.webhook_timeout_s,
            in_flight=self.webhook_in_flight,
            allowed=Allowed(private=self.webhook_allow_private, http=self.webhook_allow_http),
            rotation_s=self.webhook_rotation_s,
            poll_s=self.outbox_poll_ms / 1000,
            keep_s=self.outbox_keep_s,
        )

    def edge_settings(self) -> EdgeSettings:
        """Return what concerns connections."""
        return EdgeSettings(
            heartbeat_ms=self.heartbeat_ms,
            stall_ms=self.stall_ms,
            max_message_bytes=MAX_MESSAGE_BYTES,
            messages_per_s=self.messages_per_s,
            messages_burst=self.messages_burst,
        )


TOKEN_ENV = "LIVEROOM_TOKEN"  # noqa: S105  a name, not a secret


def client_token() -> str | None:
    """Return the token that the commands of a host send; it has no flag, as a secret has none."""
    return os.environ.get(TOKEN_ENV)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the table's flags; a flag that is not given leaves no trace, so that the environment can speak."""
    for setting in SETTINGS:
        if not setting.flag:
            continue
        text = f"{setting.help} [{setting.env}; default: {setting.default!r}]".replace("%", "%%")
        if isinstance(setting.default, bool):
            parser.add_argument(setting.option, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(
                setting.option, metavar=setting.name.upper(), default=argparse.SUPPRESS, help=text
            )


def read(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Config:
    """Join flags, environment and defaults.

    :raises ConfigError: a value is not of its kind or outside its range.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.name in flags:
            values[setting.name] = _value(setting, flags[setting.name], setting.option)
        elif environ.get(setting.env, "") != "":
            values[setting.name] = _value(setting, environ[setting.env], setting.env)
    config = Config(**values)
    if config.workers != 1:
        raise ConfigError(
            f"--workers is 1 in this version, not {config.workers}: start more processes on other ports"
        )
    if config.port > 65535:
        raise ConfigError(f"--port is from 0 to 65535, not {config.port}")
    if config.log_level not in ("debug", "info", "warning", "error"):
        raise ConfigError(f"--log-level is debug, info, warning or error, not {config.log_level!r}")
    if config.redis and not _is_redis_url(config.redis):
        # Not repeated: it may hold a password.
        raise ConfigError(
            "--redis is a URL that begins with redis://, rediss:// or unix://, and its port is a number"
        )
    if config.dev and config.host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(
            f"--dev asks for no tokens, so it listens on loopback only, not on {config.host}: leave --host out, "
            "or leave --dev out and give a token secret"
        )
    return config


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed, and refused, only when asked for
    except ValueError:
        return False
    return parts.scheme in ("redis", "rediss", "unix")


def _value(setting: Setting, given: Any, where: str) -> Any:
    kind = type(setting.default)
    if kind is bool:
        if isinstance(given, bool):
            return given
        if given.lower() in ("1", "true", "yes", "on"):
            return True
        if given.lower() in ("0", "false", "no", "off"):
            return False
        raise ConfigError(f"{where} is true or false, not {given!r}")
    if kind is str:
        return given
    try:
        value = kind(given)
    except ValueError:
        raise ConfigError(f"{where} is a number, not {given!r}") from None
    if not setting.least <= value < float("inf"):
        raise ConfigError(f"{where} is at least {setting.least:g}, not {given}")
    return value
