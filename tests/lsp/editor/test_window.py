"""What the model sees keeps still while the user types, and is the truth about the file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.editor import window
from lsp_server.editor.document import Position
from lsp_server.editor.scope import outline, scope
from lsp_server.editor.window import Frame, frame, is_tired
from model_runtime.prompt import Infill, lay_out
from model_runtime.tokenizer import Tokenizer
from tests import tiny
from tests.caret import Typist, framed, snapshot

TOKENIZER = Tokenizer(tiny.tokenizer(), split_lines=True)
LIMIT = 20_000

BODY = "".join(f"    value_{at} = compute(value_{at - 1}, {at})\n" for at in range(1, 400))
HEAD = "import os\nfrom math import floor\n\n\nclass Sum:\n    def add(self, left):\n        pass\n\n\n"
LONG = f"{HEAD}def work(value_0):\n{BODY}"


def prompt(one: Frame) -> tuple[int, ...]:
    """The tokens that the service would lay out; one byte, one token."""
    infill = Infill(one.anchor.path, one.prefix, one.anchor.suffix, one.typed, one.anchor.context or ())
    return lay_out(infill, TOKENIZER, tiny.FIM, LIMIT).tokens


def prefilled(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    """Tokens the service computes: those after what both have in common."""
    shared = next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )
    return len(new) - shared


def inside(line: int, column: int = 4) -> str:
    """The long file with the caret at a line's column."""
    lines = LONG.split("\n")
    lines[line] = lines[line][:column] + "<caret>" + lines[line][column:]
    return "\n".join(lines)


def test_a_frame_reads_as_the_file_does() -> None:
    one = framed("a = 1\nb = <caret>2\nc = 3\n")
    assert (one.prefix, one.typed, one.inserted, one.anchor.suffix) == ("a = 1\nb = ", "", "", "2\nc = 3\n")
    assert (one.left, one.right, one.below) == ("b = ", "2", ("c = 3", ""))
    assert one.anchor.path == "package/module.py"


def test_the_model_sees_no_carriage_return() -> None:
    one = framed("a = 1\r\nb = <caret>\r\nc = 3\r")
    assert one.before + one.anchor.suffix == "a = 1\nb = \nc = 3\n"
    assert one.below == ("c = 3", "")


def test_a_key_costs_its_own_tokens() -> None:
    typist = Typist(inside(200))
    before = prompt(typist.frame())
    for key in "total = compute(value, 3)\n    other = total":
        typist.type(key)
        after = prompt(typist.frame())
        assert prefilled(before, after) == 1
        before = after


def test_a_backspace_costs_nothing_new() -> None:
    typist = Typist(inside(200))
    typist.type("total")
    before = prompt(typist.frame())
    typist.backspace(2)
    after = prompt(typist.frame())
    assert after == before[:-2]
    typist.backspace(5)
    past = typist.frame()
    assert not past.fresh
    assert past.typed == ""
    assert prompt(past) == before[:-7]


@pytest.mark.parametrize(
    ("opener", "inside_it", "closer"),
    [("(", "left, right", ")"), ("[", "0", "]"), ("{", "'a': 1", "}"), ('"', "text", '"'), ("f(", "x", ")")],
)
def test_a_closer_the_editor_inserts_costs_nothing(opener: str, inside_it: str, closer: str) -> None:
    typist = Typist(inside(200))
    typist.frame()
    typist.type("x = call")
    before = prompt(typist.frame())
    typist.type(opener, closer)
    within = typist.frame()
    assert within.inserted == closer
    assert prefilled(before, prompt(within)) == len(opener)
    typist.type(inside_it)
    assert typist.frame().inserted == closer
    typist.overtype(closer)
    over = typist.frame()
    assert over.inserted == ""
    assert not over.fresh
    assert over.typed == "x = call" + opener + inside_it + closer


