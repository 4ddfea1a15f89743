"""A Generation in, Tokens and one Finish out: schedule, run, postprocess. One sequence at a time.

Knows token ids, the clock and the KV cache; nothing of editors, files or HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model_runtime import manifest as manifests
from model_runtime.cache import Cache, Slot
from model_runtime.errors import Cancelled, PromptError
from model_runtime.manifest import Manifest
from model_runtime.ngrams import LONGEST, Continuation, mix
from model_runtime.onnx_backend import KeysAndValues, OnnxBackend
from model_runtime.sampling import Logits, choose, log_probabilities
from model_runtime.sequence import Cancel, Finish, Generation, Reason, Sequence, Token, Usage
from model_runtime.tokenizer import Tokenizer

SLOTS = 4
CHUNK = 128  # tokens prefilled in one run: what a cancel may lose, and how often the clock is looked at


@dataclass
class _Costs:
    """What one generation has cost so far: tokens, and seconds inside the network."""

    prefilled: int = 0
    reused: int = 0
    prefill: float = 0.0
    decode: float = 0.0

    @contextmanager
    def charge(self, stage: Literal["prefill", "decode"]) -> Iterator[None]:
        """The time inside goes to that stage, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - began)

    def usage(self, generation: Generation, generated: int) -> Usage:
        return Usage(
            prompt_tokens=len(generation.prompt),
            prefilled=self.prefilled,
            reused=self.reused,
            generated=generated,
            prefill_ms=self.prefill * 1e3,
            decode_ms=self.decode * 1e3,
            model_ms=(self.prefill + self.decode) * 1e3,
        )


class Engine:
    """The model, ready to generate. Call it from one thread; `Cancel.set` from any."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, backend: OnnxBackend) -> None:
        self.manifest, self.tokenizer = manifest, tokenizer
        self._backend = backend
        self._cache: Cache[KeysAndValues] = Cache(backend, SLOTS)
        self._end = frozenset(tokenizer.special(token) for token in manifest.fim.end)

    @classmethod
    def open(cls, directory: Path, *, cache: Path, threads: int | None = None) -> Engine:
        """Loads a model directory; `cache` is where derived graphs are kept. Raises ModelError."""
        manifest = manifests.read(directory)
        manifests.check_sizes(directory, manifest)
        tokenizer = Tokenizer.load(directory, vocab_size=manifest.shape.vocab_size, split_lines=manifest.split_lines)
        return cls(manifest, tokenizer, OnnxBackend.open(directory, manifest, cache=cache, threads=threads))

    @property
    def context_length(self) -> int:
        """Tokens that prompt and generation share."""
        return self._backend.context_length

    def generate(self, generation: Generation, cancel: Cancel) -> Iterator[Token | Finish]:
        """Tokens as they come, then exactly one Finish. Raises PromptError before the first, ModelError at any."""
        prompt = generation.prompt
        self._check(prompt, generation.max_tokens)
        sequence = Sequence(generation, self.tokenizer, self._end)
        costs = _Costs()
        slot, costs.reused = self._cache.acquire(prompt)
        try:
            logits = self._prefill(slot, generation, costs, cancel)
            if logits is None:
                sequence.reason = "deadline"
            else:
                yield from self._decode(slot, sequence, logits, costs, cancel)
        except Cancelled:
            sequence.reason = "cancelled"
        assert sequence.reason is not None
        if rest := sequence.flush():
            yield Token(rest, 0.0)
        yield Finish(sequence.reason, costs.usage(generation, sequence.generated))

    def score(self, prompt: tuple[int, ...], middle: tuple[int, ...]) -> Iterator[Logits]:
        """The model's own log-probabilities [V] before each token of a middle that is known.

        Raises PromptError when the two do not fit.
        """
        self._check(prompt, len(middle))
        slot, reused = self._cache.acquire(prompt)
        logits = self._prefill(slot, Generation(prompt), _Costs(reused=reused), cancel := Cancel())
        for token in middle:
            assert logits is not None
            yield log_probabilities(logits)
            logits = self._backend.step(slot.store, (token,), len(slot.tokens), cancel)
            slot.tokens.append(token)

    def close(self) -> None:
        """Gives memory and threads back."""
        self._backend.close()

    def _check(self, prompt: tuple[int, ...], room: int) -> None:
        if not prompt or len(prompt) + room > self.context_length:
            raise PromptError(
                f"{len(prompt)} prompt tokens and {room} new ones do not fit into {self.context_length}; "
                f"send a prompt of 1 to {self.context_length - room} tokens"
            )
        if any(not 0 <= token < self._backend.vocab_size for token in prompt):
            raise PromptError(f"the prompt holds ids outside 0 … {self._backend.vocab_size - 1}")

    def _prefill(
        self, slot: Slot[KeysAndValues], generation: Generation, costs: _Costs, cancel: Cancel
    ) -> Logits | None:
        """Logits after the prompt; None when the deadline passed. What was computed stays in the slot.

        The last token of a long prompt is a step of its own, so that what follows a long prefill
        comes from the very kernels that what follows a short one does.
        """
        prompt = generation.prompt
        extending = len(prompt) - costs.reused > self._backend.few
        while not _past(generation.deadline):
            start = len(slot.tokens)
            stop = min(start + CHUNK, len(prompt) - 1) if extending else len(prompt)
            with costs.charge("prefill"):
                if start < stop < len(prompt):
                    self._backend.extend(slot.store, prompt[start:stop], start, cancel)
                else:
                    stop = len(prompt)
                    logits = self._backend.step(slot.store, prompt[start:], start, cancel)
            slot.tokens.extend(prompt[start:stop])
            costs.prefilled += stop - start
            if stop == len(prompt):
                return logits
        return None

    def _decode(
        self, slot: Slot[KeysAndValues], sequence: Sequence, logits: Logits, costs: _Costs, cancel: Cancel
    ) -> Iterator[Token]:
        generation = sequence.generation
        random = np.random.default_rng(generation.seed)
        known: Continuation | None = None
        while sequence.reason is None:
            scores = log_probabilities(logits)
            if generation.memory is not None:
                known = generation.memory.after(slot.tokens[-LONGEST:], known)
                scores = mix(scores, known, self.manifest.trust)
            token = choose(scores, generation.sampling, random)
            shown = sequence.push(token, float(scores[token]))
            if shown is not None:
                yield shown
            if sequence.reason is None:
                sequence.reason = _interrupted(generation, cancel)
            if sequence.reason is not None:
                return
            with costs.charge("decode"):
                logits = self._backend.step(slot.store, (token,), len(slot.tokens), cancel)
            slot.tokens.append(token)


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _interrupted(generation: Generation, cancel: Cancel) -> Reason | None:
    if cancel.is_set:
        return "cancelled"
    return "deadline" if _past(generation.deadline) else None
