"""JetBrains IDEs by LSP4IJ 0.20: what it asks, replayed against the real server, and its template, as it reads it.

LSP4IJ waits 300 ms after a key, asks "automatic", cancels when the cursor's offset has changed, counts in utf-16 and
runs no command. Of an item it shows the text behind what the range covers right of the cursor, which stays.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lacuna
from lsp_server.editor import options
from lsp_server.feedback import journal
from lsp_server.feedback.journal import Outcome
from retrieval import languages
from tests.lsp.scripted_editor import Editor

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "editors" / "jetbrains" / "lacuna"
INTELLIJ = {"name": "IntelliJ IDEA 2024.2 (build IC-242.20224.300)", "version": "LSP4IJ 0.20.0"}
ABLE = {
    "general": {"positionEncodings": ["utf-16"]},
    "textDocument": {"inlineCompletion": {"dynamicRegistration": True}},
    "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
}
ANSWERS = (
    {"before": "return ", "text": "left + right\n"},
    {"before": "😀', ", "text": "left)\n"},
    {"before": "print(", "text": "left)\n"},
    {"before": "never", "text": " ends\n", "first": 60.0},
)
TEXT = "def add(left, right):\n    return \n"


class Ide:
    """An editor component with one caret, whose document has \\n alone, as IntelliJ's always have."""

    def __init__(self, editor: Editor, text: str) -> None:
        self.editor = editor
        self.text, self.offset = text, text.index("<caret>")
        self.text = text.replace("<caret>", "")
        self.asked: int | None = None
        editor.open(self.text)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and utf-16 units."""
        before = self.text[:offset].split("\n")
        return len(before) - 1, len(before[-1].encode("utf-16-le")) // 2

    def insert(self, text: str) -> None:
        line, units = self.position(self.offset)
        self.text = self.text[: self.offset] + text + self.text[self.offset :]
        self.offset += len(text)
        self.editor.change(line, units, text)

    def ask(self) -> None:
        """After the debounce. One that is under way is cancelled: the offset is another now."""
        if self.asked is not None:
            self.editor.notify("$/cancelRequest", {"id": self.asked})
        self.asked = self.editor.ask(*self.position(self.offset), kind=2)

    def variants(self) -> list[tuple[int, str]]:
        """Of each item what LSP4IJ makes of it: characters skipped, and the grey text behind them."""
        assert self.asked is not None
        items = self.editor.reply(self.asked)["result"]
        self.asked = None
        found = []
        for item in items:
            line, units = self.position(self.offset)
            span = item["range"]
            assert span["start"]["line"] == span["end"]["line"] == line
            assert "\r" not in item["insertText"]
            left, right = units - span["start"]["character"], span["end"]["character"] - units
            found.append((right, item["insertText"][left:]))
        return found

    def accept(self) -> str:
        """Tab: the caret goes past what is skipped, and the grey text in behind it. Returns the caret's line."""
        self.ask()
        ((skipped, grey),) = self.variants()
        self.offset += skipped
        self.insert(grey)
        return self.text.split("\n")[self.position(self.offset)[0]]


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[Editor]:
    with Editor(tmp_path, *ANSWERS, journal=str(tmp_path / "journal")) as one:
        one.configuration = json.loads((TEMPLATE / "settings.json").read_text("utf-8"))["lacuna"]
        one.configuration["journal"] = "on"
        one.call("initialize", {"processId": None, "rootUri": None, "clientInfo": INTELLIJ, "capabilities": ABLE})
        one.notify("initialized", {})
        yield one


def test_a_suggestion_is_shown_grey_and_taken_with_tab(editor: Editor) -> None:
    ide = Ide(editor, TEXT.replace("return ", "return <caret>"))
    assert ide.accept() == "    return left + right"


def test_a_request_for_another_offset_cancels_the_one_before(editor: Editor) -> None:
    ide = Ide(editor, "never<caret>\n")
    ide.ask()
    first = ide.asked
    assert first is not None
    editor.until(lambda: bool(editor.asked()))
    ide.insert("\n    return ")
    ide.ask()
    assert editor.reply(first).get("result") in (None, [])
    assert ide.variants() == [(0, "left + right")]