def test_enter_between_braces_costs_its_own_tokens() -> None:
    typist = Typist(inside(200))
    typist.type("x = ")
    before = prompt(typist.frame())
    typist.type("{", "}")
    typist.type("\n        ", "\n    ")
    after = typist.frame()
    assert after.inserted == "\n    }"
    assert prefilled(before, prompt(after)) == len("{\n        ")


def test_closers_right_of_a_jump_stay_out_of_the_suffix() -> None:
    typist = Typist("print(call(<caret>))\nnext\n")
    one = typist.frame()
    assert (one.inserted, one.anchor.suffix) == ("))", "\nnext\n")
    typist.type("x")
    typist.overtype("))")
    assert not typist.frame().fresh


def test_arguments_right_of_the_cursor_are_told_to_the_model() -> None:
    assert framed("call(<caret>, b)\n").anchor.suffix == ", b)\n"


def test_an_edit_far_below_costs_nothing() -> None:
    typist = Typist(inside(20))
    before = prompt(typist.frame())
    typist.edit(Position(350, 0), Position(352, 0), "gone\n")
    assert prompt(typist.frame()) == before


def test_an_edit_far_above_costs_nothing() -> None:
    typist = Typist(inside(300))
    before = prompt(typist.frame())
    typist.edit(Position(1, 0), Position(1, 0), "import sys\nimport time\n")
    typist.cursor = Position(typist.cursor.line + 2, typist.cursor.units)
    after = typist.frame()
    assert not after.fresh
    assert prompt(after) == before


def test_an_edit_just_below_is_told_to_the_model() -> None:
    typist = Typist(inside(200))
    typist.frame()
    typist.edit(Position(202, 0), Position(203, 0), "    changed()\n")
    one = typist.frame()
    assert one.fresh
    assert "changed()" in one.anchor.suffix


def test_an_edit_just_above_costs_only_what_follows_it() -> None:
    typist = Typist(inside(200))
    before = typist.frame()
    typist.edit(Position(195, 4), Position(195, 5), "w")
    after = typist.frame()
    assert after.anchor.suffix == before.anchor.suffix
    assert after.anchor.start == before.anchor.start
    assert prefilled(prompt(before), prompt(after)) < 300


def test_a_jump_sets_a_new_anchor() -> None:
    typist = Typist(inside(200))
    typist.frame()
    typist.cursor = Position(100, 4)
    one = typist.frame()
    assert one.fresh
    assert one.prefix.endswith("    ")
    assert one.typed == ""


def test_moving_left_inside_what_was_typed_sets_a_new_anchor() -> None:
    typist = Typist("a = <caret>\n")
    typist.frame()
    typist.type("value + other")
    typist.frame()
    typist.cursor = Position(0, 9)
    one = typist.frame()
    assert one.fresh
    assert one.anchor.suffix.startswith(" + other")


def test_the_window_moves_in_steps_of_many_keys() -> None:
    typist = Typist(inside(200))
    fresh = starts = 0
    start = None
    for at in range(2_500):
        typist.type("x" if at % 30 else "\n")
        one = typist.frame()
        fresh += one.fresh
        starts += one.anchor.start != start
        start = one.anchor.start
        assert len(one.before) <= window.FULL
    assert fresh <= 4
    assert starts <= 4


def test_a_window_nearly_full_is_tired_before_it_must_move() -> None:
    typist = Typist(inside(200))
    typist.frame()
    tired_at = None
    for at in range(2_000):
        typist.type("x" if at % 30 else "\n    ")
        one = typist.frame()
        found = typist.session.snapshot(typist.uri, typist.cursor)
        assert found is not None
        if one.fresh:
            assert tired_at is not None
            assert at > tired_at
            return
        if tired_at is None and is_tired(one, found):
            tired_at = at
    raise AssertionError("the window never moved")


def test_a_new_scope_makes_the_anchor_tired() -> None:
    typist = Typist("def one():\n    pass\n\n\n<caret>\n")
    typist.frame()
    typist.type("def two():\n    x")
    one = typist.frame()
    found = typist.session.snapshot(typist.uri, typist.cursor)
    assert found is not None
    assert not one.fresh
    assert is_tired(one, found)


