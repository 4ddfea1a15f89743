"""The process that looks at code: it answers as `insertion` does, and dies alone of what a grammar cannot read."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator

import pytest

from retrieval import languages
from retrieval.process import syntax_process
from retrieval.process.syntax_process import SyntaxProcess
from retrieval.syntax import insertion
from tests.caret import CARET

PATIENCE = 5.0  # seconds of work, so that a busy machine decides nothing here


@pytest.fixture
def reader() -> Iterator[SyntaxProcess]:
    made = SyntaxProcess()
    yield made
    made.close()


def look(reader: SyntaxProcess, text: str, language: str = "python", document: str = "a") -> int | None:
    before, after = text.split(CARET)
    lines = (before + after).split("\n")
    kind = languages.LANGUAGES[language]
    column = len(before) - 1 - before.rfind("\n")
    sides = insertion.sides([f"{line}\n" for line in lines], before.count("\n"), column, kind)
    return reader.look(document, sides, kind, PATIENCE)


def sound(reader: SyntaxProcess, number: int | None, text: str, removed: str = "") -> str | None:
    assert number is not None
    found = reader.sound(number, text, removed, PATIENCE, strict=False).found
    return None if found is None else text[:found]


def process_of(reader: SyntaxProcess) -> int:
    assert reader._process is not None
    return reader._process.pid


def test_a_text_is_cut_where_it_would_break_the_code(reader: SyntaxProcess) -> None:
    number = look(reader, f"call({CARET})\n")
    assert sound(reader, number, "a, b)") == "a, b"
    assert sound(reader, number, "a, b) + c", ")") == "a, b) + c"


def test_a_place_is_known_while_the_next_ones_are_looked_at(reader: SyntaxProcess) -> None:
    first = look(reader, f"call({CARET})\n")
    second = look(reader, f"call(a{CARET})\n")
    assert sound(reader, first, "a)") == "a"
    for _ in range(syntax_process.KEPT):
        look(reader, f"x = {CARET}\n")
    assert sound(reader, second, "b") is None


def test_half_a_character_counts_as_one(reader: SyntaxProcess) -> None:
    number = look(reader, f"call('\ud83d', {CARET})\n")
    assert sound(reader, number, "'\ud83d')) + a") == "'\ud83d'"


@pytest.mark.parametrize(("language", "piece"), [("java", "a<"), ("csharp", "a<"), ("python", "/*")])
@pytest.mark.parametrize("width", [80, 20_000])
def test_a_text_over_which_a_grammar_hangs_ends_the_process_and_no_other_document(
    reader: SyntaxProcess, language: str, piece: str, width: int
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = piece * (width // len(piece)) + "\n"
    look(reader, line * (20_000 // width) + CARET, language, "odd")
    assert sound(reader, look(reader, f"call({CARET})\n"), "a)") == "a"
    reader.close()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime < 10 * syntax_process.LIMIT


def test_a_document_over_which_it_died_is_left_alone_for_a_while(
    reader: SyntaxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "a<" * 10_000 + CARET
    assert look(reader, odd, "csharp") is None
    assert look(reader, f"class A {{ {CARET} }}", "csharp") is None
    assert reader._process is None
    later = time.monotonic() + syntax_process.REST + 1
    monkeypatch.setattr(syntax_process.time, "monotonic", lambda: later)
    assert look(reader, f"class A {{ {CARET} }}", "csharp") is not None


def test_a_process_that_crashed_is_started_again_for_the_next_question(reader: SyntaxProcess) -> None:
    number = look(reader, f"call({CARET})\n")
    os.kill(process_of(reader), signal.SIGSEGV)
    assert sound(reader, number, "a)") is None
    assert sound(reader, look(reader, f"call({CARET})\n", document="b"), "a)") == "a"


def test_the_process_ends_with_its_owner(reader: SyntaxProcess) -> None:
    look(reader, f"call({CARET})\n")
    process, reader._process = reader._process, None
    assert process is not None and process.stdin is not None
    with process:
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
