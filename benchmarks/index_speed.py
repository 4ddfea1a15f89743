"""How fast a tree is read, indexed and searched.

    python -m benchmarks.index_speed --root DIR --json

read: parse and extract, one core, no disk. commit: the whole tree from disk into a store on disk,
one process. vectors: learnt and made for every chunk. search: the chunks like a place, by words and by
vectors, for places drawn from the tree's own files. rank: everything that is prepared for such a place
ahead of the key: its file read, search, imports followed, definitions ranked. live: what a keystroke
pays, the scope's key and a look in a table. change: one changed file, up to 5000 lines, until its new
definition is found. Times are of the wall; `cpu` ones count this process alone, for machines that
others use too. Memory is this process's, store and search included.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.samples import percentile
from retrieval.index import entries, index, workspace
from retrieval.index.index import Index
from retrieval.search import query_context, search
from retrieval.search.search import Query

SEED = 7
LONGEST = 5_000  # lines of the changed file


def texts(root: Path) -> dict[str, str]:
    """Path → text of every file of the tree that may be indexed."""
    found = {source.path: workspace.read(root, source.path) for source in workspace.files(root)}
    return {path: text for path, text in found.items() if text is not None}


def read_speed(tree: dict[str, str], most: int = 300_000) -> dict[str, float]:
    """Lines a second of one core, over at most so many lines."""
    chance = random.Random(SEED)
    paths = chance.sample(sorted(tree), len(tree))
    for path in paths[:20]:
        entries.read(path, tree[path])  # grammars and queries are loaded now
    lines, start = 0, time.process_time()
    for path in paths:
        entries.read(path, tree[path])
        lines += tree[path].count("\n")
        if lines > most:
            break
    return {"lines": lines, "lines_per_s": round(lines / (time.process_time() - start))}


def search_times(made: Index, tree: dict[str, str], n: int) -> dict[str, dict[str, float | None]]:
    """Milliseconds of n searches, of ranking everything for the same places, and of the live reads there."""
    chance = random.Random(SEED)
    code = [path for path, text in tree.items() if text.count("\n") > 20]
    times: dict[str, list[tuple[float, float]]] = {"search": [], "rank": [], "live": []}
    for _ in range(n):
        path = chance.choice(code)
        query = Query(path, tree[path], chance.randrange(len(tree[path])))
        for name, pair in _times_at(query, made).items():
            times[name].append(pair)
    return {
        name: {"n": n}
        | {
            f"p{percent}{unit}": percentile([pair[at] for pair in pairs], percent / 100)
            for at, unit in enumerate(("_ms", "_cpu_ms"))
            for percent in (50, 99)
        }
        for name, pairs in times.items()
    }


def _times_at(query: Query, made: Index) -> dict[str, tuple[float, float]]:
    """What `_ms` says of one place: of ranking, of the search alone, and of the live read."""
    rank = _ms(lambda: search.rank(query, made))  # before anything has been read for the others
    here = query_context.read(query)
    kept = {(query.path, search.scope(query.text, query.offset)): ()}
    return {
        "rank": rank,
        "search": _ms(lambda: search.alike(here, made)),
        "live": _ms(lambda: kept.get((query.path, search.scope(query.text, query.offset)))),
    }


def change_times(made: Index, tree: dict[str, str]) -> dict[str, float]:
    """Milliseconds from a change of the longest file (up to LONGEST lines) until its new name is found."""
    path = max((p for p, t in tree.items() if t.count("\n") <= LONGEST), key=lambda p: tree[p].count("\n"))
    text = "def quite_new_name(): pass\n" + tree[path]
    found: list[int] = []

    def by_buffer() -> None:
        found.append(len(index.with_buffer(made, path, text).defined(path, "quite_new_name")))

    def by_store() -> None:
        with made.store.writing():
            made.store.put(entries.read(path, text))
        found.append(len(made.defined(path, "quite_new_name")))

    buffer, stored = _ms(by_buffer)[0], _ms(by_store)[0]
    assert found == [1, 1] or not path.endswith(".py")
    return {"lines": text.count("\n"), "buffer_ms": buffer, "stored_ms": stored}


def main() -> None:
    """Prints one JSON object, or a line for each part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_speed")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--n", type=int, default=300, help="searches")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the indexing process
    tree = texts(options.root)
    lines = sum(text.count("\n") for text in tree.values())
    result: dict[str, Mapping[str, float | None]] = {
        "tree": {"files": len(tree), "lines": lines},
        "read": read_speed(tree),
    }
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.perf_counter(), time.process_time()
        made = index.opened(options.root, Path(folder))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        size = (Path(folder) / index.DATABASE).stat().st_size
        result["commit"] = {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(busy, 2),
            "lines_per_s": round(lines / seconds),
            "chunks": made.store.chunks(),
            "database_mb": round(size / 1e6, 1),
        }
        start = time.perf_counter()
        made = index.with_vectors(made, Path(folder))
        result["vectors"] = {"seconds": round(time.perf_counter() - start, 2)}
        result |= search_times(made, tree, options.n)
        result["change"] = change_times(made, tree)
    unit = 1 if sys.platform == "darwin" else 1024
    result["memory"] = {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if options.json:
        print(json.dumps(result))
    else:
        for name, row in result.items():
            print(f"{name:8}" + "  ".join(f"{key} {value:g}" for key, value in row.items()))


def _ms(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds that the work took, on the wall and of this thread."""
    start, busy = time.perf_counter(), time.thread_time()
    work()
    return round((time.perf_counter() - start) * 1000, 3), round((time.thread_time() - busy) * 1000, 3)


if __name__ == "__main__":
    main()
