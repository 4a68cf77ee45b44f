"""A chat of a busy room, made up by rule: the same lines every time, for whoever has no recording.

Pure. Like what such chats are made of: short lines, a few words said over and over when something happens,
questions in several languages, emoji in rows, now and then a long one.
"""

from __future__ import annotations

import random
from typing import NamedTuple

MEAN_PER_S = 15.0
BURST_EVERY_S = 20.0
BURST_S = 2.5
BURST_TIMES = 5.0  # the mean, while it lasts
QUIET_TIMES = (BURST_EVERY_S - BURST_TIMES * BURST_S) / (BURST_EVERY_S - BURST_S)

_SHOUTS = (
    "wow",
    "omg",
    "yesss",
    "nooo",
    "lol",
    "hahaha",
    "GG",
    "first",
    "so cute",
    "want",
    "take my money",
    "666",
)
_EMOJI = ("🔥", "😍", "😂", "👏", "❤️", "🎉", "🙏", "😭", "💯", "🛒", "👀", "✨")
_CODES = (":fire:", ":heart:", ":clap:", "<3", "xD", "KEKW", "PogU")
_ITEMS = (
    "red dress",
    "blue jacket",
    "lipstick",
    "headphones",
    "the big pan",
    "sneakers",
    "that bag",
    "rice cooker",
)
_CITIES = ("Berlin", "Lagos", "São Paulo", "Manila", "Toronto", "Mumbai", "Kraków", "Jakarta")
_QUESTIONS = (
    "how much is the {item}?",
    "is the {item} true to size",
    "does it ship to {city}?",
    "do you have the {item} in M",
    "hello from {city}",
    "can you show the {item} again please",
    "is there a discount code for the {item}",
    "what is the {item} made of",
    "I bought the {item} last week and it is really good",
    "when does the sale start",
    "link for the {item}???",
)
_ABROAD = (
    "这个多少钱",
    "有没有大码的呀",
    "主播好漂亮",
    "已下单，等发货",
    "これはいくらですか？",
    "可愛い！！",
    "サイズはありますか",
    "배송 얼마나 걸려요?",
    "너무 예뻐요",
    "¿hacen envíos a México?",
    "quanto custa o frete?",
    "ราคาเท่าไหร่คะ",
    "сколько стоит доставка",
    "bao nhiêu tiền vậy shop",
)
_LONG = (
    "I ordered two of the {item} in the last stream, one for me and one for my sister in {city}, and both came "
    "within four days, packed well and exactly as shown, so if you are not sure yet: just take it, at this price "
    "it will be gone in a minute like the last time"
)


class Line(NamedTuple):
    """A comment: when, in ms from the start, and what."""

    t_ms: int
    text: str


def make_chat(seconds: float, seed: int = 1) -> list[Line]:
    """Make up a chat of this length."""
    chance = random.Random(seed)
    lines: list[Line] = []
    now, theme = 0.0, "wow"
    while True:
        bursting = now % BURST_EVERY_S > BURST_EVERY_S - BURST_S
        rate = MEAN_PER_S * (BURST_TIMES if bursting else QUIET_TIMES)
        now += chance.expovariate(rate)
        if now > seconds:
            return lines
        if not bursting:
            theme = chance.choice(_SHOUTS + _EMOJI)
        lines.append(
            Line(int(now * 1000), _say(chance, theme if bursting and chance.random() < 0.6 else None))
        )


def _say(chance: random.Random, theme: str | None) -> str:
    if theme is not None:  # something has happened, and everybody says the same
        return _drawn_out(chance, theme)
    kind = chance.random()
    if kind < 0.35:
        return _drawn_out(chance, chance.choice(_SHOUTS))
    if kind < 0.50:
        return chance.choice(_EMOJI + _CODES) * chance.randint(1, 8)
    if kind < 0.80:
        return chance.choice(_QUESTIONS).format(item=chance.choice(_ITEMS), city=chance.choice(_CITIES))
    if kind < 0.98:
        return chance.choice(_ABROAD) + chance.choice(("", "", "!", "😂", "🙏🙏"))
    return _LONG.format(item=chance.choice(_ITEMS), city=chance.choice(_CITIES))


def _drawn_out(chance: random.Random, text: str) -> str:
    how = chance.random()
    if how < 0.4:
        return text
    if how < 0.7:
        return text + text[-1] * chance.randint(1, 12)
    return " ".join([text] * chance.randint(2, 10))
