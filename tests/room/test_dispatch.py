"""Commands: what each does, and every way it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from liveroom.protocol.commands import COMMAND_TYPES, Cancel, Claim, Comment, Like, Ping, Seen
from liveroom.protocol.errors import ERRORS
from liveroom.protocol.messages import Ack, Error, Pong
from liveroom.protocol.names import MAX_COMMENT_CHARS, MAX_LIKES_PER_MESSAGE, MAX_QUANTITY
from liveroom.server.room.desk import Ids, RoomDesk
from liveroom.server.room.dispatch import Dispatch, clean_comment, refusal_of
from liveroom.server.room.hub import Hub
from liveroom.server.room.identity import COMMAND_ROLES, Role
from liveroom.server.room.ports import Refused, Unavailable, Viewer
from tests.room.fakes import LIMITS, SETTINGS, FakeStore, FakeViewer, turns
from tests.virtual_time import on_virtual_time


class _Claims:
    """A claim desk that answers what the test says, at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Claim | Cancel]] = []
        self.answer: Ack | Refused = Ack(id=1)

    def claim(self, room: str, viewer: Viewer, command: Claim, done: Callable[[Ack | Refused], None]) -> None:
        """See ``ClaimStore``."""
        self.asked.append((room, viewer.user, command))
        done(self.answer)

    def cancel(
        self, room: str, viewer: Viewer, command: Cancel, done: Callable[[Ack | Refused], None]
    ) -> None:
        """See ``ClaimStore``."""
        self.asked.append((room, viewer.user, command))
        done(self.answer)


class _Room:
    """A room with one viewer who sends commands."""

    def __init__(self, hub: Hub, desk: RoomDesk, store: FakeStore) -> None:
        self.hub, self.desk, self.store = hub, desk, store
        self.claims = _Claims()
        self.dispatch = Dispatch(hub, self.claims)
        self.viewer = self.join("ann")

    @classmethod
    async def make(cls, comments_per_s: float = 40.0) -> _Room:
        """Load a room."""
        store = FakeStore()
        store.add("show")
        hub = Hub(store, SETTINGS, comments_per_s=comments_per_s, create_rooms=False, ids=Ids("p"))
        return cls(hub, await hub.desk("show"), store)

    def join(self, user: str) -> FakeViewer:
        """Let a viewer in."""
        viewer = FakeViewer(self.desk.room, user)
        viewer.open()
        return viewer

    def send(self, command: Any, viewer: FakeViewer | None = None) -> list[Any]:
        """Carry out a command; returns what its sender was replied at once."""
        viewer = viewer or self.viewer
        viewer.replies.clear()
        self.dispatch(self.desk, viewer, command, asyncio.get_running_loop().time())
        return viewer.replies

    async def close(self) -> None:
        """Close the room."""
        await self.store.close("show")
        await asyncio.sleep(1)


def _code(replies: list[Any]) -> str:
    (error,) = replies
    assert isinstance(error, Error)
    assert error.code in ERRORS
    return error.code


# --- comment ----------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_comment_is_shown_to_the_room_and_acknowledged_once() -> None:
    """The ack names the comment, the text is the cleaned one, and the name is the viewer's own."""
    room = await _Room.make()
    other = room.join("bob")
    assert room.send(Comment(id="m-1", text="  hello \U0001f469\u200d\U0001f467 ")) == []
    await asyncio.sleep(1)
    (event,) = other.client.events
    assert (event["user"], event["name"], event["text"]) == ("ann", "Ann", "hello \U0001f469\u200d\U0001f467")
    assert room.viewer.replies == [Ack(id="m-1", shown=True, comment=event["comment"])]


@on_virtual_time
async def test_a_comment_over_the_display_budget_is_acknowledged_as_not_shown() -> None:
    """Its author is told, and nobody sees it."""
    room = await _Room.make(comments_per_s=1.0)
    room.send(Comment(id=1, text="one"))
    await turns()
    room.send(Comment(id=2, text="two"))
    await asyncio.sleep(1)
    assert room.viewer.replies == [Ack(id=2, shown=False)]
    assert [event["text"] for event in room.viewer.client.events] == ["one"]


