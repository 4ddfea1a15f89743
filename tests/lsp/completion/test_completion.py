"""The pipeline: what is asked of the model for which key, and what is shown when."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lsp_server.completion import completion, prefetch, syntax_check
from lsp_server.completion.completion import Answer, complete
from lsp_server.editor import window
from lsp_server.editor.document import Position
from lsp_server.editor.options import Settings
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.related import context
from lsp_server.related.context import Retrieved
from model_runtime.errors import LacunaRuntimeError, Unreachable
from model_runtime.prompt import Snippet
from model_runtime.protocol import Done, InfillRequest, Reason
from tests.lsp.pipeline import LONG_AGO, Typing

RETURN = "def add(left, right):\n    return <caret>\n"
SUM = {"before": "return ", "text": "left + right\n"}
SLOW = {**SUM, "each": 0.05}
NEVER = {**SUM, "first": 60.0}

Make = Callable[..., Typing]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Typing] = []

    def one(text: str, *answers: dict[str, Any], **options: Any) -> Typing:
        made.append(Typing(tmp_path, text, *answers, **options))
        return made[-1]

    yield one
    for typing in made:
        await typing.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.005)


# Memory


async def test_typing_through_a_suggestion_costs_one_request(make: Make) -> None:
    typing = make(RETURN, SUM)
    assert await typing.ghost() == "left + right"
    for at, key in enumerate("left + righ", start=1):
        typing.type(key)
        answer = await typing.answer()
        assert answer.text == "left + right"[at:].lstrip() or answer.text == "left + right"[at:]
        assert answer.source == "memory"
    assert len(typing.asked) == 1


async def test_backspacing_into_a_suggestion_costs_no_request(make: Make) -> None:
    typing = make(RETURN, SUM)
    await typing.ghost()
    typing.type("left +")
    assert await typing.ghost() == " right"
    typing.backspace(4)
    assert (await typing.answer()).source == "memory"
    assert await typing.ghost() == "ft + right"
    typing.backspace(2)
    assert await typing.ghost() == "left + right"
    assert len(typing.asked) == 1


async def test_a_closer_that_the_editor_inserts_is_typed_through(make: Make) -> None:
    typing = make("x = <caret>\n", {"before": "x = ", "text": "call(left, right)\n"})
    assert await typing.ghost() == "call(left, right)"
    typing.type("call")
    typing.type("(", ")")
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("left, right", "memory")


async def test_another_word_than_the_suggested_asks_the_model(make: Make) -> None:
    typing = make(RETURN, {"before": "return r", "text": "ight\n"}, SUM)
    await typing.ghost()
    typing.type("r")
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("ight", "model")
    assert len(typing.asked) == 2


async def test_an_edit_of_the_suffix_makes_memory_forget(make: Make) -> None:
    typing = make(RETURN + "other = 1\n", SUM)
    await typing.ghost()
    typing.edit(Position(2, 0), Position(2, 5), "more")
    assert (await typing.answer()).source == "model"


async def test_coming_back_is_answered_from_memory(make: Make) -> None:
    typing = make(RETURN + "\n\nvalue = <caret>\n".replace("<caret>", ""), SUM)
    here = typing.cursor
    await typing.ghost()
    typing.cursor = Position(4, 8)
    await typing.ghost()
    typing.cursor = here
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("left + right", "memory")


async def test_nothing_to_add_is_remembered_too(make: Make) -> None:
    typing = make("x = 1<caret>\n")
    assert await typing.ghost() is None
    assert (await typing.answer()).source == "memory"
    assert len(typing.asked) == 1


async def test_a_suggestion_typed_to_its_end_costs_one_request(make: Make) -> None:
    typing = make(RETURN + "other = 1\n", SUM)
    await typing.ghost()
    for key in "left + right":
        typing.type(key)
        answer = await typing.answer()
        assert answer.source == "memory"
    assert (answer.text, answer.reason) == (None, completion.COMPLETE)
    assert len(typing.asked) == 1


async def test_a_suggestion_of_several_lines_is_typed_through(make: Make) -> None:
    body = "total = left + right\n    return total\n\n\nx"
    typing = make("def add(left, right):\n    <caret>\n", {"before": "    ", "text": body})
    text = await typing.ghost()
    assert text == "total = left + right\n    return total"
    for at, key in enumerate(text, start=1):
        typing.type(key)
        left = text[at:]
        assert await typing.ghost() == (left if left.strip() else None)
    assert len(typing.asked) == 1


async def test_accepting_a_word_or_a_line_costs_no_request(make: Make) -> None:
    body = "total = left + right\n    return total\n\n\nx"
    typing = make("def add(left, right):\n    <caret>\n", {"before": "    ", "text": body})
    await typing.ghost()
    typing.type("total ")
    assert await typing.ghost() == "= left + right\n    return total"
    typing.type("= left + right\n")
    assert await typing.ghost() == "    return total"
    assert len(typing.asked) == 1


async def test_what_is_on_the_screen_stays_though_the_prompt_is_laid_out_anew(make: Make) -> None:
    """A pause brings better context; what was suggested before it is still typed through."""
    typing = make(RETURN, SUM, retrieve=found(ELSEWHERE, seconds=0.05))
    await typing.ghost()
    await prefetch.prepare(typing.snapshot(), typing.state)
    assert typing.read_ahead
    for key in "left":
        typing.type(key)
        assert (await typing.answer()).source == "memory"
    assert len(typing.asked) == 1


async def test_an_edit_elsewhere_takes_what_it_may_affect_off_the_screen(make: Make) -> None:
    typing = make(RETURN, SUM)
    await typing.ghost()
    typing.edit(Position(0, 8), Position(0, 12), "best")
    assert (await typing.answer()).source == "model"


async def test_an_edit_that_cannot_affect_a_suggestion_leaves_it_in_memory(make: Make) -> None:
    far = "".join(f"value_{at} = {at}\n" for at in range(200))
    typing = make(RETURN + "\n" * 40 + far, SUM)
    await typing.ghost()
    typing.edit(Position(200, 0), Position(200, 5), "other")
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("left + right", "memory")
    assert len(typing.asked) == 1


async def test_what_was_shown_is_not_taken_back_by_what_comes_later(make: Make) -> None:
    typing = make(RETURN, {"before": "return ", "text": "first + second + other_names\n", "each": 0.02})
    begun = (await typing.answer(received=LONG_AGO)).generation
    assert begun is not None
    await until(lambda: len(begun.text) > 12)
    partial = await typing.answer(received=LONG_AGO)
    assert partial.text is not None
    typing.type(partial.text[0])
    later = await typing.answer()
    assert later.text is not None
    assert later.text.startswith(partial.text[1:])
    assert len(typing.asked) == 1


async def test_after_a_suggestion_is_taken_the_next_one_is_there(make: Make) -> None:
    after = {"before": "left + right", "text": "\n    print(left)\n"}
    typing = make(
        "def add(left, right):\n    value = <caret>\n", {"before": "value = ", "text": "left + right\n"}, after
    )
    assert await typing.ghost() == "left + right"
    typing.type("left + right")
    assert await typing.ghost() is None
    assert typing.state.running is not None
    await typing.state.running.over()
    assert len(typing.asked) == 2
    typing.type("\n    ")
    answer = await typing.answer()
    assert (answer.text, answer.source) == ("print(left)", "memory")
    assert len(typing.asked) == 2


# How much


async def test_a_line_that_leaves_a_bracket_open_goes_on(make: Make) -> None:
    typing = make("x = <caret>\n", {"before": "x = ", "text": "call(\n    a,\n)\nrest\n"})
    assert await typing.ghost() == "call(\n    a,\n)"
    assert [(request.max_lines, request.open_lines) for request in typing.asked] == [(1, 11)]


async def test_a_line_that_opens_a_block_goes_on_if_the_model_is_sure(make: Make) -> None:
    block = {"before": "y\n", "text": "for a in y:\n    print(a)\nrest\n"}
    typing = make("y = 1, y\n<caret>\n", block)
    assert await typing.ghost() == "for a in y:\n    print(a)"
    assert len(typing.asked) == 1


async def test_a_line_that_opens_a_block_ends_there_if_the_model_is_not_sure(make: Make) -> None:
    block = {"before": "y\n", "text": "for a in y:\n    print(a)\nrest\n", "doubts": ["for", "a", "in", "y"]}
    typing = make("y = 1, y\n<caret>\n", block, settings=Settings(debounce=0, eagerness="always"))
    assert await typing.ghost() == "for a in y:"
    assert len(typing.asked) == 1


async def test_a_block_ends_before_the_line_that_the_model_does_not_mean(make: Make) -> None:
    text = "a = 1\n    b = 2\n    c = 3\n\nx"
    typing = make("def f():\n    <caret>\n", {"before": "    ", "text": text, "doubts": ["c", "3"]})
    assert await typing.ghost() == "a = 1\n    b = 2"


# By hand

THREE = {**SUM, "others": ["left - right", "left + right", "left * (right", "right"]}


async def test_by_hand_there_are_up_to_three_different_texts_from_one_request(make: Make) -> None:
    typing = make(RETURN, THREE)
    answer = await typing.answer(invoked=True)
    assert (answer.text, answer.others) == ("left + right", ("left - right",))
    assert [(request.n, request.priority) for request in typing.asked] == [(3, "hand")]
    typing.services.script["answers"] = [{**SUM, "others": ["left - right", "left * right"]}]
    again = make(RETURN, {**SUM, "others": ["left - right", "left * right"]})
    assert (await again.answer(invoked=True)).others == ("left - right", "left * right")


async def test_any_of_the_texts_is_typed_through(make: Make) -> None:
    typing = make(RETURN, {**SUM, "others": ["left - right", "right"]})
    await typing.answer(invoked=True)
    typing.type("left ")
    answer = await typing.answer()
    assert (answer.text, answer.others, answer.source) == ("+ right", ("- right",), "memory")
    typing.type("-")
    answer = await typing.answer()
    assert (answer.text, answer.others, answer.source) == (" right", (), "memory")
    assert len(typing.asked) == 1


async def test_by_hand_the_model_is_asked_though_something_is_on_the_screen(make: Make) -> None:
    typing = make(RETURN, {**SUM, "others": ["right"]})
    assert await typing.ghost() == "left + right"
    answer = await typing.answer(invoked=True)
    assert (answer.text, answer.others) == ("left + right", ("right",))
    assert len(typing.asked) == 2


# What would break the code


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("call(\n    a,\n    <caret>\n)\n", "b)\n", "b"),
        ("value = <caret>\n", "call(a, b", "call(a, b)"),
        ("call(<caret>)\n", "a) + = b\n", "a"),
        ('call({"<caret>"})\n', 'a"}, {"b" = 1})\n', "a"),
        ("value = 1\n<caret>\n", "return = 2\n", "return"),
        ("value = 1\n<caret>\n", "= 2\n", None),
    ],
)
async def test_what_would_break_the_code_is_cut_off_or_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch, text: str, said: str, expected: str | None
) -> None:
    monkeypatch.setattr(syntax_check, "BUDGET", 10.0)
    typing = make(text, {"before": "", "text": said})
    assert await typing.ghost() == expected


async def test_a_part_that_would_break_the_code_is_waited_for_until_it_is_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syntax_check, "BUDGET", 10.0)
    typing = make("x = 1\n<caret>\n\ny = 2\n", {"before": "", "text": "del first.second\n", "each": 0.05})
    answer = await typing.answer(received=time.monotonic() - completion.PARTIAL - completion.GRACE)
    assert answer.text == "del first.second"


async def test_what_there_is_no_time_to_look_at_is_not_shown(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax_check, "BUDGET", 0.0)
    typing = make(RETURN, SUM)
    answer = await typing.answer()
    assert (answer.text, answer.reason) == (None, syntax_check.NO_TIME)
    monkeypatch.setattr(syntax_check, "BUDGET", 5.0)
    assert await typing.ghost() == "left + right"
    assert len(typing.asked) == 1


SAID = ["left", "(", ")", "[", "]", "{", "}", ", ", " = ", "'", ".", "right", "\n    ", ":", "if "]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("place", [RETURN, "print(<caret>)\n", "x = [<caret>]\n", "def f(a):\n    <caret>\n\nf(1)\n"])
async def test_nothing_flickers_while_a_suggestion_is_typed(make: Make, place: str, seed: int) -> None:
    """Whatever was said: each key leaves the rest of what was on the screen, or more, but for closers that came."""
    draw = random.Random(seed)
    text = "".join(draw.choices(SAID, k=draw.randint(1, 12)))
    typing = make(place, {"before": "", "text": text})
    shown = await typing.ghost()
    closers = draw.random() < 0.5
    while shown and not shown.startswith("\n"):
        key, rest = shown[0], shown[1:]
        typing.type(key, {"(": ")", "[": "]", "{": "}"}.get(key, "") if closers else "")
        now = await typing.ghost() or ""
        if closers and key in "([{":
            assert now[: len(rest)].rstrip() == rest[: len(now)].rstrip()
            assert not now or len(now.rstrip()) >= len(rest.rstrip(" )]}")) - 1
        else:
            assert now == rest or (not now and not rest.strip())
        shown = now
    assert len({request.prefix + request.typed for request in typing.asked}) == len(typing.asked)


# Right of the cursor


async def test_a_bracket_that_is_typed_without_a_closer_keeps_the_suggested_one(make: Make) -> None:
    """The editor adds none here, so the one that stands there closes the outer bracket."""
    typing = make("print(<caret>)\n", {"before": "print(", "text": "call(a)\n"})
    assert await typing.ghost() == "call(a)"
    typing.type("call(")
    assert await typing.ghost() == "a)"
    typing.backspace()
    typing.type("(", ")")
    assert await typing.ghost() == "a"
    assert len(typing.asked) == 1


async def test_what_goes_on_behind_a_closer_that_the_editor_inserts_stays(make: Make) -> None:
    whole = "call(a) == other"
    typing = make(RETURN, {"before": "return ", "text": whole + "\n"})
    assert await typing.ghost() == whole
    typing.type("call")
    typing.type("(", ")")
    answer = await typing.answer()
    assert (answer.text, answer.replaces) == (whole[5:], 1)
    typing.type("a")
    answer = await typing.answer()
    assert (answer.text, answer.replaces) == (whole[6:], 1)
    assert len(typing.asked) == 1


async def test_the_space_before_a_closer_stays_when_the_editor_inserts_the_closer(make: Make) -> None:
    typing = make(RETURN, {"before": "return ", "text": "{ left, right }\n"})
    assert await typing.ghost() == "{ left, right }"
    typing.type("{", "}")
    assert await typing.ghost() == " left, right "
    typing.type(" left")
    assert await typing.ghost() == ", right "


async def test_what_goes_on_behind_a_quote_and_a_bracket_that_the_editor_inserts_stays(make: Make) -> None:
    whole = 'call("left", 1) + right'
    typing = make(RETURN, {"before": "return ", "text": whole + "\n"})
    assert await typing.ghost() == whole
    typing.type("call")
    typing.type("(", ")")
    typing.type('"', '"')
    answer = await typing.answer()
    assert (answer.text, answer.replaces) == (whole[6:], 2)
    assert len(typing.asked) == 1


async def test_what_goes_on_behind_two_closers_that_the_editor_inserts_stays(make: Make) -> None:
    whole = "((left + 1) * right) - 1"
    typing = make(RETURN, {"before": "return ", "text": whole + "\n"})
    assert await typing.ghost() == whole
    for at in (1, 2):
        typing.type("(", ")")
        answer = await typing.answer()
        assert (answer.text, answer.replaces) == (whole[at:], at)
    assert len(typing.asked) == 1


async def test_a_brace_that_the_editor_puts_below_on_enter_is_not_suggested_again(make: Make) -> None:
    block = {"before": "    ", "text": "if (a) {\n        b();\n    }\n"}
    typing = make("function f() {\n    <caret>\n}\n", block, language="javascript")
    assert await typing.ghost() == "if (a) {\n        b();\n    }"
    typing.type("if (a) {", "}")
    await typing.ghost()
    typing.type("\n        ", "\n    ")  # between the two braces
    assert await typing.ghost() == "b();"
    assert len(typing.asked) == 1


PAIRS = '"a": 1,\n        "b": 2,\n        "c": 3,'


async def parted_and_quoted(typing: Typing) -> None:
    """Enter between the editor's two braces, then the first quote."""
    typing.type("\n        ", "\n    ")
    assert await typing.ghost() == PAIRS
    typing.type('"', '"')
    answer = await typing.answer()
    assert (answer.text, answer.replaces) == (PAIRS[1:], 1)


