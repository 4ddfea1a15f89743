"""Records of a team server in, lines of JSON in a file that is renewed when it is full out. Never a word of code.

A full disk loses lines and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lacuna.errors import ServeError

if TYPE_CHECKING:
    from model_runtime.gateway.gateway import Record

FILE = "audit.log"
SIZE = 8 << 20  # bytes of a file, after which it is put aside
KEPT = 5  # files that were put aside


def opened(path: Path) -> Callable[[Record], None]:
    """What writes records into this file. Raises ServeError when it cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        handler = _Quiet(path, maxBytes=SIZE, backupCount=KEPT, encoding="utf-8")
    except OSError as error:
        raise ServeError(f"cannot write the audit log {path}: {error.strerror}; name another with --audit") from error

    def write(record: Record) -> None:
        line = msgspec.json.encode(record).decode()
        handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))

    return write


class _Quiet(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Forget the line."""
