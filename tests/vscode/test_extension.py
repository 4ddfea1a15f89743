"""The VS Code extension's manifest, held against the server, the docs and its own sources. Needs no node."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lacuna
from lsp_server.editor import options

ROOT = Path(__file__).resolve().parent.parent.parent
EXTENSION = ROOT / "vscode-extension"
MANIFEST: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
SETTINGS: dict[str, dict[str, Any]] = MANIFEST["contributes"]["configuration"]["properties"]
SERVER = {field.encode_name: field for field in msgspec.structs.fields(options.Settings)}
OWN = {"status", "timings"}  # what the extension always asks for: its status bar lives on it
LAUNCH = {"lacuna.model", "lacuna.threads", "lacuna.server.path", "lacuna.server.url", "lacuna.interpreter"}


def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((EXTENSION / "src").glob("*.ts")))


def default(name: str) -> object:
    field = SERVER[name]
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def test_each_setting_of_the_server_is_a_setting_of_vscode() -> None:
    assert set(SETTINGS) - LAUNCH == {f"lacuna.{name}" for name in set(SERVER) - OWN}


@pytest.mark.parametrize("name", sorted(set(SERVER) - OWN))
def test_its_default_is_the_servers(name: str) -> None:
    assert SETTINGS[f"lacuna.{name}"]["default"] == default(name)


@pytest.mark.parametrize("name", sorted(set(SERVER) - OWN))
def test_its_limits_are_the_servers(name: str) -> None:
    setting = SETTINGS[f"lacuna.{name}"]
    limits = [setting[bound] for bound in ("minimum", "maximum") if bound in setting]
    for value in limits:
        settings, problems = options.resolve({name: value})
        assert not problems and getattr(settings, "max_lines" if name == "maxLines" else name) == value
    for value, step in zip(limits, (-1, 1), strict=False):
        assert options.resolve({name: value + step})[1], f"the server takes {value + step}"


def test_each_setting_is_read_and_sent() -> None:
    text = (EXTENSION / "src" / "settings.ts").read_text(encoding="utf-8")
    assert {f"lacuna.{name}" for name in re.findall(r"found\.get<[^(]*>\('([\w.]+)'", text)} == set(SETTINGS)
    sent = re.search(r"options: \{(.*?)\n\t\t\},", text, flags=re.DOTALL)
    assert sent is not None
    assert set(re.findall(r"^\t\t\t(\w+)[:,]", sent[1], flags=re.MULTILINE)) == set(SERVER)


def test_what_runs_cannot_be_chosen_by_a_workspace_that_is_not_trusted() -> None:
    assert set(MANIFEST["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]) == LAUNCH


def test_each_command_is_registered_and_each_registered_command_is_in_the_palette() -> None:
    declared = {one["command"] for one in MANIFEST["contributes"]["commands"]}
    text = (EXTENSION / "src" / "commands.ts").read_text(encoding="utf-8")
    assert set(re.findall(r"^\t+'(lacuna\.\w+)':", text, flags=re.MULTILINE)) == declared
    assert set(re.findall(r"executeCommand\('(lacuna\.\w+)'", source())) <= declared
    assert set(re.findall(r"run: '(lacuna\.\w+)'", source())) <= declared


def test_the_only_key_of_its_own_leaves_a_visible_suggestion_alone() -> None:
    (key,) = MANIFEST["contributes"]["keybindings"]
    assert key["key"] == "alt+\\"
    assert "!inlineSuggestionVisible" in key["when"] and "editorTextFocus" in key["when"]


def test_only_stable_api_is_used() -> None:
    assert "enabledApiProposals" not in MANIFEST
    assert MANIFEST["devDependencies"]["@types/vscode"].lstrip("~") == MANIFEST["engines"]["vscode"].lstrip("^")
    assert not re.search(r"@ts-(ignore|expect-error|nocheck)|\bas any\b|: any\b", source())


def test_the_version_is_that_of_the_server_it_brings() -> None:
    assert MANIFEST["version"] == lacuna.__version__


def test_the_walkthrough_and_the_pictures_are_there() -> None:
    steps = MANIFEST["contributes"]["walkthroughs"][0]["steps"]
    for file in [MANIFEST["icon"], *(step["media"]["markdown"] for step in steps)]:
        assert (EXTENSION / file).is_file(), file


@pytest.mark.parametrize("page", [EXTENSION / "README.md", ROOT / "docs" / "settings.md"])
def test_each_setting_is_documented_with_its_default(page: Path) -> None:
    rows = re.findall(r"^\| `(lacuna\.[\w.]+)` \|.*\| `([^`]*)` \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {name: json.dumps(setting["default"]) for name, setting in SETTINGS.items()}


def test_the_licence_is_the_projects() -> None:
    for name in ("LICENSE", "NOTICE"):
        assert (EXTENSION / name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")