@pytest.mark.parametrize(
    ("text", "code"),
    [("x" * (MAX_COMMENT_CHARS + 1), "too_long"), (" \n\t ", "empty"), ("a\x00b", "invalid")],
)
@on_virtual_time
async def test_a_comment_that_cannot_be_shown_is_refused(text: str, code: str) -> None:
    """The refusal carries the sender's id, and costs none of its rate."""
    room = await _Room.make()
    for _ in range(LIMITS.comments_burst + 1):
        replies = room.send(Comment(id="m-1", text=text))
        assert _code(replies) == code
        assert replies[0].id == "m-1"
    assert room.send(Comment(id=2, text="fine")) == []
    await asyncio.sleep(1)
    assert [event["text"] for event in room.viewer.client.events] == ["fine"]


@on_virtual_time
async def test_who_comments_too_often_is_told_when_again() -> None:
    """Beyond the burst ``rate_limited``, for the user over all its connections; after the wait it works."""
    room = await _Room.make()
    second_tab = room.join("ann")
    for n in range(LIMITS.comments_burst):
        assert room.send(Comment(id=n, text="hi"), (room.viewer, second_tab)[n % 2]) == []
    replies = room.send(Comment(id=9, text="hi"))
    assert _code(replies) == "rate_limited"
    wait = replies[0].retry_after_ms
    assert 0 < wait <= 1001
    assert _code(room.send(Comment(id=9, text="hi"), second_tab)) == "rate_limited"
    assert room.send(Comment(id=1, text="hi"), room.join("bob")) == []
    await asyncio.sleep(wait / 1000)
    assert room.send(Comment(id=10, text="hi")) == []


@on_virtual_time
async def test_a_comment_in_a_closed_room_is_refused() -> None:
    """``room_closed``, before anything is asked of the store."""
    room = await _Room.make()
    await room.close()
    assert _code(room.send(Comment(id=1, text="hi"))) == "room_closed"
    assert room.store.named("append") == []


@on_virtual_time
async def test_a_comment_while_the_store_is_away_is_refused() -> None:
    """``unavailable`` with the time to wait."""
    room = await _Room.make()
    room.store.away = True
    room.send(Comment(id=1, text="hi"))
    await turns()
    assert _code(room.viewer.replies) == "unavailable"
    assert room.viewer.replies == [
        Error(code="unavailable", message=Unavailable().message, id=1, retry_after_ms=1000)
    ]


# --- like -------------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_likes_are_counted_up_to_the_limit_and_not_answered() -> None:
    """More than a message may carry counts as what it may carry."""
    room = await _Room.make()
    assert room.send(Like(n=3)) == room.send(Like(n=MAX_LIKES_PER_MESSAGE + 1000)) == []
    await asyncio.sleep(1)
    assert room.store.likes == 3 + MAX_LIKES_PER_MESSAGE


@on_virtual_time
async def test_likes_that_are_none_are_refused() -> None:
    """Zero and less is ``invalid`` and counts nothing."""
    room = await _Room.make()
    for n in (0, -5):
        replies = room.send(Like(n=n))
        assert _code(replies) == "invalid"
        assert replies[0].id is UNSET
    await asyncio.sleep(1)
    assert room.store.likes == 0


@on_virtual_time
async def test_who_likes_too_often_is_told_when_again() -> None:
    """Ten messages at once, then ``rate_limited``; those refused count nothing."""
    room = await _Room.make()
    for _ in range(int(LIMITS.like_messages_per_s)):
        assert room.send(Like(n=1)) == []
    replies = room.send(Like(n=1))
    assert _code(replies) == "rate_limited"
    await asyncio.sleep(replies[0].retry_after_ms / 1000)
    assert room.send(Like(n=1)) == []
    await asyncio.sleep(1)
    assert room.store.likes == LIMITS.like_messages_per_s + 1


