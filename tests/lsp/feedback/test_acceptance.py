"""What became of a suggestion is told from the text alone, the same in every editor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.editor.document import Change, Encoding, Position
from lsp_server.editor.session import Edit, Session
from lsp_server.feedback.acceptance import Acceptance
from lsp_server.feedback.journal import Outcome, Retention
from tests.caret import parted

URI = "file:///project/a.py"
REST = "left + right"


class Desk:
    """A document with a cursor, a suggestion that may be shown at it, and what was told."""

    def __init__(self, text: str = "def add():\n    return <caret>\n", encoding: Encoding = "utf-16") -> None:
        self.session = Session(encoding=encoding)
        plain, self.cursor = parted(text)
        self.session.open(URI, "python", 1, plain)
        self.told: list[Outcome | Retention] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.acceptance = Acceptance(self.told.append, self._lines, lambda *one: self.due.append(one))

    def _lines(self, uri: str) -> tuple[str, ...] | None:
        return self.session.lines(uri) if self.session.is_open(uri) else None

    def show(self, *texts: str, covered: int = 0) -> int:
        snapshot = self.session.snapshot(URI, self.cursor)
        assert snapshot is not None
        self.acceptance.looked(URI, snapshot.cursor)
        return self.acceptance.show(snapshot, texts or (REST,), covered=covered)

    def edit(self, *edits: Edit) -> list[Change]:
        changes = self.session.change(URI, 2, edits)
        self.acceptance.edited(URI, changes, self.session.lines(URI))
        return changes

    def type(self, text: str, *, removed: int = 0, behind: str = "") -> None:
        """At the cursor, in one message; it goes behind `text`, and `behind` stays right of it."""
        end = Position(self.cursor.line, self.cursor.units + removed)
        self.edit(Edit(text + behind, self.cursor, end))
        lines = text.replace("\r\n", "\n").split("\n")
        units = len(lines[-1]) + (self.cursor.units if len(lines) == 1 else 0)
        self.cursor = Position(self.cursor.line + len(lines) - 1, units)

    def elsewhere(self, line: int, text: str) -> None:
        self.edit(Edit(text, Position(line, 0), Position(line, 0)))

    def leave(self) -> list[tuple[str, int]]:
        """The fates so far and how much was taken, now that nothing more can come."""
        self.acceptance.closed()
        return [(one.fate, one.taken) for one in self.told if isinstance(one, Outcome)]

    def pass_time(self) -> dict[int, float]:
        """What is kept of the one that was accepted, by seconds."""
        while self.due:
            self.due.pop(0)[1]()
        return {one.after: one.share for one in self.told if isinstance(one, Retention)}


@pytest.fixture
def desk() -> Desk:
    one = Desk()
    assert one.show() == 1
    return one


@pytest.mark.parametrize(
    ("pieces", "fate"),
    [
        ([REST], ("accepted", 12)),
        (["left", " + right"], ("accepted", 12)),
        (["l", "eft + right"], ("accepted", 11)),
        (list(REST), ("typed", 0)),
        (["left", "!"], ("partly", 4)),
        (["left +"], ("partly", 6)),
        (["x"], ("overtyped", 0)),
        (["l", "x"], ("overtyped", 0)),
        (["l"], ("dismissed", 0)),
        ([], ("dismissed", 0)),
    ],
    ids=lambda given: "·".join(given) if isinstance(given, list) else given[0],
)
def test_the_fate_of_a_suggestion_is_read_off_the_edits(desk: Desk, pieces: list[str], fate: tuple[str, int]) -> None:
    for piece in pieces:
        desk.type(piece)
    assert desk.leave() == [fate]


def test_a_backspace_dismisses_it(desk: Desk) -> None:
    desk.edit(Edit("", Position(1, 10), Position(1, 11)))
    assert desk.leave() == [("dismissed", 0)]


def test_a_cursor_that_goes_elsewhere_dismisses_it(desk: Desk) -> None:
    desk.cursor = Position(0, 3)
    desk.show("other")
    assert [one.fate for one in desk.told if isinstance(one, Outcome)] == ["dismissed"]


def test_another_suggestion_at_the_same_place_replaces_it(desk: Desk) -> None:
    desk.show("something else")
    desk.type("something else")
    assert desk.leave() == [("replaced", 0), ("accepted", 14)]


def test_edits_elsewhere_decide_nothing_even_in_the_same_message(desk: Desk) -> None:
    desk.elsewhere(2, "# below\n")
    desk.elsewhere(0, "# above\n")
    at = Position(2, 11)
    desk.edit(Edit(REST, at, at), Edit("import os\n", Position(0, 0), Position(0, 0)))
    assert desk.leave() == [("accepted", 12)]


def test_a_closer_that_the_editor_adds_is_overlooked() -> None:
    desk = Desk("call<caret>\n")
    desk.show("(one, two)")
    desk.type("(", behind=")")
    desk.type("one, two")
    desk.type(")", removed=1)
    assert desk.leave() == [("accepted", 8)]


def test_text_right_of_the_cursor_may_be_covered() -> None:
    desk = Desk("call(<caret>))\n")
    desk.show("one())", covered=1)
    desk.type("one())", removed=1)
    assert desk.leave() == [("accepted", 6)]


def test_an_editor_that_compares_texts_may_say_another_place() -> None:
    desk = Desk("f(<caret>)\n")
    desk.show(")x)")
    at = Position(0, 3)  # behind the closing bracket, where the texts begin to differ
    desk.edit(Edit("x))", at, at))
    assert desk.leave() == [("accepted", 3)]


def test_a_word_that_the_menu_puts_in_anew_counts() -> None:
    desk = Desk("    ret<caret>\n")
    desk.show("urn 1")
    desk.edit(Edit("return 1", Position(0, 4), Position(0, 7)))
    assert desk.leave() == [("accepted", 5)]


def test_an_editor_that_sends_the_whole_text_is_followed(desk: Desk) -> None:
    desk.edit(Edit(f"def add():\n    return {REST}\n"))
    assert desk.leave() == [("accepted", 12)]


def test_carriage_returns_are_taken_as_newlines() -> None:
    desk = Desk("if a:<caret>\r\nb\r\n")
    desk.show("\n    c()\n    d()")
    desk.type("\r\n    c()\r\n    d()")
    assert desk.leave() == [("accepted", 16)]


def test_a_command_and_the_edit_before_it_count_once(desk: Desk) -> None:
    desk.type(REST)
    desk.acceptance.accept(1)
    desk.acceptance.accept(1)
    assert desk.leave() == [("accepted", 12)]


def test_a_command_counts_where_the_edit_was_not_understood(desk: Desk) -> None:
    desk.type("left+right  # formatted by the editor")
    desk.acceptance.accept(1)
    assert desk.leave() == [("accepted", 12)]


def test_any_of_several_candidates_may_be_taken(desk: Desk) -> None:
    desk.show("first()", "second()")
    desk.type("second()")
    assert desk.leave()[-1] == ("accepted", 8)


def test_what_is_typed_through_stays_the_same_suggestion(desk: Desk) -> None:
    desk.type("l")
    assert desk.show(REST[1:]) == 1
    desk.type("e")
    assert desk.show("ft + right + more") == 1
    desk.type("ft + right + more")
    (one,) = (one for one in desk.told if isinstance(one, Outcome))
    assert (one.fate, one.characters, one.taken) == ("accepted", 19, 17)


def test_an_outcome_tells_what_is_known_of_it(desk: Desk) -> None:
    snapshot = desk.session.snapshot(URI, desk.cursor, invoked=True)
    assert snapshot is not None
    desk.acceptance.closed()
    desk.acceptance.show(snapshot, ("a\nb",), evidence={"mean": -0.25})
    desk.type("a\nb")
    one = desk.told[-1]
    assert isinstance(one, Outcome)
    assert (one.language, one.lines, one.invoked, one.evidence, one.text) == (
        "python",
        2,
        True,
        {"mean": -0.25},
        "a\nb",
    )
    assert one.suggestion.endswith("-2") and one.at > 0 and one.visible >= 0


def test_what_stays_is_still_there_after_30_seconds_2_and_10_minutes(desk: Desk) -> None:
    desk.type(REST)
    desk.elsewhere(0, "import os\n")
    assert [seconds for seconds, _ in desk.due] == [30, 120, 600]
    assert desk.pass_time() == {30: 1.0, 120: 1.0, 600: 1.0}


@pytest.mark.parametrize(
    ("edit", "share"),
    [
        (Edit("", Position(1, 15), Position(1, 23)), 4 / 10),  # all but the first word
        (Edit("", Position(1, 0), Position(2, 0)), 0.0),  # the whole line
        (Edit("", Position(0, 0), Position(2, 0)), 0.0),
        (Edit("middle", Position(1, 18), Position(1, 23)), 5 / 10),
        (Edit(" + more", Position(1, 23), Position(1, 23)), 1.0),  # behind it
        (Edit("very_", Position(1, 11), Position(1, 11)), 1.0),  # before it
        (Edit(f"def add():\n\n    return {REST}\n"), 1.0),  # formatted as a whole
    ],
)
def test_of_what_was_changed_a_share_is_still_there(desk: Desk, edit: Edit, share: float) -> None:
    desk.type(REST)
    desk.edit(edit)
    assert set(desk.pass_time().values()) == {share}


def test_nothing_is_said_of_a_document_that_was_closed(desk: Desk) -> None:
    desk.type(REST)
    desk.acceptance.closed(URI)
    desk.session.close(URI)
    assert desk.pass_time() == {}


def whole(before: str, after: str, at: int) -> Edit:
    """As an editor with full synchronisation tells it."""
    return Edit(after)


def lines(before: str, after: str, at: int) -> Edit:
    """As an editor that replaces lines tells it: the line that the edit was made in."""
    start, end = before.rfind("\n", 0, at) + 1, (before + "\n").index("\n", at)
    return Edit(after[start : len(after) - (len(before) - end)], point(before, start), point(before, end))


def smallest(before: str, after: str, at: int) -> Edit:
    """As Neovim tells it: of that line, from the first to the last character that differs."""
    start, end = before.rfind("\n", 0, at) + 1, (before + "\n").index("\n", at)
    old, new = before[start:end], after[start : len(after) - (len(before) - end)]
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = 0
    while tail < min(len(old), len(new)) - same and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return Edit(new[same : len(new) - tail], point(before, start + same), point(before, end - tail))


def point(text: str, at: int) -> Position:
    before = text[:at].split("\n")
    return Position(len(before) - 1, len(before[-1]))


CODE = st.text("ab )(\n", min_size=1, max_size=8)


@given(CODE, CODE, CODE, st.lists(st.integers(1, 8), max_size=4), st.booleans())
def test_however_an_editor_tells_its_edits_the_fate_is_the_same(
    left: str, right: str, suggestion: str, pieces: list[int], ends_otherwise: bool
) -> None:
    told = []
    for style in (whole, smallest, lines):
        desk = Desk(f"{left}<caret>{right}", "utf-32")
        desk.show(suggestion)
        text, at = left + right, len(left)
        for length in pieces:
            piece = suggestion[at - len(left) :][:length]
            after = text[:at] + piece + text[at:]
            if piece:
                desk.edit(style(text, after, at))
            text, at = after, at + len(piece)
        if ends_otherwise and at - len(left) < len(suggestion):
            desk.edit(style(text, text[:at] + "#" + text[at:], at))
        told.append(desk.leave())
    assert told[0] == told[1] == told[2]


EDITS = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 14), st.integers(0, 4), st.integers(0, 14), st.text("lef t\n)", max_size=6)
    ),
    max_size=6,
)


@given(EDITS, st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_whatever_is_edited_each_suggestion_has_one_fate(
    edits: list[tuple[int, int, int, int, str]], encoding: Encoding
) -> None:
    desk = Desk("a = 'ä𝕏'\nb(<caret>)\n\nc\r\nd", encoding)
    for line, units, to_line, to_units, text in edits:
        desk.show("left()")
        desk.edit(Edit(text, Position(line, units), Position(to_line, to_units)))
    number = desk.show("last")
    desk.leave()
    told = [one.suggestion for one in desk.told if isinstance(one, Outcome)]
    assert len(told) == len(set(told)) == number
    assert all(0 <= share <= 1 for share in desk.pass_time().values())
