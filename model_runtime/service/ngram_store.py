"""Texts of workspaces in, their n-gram memories out: bounded, in memory only, one apart from the other.

A workspace is an opaque id of its owner: who does not know it neither reads nor changes its texts, and nor does any
other owner. Texts arrive masked, under opaque names. The store is never written to disk, never logged, and gone with
the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from model_runtime.engine.ngrams import NGrams, Tokens
from model_runtime.owner import Owner

WORKSPACES = 4  # remembered at once of one owner; the one not used for longest is forgotten first
ALL = 40  # of all owners; nobody's is forgotten for another's, so that one more is not remembered
TOKENS = 600_000  # of one workspace: about two megabytes of code, and seven of memory


class NgramStore:
    """`learn` from one thread at a time; `of` from any."""

    def __init__(self, encode: Callable[[str], Sequence[int]], *, workspaces: int = WORKSPACES, tokens: int = TOKENS):
        self._encode = encode
        self._workspaces, self._tokens = workspaces, tokens
        self._texts: dict[tuple[Owner, str], dict[str, Tokens]] = {}
        self._ngrams: dict[tuple[Owner, str], NGrams] = {}

    def of(self, owner: Owner, workspace: str) -> NGrams | None:
        """What is known of a workspace; None for one that is unknown, or the empty id."""
        return self._ngrams.get((owner, workspace))

    def learn(self, owner: Owner, workspace: str, texts: Mapping[str, str], *, more: bool = False) -> int:
        """Adds or replaces texts by name, an empty one forgets; how many tokens are then known.

        What came last is kept when there is too much. more: others follow at once, so nothing is sorted yet.
        """
        key = (owner, workspace)
        own = [one for one in self._texts if one != key and one[0] == owner]
        if key not in self._texts and len(own) < self._workspaces and len(self._texts) >= ALL:
            return 0
        known = self._texts.pop(key, {})
        self._texts[key] = known
        for name, text in texts.items():
            known.pop(name, None)
            if text:
                known[name] = _array(self._encode(text))
        self._forget_oldest(known)
        for oldest in own[: max(0, len(own) + 1 - self._workspaces)]:
            del self._texts[oldest]
            self._ngrams.pop(oldest, None)
        if not more:
            self._ngrams[key] = NGrams(known.values(), self._tokens)
        return sum(map(len, known.values()))

    def _forget_oldest(self, known: dict[str, Tokens]) -> None:
        over = sum(len(tokens) + 1 for tokens in known.values()) - self._tokens
        for name in list(known):
            if over <= 0:
                return
            over -= len(known.pop(name)) + 1


def _array(tokens: Sequence[int]) -> Tokens:
    """In as few bytes as hold them: most models have less than 65,536 words."""
    return np.array(tokens, np.min_scalar_type(max(tokens, default=0)))
