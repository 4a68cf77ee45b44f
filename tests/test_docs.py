"""The docs tell what the code does: settings, routes, commands and links are held against it.

``python -m tests.test_docs`` writes the generated tables.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from liveroom.server import cli
from liveroom.server.api.routes import ROUTES
from liveroom.server.config import SETTINGS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "protocol" / "PROTOCOL.md", *sorted((ROOT / "docs").glob("*.md"))]


def settings_table() -> str:
    """The settings as a table."""
    rows = ["| flag | environment | default | what |", "|---|---|---|---|"]
    for s in SETTINGS:
        default = "off" if s.default is False else "" if s.default == "" else f"`{s.default}`"
        rows.append(f"| {f'`{s.option}`' if s.flag else ''} | `{s.env}` | {default} | {s.help} |")
    return "\n".join(rows)


def routes_table() -> str:
    """The routes as a table."""
    rows = ["| route | least role | `Idempotency-Key` | what |", "|---|---|---|---|"]
    for route in ROUTES:
        role = route.role.name.lower() if route.role else "public"
        what = (route.handler.__doc__ or "").strip().splitlines()[0]
        rows.append(f"| `{route.method} {route.path}` | {role} | {'yes' if route.keyed else ''} | {what} |")
    return "\n".join(rows)


GENERATED = {"configuration.md": ("settings", settings_table), "api.md": ("routes", routes_table)}


def _with_table(name: str) -> str:
    mark, table = GENERATED[name]
    text = (ROOT / "docs" / name).read_text()
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{table()}\n{end}{after}"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_tables_are_what_the_code_says(name: str) -> None:
    """A setting or a route that changes without its page fails here."""
    assert (ROOT / "docs" / name).read_text() == _with_table(name)


def _commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
            joined = block.replace("\\\n", " ")
            found += [line.strip() for line in joined.splitlines() if line.strip().startswith("liveroom ")]
    return sorted(set(found))


@pytest.mark.parametrize("line", _commands())
def test_every_liveroom_command_in_the_docs_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subcommands and flags exist and the words fit; nothing is run."""
    run: list[argparse.Namespace] = []
    real = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *args: object, **kwargs: object) -> argparse.Namespace:
        given = real(self, *args, **kwargs)  # type: ignore[arg-type]
        given.func = lambda given: run.append(given) or 0
        return given  # type: ignore[no-any-return]

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    assert cli.main(shlex.split(line, comments=True)[1:]) == 0
    assert run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_make_targets_named_in_the_docs_exist() -> None:
    """``make x`` in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets, page


if __name__ == "__main__":
    for name in GENERATED:
        (ROOT / "docs" / name).write_text(_with_table(name))
