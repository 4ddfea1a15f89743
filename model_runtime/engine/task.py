"""One Generation while it is worked on: its turn, its texts as far as they are written, and what it has cost.

Knows no network: what the network says about a text is handed in as logits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from model_runtime.engine import n_best
from model_runtime.engine.backend import KVSlot
from model_runtime.engine.cache import PrefixSlot
from model_runtime.engine.n_best import Fork
from model_runtime.engine.ngrams import LONGEST, Continuation, mix
from model_runtime.engine.sampling import Logits, choose, only, scored
from model_runtime.engine.scheduler import Turn
from model_runtime.engine.sequence import Cancel, Sequence, Token
from model_runtime.engine.speculation import Drafter
from model_runtime.manifest import MixtureWeights
from model_runtime.protocol import Reason, Usage


@dataclass(eq=False, repr=False)
class Text(Generic[KVSlot]):
    """One text. following: the token that the network is to see next; score: log-probability of the text so far.

    drafter: guesses what follows that, for the first text of a prompt.
    """

    index: int
    sequence: Sequence
    slot: PrefixSlot[KVSlot]
    following: int
    drafter: Drafter | None = None
    score: float = 0.0
    known: Continuation | None = None


@dataclass(eq=False, repr=False)
class Task(Turn, Generic[KVSlot]):
    """Waits for a slot, then reads its prompt into it, then writes its texts; several from one prompt if asked.

    prompt, forced: what it reads, and what each text has to begin with because the rest of the prompt said so.
    earlier: the end of a text that begins much as the prompt does.
    many: what is to be read is worth the kernels for many tokens. prefilled, reused: tokens of the prompt computed,
    and found in the slot. queue: seconds until its turn came; prefill, decode: seconds inside the network.
    """

    cancel: Cancel
    prompt: tuple[int, ...]
    forced: bytes = b""
    slot: PrefixSlot[KVSlot] | None = None
    earlier: list[int] = field(default_factory=list)
    many: bool = False
    texts: list[Text[KVSlot]] = field(default_factory=list)
    forks: list[Fork] = field(default_factory=list)
    prefilled: int = 0
    reused: int = 0
    queue: float | None = None
    prefill: float = 0.0
    decode: float = 0.0
    _entered: float = field(default_factory=time.monotonic)
    _random: np.random.Generator | None = None

    @property
    def growing(self) -> list[Text[KVSlot]]:
        """The texts that the network is to go on with; one without a word too, until the prompt is read."""
        whole = len(self.prompt)
        return [text for text in self.texts if text.sequence.reason is None or len(text.slot.tokens) < whole]

    @property
    def slots(self) -> list[PrefixSlot[KVSlot]]:
        """All that it uses."""
        further = [text.slot for text in self.texts[1:]]
        return further if self.slot is None else [self.slot, *further]

    @property
    def is_prefetch(self) -> bool:
        """Nobody waits for it yet."""
        return self.generation.priority == "prefetch"

    def place(self, slot: PrefixSlot[KVSlot], held: int, *, few: int) -> None:
        """It reads into this slot, which holds so many of the prompt's tokens. few: see Backend."""
        self.slot, self.many = slot, len(self.prompt) - held > few
        if self.queue is None:
            self.queue, self.reused = time.monotonic() - self._entered, held

    def charge_prefill(self, tokens: int, seconds: float) -> None:
        """So many tokens of the prompt were computed."""
        self.prefilled += tokens
        self.prefill += seconds

    def accept_logits(
        self,
        text: Text[KVSlot],
        logits: Logits,
        mixture_weights: MixtureWeights,
        allowed: NDArray[np.int64] | None = None,
    ) -> Iterator[Token]:
        """Chooses the text's next token after what the network said. allowed: of these only."""
        generation = self.generation
        if text.sequence.reason is not None:  # nothing was asked but to read the prompt
            return
        scores = scored(logits)
        if generation.ngrams is not None:
            foreseen = text.drafter.foreseen if text.drafter is not None else None
            text.known = foreseen or generation.ngrams.after(text.slot.tokens[-LONGEST:], text.known)
        known = text.known
        if allowed is not None:
            scores = only(scores, allowed)
            if generation.ngrams is not None:
                known = generation.ngrams.among(allowed, text.slot.tokens[-LONGEST:], known)
        scores = mix(scores, known, mixture_weights)
        if generation.temperature and self._random is None:
            self._random = np.random.default_rng(generation.seed)
        token = choose(scores, generation.sampling, self._random)
        if generation.n > 1 and text.index == 0:
            said = len(text.slot.tokens) - len(self.prompt)
            self.forks = n_best.noted(self.forks, scores.whole(), token, said, text.score)
        score = scores[token]
        text.score += score
        text.following = token
        if text.drafter is not None:
            text.drafter.accept_token(token, text.known)
        shown = text.sequence.push(token, score)
        if shown is not None:
            yield Token(shown.text, shown.logprob, text.index)
        if text.sequence.reason is not None:
            yield from flushed(text)

    def repeat(self, text: Text[KVSlot], first: list[int], fork: Fork) -> Iterator[Token]:
        """Begins a further text with what it has in common with the first, and where it leaves that."""
        parts = [text.sequence.push(token, 0.0) for token in [*first[: fork.at], fork.token]]
        text.score, text.following = fork.score, fork.token
        yield Token("".join(part.text for part in parts if part is not None), fork.score, text.index)
        if text.sequence.reason is not None:
            yield from flushed(text)

    def usage(self) -> Usage:
        """What it has cost so far."""
        queue = time.monotonic() - self._entered if self.queue is None else self.queue
        return Usage(
            prompt_tokens=len(self.prompt),
            prefilled=self.prefilled,
            reused=self.reused,
            generated=sum(text.sequence.generated for text in self.texts),
            queue_ms=queue * 1e3,
            prefill_ms=self.prefill * 1e3,
            decode_ms=self.decode * 1e3,
            model_ms=(self.prefill + self.decode) * 1e3,
        )

    def end(self, reason: Reason) -> Iterator[Token]:
        """Completes what is not complete, for this reason."""
        for text in self.growing:
            text.sequence.reason = text.sequence.reason or reason
            yield from flushed(text)


def flushed(text: Text[KVSlot]) -> Iterator[Token]:
    """What a complete text held back, if it did."""
    if rest := text.sequence.flush():
        yield Token(rest, 0.0, text.index)