@on_virtual_time
async def test_likes_of_a_closed_room_count_nothing() -> None:
    """They are not answered, as likes never are."""
    room = await _Room.make()
    await room.close()
    assert room.send(Like(n=1)) == []
    await asyncio.sleep(1)
    assert room.store.likes == 0


# --- claim and cancel -------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_claim_goes_to_the_claim_desk_and_its_answer_back() -> None:
    """A reserved unit has the new stock told soon; any other answer does not ask for a beat."""
    room = await _Room.make()
    command = Claim(id="k", sale="s-1", quantity=2)
    room.claims.answer = Ack(id="k", status="sold_out", left=0)
    await asyncio.sleep(60)
    beats = len(room.store.named("beat"))
    assert room.send(command) == [room.claims.answer]
    await asyncio.sleep(1)
    assert len(room.store.named("beat")) == beats
    room.claims.answer = Ack(id="k", status="reserved", order="o-1", left=3)
    assert room.send(command) == [room.claims.answer]
    await asyncio.sleep(1)
    assert len(room.store.named("beat")) > beats
    assert room.claims.asked == [("show", "ann", command)] * 2


@pytest.mark.parametrize(
    ("sale", "quantity", "code"),
    [
        ("s-1", 0, "invalid"),
        ("s-1", -1, "invalid"),
        ("s-1", MAX_QUANTITY + 1, "invalid"),
        ("no such sale", 1, "unknown_sale"),
        ("", 1, "unknown_sale"),
        ("s" * 65, 1, "unknown_sale"),
    ],
)
@on_virtual_time
async def test_a_claim_that_makes_no_sense_never_reaches_the_desk(
    sale: str, quantity: int, code: str
) -> None:
    """It is refused with its id at once."""
    room = await _Room.make()
    replies = room.send(Claim(id=7, sale=sale, quantity=quantity))
    assert _code(replies) == code
    assert replies[0].id == 7
    assert room.claims.asked == []


@on_virtual_time
async def test_the_largest_quantity_is_asked_for() -> None:
    """The bounds themselves are within."""
    room = await _Room.make()
    room.send(Claim(id=1, sale="s-1", quantity=1))
    room.send(Claim(id=2, sale="s-1", quantity=MAX_QUANTITY))
    assert len(room.claims.asked) == 2


@pytest.mark.parametrize(
    "command", [Claim(id=7, sale="s-1", quantity=1), Cancel(id=7, order="o-1")], ids=repr
)
@on_virtual_time
async def test_a_refusal_of_the_claim_desk_is_told_with_the_id(command: Claim | Cancel) -> None:
    """Code, message and waiting time are those of the refusal."""
    room = await _Room.make()
    room.claims.answer = Unavailable("away", 500)
    assert room.send(command) == [Error(code="unavailable", message="away", id=7, retry_after_ms=500)]


@on_virtual_time
async def test_a_cancel_goes_to_the_claim_desk_and_its_answer_back() -> None:
    """An ack is handed on."""
    room = await _Room.make()
    command = Cancel(id="k", order="o-1")
    assert room.send(command) == [room.claims.answer]
    assert room.claims.asked == [("show", "ann", command)]


@on_virtual_time
async def test_a_cancel_of_what_can_be_no_order_never_reaches_the_desk() -> None:
    """``unknown_order``, with the id."""
    room = await _Room.make()
    replies = room.send(Cancel(id="k", order="no such/order"))
    assert _code(replies) == "unknown_order"
    assert replies[0].id == "k"
    assert room.claims.asked == []


# --- ping and seen ----------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_ping_is_answered_with_the_store_s_clock() -> None:
    """The client's own time comes back as it came."""
    room = await _Room.make()
    for t in (12, -1, 0.5):
        assert room.send(Ping(t=t)) == [Pong(t=t, now=room.store.now_ms())]


@on_virtual_time
async def test_a_seen_report_is_noted_and_not_answered() -> None:
    """The last lag is kept for the metrics."""
    room = await _Room.make()
    assert room.send(Seen(offset=3, lag_ms=40)) == []
    assert room.dispatch.seen_lag_ms == 40.0