async def test_a_list_of_lines_stays_whole_when_its_first_quote_is_typed_between_the_editors_braces(make: Make) -> None:
    typing = make(
        "def f():\n    x = <caret>\n\n    return x\n",
        {"before": "x = ", "text": f"{{\n        {PAIRS}\n    }}\nrest\n"},
    )
    assert await typing.ghost() == "{\n        " + PAIRS + "\n    }"
    typing.type("{", "}")
    assert await typing.ghost() == "\n        " + PAIRS + "\n    "
    await parted_and_quoted(typing)


async def test_a_block_between_the_editors_braces_stays_when_they_part_on_enter(make: Make) -> None:
    block = {"before": "x = {", "text": f"\n        {PAIRS}\n    }}\nrest\n"}
    typing = make("def f():\n    x = {<caret>}\n\n    return x\n", block)
    assert await typing.ghost() == "\n        " + PAIRS + "\n    "
    await parted_and_quoted(typing)


async def test_a_suggestion_over_a_closer_is_typed_through_and_past_it(make: Make) -> None:
    typing = make("print(<caret>)\n", {"before": "print(", "text": "a) + other(b)\n"})
    first = await typing.answer()
    assert (first.text, first.replaces) == ("a) + other(b)", 1)
    typing.type("a")
    second = await typing.answer()
    assert (second.text, second.replaces) == (") + other(b)", 1)
    typing.edit(typing.cursor, Position(0, typing.cursor.units + 1), ")")
    typing.cursor = Position(0, typing.cursor.units + 1)
    third = await typing.answer()
    assert (third.text, third.replaces, third.source) == (" + other(b)", 0, "memory")
    assert len(typing.asked) == 1


