"""The mirror of the editor's text stays equal to it, whatever is typed, in all three encodings."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.editor.document import (
    ENCODINGS,
    Document,
    Encoding,
    Place,
    Position,
    column,
    content,
    ending,
    split,
    units,
)

ODD = ["a", "b", " ", "\n", "\r", "\r\n", "\f", "\v", "\x1c", "\x85", "\u2028", "é", "€", "😀", "日本", "x\ny", "z\r\n"]
PIECES = st.lists(st.sampled_from(ODD), max_size=12).map("".join)


class Editor:
    """What an editor does, in the plainest way: one string, each edit over the whole of it."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.text, self.encoding = text, encoding

    def starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", self.text))]

    def position(self, offset: int) -> Position:
        """Where an offset is, in code units; an offset between \\r and \\n has no name and is moved before both."""
        if self.text[offset - 1 : offset + 1] == "\r\n":
            offset -= 1
        line = sum(start <= offset for start in self.starts()) - 1
        before = self.text[self.starts()[line] : offset]
        width = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[self.encoding]
        return Position(line, len(before.encode(self.encoding + ("" if width == 1 else "-le"))) // width)

    def offset(self, position: Position) -> int:
        start = self.starts()[position.line]
        for end in range(start, len(self.text) + 1):
            if self.position(end) == position:
                return end
        raise AssertionError(position)

    def edit(self, start: Position, end: Position, text: str) -> None:
        self.text = self.text[: self.offset(start)] + text + self.text[self.offset(end) :]


@settings(max_examples=400)
@given(
    st.sampled_from(ENCODINGS),
    PIECES,
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), PIECES), max_size=12),
)
def test_the_mirror_equals_the_editors_text_after_any_edits(
    encoding: Encoding, text: str, edits: list[tuple[int, int, str]]
) -> None:
    editor, mirror = Editor(text, encoding), Document(text, encoding)
    for one, other, inserted in edits:
        low, high = sorted((min(one, len(editor.text)), min(other, len(editor.text))))
        start, end = editor.position(low), editor.position(high)
        mirror.edit(start, end, inserted)
        editor.edit(start, end, inserted)
        assert mirror.text == editor.text
        assert list(mirror.freeze()) == split(editor.text)


@given(st.sampled_from(ENCODINGS), PIECES)
def test_each_place_has_a_position_and_back(encoding: Encoding, text: str) -> None:
    document = Document(text, encoding)
    for line, one in enumerate(document.freeze()):
        for at in range(len(content(one)) + 1):
            assert document.place(document.position(Place(line, at))) == Place(line, at)


def test_a_form_feed_does_not_end_a_line() -> None:
    document = Document("a\fb\nc\u2028d\n")
    document.edit(Position(1, 1), Position(1, 2), "X")
    assert document.text == "a\fb\ncXd\n"


def test_a_carriage_return_and_a_later_newline_become_one_line_ending() -> None:
    document = Document("a\rb")
    document.edit(Position(1, 0), Position(1, 0), "\n")
    assert document.freeze() == ("a\r\n", "b")


def test_a_position_beyond_the_end_is_the_end() -> None:
    document = Document("ab\r\nc")
    assert document.place(Position(0, 99)) == Place(0, 2)
    assert document.place(Position(99, 0)) == Place(1, 1)


def test_a_position_inside_a_character_is_before_it() -> None:
    assert column("a😀b", 2, "utf-16") == 1
    assert column("a😀b", 3, "utf-16") == 2
    assert column("a€b", 3, "utf-8") == 1
    assert units("a😀b", 2, "utf-16") == 3
    assert units("a😀b", 2, "utf-8") == 5


def test_half_a_character_is_replaced_and_counts_the_same() -> None:
    document = Document("a\ud83db\n")
    document.edit(Position(0, 2), Position(0, 3), "c")
    assert document.text == "a\ufffdc\n"
    document.text.encode()


def test_what_was_frozen_stays_as_it_was() -> None:
    document = Document("a\nb")
    before = document.freeze()
    assert document.freeze() is before
    document.edit(Position(0, 0), Position(1, 1), "c")
    assert (before, document.freeze()) == (("a\n", "b"), ("c",))


def test_a_change_names_where_the_new_text_ends() -> None:
    document = Document("ab\ncd")
    assert document.edit(Position(0, 1), Position(1, 1), "x\r\nyz").end == Place(1, 2)
    assert document.edit(Position(0, 1), Position(0, 1), "q").end == Place(0, 2)
    assert document.replace("one\ntwo").end == Place(1, 3)


@pytest.mark.parametrize(("text", "expected"), [("a\r\nb", "\r\n"), ("a\rb", "\r"), ("a\nb", "\n"), ("a", "\n")])
def test_a_new_line_ends_as_the_lines_around_it(text: str, expected: str) -> None:
    lines = tuple(split(text))
    assert ending(lines, len(lines) - 1) == expected


def test_a_key_in_a_long_file_costs_no_more_than_its_lines() -> None:
    """Counted, not timed: one edit touches one line of fifty thousand and leaves the others the same objects."""
    document = Document("    value = compute(value)\n" * 50_000)
    before = document.freeze()
    document.edit(Position(25_000, 4), Position(25_000, 4), "x")
    after = document.freeze()
    assert sum(one is not other for one, other in zip(before, after, strict=True)) == 1
