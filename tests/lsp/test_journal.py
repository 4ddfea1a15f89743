"""What became of a suggestion is told from the edits alone, the same in every editor."""

from __future__ import annotations

import pytest

from lsp_server.document import Change, Place
from lsp_server.journal import Journal

URI = "file:///a.py"
TEXT = "left + right"


def inserted(at: int, text: str, *, line: int = 1, removed: int = 0) -> Change:
    lines = text.split("\n")
    end = Place(line + len(lines) - 1, len(lines[-1]) + (at if len(lines) == 1 else 0))
    return Change(Place(line, at), Place(line, at + removed), text, end)


def journal(text: str = TEXT) -> Journal:
    one = Journal()
    assert one.show(URI, Place(1, 11), text) == 1
    return one


@pytest.mark.parametrize(
    ("changes", "fates"),
    [
        ([inserted(11, TEXT)], {"accepted": 1}),
        ([inserted(11, "le"), inserted(13, "ft + right")], {"partly": 1, "accepted": 1}),
        ([inserted(11, "l"), inserted(12, "eft + right")], {"accepted": 1}),
        ([inserted(11, "x")], {"dismissed": 1}),
        ([inserted(11, "l"), inserted(12, "x")], {"dismissed": 1}),
        ([inserted(10, "", removed=1)], {"dismissed": 1}),
        ([inserted(0, "far", line=8)], {}),
        ([inserted(11 + at, key) for at, key in enumerate(TEXT)], {"typed": 1}),
    ],
)
def test_the_fate_of_a_suggestion_is_read_off_the_edits(changes: list[Change], fates: dict[str, int]) -> None:
    one = journal()
    for change in changes:
        one.edited(URI, change)
    assert dict(one.fates) == fates


def test_an_edit_of_another_document_decides_nothing() -> None:
    one = journal()
    one.edited("file:///b.py", inserted(11, "x"))
    assert not one.fates


def test_carriage_returns_are_accepted_as_newlines() -> None:
    one = journal("a\nb")
    one.edited(URI, inserted(11, "a\r\nb"))
    assert dict(one.fates) == {"accepted": 1}


def test_a_command_and_the_edit_before_it_count_once() -> None:
    one = journal()
    one.edited(URI, inserted(11, TEXT))
    one.accept(1)
    one.accept(1)
    assert dict(one.fates) == {"accepted": 1}


def test_what_is_typed_through_stays_the_same_suggestion() -> None:
    one = journal()
    one.edited(URI, inserted(11, "l"))
    assert one.show(URI, Place(1, 12), TEXT[1:]) == 1
    assert one.show(URI, Place(1, 12), "ong") == 2
