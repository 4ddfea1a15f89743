"""A Query in, what stands around its cursor out: names with their places, imports, the language.

A long file is read at its head (imports) and around the cursor only. Ignores other files.
"""

from __future__ import annotations

import bisect
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from retrieval import languages, secrets
from retrieval.index import entries
from retrieval.languages import Language
from retrieval.syntax.outlines import Outline

REGION_LINES = 2_000
HEAD_LINES = 300
VICINITY = (20, 6)  # lines above and below
NEARBY_LINES = 12
CONTEXT_LINES = 4  # the lines above the cursor that similar places are sought for
_MEMBER = re.compile(r"(?:\.|->|::)\s*([^\W\d]\w*)")
_BEHIND_DOT = re.compile(r"([^\W\d]\w*)\s*(?:\.|->|::)\s*\w*$")
NAME = re.compile(r"[^\W\d]\w*")

Weights = list[dict[str, float]]  # for each distance from the cursor, from 1, its names and what each counts


@dataclass(frozen=True, slots=True)
class Query:
    """A cursor in a text. `offset` counts characters; `window` [start, end) is what the prompt shows of the text."""

    path: str
    text: str
    offset: int
    window: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class QueryContext:
    """Lines count from 0 in the region that was read; `line` is the cursor's.

    places: for each name the lines that mention it, ascending, imports left out. above, below: for
    each line how much the lines above (below) it resemble those above (below) the cursor, 0 to 1.
    members: how often each name stands behind a dot. tail: the names on the cursor's own line
    before it, last first. receiver: the names that may be the type of the value behind whose dot
    the cursor stands. nearby: the names around the cursor and how much each counts; wanted: those
    just above it, by distance. shown: the first and last line of the window.
    """

    path: str
    language: Language
    outline: Outline
    text: str
    offset: int
    line: int
    places: dict[str, list[int]]
    above: list[float]
    below: list[float]
    members: dict[str, int]
    tail: tuple[str, ...]
    receiver: frozenset[str]
    nearby: dict[str, float]
    wanted: Weights
    shown: tuple[int, int] | None

    @property
    def vicinity(self) -> str:
        """The lines around the cursor, for what looks for code like it."""
        lines = self.text.split("\n")
        return "\n".join(lines[max(0, self.line - VICINITY[0]) : self.line + VICINITY[1]])

    def before(self, name: str) -> int | None:
        """Lines from the cursor up to the name's nearest mention; 0 on the cursor's line, None without one."""
        lines = self.places.get(name, ())
        at = bisect.bisect_right(lines, self.line)
        return self.line - lines[at - 1] if at else None

    def after(self, name: str) -> int | None:
        """Lines from the cursor down to the name's nearest mention."""
        lines = self.places.get(name, ())
        at = bisect.bisect_right(lines, self.line)
        return lines[at] - self.line if at < len(lines) else None

    def on_line(self, name: str) -> float:
        """1 for the last name before the cursor on its line, falling towards the line's start; 0 elsewhere."""
        return 1 / (1 + self.tail.index(name) / 2) if name in self.tail else 0.0

    def resemblance(self, name: str) -> tuple[float, float]:
        """How much the best of the name's other places resembles the cursor's, above and below."""
        lines = [line for line in self.places.get(name, ()) if line != self.line]
        above = max((self.above[line] for line in lines), default=0.0)
        return above, max((self.below[line] for line in lines), default=0.0)


