"""The pages in a real browser against a real server: two viewers and a host share a room."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from liveroom.server.edge.auth import mint
from liveroom.server.room.identity import Role
from tests.chromium import BINARY, Browser, Page, chromium
from tests.running import Liveroom, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="neither chromium nor chromium-browser is on PATH"),
]

HOSTILE = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&amp;"""
HOSTILE_NAME = "<svg onload=window.hacked=1>"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A browser of the test's own."""
    async with chromium(tmp_path / "profile") as browser:
        yield browser


class Site:
    """The pages of one room on one server."""

    def __init__(self, server: Liveroom, room: str) -> None:
        self.viewer = f"{server.http}/?room={room}"
        self.host = f"{server.http}/host?room={room}"


@pytest.fixture
def site(server: Liveroom, room: str) -> Site:
    """The pages of a room of the test's own."""
    return Site(server, room)


async def join(browser: Browser, site: Site, user: str, name: str = "") -> Page:
    """Open the viewer's page and wait until it is in the room."""
    page = await browser.new_page()
    await page.goto(f"{site.viewer}&user={user}" + (f"&name={quote(name)}" if name else ""))
    await page.wait_for("document.body.dataset.status === 'live'")
    return page


async def host(browser: Browser, site: Site) -> Page:
    """Open the host's page and wait until it follows the room."""
    page = await browser.new_page()
    await page.goto(site.host)
    await page.wait_for("document.body.dataset.status === 'live'")
    return page


async def say(page: Page, text: str) -> None:
    """Comment as a person would."""
    await page.fill("#comment-text", text)
    await page.enter()


async def make_sale(page: Page, **fields: str) -> None:
    """Fill in the host's form and send it."""
    for name, text in (
        {"title": "Canvas bag", "sku": "BAG-7", "price": "19.90", "stock": "2"} | fields
    ).items():
        await page.fill(f"#sale-form [name={name}]", text)
    await page.click("#sale-form button")
    await page.sees("#sales .sale", fields.get("title", "Canvas bag"))


async def confirm(page: Page) -> None:
    """Say yes to the question."""
    await page.click("#ask-yes")
    await page.wait_for("!document.querySelector('#ask').open")


async def test_comment_in_one_shows_in_the_other(browser: Browser, site: Site) -> None:
    """What one viewer says, both see, under its name; both are counted."""
    alice, bob = await join(browser, site, "alice", "Alice"), await join(browser, site, "bob")
    await say(alice, "Is it waterproof? 👜")
    for page in (alice, bob):
        await page.sees(".comment .said", "Is it waterproof? 👜")
        await page.sees(".comment b", "Alice")
        await page.sees("#viewers", "2")
    assert await alice.evaluate("document.querySelector('#comment-text').value") == ""
    assert await alice.evaluate("document.querySelectorAll('.comment.mine').length") == 1
    assert await bob.evaluate("document.querySelectorAll('.comment.mine').length") == 0
    assert alice.complaints == bob.complaints == []


async def test_markup_shows_as_text(browser: Browser, site: Site) -> None:
    """Whatever a viewer or a host types is text everywhere: comment, name, notice, card, sale, order, toast."""
    console = await host(browser, site)
    mallory, bob = await join(browser, site, "mallory", HOSTILE_NAME), await join(browser, site, "bob")
    await say(mallory, HOSTILE)
    for page in (mallory, bob, console):
        await page.sees(".said", HOSTILE)
        await page.sees(".comment b", HOSTILE_NAME)
    await make_sale(console, title=HOSTILE)
    await console.click("[data-action=open]")
    await console.wait_for("document.querySelector('[data-action=pause]')")
    await mallory.click(".claim")
    await bob.sees(".toast", HOSTILE_NAME)
    await console.sees("#orders", HOSTILE_NAME)
    await console.click("[data-action=pin]")
    await console.fill("#notice-form [name=text]", HOSTILE)
    await console.click("#notice-form button")
    for page in (mallory, bob):
        await page.sees(".sale h3", HOSTILE)
        await page.sees("#pin h2", HOSTILE)
        await page.sees("#notice-text", HOSTILE)
    for page in (mallory, bob, console):
        assert await page.evaluate("window.hacked") is None
        assert (
            await page.evaluate("document.querySelectorAll('img, script:not([src]), svg[onload]').length")
            == 0
        )
        assert page.complaints == []


