"""Signatures, secrets and their rotation."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from liveroom.server.handoff import signing
from liveroom.server.handoff.ports import Secret
from liveroom.server.room.ports import Refused

from .conftest import Node, Partner, Received, Shop

# The example that libraries of the specification are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_known_signature() -> None:
    """Id, timestamp in seconds and body are signed as the specification's libraries do."""
    headers = signing.headers((Secret(SECRET),), ID, AT_S * 1000 + 999, BODY)
    assert headers == {
        "webhook-id": ID,
        "webhook-timestamp": str(AT_S),
        "webhook-signature": SIGNATURE,
    }
    assert Received(headers, BODY).is_signed_with(SECRET)


def test_rotation_signs_with_both_until_the_old_one_ends() -> None:
    """While a secret is rotated both sign, the new one first; then the new one alone."""
    old, new = signing.new_secret(), signing.new_secret()
    both = signing.rotate((Secret(old),), new, 1000, 500)
    during, after = signing.headers(both, "msg_1", 1499, b"x"), signing.headers(both, "msg_1", 1500, b"x")
    assert [len(h["webhook-signature"].split(" ")) for h in (during, after)] == [2, 1]
    assert Received(during, b"x").is_signed_with(old)
    assert Received(during, b"x").is_signed_with(new)
    assert not Received(after, b"x").is_signed_with(old)
    assert Received(after, b"x").is_signed_with(new)


def test_too_many_rotations_are_refused() -> None:
    """A secret that a partner may still use never drops out early."""
    secrets: tuple[Secret, ...] = (Secret(signing.new_secret()),)
    for _ in range(signing.MAX_SECRETS - 1):
        secrets = signing.rotate(secrets, signing.new_secret(), 0, 1000)
    with pytest.raises(Refused, match="already"):
        signing.rotate(secrets, signing.new_secret(), 0, 1000)
    assert len(signing.rotate(secrets, signing.new_secret(), 1000, 1000)) == 2


@pytest.mark.parametrize(
    "bad",
    ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", "c" * 40, "whsec_" + "A" * 400, "whsec_Ä" + "A" * 40],
)
def test_bad_secrets_are_refused_and_not_repeated(bad: str) -> None:
    """A secret is base64 of 24 to 64 bytes after its prefix."""
    with pytest.raises(Refused) as refused:
        signing.key_of(bad)
    assert refused.value.code == "invalid"
    assert not bad or bad == "whsec_" or bad not in refused.value.message


def test_a_secret_is_not_printed() -> None:
    """What is logged by accident does not hold it."""
    assert SECRET not in repr(Secret(SECRET))


async def test_rotated_while_delivering(node: Node, shop: Shop, partner: Partner) -> None:
    """After a rotation a receiver with either secret can verify."""
    _, old = await node.webhooks.put("w", partner.url, (), None)
    _, new = await node.webhooks.rotate("w")
    assert old is not None
    await shop.buy()
    await partner.until(lambda p: p.taken)
    assert partner.taken[0].is_signed_with(old)
    assert partner.taken[0].is_signed_with(new)


async def test_the_old_secret_ends(nodes: Callable[..., Node], partner: Partner) -> None:
    """When the time of the old secret is over, it signs no more."""
    node = await nodes(rotation_s=0.0).start()
    shop = await Shop(node).open()
    _, old = await node.webhooks.put("w", partner.url, (), SECRET)
    assert old is None
    _, new = await node.webhooks.rotate("w")
    await shop.buy()
    await partner.until(lambda p: p.taken)
    assert not partner.taken[0].is_signed_with(SECRET)
    assert partner.taken[0].is_signed_with(new)


async def test_put_with_another_secret_rotates(node: Node, partner: Partner) -> None:
    """A secret given anew replaces the old one as a rotation does; the same one changes nothing."""
    await node.webhooks.put("w", partner.url, (), SECRET)
    same, _ = await node.webhooks.put("w", partner.url, (), SECRET)
    assert [secret.secret for secret in same.secrets] == [SECRET]
    other = signing.new_secret()
    changed, _ = await node.webhooks.put("w", partner.url, (), other)
    assert [secret.secret for secret in changed.secrets] == [other, SECRET]
    assert changed.secrets[1].until is not None
    kept, made = await node.webhooks.put("w", partner.url, (), None)
    assert made is None
    assert kept.secrets == changed.secrets


async def test_a_secret_is_no_word_of_the_logs(
    node: Node, shop: Shop, partner: Partner, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither deliveries nor failures write it down."""
    caplog.set_level("DEBUG")
    await node.webhooks.put("w", partner.url, (), SECRET)
    await partner.stop()
    await shop.buy()
    await partner.start()
    await partner.until(lambda p: p.taken)
    assert SECRET[6:] not in caplog.text
    assert json.loads(partner.taken[0].body)["type"] == "order.placed"