# The prompt


async def test_each_key_only_appends_to_what_the_service_has_read(make: Make) -> None:
    typing = make(RETURN + "\nrest = 1\n", {"before": "", "text": "zzz\n"})
    for key in "total = left(":
        typing.type(key, ")" if key == "(" else "")
        await typing.ghost()
    first = typing.asked[0]
    for one, other in zip(typing.asked, typing.asked[1:], strict=False):
        assert (one.context, one.path, one.suffix, one.prefix) == (
            first.context,
            first.path,
            first.suffix,
            first.prefix,
        )
        assert other.typed.startswith(one.typed)


async def test_a_request_asks_for_a_line_or_for_a_block(make: Make) -> None:
    line = make(RETURN, SUM)
    await line.ghost()
    assert line.asked[0].max_lines == 1
    block = make(
        "def add(left, right):\n    <caret>\n", {"before": "    ", "text": "a = 1\n    return a\n\n\nx = 2\ny\n"}
    )
    assert await block.ghost() == "a = 1\n    return a"
    assert block.asked[0].max_lines == 10


async def test_a_block_is_not_written_beyond_its_end(make: Make) -> None:
    text = "a = 1\n    return a\n" + "b()\n" * 40
    typing = make("def add(left, right):\n    <caret>\n", {"before": "    ", "text": text, "each": 0.005})
    in_no_hurry = time.monotonic() + 10.0
    assert (await typing.answer(received=in_no_hurry)).text == "a = 1\n    return a"
    await until(lambda: typing.services.cancelled == 1)