async def test_flash_sale_from_start_to_sold_out(browser: Browser, site: Site) -> None:
    """The host makes and opens a sale; one claims, the other sees a toast; sold out shows everywhere."""
    console = await host(browser, site)
    alice, bob = await join(browser, site, "alice", "Alice"), await join(browser, site, "bob", "Bob")
    await make_sale(console, per_user_limit="1")
    for page in (alice, bob):
        await page.sees(".claim", "Not open yet")
        await page.sees(".stock", "2 of 2 left")
    await console.click("[data-action=open]")
    await bob.sees(".claim", "Buy · €19.90")

    await alice.click(".claim")
    await alice.sees(".outcome", "it’s yours")
    await alice.sees("#orders-count", "1")
    await bob.sees(".toast", "Alice bought Canvas bag")
    await bob.sees(".stock", "1 of 2 left")
    await alice.sees(".claim", "Limit reached")
    await alice.click("#orders-button")
    await alice.sees("#order-list", "1 × Canvas bag")

    await bob.click(".claim")
    await bob.sees(".outcome", "it’s yours")
    for page in (alice, bob):
        await page.sees(".badge", "Sold out")
        await page.sees(".claim", "Sold out")
        await page.sees(".stock", "All 2 gone")
    await console.sees(".sale .badge", "Sold out")
    await console.wait_for("document.querySelectorAll('#orders tr').length === 2")
    assert alice.complaints == bob.complaints == console.complaints == []


async def test_host_steers_a_sale(browser: Browser, site: Site) -> None:
    """Pause, resume, restock and close reach the viewer; what cannot be undone is asked once."""
    console, alice = await host(browser, site), await join(browser, site, "alice")
    await make_sale(console, stock="1", runs_for="600")
    await console.click("[data-action=open]")
    await alice.sees(".count", "Ends in")
    await console.click("[data-action=pause]")
    await alice.sees(".claim", "Paused")
    await console.click("[data-action=resume]")
    await alice.click(".claim")
    await alice.sees(".claim", "Sold out")
    await console.fill(".restock input", "5")
    await console.click("[data-action=restock]")
    await alice.sees(".stock", "5 of 6 left")
    await alice.sees(".claim", "Buy again · €19.90")
    await console.click("[data-action=close]")
    await console.sees("#ask-text", "for good")
    await console.click("#ask-no")
    await alice.sees(".claim", "Buy again")
    await console.click("[data-action=close]")
    await confirm(console)
    await alice.sees(".claim", "Closed")
    assert alice.complaints == console.complaints == []


async def test_countdown_runs_on_server_time(browser: Browser, site: Site) -> None:
    """A sale with a start counts down and opens by itself, though the viewer's own clock is wrong."""
    console, alice = await host(browser, site), await browser.new_page()
    await alice.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="const real = Date.now; Date.now = () => real() - 3_600_000;",
    )
    await alice.goto(f"{site.viewer}&user=alice")
    await make_sale(console, opens_in="3", runs_for="300")
    await alice.sees(".count", "Opens in 0:0")
    await alice.sees(".claim", "Buy")
    await alice.sees(".count", "Ends in")
    shown = await alice.evaluate("document.querySelector('.count b').textContent")
    assert re.fullmatch(r"[45]:\d\d", shown), shown


