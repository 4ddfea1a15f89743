"""A text is put into code as far as it adds no error, whatever the language and however long the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import languages
from retrieval.syntax import insertion, syntax

CARET = "<caret>"
PATIENCE = 5.0  # seconds, so that a busy machine decides nothing here


def gap(
    lines: list[str],
    line: int,
    column: int,
    language: str,
    old: insertion.InsertionPoint | None = None,
    seconds: float = PATIENCE,
) -> insertion.InsertionPoint | None:
    """The gap at a cursor."""
    kind = languages.LANGUAGES[language]
    return insertion.insertion_point(insertion.sides(lines, line, column, kind), kind, seconds, old)


def sound(text: str, middle: str, language: str = "python", removed: str = "") -> str | None:
    """As much of `middle` as may stand at the caret."""
    before, after = text.split(CARET)
    lines = (before + after).split("\n")
    above = before.split("\n")
    ended = [*(f"{line}\n" for line in lines[:-1]), lines[-1]]
    one = gap(ended, len(above) - 1, len(above[-1]), language)
    assert one is not None
    length = insertion.sound(one, middle, removed, PATIENCE)
    return None if length is None else middle[:length]


@pytest.mark.parametrize(
    ("language", "text", "middle", "expected"),
    [
        ("python", "def f():\n    <caret>\n\ny = 2\n", "return foo(a)", "return foo(a)"),
        ("python", "def f():\n    <caret>\n\ny = 2\n", "return foo(a", "return foo"),
        ("python", "def f():\n    <caret>\n\ny = 2\n", "a = 1\n    b = (2\n    return a", "a = 1"),
        ("python", "def f():\n    x = <caret>\n\ny = 2\n", "foo(a))", "foo(a)"),
        ("python", "call(\n    a,\n    <caret>\n)\n", "b)", "b"),
        ("javascript", "function f() {\n  <caret>\n}\n", "if (x) {\n    y();\n  }\n}", "if (x) {\n    y();\n  }"),
        ("typescript", "class A {\n  f(): number {\n    <caret>\n  }\n}\n", "return 1;\n  }\n}", "return 1;"),
        ("go", "func main() {\n\t<caret>\n}\n", "for {\n\t\ty()\n\t}\n}", "for {\n\t\ty()\n\t}"),
        ("rust", "fn main() {\n    <caret>\n}\n", "let x = 1;\n}", "let x = 1;"),
        ("java", "class A {\n  int f() {\n    <caret>\n  }\n}\n", "return 1;\n  }\n}", "return 1;"),
        ("c", "int f() {\n  <caret>\n}\n", "return g(1);\n}", "return g(1);"),
        ("cpp", "int f() {\n  <caret>\n}\n", "return g<int>(1);\n}", "return g<int>(1);"),
    ],
)
def test_what_would_break_the_code_is_cut_off(language: str, text: str, middle: str, expected: str) -> None:
    assert sound(text, middle, language) == expected


def test_what_is_replaced_right_of_the_cursor_counts() -> None:
    assert sound("call(<caret>)\n", "a, b) + c", removed=")") == "a, b) + c"
    assert sound("call(<caret>)\n", "a, b)") == "a, b"


def test_code_that_is_broken_elsewhere_cuts_nothing() -> None:
    assert sound("x = (\n\n\n\ndef f():\n    <caret>\n", "return foo(a)") == "return foo(a)"


def test_in_broken_code_only_what_is_clear_of_it_is_strictly_sound() -> None:
    one = gap(["x = foo(\n", "y = 1\n", ""], 0, 8, "python")
    assert one is not None
    assert insertion.sound(one, "a, ", seconds=PATIENCE) == 3
    assert insertion.sound(one, "a, ", seconds=PATIENCE, strict=True) == 0
    assert insertion.sound(one, "a)", seconds=PATIENCE, strict=True) == 2


def test_a_line_that_is_no_good_at_all_leaves_nothing() -> None:
    assert sound("x = 1\n<caret>\ny = 2\n", ") = (") == ""


def test_without_a_grammar_nothing_is_known() -> None:
    assert gap(["x"], 0, 1, "markdown") is None


@pytest.mark.parametrize(("language", "opening", "closing"), [("python", '"""', '"""'), ("cpp", "/*", "*/")])
def test_a_long_file_is_not_read_from_the_midst_of_a_comment_or_a_docstring(
    language: str, opening: str, closing: str
) -> None:
    head = "def f():\n" if language == "python" else "void f() {\n"
    words = f"    {opening}\n" + "    It isn't so (yet\n" * 200 + f"    {closing}\n"
    text = (
        head
        + "    x = 1;\n" * 2_000
        + words
        + "    x = 1;\n" * 30
        + "    "
        + CARET
        + "\n"
        + "    x = 1;\n" * 30
        + words
    )
    text += "    x = 1;\n" * 2_000 + ("" if language == "python" else "}\n")
    assert sound(text, "y(2);)", language) == "y(2);"


def test_where_a_long_file_is_broken_and_takes_too_long_the_lines_around_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "x = (\n" + "y = 1\n" * 500
    whole = gap([*text.splitlines(keepends=True), ""], 400, 5, "python")
    assert whole is not None and whole.near is not None
    assert len(whole.near.before) < len(whole.before)
    looked = insertion._with
    monkeypatch.setattr(insertion, "_with", lambda one, *more: None if one is whole else looked(one, *more))
    assert insertion.sound(whole, " + f(2))", seconds=PATIENCE) == len(" + f(2)")


def test_when_time_is_up_amid_the_search_what_breaks_the_code_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    one = gap(["x = 1\n", ""], 1, 0, "python")
    assert one is not None
    clock = iter([0.0, 0.0, *[9.0] * 99])
    monkeypatch.setattr(insertion.time, "thread_time", lambda: next(clock))
    assert insertion.sound(one, "foo(", seconds=1.0) == 0


def test_when_time_is_up_nothing_is_known() -> None:
    lines = ["x = \n", ""]
    one = gap(lines, 0, 4, "python")
    assert one is not None
    assert insertion.sound(one, "foo(", seconds=0.0) is None
    assert gap(lines, 0, 4, "python", seconds=0.0) is None


@pytest.mark.parametrize(
    ("language", "head", "line", "tail"),
    [
        ("python", "class A(\n    B,\n):\n    def f(self):\n", "        x = f(1)\n", ""),
        ("javascript", "class A {\n  f() {\n    if (a) {\n    } else {\n", "      x(1);\n", "    }\n  }\n}\n"),
        ("java", "class A {\n  int f() {\n", "    x(1);\n", "  }\n}\n"),
    ],
)
def test_a_long_file_is_read_with_the_blocks_around_the_cursor(language: str, head: str, line: str, tail: str) -> None:
    width = len(line) - len(line.lstrip())
    text = head + line * 2_000 + " " * width + CARET + "\n" + line * 1_500 + tail
    mark = "" if language == "python" else ";"
    assert sound(text, f"y(2){mark})", language) == f"y(2){mark}"
    before, after = text.split(CARET)
    lines = (before + after).splitlines(keepends=True)
    one = gap(lines, before.count("\n"), width, language)
    assert one is not None
    assert one.errors == 0
    assert len(one.before) + len(one.after) < 10_000


PIECES = st.lists(
    st.sampled_from(["x", " = ", "f(", ")", "]", "[1", ", ", "\n    ", "if y:", "é😀", "'", "return ", "\n", "\f"]),
    max_size=12,
).map("".join)


@given(PIECES, st.sampled_from(["", "    z = 1\n", "\ndef g():\n    pass\n"]))
def test_what_is_left_never_breaks_code_that_was_whole(middle: str, below: str) -> None:
    before = "def f(a):\n    "
    found = sound(f"{before}{CARET}\n{below}", middle)
    assert found is not None
    assert middle.startswith(found)
    if syntax.errors(f"{before}\n{below}", languages.LANGUAGES["python"]) == 0:
        assert not syntax.adds_error(before, found, f"\n{below}", languages.LANGUAGES["python"], PATIENCE)


@given(PIECES, PIECES, PIECES)
def test_a_tree_made_from_the_one_before_knows_the_text_as_it_is_now(above: str, one: str, other: str) -> None:
    """Whatever was edited in between, and wherever the cursor was."""
    old: insertion.InsertionPoint | None = None
    for middle in (one, other, one):
        before = f"def f(a):\n    {above}"
        lines = f"{before}{middle}\n\ndef g():\n    pass\n".splitlines(keepends=True)
        at = before.count("\n")
        column = len(before) - 1 - before.rfind("\n")
        old = gap(lines, at, min(column, len(lines[at])), "python", old)
        fresh = gap(lines, at, min(column, len(lines[at])), "python")
        assert old is not None and fresh is not None
        assert (old.before, old.after) == (fresh.before, fresh.after)
        assert (old.errors > 0) == (fresh.errors > 0)
        assert old.tree.root_node.end_byte == fresh.tree.root_node.end_byte