# The deadline


async def test_a_partial_goes_out_when_it_is_time(make: Make) -> None:
    typing = make(RETURN, {**SUM, "text": "left + right" + " + other" * 200})
    typing.services.script["answers"][0]["each"] = 0.01
    answer = await typing.answer()
    assert answer.text is not None
    assert "left + right".startswith(answer.text) or answer.text.startswith("left + right")
    assert answer.generation is not None
    assert answer.generation.running, "it goes on for the next key"


async def test_the_next_key_goes_on_with_what_is_being_written(make: Make) -> None:
    typing = make(RETURN, SLOW)
    first = await typing.answer(received=LONG_AGO)
    await until(lambda: first.generation is not None and len(first.generation.text) > 1)
    typing.type("l")
    answer = await typing.answer()
    assert answer.generation is first.generation
    assert answer.text is not None
    assert "eft + right".startswith(answer.text)
    assert len(typing.asked) == 1


async def test_a_key_that_is_another_ends_what_is_being_written(make: Make) -> None:
    typing = make(RETURN, {"before": "return x", "text": "y\n"}, SLOW)
    first = await typing.answer(received=LONG_AGO)
    assert first.generation is not None
    await until(lambda: bool(first.generation and first.generation.text))
    typing.type("x")
    assert not first.generation.running
    assert await typing.ghost() == "y"