async def test_host_moderates_and_announces(browser: Browser, site: Site) -> None:
    """A deleted comment vanishes everywhere, a notice and a card appear, and the card goes again."""
    console, alice = await host(browser, site), await join(browser, site, "alice", "Alice")
    await say(alice, "something rude")
    await console.click(".comment button")
    await console.sees("#ask-text", "something rude")
    await confirm(console)
    for page in (alice, console):
        await page.wait_for("document.querySelectorAll('.comment').length === 0")
    await console.fill("#notice-form [name=text]", "Back in two minutes")
    await console.click("#notice-form button")
    await alice.sees("#notice-text", "Back in two minutes")
    await alice.click("#notice-close")
    await alice.wait_for("document.querySelector('#notice').hidden")
    await console.evaluate("document.querySelector('#pin-form').parentElement.open = true")
    await console.fill("#pin-form [name=title]", "Today’s bag")
    await console.fill("#pin-form [name=url]", "https://shop.example/bag")
    await console.click("#pin-form button")
    await alice.sees("#pin", "Today’s bag")
    link = "document.querySelector('#pin a')"
    assert await alice.evaluate(f"[{link}.href, {link}.rel]") == [
        "https://shop.example/bag",
        "noopener noreferrer",
    ]
    await console.click("#unpin")
    await alice.wait_for("document.querySelector('#pin').hidden")
    assert alice.complaints == console.complaints == []


async def test_newest_comment_stays_in_sight(browser: Browser, site: Site) -> None:
    """The list follows the newest comment, also when the screen turns, until the reader scrolls up."""
    alice = await join(browser, site, "alice")
    for n in range(5):
        await say(alice, f"{n} " + "long " * 90)
        await alice.sees(".said", f"{n} long")
    list_ = "document.querySelector('#comments')"
    at_end = f"{list_}.scrollHeight - {list_}.scrollTop - {list_}.clientHeight < 2"
    for size in ((390, 844), (844, 390), (1280, 800)):
        await alice.resize(*size)
        await alice.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        assert await alice.evaluate(at_end)
    scrolled = f"new Promise((done) => {{ {list_}.onscroll = () => done(); {list_}.scrollTop = 0; }})"
    await alice.evaluate(scrolled)
    bob = await join(browser, site, "bob")
    await say(bob, "a new one")
    await alice.sees(".said", "a new one")
    assert await alice.evaluate(f"{list_}.scrollTop") == 0
    await alice.click("#jump")
    await alice.wait_for(at_end)
    assert alice.complaints == []


async def test_likes_are_counted_once_for_everyone(browser: Browser, site: Site) -> None:
    """Taps on one page are a total on every page."""
    console = await host(browser, site)
    alice, bob = await join(browser, site, "alice"), await join(browser, site, "bob")
    for _ in range(7):
        await alice.click("#like")
    await bob.wait_for("document.querySelector('#likes').textContent === '7'")
    await console.sees("#numbers", "7")
    await alice.wait_for("document.querySelector('#likes').textContent === '7'")


async def test_guest_keeps_its_name_in_the_tab(browser: Browser, site: Site) -> None:
    """Without ``?user=`` a guest is invented, and is the same after a reload."""
    page = await browser.new_page()
    names = []
    for _ in range(2):
        await page.goto(site.viewer)
        await page.wait_for("document.body.dataset.status === 'live'")
        names.append(await page.evaluate("sessionStorage.getItem('liveroom.user')"))
    assert names[0] == names[1]
    assert re.fullmatch(r"guest-[a-z0-9]{6}", names[0])
    assert page.complaints == []


async def test_room_that_closes_says_so(browser: Browser, site: Site) -> None:
    """The host closes the room, asked once; viewers see the end and can send nothing more."""
    console, alice = await host(browser, site), await join(browser, site, "alice")
    await console.click("#close-room")
    await confirm(console)
    await alice.sees("#over", "This live has ended")
    await alice.wait_for("document.querySelector('#comment-text').disabled")
    await console.sees("#room-state", "Closed")
    await alice.wait_for("document.body.dataset.status === 'closed'")
    assert alice.complaints == console.complaints == []
    late = await browser.new_page()
    await late.goto(f"{site.viewer}&user=bob")
    await late.sees("#over", "This live has ended")


