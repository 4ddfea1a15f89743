"""A prompt in, a KV slot out that already holds as much of it as any slot does.

Slots are compared by content, so documents and clients share what they have in common.
Knows nothing of the network: a slot's store is the backend's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from model_runtime.backend import Backend, Store

_WORTH_COPYING = 32  # tokens: below this a copy costs more thought than the prefill it saves


@dataclass
class Slot(Generic[Store]):
    """tokens: those whose keys and values stand in `store`, in order."""

    store: Store
    tokens: list[int] = field(default_factory=list)
    used_at: int = 0


class Cache(Generic[Store]):
    """At most `size` slots, the least recently used one given away first."""

    def __init__(self, backend: Backend[Store], size: int) -> None:
        assert size >= 1
        self._backend, self._size = backend, size
        self._slots: list[Slot[Store]] = []
        self._clock = 0

    def acquire(self, prompt: Sequence[int]) -> tuple[Slot[Store], int]:
        """A slot whose first n tokens are the prompt's, and n; at least one token is left to compute.

        A slot that would lose most of what it holds is copied instead of overwritten, so that
        going back to where one came from is still warm.
        """
        best = max(self._slots, key=lambda slot: (shared(slot.tokens, prompt), slot.used_at), default=None)
        reused = 0 if best is None else min(shared(best.tokens, prompt), len(prompt) - 1)
        if best is None or reused < len(best.tokens) // 2:
            fresh = self._fresh()
            if best is None or reused < _WORTH_COPYING:
                reused = 0
            elif fresh is not best:
                self._backend.copy(best.store, fresh.store, reused)
                fresh.tokens = list(prompt[:reused])
            best = fresh
        self._clock += 1
        best.used_at = self._clock
        del best.tokens[reused:]
        return best, reused

    def __len__(self) -> int:
        return len(self._slots)

    def _fresh(self) -> Slot[Store]:
        """An unused slot while there is room, then the least recently used."""
        if len(self._slots) < self._size:
            self._slots.append(Slot(self._backend.new_store()))
            return self._slots[-1]
        return min(self._slots, key=lambda slot: slot.used_at)


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
