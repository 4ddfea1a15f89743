"""An Answer and the moments it came and went in, where the time went out. Holds no text of the user's."""

from __future__ import annotations

import time

import msgspec

from lsp_server.completion.completion import Answer
from lsp_server.completion.requests import SUPERSEDED
from lsp_server.feedback.journal import AnswerRecord


class Timing(msgspec.Struct, frozen=True):
    """One answered request, as `lacuna/timing` tells it. Times in milliseconds, counts in tokens.

    total_ms: from the request's last byte read to the reply's last byte written. outside_ms: of that, what was
    neither spent in the network nor waiting in its queue nor for another key; layout, sampling and the way to the
    service and back are in it. What only the service knows is None until it said so, or when it was cut off.
    generation: the number of the generation that the answer is from; asked: how many requests to the model that has
    taken so far.
    features: what the gate went by, None where there was nothing to decide.
    """

    id: int | str
    version: int
    source: str
    shown: bool
    characters: int
    reason: str | None
    fresh: bool
    total_ms: float
    outside_ms: float | None
    debounce_ms: float
    generation: int | None = None
    asked: int | None = None
    features: dict[str, float] | None = msgspec.field(default=None, name="signs")
    queue_ms: float | None = None
    layout_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    model_ms: float | None = None
    prompt_tokens: int | None = None
    prefilled: int | None = None
    reused: int | None = None
    generated: int | None = None


def measure(answer: Answer, *, identifier: int | str, version: int, received: float, written: float) -> Timing:
    """The timing of one answer, in seconds of time.monotonic()."""
    total = written - received
    ours = total - answer.debounce - answer.waited
    timing = Timing(
        id=identifier,
        version=version,
        source=answer.source,
        shown=answer.text is not None,
        characters=len(answer.text or ""),
        reason=answer.reason,
        fresh=answer.fresh,
        total_ms=_ms(total),
        outside_ms=None if answer.source == "model" or answer is SUPERSEDED else _ms(ours),
        debounce_ms=_ms(answer.debounce),
        generation=None if answer.generation is None else answer.generation.number,
        asked=None if answer.generation is None else answer.generation.asked,
        features=dict(answer.features) or None,
    )
    generation = answer.generation
    if answer.source != "model" or generation is None or generation.usage is None or generation.ended is None:
        return timing
    usage = generation.usage
    lasted = generation.ended - generation.sent
    way = lasted - (usage.queue_ms + usage.model_ms) / 1000
    way *= min(1.0, answer.waited / lasted) if lasted > 0 else 1.0  # the rest of it came after the answer
    return msgspec.structs.replace(
        timing,
        outside_ms=_ms(ours + max(0.0, way)),
        queue_ms=usage.queue_ms,
        layout_ms=usage.layout_ms,
        prefill_ms=usage.prefill_ms,
        decode_ms=usage.decode_ms,
        model_ms=usage.model_ms,
        prompt_tokens=usage.prompt_tokens,
        prefilled=usage.prefilled,
        reused=usage.reused,
        generated=usage.generated,
    )


def answered(timing: Timing, language: str) -> AnswerRecord:
    """The line of the journal on it."""
    return AnswerRecord(
        at=round(time.time(), 3),
        language=language,
        source=timing.source,
        reason=timing.reason and timing.reason[:80],
        total=round(timing.total_ms, 1),
        debounce=round(timing.debounce_ms, 1),
        outside=_rounded(timing.outside_ms),
        queue=_rounded(timing.queue_ms),
        layout=_rounded(timing.layout_ms),
        prefill=_rounded(timing.prefill_ms),
        decode=_rounded(timing.decode_ms),
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