async def test_what_is_written_otherwise_than_typed_is_asked_anew(make: Make) -> None:
    """The key fits the first piece of the text that is on its way, and not the second."""
    typing = make(RETURN, {"before": "return leap", "text": "s\n"}, {**SUM, "text": "le" + "ft\n", "each": 0.05})
    first = await typing.answer(received=LONG_AGO)
    await until(lambda: bool(first.generation and first.generation.text))
    typing.type("leap")
    assert await typing.ghost() == "s"


async def test_with_nothing_valid_the_request_ends_at_its_deadline(make: Make) -> None:
    typing = make(RETURN, NEVER, settings=Settings(debounce=0, deadline=60))
    answer = await typing.answer()
    assert (answer.text, answer.reason) == (None, "no suggestion in time")


async def test_what_comes_after_the_partial_moment_may_still_become_whole(make: Make) -> None:
    typing = make(RETURN, {**SUM, "first": 0.2})
    assert await typing.ghost() == "left + right"


async def test_keys_wait_for_another_only_where_suggestions_mostly_take_longer(make: Make) -> None:
    jumped = {"before": "return ", "text": "left\n", "first": 0.4}
    typing = make(RETURN, jumped, {"before": "return r", "text": "ight\n"})
    assert await typing.ghost() == "left"
    assert not typing.state.waits, "a whole prompt was read for it"
    typing.type("r")
    assert await typing.ghost() == "ight"
    (quick,) = typing.state.waits
    typing.state.waits.append(2.0)
    assert typing.state.latency is None, "two may both be odd"
    typing.state.waits.append(quick)
    assert typing.state.latency == quick < 0.4
    typing.state.waits.extend([2.0, 2.0])
    assert typing.state.latency == 2.0


