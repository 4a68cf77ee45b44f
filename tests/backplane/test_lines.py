"""The room message format, as the scripts write it."""

from __future__ import annotations

import pytest

from liveroom.server.backplane.lines import parse
from liveroom.server.room.log import Lane


def test_a_message_is_read_line_by_line() -> None:
    """Facts and comments keep their order, orders their user, state is apart."""
    delivery = parse(b'1 ep 8 2 1700000000000\nf{"a":1}\nc{"b":2}\noann {"order":"x y"}\ns{"likes":3}')
    assert (delivery.epoch, delivery.first, delivery.at) == ("ep", 8, 1_700_000_000_000)
    assert [(entry.lane, entry.json) for entry in delivery.entries] == [
        (Lane.FACT, b'{"a":1}'),
        (Lane.CHATTER, b'{"b":2}'),
    ]
    assert delivery.orders == [("ann", b'{"order":"x y"}')]
    assert delivery.state == b'{"likes":3}'


@pytest.mark.parametrize("message", [b"2 ep 8 2 17\nf{}", b"", b"1 ep", b"hello\nf{}"])
def test_another_format_is_refused(message: bytes) -> None:
    """A message of a later version, or none of ours, is not guessed at."""
    with pytest.raises(ValueError, match=r"."):
        parse(message)
