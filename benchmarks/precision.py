"""One checkpoint in, what is lost in each form it may be served in out: fp32, int8, int4 and hybrid side by side.

`python -m benchmarks.precision CHECKPOINT --tokenizer FILE --corpus CORPUS`. All forms fill the same gaps through the
engine that serves: the prompt by the prefill graph, the middle by the generation graph. Nats are those of the true
middle; exact match comes with the number of gaps that this form alone, or fp32 alone, fills rightly.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmarks import infill_tasks
from benchmarks.infill import model_filler
from benchmarks.infill_tasks import Task
from model_runtime.engine.engine import Engine
from model_runtime.errors import LacunaRuntimeError
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out
from training import corpus
from training.export import Precision, export


@dataclass(frozen=True)
class Form:
    """One precision. bytes: stored; nats: a token of the true middles; gained, lost: right here and not in fp32."""

    precision: str
    bytes: int
    nats: float
    exact: float
    gained: int
    lost: int


def tasks(data: Path, held_out: Path, count: int, seed: int) -> list[Task]:
    """Single-line gaps: of HumanEval, and from mid-line in each language of the held-out packages."""
    files = [(file.language, file.path, file.text) for file in corpus.read(held_out, "held_out")]
    gaps = [one for one in infill_tasks.held_out(files, 2 * count, seed) if "mid-line" in one.suite]
    found = random.Random(seed).sample(infill_tasks.human_eval(data, "SingleLine"), count)
    for suite in sorted({gap.suite for gap in gaps}):
        found += [gap for gap in gaps if gap.suite == suite][:count]
    return found


def compare(checkpoint: Path, tokenizer: Path, gaps: Sequence[Task], threads: int | None) -> list[Form]:
    """One Form a precision, fp32 first. Raises ModelError, OSError."""
    found: list[Form] = []
    reference: list[bool] = []
    for precision in get_args(Precision):
        with tempfile.TemporaryDirectory() as folder:
            made = export(checkpoint, tokenizer, Path(folder) / "model", precision, precision)
            engine = open_engine(Path(folder) / "model", cache=Path(folder) / "cache", threads=threads)
            fill = model_filler(engine)
            right = [fill(gap).strip() == gap.answer.strip() for gap in gaps]
            nats = _nats(engine, gaps)
            engine.close()
        reference = reference or right
        pairs = list(zip(right, reference, strict=True))
        size = sum(file.bytes for file in made.files.values())
        gained, lost = pairs.count((True, False)), pairs.count((False, True))
        found.append(Form(precision, size, nats, sum(right) / len(right), gained, lost))
        print(f"{found[-1]}", file=sys.stderr, flush=True)
    return found


def _nats(engine: Engine, gaps: Sequence[Task]) -> float:
    total = count = 0.0
    for gap in gaps:
        middle = tuple(engine.tokenizer.encode(gap.answer))
        room = engine.context_length - len(middle)
        prompt = lay_out(Infill(gap.path, gap.prefix, gap.suffix), engine.tokenizer, engine.manifest.fim, room)
        for scores, token in zip(engine.score(prompt.tokens, middle), middle, strict=True):
            total -= scores[token]
            count += 1
    return total / count


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description="What quantization loses.")
    parser.add_argument("checkpoint", type=Path, help="of `python -m training train`")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    parser.add_argument("--corpus", type=Path, required=True, help="shards of `python -m training corpus`")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--n", type=int, default=150, help="gaps of each suite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    try:
        gaps = tasks(options.data, options.corpus, options.n, options.seed)
        forms = compare(options.checkpoint, options.tokenizer, gaps, options.threads)
    except (OSError, ValueError, LacunaRuntimeError) as error:
        print(f"precision: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"gaps": len(gaps), "forms": [vars(one) for one in forms]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
