"""Turns the work of one step into logits, by at most one run of the network. Does not choose the work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from model_runtime.engine.backend import Backend
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.engine.task import Task, Text
from model_runtime.errors import Cancelled

_NOBODY = Cancel()  # never set: a run for several is not interrupted for one


@dataclass(frozen=True)
class Prefill:
    """A chunk of a task's prompt."""

    task: Task[Any]
    start: int
    """The first position to be computed."""
    stop: int
    """The position behind the last; equal to start where the slot holds all that is to be read."""
    contended: bool
    """Whether others were ready to write meanwhile."""


@dataclass(frozen=True)
class Decode:
    """One more token of each text."""

    texts: list[tuple[Task[Any], Text[Any]]]
    draft: list[int]
    """Tokens that may follow and are checked in the same run; only of a single text."""


Work = Prefill | Decode | None


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    logits: Logits | None = None
    """[V] after a prompt's last token, [B, V] of B texts, [1 + draft, V] of a draft; None where the run gives none."""
    seconds: float = 0.0
    is_cancelled: bool = False


def run(backend: Backend[Any], work: Work) -> Outcome:
    """Runs the network over the work. Raises ModelError."""
    if work is None or (isinstance(work, Prefill) and work.start == work.stop):
        return Outcome()
    began = time.perf_counter()
    try:
        logits = _read(backend, work) if isinstance(work, Prefill) else _write(backend, work)
    except Cancelled:
        return Outcome(is_cancelled=True)
    return Outcome(logits, time.perf_counter() - began)


def _read(backend: Backend[Any], work: Prefill) -> Logits | None:
    task = work.task
    assert task.slot is not None
    tokens = task.prompt[work.start : work.stop]
    if not task.many:
        return backend.decode(task.slot.kv, tokens, work.start, task.cancel)
    backend.prefill(task.slot.kv, tokens, work.start, task.cancel)
    return None


def _write(backend: Backend[Any], work: Decode) -> Logits:
    kv_slots = [text.slot.kv for _, text in work.texts]
    following = [text.following for _, text in work.texts]
    starts = [len(text.slot.tokens) for _, text in work.texts]
    cancel = work.texts[0][0].cancel if len(work.texts) == 1 else _NOBODY
    if work.draft:
        return backend.verify(kv_slots[0], following + work.draft, starts[0], cancel)
    return backend.decode_batch(kv_slots, following, starts, cancel)
