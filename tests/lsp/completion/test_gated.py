"""What is unlikely to be taken is not shown unasked, what is on the screen stays there, and a user's habits count."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lsp_server.completion import gate, syntax_check
from lsp_server.completion.completion import UNLIKELY
from lsp_server.editor.options import Settings
from lsp_server.feedback.journal import Journal, Outcome
from tests.lsp.pipeline import Typing
from tests.lsp.scripted_editor import Editor

RETURN = "def add(left, right):\n    return <caret>\n"
SURE = {"before": "return ", "text": "left + right\n"}
UNSURE = {**SURE, "doubts": ["left", " ", "+", "righ", "t", "\n"]}

Make = Callable[..., Typing]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Typing] = []

    def one(*answers: dict[str, Any], **options: Any) -> Typing:
        made.append(Typing(tmp_path, RETURN, *answers, **options))
        return made[-1]

    yield one
    for typing in made:
        await typing.close()


async def test_what_the_model_doubts_is_not_shown_unasked(make: Make) -> None:
    typing = make(UNSURE)
    answer = await typing.answer()
    assert (answer.text, answer.reason) == (None, UNLIKELY)
    assert answer.features["mean"] == -9.0
    assert (await typing.answer(invoked=True)).text == "left + right"


async def test_who_wants_all_of_it_is_shown_all_of_it(make: Make) -> None:
    assert await make(UNSURE, settings=Settings(debounce=0, eagerness="always")).ghost() == "left + right"


async def test_what_is_on_the_screen_stays_while_it_is_typed_though_it_grew_unlikely(make: Make) -> None:
    typing = make(SURE)
    assert await typing.ghost() == "left + right"
    typing.state.gate = msgspec.structs.replace(typing.state.gate, bias=-30.0)
    for at, key in enumerate("left", start=1):
        typing.type(key)
        assert await typing.ghost() == "left + right"[at:]
    assert len(typing.asked) == 1


async def test_what_was_hidden_may_be_shown_when_the_user_writes_it(make: Make) -> None:
    typing = make(SURE)
    typing.state.gate = msgspec.structs.replace(typing.state.gate, bias=-30.0)
    assert await typing.ghost() is None
    typing.type("l")
    typing.state.gate = gate.fitted()
    assert await typing.ghost() == "eft + right"
    assert len(typing.asked) == 1


async def test_what_was_hidden_breaks_no_code_when_it_is_shown(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax_check, "BUDGET", 5.0)
    typing = make({"before": "return ", "text": "left = = right\n"})
    typing.state.gate = msgspec.structs.replace(typing.state.gate, bias=-30.0)
    assert await typing.ghost() is None
    typing.type("l")
    typing.state.gate = msgspec.structs.replace(typing.state.gate, bias=30.0)
    monkeypatch.setattr(syntax_check, "HEAD_START", 60.0)  # nobody asks the model, so nobody goes first
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("eft", "memory")


@pytest.mark.parametrize(("fate", "shown"), [("dismissed", False), ("accepted", True)])
def test_what_became_of_suggestions_here_moves_the_gate(fate: Any, shown: bool, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with Editor(tmp_path, SURE, journal=str(folder)) as editor:
        editor.start({"journal": "on", "timings": True})
        editor.open(RETURN.replace("<caret>", ""))
        assert editor.ghost(1, 11) == "left + right"
        features = editor.told("lacuna/timing")["signs"]
        editor.leave()
    kept = Journal(folder)
    for number in range(900):
        kept.write(Outcome(str(number), 0.0, "python", fate, 12, evidence=features))
    kept.close()
    with Editor(tmp_path, SURE, journal=str(folder)) as editor:
        editor.start({"journal": "on"})
        editor.open(RETURN.replace("<caret>", ""))
        lines = itertools.count(2)

        def decided() -> bool:  # in a text that is another each time, for what is on the screen stays there
            editor.change(0, 0, "\n")
            return (editor.ghost(next(lines), 11) is not None) == shown

        editor.until(decided)
