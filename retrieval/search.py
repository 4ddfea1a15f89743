"""A Query and an Index in, ranked Snippets under a budget out.

`rank` finds what the code at a cursor may use; `pack` chooses under a token budget and groups by
file, the most valuable last; `scope` tells for how long an answer stays good. Ignores models:
tokens are counted by a function that is handed in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from retrieval import entries, languages, secrets, symbols
from retrieval.entries import Known
from retrieval.index import Index
from retrieval.languages import Language
from retrieval.outlines import Outline

NEAR_LINES = 20  # the lines before the cursor whose names count
MOST = 40  # ranked snippets
_SCOPE_LINES = 400
_REGION_LINES = 2_000  # a longer file is read around the cursor and at its head only
_HEAD_LINES = 300
_NAME = re.compile(r"[^\W\d]\w*")
_FLOW = re.compile(
    r"(?:\}\s*)?(?:if|elif|else|for|while|switch|match|case|default|try|except|catch|finally|with|do|return)\b"
)
_OPENS_SCOPE = re.compile(
    r"(?:@?\w+\s+)*?(?:def|class|function|func|fn|fun|sub|impl|trait|struct|enum|interface|module|namespace|object"
    r"|public|private|protected|internal|static|async|export|const|let|var|override|void|template|type)\b"
    r"|[\w*&:<>~,\s]+\([^;]*\)?\s*(?:const)?\s*\{?\s*$"
)

Source = Literal["import", "name", "file"]


@dataclass(frozen=True, slots=True)
class Query:
    """A cursor in a text. `offset` counts characters; `window` [start, end) is what the prompt shows of the text."""

    path: str
    text: str
    offset: int
    window: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text from elsewhere that may help at the cursor, how much (0 to 1), and what found it.

    `names` are the dotted paths of the definitions the text stands for.
    """

    path: str
    text: str
    score: float
    source: Source
    names: tuple[str, ...] = ()


def context(query: Query, index: Index, count: Callable[[str], int], budget: int) -> tuple[Snippet, ...]:
    """What goes into the prompt: at most `budget` tokens as `count` counts them, the most valuable last."""
    return pack(rank(query, index), count, budget)


def rank(query: Query, index: Index) -> tuple[Snippet, ...]:
    """A snippet for each definition that may help, best first, at most MOST.

    Definitions inside the query's window are left out: the model sees them anyway.
    """
    here = _read(query)
    found: dict[tuple[str, str], Snippet] = {}
    for snippet in (*_imported(here, index), *_named(here, index), *_in_file(here, index)):
        key = (snippet.path, snippet.names[0])
        if key not in found or found[key].score < snippet.score:
            found[key] = snippet
    best = sorted(found.values(), key=lambda one: (-one.score, one.path, one.names))
    return tuple(one for one in best[: 2 * MOST] if not _is_inside(one, found))[:MOST]


def _is_inside(snippet: Snippet, found: dict[tuple[str, str], Snippet]) -> bool:
    """Whether a better snippet, of the container, already tells what this one does."""
    container = found.get((snippet.path, snippet.names[0].rpartition(".")[0]))
    head = snippet.text.split("\n", 1)[0]
    return container is not None and container.score >= snippet.score and f"    {head}\n" in container.text


def pack(snippets: Iterable[Snippet], count: Callable[[str], int], budget: int) -> tuple[Snippet, ...]:
    """The best of ranked snippets that fit, one for each file, the most valuable last.

    A snippet that does not fit is passed over; a smaller one behind it may still fit.
    """
    kept: dict[str, list[Snippet]] = {}
    for snippet in snippets:
        cost = count(snippet.text) + (0 if snippet.path in kept else count(snippet.path + "\n") + 1)
        if cost <= budget:
            budget -= cost
            kept.setdefault(snippet.path, []).append(snippet)
    groups = [_joined(path, group) for path, group in kept.items()]
    return tuple(sorted(groups, key=lambda one: one.score))


def scope(text: str, offset: int) -> str:
    """A key for the code around a cursor: while it and the path stay the same, so may the context.

    The heads of the functions and classes around the line, read off the indentation above it in
    some microseconds, without a parse.
    """
    start = text.rfind("\n", 0, offset) + 1
    line_end = text.find("\n", offset)
    line = text[start : len(text) if line_end < 0 else line_end]
    indent = len(line) - len(line.lstrip()) if line.strip() else offset - start
    heads: list[str] = []
    for _ in range(_SCOPE_LINES):
        if start == 0 or indent == 0:
            break
        end = start - 1
        start = text.rfind("\n", 0, end) + 1
        stripped = text[start:end].lstrip()
        depth = end - start - len(stripped)
        if not stripped or stripped[0] in "{)]}" or depth >= indent:
            continue
        indent = depth
        if not _FLOW.match(stripped) and _OPENS_SCOPE.match(stripped):
            heads.append(stripped)
    return "\n".join(reversed(heads))


