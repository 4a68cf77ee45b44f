"""The pages: what is served and under which headers; and the JS client's own tests, run with Node."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveroom.server.web.pages import CONTENT_TYPES, HEADERS, add_pages
from tests.running import Liveroom

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "server" / "web" / "static"
CLIENT = ROOT / "protocol" / "js"
NODE = shutil.which("node")
NODE_TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A plain application that has the pages and nothing else."""
    app = web.Application()
    add_pages(app)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/host", "/static/viewer.js", "/js/liveroom.js", "/static/icon.svg"])
async def test_every_answer_has_the_headers(client: Client, path: str) -> None:
    """A page and every part of it come with the policy and the other headers."""
    answer = await client.get(path)
    assert answer.status == 200
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["Content-Type"] == f"{CONTENT_TYPES[_suffix(path)]}; charset=utf-8"


def _suffix(path: str) -> str:
    return Path(path).suffix or ".html"


async def test_policy_lets_nothing_inline_run(client: Client) -> None:
    """The policy names neither inline nor eval nor a wildcard, and no page may stand in a frame."""
    policy = (await client.get("/")).headers["Content-Security-Policy"]
    directives = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert directives["default-src"] == directives["script-src"] == directives["style-src"] == ["'self'"]
    assert directives["connect-src"] == ["'self'", "ws:", "wss:"]
    assert directives["frame-ancestors"] == directives["base-uri"] == directives["object-src"] == ["'none'"]
    assert directives["form-action"] == ["'self'"]
    assert not re.search(r"unsafe|\*", policy)


async def test_every_file_is_served(client: Client) -> None:
    """Whatever lies in the two folders can be had under its name, to the byte."""
    for folder, prefix in ((STATIC, "/static"), (CLIENT, "/js")):
        names = [path.name for path in folder.iterdir() if path.suffix in CONTENT_TYPES]
        assert names
        for name in names:
            answer = await client.get(f"{prefix}/{name}")
            assert await answer.read() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/missing.js",
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py",
        "/static/..%5cpages.py",
        "/static/%2e%2e%2f%2e%2e%2fcli.py",
        "/static/viewer.html%00.js",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/js/../errors.py",
        "/js/..%2ferrors.py",
        "/js/viewer.js",
        "/viewer.html",
    ],
)
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    """A name that does not lie in the folder is not found, however it is written."""
    from yarl import URL

    url = URL(str(client.make_url("/")).rstrip("/") + path, encoded=True)
    answer = await client.session.get(url)
    assert answer.status == 404


async def test_unchanged_file_is_not_sent_again(client: Client) -> None:
    """A browser that has the file is told so; one that has an older one is given the new."""
    first = await client.get("/static/viewer.js")
    tag = first.headers["ETag"]
    again = await client.get("/static/viewer.js", headers={"If-None-Match": f'"other", {tag}'})
    assert again.status == 304
    assert again.headers["ETag"] == tag
    assert again.headers["Cache-Control"] == "no-cache"
    assert await again.read() == b""
    other = await client.get("/static/viewer.js", headers={"If-None-Match": '"other"'})
    assert other.status == 200
    assert (await client.get("/static/host.js")).headers["ETag"] != tag


async def test_only_reading_is_possible(client: Client) -> None:
    """HEAD answers as GET does without a body, and nothing can be written."""
    head = await client.head("/")
    assert head.status == 200
    assert await head.read() == b""
    assert (await client.post("/static/viewer.js")).status == 405


@pytest.mark.parametrize("page", ["viewer.html", "host.html"])
def test_page_markup_keeps_to_the_policy(page: str) -> None:
    """No inline script, style or listener; every id once; every field has a label."""
    text = (STATIC / page).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for field in re.finditer(r"<(?:input|select|textarea)\b[^>]*>", text):
        own = re.search(r'\sid="([^"]+)"', field[0])
        labelled = own is not None and f'for="{own[1]}"' in text
        inside = text.rfind("<label", 0, field.start()) > text.rfind("</label>", 0, field.start())
        assert labelled or inside, field[0]


def test_scripts_never_parse_data_as_markup() -> None:
    """No page script and no client file has a way to turn text into elements or code."""
    banned = re.compile(
        r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function|DOMParser)\b"
    )
    for path in (*STATIC.glob("*.js"), *CLIENT.glob("*.js")):
        assert not banned.search(path.read_text(encoding="utf-8")), path.name


def test_scripts_import_what_exists() -> None:
    """Every import names a file that is served, by a path that also works under a prefix."""
    for path in (*STATIC.glob("*.js"), *CLIENT.glob("*.js")):
        for name in re.findall(r'^\s*(?:import|\}).*?from "([^"]+)";', path.read_text("utf-8"), re.MULTILINE):
            folder = CLIENT if name.startswith("../js/") else path.parent
            assert name.startswith(("./", "../js/")), name
            assert (folder / Path(name).name).is_file(), name


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("script", NODE_TESTS, ids=lambda path: path.name)
def test_javascript(script: Path) -> None:
    """The JS client and the pure parts of the pages do what their own tests say."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, "--test", str(script)],
        env=os.environ | {"LC_ALL": "en_US.UTF-8"},  # money is written as the reader's language does
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="node is not installed")
async def test_javascript_client_loses_nothing_over_cuts(server: Liveroom, room: str) -> None:
    """In Node, against a real server: cut again and again, it sees every event once and in order."""
    assert NODE is not None
    path = f"/v1/rooms/{room}"
    server.request("PUT", path, {})
    draft = {"sku": "BAG", "title": "Bag", "price": 100, "currency": "EUR", "stock": 3, "per_user_limit": 1}
    sale = server.request("POST", f"{path}/sales", draft)["sale"]
    server.request("POST", f"{path}/sales/{sale}/open")
    total = 250
    script = ROOT / "tests" / "js" / "live.mjs"
    process = await asyncio.create_subprocess_exec(
        *(NODE, "--experimental-websocket", str(script), server.http, room, sale, str(total - 1)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
            for n in range(total):
                event = {"type": "custom", "name": "count", "data": {"n": n}}
                await asyncio.to_thread(server.request, "POST", f"{path}/events", event)
            saw = json.loads(await process.stdout.read())
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert saw["seen"] == list(range(total))
    assert saw["gaps"] == 0
    assert saw["resumed"][0] is False
    assert len(saw["resumed"]) > 3
    assert all(saw["resumed"][1:])
    assert saw["shown"] is True
    assert (saw["status"], saw["same"]) == ("reserved", True)
    assert saw["clockOff"] < 5_000  # one machine, one clock
    assert server.request("GET", f"{path}/sales/{sale}")["left"] == 2
