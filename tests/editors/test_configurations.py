"""The configurations in editors/ can be read by what reads them, start this server and set what there is to set."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lsp_server.editor import options
from retrieval import languages

EDITORS = Path(__file__).parents[2] / "editors"
COMMAND = ["lacuna", "--stdio"]
EMACS = shutil.which("emacs")

Form = str | list[Any]


def test_helix_asks_lacuna_for_completion_alone_and_keeps_the_languages_own_servers() -> None:
    found = tomllib.loads((EDITORS / "helix" / "languages.toml").read_text("utf-8"))
    server = found["language-server"]["lacuna"]
    assert [server["command"], *server["args"]] == COMMAND
    assert options.resolve(server["config"])[1] == ()
    for language in found["language"]:
        assert languages.named(language["name"]) is not None
        *others, ours = language["language-servers"]
        assert others and ours == {"name": "lacuna", "only-features": ["completion"]}
    assert len({language["name"] for language in found["language"]}) == len(found["language"])


def test_zed_asks_a_server_on_this_machine_for_completions() -> None:
    settings = json.loads((EDITORS / "zed" / "settings.json").read_text("utf-8"))["edit_predictions"]
    asked = settings[settings["provider"]]
    assert re.fullmatch(r"http://localhost:\d+/v1/completions", asked["api_url"])
    page = (EDITORS.parent / "docs" / "server.md").read_text("utf-8")
    assert f'"prompt_format": "{asked["prompt_format"]}"' in page and f'"{asked["api_url"]}"' in page


def test_sublime_starts_the_server_with_a_menu() -> None:
    text = (EDITORS / "sublime" / "LSP.sublime-settings").read_text("utf-8")
    client = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))["clients"]["lacuna"]
    assert client["command"] == COMMAND and client["enabled"] and client["selector"]
    settings, problems = options.resolve(client["initializationOptions"])
    assert settings.completion is True and problems == ()


def forms(text: str) -> list[Form]:
    """Emacs Lisp as nested lists of atoms; quotes are left out. Raises AssertionError for what does not close."""
    token = re.compile(r";[^\n]*|\s+|(\"(?:\\.|[^\"\\])*\"|\(|\)|#?['`,]|\?\\?.|[^\s()\"';`,]+)", re.DOTALL)
    stack: list[list[Form]] = [[]]
    at = 0
    while at < len(text):
        found = token.match(text, at)
        assert found is not None, text[at : at + 40]
        at = found.end()
        if found[1] == "(":
            stack.append([])
        elif found[1] == ")":
            assert len(stack) > 1, "a closing bracket too many"
            done = stack.pop()
            stack[-1].append(done)
        elif found[1] is not None and found[1] not in ("'", "#'", "`", ","):
            stack[-1].append(found[1])
    assert len(stack) == 1, "a bracket is not closed"
    return stack[0]


def atoms(form: Form) -> list[str]:
    return [form] if isinstance(form, str) else [atom for one in form for atom in atoms(one)]


@pytest.mark.parametrize("name", ["lacuna", "eglot"])
def test_emacs_files_are_lisp_that_starts_the_server(name: str) -> None:
    text = (EDITORS / "emacs" / f"{name}.el").read_text("utf-8")
    assert text.startswith(f";;; {name}.el --- ") and text.endswith(f";;; {name}.el ends here\n")
    assert {'"lacuna"', '"--stdio"'} <= set(atoms(list(forms(text))))


def test_the_emacs_mode_binds_what_it_mentions() -> None:
    read = forms((EDITORS / "emacs" / "lacuna.el").read_text("utf-8"))
    heads = [(form[0], form[1]) for form in read if isinstance(form, list) and len(form) > 1]
    defined = {name for head, name in heads if head in ("defcustom", "defun", "define-minor-mode", "defgroup")}
    used = {atom for form in read for atom in atoms(form) if re.fullmatch(r"lacuna-[\w-]+", atom)}
    assert used - {"lacuna-mode-hook"} <= defined
    assert ("provide", "lacuna") in heads


@pytest.mark.skipif(EMACS is None, reason="no Emacs here to read its own Lisp")
@pytest.mark.parametrize("name", ["lacuna", "eglot"])
def test_emacs_reads_its_files(name: str) -> None:
    assert EMACS is not None
    path = EDITORS / "emacs" / f"{name}.el"
    read = "(with-temp-buffer (insert-file-contents (pop command-line-args-left)) (emacs-lisp-mode) (check-parens)\
 (goto-char (point-min)) (condition-case nil (while t (read (current-buffer))) (end-of-file (princ 'read))))"
    command = [EMACS, "--batch", "-Q", "--eval", read, str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout == "read", done.stderr


def test_each_folder_is_named_on_the_editors_page() -> None:
    page = (EDITORS / "README.md").read_text("utf-8")
    assert {path.name for path in EDITORS.iterdir() if path.is_dir()} == set(re.findall(r"^\| \[(\w+)\]", page, re.M))
