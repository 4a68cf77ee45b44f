"""The ``liveroom`` command: each subcommand is added by the part that carries it out."""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop

from liveroom.protocol.names import is_id
from liveroom.server import config as settings
from liveroom.server.app import App
from liveroom.server.backplane.embedded import EmbeddedError
from liveroom.server.config import ConfigError
from liveroom.server.edge.auth import mint
from liveroom.server.ops import logs
from liveroom.server.room.identity import Role
from liveroom.server.room.ports import Unavailable


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="liveroom", allow_abbrev=False, description="Real-time server for live-shopping rooms."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_token(commands)
    _add_others(commands)
    given = parser.parse_args(arguments)
    try:
        code: int = given.func(given)
    except (ConfigError, EmbeddedError, Unavailable) as fault:
        print(f"liveroom: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="run the server", allow_abbrev=False)
    settings.add_flags(serve)
    serve.set_defaults(func=_serve)


def _serve(given: argparse.Namespace) -> int:
    config = settings.read(vars(given))
    logs.set_up(config.log_level)

    async def run() -> None:
        await App(config).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


def _add_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = commands.add_parser(
        "token", help="make a token (the secret comes from the environment or a file)"
    )
    token.add_argument("--user", required=True, help="user id")
    token.add_argument("--role", default="viewer", choices=[role.name.lower() for role in Role])
    token.add_argument("--room", help="the only room it is good for; any room when left out")
    token.add_argument("--name", help="name to show")
    token.add_argument(
        "--ttl", type=int, default=86_400, metavar="SECONDS", help="how long it is valid (default: a day)"
    )
    token.add_argument("--token-secret-file", default=argparse.SUPPRESS, help="file that holds the secret")
    token.set_defaults(func=_token)


def _token(given: argparse.Namespace) -> int:
    flags = {key: value for key, value in vars(given).items() if key == "token_secret_file"}
    secret = settings.read(flags).secret()
    if secret is None:
        raise ConfigError("no token secret: set LIVEROOM_TOKEN_SECRET or give --token-secret-file")
    for name, id in (("--user", given.user), ("--room", given.room)):
        if id is not None and not is_id(id):
            raise ConfigError(f"{name} is 1 to 64 of A-Z a-z 0-9 _ . -")
    role = Role[given.role.upper()]
    print(mint(secret, given.user, role=role, room=given.room, name=given.name, ttl_s=given.ttl))
    return 0


def _add_others(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from liveroom.loadtest.replay import add_replay  # noqa: PLC0415  their parts are needed by no server
    from liveroom.server.host_commands import add_host_commands  # noqa: PLC0415
    from liveroom.server.ops.doctor import add_doctor  # noqa: PLC0415
    from liveroom.server.reconcile import add_orders  # noqa: PLC0415

    add_host_commands(commands)
    add_orders(commands)
    add_doctor(commands)
    add_replay(commands)


if __name__ == "__main__":
    sys.exit(main())
