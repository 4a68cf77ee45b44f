"""PROTOCOL.md against the code: every code, type, field and example."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from liveroom.protocol import commands, events, make_vectors, messages, names
from liveroom.protocol.errors import BYES, CLOSE_CODES, ERRORS

PAGE = Path(make_vectors.__file__).with_name("PROTOCOL.md").read_text(encoding="utf-8")
VECTORS = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))

HEAD_OF_STATUSES = "| `status` | what it means to the buyer |"
STRUCTS: dict[str, type[msgspec.Struct]] = {
    **{f"Command `{s.__struct_config__.tag}`": s for s in get_args(commands.Command)},
    **{f"Message `{s.__struct_config__.tag}`": s for s in get_args(messages.Message)},
    **{f"Event `{s.__struct_config__.tag}`": s for s in get_args(events.Event)},
    "Map `state`": messages.State,
    "Map `limits`": messages.Limits,
    "Map `order`": messages.Order,
    "Map `sale`": events.Sale,
    "Map `pin`": events.Pin,
    "Map `skipped`": messages.Skipped,
}


def section(heading: str) -> str:
    """Return the text under a heading of the page, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE, re.M | re.S)
    assert found is not None, f"PROTOCOL.md has no section {heading!r}"
    return found.group(1)


def rows(heading: str, header: str) -> list[list[str]]:
    """Return the cells of the table in a section that begins with ``header``."""
    found = re.search(rf"^{re.escape(header)}\n\|[-|]+\|\n((?:\|.*\n)*)", section(heading), re.M)
    assert found is not None, f"section {heading!r} has no table {header!r}"
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in found.group(1).splitlines()]


def type_words(field: msgspec.inspect.Field) -> str:
    """Say a field's type in the page's words."""
    words: dict[type[msgspec.inspect.Type], str] = {
        msgspec.inspect.StrType: "string",
        msgspec.inspect.LiteralType: "string",
        msgspec.inspect.IntType: "integer",
        msgspec.inspect.FloatType: "number",
        msgspec.inspect.BoolType: "boolean",
        msgspec.inspect.AnyType: "any",
        msgspec.inspect.ListType: "array",
        msgspec.inspect.DictType: "map",
        msgspec.inspect.StructType: "map",
    }
    kind = field.type
    inner = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    has_null = any(isinstance(t, msgspec.inspect.NoneType) for t in inner)
    said = sorted({words[type(t)] for t in inner if type(t) in words}, reverse=True)
    if said == ["number", "integer"]:
        said = ["number"]
    return " or ".join(said + ["null"] * has_null) + (", optional" if not field.required else "")


def fields_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return a struct's fields in order, with their types in the page's words."""
    shape = msgspec.inspect.type_info(struct)
    assert isinstance(shape, msgspec.inspect.StructType)
    return {field.encode_name: type_words(field) for field in shape.fields}


# --- types and fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", STRUCTS)
def test_every_field_is_documented(heading: str) -> None:
    """A section's table has exactly the fields of its struct, in order, with their types."""
    documented = {field.strip("`"): kind for field, kind, _ in rows(heading, "| field | type | meaning |")}
    assert documented == fields_of(STRUCTS[heading])
    assert list(documented) == list(fields_of(STRUCTS[heading]))


@pytest.mark.parametrize("heading", STRUCTS)
def test_every_literal_is_named(heading: str) -> None:
    """Every value of a field that has a fixed choice is named in its section."""
    shape = msgspec.inspect.type_info(STRUCTS[heading])
    assert isinstance(shape, msgspec.inspect.StructType)
    for field in shape.fields:
        kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, msgspec.inspect.LiteralType):
                missing = [value for value in kind.values if f"`{value}`" not in section(heading)]
                assert not missing, field.name


def test_sections_are_the_types() -> None:
    """There is a section for every command, message and event, and none for what does not exist."""
    documented = re.findall(r"^### ((?:Command|Message|Event|Map) `\w+`)$", PAGE, re.M)
    assert sorted(documented) == sorted(STRUCTS)
    assert {row[0].strip("`") for row in rows("Commands", "| command | answer |")} == {
        *commands.COMMAND_TYPES
    }
    assert {f"Command `{t}`" for t in commands.COMMAND_TYPES} <= STRUCTS.keys()
    assert {f"Message `{t}`" for t in messages.MESSAGE_TYPES} <= STRUCTS.keys()
    assert {f"Event `{t}`" for t in events.EVENT_TYPES} <= STRUCTS.keys()


def test_every_status_has_a_row() -> None:
    """Every outcome of a claim is explained."""
    documented = {row[0].strip("`") for row in rows("Message `ack`", "| `status` | meaning |")}
    assert documented == {*get_args(messages.ClaimStatus)}


