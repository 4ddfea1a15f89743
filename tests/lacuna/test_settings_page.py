"""docs/settings.md against the code: every name is there, none is stale, and each default is the one that holds.

A default stands in backticks at the beginning of a row's last cell, as one would write it in that place. Where there is
none, words say what happens instead. VS Code's rows are compared with its manifest in tests/vscode.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from lacuna.settings import IDLE_EXIT, _Options
from lsp_server.editor import options
from tests.editors.neovim import PLUGIN, executable
from tests.editors.test_configurations import EDITORS, forms

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
SHIPPED = ("lacuna", "lsp_server", "model_runtime", "retrieval", "vscode-extension/src", "editors/neovim/lua")


def section(heading: str) -> str:
    """The text under a second-level heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/settings.md has no section {heading!r}"
    return found[1]


def rows(heading: str) -> dict[str, str]:
    """The names in the first cells of a section's table, and the last cell of each."""
    return dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", section(heading), flags=re.MULTILINE))


def default(cell: str) -> str | None:
    """The default that a last cell begins with; None where it begins with words."""
    found = re.match(r"`([^`]+)`(?::|$)", cell)
    return None if found is None else found[1]


def test_the_file_has_these_settings_and_defaults() -> None:
    page = rows("The file")
    fields = {field.name: field for field in msgspec.structs.fields(_Options)}
    assert set(page) == set(fields)
    for name, field in fields.items():
        holds = IDLE_EXIT if name == "idle_exit" else field.default
        told = default(page[name])
        if isinstance(holds, str):
            assert told == holds, name
        else:
            assert (None if told is None else json.loads(told)) == holds, name


def test_the_environment_has_these_variables() -> None:
    page = set(re.findall(r"^\| `([^`]+)` \|", section("The environment"), flags=re.MULTILINE))
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in SHIPPED
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".ts", ".lua")
    )
    used = set(re.findall(r"\b(?:LACUNA|XDG)_[A-Z][A-Z_]*[A-Z]\b", text))
    used |= {f"LACUNA_{name.upper()}" for name in _Options.__struct_fields__}
    assert page == used


def test_the_language_server_has_these_settings_and_defaults() -> None:
    page = rows("The language server")
    fields = {field.encode_name: field for field in msgspec.structs.fields(options.Settings)}
    assert set(page) == set(fields)
    for name, field in fields.items():
        holds, told = getattr(options.Settings(), field.name), default(page[name])
        assert (None if told is None else json.loads(told)) == holds, name


# Prints the names whose default on the page (JSON on standard input) is not the plugin's, or that only one of them has.
COMPARE = """
local page, known, wrong = vim.json.decode(io.read('*a')), {}, {}
for name in pairs(options.types) do
  if name ~= 'keys' then known[name] = { options.defaults[name] } end
end
for name, key in pairs(options.defaults.keys) do known['keys.' .. name] = { key } end
for name, holds in pairs(known) do
  local told = page[name] and load('return { ' .. page[name] .. ' }')
  if not told or not vim.deep_equal(told(), holds) then table.insert(wrong, name) end
end
for name in pairs(page) do
  if not known[name] then table.insert(wrong, name) end
end
print(table.concat(wrong, ' '))
"""


def test_neovim_has_these_options_and_defaults(tmp_path: Path) -> None:
    told = {name: default(cell) or "no default" for name, cell in rows("Neovim").items()}
    script = tmp_path / "compare.lua"
    script.write_text(f"local options = dofile({str(PLUGIN / 'lua' / 'lacuna' / 'options.lua')!r})\n{COMPARE}")
    command = [executable(), "--clean", "--headless", "-c", f"luafile {script}", "-c", "qall!"]
    done = subprocess.run(command, input=json.dumps(told), capture_output=True, encoding="utf-8", timeout=30)
    assert done.stderr.strip() == ""


def test_emacs_has_these_options_and_defaults() -> None:
    read = forms((EDITORS / "emacs" / "lacuna.el").read_text("utf-8"))
    custom = {form[1]: form[2] for form in read if isinstance(form, list) and form and form[0] == "defcustom"}
    (row,) = re.findall(r"^\| Emacs \|.*$", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"\blacuna-[\w-]+", row)) == set(custom)
    assert f"{custom['lacuna-idle-delay']} unless told" in row


@pytest.mark.parametrize("editor", ["JetBrains", "Emacs", "Helix", "Sublime Text", "Zed"])
def test_each_other_editor_says_where_settings_stand(editor: str) -> None:
    assert re.search(rf"^\| {editor} \| \S", PAGE, flags=re.MULTILINE)
