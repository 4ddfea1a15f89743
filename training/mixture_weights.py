"""A model and held-out packages in, how far that model should believe a workspace's n-grams out.

For each of some lines of some files: the model's distribution before every token, and the memory's, which knows
the rest of the package, the rest of the file included. The five slopes of `manifest.MixtureWeights` are then those
under which the true tokens are likeliest. Needs no PyTorch.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import LONGEST, NGrams, features
from model_runtime.manifest import Manifest, MixtureWeights
from model_runtime.prompt import Infill, lay_out
from model_runtime.service.ngram_store import TOKENS
from training.sources import SourceFile

_ABOVE, _BELOW = 40, 15  # lines that the model sees around the one it is asked for
_LONGEST_LINE = 48  # tokens
_FILES = 4  # of a package whose lines are asked for

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """What was seen before n tokens. seen: [n, 5] features; model, memory: [n], the true token's probability."""

    seen: Array
    model: Array
    memory: Array

    def gain(self, mixture_weights: MixtureWeights) -> float:
        """Nats a token that the mixture is better than the model alone."""
        return float(
            (np.log(_mixed(self, np.array(msgspec.structs.astuple(mixture_weights)))) - np.log(self.model)).mean()
        )


def observe(engine: Engine, packages: Mapping[str, Sequence[SourceFile]], lines: int, seed: int) -> Observed:
    """The tokens of about `lines` lines, drawn evenly from the packages. Raises ValueError when there are none."""
    rng = random.Random(seed)
    rows: list[tuple[tuple[float, ...], float, float]] = []
    for files in packages.values():
        drawn = rng.sample(list(files), min(_FILES, len(files)))
        for file in drawn:
            numbers = _numbers(file.text, max(1, lines // len(packages) // len(drawn)), rng)
            texts = [*without(file.text, numbers), *(one.text for one in files if one is not file)]
            memory = NGrams(map(engine.tokenizer.encode_once, texts), TOKENS)
            for number in numbers:
                rows += _line(engine, memory, file, number)
    if not rows:
        raise ValueError("not one token of the packages is known to both model and memory; take more lines")
    seen, model, known = zip(*rows, strict=True)
    return Observed(np.array(seen), np.maximum(np.array(model), 1e-9), np.array(known))


def fit(observed: Observed, steps: int = 2000, rate: float = 0.02) -> MixtureWeights:
    """The slopes under which the true tokens are likeliest, by gradient ascent (Adam, Kingma & Ba 2015)."""
    slopes = np.array(msgspec.structs.astuple(MixtureWeights()), np.float64)
    first, second = np.zeros_like(slopes), np.zeros_like(slopes)
    for step in range(1, steps + 1):
        share = _share(observed, slopes)
        up = (observed.memory - observed.model) / _mixed(observed, slopes) * share * (1 - share)
        gradient = (observed.seen * up[:, None]).mean(0) - 1e-4 * slopes
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        slopes += rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-9)
    return MixtureWeights(*(round(float(slope), 4) for slope in slopes))


def write(directory: Path, mixture_weights: MixtureWeights) -> Manifest:
    """The model directory's manifest with another trust. Raises ManifestError, OSError."""
    written = msgspec.structs.replace(manifest.read(directory), mixture_weights=mixture_weights)
    (directory / manifest.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n")
    return written


def without(text: str, numbers: Sequence[int]) -> list[str]:
    """What is left of a text without these lines, in pieces."""
    bounds = [-1, *sorted(numbers), text.count("\n") + 1]
    lines = [line + "\n" for line in text.split("\n")]
    return ["".join(lines[first + 1 : last]) for first, last in itertools.pairwise(bounds)]


def _share(observed: Observed, slopes: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-(observed.seen @ slopes)))
    return found


def _mixed(observed: Observed, slopes: Array) -> Array:
    share = _share(observed, slopes)
    found: Array = (1 - share) * observed.model + share * observed.memory
    return found


def _numbers(text: str, count: int, rng: random.Random) -> list[int]:
    lines = text.split("\n")
    worth = [number for number, line in enumerate(lines) if number > 3 and sum(map(str.isalnum, line)) > 4]
    return rng.sample(worth, min(count, len(worth)))


def _line(
    engine: Engine, memory: NGrams, file: SourceFile, number: int
) -> Iterator[tuple[tuple[float, ...], float, float]]:
    """Features and the true token's probabilities before each token of one line that the memory has an opinion on."""
    lines = file.text.split("\n")
    line = lines[number]
    indent = line[: len(line) - len(line.lstrip())]
    prefix = "\n".join([*lines[max(0, number - _ABOVE) : number], indent])
    suffix = "\n".join(["", *lines[number + 1 : number + 1 + _BELOW]])
    middle = tuple(engine.tokenizer.encode_once(line[len(indent) :])[:_LONGEST_LINE])
    room = engine.context_length - _LONGEST_LINE
    prompt = lay_out(Infill(file.path, prefix, suffix), engine.tokenizer, engine.manifest.fim, room).tokens
    for at, scores in enumerate(engine.score(prompt, middle)):
        known = memory.after((*prompt, *middle[:at])[-LONGEST:])
        if known is not None:
            share = float(known.shares[known.tokens == middle[at]].sum())
            yield features(known, scores.peak), math.exp(scores[middle[at]]), share
