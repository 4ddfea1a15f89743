"""What may be shown of a generation, and when it ends."""

from __future__ import annotations

import threading

import pytest

from model_runtime.engine.sequence import Cancel, Generation, Sequence
from model_runtime.tokenizer import Tokenizer
from tests import tiny

TOKENIZER = Tokenizer(tiny.tokenizer(), split_lines=True)
END = frozenset({TOKENIZER.special("<|end|>")})


def run(text: str, **asked: object) -> tuple[str, Sequence]:
    """Feeds the text's tokens, then the end marker, until the sequence ends; what was shown, and the sequence."""
    sequence = Sequence(Generation((1,), **asked), TOKENIZER, END)  # type: ignore[arg-type]
    shown = ""
    for token in [*TOKENIZER.encode(text), *END]:
        if sequence.reason is not None:
            break
        if (one := sequence.push(token, -1.0)) is not None:
            shown += one.text
    return shown + sequence.flush(), sequence


def test_the_end_marker_ends_and_is_not_shown() -> None:
    shown, sequence = run("x = 1\n")
    assert (shown, sequence.reason, sequence.generated) == ("x = 1\n", "end", 6)


def test_max_tokens_ends() -> None:
    shown, sequence = run("abcdef", max_tokens=3)
    assert (shown, sequence.reason) == ("abc", "length")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f" + "(ab" * 9, "f" + "(ab" * 6),  # sixteen tokens at least
        ("=" * 40, "=" * 16),
        ("a.b.c.d.e.f.g.h.i.", "a.b.c.d.e.f.g.h.i."),
        ("self.one." * 9, "self.one." * 4 + "s"),  # the first token that tells how long the circle is
        ("0, 0, 0, 1, 0, 0, 0, 1", "0, 0, 0, 1, 0, 0, 0, 1"),
    ],
)
def test_a_line_that_goes_round_in_circles_ends(text: str, expected: str) -> None:
    shown, sequence = run(text, max_lines=1, max_tokens=200)
    assert shown == expected
    assert sequence.reason == ("end" if shown == text else "length")
    assert run(text, max_tokens=200)[0] == text


@pytest.mark.parametrize(
    ("lines", "expected"), [(1, "one"), (2, "one\ntwo"), (3, "one\ntwo\nthree"), (9, "one\ntwo\nthree\n")]
)
def test_max_lines_ends_before_the_newline_of_one_too_many(lines: int, expected: str) -> None:
    shown, sequence = run("one\ntwo\nthree\n", max_lines=lines)
    assert shown == expected
    assert sequence.reason == ("stop" if lines < 4 else "end")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(\n    a,\n)\ng()\nh()", "f(\n    a,\n)"),
        ("if a:\n    b\n\nc\n", "if a:\n    b\n"),
        ("if (a) {\n  b;\n}\nc\n", "if (a) {\n  b;\n}"),
        ("f(a)\ng(\n", "f(a)"),
        (", b):\n    c\n\nd\n", ", b):\n    c\n"),
        ("a,\nb\n", "a,"),
        ("f(\n", "f(\n"),
    ],
)
def test_a_line_that_leaves_something_open_is_gone_on_with(text: str, expected: str) -> None:
    shown, sequence = run(text, max_lines=1, open_lines=3)
    assert shown == expected
    assert sequence.reason == ("stop" if expected != text else "end")
    assert run(text, max_lines=1)[0] == text.split("\n")[0]


def test_nothing_is_worth_checking_behind_the_newline_that_may_end_it() -> None:
    tokens = TOKENIZER.encode("ab\ncd\ne")
    assert run("")[1].within(tokens) == tokens
    for lines, first, expected in ((1, "", 2), (2, "", 5), (2, "x", 5), (2, "x\ny", 2), (9, "", 7)):
        sequence = Sequence(Generation((1,), max_lines=lines), TOKENIZER, END)
        for token in TOKENIZER.encode(first):
            sequence.push(token, -1.0)
        assert sequence.within(tokens) == tokens[:expected]


def test_a_stop_that_spans_tokens_is_never_shown_in_part() -> None:
    sequence = Sequence(Generation((1,), stop=("</s>",)), TOKENIZER, END)
    shown = [token.text for at in TOKENIZER.encode("a</s>") if (token := sequence.push(at, 0.0))]
    assert shown == ["a", "", "", "", ""]
    assert sequence.reason == "stop"
    assert sequence.flush() == ""


def test_what_only_began_like_a_stop_is_shown_after_all() -> None:
    assert run("a</b></", stop=("</s>",))[0] == "a</b></"


def test_the_earliest_of_several_stops_wins() -> None:
    assert run("one two three", stop=("three", "two"))[0] == "one "


@pytest.mark.parametrize(
    ("text", "floor", "expected"),
    [
        ("x = 1\n        y = 2\n    z = 3\n", 4, "x = 1\n        y = 2"),
        ("x = 1\n\n\ndef g():\n", 4, "x = 1"),
        ("x = 1\n    else:\n        y\n", 4, "x = 1\n    else:\n        y\n"),
        ("x = 1;\n    }\n    f();\n", 4, "x = 1;\n    }"),
        ("x = 1\n}\n", 4, "x = 1"),
        ("x\n\ty\n\tz\n", 0, "x\n\ty\n\tz\n"),
        ("x\n\t\ty\n\tz\n", 4, "x\n\t\ty"),
        ("x\n  \n", 0, "x\n  \n"),
    ],
)
def test_a_floor_ends_before_the_line_that_leaves_the_block(text: str, floor: int, expected: str) -> None:
    shown, sequence = run(text, floor=floor)
    assert shown == expected
    assert sequence.reason == ("end" if text == expected else "stop")


def test_without_a_floor_nothing_is_held_back_at_the_end_of_a_line() -> None:
    sequence = Sequence(Generation((1,)), TOKENIZER, END)
    assert [token.text for at in TOKENIZER.encode("a\n ") if (token := sequence.push(at, 0.0))] == ["a", "\n", " "]


def test_a_character_of_several_tokens_comes_whole() -> None:
    sequence = Sequence(Generation((1,)), TOKENIZER, END)
    shown = [token.text for at in TOKENIZER.encode("é🙂") if (token := sequence.push(at, 0.0))]
    assert shown == ["", "é", "", "", "", "🙂"]


def test_a_character_cut_short_becomes_one_replacement() -> None:
    sequence = Sequence(Generation((1,), max_tokens=2), TOKENIZER, END)
    for token in TOKENIZER.encode("🙂")[:2]:
        sequence.push(token, 0.0)
    assert sequence.flush() == "\ufffd"


def test_no_tokens_asked_is_already_at_its_end() -> None:
    assert Sequence(Generation((1,), max_tokens=0), TOKENIZER, END).reason == "length"


def test_cancel_interrupts_who_watches_also_when_set_before() -> None:
    cancel, rung = Cancel(), threading.Event()
    cancel.watch(rung.set)
    assert not rung.is_set()
    cancel.set()
    assert rung.is_set()
    late = threading.Event()
    cancel.watch(late.set)
    assert late.is_set()
