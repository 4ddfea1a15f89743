"""What is left to do in, what the network does next out: by priority, fair between clients, in time.

Between tasks of one priority, clients take turns (start-time fair queueing, Goyal et al. 1996); reading prompts
and writing middles take turns of equal time. Knows nothing of tokens, slots or the network.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from model_runtime.engine.sequence import Generation
from model_runtime.errors import Overloaded
from model_runtime.owner import Owner
from model_runtime.protocol import Priority

_RANKS: dict[Priority, int] = {"hand": 0, "automatic": 1, "prefetch": 2}
_MEMORY = 0.1  # share of the newest measurement in a speed


@dataclass(eq=False, repr=False)
class Turn:
    """One task's place. unread: tokens of its prompt to be computed; tag: when its turn is, in seconds of work."""

    generation: Generation
    unread: int
    tag: float
    number: int

    @property
    def rank(self) -> int:
        """Lower goes first, whatever the others wait for."""
        return _RANKS[self.generation.priority]

    @property
    def order(self) -> tuple[int, bool, float, int]:
        """Lower is read first."""
        return self.rank, not self.generation.starved, self.tag, self.number


AnyTurn = TypeVar("AnyTurn", bound=Turn)


@dataclass
class Scheduler:
    """Measured speeds, whose turn it is, and how much reading writing has to catch up with."""

    token: float | None = None  # seconds to read one, None before the first was
    step: float | None = None  # seconds to write one, with all that write at once
    _now: float = 0.0
    _debt: float = 0.0
    _taken: int = 0
    _after: dict[tuple[Owner, str], float] = field(default_factory=dict)  # when the next turn of a client is

    def enter(self, generation: Generation, unread: int) -> tuple[float, int]:
        """Tag and number of a new task's turn."""
        client = (generation.owner, generation.client)
        if generation.owner.token:  # one user does not get more turns by many names
            client = (generation.owner, "")
        self._after = {one: at for one, at in self._after.items() if at > self._now}
        tag = self._after.get(client, self._now)
        self._after[client] = tag + unread * (self.token or 0.0) + generation.max_tokens * (self.step or 0.0)
        self._taken += 1
        return tag, self._taken

    def check(self, generation: Generation, unread: int, others: Sequence[Turn]) -> None:
        """Raises Overloaded when the others leave too little time for the first token of a new task.

        One that would be late by itself is taken all the same: what it reads makes the next one quick.
        """
        rank = _RANKS[generation.priority]
        ahead = [one for one in others if one.rank <= rank and one.generation.starved >= generation.starved]
        if generation.deadline is None or self.token is None or not ahead:
            return
        alone = unread * self.token
        wait = sum(one.unread for one in ahead) * self.token
        share = 2 if any(not one.unread for one in ahead) else 1  # who writes gets half of the time
        if alone <= generation.deadline - time.monotonic() < share * (alone + wait):
            raise Overloaded(f"{len(ahead)} requests go first and leave no time for this one; try again in a second")

    def next(self, reading: Sequence[AnyTurn], writing: Sequence[Turn]) -> AnyTurn | None:
        """Which of those that still read goes on with it; None when it is the turn of those that write."""
        if not reading:
            return None
        first = min(reading, key=lambda one: one.order)
        if writing:
            best = min(one.rank for one in writing)
            if best < first.rank or (best == first.rank and self._debt > 0):
                return None
        self._now = max(self._now, first.tag)
        return first

    def read(self, tokens: int, seconds: float, *, contended: bool) -> None:
        """So many tokens of a prompt were read in one run. contended: while others were ready to write."""
        self._debt = self._debt + seconds if contended else 0.0
        self.token = _blended(self.token, seconds / tokens)

    def wrote(self, seconds: float) -> None:
        """One run wrote a token of each text."""
        self._debt = max(0.0, self._debt - seconds)
        self.step = _blended(self.step, seconds)


def _blended(before: float | None, seconds: float) -> float:
    return seconds if before is None else before + _MEMORY * (seconds - before)
