"""What the protocol leaves open is done as the editor that asks has it, told by the name it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from lsp_server.completion.completion import Answer, without_cover
from lsp_server.rpc import wire
from tests.caret import snapshot
from tests.lsp.scripted_editor import GHOSTS, Editor

BODY = {"before": "if (x) {\n\t", "text": "a();\n\tb();\n}\n"}
NEOVIM = {"name": "Neovim", "version": "0.12.4"}


@pytest.mark.parametrize(
    ("client", "text"),
    [(NEOVIM, "a();\n\tb();"), ({"name": "Visual Studio Code"}, "a();\r\n\tb();"), (None, "a();\r\n\tb();")],
)
def test_an_editor_whose_buffers_hold_newlines_alone_is_given_them(
    tmp_path: Path, client: dict[str, Any] | None, text: str
) -> None:
    with Editor(tmp_path, BODY) as editor:
        editor.call("initialize", {"processId": None, "rootUri": None, "clientInfo": client, "capabilities": GHOSTS})
        editor.notify("initialized", {})
        editor.open("if (x) {\r\n\t\r\n}\r\n", language="javascript")
        assert editor.ghost(1, 1) == text


@pytest.mark.parametrize(
    "name", ["IntelliJ IDEA 2024.2 (build IC-242.20224.300)", "PyCharm", "Android Studio", "CLion"]
)
def test_jetbrains_ides_cover_nothing(name: str) -> None:
    assert not wire.habits(types.ClientInfo(name)).covers


@pytest.mark.parametrize("client", [None, types.ClientInfo("Visual Studio Code"), types.ClientInfo("helix")])
def test_any_other_editor_covers(client: types.ClientInfo | None) -> None:
    assert wire.habits(client).covers


@pytest.mark.parametrize(
    ("text", "replaces", "shown"),
    [
        ("a, b", 0, "a, b"),
        ("a, b)", 1, "a, b"),  # what is there already is left out
        ("a, b))", 2, "a, b"),
        ("a) + (b)", 1, "a) + (b"),
        ("a, b;", 1, None),  # the bracket would have to go
        (")", 1, None),  # nothing would be left
    ],
)
def test_where_nothing_can_be_covered_the_same_text_comes_of_it_or_none(
    text: str, replaces: int, shown: str | None
) -> None:
    given = snapshot("call(<caret>))\n")
    assert without_cover(Answer(text, "model", replaces=replaces), given).text == shown
