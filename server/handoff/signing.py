"""Signatures after Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec). Pure.

Signed is "<id>.<timestamp>.<body>" with HMAC-SHA256; the header lists one "v1,<base64>" for every secret
that is good now, so that a receiver may change over at any time while a secret is rotated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from liveroom.server.handoff.ports import Secret
from liveroom.server.room.ports import Refused

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64  # the specification's: 192 to 512 bits
MAX_SECRETS = 5  # that sign at a time


def new_secret() -> str:
    """Make a secret of 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key a secret stands for.

    :raises Refused: ``invalid``; the message does not repeat the secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise Refused(
            "invalid", f"a secret is {PREFIX} and the base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
        )
    return key


def good_secrets(all: tuple[Secret, ...], now: int) -> tuple[Secret, ...]:
    """Return those that sign at ``now`` (ms), the current one first."""
    return tuple(secret for secret in all if secret.until is None or secret.until > now)


def rotate(all: tuple[Secret, ...], new: str, now: int, keep_ms: int) -> tuple[Secret, ...]:
    """Put a new secret first; the one it replaces signs beside it for ``keep_ms`` more.

    :raises Refused: ``wrong_state``, too many secrets are good already.
    """
    old = good_secrets(all, now)
    if len(old) >= MAX_SECRETS:
        raise Refused("wrong_state", f"{len(old)} secrets are good already; wait until the oldest has ended")
    return (Secret(new), *(Secret(s.secret, now + keep_ms if s.until is None else s.until) for s in old))


def headers(secrets: tuple[Secret, ...], id: str, now: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt at ``now`` (ms); ``id`` is the same for every attempt."""
    timestamp = str(now // 1000)
    signed = f"{id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(key_of(s.secret), signed, hashlib.sha256)).decode()
        for s in good_secrets(secrets, now)
    ]
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