# Failures


async def test_a_service_that_is_gone_is_found_anew_within_the_request(make: Make) -> None:
    typing = make(RETURN, {**SUM, "error": "unreachable"})
    connection, connect = typing.connection, typing.services.connect
    await connection.open()

    async def mended() -> Any:
        typing.services.script["answers"][0]["error"] = None
        return await connect()

    connection._connect = mended
    assert await typing.ghost() == "left + right"
    assert typing.services.connected == 2
    assert connection.problem is None


async def test_without_a_service_the_answer_is_empty_and_says_why(make: Make) -> None:
    typing = make(RETURN, SUM)
    typing.services.refusals = [Unreachable("the model is corrupted; restore it")] * 3
    answer = await typing.answer()
    assert (answer.text, answer.reason) == (None, "the model is corrupted; restore it")
    assert typing.connection.problem == "the model is corrupted; restore it"
    typing.type("l")
    await typing.answer()
    assert len(typing.services.refusals) == 2, "another attempt at once would fail the same way"
    typing.connection.forgive()
    typing.services.refusals = []
    typing.backspace()
    assert await typing.ghost() == "left + right"
    assert typing.connection.problem is None


@pytest.mark.parametrize("error", ["overloaded", "refused"])
async def test_an_error_of_the_service_is_no_error_of_the_request(make: Make, error: str) -> None:
    typing = make(RETURN, {**SUM, "error": error})
    answer = await typing.answer()
    assert (answer.text, answer.reason) == (None, f"scripted: {error}")
    assert typing.connection.problem == (None if error == "overloaded" else "scripted: refused")
    typing.services.script["answers"][0]["error"] = None
    assert await typing.ghost() == "left + right", "a failure is not remembered"
    assert typing.connection.problem is None


