"""Log records in, a small rotating file or a stream out, without a word of user code and without ever failing.

An exception is written as its type and the places it came through; its message only if it is one of
ours, for any other message may quote what a user typed. A full disk loses lines and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import TextIO

from lacuna.errors import LacunaError
from model_runtime.errors import LacunaRuntimeError

SIZE = 256 * 1024  # bytes of a file; there are two

_Trouble = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def to_file(path: Path) -> None:
    """Send this process's log to a file; where that cannot be opened, nowhere."""
    handler: logging.Handler
    try:
        handler = _Quiet(path, maxBytes=SIZE, backupCount=1, encoding="utf-8")
    except OSError:
        handler = logging.NullHandler()
    _to(handler)


def to_stream(stream: TextIO) -> None:
    """Send this process's log to whoever runs it."""
    _to(logging.StreamHandler(stream))


def _to(handler: logging.Handler) -> None:
    handler.setFormatter(_WithoutUserCode("{asctime} {process} {levelname} {name}: {message}", style="{"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("lacuna", "model_runtime"):
        logging.getLogger(ours).setLevel(logging.INFO)


class _WithoutUserCode(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        """Of other libraries' messages the first line: what follows it is the repr of whatever they held."""
        if not record.name.startswith(("lacuna", "model_runtime")):
            record.message = record.message.partition("\n")[0]
        return super().formatMessage(record)

    def formatException(self, ei: _Trouble) -> str:
        """Type and places; the message only of our own exceptions."""
        _, error, trace = ei
        ours = isinstance(error, LacunaError | LacunaRuntimeError)
        lines = [f"{type(error).__name__}: {error}" if ours else type(error).__name__]
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace)]
        return "\n".join(lines)


class _Quiet(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Forget the line, and the stream with what it still buffers; the next line opens it anew."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
