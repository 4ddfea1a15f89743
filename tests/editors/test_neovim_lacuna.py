"""The whole chain with nothing in it made up: Neovim, our plugin, `lacuna --stdio`, the daemon, the embedded model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lacuna
from benchmarks import workspace
from lacuna import lock
from lacuna.settings import Settings
from lsp_server.feedback import journal
from lsp_server.feedback.journal import Outcome
from model_runtime import manifest
from tests import daemons
from tests.editors.neovim import Neovim, alive

COMMAND = [sys.executable, str(Path(lacuna.__file__).with_name("__main__.py")), "--stdio"]
SETUP = f"{{ cmd = {{ {str(COMMAND)[1:-1]} }}, builtin = false, settings = {{ journal = 'on' }} }}"
WINDOWS = 10
LIFE = 240.0  # seconds for everything at most, on a machine that is busy with other things
pytestmark = pytest.mark.timeout(LIFE + 30)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Settings]:
    """A user with the embedded model and no daemon yet; afterwards there is none again."""
    with daemons.settings(manifest.embedded(), tmp_path / "cache") as settings:
        yield settings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A real package, with a function of it not yet written: its file and the row of its `def`."""
    return workspace.copied(workspace.package("httpx"), tmp_path, seed=1).root


def editing(home: Path, path: Path, user: Settings) -> Neovim:
    home.mkdir(exist_ok=True)
    return Neovim(home, SETUP, (path,), daemons.environment(user), LIFE)


def type_until_a_ghost_shows(editor: Neovim, text: str) -> str:
    """Types a text until something is suggested, and what that is. Gives each key a second and a half."""
    editor.wait_for_server()
    for character in text:
        editor.type(character)
        with contextlib.suppress(AssertionError):
            return str(editor.wait_for(editor.ghost, 1.5))
    raise AssertionError(f"nothing was suggested in {text!r}")


def begin_a_method(editor: Neovim) -> None:
    """Opens a line in the middle of a class that has many attributes and methods."""
    editor.nvim.command("call search('def port(self)') | call search('port = ', 'bW') | call search('def ', '')")
    editor.type("o")


def daemon_of(user: Settings) -> int | None:
    assert user.runtime is not None
    holders = [lock.holder(path) for path in user.runtime.glob("*.lock")]
    return next((pid for pid in holders if pid is not None and alive(pid)), None)


def test_a_ghost_appears_in_a_real_file_is_taken_with_a_key_and_dismissed_with_another(
    tmp_path: Path, project: Path, user: Settings
) -> None:
    with editing(tmp_path / "home", project / "httpx" / "_urls.py", user) as editor:
        begin_a_method(editor)
        ghost = type_until_a_ghost_shows(editor, "port = self._uri_reference.port")
        row = editor.nvim.current.window.cursor[0]
        before = editor.lines()[row - 1]
        editor.type("<C-]>")
        assert editor.ghost() == ""
        assert editor.lines()[row - 1] == before

        ghost = type_until_a_ghost_shows(editor, "; url = self._uri_reference.host")
        before, count = editor.lines()[row - 1], len(editor.lines())
        editor.type("<Tab>")
        assert editor.lines()[row - 1] == before + ghost.split("\n")[0].rstrip()
        assert len(editor.lines()) == count + ghost.count("\n")
        assert editor.lua("return require('lacuna.client').of(0) ~= nil")
        kept = Path(editor.env["XDG_DATA_HOME"]) / "lacuna" / "journal"
        editor.wait_for(lambda: "accepted" in [one.fate for one in journal.read(kept) if isinstance(one, Outcome)])


def test_the_key_after_the_daemon_was_killed_in_mid_request_gets_its_answer(
    tmp_path: Path, project: Path, user: Settings
) -> None:
    with editing(tmp_path / "home", project / "httpx" / "_urls.py", user) as editor:
        begin_a_method(editor)
        type_until_a_ghost_shows(editor, "port = self._uri_reference.port")
        first = daemon_of(user)
        assert first is not None
        editor.type("<Esc>o")
        os.kill(first, signal.SIGSTOP)  # so that the request is under way and stays so
        editor.type("h")
        editor.nvim.command("sleep 300m")
        os.kill(first, signal.SIGKILL)
        type_until_a_ghost_shows(editor, "ost = self._uri_reference.host")
        second = daemon_of(user)
        assert second is not None
        assert second != first
        assert editor.nvim.command_output("messages").count("Error") == 0


def test_ten_editors_share_one_daemon(tmp_path: Path, project: Path, user: Settings) -> None:
    with contextlib.ExitStack() as open_windows:
        editors = []
        for number in range(WINDOWS):
            home = tmp_path / f"home{number}"
            path = shutil.copy(project / "httpx" / "_urls.py", project / "httpx" / f"_copy{number}.py")
            editors.append(open_windows.enter_context(editing(home, Path(path), user)))
        for editor in editors:
            begin_a_method(editor)
            type_until_a_ghost_shows(editor, "port = self._uri_reference.port")
        assert user.runtime is not None
        wanted = f"LACUNA_RUNTIME_DIR={user.runtime}".encode()
        arguments = _arguments_of_processes(wanted)
        assert sum(b"serve" in line for line in arguments) == 1
        assert sum(b"--stdio" in line for line in arguments) == WINDOWS


def _arguments_of_processes(wanted: bytes) -> list[list[bytes]]:
    """The command line of every process with this variable in its environment, editors left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                found += [arguments] if b"--embed" not in arguments else []
    return found