async def test_a_superseded_request_frees_whoever_waits_and_nothing_else(make: Make) -> None:
    typing = make(RETURN, NEVER)
    waiting = asyncio.create_task(typing.answer())
    await until(lambda: len(typing.asked) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert typing.state.running is not None
    assert typing.state.running.running, "the prompt is still being read, for the next key"


# Context


def found(*snippets: Snippet, seconds: float = 0.0, calls: list[Snapshot] | None = None) -> Any:
    async def retrieve(snapshot: Snapshot, _: Frame) -> Retrieved:
        if calls is not None:
            calls.append(snapshot)
        await asyncio.sleep(seconds)
        return Retrieved(snippets)

    return retrieve


def typing_frame(typing: Typing) -> Frame:
    return window.frame(typing.snapshot(), None)


ELSEWHERE = Snippet("package/other.py", "def helper(): ...\n")


async def test_context_is_looked_for_once_and_frozen_with_the_anchor(make: Make) -> None:
    calls: list[Snapshot] = []
    typing = make(RETURN, {"before": "", "text": "zzz\n"}, retrieve=found(ELSEWHERE, calls=calls))
    await prefetch.look(typing.snapshot(), typing.state)
    for key in "total":
        typing.type(key)
        await typing.ghost()
    assert [request.context for request in typing.asked] == [(ELSEWHERE,)] * 5
    assert len(calls) == 1


async def test_before_a_jump_the_context_of_its_place_is_there(make: Make) -> None:
    """Each definition's own, found in a pause; the first request after the jump waits for nothing."""
    calls: list[Snapshot] = []

    async def retrieve(snapshot: Snapshot, frame: Frame) -> Retrieved:
        calls.append(snapshot)
        await asyncio.sleep(0.02)
        return Retrieved((Snippet("package/other.py", f"# {frame.anchor.scope[-1:]}\n"),))

    typing = make("def one():\n    x = <caret>\n\n\ndef two():\n    y = \n", SUM, retrieve=retrieve)
    await prefetch.look_around(typing.snapshot(), typing.state)
    await prefetch.look_around(typing.snapshot(), typing.state)
    assert [call.cursor.line for call in calls] == [1, 5]
    typing.cursor = Position(5, 8)
    await typing.ghost()
    assert typing.asked[0].context == (Snippet("package/other.py", "# ('def two():',)\n"),)
    assert len(calls) == 2


async def test_without_its_own_context_a_place_has_that_of_the_file(make: Make) -> None:
    found_here = found(ELSEWHERE)

    async def retrieve(snapshot: Snapshot, frame: Frame) -> Retrieved:
        if snapshot.cursor.line > 3:
            await asyncio.sleep(60)
        retrieved: Retrieved = await found_here(snapshot, frame)
        return retrieved

    typing = make("def one():\n    x = <caret>\n\n\ndef two():\n    y = \n", SUM, retrieve=retrieve)
    await typing.state.contexts.of(typing.snapshot(), typing_frame(typing), 1.0)
    typing.cursor = Position(5, 8)
    await typing.ghost()
    assert typing.asked[0].context == (ELSEWHERE,)


async def test_while_files_are_still_being_read_only_the_cursors_place_is_looked_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Snapshot] = []

    async def retrieve(snapshot: Snapshot, _: Frame) -> Retrieved:
        calls.append(snapshot)
        return Retrieved((), partial=True)

    typing = make("def one():\n    x = <caret>\n\n\ndef two():\n    y = \n", SUM, retrieve=retrieve)
    monkeypatch.setattr(context, "PARTIAL_STALE", -1.0)
    await prefetch.look_around(typing.snapshot(), typing.state)
    assert len(calls) == 1


async def test_context_that_comes_too_late_is_read_in_the_next_pause(make: Make) -> None:
    typing = make(RETURN, {"before": "", "text": "zzz\n"}, retrieve=found(ELSEWHERE, seconds=0.1))
    await typing.ghost()
    assert typing.asked[0].context == ()
    assert typing.state.running is not None
    await typing.state.running.over()
    await prefetch.prepare(typing.snapshot(), typing.state)
    assert typing.read_ahead[-1].context == (ELSEWHERE,)
    typing.type("x")
    await typing.ghost()
    assert typing.asked[-1].context == (ELSEWHERE,)
    assert typing.asked[-1].suffix == typing.read_ahead[-1].suffix


async def test_without_retrieval_no_other_file_is_looked_at(make: Make) -> None:
    calls: list[Snapshot] = []
    settings = Settings(debounce=0, retrieval=False)
    typing = make(RETURN, SUM, settings=settings, retrieve=found(ELSEWHERE, calls=calls))
    await typing.ghost()
    assert (calls, typing.asked[0].context) == ([], ())


async def test_a_search_that_fails_costs_no_suggestion(make: Make) -> None:
    async def broken(_: Snapshot, __: Frame) -> Retrieved:
        raise ValueError("broken")

    assert await make(RETURN, SUM, retrieve=broken).ghost() == "left + right"


