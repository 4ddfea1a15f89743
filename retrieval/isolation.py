"""A module of ours as a process of its own: the command line that runs it isolated, and there its two pipes.

Ignores what is said on them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

# The module's `main`, from the same files as this process, installed or not.
_LAUNCH = "import importlib, sys; sys.path.insert(0, sys.argv.pop(1)); sys.exit(importlib.import_module({!r}).main())"


def command(module: str, *options: str) -> list[str]:
    """The command line of a module's process: isolated, for our package names are generic."""
    package = str(Path(__file__).resolve().parent.parent)
    return [sys.executable, "-I", "-c", _LAUNCH.format(module), package, *options]


def own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """In that process, stdin and stdout for messages alone: whatever prints, prints to stderr."""
    inbox, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return inbox, out
