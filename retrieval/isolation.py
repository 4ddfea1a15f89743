"""A module of ours as a process of its own: the command line that runs it isolated, its two pipes, and frames on them.

A frame is four bytes of length, big-endian, and a body. Ignores what is said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, BinaryIO

from retrieval.errors import WorkerError

LENGTH = 4
MOST = 64 * 1024 * 1024  # bytes of one frame; more is a broken pipe, not a message

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


def framed(body: bytes) -> bytes:
    """A body as it goes down a pipe."""
    return len(body).to_bytes(LENGTH, "big") + body


def length(head: bytes) -> int:
    """The body's length from a frame's first bytes. Raises WorkerError when it cannot be one."""
    size = int.from_bytes(head, "big")
    if size > MOST:
        raise WorkerError(f"a frame of {size} bytes is no message; restart the editor's language server")
    return size


def received(pipe: IO[bytes]) -> bytes:
    """The next body. Raises EOFError when there is none, WorkerError when it cannot be one."""
    body = pipe.read(length(pipe.read(LENGTH)))
    if not body:
        raise EOFError
    return body
