"""The one honest fake: an engine that says what it was told to, when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from model_runtime.manifest import FORMAT, Manifest
from model_runtime.sequence import Cancel, Finish, Generation, Reason, Token, Usage
from model_runtime.tokenizer import Tokenizer
from tests import tiny

LONGEST_WAIT = 10.0  # seconds; a test that forgets to open the gate must still end


def description() -> Manifest:
    """A manifest of the tiny shape that names no file."""
    return Manifest(
        format=FORMAT,
        name="scripted",
        family="llama",
        licence="Apache-2.0",
        shape=tiny.SHAPE,
        fim=tiny.FIM,
        weights="fp32",
        files={},
        split_lines=True,
    )


@dataclass
class ScriptedEngine:
    """Says `words`, one token each, as soon as `gate` is open; `calls` keeps what it was asked."""

    words: tuple[str, ...] = ("return ", "a")
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None
    calls: list[Generation] = field(default_factory=list)
    finished: list[Reason] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.manifest = description()
        self.tokenizer = Tokenizer(tiny.tokenizer(), split_lines=True)

    def generate(self, generation: Generation, cancel: Cancel) -> Iterator[Token | Finish]:
        """Waits for the gate, for the deadline or to be cancelled, whichever is first."""
        self.calls.append(generation)
        interrupted = threading.Event()
        cancel.watch(interrupted.set)
        self.begun.set()
        if self.fault is not None:
            raise self.fault
        generated = 0
        reason: Reason = "end"
        for word in self.words:
            reason = self._wait(generation, cancel, interrupted)
            if reason != "end":
                break
            generated += 1
            yield Token(word, -0.5)
        cancel.watch(None)
        self.finished.append(reason)
        yield Finish(reason, Usage(prompt_tokens=len(generation.prompt), generated=generated))

    def _wait(self, generation: Generation, cancel: Cancel, interrupted: threading.Event) -> Reason:
        until = time.monotonic() + LONGEST_WAIT
        while not self.gate.wait(0.002):
            if interrupted.is_set() or cancel.is_set:
                return "cancelled"
            if generation.deadline is not None and time.monotonic() >= generation.deadline:
                return "deadline"
            assert time.monotonic() < until, "nobody opened the gate"
        return "cancelled" if cancel.is_set else "end"

    def close(self) -> None:
        """Remembers that it was closed."""
        self.closed = True
