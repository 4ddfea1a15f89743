"""Lacuna's keys over Neovim 0.12's own inline completion. Runs where LACUNA_TEST_NVIM or the path has a 0.12."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.editors.neovim import Neovim, version

SERVER = Path(__file__).with_name("scripted_server.py")


pytestmark = pytest.mark.skipif(version() < (0, 12), reason="vim.lsp.inline_completion came with Neovim 0.12")


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[Neovim]:
    """An editor in insert mode that shows `urn left + right` after `ret`."""
    answers = [
        {"before": typed, "items": [{"insertText": "return left + right", "take": [len(typed), 0]}]}
        for typed in ("ret", "return")
    ]
    script = {"answers": [*answers, {"before": "x", "items": [{"insertText": "1\r\n2"}]}]}
    (tmp_path / "script.json").write_text(json.dumps(script))
    (tmp_path / "a.py").write_text("")
    command = [sys.executable, str(SERVER), str(tmp_path / "script.json"), str(tmp_path / "log")]
    with Neovim(tmp_path, f"{{ cmd = {{ {str(command)[1:-1]} }} }}", (tmp_path / "a.py",)) as nvim:
        nvim.wait_for_server()
        nvim.type("iret")
        nvim.wait_for_ghost("urn left + right")
        yield nvim


def test_neovims_own_ghost_is_taken_with_tab_and_reported(editor: Neovim, tmp_path: Path) -> None:
    assert not editor.owns()
    editor.wait_for(lambda: editor.nvim.funcs.maparg("<C-]>", "i"))
    editor.type("<Tab>")
    editor.wait_for(lambda: editor.lines() == ["return left + right"])
    editor.wait_for(lambda: '"method": "workspace/executeCommand"' in (tmp_path / "log").read_text())
    assert editor.ghost() == ""


def test_neovims_own_ghost_is_taken_by_word(editor: Neovim) -> None:
    editor.wait_for(lambda: editor.nvim.funcs.maparg("<C-]>", "i"))
    editor.type("<C-Right>")
    editor.wait_for(lambda: editor.lines() == ["return"])
    editor.wait_for_ghost(" left + right")


def test_neovims_own_ghost_is_dismissed_and_the_keys_given_back(editor: Neovim) -> None:
    editor.wait_for(lambda: editor.nvim.funcs.maparg("<C-]>", "i"))
    editor.type("<C-]>")
    assert editor.ghost() == ""
    assert editor.nvim.funcs.maparg("<C-]>", "i") == ""
    editor.nvim.command("inoremap <Tab> [tab]")
    editor.type("<Tab>")
    assert editor.lines() == ["ret[tab]"]


def test_disabled_neovim_asks_no_more(editor: Neovim, tmp_path: Path) -> None:
    editor.nvim.command("Lacuna disable")
    assert editor.ghost() == ""
    asked = (tmp_path / "log").read_text().count("textDocument/inlineCompletion")
    editor.type("urn")
    editor.nvim.command("sleep 400m")
    assert (tmp_path / "log").read_text().count("textDocument/inlineCompletion") == asked


def test_a_file_of_dos_lines_gets_no_carriage_returns(editor: Neovim) -> None:
    editor.nvim.command("set fileformat=dos")
    editor.type("<Esc>ox")
    editor.wait_for(lambda: editor.ghost().startswith("1"))  # Neovim draws the carriage return
    editor.type("<Tab>")
    editor.wait_for(lambda: editor.lines()[-2:] == ["x1", "2"])


def test_what_was_typed_before_the_server_was_there_gets_its_ghost(tmp_path: Path) -> None:
    script = {"answers": [{"before": "ret", "items": [{"insertText": "urn 1"}]}]}
    (tmp_path / "script.json").write_text(json.dumps(script))
    (tmp_path / "a.py").write_text("")
    late = tmp_path / "late"
    late.write_text(f'#!/bin/sh\nsleep 1\nexec {sys.executable} {SERVER} "$@"\n')
    late.chmod(0o755)
    command = [str(late), str(tmp_path / "script.json"), str(tmp_path / "log")]
    with Neovim(tmp_path, f"{{ cmd = {{ {str(command)[1:-1]} }} }}", (tmp_path / "a.py",)) as nvim:
        nvim.type("iret")
        nvim.wait_for_ghost("urn 1")
