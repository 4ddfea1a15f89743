"""Where the time went adds up, and what nobody knows is not made up."""

from __future__ import annotations

import pytest

from lsp_server.completion.completion import Answer
from lsp_server.completion.generation import TextStream
from lsp_server.completion.requests import SUPERSEDED
from lsp_server.editor.document import Place
from lsp_server.shaping.truncation import Plan
from lsp_server.status.timing import Timing, measure
from model_runtime.protocol import InfillRequest, Usage
from tests.caret import framed

USAGE = Usage(prompt_tokens=9, prefilled=1, reused=8, generated=3, queue_ms=5, prefill_ms=10, decode_ms=20, model_ms=25)


def generation(*, lasted: float, usage: Usage | None = USAGE) -> TextStream:
    request = InfillRequest(client="", path="a.py", prefix="", suffix="")
    one = TextStream(request, framed("<caret>"), Place(0, 0), Plan(1), lambda *_: False)
    one.usage, one.finish, one.sent, one.ended = usage, "end", 100.0, 100.0 + lasted
    return one


def timed(answer: Answer, seconds: float) -> Timing:
    return measure(answer, identifier=1, version=2, received=50.0, written=50.0 + seconds)


def test_what_is_neither_network_nor_queue_nor_waiting_for_keys_is_outside() -> None:
    answer = Answer("x", "model", debounce=0.020, waited=0.040, generation=generation(lasted=0.040))
    timing = timed(answer, 0.065)
    assert timing.total_ms == pytest.approx(65)
    assert timing.outside_ms == pytest.approx(65 - 20 - 25 - 5)
    assert (timing.prefilled, timing.reused, timing.model_ms) == (1, 8, 25)


def test_of_what_went_on_after_the_answer_only_the_share_before_it_counts() -> None:
    answer = Answer("x", "model", waited=0.020, generation=generation(lasted=0.040))
    assert timed(answer, 0.021).outside_ms == pytest.approx(1 + 10 / 2)


def test_an_answer_from_memory_is_all_ours() -> None:
    timing = timed(Answer("x", "memory", generation=generation(lasted=0.040)), 0.002)
    assert (timing.outside_ms, timing.model_ms) == (pytest.approx(2), None)


def test_what_was_cut_off_is_not_known() -> None:
    timing = timed(Answer("x", "model", waited=0.040, generation=generation(lasted=0.040, usage=None)), 0.05)
    assert (timing.outside_ms, timing.model_ms, timing.total_ms) == (None, None, pytest.approx(50))


def test_how_long_a_superseded_answer_waited_is_not_put_down_to_us() -> None:
    timing = timed(SUPERSEDED, 0.080)
    assert (timing.outside_ms, timing.total_ms) == (None, pytest.approx(80))
