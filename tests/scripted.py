"""The one honest fake: an engine that says what it was told to, when it is told to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from model_runtime.engine.sequence import Cancel, Finish, Generation, Token
from model_runtime.manifest import FORMAT, Manifest
from model_runtime.protocol import Reason, Usage
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


@dataclass(eq=False)
class Script:
    """One generation: how far it has been said."""

    generation: Generation
    cancel: Cancel
    said: int = 0
    began: float = field(default_factory=time.monotonic)


@dataclass
class ScriptedEngine:
    """Says `words`, one token each, as soon as `gate` is open, to one after the other; `calls` is what it was asked."""

    words: tuple[str, ...] = ("return ", "a")
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None
    pace: float = 0.0
    calls: list[Generation] = field(default_factory=list)
    finished: list[Reason] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.manifest = description()
        self.tokenizer = Tokenizer(tiny.tokenizer(), split_lines=True)
        self.under_way: list[Script] = []
        self.until = time.monotonic() + LONGEST_WAIT

    @property
    def busy(self) -> bool:
        """Something was begun and is not finished."""
        return bool(self.under_way)

    def reading(self, generation: Generation) -> float:
        """Takes no time, unless told otherwise."""
        return self.pace * len(generation.prompt)

    def begin(self, generation: Generation, cancel: Cancel) -> Script:
        """Takes anything."""
        self.calls.append(generation)
        self.under_way.append(script := Script(generation, cancel))
        self.begun.set()
        return script

    def step(self) -> list[tuple[Script, Token | Finish]]:
        """A word for the first, if the gate is open; the end of what was cancelled or is late."""
        if self.fault is not None and self.under_way:
            self.under_way.clear()
            raise self.fault
        events: list[tuple[Script, Token | Finish]] = []
        for script in self.under_way[:]:
            deadline = script.generation.deadline
            if script.cancel.is_set:
                events.append(self._end(script, "cancelled"))
            elif deadline is not None and time.monotonic() >= deadline:
                events.append(self._end(script, "deadline"))
        if self.under_way and self.is_open():
            script = self.under_way[0]
            if script.said < len(self.words):
                events.append((script, Token(self.words[script.said], -0.5)))
                script.said += 1
            else:
                events.append(self._end(script, "end"))
        return events

    def is_open(self) -> bool:
        """Waits for the gate a little."""
        assert time.monotonic() < self.until or self.gate.is_set(), "nobody opened the gate"
        return self.gate.wait(0.002)

    def _end(self, script: Script, reason: Reason) -> tuple[Script, Finish]:
        self.under_way.remove(script)
        self.finished.append(reason)
        queued = (time.monotonic() - script.began) * 1000 if not script.said else 0.0
        usage = Usage(prompt_tokens=len(script.generation.prompt), generated=script.said, queue_ms=queued)
        return script, Finish(reason, usage)

    def close(self) -> None:
        """Remembers that it was closed."""
        self.closed = True
