"""A source text in, the span of a hole out: where the cursor might stand and what might be missing there.

The kinds are those a user meets: the rest of a line, a whole line, the next few lines, the inside of a
bracket, a syntax node, a block, and, so that nothing is out of reach, any run of characters. Cuts fall
inside words as well as between them. Ignores tokens and windows.
"""

from __future__ import annotations

import ast
import bisect
import random
import re
import warnings
from dataclasses import dataclass

_KINDS = {"rest": 30, "lines": 24, "line": 14, "inside": 10, "node": 12, "block": 5, "span": 5}
_LONGEST = 1600  # characters in a hole
_TRIES = 12
_AT_COLUMN_0 = 0.2  # share of whole lines whose indentation is missing too
_OPEN = re.compile(r"[(\[{\"']")
_CLOSING = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
_WORD = re.compile(r"\w")
_WITH_BODY = (ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.For, ast.With)
_EXPRESSIONS = (ast.Call, ast.BinOp, ast.BoolOp, ast.Compare, ast.Subscript, ast.Dict, ast.List, ast.IfExp)


@dataclass(frozen=True)
class Hole:
    """text[start:end] is missing. kind: one of the names above."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Outline:
    """What is found once a file: starts: offset of each line; nodes: spans of syntax nodes, Python only."""

    text: str
    starts: tuple[int, ...]
    filled: tuple[int, ...]
    nodes: tuple[tuple[int, int], ...]


def outline(text: str, language: str) -> Outline:
    """The lines and nodes of a text; a text that does not parse has no nodes."""
    starts = [0]
    starts += [match.end() for match in re.finditer("\n", text)]
    filled = [number for number, start in enumerate(starts) if _line(text, starts, number).strip()]
    nodes = _nodes(text, starts) if language == "python" else ()
    return Outline(text, tuple(starts), tuple(filled), nodes)


def draw(one: Outline, rng: random.Random) -> Hole | None:
    """A hole of a random kind; None when the text has none of the kinds tried."""
    if not one.filled:
        return None
    for _ in range(_TRIES):
        kind = rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
        span = _DRAWN[kind](one, rng)
        if span is None or not 0 < span[1] - span[0] <= _LONGEST:
            continue
        middle = one.text[span[0] : span[1]]
        if not middle.strip() or (not _WORD.search(middle) and rng.random() < 0.85):
            continue  # brackets alone teach little
        return Hole(span[0], span[1], kind)
    return None


def _line(text: str, starts: list[int] | tuple[int, ...], number: int) -> str:
    end = starts[number + 1] - 1 if number + 1 < len(starts) else len(text)
    return text[starts[number] : end]


def _bounds(one: Outline, number: int) -> tuple[int, int, int]:
    """Start of the line, start of its text after the indentation, end without the newline."""
    line = _line(one.text, one.starts, number)
    start = one.starts[number]
    return start, start + len(line) - len(line.lstrip(" \t")), start + len(line)


def _cursor(one: Outline, rng: random.Random) -> tuple[int, int]:
    """A line that holds text, and a place inside that text where a cursor might stand."""
    number = rng.choice(one.filled)
    _, first, end = _bounds(one, number)
    place = rng.randint(first, max(first, end - 1))
    if rng.random() < 0.5:  # half of the cuts between words: after a mark or a blank
        while place > first and one.text[place - 1].isalnum():
            place -= 1
    return number, place


def _rest(one: Outline, rng: random.Random) -> tuple[int, int]:
    number, place = _cursor(one, rng)
    return place, _bounds(one, number)[2]


def _whole_line(one: Outline, rng: random.Random) -> tuple[int, int]:
    number = rng.choice(one.filled)
    start, first, end = _bounds(one, number)
    return start if rng.random() < _AT_COLUMN_0 else first, end


def _lines(one: Outline, rng: random.Random) -> tuple[int, int]:
    number, place = _cursor(one, rng)
    start, first, _ = _bounds(one, number)
    if rng.random() < 0.5:
        place = start if rng.random() < _AT_COLUMN_0 else first
    last = min(number + rng.choice((1, 1, 1, 2, 2, 3, 4, 5)), len(one.starts) - 1)
    while last > number and not _line(one.text, one.starts, last).strip():
        last -= 1
    return place, _bounds(one, last)[2]


def _inside(one: Outline, rng: random.Random) -> tuple[int, int] | None:
    """From a cursor inside a pair of brackets or quotes to the closing one, on one line."""
    number = rng.choice(one.filled)
    _, first, end = _bounds(one, number)
    opened = [first + match.start() for match in _OPEN.finditer(one.text[first:end])]
    if not opened:
        return None
    start = rng.choice(opened)
    close = _close(one.text, start, end)
    if close is None:
        return None
    place = start + 1 if rng.random() < 0.6 else rng.randint(start + 1, close)
    return place, close


def _close(text: str, start: int, end: int) -> int | None:
    left, right = text[start], _CLOSING[text[start]]
    if left == right:
        found = text.find(right, start + 1, end)
        return found if found >= 0 else None
    depth = 0
    for place in range(start, end):
        depth += (text[place] == left) - (text[place] == right)
        if depth == 0:
            return place
    return None


def _node(one: Outline, rng: random.Random) -> tuple[int, int] | None:
    return rng.choice(one.nodes) if one.nodes else _inside(one, rng)


def _block(one: Outline, rng: random.Random) -> tuple[int, int] | None:
    """The lines below a line that are indented deeper than it."""
    number = rng.choice(one.filled)
    start, first, _ = _bounds(one, number)
    last = None
    for below in range(number + 1, min(number + 40, len(one.starts))):
        inner_start, inner_first, inner_end = _bounds(one, below)
        if inner_first == inner_end:
            continue
        if inner_first - inner_start <= first - start:
            break
        last = inner_end
    if last is None:
        return None
    return _bounds(one, number + 1)[1], last


def _span(one: Outline, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(one.text))
    return start, min(len(one.text), start + int(2 ** rng.uniform(2, 9)))


_DRAWN = {
    "rest": _rest,
    "line": _whole_line,
    "lines": _lines,
    "inside": _inside,
    "node": _node,
    "block": _block,
    "span": _span,
}


def _nodes(text: str, starts: list[int]) -> tuple[tuple[int, int], ...]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    if not text.isascii():
        return ()  # offsets of `ast` are bytes: such a text keeps its other kinds
    found = set()
    for node in ast.walk(tree):
        span = _node_span(node, starts)
        if span is not None and 3 <= span[1] - span[0] <= _LONGEST:
            found.add(span)
    return tuple(sorted(found))


def _node_span(node: ast.AST, starts: list[int]) -> tuple[int, int] | None:
    body = getattr(node, "body", None)
    if isinstance(node, _WITH_BODY) and isinstance(body, list):
        return _offset(body[0], starts)[0], _offset(body[-1], starts)[1]
    if isinstance(node, ast.stmt):
        return None if isinstance(node, ast.ClassDef) else _offset(node, starts)
    if isinstance(node, _EXPRESSIONS):
        return _offset(node, starts)
    return None


def _offset(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def line_of(one: Outline, place: int) -> int:
    """The number of the line that holds an offset, from 0."""
    return bisect.bisect_right(one.starts, place) - 1
