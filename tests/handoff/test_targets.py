"""Where webhooks may lead."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from liveroom.server.handoff.ports import Secret
from liveroom.server.handoff.sender import Sender
from liveroom.server.handoff.signing import new_secret
from liveroom.server.handoff.targets import Allowed, CheckedResolver, TargetRefused, check_url, is_public
from liveroom.server.room.ports import Refused

from .conftest import Node, Partner, Shop, until

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "2002:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    """Private, loopback, link-local, shared, reserved and multicast addresses, also wrapped in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    """The open internet."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "partner.example/in",
        "http://partner.example/in",
        "ftp://partner.example/in",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///in",
        "https://user:secret@partner.example/in",
        "https://user@partner.example/in",
        "https://partner.example/in#part",
        "https://partner.example:0/in",
        "https://partner.example:99999/in",
        "https://partner.example:x/in",
        "https://partner.example/a b",
        "https://partner.example\\@127.0.0.1/",
        "https://partner.example/\r\nx: y",
        "https://pärtner.example/",
        "https://[::1",
        "https://localhost/in",
        "https://intranet/in",
        "https://app.localhost/in",
        "https://127.1/in",
        "https://2130706433/in",
        "https://0x7f000001/in",
        "https://0x7f.1/in",
        "https://1.1.1.1./in",
        "https://127%2e0%2e0%2e1/in",
        "https://partner..example/in",
        "https://partner.example;x/in",
        "https://.example/in",
        "https://" + "a" * 3000,
        *(f"https://[{address}]/" if ":" in address else f"https://{address}/" for address in PRIVATE),
    ],
)
def test_bad_urls(url: str) -> None:
    """Another scheme, another form, a private address: refused with a sentence."""
    with pytest.raises(Refused) as refused:
        check_url(url, Allowed())
    assert refused.value.code == "invalid"


def test_good_urls() -> None:
    """https to a name or a public address; what else is allowed, a setting says."""
    check_url("https://partner.example/in?a=b", Allowed())
    check_url("https://1.1.1.1:8443/", Allowed())
    check_url("http://partner.example/", Allowed(http=True))
    check_url("http://127.0.0.1:9/", Allowed(http=True, private=True))
    check_url("http://localhost:9/", Allowed(http=True, private=True))
    with pytest.raises(Refused):
        check_url("http://127.0.0.1/", Allowed(http=True))
    with pytest.raises(Refused):
        check_url("http://partner.example/", Allowed(private=True))


class Names(AbstractResolver):
    """A resolver that knows what a test tells it."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer with the addresses."""
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_name_with_any_private_address_is_refused() -> None:
    """One public address beside it does not help."""
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.1"):
        await CheckedResolver(Names("1.1.1.1", "10.0.0.1"), Allowed()).resolve("partner.example")
    found = await CheckedResolver(Names("1.1.1.1"), Allowed()).resolve("partner.example")
    assert [result["host"] for result in found] == ["1.1.1.1"]


async def test_a_public_name_that_leads_home_is_never_connected_to(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """The name passes when it is given; at delivery its address is checked, and nothing arrives."""
    allowed = Allowed(http=True)
    names = Names("127.0.0.1")
    node = await nodes(Sender(1.0, allowed, names), allowed=allowed).start()
    shop = await Shop(node).open()
    await node.webhooks.put("w", f"http://partner.example:{partner.port}/in", (), None)
    await shop.buy()
    health = await until(lambda: node.webhooks.get("w"), lambda w: w.failures >= 2)
    assert health.last_failure == "partner.example leads to 127.0.0.1, which is not a public address"
    assert names.asked
    assert not partner.asked


async def test_the_checked_address_is_the_one_connected_to(partner: Partner) -> None:
    """The name is resolved once, and the connection is made to that answer."""
    names = Names("127.0.0.1")
    sender = Sender(1.0, Allowed(http=True, private=True), names)
    await sender.open()
    secrets = (Secret(new_secret()),)
    outcome = await sender.send(f"http://partner.example:{partner.port}/in", secrets, "msg_1", b"{}", 0)
    await sender.close()
    assert outcome.kind == "delivered"
    assert names.asked == 1
    assert partner.asked[0].headers["host"] == f"partner.example:{partner.port}"


async def test_an_address_allowed_before_is_checked_again(
    nodes: Callable[..., Node], partner: Partner
) -> None:
    """An endpoint made under a laxer setting is not delivered to under a stricter one."""
    lax = nodes()
    await lax.webhooks.put("w", partner.url, (), None)
    strict = await nodes(allowed=Allowed(http=True)).start()
    await (await Shop(strict).open()).buy()
    health = await until(lambda: strict.webhooks.get("w"), lambda w: w.failures >= 1)
    assert "not a public address" in health.last_failure
    assert not partner.asked


def make_certificate(cert: Path, key: Path) -> None:
    """Make a certificate for loopback that no authority has signed."""
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """TLS is verified, whatever else is allowed."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    sender = Sender(5.0, Allowed(private=True))
    await sender.open()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    outcome = await sender.send(url, (Secret(new_secret()),), "msg_1", b"{}", 0)
    await sender.close()
    await runner.cleanup()
    assert outcome.kind == "failed"
    assert outcome.detail == "its certificate cannot be verified"
