"""A Snapshot in, an Answer out: the pipeline, to be read from top to bottom.

Each stage makes a new frozen value of the one before; what outlives a request lies on the CompletionState.
Cancelling the task is the only signal from the side. Knows nothing of the protocol.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from lsp_server.completion import completion_state, gate, trigger
from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.generation import TextStream
from lsp_server.completion.suggestion_cache import Recall
from lsp_server.completion.syntax_check import Parsed
from lsp_server.editor import window
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.shaping import suggestion
from lsp_server.shaping.suggestion import Nothing, Suggestion

PARTIAL = 0.130  # seconds after the request when the first valid partial goes out, to be there at 150 ms
COMPLETE = "all of it is there"
GRACE = 0.080  # seconds a partial that became valid later may still grow
UNLIKELY = "not likely enough to be what you want"
LOOKUP = 0.003  # seconds after a request up to which snippets are waited for that were not found ahead


@dataclass(frozen=True)
class Answer:
    """What is said to the editor, and what it took. text: None for nothing, and then why in `reason`.

    replaces: how many characters right of the cursor the text takes the place of; others: so do these, when asked by
    hand, in case the text is not it.
    source: "memory" when an earlier generation said it already, "model", or "skip" when neither was asked.
    debounce, waited: seconds waited for another key, and for the model. fresh: under an anchor set just now.
    generation: what the text is from. features: what the gate went by, see `gate.features`; none for what was on the
    screen.
    """

    text: str | None
    source: Literal["memory", "model", "skip"]
    reason: str | None = None
    debounce: float = 0.0
    waited: float = 0.0
    fresh: bool = False
    generation: TextStream | None = None
    replaces: int = 0
    others: tuple[str, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)


async def complete(snapshot: Snapshot, state: CompletionState, received: float) -> Answer:
    """The answer to a request at the snapshot's cursor. received: seconds of time.monotonic()."""
    verdict = trigger.decide(snapshot, state.latency)
    if isinstance(verdict, trigger.Skip):
        return Answer(None, "skip", verdict.reason)

    if snapshot.uri in state.outdated:
        await completion_state.renew(snapshot, state, LOOKUP)
    frame = completion_state.framed(snapshot, state)
    recall = completion_state.recall(snapshot, frame, state)
    if snapshot.invoked and recall is not None and not (recall.generation.others and recall.left):
        recall = None  # nobody asks by hand for what is there already
    if recall is not None and (remembered := _remembered(recall, frame, state)) is not None:
        if remembered.reason == COMPLETE and _was_taken(snapshot):
            completion_state.prefetch(snapshot, frame, state)
        return remembered

    debounce, source = 0.0, _source(recall)
    if recall is None or not _goes_on(recall, frame):
        debounce, source = await _pause(verdict.wait), "model"
        frame = await _anchored(snapshot, frame, state, LOOKUP - (time.monotonic() - debounce - received))
        recall = Recall(completion_state.begin(snapshot, frame, state), "")

    parsed = state.syntax_check.begin(snapshot, at_once=source == "memory")
    recall, outcome, waited = await _sound(recall, frame, snapshot, state, received, parsed)
    if source == "model" and isinstance(outcome, Suggestion) and not frame.fresh:  # a fresh one's prompt is read first
        state.waits.append(waited)
    outcome = _steady(outcome, recall, frame)
    answer = Answer(None, source, None, debounce, waited, frame.fresh, recall.generation)
    if isinstance(outcome, Nothing):
        return replace(answer, reason=outcome.reason)
    if not recall.left:
        answer = replace(answer, features=_features(outcome, recall, frame, state))
        if not (snapshot.invoked or state.gate.opens(answer.features, snapshot.settings.eagerness)):
            return replace(answer, reason=UNLIKELY)
    completion_state.show(recall, outcome, frame, state)
    others = [await state.syntax_check.sound(one, parsed, snapshot) for one in _others(recall, frame)]
    completion_state.offer(recall, outcome, others)
    return replace(answer, text=outcome.text, replaces=outcome.replaces, others=recall.others)


def without_cover(answer: Answer, snapshot: Snapshot) -> Answer:
    """The same for an editor that cannot take away what stands right of the cursor; none where that is needed."""
    at = snapshot.cursor
    covered = snapshot.lines[at.line][at.column : at.column + answer.replaces]
    if answer.text is None or not covered:
        return answer
    if answer.text.endswith(covered) and len(answer.text) > len(covered):
        return replace(answer, text=answer.text[: -len(covered)], replaces=0)
    return replace(answer, text=None, reason="this editor cannot replace text right of the cursor", replaces=0)


def _remembered(recall: Recall, frame: Frame, state: CompletionState) -> Answer | None:
    """An answer from what was on the screen before; None when more of it may come, or there was nothing."""
    generation, left = recall.generation, recall.left
    if left is None:
        outcome = suggestion.shape(recall.rest, generation.finish, frame, generation.wanted)
        if isinstance(outcome, Nothing) and generation.has_ended and (not recall.typed or not recall.rest):
            return Answer(None, "memory", outcome.reason, generation=generation)
        return None
    if generation.running or not (generation.has_ended or left):
        return None
    if generation.has_ended and not generation.settled and _goes_on(recall, frame):
        return None
    found = suggestion.rest(left, generation.right, generation.replaces, frame)
    if found is None:
        return None
    if found.text.strip():
        state.seen = generation
        others = recall.others if not found.replaces else ()
        return Answer(found.text, "memory", generation=generation, replaces=found.replaces, others=others)
    return Answer(None, "memory", COMPLETE, generation=generation)