@pytest.mark.parametrize("before", ["print(<caret>)", "print('😀', <caret>)"])
def test_a_bracket_right_of_the_caret_is_not_doubled(editor: Editor, before: str) -> None:
    ide = Ide(editor, TEXT + f"    {before}\n")
    assert ide.accept() == "    " + before.replace("<caret>", "left")


def test_an_acceptance_is_inferred_for_it_runs_no_command(editor: Editor, tmp_path: Path) -> None:
    ide = Ide(editor, TEXT.replace("return ", "return <caret>"))
    ide.accept()
    kept = tmp_path / "journal"
    editor.until(lambda: any(isinstance(one, Outcome) for one in journal.read(kept)))
    assert [one.fate for one in journal.read(kept) if isinstance(one, Outcome)] == ["accepted"]


def test_its_settings_are_pulled_and_followed(editor: Editor) -> None:
    ide = Ide(editor, TEXT.replace("return ", "return <caret>"))
    editor.configuration = {"enabled": False}
    editor.notify("workspace/didChangeConfiguration", {"settings": None})
    editor.wait(lambda message: message.get("method") == "workspace/configuration")

    def shows_nothing() -> bool:
        ide.ask()
        return ide.variants() == []

    editor.until(shows_nothing)


def read(name: str) -> Any:
    return json.loads((TEMPLATE / name).read_text("utf-8"))


def test_the_template_starts_the_server_and_knows_every_language_of_retrieval() -> None:
    template = read("template.json")
    assert template["id"] == "lacuna"
    for command in template["programArgs"].values():
        assert "lacuna" in command and "--stdio" in command
    known = set()
    for mapping in template["fileTypeMappings"]:
        language = languages.named(mapping["languageId"])
        assert language is not None, mapping["languageId"]
        found = {languages.of(pattern.replace("*", "a")).name for pattern in mapping["fileType"]["patterns"]}
        assert found == {language.name}
        known.add(language.name)
    assert {name for name, one in languages.LANGUAGES.items() if one.full} <= known


def test_the_settings_are_those_of_the_server_with_its_defaults() -> None:
    properties = read("settings.schema.json")["properties"]
    fields = {field.encode_name: field for field in msgspec.structs.fields(options.Settings)}
    assert set(properties) == {f"lacuna.{name}" for name in set(fields) - {"status", "timings", "completion"}}
    for name, schema in properties.items():
        default = getattr(options.Settings(), fields[name.removeprefix("lacuna.")].name)
        assert schema["default"] == default
        found, problems = options.resolve({name.removeprefix("lacuna."): schema["default"]})
        assert (found, problems) == (options.Settings(), ())
    assert {f"lacuna.{name}" for name in read("settings.json")["lacuna"]} <= set(properties)
    assert options.resolve(read("settings.json")["lacuna"], read("initializationOptions.json"))[1] == ()


def test_the_installer_checks_the_very_command_and_installs_this_package() -> None:
    installer = read("installer.json")
    command = installer["check"]["exec"]["command"]["default"]
    environment = {"PATH": str(Path(shutil.which("python") or "/usr/bin/python").parent) + ":/usr/bin:/bin"}
    if shutil.which("lacuna", path=environment["PATH"]):
        done = subprocess.run(command, shell=True, env=environment, capture_output=True, encoding="utf-8", timeout=30)
        assert done.stdout.strip().endswith(lacuna.__version__)
    missing = subprocess.run(command, shell=True, env={"PATH": "/nonexistent"}, capture_output=True, timeout=30)
    assert missing.returncode != 0
    assert "${source}[cpu]" in installer["run"]["exec"]["command"]["default"]
    assert "cpu" in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    configured = installer["run"]["exec"]["onSuccess"]["configureServer"]["command"]
    assert set(configured.values()) == set(read("template.json")["programArgs"].values())
