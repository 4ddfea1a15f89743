"""When an answer is due, and how long another key is waited for."""

from __future__ import annotations

import pytest

from lsp_server.document import Position
from lsp_server.options import Settings
from lsp_server.session import Edit, Session
from lsp_server.trigger import FASTEST, SLOWEST, Go, Skip, decide, wait
from tests.caret import URI, snapshot


def typed(gaps: list[float], last: str = "x") -> float:
    """The wait after keys typed with these gaps, in seconds."""
    session = Session(None, "utf-32")
    session.open(URI, "python", 1, "a = \n")
    now = 100.0
    at = 4
    for number, gap in enumerate([0.0, *gaps]):
        now += gap
        text = last if number == len(gaps) else "x"
        session.change(URI, number + 2, [Edit(text, Position(0, at), Position(0, at))], now=now)
        at += 1
    found = session.snapshot(URI, Position(0, at), now=now + 0.001)
    assert found is not None
    return wait(found)


@pytest.mark.parametrize("text", ["a = <caret>\n", "call(<caret>)", "a.<caret>", "def f(<caret>, b):", "na<caret>"])
def test_an_answer_is_due(text: str) -> None:
    assert decide(snapshot(text)) == Go()


@pytest.mark.parametrize("text", ["na<caret>me", "<caret>name = 1", "a<caret>_b", "x = <caret>é"])
def test_none_is_due_with_a_word_right_of_the_cursor(text: str) -> None:
    assert decide(snapshot(text)) == Skip("inside a word")
    assert decide(snapshot(text, by_hand=True)) == Go()


def test_none_is_due_before_anything_is_written() -> None:
    assert decide(snapshot("\n  \n<caret>\n")) == Skip("nothing written yet")
    assert decide(snapshot("<caret>", by_hand=True)) == Go()


def test_off_is_off_even_by_hand() -> None:
    assert decide(snapshot("a<caret>", by_hand=True, settings=Settings(enabled=False))) == Skip("off")
    quiet = Settings(languages={"markdown": False})
    assert decide(snapshot("a<caret>", language="markdown", settings=quiet)) == Skip("off for markdown")
    assert decide(snapshot("a<caret>", language="python", settings=quiet)) == Go()


def test_fast_typing_waits_a_little_and_slow_typing_not() -> None:
    assert typed([0.1, 0.1, 0.1]) == pytest.approx(0.015)
    assert typed([0.02, 0.02]) == FASTEST
    assert typed([0.2, 0.2]) == SLOWEST
    assert typed([0.4, 0.4]) == 0.0
    assert typed([]) == 0.0


@pytest.mark.parametrize("last", ["\n", "\n    ", ".", "(", "()", "[]", ":"])
def test_after_a_trigger_character_nothing_is_waited_for(last: str) -> None:
    assert typed([0.08, 0.08], last) == 0.0


def test_a_fixed_wait_is_the_users_choice() -> None:
    assert decide(snapshot("a<caret>", settings=Settings(debounce=70))) == Go(0.07)
    assert decide(snapshot("a<caret>", settings=Settings(debounce=70), by_hand=True)) == Go()
