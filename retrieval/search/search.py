"""A Query and an Index in, ranked Snippets under a budget out.

`rank` finds what the code at a cursor may use; `pack` chooses under a token budget and groups by
file, the most valuable last; `scope` tells for how long an answer stays good. Ignores models:
tokens are counted by a function that is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from retrieval import languages, secrets
from retrieval.index import dependencies
from retrieval.index.index import Index
from retrieval.index.store import ChunkMatch
from retrieval.search import candidates, query_context, ranking
from retrieval.search.candidates import Candidate, Source
from retrieval.search.query_context import Query, QueryContext
from retrieval.syntax import signatures
from retrieval.syntax.outlines import CONTAINERS, Definition

__all__ = ["Query", "Snippet", "context", "find", "pack", "rank", "scope"]

MOST = 24  # ranked snippets
EDIT_WORTH = 0.1  # of the latest
USAGES = 3
USAGE_WORTH = 0.05
YOUNG = 12  # lines from a function's head in which its uses elsewhere still say something
SIMILAR = 8  # stretches of code like the cursor's, by words and by vectors each
SIMILAR_LINES = 16
SIMILAR_WORTH = 0.04  # of the likest: a definition that is likelier needed than this comes first
RECIPROCAL = 60
COPY_SHARE = 0.75  # of its lines that a stretch of another file has in common with this one if it is a copy of it
REPEATED_SHARE = 0.5  # of its lines that a stretch has in common with a longer one of its file if it adds little to it
_SCOPE_LINES = 400
_FUNCTION = re.compile(r"\b(?:def|fn|func|fun|function|sub)\s+([^\W\d]\w*)|([^\W\d]\w*)\s*\(")
_FLOW = re.compile(
    r"(?:\}\s*)?(?:if|elif|else|for|while|switch|match|case|default|try|except|catch|finally|with|do|return)\b"
)
_OPENS_SCOPE = re.compile(
    r"(?:@?\w+\s+)*?(?:def|class|function|func|fn|fun|sub|impl|trait|struct|enum|interface|module|namespace|object"
    r"|public|private|protected|internal|static|async|export|const|let|var|override|void|template|type)\b"
    r"|[\w*&:<>~,\s]+\([^;]*\)?\s*(?:const)?\s*\{?\s*$"
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text from elsewhere that may help at the cursor, how likely it does (0 to 1), and what found it.

    `names` are the dotted paths of the definitions the text stands for; a stretch of code has none.
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

    Members of a class come together, under its head. Definitions inside the query's window are
    left out: the model sees them anyway.
    """
    index.look()
    here = query_context.read(query)
    groups: dict[tuple[str, str], list[tuple[float, Candidate]]] = {}
    for one in candidates.find(here, index):
        definition = one.known.definition
        holder = definition.path if definition.kind in CONTAINERS else definition.parent or definition.path
        groups.setdefault((one.known.path, holder), []).append((ranking.likelihood(one.evidence), one))
    scored = [(ranking.together([likelihood for likelihood, _ in group]), key) for key, group in groups.items()]
    best = sorted(scored, key=lambda one: (-one[0], one[1]))[:MOST]
    found = [_snippet(score, key, groups[key], here, index) for score, key in best]
    own = (here.text, *(one.signature for one in here.outline.definitions))
    lines = {line.strip() for text in own for line in text.split("\n")}
    news = (one for one in (*found, *_stretches(here, index)) if one.path == here.path or not _is_here(one, lines))
    return tuple(sorted(news, key=lambda one: -one.score))


def _is_here(snippet: Snippet, lines: set[str]) -> bool:
    """Whether the cursor's file, which has these lines, says what another file does: as its copy would."""
    said = [line for line in map(str.strip, snippet.text.split("\n")) if line]
    share = 1.0 if snippet.names else COPY_SHARE
    return sum(line in lines for line in said) >= share * len(said)


def _snippet(
    score: float, key: tuple[str, str], group: list[tuple[float, Candidate]], here: QueryContext, index: Index
) -> Snippet:
    """The text of a group: a definition, or a container with the members that the file mentions."""
    path, holder = key
    language = languages.LANGUAGES[index.language(path) or here.language.name]
    head, outline = _head(path, holder, group[0][1].known.definition, here, index)
    wanted = {one.known.definition.name for _, one in group}
    if head is None:
        text = "".join(signatures.text(one.known.definition, (), language) for _, one in group)
    else:
        text = signatures.text(head, outline, language, wanted)
    source = max(group, key=lambda one: one[0])[1].source
    names = dict.fromkeys([holder, *(one.known.definition.path for _, one in group)])
    return Snippet(dependencies.shown(path), text, score, source, tuple(names))


def _head(
    path: str, holder: str, first: Definition, here: QueryContext, index: Index
) -> tuple[Definition | None, tuple[Definition, ...]]:
    """The definition whose dotted path is `holder`, if there is one, and what may be its members."""
    if first.path == holder and first.kind not in CONTAINERS:
        return first, ()
    if path == here.path:
        outline = here.outline.definitions
    else:
        outline = tuple(one.definition for one in index.container(path, holder))
    return next((one for one in outline if one.path == holder), None), outline


def _stretches(here: QueryContext, index: Index) -> Iterator[Snippet]:
    """Lines of other files that are no definitions: edited of late, using what is being written, or like it.

    Each is worth little beside a definition that is likely needed: they fill what room is left.
    """
    for age, edit in enumerate(one for one in index.edits if one.path != here.path):
        yield Snippet(edit.path, secrets.mask(edit.text, edit.path), EDIT_WORTH / (1 + age), "edit")
    yield from _usages(here, index)
    yield from _similar(here, index)


