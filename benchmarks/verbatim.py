"""A model and the corpus it learnt from in, the share of its outputs that repeat the corpus verbatim out.

`python -m benchmarks.verbatim --model DIR --corpus CORPUS`. Long continuations of held-out files and, because
that is where a model is likeliest to repeat itself, of training files too. A repeat is a run of 50 tokens that
stands in some training file; words and marks are tokens here, white space is none.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.infill import interval
from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.engine.sequence import Cancel, Generation, Token
from model_runtime.errors import LacunaRuntimeError
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out
from training import corpus, duplicates
from training.sources import SourceFile

_RUN = 50  # tokens
_WRITTEN = 384  # the model's own tokens: enough for _RUN words and marks twice over


@dataclass(frozen=True)
class Share:
    """Of `count` outputs long enough to hold a run, how many repeat one."""

    part: str
    count: int
    repeating: int
    interval: tuple[float, float]


def outputs(engine: Engine, files: list[SourceFile], count: int, seed: int) -> list[str]:
    """What the model writes on from the middle of files, long and unstopped."""
    rng = random.Random(seed)
    found = []
    for file in rng.sample(files, min(count, len(files))):
        lines = file.text.split("\n")
        cut = rng.randrange(len(lines) // 4, max(len(lines) // 4 + 1, len(lines)))
        prefix = "".join(line + "\n" for line in lines[max(0, cut - 60) : cut])
        room = engine.context_length - _WRITTEN
        prompt = lay_out(Infill(file.path, prefix, ""), engine.tokenizer, engine.manifest.fim, room).tokens
        written = engine.generate(Generation(prompt, max_tokens=_WRITTEN), Cancel())
        found.append("".join(one.text for one in written if isinstance(one, Token)))
    return found


def repeating(texts: list[str], files: list[SourceFile]) -> tuple[int, int]:
    """How many texts are long enough to hold a run, and how many of these share one with a file."""
    runs = [duplicates.runs(duplicates.token_hashes(text), _RUN) for text in texts]
    runs = [one for one in runs if len(one)]
    if not runs:
        return 0, 0
    wanted = np.unique(np.concatenate(runs))
    met = [wanted[:0]]
    for file in files:
        own = duplicates.runs(duplicates.token_hashes(file.text), _RUN)
        met.append(np.intersect1d(own, wanted))
    seen = np.unique(np.concatenate(met))
    return len(runs), sum(bool(np.isin(one, seen).any()) for one in runs)


def measure(directory: Path, shards: Path, count: int, seed: int) -> list[Share]:
    """The share for continuations of held-out and of training files. Raises ModelError, OSError."""
    learnt = list(corpus.read(shards, "train"))
    with tempfile.TemporaryDirectory() as cache:
        engine = open_engine(directory, cache=Path(cache))
        parts = {"held_out": list(corpus.read(shards, "held_out")), "train": learnt}
        texts = {part: outputs(engine, files, count, seed) for part, files in parts.items()}
        engine.close()
    found = []
    for part, written in texts.items():
        long, hits = repeating(written, learnt)
        found.append(Share(part, long, hits, interval(hits, long) if long else (0.0, 1.0)))
    return found


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verbatim", description="Outputs that repeat the corpus."
    )
    parser.add_argument("--model", type=Path, default=None, help="a model directory; the embedded model without it")
    parser.add_argument("--corpus", type=Path, required=True, help="shards of `python -m training corpus`")
    parser.add_argument("--n", type=int, default=100, help="continuations of each part")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        for share in measure(options.model or manifest.embedded(), options.corpus, options.n, options.seed):
            print(json.dumps(vars(share)))
    except (OSError, LacunaRuntimeError) as error:
        print(f"verbatim: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