def read(query: Query, seconds: float = 0.5) -> QueryContext:
    """What stands around the query's cursor. Raises GrammarError."""
    text, offset, cut = _region(query.text, query.offset)
    whole = _content(query.path, text, languages.of(query.path, query.text), seconds)
    text, rows, places = whole.text, whole.rows, whole.places
    line = text.count("\n", 0, offset)
    start = text.rfind("\n", 0, offset) + 1
    tail = tuple(m[0] for m in NAME.finditer(text, start, offset))[::-1]
    shown = None
    if query.window is not None:
        shown = query.text.count("\n", 0, query.window[0]) - cut, query.text.count("\n", 0, query.window[1]) - cut
    wanted = _weights(rows, places, line, -1)
    return QueryContext(
        path=query.path,
        language=whole.language,
        outline=whole.outline,
        text=text,
        offset=offset,
        line=line,
        places=places,
        above=likeness(rows, places, wanted, -1),
        below=likeness(rows, places, _weights(rows, places, line, 1), 1),
        members=whole.members,
        tail=tail,
        receiver=_receiver(text, start, offset),
        nearby=_nearby(rows, line),
        wanted=wanted,
        shown=shown,
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """What a text holds wherever the cursor is. text: masked; rows: the names on each line; rest: see QueryContext."""

    language: Language
    text: str
    outline: Outline
    rows: list[list[str]]
    places: dict[str, list[int]]
    members: dict[str, int]


@lru_cache(maxsize=2)  # one text is asked about at place after place
def _content(path: str, text: str, language: Language, seconds: float) -> _Content:
    text = secrets.mask(text, path)
    outline = entries.outlined(text, language, seconds)
    imported = {one.line for one in outline.imports}
    rows = [NAME.findall(row) for row in text.split("\n")]
    places: dict[str, list[int]] = defaultdict(list)
    for number, names in enumerate(rows):
        if number not in imported:
            for name in dict.fromkeys(names):
                places[name].append(number)
    members: dict[str, int] = defaultdict(int)
    for name in _MEMBER.findall(text):
        members[name] += 1
    return _Content(language, text, outline, rows, dict(places), dict(members))


def _receiver(text: str, start: int, offset: int) -> frozenset[str]:
    """Types that the text gives to the value behind whose dot (and begun name) the cursor stands."""
    match = _BEHIND_DOT.search(text, start, offset)
    if match is None:
        return frozenset()
    value = re.escape(match[1])
    assigned = re.findall(rf"\b{value}\s*(?::|:?=)\s*(?:await\s+|new\s+|&)?(?:\w+\s*(?:\.|::))*([A-Z]\w*)", text)
    declared = re.findall(rf"\b([A-Z]\w*)[\s*&]+{value}\b", text)
    return frozenset((match[1], *assigned, *declared))


def _region(text: str, offset: int) -> tuple[str, int, int]:
    """The text, or of a very long one its head and the lines around the cursor; the offset in it; lines cut out."""
    if len(text) < 20 * REGION_LINES or text.count("\n") <= REGION_LINES:
        return text, offset, 0
    lines = text.split("\n")
    line = text.count("\n", 0, offset)
    first = max(HEAD_LINES, line - REGION_LINES // 2)
    head, body = lines[:HEAD_LINES], lines[first : line + REGION_LINES // 4]
    cut = first - HEAD_LINES
    removed = sum(map(len, lines[HEAD_LINES:first])) + cut
    return "\n".join([*head, *body]), offset - removed if line >= first else offset, cut


def likeness(rows: list[list[str]], places: Mapping[str, list[int]], wanted: Weights, side: int) -> list[float]:
    """For each line the weighted share of the wanted names that stand on its side (-1: above, 1: below) of it too."""
    found = [0.0] * len(rows)
    total = sum(sum(names.values()) for names in wanted)
    if not total:
        return found
    for distance, names in enumerate(wanted, start=1):
        for name, weight in names.items():
            for at in places.get(name, ()):
                for gap in range(1, CONTEXT_LINES + 1):
                    line = at - side * gap
                    if 0 <= line < len(rows):
                        found[line] += weight / (1 + abs(gap - distance))
    return [min(1.0, one / total) for one in found]


def _weights(rows: list[list[str]], places: Mapping[str, list[int]], line: int, side: int) -> Weights:
    """The names on the lines next to the cursor's; rare and near ones count more."""
    wanted: Weights = []
    for distance in range(1, CONTEXT_LINES + 1):
        at = line + side * distance
        names = dict.fromkeys(rows[at]) if 0 <= at < len(rows) else {}
        wanted.append({one: math.log(1 + len(rows) / (1 + len(places.get(one, ())))) / distance for one in names})
    return wanted


def _nearby(rows: list[list[str]], line: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for distance in range(NEARBY_LINES):
        for at in {line - distance, line + distance}:
            if 0 <= at < len(rows):
                for name in rows[at]:
                    if len(name) > 2:
                        found.setdefault(name, 1 / (1 + distance / (4 if at <= line else 2)))
    return found