def _usages(here: QueryContext, index: Index) -> Iterator[Snippet]:
    """Where other files use the function that is being written: how it is called, what becomes of its result."""
    head = scope(here.text, here.offset).rpartition("\n")[2]
    named = _FUNCTION.search(head)
    if named is None or here.text.count("\n", here.text.rfind(head, 0, here.offset), here.offset) > YOUNG:
        return
    name = named[1] or named[2]
    for rank, found in enumerate(index.mentioning({name: 1.0}, USAGES, here.path)):
        lines = found.chunk.text.split("\n")
        uses = [number for number, line in enumerate(lines) if re.search(rf"\b{re.escape(name)}\s*\(", line)]
        if uses:
            text = "\n".join(lines[max(0, uses[0] - 1) : uses[0] + 3]).strip("\n") + "\n"
            yield Snippet(found.path, text, USAGE_WORTH / (1 + rank), "usage")


def _similar(here: QueryContext, index: Index) -> Iterator[Snippet]:
    """Code of other files that is like the code at the cursor, at most one stretch of each file."""
    seen: set[str] = set()
    for one in alike(here, index):
        if one.path not in seen and len(seen) < SIMILAR // 2:
            seen.add(one.path)
            text = "\n".join(one.chunk.text.split("\n")[:SIMILAR_LINES]).rstrip() + "\n"
            yield Snippet(one.path, text, SIMILAR_WORTH * one.score * RECIPROCAL / 2, "code")


def alike(here: QueryContext, index: Index) -> list[ChunkMatch]:
    """Chunks of other files like the code at the cursor, best first.

    Ranked by words and by vectors, the two fused by reciprocal ranks (Cormack et al. 2009).
    """
    found: dict[tuple[str, int], ChunkMatch] = {}
    for some in (index.mentioning(here.nearby, SIMILAR, here.path), index.like(here.vicinity, SIMILAR, here.path)):
        for rank, one in enumerate(some):
            key = (one.path, one.chunk.first)
            score = 1 / (RECIPROCAL + rank) + (found[key].score if key in found else 0.0)
            found[key] = ChunkMatch(one.path, one.chunk, score)
    return sorted(found.values(), key=lambda one: (-one.score, one.path, one.chunk.first))


def pieces(snippets: Iterable[Snippet]) -> set[str]:
    """The texts of which `pack` asks how long they are."""
    return {text for one in snippets for text in (one.text, _heading(one.path))}


def pack(snippets: Iterable[Snippet], count: Callable[[str], int], budget: int) -> tuple[Snippet, ...]:
    """The best of ranked snippets that fit, one for each file, the most valuable last.

    A snippet that does not fit is passed over; a smaller one behind it may still fit.
    """
    kept: dict[str, list[Snippet]] = {}
    for snippet in snippets:
        cost = count(snippet.text) + (0 if snippet.path in kept else count(_heading(snippet.path)) + 1)
        if cost <= budget:
            budget -= cost
            kept.setdefault(snippet.path, []).append(snippet)
    groups = [_joined(path, group) for path, group in kept.items()]
    return tuple(sorted(groups, key=lambda one: one.score))


def find(text: str, index: Index, most: int) -> tuple[Snippet, ...]:
    """What fits a question that somebody typed: definitions of its names first, then code that is like it."""
    index.look()
    words = [word for word in dict.fromkeys(query_context.NAME.findall(text)) if len(word) > 1]
    named = [known for word in words for known in index.store.beginning(word, most)]
    exact = {known.definition.name for known in named} & set(words)
    found: dict[tuple[str, str], Snippet] = {}
    for known in sorted(named, key=lambda one: one.definition.name not in exact):
        one = known.definition
        language = languages.LANGUAGES[index.language(known.path) or "text"]
        around = [inner.definition for inner in index.container(known.path, one.path)]
        snippet = signatures.text(one, around, language)
        found.setdefault(
            (known.path, one.path), Snippet(known.path, snippet, float(one.name in exact), "name", (one.path,))
        )
    code = (*index.mentioning(dict.fromkeys(words, 1.0), most, ""), *index.like(text, most, ""))
    for stretch in code:
        key = (stretch.path, str(stretch.chunk.first))
        found.setdefault(key, Snippet(stretch.path, stretch.chunk.text, 0.0, "code"))
    return tuple(found.values())[:most]


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


def _heading(path: str) -> str:
    return path + "\n"


def _told_once(group: list[Snippet]) -> list[Snippet]:
    """Snippets of one file without those that another of them says too: a signature beside the code that begins so."""
    kept: list[Snippet] = []
    for one in sorted(group, key=lambda one: -len(one.text)):
        lines = [line for line in map(str.strip, one.text.split("\n")) if line]
        share = 1.0 if one.names else REPEATED_SHARE
        if not any(sum(line in other.text for line in lines) >= share * len(lines) for other in kept):
            kept.append(one)
    return [one for one in group if any(one is other for other in kept)]


def _joined(path: str, group: list[Snippet]) -> Snippet:
    best, group = group[0], _told_once(group)
    text = "".join(one.text for one in reversed(group))
    names = tuple(name for one in reversed(group) for name in one.names)
    return Snippet(path, text, best.score, best.source, names)