@dataclass(frozen=True, slots=True)
class _Here:
    """The query, read: what the file imports and which names stand near the cursor."""

    query: Query
    language: Language
    outline: Outline
    near: dict[str, float]  # name: 1 at the cursor, falling with each line before it
    counts: dict[str, int]  # name: how often the file mentions it


def _read(query: Query) -> _Here:
    language = languages.of(query.path, query.text)
    text = _region(query.text, query.offset)
    outline = entries.outlined(text, language, seconds=0.5)
    counts: dict[str, int] = {}
    for match in _NAME.finditer(text):
        counts[match[0]] = counts.get(match[0], 0) + 1
    return _Here(query, language, outline, _near(query.text, query.offset), counts)


def _region(text: str, offset: int) -> str:
    """The text, or of a very long one its head (imports) and the lines around the cursor."""
    if text.count("\n") <= _REGION_LINES:
        return text
    lines = text.split("\n")
    line = text.count("\n", 0, offset)
    first = max(_HEAD_LINES, line - _REGION_LINES // 2)
    return "\n".join([*lines[:_HEAD_LINES], *lines[first : line + _REGION_LINES // 4]])


def _near(text: str, offset: int) -> dict[str, float]:
    near: dict[str, float] = {}
    end = offset
    for distance in range(NEAR_LINES):
        start = text.rfind("\n", 0, end) + 1
        names = [match[0] for match in _NAME.finditer(text, start, end)]
        for rank, name in enumerate(reversed(names)):
            near.setdefault(name, math.exp(-(distance + rank / len(names)) / NEAR_LINES))
        if start == 0:
            break
        end = start - 1
    return near


def _imported(here: _Here, index: Index) -> Iterable[Snippet]:
    for one in here.outline.imports:
        for bound in symbols.bindings(one, here.query.path, here.language.name, index, here.counts):
            if bound.known is not None:
                yield _snippet(bound.known, _import_score(bound.alias, here), "import")
            else:
                yield from _of_module(bound, here, index)


def _of_module(bound: symbols.Binding, here: _Here, index: Index) -> Iterable[Snippet]:
    """The definitions of a module bound as a whole that the text names as `alias.name`."""
    used = re.findall(rf"\b{re.escape(bound.alias)}(?:\.|::|->)(\w+)", here.query.text)
    for name in dict.fromkeys(used):
        for known in symbols.lookup(bound.paths, name, index):
            yield _snippet(known, _import_score(name, here), "import")


def _import_score(name: str, here: _Here) -> float:
    """An imported name counts most near the cursor, then when nothing uses it yet, then anywhere."""
    if name in here.near:
        return 0.55 + 0.45 * here.near[name]
    return 0.5 if here.counts.get(name, 0) <= 1 else 0.35


def _named(here: _Here, index: Index) -> Iterable[Snippet]:
    """Definitions elsewhere of the names near the cursor; a name with many definitions says little."""
    own = {definition.name for definition in here.outline.definitions}
    for name, nearness in here.near.items():
        if len(name) < 3 or name in own:
            continue
        found = [k for k in index.named(name) if k.path != here.query.path and _same_family(k, here, index)]
        if 0 < len(found) <= 8:
            for known in found:
                yield _snippet(known, 0.5 * nearness / len(found), "name")


def _in_file(here: _Here, index: Index) -> Iterable[Snippet]:
    """Definitions of the file itself that the window does not show."""
    if here.query.window is None:
        return
    first = here.query.text.count("\n", 0, here.query.window[0])
    last = here.query.text.count("\n", 0, here.query.window[1])
    entry = index.buffers.get(here.query.path) or entries.read(here.query.path, here.query.text)
    for known in entry.definitions:
        one = known.definition
        if one.name in here.near and not (first <= one.first and one.last <= last):
            yield _snippet(known, 0.5 + 0.4 * here.near[one.name], "file")


def _same_family(known: Known, here: _Here, index: Index) -> bool:
    family = _FAMILIES.get(here.language.name, here.language.name)
    other = index.language(known.path) or ""
    return _FAMILIES.get(other, other) == family


_FAMILIES = {"javascript": "js", "typescript": "js", "tsx": "js", "vue": "js", "svelte": "js", "c": "c", "cpp": "c"}


def _snippet(known: Known, score: float, source: Source) -> Snippet:
    if known.definition.kind in symbols.OPEN:
        score *= 0.6  # what a module holds is worth more than the module
    return Snippet(known.path, known.text, score, source, (known.definition.path,))


def _joined(path: str, group: list[Snippet]) -> Snippet:
    best = group[0]
    text = "".join(one.text for one in reversed(group))
    names = tuple(name for one in reversed(group) for name in one.names)
    return Snippet(path, text, best.score, best.source, names)


def masked(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    """The snippets with their secrets starred out, for texts that no index has masked before."""
    return tuple(Snippet(s.path, secrets.mask(s.text, s.path), s.score, s.source, s.names) for s in snippets)
