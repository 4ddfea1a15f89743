"""What a repository is worth to the model: ends of its lines, hidden, their file in no index and no memory.

    python -m benchmarks.repository --root DIR... --n 200 --json

Every arm writes the rest of the same lines, from the window that the language server would show: the model with
its file alone; with snippets that retrieval finds in the other files; with n-grams of the other files mixed in;
with both; with the one definition handed over that the line needs (oracle, where it needs one); and the memory
without a model, which may also look into the rest of the file. Exact match and edit similarity of the rest of the
line, written greedily by the engine that serves; how likely the true rest was, in nats; gains over the model
alone, paired, with 95 % intervals; milliseconds. What stands below the line stays. The vectors that find similar
code were learnt with the hidden file there.

`--shard 1/4` does a quarter of the files, in an order by chance, and `--seconds` ends a run after so long;
`--merge FILE...` reports what several runs with --json have printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from benchmarks import hidden_lines
from benchmarks.hidden_lines import KINDS, Gap
from benchmarks.infill import similarity
from lsp_server import window
from lsp_server.context import BUDGET, Contexts, count
from lsp_server.document import Place, split
from lsp_server.indexing import query
from lsp_server.session import Snapshot
from model_runtime import manifest
from model_runtime.engine import Engine
from model_runtime.errors import LacunaRuntimeError
from model_runtime.memories import TOKENS
from model_runtime.ngrams import LONGEST, Continuation, NGrams, mix
from model_runtime.prompt import Infill, Snippet, lay_out
from model_runtime.sequence import Cancel, Generation, Token
from retrieval import index, memory, search
from retrieval.errors import RetrievalError
from retrieval.index import Index

MOST = 48  # tokens of the rest of a line
MODEL, RETRIEVAL, MEMORY, BOTH, ORACLE, ALONE = (
    "model",
    "+ retrieval",
    "+ memory",
    "+ both",
    "oracle",
    "memory alone",
)
ARMS = (MODEL, RETRIEVAL, MEMORY, BOTH, ORACLE, ALONE)
PARTS = ("all", "another file", "this file alone", *KINDS)


@dataclass(frozen=True)
class Try:
    """One gap filled by one arm. nats: log-probability of the true rest, None for an arm without a model."""

    exact: bool
    similar: float
    nats: float | None
    ms: float


@dataclass(frozen=True)
class Record:
    """One gap filled by every arm. crossing: it needs another file. search_ms: what finding the snippets took."""

    root: str
    path: str
    line: int
    kind: str
    crossing: bool
    search_ms: float
    tries: dict[str, Try]

    def is_of(self, part: str) -> bool:
        """Whether it counts for a part of the report."""
        return part in ("all", self.kind, "another file" if self.crossing else "this file alone")


@dataclass(frozen=True)
class Row:
    """One arm. exact, similar: shares of 1; gains: over the model alone, with the ends of their 95 % interval."""

    n: int
    exact: float
    exact_gain: tuple[float, float, float]
    similar: float
    nats: float | None
    nats_gain: tuple[float, float, float] | None
    p50_ms: float
    p95_ms: float


def records(root: Path, n: int, seed: int, shard: tuple[int, int], engine: Engine) -> Iterator[Record]:
    """Gaps of a root, filled. shard: (k, of), from 1: every so manyth file. Raises RetrievalError, ModelError."""
    streams = {path: engine.tokenizer.encode_once(text) for path, text in memory.texts(root)}
    with tempfile.TemporaryDirectory() as folder:
        made = index.with_vectors(index.opened(root, Path(folder)), Path(folder))
        gaps = hidden_lines.draw(made, n, random.Random(seed))
        by_file = [(path, list(group)) for path, group in groupby(gaps, key=lambda gap: gap.path)]
        random.Random(seed).shuffle(by_file)
        for path, group in by_file[shard[0] - 1 :: shard[1]]:
            others = NGrams((tokens for one, tokens in streams.items() if one != path), TOKENS)
            with _without(made, path):
                yield from (_record(root, gap, made, others, engine) for gap in group)


@contextlib.contextmanager
def _without(made: Index, path: str) -> Iterator[None]:
    """The index forgets a file for a while."""
    with contextlib.suppress(_Back), made.store.writing():
        made.store.remove(path)
        yield
        raise _Back


class _Back(Exception):
    """Rolls a transaction back."""


def _record(root: Path, gap: Gap, made: Index, others: NGrams, engine: Engine) -> Record:
    cursor = Place(gap.line, len(gap.before) - gap.before.rfind("\n") - 1)
    lines = tuple(split(gap.before + gap.after))
    here = Snapshot((root / gap.path).as_uri(), str(root), gap.path, "", 0, lines, cursor)
    frame = window.frame(here, None)
    known = Contexts(None).known(here, frame)
    assert known is not None
    began = time.perf_counter()
    packed = search.pack(search.rank(query(here, frame), made), count, BUDGET)
    search_ms = 1e3 * (time.perf_counter() - began)
    contexts = {MODEL: known.snippets, RETRIEVAL: (*(Snippet(one.path, one.text) for one in packed), *known.snippets)}
    if gap.oracle is not None:
        contexts[ORACLE] = (Snippet(*gap.oracle), *known.snippets)
    tries = {}
    for arm, context in contexts.items():
        infill = Infill(gap.path, frame.before, frame.anchor.suffix, context=context)
        prompt = lay_out(infill, engine.tokenizer, engine.manifest.fim, engine.context_length - MOST).tokens
        tries[arm] = _filled(engine, prompt, gap.rest, None)
        if arm != ORACLE:
            tries[MEMORY if arm == MODEL else BOTH] = _filled(engine, prompt, gap.rest, others)
    tries[ALONE] = _recalled(engine, others, gap)
    return Record(root.name, gap.path, gap.line, gap.kind, gap.oracle is not None, search_ms, tries)


def _filled(engine: Engine, prompt: tuple[int, ...], rest: str, known: NGrams | None) -> Try:
    began = time.perf_counter()
    asked = Generation(prompt, max_tokens=MOST, max_lines=1, memory=known)
    text = "".join(one.text for one in engine.generate(asked, Cancel()) if isinstance(one, Token))
    return _try(text, rest, began, _nats(engine, prompt, rest, known))


def _try(text: str, rest: str, began: float, nats: float | None) -> Try:
    ms = 1e3 * (time.perf_counter() - began)
    text = text.split("\n")[0].rstrip()
    return Try(text == rest, similarity(rest, text), nats, ms)


def _nats(engine: Engine, prompt: tuple[int, ...], rest: str, known: NGrams | None) -> float:
    middle = tuple(engine.tokenizer.encode_once(rest)[:MOST])
    total, before = 0.0, None
    for at, scores in enumerate(engine.score(prompt, middle)):
        if known is not None:
            before = known.after((*prompt, *middle[:at])[-LONGEST:], before)
            scores = mix(scores, before, engine.manifest.trust)
        total += float(scores[middle[at]])
    return total


def _recalled(engine: Engine, others: NGrams, gap: Gap) -> Try:
    """What the memory alone writes: the longest context known counts, the open file's before the others'."""
    began = time.perf_counter()
    context = engine.tokenizer.encode_once(gap.before)
    memories = (NGrams([context, engine.tokenizer.encode_once(gap.after)], TOKENS), others)
    written: list[int] = []
    befores: list[Continuation | None] = [None, None]
    while len(written) < MOST:
        said = [*context[-LONGEST:], *written][-LONGEST:]
        befores = [one.after(said, before) for one, before in zip(memories, befores, strict=True)]
        best = max(befores, key=lambda one: 0 if one is None else one.length)
        token = None if best is None else int(best.tokens[best.shares.argmax()])
        if token is None or b"\n" in engine.tokenizer.token_bytes(token):
            break
        written.append(token)
    return _try(engine.tokenizer.decode(written), gap.rest, began, None)


def paired(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval (normal approximation)."""
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return mean, mean - 1.96 * error, mean + 1.96 * error