async def test_restart_of_the_server_is_survived(browser: Browser, tmp_path: Path) -> None:
    """A viewer is told that it is cut, comes back by itself, keeps what it saw, and sees what follows."""
    with running(tmp_path / "data", "--drain-s", "1") as server:
        site = Site(server, "demo")
        alice = await join(browser, site, "alice", "Alice")
        await say(alice, "before")
        await alice.sees(".said", "before")
        server.stop()
        await alice.sees("#connection", "econnecting…")
        server.start()
        await alice.wait_for("document.body.dataset.status === 'live'")
        assert await alice.evaluate("document.querySelector('#connection').hidden")
        bob = await join(browser, site, "bob")
        await say(bob, "after")
        await alice.sees(".said", "after")
        said = "[...document.querySelectorAll('.said')].map((one) => one.textContent)"
        assert await alice.evaluate(said) == ["before", "after"]
        assert [text for text in alice.complaints if "CONNECTION_REFUSED" not in text] == []


async def test_tokens_open_the_pages(browser: Browser, tmp_path: Path) -> None:
    """Without ``--dev`` the token in the fragment opens both pages, and is never sent in an address."""
    secret = "s" * 32
    with running(tmp_path / "data", env={"LIVEROOM_TOKEN_SECRET": secret}, dev=False) as server:
        site = Site(server, "demo")

        def token(user: str, role: Role) -> str:
            return mint(secret.encode(), user, role=role, room="demo", name=user.title(), ttl_s=600)

        console, alice, guest = [await browser.new_page() for _ in range(3)]
        await console.goto(f"{site.host}#token={token('hanna', Role.HOST)}")
        await console.sees("#missing", "no room “demo” yet")
        await console.fill("#create-form [name=title]", "Spring sale")
        await console.click("#create-form button")
        await console.sees("#room-title", "Spring sale")
        await console.wait_for("document.body.dataset.status === 'live'")
        await alice.goto(f"{site.viewer}#token={token('alice', Role.VIEWER)}")
        await alice.wait_for("document.body.dataset.status === 'live'")
        await say(alice, "hello")
        await console.sees(".comment b", "Alice")
        await make_sale(console)
        await alice.sees(".sale h3", "Canvas bag")
        asked = "performance.getEntriesByType('resource').map((one) => one.name).join(' ')"
        for page in (console, alice):
            assert "token" not in await page.evaluate(asked)
        assert alice.complaints == []
        assert all("404" in text for text in console.complaints)  # asking for a room that is not there yet

        await guest.goto(f"{site.viewer}&user=alice")
        await guest.sees("#connection", "lacks its token")
        assert server.log.read_text().count("eyJ") == 0


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (844, 390)])
async def test_nothing_is_cut_off(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    """On a phone, either way up, and on a desktop nothing sticks out, and what one presses is on the screen."""
    console, alice = await host(browser, site), await join(browser, site, "alice")
    await make_sale(console, title="A bag with a very long name indeed, in natural white, large")
    await console.click("[data-action=open]")
    await console.wait_for("document.querySelector('[data-action=pause]')")  # the card was drawn anew
    await console.click("[data-action=pin]")
    await alice.sees("#pin", "A bag")
    for page in (console, alice):
        await page.resize(*size)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wide) == 0
    for selector in (".claim", "#comment-text", "#comment-form .send", "#like", ".top h1"):
        box = await alice.evaluate(
            f"""(() => {{
                const box = document.querySelector({selector!r}).getBoundingClientRect();
                return [box.left, box.top, box.right - innerWidth, box.bottom - innerHeight];
            }})()"""
        )
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= 0 and box[3] <= 0, (selector, box)
    await alice.fill("#comment-text", "hello")
    await alice.click("#comment-form .send")
    await alice.sees(".said", "hello")
    await alice.click(".claim")
    await alice.sees(".outcome", "it’s yours")
