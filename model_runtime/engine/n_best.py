"""What a first text might have said instead in, the likeliest texts that differ from it out.

Each further text leaves the first one at one token and goes on by itself; the n likeliest ways to leave it are
the first steps of Lawler's search for the n best (Lawler 1972). Knows nothing of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model_runtime.engine.sampling import Logits

_DEEP = 24  # tokens of the first text that may be left
_KEPT = 12  # ways remembered, of which some turn out to say the same


@dataclass(frozen=True)
class Fork:
    """After `at` tokens of the first text comes `token`; score: log-probability of all of these."""

    at: int
    token: int
    score: float


def noted(forks: list[Fork], scores: Logits, chosen: int, at: int, before: float) -> list[Fork]:
    """The likeliest forks so far, those of one more position among them.

    scores: log-probabilities [V] at that position; chosen: what the first text said there; before: its log-probability
    up to there.
    """
    if at >= _DEEP:
        return forks
    best = np.argpartition(scores, -_KEPT)[-_KEPT:] if len(scores) > _KEPT else np.arange(len(scores))
    here = [
        Fork(at, int(token), before + float(scores[token]))
        for token in best
        if token != chosen and scores[token] > -np.inf
    ]
    return sorted([*forks, *here], key=lambda fork: -fork.score)[:_KEPT]


def distinct(forks: Sequence[Fork], first: Sequence[int], spell: Callable[[int], bytes], count: int) -> list[Fork]:
    """Up to `count` forks, likeliest first, none of which can spell what the first text or another of them does.

    first: the tokens of the first text; spell: a token's bytes, empty for a marker.
    """
    found: list[Fork] = []
    for fork in forks:
        text = spell(fork.token)
        rivals = [spell(other.token) for other in found if other.at == fork.at]
        rivals.append(b"".join(spell(token) for token in first[fork.at :]))
        if text and not any(one.startswith(text) or text.startswith(one) for one in rivals):
            found.append(fork)
    return found[:count]
