"""A package in, a copy of it with functions taken out, to be written again. Ignores who writes them.

The copy lies in a folder of its own, so that nothing of the original is touched or read along. What is taken out is
gone from the files themselves: an index of the workspace must not know what is about to be typed.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.editor import Editor, Mark

LEAST, MOST = 6, 45  # lines of a function that is worth writing
SPREAD = 40  # functions taken out of a file made large
DENSITY = 6  # functions taken out of one file at most: the rest is what makes it a file of that package


@dataclass(frozen=True)
class Hole:
    """A function without its body. row, column: the end of the line above, as the file is; text: what goes there."""

    path: Path
    name: str
    row: int
    column: int
    text: str


@dataclass(frozen=True)
class Workspace:
    """root: what an editor opens. holes: in the order they are to be written."""

    root: Path
    holes: tuple[Hole, ...]


def package(name: str) -> Path:
    """The folder of an installed package. Raises FileNotFoundError."""
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise FileNotFoundError(f"the package {name} is not installed; give a folder with --root")
    return Path(next(iter(places)))


def copied(source: Path, folder: Path, seed: int) -> Workspace:
    """A package's copy in `folder`, and its functions in random order, two of a file in a row where there are."""
    root = folder / "workspace"
    shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.so"))
    (root / "pyproject.toml").write_text(f'[project]\nname = "{source.name}"\nversion = "0"\n')
    rng = random.Random(seed)
    pairs: list[list[Hole]] = []
    for path in sorted((root / source.name).rglob("*.py")):
        found = holes_of(path)
        own = dug(path, rng.sample(found, min(DENSITY, len(found))))
        pairs += [own[at : at + 2] for at in range(0, len(own), 2)]
    rng.shuffle(pairs)
    holes = tuple(hole for pair in pairs for hole in pair)
    if len(holes) < 2:
        raise FileNotFoundError(f"{source} holds no two functions of {LEAST} to {MOST} lines; give another --root")
    return Workspace(root, holes)


def enlarged(source: Path, folder: Path, lines: int, seed: int) -> Workspace:
    """The same with one file more, of at least so many lines, and only its functions, spread over the whole.

    The file repeats the package, so what is to be typed stands elsewhere too: it shows speed, not merit.
    """
    workspace = copied(source, folder, seed)
    texts = [path.read_text("utf-8") for path in sorted(source.rglob("*.py"))]
    whole: list[str] = []
    while len(whole) < lines:
        for text in texts:
            whole += [line for line in text.split("\n") if not line.startswith("from __future__")]
    big = workspace.root / source.name / "whole.py"
    big.write_text("\n".join(whole), "utf-8")
    found = holes_of(big)
    spread = found[:: max(1, len(found) // SPREAD)]
    return Workspace(workspace.root, tuple(dug(big, random.Random(seed).sample(spread, len(spread)))))


def holes_of(path: Path) -> list[Hole]:
    """Every function of a file that is worth writing: plain ASCII, neither tiny nor huge, not inside another one."""
    source = path.read_text("utf-8")
    lines = source.split("\n")
    found: list[Hole] = []
    last = 0
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in sorted(functions, key=lambda node: node.lineno):
        first, end = node.body[0].lineno - 1, node.end_lineno or 0
        text = "\n" + "\n".join(lines[first:end])
        if node.lineno <= last or first <= node.lineno - 1 or not LEAST <= end - first <= MOST or not text.isascii():
            continue
        last = end
        found.append(Hole(path, node.name, first - 1, len(lines[first - 1]), text))
    return found


def dug(path: Path, holes: Sequence[Hole]) -> list[Hole]:
    """Takes the functions out of their file. The same holes in the same order, where they are afterwards."""
    lines = path.read_text("utf-8").split("\n")
    for hole in sorted(holes, key=lambda hole: -hole.row):
        del lines[hole.row + 1 : hole.row + 1 + hole.text.count("\n")]
    path.write_text("\n".join(lines), "utf-8")
    above = [sum(other.text.count("\n") for other in holes if other.row < hole.row) for hole in holes]
    return [replace(hole, row=hole.row - gone) for hole, gone in zip(holes, above, strict=True)]


def opened(path: Path, holes: Sequence[Hole]) -> tuple[Editor, list[Mark]]:
    """A file in an editor, and a mark that stays with each hole."""
    marks = [Mark(hole.row, hole.column) for hole in holes]
    return Editor(path.read_text("utf-8").split("\n"), marks=list(marks)), marks
