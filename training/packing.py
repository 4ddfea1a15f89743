"""A corpus and a tokenizer in, shards of equal-length rows out, one sample a row.

A window is grown until it fills its row, so a row holds one sample from position 0, as in serving,
and attention needs no mask between samples. What is left over at the end of a row is padding and counts
for nothing. A shard is a function of corpus, tokenizer, recipe, seed and its number, of nothing else.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_runtime.tokenizer import Tokenizer
from training import snippets
from training.corpus import balanced, read
from training.run import Run
from training.samples import Recipe, Sample, samples
from training.sources import SourceFile

MARKERS = 8  # ids below this are markers

Ids = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Rows:
    """tokens: [n, length + 1]; middle, used: [n] uint16, where the middle starts and the sample ends.

    kept: [n] bool, whether a network that is tuned shall go on there as it did, see `train.train`.
    Token ids are of 16 bits, or of 32 for a vocabulary that needs them.
    """

    tokens: Ids
    middle: NDArray[np.uint16]
    used: NDArray[np.uint16]
    kept: NDArray[np.bool_]


def order(files: list[SourceFile], seed: int, shards: int) -> list[list[int]]:
    """For every shard of one pass the numbers of its files; every file once, shuffled."""
    numbers = list(range(len(files)))
    random.Random(seed).shuffle(numbers)
    return [numbers[part::shards] for part in range(shards)]


def by_package(files: Iterable[SourceFile]) -> dict[str, list[SourceFile]]:
    """The files of each package: where cross-file snippets come from."""
    found: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        found[file.package].append(file)
    return dict(found)


class DefinitionsByPackage(dict[str, snippets.Definitions]):
    """Definitions of each package, found when first asked for."""

    def __init__(self, packages: dict[str, list[SourceFile]]) -> None:
        super().__init__()
        self._packages = packages

    def __missing__(self, package: str) -> snippets.Definitions:
        self[package] = snippets.definitions(self._packages[package])
        return self[package]


def shard(
    files: Iterable[SourceFile], known: DefinitionsByPackage, encoder: Tokenizer, recipe: Recipe, seed: int
) -> dict[int, Rows]:
    """Rows by length. Samples are put into the shortest row that holds them."""
    rng = random.Random(seed)
    lengths = sorted(length for length, _ in recipe.buckets)
    found: dict[int, list[Sample]] = {length: [] for length in lengths}
    for file in files:
        for sample in samples(file, known[file.package], encoder, recipe, rng):
            size = len(sample.tokens)
            if size < 48:
                continue
            for length in lengths:
                if size <= length + 1:
                    found[length].append(sample)
                    break
    kind: type[np.unsignedinteger[Any]] = np.uint16 if encoder.vocab_size <= 1 << 16 else np.uint32
    return {length: _rows(kept, np.zeros((len(kept), length + 1), kind), rng) for length, kept in found.items()}


def with_kept(learnt: dict[int, Rows], kept: dict[int, Rows], seed: int) -> dict[int, Rows]:
    """Rows of two shards of the same lengths, mixed; those of the second are marked."""
    rng = np.random.default_rng(seed)
    found = {}
    for length, one in learnt.items():
        other = replace(kept[length], kept=np.ones(len(kept[length].tokens), np.bool_))
        mixed = rng.permutation(len(one.tokens) + len(other.tokens))
        both = {name: np.concatenate((array, vars(other)[name]))[mixed] for name, array in vars(one).items()}
        found[length] = Rows(**both)
    return found


def _rows(kept: list[Sample], tokens: Ids, rng: random.Random) -> Rows:
    rng.shuffle(kept)
    for row, sample in zip(tokens, kept, strict=True):
        row[: len(sample.tokens)] = sample.tokens
    middle = np.array([sample.middle for sample in kept], dtype=np.uint16)
    used = np.array([len(sample.tokens) for sample in kept], dtype=np.uint16)
    return Rows(tokens, middle, used, np.zeros(len(kept), np.bool_))


def save(path: Path, rows: dict[int, Rows]) -> None:
    """One .npz a shard, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    for length, one in rows.items():
        arrays |= {f"{name}_{length}": array for name, array in vars(one).items()}
    partial = path.with_suffix(".part.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.rename(path)


def load(path: Path) -> dict[int, Rows]:
    """What `save` wrote. Raises OSError."""
    with np.load(path) as arrays:
        lengths = sorted(int(name.removeprefix("tokens_")) for name in arrays if name.startswith("tokens_"))
        names = Rows.__dataclass_fields__
        return {length: Rows(**{name: arrays[f"{name}_{length}"] for name in names}) for length in lengths}


def batches(
    rows: dict[int, Rows], tokens: int, seed: int, markers: Collection[int] = range(1, MARKERS)
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The shard's rows as batches of about `tokens` tokens, rows of one length together, shuffled.

    Each: tokens [n, length + 1] int64; classes [n, length] float32: 0 nothing to learn, 1 text, 2 middle; -1 and -2
    in rows that are marked as kept. What does not fill a batch at the end of a length is left out.
    markers: ids that are never learnt.
    """
    plan = []
    for length, one in sorted(rows.items()):
        count = max(1, tokens // length)
        plan += [(length, start, start + count) for start in range(0, len(one.tokens) - count + 1, count)]
    random.Random(seed).shuffle(plan)
    for length, start, end in plan:
        yield _batch(rows[length], start, end, list(markers))


def _batch(one: Rows, start: int, end: int, markers: list[int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    tokens = one.tokens[start:end].astype(np.int64)
    place = np.arange(1, tokens.shape[1])[None, :]
    classes = np.where(place >= one.middle[start:end, None], 2.0, 1.0)
    learnt = (place < one.used[start:end, None]) & ~np.isin(tokens[:, 1:], markers)
    sign = np.where(one.kept[start:end, None], -1, 1)
    return tokens, (classes * learnt * sign).astype(np.float32)


def write(corpus: Path, role: str, tokenizer: Path, plan: Run, out: Path, chosen: range) -> None:
    """Write the shards of one pass whose numbers are `chosen`; those that are there are left alone."""
    files = list(read(corpus, role))
    encoder = Tokenizer.load(tokenizer.parent, vocab_size=plan.shape.vocab_size, split_lines=True)
    recipe = Recipe(plan.rows.buckets, plan.rows.cross_file, plan.rows.plain)
    known = DefinitionsByPackage(by_package(files))
    for number in chosen:
        path = shard_path(out, role, number)
        if path.exists():
            continue
        turn, part = divmod(number, plan.rows.shards)
        drawn = balanced(files, plan.rows.cap, plan.seed + turn)
        members = order(drawn, plan.seed + turn, plan.rows.shards)[part]
        found = shard((drawn[member] for member in members), known, encoder, recipe, plan.seed * 1_000_003 + number)
        save(path, found)
        size = sum(int(one.used.sum()) for one in found.values())
        print(f"{path.name}: {sum(len(one.tokens) for one in found.values())} rows, {size} tokens", flush=True)


def shard_path(out: Path, role: str, number: int) -> Path:
    """Where a shard lies. Numbers go on from one pass over the corpus to the next."""
    return out / f"{role}-{number:05d}.npz"