@on_virtual_time
async def test_every_command_is_counted() -> None:
    """The counts have a row for every command, and each command counts in its own."""
    room = await _Room.make()
    assert set(room.dispatch.counts) == set(COMMAND_TYPES)
    commands = [
        Comment(id=1, text=""),
        Like(n=0),
        Claim(id=1, sale="", quantity=1),
        Cancel(id=1, order=""),
        Ping(t=1),
        Seen(offset=1, lag_ms=1),
    ]
    for command in commands:
        room.send(command)
    assert room.dispatch.counts == dict.fromkeys(COMMAND_TYPES, 1)


# --- the text of a comment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("hello", "hello"),
        ("  both ends \u3000", "both ends"),
        ("多少钱？", "多少钱？"),
        ("مرحبا", "مرحبا"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
        ("no\u00a0break", "no\u00a0break"),
        ("x" * MAX_COMMENT_CHARS, "x" * MAX_COMMENT_CHARS),
    ],
)
def test_a_text_to_show_is_kept(text: str, clean: str) -> None:
    """White space at the ends goes; every script and joined emoji stay as they are."""
    assert clean_comment(text) == clean


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "empty", "text"),
        ("\u3000\t\n", "empty", "text"),
        ("x" * (MAX_COMMENT_CHARS + 1), "too_long", str(MAX_COMMENT_CHARS + 1)),
        (" " * (MAX_COMMENT_CHARS + 1), "too_long", str(MAX_COMMENT_CHARS)),
        ("a\x00b", "invalid", "U+0000"),
        ("a\nb", "invalid", "U+000A"),
        ("a\x1bb", "invalid", "U+001B"),
        ("a\x7fb", "invalid", "U+007F"),
        ("a\x85b", "invalid", "U+0085"),
        ("a\u2028b", "invalid", "U+2028"),
        ("a\u2029b", "invalid", "U+2029"),
        ("\u202egnp.exe", "invalid", "U+202E"),
        ("a\u2066b", "invalid", "U+2066"),
        ("a\ud800b", "invalid", "U+D800"),
    ],
)
def test_a_text_that_cannot_be_shown_is_refused(text: str, code: str, says: str) -> None:
    """The refusal says what is wrong with it: its length, or the character."""
    with pytest.raises(Refused, match=f"(?i){says.replace('+', '[+]')}") as refused:
        clean_comment(text)
    assert refused.value.code == code


@given(st.text(max_size=40))
def test_what_is_shown_is_one_line_that_can_be_encoded(text: str) -> None:
    """Whatever is typed, what passes has no end of line and no surrogate, and passes again unchanged."""
    try:
        clean = clean_comment(text)
    except Refused as refused:
        assert refused.code in ("empty", "invalid")
        return
    assert len(clean.splitlines()) == 1
    assert clean.encode().decode() == clean == clean_comment(clean)


def test_a_refusal_without_an_id_or_a_wait_says_neither() -> None:
    """The error message has only what is known."""
    assert refusal_of(None, Refused("invalid", "no")) == Error(code="invalid", message="no")
    assert refusal_of(3, Unavailable("away", 5)) == Error(
        code="unavailable", message="away", id=3, retry_after_ms=5
    )


@pytest.mark.parametrize(
    "command",
    [Comment(1, "hi"), Like(1), Claim(1, "s1", 1), Cancel(1, "o1"), Ping(1), Seen(1, 1)],
    ids=lambda command: type(command).__name__,
)
@on_virtual_time
async def test_a_command_asks_for_its_role(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role below the command's is refused with `forbidden`, whatever the command."""
    for name in COMMAND_ROLES:
        monkeypatch.setitem(COMMAND_ROLES, name, Role.HOST)
    room = await _Room.make()
    (refused,) = room.send(command)
    assert (refused.code, refused.id) == ("forbidden", getattr(command, "id", UNSET))
    assert room.claims.asked == []
