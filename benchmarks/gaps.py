"""The files of a package in any language in, a copy with parts taken out out, to be written again.

Three kinds of part: the inside of a function, some lines of one, and the end of a line up to a closer that stays. The
closing line of a block stays too, as the editor that opened it would have put it there. Some files get \\r\\n.
Ignores who writes them; `workspace` does the same for whole Python functions.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.editor import PAIRS, Editor, Mark
from benchmarks.held_out import Package
from benchmarks.workspace import Hole, Workspace
from retrieval import languages
from retrieval.errors import RetrievalError
from retrieval.languages import Language
from retrieval.syntax import outlines, syntax

LEAST, MOST = 2, 30  # lines of a function's inside
SOME = 4  # lines taken out of one at most
APART = 12  # lines between two gaps of a file at least
IN_ONE = 5  # gaps of one file at most
CARRIAGE = 0.2  # share of files whose lines end with \r\n
KINDS = ("inside", "inside", "lines", "rest")

_TEST = re.compile(r"(^|/)(?:tests?|__tests__|examples?|bench\w*|vendor|third_party|docs?)(/|_|\b)|_test\.|\.test\.")
_REST = re.compile(r"[(\[{] ?(\w[^()\[\]{}\"'`]*)(?=[)\]}])")
_FUNCTIONS = frozenset({"function", "method"})


def taken(package: Package, folder: Path, count: int, seed: int) -> Workspace:
    """The package written into `folder`, `count` gaps in it or as many as there are, two of a file in a row."""
    rng = random.Random(f"{seed} {package.name}")
    root = folder / package.name
    for path, text in package.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    found: list[list[Hole]] = []
    for path in rng.sample(sorted(package.files), len(package.files)):
        if sum(map(len, found)) >= count:
            break
        text = package.files[path]
        language = languages.of(path, text)
        if _TEST.search(path) or not language.full:
            continue
        holes = chosen(root / path, text, language, rng)
        left, moved = without(text.split("\n"), holes)
        (root / path).write_bytes((rng.choices(("\r\n", "\n"), (CARRIAGE, 1))[0]).join(left).encode())
        found += [moved[at : at + 2] for at in range(0, len(moved), 2)]
    rng.shuffle(found)
    return Workspace(root, tuple(hole for pair in found for hole in pair))


def chosen(path: Path, text: str, language: Language, rng: random.Random) -> list[Hole]:
    """Some gaps of a file, not close to each other, where they are in the whole text."""
    lines = text.split("\n")
    try:
        outline = outlines.read(text, language)
    except RetrievalError:
        return []
    functions = [one for one in outline.definitions if one.kind in _FUNCTIONS and not one.local]
    holes: list[Hole] = []
    for one in rng.sample(functions, len(functions)):
        inside = _inside(lines, one.first, one.last)
        if inside is None or any(_near(hole, *inside) for hole in holes) or len(holes) >= IN_ONE:
            continue
        hole = _hole(path, one.name, lines, *inside, rng)
        if hole is not None and hole.row + 1 != inside[0] and _breaks(lines, hole, language):
            hole = _hole(path, one.name, lines, *inside, rng, kind="inside")  # nobody writes in half a docstring
        if hole is not None:
            holes.append(hole)
    return sorted(holes, key=lambda hole: hole.row)


def without(lines: list[str], holes: Sequence[Hole]) -> tuple[list[str], list[Hole]]:
    """The lines that are left, and the holes where they are then. The holes are in order and in different lines."""
    left, moved, gone = list(lines), [], 0
    for hole in holes:
        row, height = hole.row - gone, hole.text.count("\n")
        moved.append(replace(hole, row=row))
        if height:
            del left[row + 1 : row + 1 + height]
        else:
            left[row] = left[row][: hole.column] + left[row][hole.column + len(hole.text) :]
        gone += height
    return left, moved


def opened(path: Path, holes: Sequence[Hole]) -> tuple[Editor, list[Mark]]:
    """A file in an editor that does as one for its language does, and a mark that stays with each hole."""
    text = path.read_bytes().decode()
    marks = [Mark(hole.row, hole.column) for hole in holes]
    ending = "\r\n" if "\r\n" in text else "\n"
    language = languages.of(path.name, text).name
    lines = text.split(ending)
    step = "\t" if language == "go" else unit(lines)  # its scripts in strings may have spaces
    return Editor(lines, marks=list(marks), unit=step, ending=ending, pairs=_pairs(language)), marks


def unit(lines: Sequence[str]) -> str:
    """One step of a file's indentation; four spaces where none is seen."""
    steps: Counter[str] = Counter()
    before = ""
    for line in lines:
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if line.strip():
            if indent.startswith(before) and (step := indent[len(before) :]) in ("\t", "  ", "    ", " " * 8):
                steps[step] += 1
            before = indent
    return steps.most_common(1)[0][0] if steps else "    "


def _pairs(language: str) -> dict[str, str]:
    """What an editor closes by itself."""
    if language == "rust":  # a quote may be a lifetime
        return {opener: closer for opener, closer in PAIRS.items() if opener != "'"}
    return PAIRS | {"`": "`"} if language in ("javascript", "typescript", "tsx", "go") else dict(PAIRS)


def _inside(lines: Sequence[str], first: int, last: int) -> tuple[int, int] | None:
    """The lines [start, end) of a function's inside, closing line left out; None for one not worth writing."""
    opener = next((at for at in range(first, last) if lines[at].rstrip().endswith(("{", ":"))), None)
    if opener is None:
        return None
    end = last if lines[opener].rstrip().endswith("{") else last + 1
    if end == last and not lines[last].lstrip().startswith("}"):
        return None
    while end > opener + 1 and not lines[end - 1].strip():
        end -= 1
    return (opener + 1, end) if LEAST <= end - opener - 1 <= MOST else None


def _near(hole: Hole, start: int, end: int) -> bool:
    return start - APART < hole.row + hole.text.count("\n") and hole.row < end + APART


def _breaks(lines: list[str], hole: Hole, language: Language) -> bool:
    """Whether the file has more errors without what is in the hole, or may have."""
    left, _ = without(lines, [hole])
    try:
        return syntax.errors("\n".join(left), language, 2.0) > syntax.errors("\n".join(lines), language, 2.0)
    except RetrievalError:
        return True


def _hole(
    path: Path, name: str, lines: Sequence[str], start: int, end: int, rng: random.Random, *, kind: str | None = None
) -> Hole | None:
    kind = kind or rng.choice(KINDS)
    spots = [(row, found) for row in range(start, end) for found in _rests(lines[row])] if kind == "rest" else []
    if spots:
        row, found = rng.choice(spots)
        return Hole(path, name, row, found.start(1), found[1].rstrip())
    if kind == "lines":
        start = rng.randrange(start, end)
        end = min(end, start + rng.randint(1, SOME))
        while end - 1 > start and not lines[end - 1].strip():
            end -= 1
    text = "".join("\n" + line for line in lines[start:end])
    return Hole(path, name, start - 1, len(lines[start - 1]), text) if text.strip() else None


def _rests(line: str) -> Iterator[re.Match[str]]:
    """What stands in brackets in a line of code."""
    if not line.lstrip().startswith(("#", "//", "*", "/*")):
        yield from _REST.finditer(line)
