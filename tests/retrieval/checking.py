"""A fixture of several files with one caret in, what retrieval finds there out.

A fixture is a text in which a line `=== path` opens each file; `▮` is the cursor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

from retrieval.index import index
from retrieval.index.index import Index
from retrieval.search import search
from retrieval.search.search import Query, Snippet

CARET = "▮"


def files(fixture: str) -> dict[str, str]:
    """Path → text, in the fixture's order."""
    found: dict[str, list[str]] = {}
    path = ""
    for line in dedent(fixture).strip("\n").split("\n"):
        if line.startswith("=== "):
            path = line[4:].strip()
            found[path] = []
        else:
            found[path].append(line)
    return {path: "\n".join(lines).strip("\n") + "\n" for path, lines in found.items()}


def write(root: Path, fixture: str) -> None:
    """Writes the fixture's files, carets left out."""
    for path, text in files(fixture).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(CARET, ""), encoding="utf-8")


def opened(fixture: str) -> tuple[Query, Index]:
    """The query at the fixture's caret and an index of its files."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), fixture)
        made = index.build(Path(folder))
    path, text = next((path, text) for path, text in files(fixture).items() if CARET in text)
    return Query(path, text.replace(CARET, ""), text.index(CARET)), made


def ranked(fixture: str) -> tuple[Snippet, ...]:
    """What `search.rank` finds at the caret, best first."""
    return definitions(search.rank(*opened(fixture)))


def definitions(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    """The snippets that are definitions, without stretches of lines."""
    return tuple(one for one in snippets if one.source not in ("usage", "edit", "code"))


def check(fixture: str, *expected: str) -> None:
    """The best snippets at the caret are these, in this order: `path::definition`."""
    found = [f"{snippet.path}::{snippet.names[0]}" for snippet in ranked(fixture)]
    assert found[: len(expected)] == list(expected), f"found {found}"