def test_every_order_status_has_a_row() -> None:
    """What each status of an order means to its buyer is explained."""
    documented = {row[0].strip("`") for row in rows("The life of an order", HEAD_OF_STATUSES)}
    assert documented == {*get_args(messages.OrderStatus)}


# --- codes --------------------------------------------------------------------------------------------


def yes_no(flag: bool) -> str:
    """Say a flag in the page's words."""
    return "yes" if flag else "no"


def test_error_table() -> None:
    """The page's table of errors is the code's: code, HTTP status, retry and meaning."""
    assert rows("Errors", "| code | HTTP | again | meaning |") == [
        [f"`{code}`", str(error.status), yes_no(error.retry), error.meaning] for code, error in ERRORS.items()
    ]


def test_close_table() -> None:
    """The page's table of close codes is the code's: code, whether to come back, and meaning."""
    assert rows("Close codes", "| code | back | meaning |") == [
        [str(code), yes_no(close.reconnect), close.meaning] for code, close in CLOSE_CODES.items()
    ]


def test_close_ranges() -> None:
    """Our own close codes keep the promise of their range: 4000-4099 come back, 4100-4199 stay away."""
    for code, close in CLOSE_CODES.items():
        if code >= 4000:
            assert close.reconnect == (code < 4100), code


def test_bye_table() -> None:
    """Every code of ``bye`` is documented with the close code that follows it."""
    documented = rows("Bye", "| code | close code | what next |")
    assert {code.strip("`"): int(close) for code, close, _ in documented} == BYES


def test_refusals_are_errors() -> None:
    """Every status a join can be refused with is the status of some error code."""
    statuses = {row[0] for row in rows("Refusals", "| status | meaning | what next |")}
    assert {int(status) for status in statuses if status.isdigit()} <= {e.status for e in ERRORS.values()}


def test_numbers() -> None:
    """The limits the page names are those of ``names``."""
    limits = {
        field.strip("`"): meaning for field, _, meaning in rows("Map `limits`", "| field | type | meaning |")
    }
    for field, number in (
        ("message_bytes", names.MAX_MESSAGE_BYTES),
        ("comment_chars", names.MAX_COMMENT_CHARS),
        ("likes_per_message", names.MAX_LIKES_PER_MESSAGE),
    ):
        assert limits[field].endswith(f": {number}"), field
    assert f"{names.MAX_QUANTITY:,}" in section("Command `claim`")
    assert f"{names.MAX_COMMENT_CHARS} characters" in section("Command `comment`")
    assert f"over {names.MAX_LIKES_PER_MESSAGE} counts as {names.MAX_LIKES_PER_MESSAGE}" in section(
        "Command `like`"
    )
    assert f"at most {names.MAX_COMMAND_ID_CHARS} characters" in section("Commands")
    assert names.MAX_SAFE_INTEGER == 2**53 - 1
    assert "2^53 - 1" in section("Commands")
    assert names.ID_PATTERN in section("Connecting")


def test_subprotocols() -> None:
    """Subprotocols are named as the code names them."""
    documented = {row[0].strip("`") for row in rows("Connecting", "| subprotocol | encoding | frames |")}
    assert documented == {names.JSON_SUBPROTOCOL, names.MSGPACK_SUBPROTOCOL}
    assert f"`{names.BEARER_SUBPROTOCOL_PREFIX}<token>`" in section("Tokens")


# --- examples -----------------------------------------------------------------------------------------

EXAMPLES: list[tuple[str, str, str]] = re.findall(
    r"<!-- vector: (\w+)/(.+?) -->\n```json\n(.*?)```", PAGE, re.S
)


@pytest.mark.parametrize(("key", "name", "text"), EXAMPLES, ids=[f"{k}/{n}" for k, n, _ in EXAMPLES])
def test_examples_are_vectors(key: str, name: str, text: str) -> None:
    """An example on the page is the vector it is named after."""
    (vector,) = (vector for vector in VECTORS[key] if vector["name"] == name)
    assert json.loads(text) == vector["value"]


def test_every_json_block_is_an_example() -> None:
    """No JSON stands on the page that is not held equal to a vector."""
    assert PAGE.count("```json") == len(EXAMPLES)


def test_every_type_has_an_example() -> None:
    """Every command, message and event is shown by an example in its own section."""
    for heading in STRUCTS:
        if not heading.startswith("Map"):
            shown: list[Any] = re.findall(r"```json\n(.*?)```", section(heading), re.S)
            assert shown, heading
            assert all(f"`{json.loads(text)['type']}`" in heading for text in shown), heading


def test_links_lead_somewhere() -> None:
    """Every link inside the page has a heading to lead to."""
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
