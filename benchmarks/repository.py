"""What a repository is worth to the model: lines of files that no index and no memory has seen.

    python -m benchmarks.repository --root DIR... --n 200 --json

Every arm writes the rest of the same lines: the model with its file alone; with snippets that
retrieval finds in the other files (+ retrieval); with n-grams of the other files mixed in
(+ memory); with both; and the memory without a model. Exact match of the rest of the line, and how
likely the true rest was, each against the first arm with a paired 95 % interval. Greedy, through
the engine that serves. The line is hidden; what stands below it stays.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from model_runtime import manifest
from model_runtime.engine import Engine
from model_runtime.errors import LacunaRuntimeError
from model_runtime.memories import TOKENS
from model_runtime.ngrams import LONGEST, Continuation, NGrams, mix
from model_runtime.prompt import Infill, Snippet, lay_out
from model_runtime.sequence import Cancel, Generation, Token
from retrieval import index, memory, search, workspace
from retrieval.errors import RetrievalError
from retrieval.index import Index
from retrieval.search import Query

ABOVE, BELOW = 60, 20  # lines that the model sees around the cursor
BUDGET = 400  # tokens of snippets
MOST = 48  # tokens of the rest of a line
HELD_OUT = 6  # files of a root
ARMS = ("model", "+ retrieval", "+ memory", "+ both", "memory alone")


@dataclass(frozen=True)
class Gap:
    """A hidden rest of a line. kind: "line" from the indentation on, "word" from a word's beginning, "inside" one."""

    path: str
    before: str
    rest: str
    after: str
    kind: str


@dataclass(frozen=True)
class Held:
    """A repository without some of its files, and those files' texts by path."""

    index: Index
    memory: NGrams
    files: dict[str, str]


@dataclass(frozen=True)
class Try:
    """One gap filled by one arm. nats: log-probability of the true rest, None for an arm without a model."""

    right: bool
    nats: float | None
    seconds: float


@dataclass(frozen=True)
class Row:
    """One arm. Gains over the model alone, with their paired 95 % intervals; nats: a line; seconds: the median."""

    exact: float
    exact_gain: tuple[float, float, float]
    nats_gain: tuple[float, float, float] | None
    seconds: float


