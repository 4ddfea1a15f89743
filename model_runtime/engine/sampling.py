"""What the network says of the next token in, one token out. Keeps no state but the generator it is given.

Of a vocabulary's log-probabilities a greedy text looks at one or two, so no more than the sum is computed of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
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


class Scores(msgspec.Struct, frozen=True, eq=False):
    """Natural log-probabilities of the next token, [V]; `scores[token]` is one of them.

    best: the likeliest token; peak: its log-probability. A token's is its logit less `total`, but for those `raised`
    above that, which stand there themselves.
    """

    logits: Logits
    total: float
    best: int
    peak: float
    raised: Mapping[int, float] = {}

    def __getitem__(self, token: int) -> float:
        raised = self.raised.get(token)
        return float(self.logits[token]) - self.total if raised is None else raised

    def whole(self) -> Logits:
        """All of them, [V]."""
        found: Logits = (self.logits - np.float64(self.total)).astype(np.float32)
        for token, score in self.raised.items():
            found[token] = score
        return found


def scored(logits: Logits) -> Scores:
    """softmax(logits); logits: [V]. Raises ModelError when one is no number."""
    best = int(logits.argmax())  # the first that is no number, where one is none
    highest = float(logits[best])
    if not math.isfinite(highest):
        raise ModelError(
            "the network gives values that are no numbers, so its weights are damaged; "
            "run: lacuna model verify, and restore the model directory or import it again"
        )
    shares = logits - logits[best]
    above = math.log(np.add.reduce(np.exp(shares, out=shares)))
    return Scores(logits, highest + above, best, -above)


def only(scores: Scores, allowed: NDArray[np.int64]) -> Scores:
    """The same given that the token is one of those allowed. scores: with none raised."""
    logits = np.full_like(scores.logits, -np.inf)
    logits[allowed] = scores.logits[allowed]
    return scored(logits)


def choose(scores: Scores, sampling: Sampling, random: np.random.Generator | None = None) -> int:
    """A token. random: for a temperature above 0."""
    if sampling.temperature < _COLD:
        return scores.best
    assert random is not None, "a draw needs a source of chance"
    return _draw(scores.whole(), sampling, random)


def _draw(scores: Logits, sampling: Sampling, random: np.random.Generator) -> int:
    weights = np.exp(scored(scores / np.float32(sampling.temperature)).whole().astype(np.float64))
    if sampling.top_p < 1:
        order = np.argsort(weights)[::-1]
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= sampling.top_p]] = 0
    return int(random.choice(len(weights), p=weights / weights.sum()))
