"""Tokens: what is taken, what is refused, and that nothing but a refusal comes of a bad one."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveroom.protocol.names import MAX_NAME_CHARS
from liveroom.server.edge.auth import Authenticator, mint
from liveroom.server.room.identity import Identity, Role
from liveroom.server.room.ports import Refused
from tests.edge.conftest import SECRET
from tests.edge.wire import connected, joined, upgrade
from tests.running import Liveroom

KEY = SECRET.encode()
GUARD = Authenticator(KEY, dev=False)
DEV = Authenticator(None, dev=True)


def signed(claims: dict[str, Any], key: bytes = KEY, algorithm: str = "HS256") -> str:
    """Sign claims, with an expiry if they do not say."""
    return jwt.encode({"sub": "ana", "exp": int(time.time()) + 3600} | claims, key, algorithm=algorithm)


def refusal(authenticator: Authenticator, token: str) -> Refused:
    """Check a token that is refused, and see that it is not repeated."""
    with pytest.raises(Refused) as raised:
        authenticator.check(token)
    assert raised.value.code == "unauthorized"
    assert len(token) < 20 or token not in raised.value.message
    return raised.value


@pytest.mark.parametrize("role", list(Role))
def test_minted_token(role: Role) -> None:
    """What is minted is taken, and says the same."""
    token = mint(KEY, "ana", role=role, room="shop", name="Ana", ttl_s=60)
    assert GUARD.check(token) == Identity("ana", "Ana", role, "shop")


def test_least_token() -> None:
    """A token of a user and an expiry makes a viewer of any room, shown by the user's id."""
    assert GUARD.check(signed({})) == Identity("ana", "ana", Role.VIEWER, None)


def unsigned(header: Any, claims: Any) -> str:
    """Make a token by hand, with an empty signature."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    ]
    return ".".join([*parts, ""])


CLAIMS = {"sub": "ana", "exp": 4_000_000_000}


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="garbage"),
        pytest.param("\N{SNOWMAN}.\xff.\0", id="not ascii"),
        pytest.param(signed({}, key=KEY[::-1]), id="another key"),
        pytest.param(signed({}, algorithm="HS384"), id="another algorithm"),
        pytest.param(unsigned({"alg": "none"}, CLAIMS), id="alg none"),
        pytest.param(unsigned({"alg": ["HS256"]}, CLAIMS), id="alg a list"),
        pytest.param(unsigned([], CLAIMS), id="header a list"),
        pytest.param(unsigned({"alg": "HS256"}, CLAIMS), id="no signature"),
        pytest.param(signed({})[:-3] + "abc", id="signature changed"),
        pytest.param(signed({"exp": int(time.time()) - 30}), id="expired"),
        pytest.param(jwt.encode({"sub": "ana"}, KEY), id="no expiry"),
        pytest.param(jwt.encode({"exp": 4_000_000_000}, KEY), id="no user"),
        pytest.param(signed({"nbf": int(time.time()) + 100_000}), id="not yet valid"),
        pytest.param(signed({"exp": "soon"}), id="expiry a word"),
        pytest.param(signed({"exp": float("inf")}), id="expiry without end"),
        pytest.param(signed({"exp": []}), id="expiry a list"),
        pytest.param(signed({"sub": "a b"}), id="bad user"),
        pytest.param(signed({"room": "a/b"}), id="bad room"),
        pytest.param(signed({"room": ["shop"]}), id="room a list"),
        pytest.param(signed({"role": "admin"}), id="unknown role"),
        pytest.param(signed({"role": 3}), id="role a number"),
        pytest.param(
            base64.urlsafe_b64encode(b"[" * 6000).decode() + "." + signed({}).split(".", 1)[1],
            id="deep header",
        ),
    ],
)
def test_refused_tokens(token: str) -> None:
    """A token that is not good is refused with ``unauthorized``, whatever is wrong with it."""
    assert refusal(GUARD, token)


@given(st.text(max_size=80) | st.tuples(*[st.binary(max_size=40).map(base64.urlsafe_b64encode)] * 3).map(str))
def test_any_token(token: str) -> None:
    """No text is a token by chance, and none does harm."""
    refusal(GUARD, token)


def test_clock_of_the_issuer() -> None:
    """A token that expired a moment ago is still taken: clocks differ by some seconds."""
    assert GUARD.check(signed({"exp": int(time.time()) - 3}))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ana Müller", "Ana Müller"),
        ("  Ana\r\n\u202e ", "Ana"),
        ("", "ana"),
        ("\0\n", "ana"),
        (7, "ana"),
        ("x" * 200, "x" * MAX_NAME_CHARS),
    ],
)
def test_name_to_show(name: Any, shown: str) -> None:
    """A name is shown cut and without control characters; without one the user's id is."""
    assert GUARD.check(signed({"name": name})).name == shown


def test_dev_takes_a_user_s_word() -> None:
    """Under --dev a viewer is who it says."""
    assert DEV.join(None, "ana", "Ana") == Identity("ana", "Ana", Role.VIEWER, None)
    assert DEV.join(None, "ana", None).name == "ana"


def test_dev_without_a_secret_takes_no_token() -> None:
    """Where no secret is, no token is valid, not even one signed with nothing."""
    with pytest.raises(Refused):
        DEV.join(signed({}), "ana", None)
    refusal(DEV, unsigned({"alg": "none"}, CLAIMS))


def test_token_wins_over_the_user_named() -> None:
    """Under --dev with a secret a token that is given counts, and a bad one is not passed over."""
    both = Authenticator(KEY, dev=True)
    assert both.join(signed({}), "eve", None).user == "ana"
    with pytest.raises(Refused):
        both.join("forged", "eve", None)


@pytest.mark.parametrize(
    ("user", "code"), [(None, "unauthorized"), ("", "bad_request"), ("a/b", "bad_request")]
)
def test_dev_checks_the_user(user: str | None, code: str) -> None:
    """Under --dev a user must still be named, by an id."""
    with pytest.raises(Refused) as raised:
        DEV.join(None, user, None)
    assert raised.value.code == code


def test_without_dev_a_token_is_needed() -> None:
    """Without --dev a name is not enough."""
    with pytest.raises(Refused) as raised:
        GUARD.join(None, "ana", None)
    assert raised.value.code == "unauthorized"


@pytest.mark.parametrize("source", ["environment", "file"])
async def test_token_of_the_command_line_joins(guarded: Liveroom, tmp_path: Path, source: str) -> None:
    """``liveroom token`` prints a token with which one joins as who it says, and where it says."""
    command = [sys.executable, "-m", "liveroom.server.cli", "token", "--user", "ana", "--room", "shop"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")}
    if source == "file":
        (tmp_path / "secret").write_text(SECRET + "\n")
        command += ["--token-secret-file", str(tmp_path / "secret")]
    else:
        env["LIVEROOM_TOKEN_SECRET"] = SECRET
    ran = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE)
    printed = (await ran.communicate())[0].decode()
    async with joined(guarded, "shop", ("Authorization", f"Bearer {printed.strip()}"), query="") as peer:
        assert (await peer.message("welcome"))["user"] == "ana"
    async with connected(guarded) as peer:
        await peer.send(upgrade("other", ("Authorization", f"Bearer {printed.strip()}"), query=""))
        assert await peer.refused() == (403, "forbidden")
