"""The Neovim plugin against a scripted language server: drawing, keys, positions. The model has no part in it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.editors.neovim import PLUGIN, Neovim, alive, children, version

SERVER = Path(__file__).with_name("scripted_server.py")

Answer = dict[str, Any]


class Editor(Neovim):
    """Neovim with a scripted server behind it and what that server was told."""

    log: Path

    def told(self, method: str) -> list[dict[str, Any]]:
        """Params of every message of one method, oldest first."""
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        messages = [json.loads(line) for line in lines]
        return [message["params"] for message in messages if message.get("method") == method]


Start = Callable[..., AbstractContextManager[Editor]]


def say(before: str, text: str, take: tuple[int, int] = (0, 0), delay: float = 0.0) -> Answer:
    """An answer of the script: left of the cursor stands `before`, so suggest `text`."""
    return {"before": before, "items": [{"insertText": text, "take": take}], "delay": delay}


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """An editor on a file: start(text, answers…, options="Lua fields", encoding=…)."""

    def make(text: str, *answers: Answer, options: str = "", encoding: str = "utf-8", name: str = "a.py") -> Editor:
        script, log, file = tmp_path / "script.json", tmp_path / "log", tmp_path / name
        script.write_text(json.dumps({"encoding": encoding, "answers": answers}), "utf-8")
        file.write_bytes(text.encode())
        command = [sys.executable, str(SERVER), str(script), str(log)]
        setup = f"{{ cmd = {{ {str(command)[1:-1]} }}, builtin = false, {options} }}"
        editor = Editor(tmp_path, setup, (file,))
        editor.log = log
        return editor

    return make


@pytest.fixture
def adding(start: Start) -> Iterator[Editor]:
    """An editor in insert mode where typing `ret` shows `urn left + right`."""
    typed = [say("return"[:n], "return left + right", (n, 0)) for n in range(6, 2, -1)]
    with start("def add(left, right):\n    pass\n", *typed, say("return ", "left + right")) as editor:
        editor.wait_for_server()
        editor.type("jccret")
        editor.wait_for_ghost("urn left + right")
        yield editor


def test_tab_takes_the_suggestion_and_tells_the_server_afterwards(adding: Editor) -> None:
    adding.type("<Tab>")
    assert adding.lines()[1].strip() == "return left + right"
    assert adding.nvim.current.window.cursor[1] == len(adding.lines()[1])
    told = adding.wait_for(lambda: adding.told("workspace/executeCommand"))
    assert told == [{"command": "lacuna.accepted", "arguments": ["return left + right"]}]
    methods = [json.loads(line).get("method") for line in adding.log.read_text().splitlines()]
    before = methods[: methods.index("workspace/executeCommand")]
    assert before[::-1].index("textDocument/didChange") < before[::-1].index("textDocument/inlineCompletion")


def test_text_typed_along_shortens_the_ghost_before_the_server_answers(start: Start) -> None:
    with start("", say("re", "return 1", (2, 0)), say("ret", "return 1", (3, 0), delay=60.0)) as editor:
        editor.wait_for_server()
        editor.type("ire")
        editor.wait_for_ghost("turn 1")
        editor.type("t")
        assert editor.ghost() == "urn 1"


def test_other_text_takes_the_ghost_away_at_once(adding: Editor) -> None:
    adding.type("x")
    assert adding.ghost() == ""
    assert adding.lines()[1].strip() == "retx"


def test_dismissed_ghost_stays_away_until_the_next_change(adding: Editor) -> None:
    adding.type("<C-]>")
    assert adding.ghost() == ""
    asked = len(adding.told("textDocument/inlineCompletion"))
    adding.nvim.command("doautocmd CursorMovedI")
    assert adding.ghost() == ""
    assert len(adding.told("textDocument/inlineCompletion")) == asked
    adding.type("u")
    adding.wait_for_ghost("rn left + right")


def test_escape_leaves_insert_mode_and_takes_the_ghost_along(adding: Editor) -> None:
    adding.type("<Esc>")
    assert adding.nvim.api.get_mode()["mode"] == "n"
    assert adding.ghost() == ""


def test_word_by_word_keeps_the_rest_visible(adding: Editor) -> None:
    adding.type("<C-Right>")
    assert adding.lines()[1].strip() == "return"
    adding.wait_for_ghost(" left + right")
    adding.type("<C-Right>")
    assert adding.lines()[1].strip() == "return left"


def test_line_by_line_takes_one_line(start: Start) -> None:
    with start("", say("if", " a:\n    b\n    c")) as editor:
        editor.wait_for_server()
        editor.type("iif")
        editor.wait_for_ghost(" a:\n    b\n    c")
        editor.type("<C-Down>")
        assert editor.lines() == ["if a:"]


def test_the_popup_menu_has_its_keys_to_itself(start: Start) -> None:
    with start("return_one\nreturn_two\n", say("return_one", " + 1"), say("re", "turn_x")) as editor:
        editor.wait_for_server()
        editor.type("Gore")
        editor.wait_for_ghost("turn_x")
        asked = len(editor.told("textDocument/inlineCompletion"))
        editor.type("<C-n>")
        assert editor.nvim.funcs.pumvisible()
        assert editor.ghost() == ""
        assert editor.nvim.funcs.maparg("<C-]>", "i") == ""
        assert len(editor.told("textDocument/inlineCompletion")) == asked
        editor.type("<C-y>")
        assert editor.lines()[-1] == "return_one"
        editor.wait_for_ghost(" + 1")


def test_undo_takes_back_the_suggestion_and_leaves_what_was_typed(adding: Editor) -> None:
    adding.type("<Tab><Esc>u")
    assert adding.lines()[1].strip() == "ret"


def test_keys_do_what_they_did_when_no_ghost_is_visible(adding: Editor) -> None:
    adding.nvim.command("inoremap <buffer> <C-]> [mine]")
    adding.nvim.command("inoremap <Tab> [tab]")
    adding.type("x<Tab><C-]>")
    assert adding.lines()[1].strip() == "retx[tab][mine]"


def test_a_key_of_the_buffer_is_given_back(start: Start) -> None:
    with start("", say("a", "bc")) as editor:
        editor.wait_for_server()
        editor.lua("vim.keymap.set('i', '<Tab>', function() return '[mine]' end, { buffer = 0, expr = true })")
        editor.type("ia")
        editor.wait_for_ghost("bc")
        editor.type("<Tab>")
        assert editor.lines() == ["abc"]
        editor.type("<Tab>")
        assert editor.lines() == ["abc[mine]"]


def test_a_tab_typed_faster_than_the_screen_follows_is_a_tab(start: Start) -> None:
    with start("", say("a", "bc")) as editor:
        editor.wait_for_server()
        editor.nvim.command("set expandtab shiftwidth=4 softtabstop=4")
        editor.type("ia")
        editor.wait_for_ghost("bc")
        editor.nvim.input("xy<Tab>")
        editor.wait_for(lambda: editor.lines() == ["axy "])


def test_lines_below_and_the_text_right_of_the_cursor_are_drawn_as_they_will_be(start: Start) -> None:
    with start("call(x)\n", say("call(", "\n    y, ")) as editor:
        editor.wait_for_server()
        editor.insert_at(1, 5)
        editor.wait_for_ghost("  \n    y, x)")
        editor.type("<Tab>")
        assert editor.lines() == ["call(", "    y, x)"]


def test_a_closed_bracket_is_not_doubled(start: Start) -> None:
    with start("call()\n", say("call(", "call(a, b)", take=(5, 1))) as editor:
        editor.wait_for_server()
        editor.insert_at(1, 5)
        editor.wait_for_ghost("a, b")
        editor.type("<Tab>")
        assert editor.lines() == ["call(a, b)"]
        assert editor.nvim.current.window.cursor == (1, 10)


def test_a_suggestion_that_goes_on_past_the_bracket_shows_the_whole_line(start: Start) -> None:
    with start("call();\n", say("call(", "a).b", take=(0, 1))) as editor:
        editor.wait_for_server()
        editor.insert_at(1, 5)
        editor.wait_for_ghost("a).b;")
        editor.type("<Tab>")
        assert editor.lines() == ["call(a).b;"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_positions_are_counted_as_the_server_counts(start: Start, encoding: str) -> None:
    line = "s = 'é𝄞漢', ma('é𝄞')\n"
    covering = say("'é𝄞漢', ma(", "ma('𝄞é').x", take=(3, 5))
    with start(line, covering, encoding=encoding) as editor:
        editor.wait_for_server()
        assert editor.lua("return require('lacuna.client').of(0).offset_encoding") == encoding
        editor.insert_at(1, len("s = 'é𝄞漢', ma(".encode()))
        editor.wait_for_ghost("'𝄞é').x")
        editor.type("<Tab>")
        assert editor.lines() == ["s = 'é𝄞漢', ma('𝄞é').x"]


def test_a_file_of_dos_lines_stays_one(start: Start, tmp_path: Path) -> None:
    with start("one\r\ntwo\r\n", say("one!", "\r\nmore\r\n")) as editor:
        editor.wait_for_server()
        editor.type("A!")
        editor.wait_for_ghost("\nmore\n")
        editor.type("<Tab><Esc>")
        assert editor.lines() == ["one!", "more", "", "two"]
        editor.nvim.command("write")
        assert (tmp_path / "a.py").read_bytes() == b"one!\r\nmore\r\n\r\ntwo\r\n"


def test_tabs_are_drawn_as_wide_as_they_will_be(start: Start) -> None:
    with start("", say("x", "\ty\n\t\tz"), name="a.go") as editor:
        editor.wait_for_server()
        editor.nvim.command("set noexpandtab tabstop=4")
        editor.type("ix")
        editor.wait_for_ghost("   y\n        z")
        editor.type("<Tab>")
        assert editor.lines() == ["x\ty", "\t\tz"]


def test_a_superseded_request_is_cancelled_and_its_answer_never_drawn(start: Start) -> None:
    with start("", say("a", "late", delay=0.3), say("b", "soon")) as editor:
        editor.wait_for_server()
        editor.type("ia")
        editor.type("b")
        editor.wait_for_ghost("soon")
        assert len(editor.told("$/cancelRequest")) >= 1
        editor.nvim.command("sleep 400m")
        assert editor.ghost() == "soon"


def test_an_answer_that_comes_after_insert_mode_is_not_drawn(start: Start) -> None:
    with start("", say("a", "late", delay=0.2)) as editor:
        editor.wait_for_server()
        editor.type("ia")
        editor.type("<Esc>")
        editor.nvim.command("sleep 300m")
        assert editor.ghost() == ""


def test_every_item_can_be_seen_and_taken(start: Start) -> None:
    items = {"before": "a", "items": [{"insertText": "one"}, {"insertText": "two"}]}
    with start("", items) as editor:
        editor.wait_for_server()
        editor.type("ia")
        editor.wait_for_ghost("one")
        editor.type("<M-]>")
        editor.wait_for_ghost("two")
        editor.type("<M-]>")
        editor.wait_for_ghost("one")
        editor.type("<M-[>")
        editor.type("<Tab>")
        assert editor.lines() == ["atwo"]


def test_a_request_by_hand_says_so(start: Start) -> None:
    with start("", options="enabled = true") as editor:
        editor.wait_for_server()
        editor.type("ix")
        editor.type("<M-\\>")
        requests = "textDocument/inlineCompletion"
        editor.wait_for(lambda: [told["context"]["triggerKind"] for told in editor.told(requests)][-1:] == [1])


def test_the_server_hears_where_the_cursor_rests(start: Start) -> None:
    with start("a\nb\nc\n") as editor:
        editor.wait_for_server()
        editor.type("jj")
        editor.wait_for(lambda: [told["position"]["line"] for told in editor.told("lacuna/cursor")][-1:] == [2])


@pytest.mark.skipif(version() < (0, 10), reason="Neovim knows snippets of its own from 0.10 on")
def test_the_server_hears_that_a_snippets_places_are_filled_in(start: Start) -> None:
    with start("") as editor:
        editor.wait_for_server()
        editor.type("i")
        editor.lua("vim.snippet.expand('for ${1:each} in ${2:all}:$0')")
        editor.type("o")
        editor.wait_for(lambda: [told["inSnippet"] for told in editor.told("lacuna/cursor")][-1:] == [True])
        editor.type("ne")
        editor.lua("vim.snippet.stop()")
        editor.type("x")
        editor.wait_for(lambda: [told["inSnippet"] for told in editor.told("lacuna/cursor")][-1:] == [False])
        assert editor.lines() == ["for onex in all:"]


def test_disable_and_enable_switch_suggestions(adding: Editor) -> None:
    adding.nvim.command("Lacuna disable")
    assert adding.ghost() == ""
    asked = len(adding.told("textDocument/inlineCompletion"))
    adding.type("u")
    assert len(adding.told("textDocument/inlineCompletion")) == asked
    assert "suggestions: off" in adding.nvim.command_output("Lacuna status")
    adding.nvim.command("Lacuna enable")
    adding.type("r")
    adding.wait_for_ghost("n left + right")


def test_the_statistics_are_asked_of_the_same_program(tmp_path: Path) -> None:
    program, file = tmp_path / "lacuna", tmp_path / "a.py"
    program.write_text(f'#!/bin/sh\n[ "$1" = stats ] && echo "$@" >{tmp_path}/asked || cat >/dev/null\n')
    program.chmod(0o755)
    file.write_text("")
    with Neovim(tmp_path, f"{{ cmd = {{ '{program}', '--stdio' }}, builtin = false }}", (file,)) as editor:
        editor.nvim.command("Lacuna stats")
        assert (tmp_path / "asked").read_text() == "stats --web\n"


def test_a_buffer_can_refuse(start: Start) -> None:
    with start("", say("a", "bc")) as editor:
        editor.wait_for_server()
        editor.nvim.command("let b:lacuna = v:false")
        editor.type("ia")
        assert editor.told("textDocument/inlineCompletion") == []


def test_prose_and_terminals_get_no_server(start: Start) -> None:
    with start("", name="COMMIT_EDITMSG") as editor:
        editor.type("ihello")
        assert children(editor.pid) == []


def test_a_server_that_dies_is_started_again(adding: Editor) -> None:
    (server,) = children(adding.pid)
    adding.lua("vim.uv.kill(..., 'sigkill')", server)
    adding.wait_for(lambda: not alive(server))
    adding.wait_for(lambda: adding.lua("return require('lacuna.client').of(0) ~= nil"))
    adding.type("u")
    adding.wait_for_ghost("rn left + right")


def test_without_the_program_one_message_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("")
    with Neovim(tmp_path, "{ cmd = { '/nowhere/lacuna', '--stdio' } }", (file,)) as editor:
        editor.type("ihello<Esc>ohello")
        assert editor.lines() == ["hello", "hello"]
        messages = editor.nvim.command_output("messages")
        assert messages.count("/nowhere/lacuna") == 1
        assert "install it or name it in setup" in messages


def test_a_wrong_option_is_named_and_the_default_used(start: Start) -> None:
    with start("", say("a", "bc"), options="colour = 'red', keys = { accept = 7 }, enabled = 'yes'") as editor:
        messages = editor.nvim.command_output("messages")
        for words in ('no option "colour"', "keys.accept", "option enabled must be a boolean, not a string"):
            assert words in messages
        editor.wait_for_server()
        editor.type("ia")
        editor.wait_for_ghost("bc")
        editor.type("<Tab>")
        assert editor.lines() == ["abc"]


def test_checkhealth_says_what_is_in_force(adding: Editor) -> None:
    adding.type("<Esc>")
    adding.nvim.command("checkhealth lacuna")
    report = "\n".join(adding.lines())
    assert "ghost text: Lacuna's own" in report
    assert sys.executable in report
    assert "ERROR" not in report


def test_the_help_names_every_option_key_and_command(adding: Editor, tmp_path: Path) -> None:
    page = (PLUGIN / "doc" / "lacuna.txt").read_text("utf-8")
    defaults = adding.lua("return require('lacuna.options').defaults")
    types = adding.lua("return vim.tbl_keys(require('lacuna.options').types)")
    assert [name for name in types if f"\n    {name} " not in page] == []
    for name, key in defaults["keys"].items():
        assert f"{name} = '{key}'".replace("\\", "\\\\") in page
    commands = adding.nvim.funcs.getcompletion("Lacuna ", "cmdline")
    assert len(commands) == 6
    assert [name for name in commands if f":Lacuna {name} " not in page] == []
    shutil.copytree(PLUGIN / "doc", tmp_path / "doc")
    adding.nvim.command(f"helptags {tmp_path / 'doc'}")
    adding.nvim.command(f"set runtimepath^={tmp_path}")
    adding.nvim.command("help lacuna-options")
