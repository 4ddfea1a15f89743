"""When an answer is due, and how long another key is waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.completion.trigger import FASTEST, LONGEST, SLOWEST, Go, Skip, decide, wait
from lsp_server.editor.document import Encoding, Place, Position, content, split
from lsp_server.editor.options import Settings
from lsp_server.editor.session import Edit, Session
from tests.caret import URI, snapshot


def typed(gaps: list[float], last: str = "x", latency: float | None = None) -> float:
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
    return wait(found, latency)


@pytest.mark.parametrize("text", ["a = <caret>\n", "call(<caret>)", "a.<caret>", "def f(<caret>, b):", "na<caret>"])
def test_an_answer_is_due(text: str) -> None:
    assert decide(snapshot(text)) == Go()


@pytest.mark.parametrize("text", ["na<caret>me", "<caret>name = 1", "a<caret>_b", "x = <caret>é"])
def test_none_is_due_with_a_word_right_of_the_cursor(text: str) -> None:
    assert decide(snapshot(text)) == Skip("inside a word")
    assert decide(snapshot(text, invoked=True)) == Go()


@given(
    st.lists(st.sampled_from(["a", "_", "é", "😀", "9", ".", "(", " ", "\t", "\n", "\r\n", "#"]), max_size=12).map(
        "".join
    ),
    st.integers(0, 24),
    st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_an_answer_is_due_wherever_something_is_written_and_no_word_follows(
    text: str, at: int, encoding: Encoding
) -> None:
    """Whatever the text, its line endings, and how the editor counts."""
    session = Session(None, encoding)
    session.open(URI, "python", 1, text)
    lines = split(text)
    place = Place(min(at, len(lines) - 1), 0)
    place = Place(place.line, min(at, len(content(lines[place.line]))))
    found = session.snapshot(URI, session.position(URI, place))
    assert found is not None and found.cursor == place
    right = content(lines[place.line])[place.column :][:1]
    if right == "_" or right.isalnum():
        assert decide(found) == Skip("inside a word")
    elif not "".join(lines[: place.line + 1]).strip():
        assert decide(found) == Skip("nothing written yet")
    else:
        assert decide(found) == Go()


def test_none_is_due_before_anything_is_written() -> None:
    assert decide(snapshot("\n  \n<caret>\n")) == Skip("nothing written yet")
    assert decide(snapshot("<caret>", invoked=True)) == Go()


def test_off_is_off_even_by_hand() -> None:
    assert decide(snapshot("a<caret>", invoked=True, settings=Settings(enabled=False))) == Skip("off")
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


def test_where_answers_come_too_late_for_the_next_key_it_is_waited_for() -> None:
    assert typed([0.1, 0.1, 0.1], latency=0.05) == pytest.approx(0.015)
    assert typed([0.1, 0.1, 0.1], latency=0.3) == pytest.approx(0.1)
    assert typed([0.2, 0.2], latency=0.3) == LONGEST
    assert typed([0.08, 0.08], "\n", latency=0.3) == 0.0
    assert typed([0.4, 0.4], latency=0.9) == 0.0


@pytest.mark.parametrize(
    ("text", "language", "kind"),
    [
        ("x = 1  # the <caret>\n", "python", "comment"),
        ("x = '#' + <caret>\n", "python", "code"),
        ('x = "the <caret>"\n', "python", "string"),
        ('def f():\n    """The <caret>\n', "python", "string"),
        ('def f():\n    """The sum."""\n    <caret>\n', "python", "code"),
        ("x = 1; // the <caret>\n", "javascript", "comment"),
        ("/* the\n * <caret>\n", "c", "comment"),
        ("/* the */ <caret>\n", "c", "code"),
        ("x = `the\n<caret>`\n", "typescript", "string"),
        ("fn f<'a>(x: &'a str) { <caret>\n", "rust", "code"),
        ("-- don't <caret>\n", "lua", "comment"),
        ("x = a // b <caret>\n", "python", "code"),
        ("x = 'it\\'s <caret>'\n", "python", "string"),
    ],
)
def test_comments_and_strings_are_switched_off_alone(text: str, language: str, kind: str) -> None:
    without_comments, without_strings = Settings(comments=False), Settings(strings=False)
    skips_comment = decide(snapshot(text, language=language, settings=without_comments)) == Skip("off in comments")
    skips_string = decide(snapshot(text, language=language, settings=without_strings)) == Skip("off in strings")
    assert (skips_comment, skips_string) == (kind == "comment", kind == "string")
    assert decide(snapshot(text, language=language)) == Go()
    assert decide(snapshot(text, language=language, settings=without_comments, invoked=True)) == Go()


def test_none_is_due_while_text_is_selected_a_snippet_filled_in_or_the_user_wants_silence() -> None:
    session = Session(None, "utf-32")
    session.open(URI, "python", 1, "a = ")

    def decided(*, invoked: bool = False) -> Go | Skip:
        found = session.snapshot(URI, Position(0, 4), invoked=invoked)
        assert found is not None
        return decide(found)

    session.moved(URI, selecting=True, in_snippet=False)
    assert decided() == Skip("text is selected")
    assert decided(invoked=True) == Go()
    session.change(URI, 2, [Edit("b", Position(0, 0), Position(0, 1))])
    assert isinstance(decided(), Go)
    session.moved(URI, selecting=False, in_snippet=True)
    session.change(URI, 3, [Edit("c", Position(0, 0), Position(0, 1))])
    assert decided() == Skip("in a snippet")
    session.moved(URI, selecting=False, in_snippet=False)
    session.snooze(60.0)
    assert decided() == Skip("snoozing")
    assert decided(invoked=True) == Go()
    session.snooze(0.0)
    assert isinstance(decided(), Go)


def test_a_fixed_wait_is_the_users_choice() -> None:
    assert decide(snapshot("a<caret>", settings=Settings(debounce=70))) == Go(0.07)
    assert decide(snapshot("a<caret>", settings=Settings(debounce=70), invoked=True)) == Go()
