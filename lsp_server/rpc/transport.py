"""Bytes on a pipe in, whole messages out, and the other way. Knows of a message that it has a length.

One thread of its own reads and nothing else, so that a busy server still hears the editor. It works on pipes,
terminals and plain files alike.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

LIMIT = 256 << 20  # bytes of one message; a longer one is read and thrown away
_PIECE = 1 << 16
_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*", re.IGNORECASE)


def messages(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The body of each message, from a function that gives at most n bytes, and none at the end.

    Header lines other than Content-Length are passed over; so is whatever is no header.
    """
    buffered = bytearray()
    length: int | None = None
    while True:
        line = _line(read, buffered)
        if line is None:
            return
        if found := _LENGTH.fullmatch(line):
            length = int(found.group(1))
        elif not line and length is not None:
            body = _body(read, buffered, length)
            if body is None:
                return
            if length <= LIMIT:
                yield body
            length = None


class Reader(threading.Thread):
    """Reads messages from a file descriptor and hands them to the event loop, each with its time of arrival.

    receive(body, seconds of time.monotonic()) is called on the loop's thread; so is end(), once, at the end.
    """

    def __init__(
        self,
        descriptor: int,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[bytes, float], None],
        end: Callable[[], None],
    ) -> None:
        super().__init__(name="stdin", daemon=True)
        self._descriptor, self._loop, self._receive, self._end = descriptor, loop, receive, end

    def run(self) -> None:
        """Until the pipe ends or the loop is gone."""
        try:
            try:
                for body in messages(self._read):
                    self._loop.call_soon_threadsafe(self._receive, body, time.monotonic())
            except OSError:
                pass  # the pipe broke: the same as its end
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            pass  # the loop has been closed, nobody listens any more

    def _read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)


class Writer:
    """Writes bytes through, as pygls asks of a writer. A pipe that nobody reads any more calls `lost` once."""

    def __init__(self, stream: BinaryIO, lost: Callable[[], None]) -> None:
        self._stream, self._lost = stream, lost
        self._open = True

    def write(self, data: bytes) -> None:
        """All of it, now."""
        if not self._open:
            return
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            self._open = False
            self._lost()

    def close(self) -> None:
        """No more is written; the stream belongs to whoever opened it."""
        self._open = False


def _line(read: Callable[[int], bytes], buffered: bytearray) -> bytes | None:
    """The next line without its ending; None at the end."""
    searched = 0
    while (at := buffered.find(b"\n", searched)) < 0:
        searched = len(buffered)
        if searched > LIMIT:
            buffered.clear()  # no header is that long
            searched = 0
        if not (piece := read(_PIECE)):
            return None
        buffered += piece
    line = bytes(buffered[:at])
    del buffered[: at + 1]
    return line.removesuffix(b"\r")


def _body(read: Callable[[int], bytes], buffered: bytearray, length: int) -> bytes | None:
    """The next `length` bytes; None when the end came before. Of one too long, nothing is kept."""
    keep = length <= LIMIT
    missing = length
    parts: list[bytes] = []
    while missing:
        if not buffered:
            if not (piece := read(min(missing, _PIECE) if keep else _PIECE)):
                return None
            buffered += piece
        taken = bytes(buffered[:missing])
        del buffered[: len(taken)]
        missing -= len(taken)
        if keep:
            parts.append(taken)
    return b"".join(parts)
