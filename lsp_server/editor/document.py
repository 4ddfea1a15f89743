"""Text and edits in, the same lines the editor has out. Knows nothing of languages or of the protocol's types.

A document is a list of lines, so that an edit costs its own lines and not the whole text. Only \\n, \\r\\n
and \\r end a line, as the Language Server Protocol has it; a form feed or U+2028 is a character like any other.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, order=True)
class Place:
    """A point between two characters. line and column count from 0; column in characters (code points)."""

    line: int
    column: int


@dataclass(frozen=True)
class Position:
    """A point as the editor names it. units: code units of the negotiated encoding."""

    line: int
    units: int


@dataclass(frozen=True)
class Change:
    """What an edit did: the text between `start` and `old_end` became `text`, which ends at `end`."""

    start: Place
    old_end: Place
    text: str
    end: Place


class Document:
    """The editor's text, kept equal to it edit by edit. Lines carry their endings; the last has none."""

    def __init__(self, text: str, encoding: Encoding = "utf-16") -> None:
        self.encoding = encoding
        self._lines = split(text)
        self._frozen: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self._lines)

    def freeze(self) -> tuple[str, ...]:
        """The lines as they are now, with their endings; later edits do not touch what was given out."""
        if self._frozen is None:
            self._frozen = tuple(self._lines)
        return self._frozen

    def place(self, position: Position) -> Place:
        """Where the position is in characters; one beyond a line's or the text's end is that end."""
        if position.line >= len(self._lines):
            last = len(self._lines) - 1
            return Place(last, len(self._lines[last]))
        line = content(self._lines[position.line])
        return Place(position.line, column(line, position.units, self.encoding))

    def position(self, place: Place) -> Position:
        """The place as the editor names it."""
        return Position(place.line, units(content(self._lines[place.line]), place.column, self.encoding))

    def replace(self, text: str) -> Change:
        """The whole text anew."""
        last = Place(len(self._lines) - 1, len(self._lines[-1]))
        self._lines, self._frozen = split(text), None
        return Change(Place(0, 0), last, text, Place(len(self._lines) - 1, len(self._lines[-1])))

    def edit(self, start: Position, end: Position, text: str) -> Change:
        """The text between start and end becomes `text`; start and end may come in either order."""
        first, last = sorted((self.place(start), self.place(end)))
        merged = self._lines[first.line][: first.column] + whole(text) + self._lines[last.line][last.column :]
        low, high = first.line, last.line + 1
        if low and merged.startswith("\n") and self._lines[low - 1].endswith("\r"):
            low -= 1  # a lone \r and the \n that now follows it have become one line ending
            merged = self._lines[low] + merged
        fresh = split(merged)
        if high < len(self._lines):
            fresh.pop()  # merged ends with a line ending, and what follows that is the next line
        self._lines[low:high] = fresh
        self._frozen = None
        return Change(first, last, text, _end(first, text))


def split(text: str) -> list[str]:
    """Lines with their endings; the last has none and may be empty."""
    lines = list(io.StringIO(whole(text), newline=""))  # exactly the three line endings, and leaves them as they are
    if not lines or lines[-1].endswith(("\n", "\r")):
        lines.append("")
    return lines


def whole(text: str) -> str:
    """The text with halves of surrogate pairs replaced by U+FFFD: they count the same and can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def content(line: str) -> str:
    """A line without its ending."""
    if line.endswith("\n"):
        return line[:-2] if line.endswith("\r\n") else line[:-1]
    return line[:-1] if line.endswith("\r") else line


def word_before(text: str, at: int) -> str:
    """The letters, digits and underscores that end at `at`; empty where none do."""
    start = at
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return text[start:at]


def ending(lines: tuple[str, ...], at: int) -> str:
    """The line ending in use near line `at`: its own, else that of the line before, else \\n."""
    for line in (lines[at], lines[at - 1] if at else ""):
        if found := line[len(content(line)) :]:
            return found
    return "\n"


def column(line: str, count: int, encoding: Encoding) -> int:
    """Characters in the first `count` code units of a line; the half of a character is left out."""
    if encoding == "utf-32" or line.isascii():
        return min(count, len(line))
    if encoding == "utf-8":
        return len(line.encode()[:count].decode(errors="ignore"))
    return len(line.encode("utf-16-le")[: 2 * count].decode("utf-16-le", errors="ignore"))


def units(line: str, count: int, encoding: Encoding) -> int:
    """Code units of a line's first `count` characters."""
    if encoding == "utf-32" or line.isascii():
        return min(count, len(line))
    if encoding == "utf-8":
        return len(line[:count].encode())
    return len(line[:count].encode("utf-16-le")) // 2


def _end(start: Place, text: str) -> Place:
    lines = split(text)
    return Place(start.line + len(lines) - 1, len(lines[-1]) + (start.column if len(lines) == 1 else 0))