def _others(recall: Recall, frame: Frame) -> Iterator[Suggestion]:
    """What the other texts of a generation say, each once."""
    generation = recall.generation
    for text, end in zip(generation.others, generation.ends, strict=False):
        if text.startswith(recall.typed):
            outcome = suggestion.shape(text[len(recall.typed) :], end, frame, generation.wanted)
            if isinstance(outcome, Suggestion):
                yield outcome


def _goes_on(recall: Recall, frame: Frame) -> bool:
    """Whether a generation says what comes at the cursor, or may yet do so."""
    generation = recall.generation
    if generation.running:
        return True
    return isinstance(suggestion.shape(recall.rest, generation.finish, frame, generation.wanted), Suggestion)


def _source(recall: Recall | None) -> Literal["memory", "model"]:
    return "model" if recall is None or recall.generation.running else "memory"


def _features(outcome: Suggestion, recall: Recall, frame: Frame, state: CompletionState) -> Mapping[str, float]:
    return gate.features(recall.generation.pieces, recall.typed, outcome.text, frame, state.acceptance_average)


def _steady(outcome: Suggestion | Nothing, recall: Recall, frame: Frame) -> Suggestion | Nothing:
    """The outcome, unless it takes back what is on the screen and was not typed yet."""
    if not recall.left:
        return outcome
    before = suggestion.rest(recall.left, recall.generation.right, recall.generation.replaces, frame)
    if before is None:
        return outcome
    kept = isinstance(outcome, Suggestion) and outcome.text.startswith(before.text)
    return outcome if kept or not before.text.strip() else before


def _was_taken(snapshot: Snapshot) -> bool:
    """Whether the newest edit is a suggestion that was accepted, or the end of one: more than a key writes."""
    return len(snapshot.rhythm.last.strip()) > 1


async def _pause(seconds: float) -> float:
    """Wait for another key, which would cancel this. Returns the seconds it took."""
    if seconds == 0.0:
        return 0.0
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return time.monotonic() - began


async def _anchored(snapshot: Snapshot, frame: Frame, state: CompletionState, patience: float) -> Frame:
    """The frame with its anchor's context, waited for a little if the request is not late already."""
    if frame.anchor.context is None:
        context = await state.contexts.of(snapshot, frame, patience)
        frame = window.settled(frame, context.snippets)
        state.place(frame.anchor, lacking=context.late)
    return frame


async def _sound(
    recall: Recall, frame: Frame, snapshot: Snapshot, state: CompletionState, received: float, parsed: Parsed
) -> tuple[Recall, Suggestion | Nothing, float]:
    """What the model says that can be shown, what that is from, and the seconds waited for it.

    A part of a text that is no good yet is waited for until it is whole.
    """
    began = time.monotonic()
    for patient in (False, True):
        recall, outcome = await _written(recall, frame, snapshot, state, received, patient=patient)
        waited = time.monotonic() - began
        if isinstance(outcome, Suggestion):
            outcome = await state.syntax_check.sound(outcome, parsed, snapshot)
        if isinstance(outcome, Suggestion) or outcome.whole or not recall.generation.running:
            break
    return recall, outcome, waited


async def _written(
    recall: Recall, frame: Frame, snapshot: Snapshot, state: CompletionState, received: float, *, patient: bool
) -> tuple[Recall, Suggestion | Nothing]:
    """What the model says, and what that is from: it is asked anew if it went on otherwise than the user did."""
    outcome = await _best(recall, frame, snapshot, received, patient=patient)
    if outcome is None:
        recall = Recall(completion_state.begin(snapshot, frame, state), "")
        outcome = await _best(recall, frame, snapshot, received, patient=patient)
    return recall, outcome or Nothing("no suggestion in time", whole=False)


async def _best(
    recall: Recall, frame: Frame, snapshot: Snapshot, received: float, *, patient: bool
) -> Suggestion | Nothing | None:
    """What is there when it is complete, or when it is time. None when the generation contradicts what was typed.

    patient: it is not time before the deadline, though a part of it is there.
    """
    generation = recall.generation
    deadline = received + snapshot.settings.patience(snapshot.invoked)
    valid: float | None = None
    while True:
        now = time.monotonic()
        if not generation.agrees(recall.typed):
            return None
        if generation.failure is not None and not recall.rest:
            return Nothing(str(generation.failure), whole=True)
        outcome = suggestion.shape(recall.rest, generation.finish, frame, generation.wanted)
        if not generation.running or (outcome.whole and not generation.others):
            return outcome
        due = deadline
        if isinstance(outcome, Suggestion) and not generation.others and not patient:
            valid = valid or now
            due = min(deadline, max(received + PARTIAL, valid + GRACE))
        if now >= due:
            return outcome if isinstance(outcome, Suggestion) else Nothing("no suggestion in time", whole=False)
        await generation.news(due - now, lines=valid is not None)