def test_one_endless_line_gives_a_bounded_window() -> None:
    one = framed("x" * 30_000 + "<caret>" + "y" * 30_000)
    assert window.FRESH - window.COLUMN_STEP <= len(one.prefix) <= window.FRESH
    assert len(one.anchor.suffix) == window.SUFFIX
    assert len(one.left) <= window.FRESH
    typist = Typist("x" * 30_000 + "<caret>" + "y" * 30_000)
    before = prompt(typist.frame())
    typist.type("z")
    assert prefilled(before, prompt(typist.frame())) == 1


def test_a_window_is_bounded_in_a_long_file() -> None:
    one = framed(inside(300))
    assert window.FRESH // 2 < len(one.prefix) <= window.FRESH
    assert window.SUFFIX // 2 < len(one.anchor.suffix) <= window.SUFFIX
    assert one.anchor.suffix.endswith("\n")


def test_the_scope_is_the_definitions_around_the_cursor() -> None:
    text = "class Sum:\n    size = 3\n\n    def add(self):\n        if self:\n            <caret>\n"
    found = snapshot(text)
    assert scope(found.lines, found.cursor) == ("class Sum:", "def add(self):")
    braces = snapshot("impl Sum {\n    pub fn add(&self) {\n        if x {\n            <caret>\n        }\n    }\n}\n")
    assert scope(braces.lines, braces.cursor) == ("impl Sum {", "pub fn add(&self) {")
    method = snapshot("class A {\n  int f(int x) {\n    <caret>\n  }\n}\n")
    assert scope(method.lines, method.cursor) == ("class A {", "int f(int x) {")
    top = snapshot("def one():\n    pass\n<caret>\n")
    assert scope(top.lines, top.cursor) == ()


def test_what_the_window_cuts_off_is_told_as_an_outline() -> None:
    found = snapshot(inside(300))
    one = frame(found, None)
    text = outline(found.lines, one.anchor.start.line, found.cursor)
    assert text == "import os\nfrom math import floor\ndef work(value_0):\n"
    assert outline(found.lines, 0, found.cursor) == ""


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["a", "bc", "\n", "\n    ", "x = (", "\r\n", "}", "é😀"]).map(lambda text: ("type", text)),
            st.sampled_from(["(", "[", "{"]).map(lambda text: ("pair", text)),
            st.integers(1, 4).map(lambda count: ("back", str(count))),
            st.integers(0, 420).map(lambda line: ("jump", str(line))),
        ),
        max_size=25,
    )
)
def test_the_frame_never_lies_about_the_file(keys: list[tuple[str, str]]) -> None:
    """Whatever is typed: prefix, typed text, what the editor inserted and the suffix stand there in this order."""
    typist = Typist(inside(150))
    for kind, text in keys:
        if kind == "type":
            typist.type(text)
        elif kind == "pair":
            typist.type(text, {"(": ")", "[": "]", "{": "}"}[text])
        elif kind == "back":
            typist.backspace(min(int(text), typist.cursor.units))
        else:
            typist.cursor = Position(int(text), 2)
        found = typist.session.snapshot(typist.uri, typist.cursor)
        assert found is not None
        typist.cursor = typist.session.position(typist.uri, found.cursor)
        one = typist.frame()
        plain = "".join(found.lines).replace("\r\n", "\n").replace("\r", "\n")
        lines = [line.rstrip("\r\n") for line in found.lines]
        left = (
            "".join(line + "\n" for line in lines[: found.cursor.line])
            + lines[found.cursor.line][: found.cursor.column]
        )
        assert plain.startswith(left)
        assert left.endswith(one.prefix + one.typed)
        assert plain[len(left) :].startswith(one.inserted + one.anchor.suffix)
        assert not one.anchor.to_end or plain[len(left) :] == one.inserted + one.anchor.suffix