def report(found: Sequence[Record]) -> dict[str, dict[str, Row]]:
    """Part → arm → row, for parts and arms that have any gap."""
    parts = {part: [one for one in found if one.is_of(part)] for part in PARTS}
    return {
        part: {arm: _row(mine, arm) for arm in ARMS if (mine := [one for one in some if arm in one.tries])}
        for part, some in parts.items()
        if some
    }


def _row(found: Sequence[Record], arm: str) -> Row:
    tries = [one.tries[arm] for one in found]
    pairs = [(one.tries[arm], one.tries[MODEL]) for one in found]
    scored = [(mine.nats, alone.nats) for mine, alone in pairs if mine.nats is not None and alone.nats is not None]
    times = sorted(one.ms for one in tries)
    return Row(
        n=len(tries),
        exact=statistics.fmean(one.exact for one in tries),
        exact_gain=paired([float(mine.exact - alone.exact) for mine, alone in pairs]),
        similar=statistics.fmean(one.similar for one in tries),
        nats=statistics.fmean(mine for mine, _ in scored) if scored else None,
        nats_gain=paired([mine - alone for mine, alone in scored]) if scored else None,
        p50_ms=times[len(times) // 2],
        p95_ms=times[len(times) * 95 // 100],
    )


def _measured(asked: argparse.Namespace) -> list[Record]:
    k, _, of = asked.shard.partition("/")
    found: list[Record] = []
    until = time.monotonic() + asked.seconds / len(asked.root)
    with (
        tempfile.TemporaryDirectory() as cache,
        contextlib.closing(Engine.open(asked.model, cache=Path(cache), threads=asked.threads)) as engine,
    ):
        for root in asked.root:
            for one in records(root.absolute(), asked.n, asked.seed, (int(k), int(of)), engine):
                found.append(one)
                if time.monotonic() > until:
                    break
            until += asked.seconds / len(asked.root)
    return found


def _merged(files: Sequence[Path]) -> list[Record]:
    rows = [row for file in files for row in json.loads(file.read_text("utf-8"))["lines"]]
    return [Record(**{**row, "tries": {arm: Try(**one) for arm, one in row["tries"].items()}}) for row in rows]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--root", type=Path, nargs="+", help="repositories that no model learnt from")
    what.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="what runs with --json have printed")
    parser.add_argument("--n", type=int, default=200, help="lines of each root (default: 200)")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="only the K-th of N parts of each root's files")
    parser.add_argument("--model", type=Path, default=manifest.embedded(), help="model directory (default: embedded)")
    parser.add_argument("--threads", type=int, help="of the network (default: chosen by the machine)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which to report what there is")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the report and every line's record as JSON")
    asked = parser.parse_args()
    try:
        found = _measured(asked) if asked.merge is None else _merged(asked.merge)
    except (LacunaRuntimeError, RetrievalError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"benchmarks.repository: {error}", file=sys.stderr)
        return 1
    rows = report(found)
    if asked.json:
        shown = {part: {arm: asdict(row) for arm, row in arms.items()} for part, arms in rows.items()}
        print(json.dumps({"report": shown, "lines": [asdict(one) for one in found]}))
        return 0
    _print(rows)
    return 0


def _print(rows: dict[str, dict[str, Row]]) -> None:
    for part, arms in rows.items():
        print(f"{part:18}    n  exact %  gain (95 %)            similar  nats a line (95 %)       p50/p95 ms")
        for arm, row in arms.items():
            gain = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in row.exact_gain))
            nats = "" if row.nats_gain is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*row.nats_gain)
            times = f"{row.p50_ms:.0f}/{row.p95_ms:.0f}"
            print(f"  {arm:14} {row.n:6} {100 * row.exact:7.1f}   {gain:22} {row.similar:6.2f}   {nats:24} {times}")


if __name__ == "__main__":
    sys.exit(main())
