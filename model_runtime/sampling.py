"""Log-probabilities in, one token out. Keeps no state but the generator it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_runtime.errors import ModelError

Logits = NDArray[np.float32]

_COLD = 1e-4  # a temperature below it is greedy: the quotients would leave what 32 bits hold


@dataclass(frozen=True)
class Sampling:
    """temperature 0 is greedy. top_p: the smallest set of tokens holding this share (Holtzman et al. 2020)."""

    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 10.0:
            raise ValueError(f"temperature is {self.temperature}; give a number from 0 (greedy) to 10")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}; give a number above 0, up to 1")


def log_probabilities(logits: Logits) -> Logits:
    """Natural logarithms of softmax(logits); logits: [V]. Raises ModelError when one is no number."""
    highest = logits[logits.argmax()]  # the first that is no number, where one is none
    if not math.isfinite(highest):
        raise ModelError(
            "the network gives values that are no numbers, so its weights are damaged; "
            "run: lacuna model verify, and restore the model directory or import it again"
        )
    found: Logits = logits - highest
    found -= np.log(np.exp(found).sum())
    return found


def only(scores: Logits, allowed: NDArray[np.int64]) -> Logits:
    """Log-probabilities [V] given that the token is one of those allowed."""
    found = np.full_like(scores, -np.inf)
    found[allowed] = log_probabilities(scores[allowed])
    return found


def choose(scores: Logits, sampling: Sampling, random: np.random.Generator | None = None) -> int:
    """A token. scores: natural log-probabilities, [V]. random: for a temperature above 0."""
    if sampling.temperature < _COLD:
        return int(scores.argmax())
    assert random is not None, "a draw needs a source of chance"
    return _draw(scores, sampling, random)


def _draw(scores: Logits, sampling: Sampling, random: np.random.Generator) -> int:
    weights = np.exp(log_probabilities(scores / sampling.temperature).astype(np.float64))
    if sampling.top_p < 1:
        order = np.argsort(weights)[::-1]
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= sampling.top_p]] = 0
    return int(random.choice(len(weights), p=weights / weights.sum()))
