"""A package in, a copy of it with functions taken out, to be written again. Ignores who writes them.

The copy lies in a folder of its own, so that nothing of the original is touched or read along.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.editor import Editor, Mark

LEAST, MOST = 6, 45  # lines of a function that is worth writing


@dataclass(frozen=True)
class Hole:
    """A function without its body. row, column: the end of the line above; text: what is to be written there."""

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
    holes = [hole for path in sorted((root / source.name).rglob("*.py")) for hole in holes_of(path)]
    if len(holes) < 2:
        raise FileNotFoundError(f"{source} holds no two functions of {LEAST} to {MOST} lines; give another --root")
    return Workspace(root, tuple(_paired(holes, random.Random(seed))))


def enlarged(source: Path, folder: Path, lines: int, seed: int) -> Workspace:
    """The same with one file more, of at least so many lines, and only its functions, spread over the whole."""
    workspace = copied(source, folder, seed)
    texts = [path.read_text("utf-8") for path in sorted((workspace.root / source.name).rglob("*.py"))]
    whole, count = [], 0
    while count < lines:
        for text in texts:
            kept = [line for line in text.split("\n") if not line.startswith("from __future__")]
            whole += kept
            count += len(kept)
    big = workspace.root / source.name / "whole.py"
    big.write_text("\n".join(whole), "utf-8")
    holes = holes_of(big)
    step = max(1, len(holes) // 40)
    return Workspace(workspace.root, tuple(random.Random(seed).sample(holes[::step], k=len(holes[::step]))))


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


def opened(path: Path, holes: list[Hole]) -> tuple[Editor, list[Mark]]:
    """A file with its holes made, and where each of them is now."""
    lines = path.read_text("utf-8").split("\n")
    marks = []
    for hole in sorted(holes, key=lambda hole: hole.row):
        gone = sum(other.text.count("\n") for other in holes if other.row < hole.row)
        row = hole.row - gone
        del lines[row + 1 : row + 1 + hole.text.count("\n")]
        marks.append((hole, Mark(row, hole.column)))
    places = [next(mark for other, mark in marks if other is hole) for hole in holes]
    return Editor(lines, marks=list(places)), places


def _paired(holes: list[Hole], rng: random.Random) -> list[Hole]:
    by_file: dict[Path, list[Hole]] = {}
    for hole in holes:
        by_file.setdefault(hole.path, []).append(hole)
    pairs = []
    for own in by_file.values():
        rng.shuffle(own)
        pairs += [own[i : i + 2] for i in range(0, len(own), 2)]
    rng.shuffle(pairs)
    return [hole for pair in pairs for hole in pair]
