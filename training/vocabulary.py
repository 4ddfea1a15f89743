"""Source texts in, a byte-level BPE out, in the file format `model_runtime.tokenizer` reads.

Byte-pair encoding (Sennrich et al. 2016) over bytes, as GPT-2 does it. The pieces that merges never cross:
a newline alone; a run of two or more blanks, or a tab (indentation); one digit; a word with at most one
underscore before it; a run of marks; the last three with at most one blank before them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.sources import SourceFile

END, CONTEXT, FILE, SUFFIX, PREFIX = "<|end|>", "<|context|>", "<|file|>", "<|suffix|>", "<|prefix|>"
SPECIAL = (END, CONTEXT, FILE, SUFFIX, PREFIX, "<|reserved-0|>", "<|reserved-1|>", "<|reserved-2|>")
PIECES = r"\n|[ \t]{2,}|\t| ?\d| ?_?\p{L}[\p{L}\p{M}]*| ?[^\s\p{L}\d_]+| ?_+|\s"


def learn(files: Iterable[SourceFile], size: int, budget: int, seed: int) -> Tokenizer:
    """A tokenizer of `size` tokens, markers first, learnt from about `budget` bytes drawn from the files."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    inner.train_from_iterator(_drawn(list(files), budget, seed), trainer)
    return inner


def save(inner: Tokenizer, path: Path) -> None:
    """Write tokenizer.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(inner.to_str(pretty=False), encoding="utf-8")


def _drawn(files: list[SourceFile], budget: int, seed: int) -> Iterator[str]:
    random.Random(seed).shuffle(files)
    for file in files:
        if budget <= 0:
            return
        text = file.text[:20_000]  # no one file rules the merges
        budget -= len(text)
        yield text
