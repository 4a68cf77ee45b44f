"""Where a webhook may lead: never into the platform's own network unless a setting allows it.

A partner names the target, and we connect to it from inside. So the URL is checked when it is given and again
before every attempt, and the addresses its name resolves to are checked in the resolver whose answer the
connection is then made to: a name that changes its address between check and use gains nothing.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from liveroom.server.room.ports import Refused

MAX_URL_CHARS = 2048
_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_COMPATIBLE = IPv6Network("::/96")


class Allowed(NamedTuple):
    """What targets are allowed beside https to public addresses."""

    private: bool = False
    http: bool = False


class TargetRefused(OSError):
    """The target's address is not one to connect to."""


def is_public(address: str) -> bool:
    """Tell whether an address is one of the open internet; what carries an IPv4 address is judged by that."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and (ip in _NAT64 or ip in _COMPATIBLE):
            inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.scope_id is not None:
            return False
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def check_url(url: str, allowed: Allowed) -> None:
    """Refuse a URL that must not be delivered to. Its name is resolved, and checked again, when it is used.

    :raises Refused: ``invalid``, naming what is wrong.
    """
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("invalid", f"url has at most {MAX_URL_CHARS} printable ASCII characters and no space")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise Refused("invalid", "url is not a URL") from None
    schemes = ("https", "http") if allowed.http else ("https",)
    if parts.scheme not in schemes:
        raise Refused("invalid", f"url begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not host or port == 0 or parts.username is not None or parts.password is not None or "#" in url:
        raise Refused("invalid", "url has a host, and neither a user, a password nor a fragment")
    _check_host(host, allowed)


def _check_host(host: str, allowed: Allowed) -> None:
    try:
        ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are addresses too, to some resolvers.
        last = host.rstrip(".").rpartition(".")[2]
        if not _NAME.fullmatch(host) or last.isdigit() or last.startswith("0x"):
            raise Refused("invalid", "url has a host that is neither a name nor an address") from None
        if not allowed.private and (last == "localhost" or "." not in host.rstrip(".")):
            raise Refused("invalid", f"url leads to {host}, which is not a public name") from None
        return
    if not allowed.private and not is_public(host):
        raise Refused("invalid", f"url leads to {host}, which is not a public address")


class CheckedResolver(AbstractResolver):
    """Resolves names with ``inner``, and refuses a name of which any address is not public."""

    def __init__(self, inner: AbstractResolver, allowed: Allowed) -> None:
        self._inner = inner
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name.

        :raises TargetRefused: it leads where it must not.
        :raises OSError: it cannot be resolved.
        """
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if not self._allowed.private and not is_public(result["host"]):
                raise TargetRefused(f"{host} leads to {result['host']}, which is not a public address")
        return found

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()
