"""A headless Chromium, driven over its DevTools protocol.

Knows just enough of the protocol for the browser tests: pages in contexts of their own, real mouse and key
events, waiting for a condition inside the page, screenshots. Rule: what a page complains about (console
errors, uncaught exceptions, failed requests) is collected, so that a test can assert that there is nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
TIMEOUT_S = 20.0

# Resolves when the expression is truthy: looks at once, and again whenever the document changes.
_WAIT = """
new Promise((resolve) => {
  const look = () => {
    let found = null;
    try { found = (%s); } catch {}
    if (found) { watcher.disconnect(); resolve(true); }
  };
  const watcher = new MutationObserver(look);
  watcher.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  look();
})
"""


class Page:
    """One page in a browser context of its own: no storage is shared with another."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a DevTools method for this page."""
        return await self._browser.call(method, self._session, **params)

    async def goto(self, url: str) -> None:
        """Go to an address, and wait until its scripts have run."""
        loaded = self._browser.next_event(self._session, "Page.loadEventFired")
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(loaded, TIMEOUT_S)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        """Wait until an expression is truthy in the page."""
        try:
            await asyncio.wait_for(self.evaluate(_WAIT % expression), TIMEOUT_S)
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(
                f"not within {TIMEOUT_S:g} s: {expression}\n{text}\n{self.complaints}"
            ) from None

    async def sees(self, selector: str, text: str) -> None:
        """Wait until an element that matches ``selector`` is visible and contains ``text``."""
        await self.wait_for(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".some((one) => one.checkVisibility() && one.textContent.includes({json.dumps(text)}))"
        )

    async def click(self, selector: str) -> None:
        """Wait for an enabled element, bring it into view and click its middle with the mouse."""
        quoted = json.dumps(selector)
        await self.wait_for(
            f"document.querySelector({quoted})?.checkVisibility() && !document.querySelector({quoted}).disabled"
        )
        box = await self.evaluate(
            f"""(async () => {{
                // The place must hold still: an answer that is on its way may draw the page anew.
                let one, box, before;
                do {{
                    before = box;
                    one = document.querySelector({quoted});
                    one.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
                    box = one.getBoundingClientRect();
                    await new Promise((resolve) => setTimeout(resolve, 50));
                }} while (!before || before.x !== box.x || before.y !== box.y);
                const x = box.x + box.width / 2, y = box.y + box.height / 2;
                const hit = document.elementFromPoint(x, y);
                return {{x, y, hit: one.contains(hit), by: hit?.outerHTML.slice(0, 120)}};
            }})()"""
        )
        assert box["hit"], f"{selector} is covered by {box['by']}"
        at = {"x": box["x"], "y": box["y"], "button": "left", "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    async def fill(self, selector: str, text: str) -> None:
        """Replace a field's content, as typed."""
        await self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.focus(); one.select(); }})()"
        )
        await self.call("Input.insertText", text=text)

    async def enter(self) -> None:
        """Press Enter."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the page a screen; one narrower than 600 px is a phone's."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self) -> bytes:
        """Return what is on the screen, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    def take_event(self, method: str, params: dict[str, Any]) -> None:
        """Keep what the page complains about."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(arg.get("value")) for arg in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")


class Browser:
    """A running browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[tuple[str, str], list[asyncio.Future[dict[str, Any]]]] = {}
        self._pages: dict[str, Page] = {}

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a DevTools method and return its result."""
        id = next(self._ids)
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        await self._connection.send(json.dumps(message))
        result: dict[str, Any] = await answer
        return result

    def next_event(self, session: str, method: str) -> asyncio.Future[dict[str, Any]]:
        """Return the next event of a kind, as a future."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._events.setdefault((session, method), []).append(future)
        return future

    async def listen(self) -> None:
        """Hand out answers and events until the browser is gone."""
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if answer.cancelled():
                    continue
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
                continue
            session, method, params = message.get("sessionId", ""), message["method"], message["params"]
            for future in self._events.pop((session, method), []):
                if not future.done():
                    future.set_result(params)
            if session in self._pages:
                self._pages[session].take_event(method, params)

    async def new_page(self) -> Page:
        """Open an empty page in a context of its own."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.resize(1280, 800)
        return page


@contextlib.asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Browser]:
    """Run a browser with a fresh profile in ``profile``."""
    assert BINARY is not None
    flags = (*FLAGS, f"--user-data-dir={profile}")
    async with _process(BINARY, *flags) as process:
        assert process.stderr is not None
        url = await _find(process.stderr, rb"DevTools listening on (ws://\S+)")
        async with _drained(process.stderr), connect(url, max_size=None, ping_interval=None) as connection:
            browser = Browser(connection)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                await browser.call("Browser.close")
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


@contextlib.asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process whose stderr is read; it has ended when this has."""
    quiet, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=pipe)
    try:
        yield process
    finally:
        try:
            await asyncio.wait_for(process.wait(), TIMEOUT_S)  # it was told to close
        except TimeoutError:
            process.kill()
            await process.wait()


async def _find(stream: asyncio.StreamReader, pattern: bytes) -> str:
    """Read lines until one matches; returns its first group."""
    seen = b""
    async with asyncio.timeout(TIMEOUT_S):
        async for line in stream:
            seen += line
            found = re.search(pattern, line)
            if found is not None:
                return found[1].decode()
    raise AssertionError(f"no line matches {pattern!r} in:\n{seen.decode(errors='replace')}")


@contextlib.asynccontextmanager
async def _drained(stream: asyncio.StreamReader) -> AsyncIterator[None]:
    """Read a process's output to its end, so that it never waits for a reader."""
    draining = asyncio.create_task(stream.read())
    try:
        yield
    finally:
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
