"""How often the definition that a hidden line needs is among the snippets found for its place.

    python -m benchmarks.recall --root DIR... --n 100 --json

Task A: the line uses a name imported from another file of the package. Task B: it uses any name
with exactly one definition elsewhere in the package. The line is taken out of the file; imports
and everything else stay. What counts as right is read with Python's own `ast`, not with the code
under test: a snippet hits when it is the definition, or the container that lists it. Python only.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples import spread
from retrieval.index import index, workspace
from retrieval.index.index import Index
from retrieval.search import search
from retrieval.search.search import Query, Snippet

NAME = re.compile(r"[^\W\d]\w*")
SEED = 7


@dataclass(frozen=True)
class Definition:
    """A named thing: `path` is relative to the root, `dotted` inside the file."""

    path: str
    dotted: str

    @property
    def name(self) -> str:
        """The last part."""
        return self.dotted.rpartition(".")[2]


@dataclass(frozen=True)
class HiddenUse:
    """A hidden line and the definition it needs."""

    path: str
    line: int
    gold: Definition


@dataclass
class Module:
    """One file, read with ast."""

    path: str
    lines: list[str]
    tree: ast.Module
    definitions: list[Definition]
    imported: dict[str, tuple[str, str]]  # alias → (module, name)


def modules(root: Path) -> dict[str, Module]:
    """Dotted name → module, for each Python file of the root that parses and is no test."""
    found = {}
    for source in workspace.files(root):
        text = workspace.read(root, source.path)
        if not source.path.endswith(".py") or text is None or re.search(r"(^|/)tests?(/|_)", source.path):
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        dotted = source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        defined = [Definition(source.path, one) for one in _defined(tree.body, "")]
        found[dotted] = Module(source.path, text.split("\n"), tree, defined, _imported(tree, dotted, source.path))
    return found


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not prefix:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _defined(node.body, prefix)
            yield from _defined(node.orelse, prefix)


def _imported(tree: ast.Module, dotted: str, path: str) -> dict[str, tuple[str, str]]:
    found = {}
    package = dotted if path.endswith("__init__.py") else dotted.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package
            for _ in range(node.level - 1):
                base = base.rpartition(".")[0]
            module = ".".join(part for part in (base if node.level else "", node.module or "") if part)
            for alias in node.names:
                found[alias.asname or alias.name] = (module, alias.name)
    return found


def _resolve(known: dict[str, Module], module: str, name: str, hops: int = 6) -> Definition | None:
    if module not in known or hops == 0:
        return None
    for one in known[module].definitions:
        if one.dotted == name:
            return one
    if name in known[module].imported:
        return _resolve(known, *known[module].imported[name], hops - 1)
    for target, starred in known[module].imported.values():
        if starred == "*":
            found = _resolve(known, target, name, hops - 1)
            if found:
                return found
    return None


def places(known: dict[str, Module], task: str, n: int, chance: random.Random) -> list[HiddenUse]:
    """n places of a task, drawn over all code lines."""
    owners: dict[str, set[Definition]] = defaultdict(set)
    for module in known.values():
        for one in module.definitions:
            owners[one.name].add(one)
    found = []
    for module in known.values():
        skipped = _not_code(module.tree)
        resolved = {alias: _resolve(known, *target) for alias, target in module.imported.items()} if task == "A" else {}
        for number, line in enumerate(module.lines):
            if number in skipped or len(line.strip()) < 4 or line.lstrip().startswith("#"):
                continue
            golds = []
            for name in dict.fromkeys(NAME.findall(re.sub(r"([\"']).*?\1|#.*", "", line))):
                if task == "A":
                    gold = resolved.get(name)
                else:
                    gold = next(iter(owners[name])) if len(owners[name]) == 1 else None
                if gold is not None and gold.path != module.path:
                    golds.append(gold)
            if golds:
                found.append(HiddenUse(module.path, number, chance.choice(golds)))
    return chance.sample(found, min(n, len(found)))


def _not_code(tree: ast.Module) -> set[int]:
    """Lines of imports and of strings over several lines, counted from 0."""
    found: set[int] = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno != node.end_lineno
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.expr | ast.stmt)
            found.update(range(node.lineno - 1, node.end_lineno or node.lineno))
    return found


def query(place: HiddenUse, lines: list[str]) -> Query:
    """The place with its line taken out, the cursor at the line's indentation."""
    line = lines[place.line]
    indent = line[: len(line) - len(line.lstrip())]
    before = "".join(one + "\n" for one in lines[: place.line]) + indent
    return Query(place.path, before + "\n" + "\n".join(lines[place.line + 1 :]), len(before))


def rank_of(gold: Definition, snippets: tuple[Snippet, ...]) -> int | None:
    """The place, from 0, of the first snippet that holds the definition."""
    listed = re.compile(rf"^    .*\b{re.escape(gold.name)}\b", re.MULTILINE)
    for rank, one in enumerate(snippets):
        if one.path != gold.path:
            continue
        container = gold.dotted.rpartition(".")[0]
        if gold.dotted in one.names or (container and container in one.names and listed.search(one.text)):
            return rank
    return None


def measure(root: Path, made: Index, n: int) -> dict[str, dict[str, list[float]]]:
    """Task → what was found (ranks, infinity when not) and how long it took (ms), for one root."""
    known = modules(root)
    by_path = {module.path: module for module in known.values()}
    results = {}
    for task in ("A", "B"):
        chance = random.Random(SEED)
        ranks, times = [], []
        for place in places(known, task, n, chance):
            asked = query(place, by_path[place.path].lines)
            start = time.perf_counter()
            snippets = search.rank(asked, made)
            times.append((time.perf_counter() - start) * 1000)
            rank = rank_of(place.gold, snippets)
            ranks.append(float("inf") if rank is None else rank)
        results[task] = {"ranks": ranks, "ms": times}
    return results


def main() -> None:
    """Prints recall at 5 and 10 in percent, and the median and 99th percentile of a query's milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall")
    parser.add_argument("--root", type=Path, nargs="+", required=True)
    parser.add_argument("--n", type=int, default=100, help="places of each task in each root")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {root.name: measure(root, index.build(root), options.n) for root in options.root}
    rows = {}
    for name in [*found, "all"]:
        parts = list(found.values()) if name == "all" else [found[name]]
        rows[name] = {task: _summary(parts, task) for task in ("A", "B")}
    if options.json:
        print(json.dumps(rows))
        return
    for name, tasks in rows.items():
        for task, row in tasks.items():
            print(f"{name:16} {task}  " + "  ".join(f"{key} {value:g}" for key, value in row.items()))


def _summary(parts: list[dict[str, dict[str, list[float]]]], task: str) -> dict[str, float]:
    ranks = [rank for part in parts for rank in part[task]["ranks"]]
    times = spread(ms for part in parts for ms in part[task]["ms"])
    if not ranks:
        return {"n": 0}
    hits = {f"R@{k}": round(100 * sum(rank < k for rank in ranks) / len(ranks), 1) for k in (1, 5, 10, 40)}
    return {"n": len(ranks), **hits, "p50_ms": times["p50"], "p99_ms": times["p99"]}


if __name__ == "__main__":
    main()
