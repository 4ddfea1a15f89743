"""A model directory and held-out text in, bits a byte by language out, at the precision that is served.

`python -m benchmarks.log_loss --model DIR --corpus CORPUS`. Bits a byte compare models of different tokenizers;
nats a token those of the same. Reads windows of plain text, from their start, as a sample without a gap.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model_runtime import manifest
from model_runtime.errors import LacunaRuntimeError
from model_runtime.graph import graph
from model_runtime.manifest import Manifest
from model_runtime.prompt import Infill, lay_out
from model_runtime.tokenizer import Tokenizer
from training import corpus

_WINDOW = 1024  # tokens


@dataclass
class Sum:
    """What one language has added up to."""

    windows: int = 0
    tokens: int = 0
    bytes: int = 0
    nats: float = 0.0


def measure(directory: Path, held_out: Path, count: int, seed: int) -> dict[str, Sum]:
    """Sums by language over `count` windows of each. Raises ModelError, OSError."""
    described = manifest.read(directory)
    tokenizer = Tokenizer.load(directory, vocab_size=described.shape.vocab_size, split_lines=described.split_lines)
    session = ort.InferenceSession(str(directory / graph.GRAPH), providers=["CPUExecutionProvider"])
    files = list(corpus.read(held_out, "held_out"))
    random.Random(seed).shuffle(files)
    sums: dict[str, Sum] = {}
    for file in files:
        found = sums.setdefault(file.language, Sum())
        if found.windows >= count:
            continue
        room = min(_WINDOW, described.shape.context_length)
        whole = lay_out(Infill(file.path, file.text, ""), tokenizer, described.fim, 1 << 30).tokens
        text = len(whole) - tokenizer.count(file.text)
        tokens = whole[:room]
        if len(tokens) < text + 32:
            continue
        found.windows += 1
        found.tokens += len(tokens) - text
        found.bytes += sum(len(tokenizer.token_bytes(token)) for token in tokens[text:])
        found.nats += _nats(session, described, tokens, text)
    return sums


def _nats(session: ort.InferenceSession, described: Manifest, tokens: tuple[int, ...], first: int) -> float:
    """The negative log-likelihood of tokens[first:], each given all before it."""
    shape, length = described.shape, len(tokens)
    empty = np.zeros((1, shape.kv_heads, shape.context_length, shape.head_size), np.float32)
    feeds: dict[str, NDArray[Any]] = {
        f"past.{layer}.{part}": empty for layer in range(shape.layers) for part in ("key", "value")
    }
    feeds |= {
        "tokens": np.array([tokens], np.int64),
        "rows": np.arange(first - 1, length - 1, dtype=np.int64),
        "length": np.array([length - 1], np.int32),
        "total": np.array(length, np.int32),
    }
    (logits,) = session.run(["logits"], feeds)
    top = logits.max(axis=1)
    partition = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return float((partition - logits[np.arange(length - first), list(tokens[first:])]).sum())


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log_loss", description="Bits a byte on held-out text.")
    parser.add_argument("--model", type=Path, default=None, help="a model directory; the embedded model without it")
    parser.add_argument("--corpus", type=Path, required=True, help="shards of `python -m training corpus`")
    parser.add_argument("--n", type=int, default=40, help="windows of each language")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        sums = measure(options.model or manifest.embedded(), options.corpus, options.n, options.seed)
    except (OSError, LacunaRuntimeError) as error:
        print(f"log_loss: {error}", file=sys.stderr)
        return 1
    for language, found in sorted(sums.items()):
        bits = found.nats / math.log(2) / found.bytes
        print(json.dumps({"language": language, **vars(found), "bits_a_byte": round(bits, 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
