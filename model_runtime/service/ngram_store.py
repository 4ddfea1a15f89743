"""Texts of workspaces in, their n-gram memories out: bounded, in memory only, one apart from the other.

A workspace is an opaque id: who does not know it neither reads nor changes what it holds; OWNER/NAME where several
users share a service. Texts arrive masked, under opaque names. Never written to disk, never logged, gone with the
process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from model_runtime.engine.ngrams import NGrams, Tokens

WORKSPACES = 4  # remembered at once of one owner; the one not used for longest is forgotten first
ALL = 40  # of all owners; nobody's is forgotten for another's, so that one more is not remembered
TOKENS = 600_000  # of one workspace: about two megabytes of code, and seven of memory


class Memories:
    """`learn` from one thread at a time; `of` from any."""

    def __init__(self, encode: Callable[[str], Sequence[int]], *, workspaces: int = WORKSPACES, tokens: int = TOKENS):
        self._encode = encode
        self._workspaces, self._tokens = workspaces, tokens
        self._texts: dict[str, dict[str, Tokens]] = {}
        self._memories: dict[str, NGrams] = {}

    def of(self, workspace: str) -> NGrams | None:
        """What is known of a workspace; None for one that is unknown, or the empty id."""
        return self._memories.get(workspace)

    def learn(self, workspace: str, texts: Mapping[str, str], *, more: bool = False) -> int:
        """Adds or replaces texts by name, an empty one forgets; how many tokens are then known.

        What came last is kept when there is too much. more: others follow at once, so nothing is sorted yet.
        """
        owner = _owner(workspace)
        own = [one for one in self._texts if one != workspace and _owner(one) == owner]
        if workspace not in self._texts and len(own) < self._workspaces and len(self._texts) >= ALL:
            return 0
        known = self._texts.pop(workspace, {})
        self._texts[workspace] = known
        for name, text in texts.items():
            known.pop(name, None)
            if text:
                known[name] = _array(self._encode(text))
        self._forget_oldest(known)
        for oldest in own[: max(0, len(own) + 1 - self._workspaces)]:
            del self._texts[oldest]
            self._memories.pop(oldest, None)
        if not more:
            self._memories[workspace] = NGrams(known.values(), self._tokens)
        return sum(map(len, known.values()))

    def _forget_oldest(self, known: dict[str, Tokens]) -> None:
        over = sum(len(tokens) + 1 for tokens in known.values()) - self._tokens
        for name in list(known):
            if over <= 0:
                return
            over -= len(known.pop(name)) + 1


def _owner(workspace: str) -> str:
    owner, slash, _ = workspace.partition("/")
    return owner if slash else ""


def _array(tokens: Sequence[int]) -> Tokens:
    """In as few bytes as hold them: most models have less than 65,536 words."""
    return np.array(tokens, np.min_scalar_type(max(tokens, default=0)))