def held(root: Path, folder: Path, engine: Engine, rng: random.Random) -> Held:
    """The root copied into `folder`, some files kept back. Raises RetrievalError."""
    names = [file.path for file in workspace.files(root)]
    worth = [name for name in names if name.endswith((".py", ".ts", ".js", ".go", ".rs", ".java", ".c", ".cpp"))]
    kept_back = {name: workspace.read(root, name) or "" for name in rng.sample(worth, min(HELD_OUT, len(worth) // 2))}
    for name in names:
        if name not in kept_back:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    texts = (text for _, text in memory.texts(folder))
    grams = NGrams((engine.tokenizer.encode_once(text) for text in texts), TOKENS)
    return Held(index.build(folder), grams, kept_back)


def gaps(held_back: Held, count: int, rng: random.Random) -> Iterator[Gap]:
    """Gaps in the files kept back, drawn evenly: half at a word, a quarter inside one, a quarter whole lines."""
    for path, text in held_back.files.items():
        lines = text.split("\n")
        worth = [at for at, line in enumerate(lines) if at > 3 and sum(map(str.isalnum, line)) > 4]
        for at in rng.sample(worth, min(len(worth), max(1, count // len(held_back.files)))):
            line = lines[at]
            first = len(line) - len(line.lstrip())
            kind = rng.choice(("word", "word", "inside", "line"))
            cut = first if kind == "line" else rng.randint(first, len(line.rstrip()) - 1)
            while kind == "word" and cut > first and (line[cut - 1].isalnum() or line[cut - 1] == "_"):
                cut -= 1
            before = "\n".join([*lines[:at], line[:cut]])
            yield Gap(path, before, line[cut:].rstrip(), "\n".join(["", *lines[at + 1 :]]), kind)


def tried(engine: Engine, held_back: Held, gap: Gap) -> dict[str, Try]:
    """The gap filled by every arm."""
    query = Query(gap.path, gap.before + gap.after, len(gap.before))
    found = search.context(query, held_back.index, engine.tokenizer.count, BUDGET)
    context = tuple(Snippet(one.path, one.text) for one in found)
    arms: dict[str, tuple[tuple[Snippet, ...], NGrams | None]] = {
        "model": ((), None),
        "+ retrieval": (context, None),
        "+ memory": ((), held_back.memory),
        "+ both": (context, held_back.memory),
    }
    tries = {arm: _filled(engine, gap, *given) for arm, given in arms.items()}
    return tries | {"memory alone": _recalled(engine, held_back.memory, gap)}


def _filled(engine: Engine, gap: Gap, context: tuple[Snippet, ...], known: NGrams | None) -> Try:
    prefix = "\n".join(gap.before.split("\n")[-ABOVE:])
    suffix = "\n".join(gap.after.split("\n")[: BELOW + 1])
    room = engine.context_length - MOST
    prompt = lay_out(
        Infill(gap.path, prefix, suffix, context=context), engine.tokenizer, engine.manifest.fim, room
    ).tokens
    began = time.perf_counter()
    asked = Generation(prompt, max_tokens=MOST, max_lines=1, memory=known)
    text = "".join(one.text for one in engine.generate(asked, Cancel()) if isinstance(one, Token))
    seconds = time.perf_counter() - began
    return Try(text.rstrip() == gap.rest, _nats(engine, prompt, gap.rest, known), seconds)


def _nats(engine: Engine, prompt: tuple[int, ...], rest: str, known: NGrams | None) -> float:
    middle = tuple(engine.tokenizer.encode_once(rest)[:MOST])
    total, before = 0.0, None
    for at, scores in enumerate(engine.score(prompt, middle)):
        if known is not None:
            before = known.after((*prompt, *middle[:at])[-LONGEST:], before)
            scores = mix(scores, before, engine.manifest.trust)
        total += float(scores[middle[at]])
    return total


def _recalled(engine: Engine, known: NGrams, gap: Gap) -> Try:
    began = time.perf_counter()
    context = engine.tokenizer.encode_once("\n".join(gap.before.split("\n")[-3:]))
    written: list[int] = []
    before: Continuation | None = None
    while len(written) < MOST:
        before = known.after([*context, *written][-LONGEST:], before)
        token = None if before is None else int(before.tokens[before.shares.argmax()])
        if token is None or b"\n" in engine.tokenizer.token_bytes(token):
            break
        written.append(token)
    text = engine.tokenizer.decode(written).rstrip()
    return Try(text == gap.rest, None, time.perf_counter() - began)


def paired(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval (normal approximation)."""
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return mean, mean - 1.96 * error, mean + 1.96 * error


def report(tries: Sequence[dict[str, Try]]) -> dict[str, Row]:
    """One row an arm."""
    return {arm: _row(tries, arm) for arm in ARMS}


def _row(tries: Sequence[dict[str, Try]], arm: str) -> Row:
    nats = [(one[arm].nats, one["model"].nats) for one in tries]
    more = [mine - alone for mine, alone in nats if mine is not None and alone is not None]
    return Row(
        exact=statistics.fmean(one[arm].right for one in tries),
        exact_gain=paired([float(one[arm].right - one["model"].right) for one in tries]),
        nats_gain=paired(more) if more else None,
        seconds=statistics.median(one[arm].seconds for one in tries),
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, nargs="+", required=True, help="repositories that no model learnt from")
    parser.add_argument("--n", type=int, default=200, help="lines of each (default: 200)")
    parser.add_argument("--model", type=Path, default=manifest.embedded(), help="model directory (default: embedded)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    results: dict[str, dict[str, Row]] = {}
    try:
        with tempfile.TemporaryDirectory() as place:
            engine = Engine.open(asked.model, cache=Path(place) / "cache")
            for root in asked.root:
                rng = random.Random(asked.seed)
                without = held(root, Path(place) / "without" / root.name, engine, rng)
                tries = [tried(engine, without, gap) for gap in gaps(without, asked.n, rng)]
                results[f"{root.name} ({len(tries)} lines)"] = report(tries)
    except (LacunaRuntimeError, RetrievalError, OSError, ValueError) as error:
        print(f"benchmarks.repository: {error}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps({name: {arm: asdict(row) for arm, row in rows.items()} for name, rows in results.items()}))
        return 0
    for name, rows in results.items():
        print(f"{name:28} exact %   gain (95 %)            nats a line (95 %)       ms")
        for arm, row in rows.items():
            gain = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in row.exact_gain))
            nats = "" if row.nats_gain is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*row.nats_gain)
            print(f"  {arm:26} {100 * row.exact:6.1f}   {gain:22} {nats:24} {1e3 * row.seconds:4.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