async def test_the_imports_above_the_window_are_told(make: Make) -> None:
    body = "".join(f"    value_{at} = {at}\n" for at in range(300))
    typing = make(f"import os\n\n\ndef work():\n{body}    return <caret>\n", SUM)
    await typing.ghost()
    assert typing.asked[0].context == (Snippet("package/module.py", "import os\ndef work():\n"),)


# Ahead of the key


async def test_the_place_of_the_cursor_is_read_ahead(make: Make) -> None:
    typing = make(RETURN, SUM)
    await prefetch.prepare(typing.snapshot(), typing.state)
    prepared = typing.read_ahead[0]
    assert prepared.prefix.endswith("return ")
    typing.type("l")
    await typing.ghost()
    asked = typing.asked[0]
    assert (asked.prefix, asked.suffix, asked.context) == (prepared.prefix, prepared.suffix, prepared.context)
    assert asked.typed == "l"


async def test_what_still_answers_is_not_read_again(make: Make) -> None:
    typing = make(RETURN, SUM)
    await typing.ghost()
    await prefetch.prepare(typing.snapshot(), typing.state)
    assert typing.read_ahead == []


async def test_a_tired_anchor_answers_until_the_new_one_is_read(make: Make) -> None:
    typing = make("def one():\n    pass\n\n\n<caret>\n", {"before": "", "text": "zzz\n"})
    await typing.ghost()
    typing.type("def two():\n    x")
    await typing.ghost()
    old = typing.state.anchors[typing.snapshot().uri]
    assert typing.state.running is not None
    await typing.state.running.over()
    preparing = asyncio.create_task(prefetch.prepare(typing.snapshot(), typing.state))
    await until(lambda: bool(typing.read_ahead) or preparing.done())
    await preparing
    new = typing.state.anchors[typing.snapshot().uri]
    assert (old.scope, new.scope) == ((), ("def two():",))
    typing.type("y")
    await typing.ghost()
    assert typing.asked[-1].prefix == typing.read_ahead[-1].prefix


@pytest.mark.parametrize("finish", ["deadline", "cancelled"])
async def test_a_tired_anchor_answers_on_while_the_new_one_is_not_read_whole(
    make: Make, finish: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    typing = make("def one():\n    pass\n\n\n<caret>\n", {"before": "", "text": "zzz\n"})
    await typing.ghost()
    typing.type("def two():\n    x")
    await typing.ghost()
    old = typing.state.anchors[typing.snapshot().uri]

    async def cut_short(_: InfillRequest) -> AsyncIterator[Done]:
        yield Done(finish)

    monkeypatch.setattr(typing.state.connection, "middle", cut_short)
    await prefetch.prepare(typing.snapshot(), typing.state)
    assert typing.state.anchors[typing.snapshot().uri] == old


async def test_nothing_is_read_ahead_where_lacuna_is_off(make: Make) -> None:
    typing = make(RETURN, SUM, settings=Settings(enabled=False))
    await prefetch.prepare(typing.snapshot(), typing.state)
    assert await typing.answer() == Answer(None, "skip", "off")
    assert typing.services.requests == []


async def test_reading_ahead_without_a_service_says_so(make: Make) -> None:
    typing = make(RETURN, SUM)
    typing.services.refusals = [Unreachable("nobody there")]
    with pytest.raises(LacunaRuntimeError, match="nobody there"):
        await prefetch.prepare(typing.snapshot(), typing.state)


async def test_what_is_remembered_holds_no_whole_text(make: Make) -> None:
    typing = make(RETURN, SUM)
    snapshot = typing.snapshot()
    lines = weakref.ref(snapshot)
    async with asyncio.timeout(15):
        await complete(snapshot, typing.state, time.monotonic())
    del snapshot
    await until(lambda: gc.collect() >= 0 and lines() is None)
    assert len(typing.state.suggestion_cache) == 1


async def test_fifty_thousand_lines_cost_the_model_no_more(make: Make) -> None:
    body = "    value = compute(value)\n" * 25_000
    typing = make(f"def work():\n{body}    return <caret>\n{body}", SUM)
    began = time.monotonic()
    await typing.ghost()
    request = typing.asked[0]
    assert len(request.prefix) + len(request.suffix) + sum(len(one.text) for one in request.context) < 5_000
    assert time.monotonic() - began < 15
