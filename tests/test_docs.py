"""The pages and the code say the same: links lead somewhere, and what is documented is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperOption

from lacuna.commands import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for path in {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("editors/**/*.md"), *ROOT.glob("*/*.md")}
    if not {"node_modules", ".venv"} & set(path.relative_to(ROOT).parts)
)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def slug(heading: str) -> str:
    """The anchor that a forge makes of a heading."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return plain.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE) if anchor else []
        if not file.exists() or (anchor and anchor not in map(slug, headings)):
            lost.append(target)
    assert not lost


def targets() -> set[str]:
    """The targets of the Makefile that say what they do."""
    return set(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_make_target_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    mentioned = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert mentioned - targets() == set()


def test_each_make_target_is_explained_to_contributors() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `make ([a-z-]+)` \|", page, flags=re.MULTILINE))
    assert table == targets() - {"help"}


def test_each_lock_is_explained_to_users() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `requirements/(\w+)\.txt` \|", page, flags=re.MULTILINE)) == {
        lock.stem for lock in (ROOT / "requirements").glob("*.txt")
    }


def commands(command: Any, name: str = "lacuna") -> dict[str, Any]:
    """Each command of the command line by its whole name; a group that only holds others is left out."""
    found = {} if command.name and getattr(command, "commands", None) and command.name != "lacuna" else {name: command}
    for inner in getattr(command, "commands", {}).values():
        found |= commands(inner, f"{name} {inner.name}")
    return found


COMMANDS = commands(typer.main.get_command(app))


def section(page: str, heading: str) -> str:
    """The text under one second-level heading of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/{page} has no section {heading!r}"
    return found[1]


def first_cells(text: str) -> set[str]:
    """What stands in backticks at the beginning of each row of a table."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_a_command_is_documented(name: str) -> None:
    visible = [one for one in COMMANDS[name].params if isinstance(one, TyperOption) and not one.hidden]
    options = {option for one in visible for option in one.opts if option != "--help"}
    assert {cell.split()[0] for cell in first_cells(section("cli.md", name))} == options


def test_each_documented_command_exists() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (lacuna.*)$", page, flags=re.MULTILINE)) == set(COMMANDS)


def test_each_fixture_that_a_rule_of_suggestions_names_exists() -> None:
    named_there = set(re.findall(r"`(test_\w+)`", section("suggestions.md", "What holds it")))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named_there - set(re.findall(r"^(?:async )?def (test_\w+)", written, re.MULTILINE)) == set()
