"""An accepted text and the edits after it in, how much of it is still there out. Knows nothing of suggestions.

Lives on the event loop's thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from lsp_server.editor.document import Change, Place
from lsp_server.editor.window import between

AFTER = (30, 120, 600)  # seconds after an acceptance when it is looked
MOST = 200  # that are followed at a time

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LONGER = 4  # times a text's length: more than this is not looked through for what is left of it


@dataclass(eq=False)
class Trace:
    """Where an accepted text stands, edit by edit."""

    suggestion: str
    uri: str
    start: Place
    end: Place
    text: str

    def shift(self, change: Change) -> None:
        """After an edit of its document."""
        if change.start < self.start and self.end < change.old_end:
            found = change.text.find(self.text)  # the editor wrote the whole text anew, or all of it was deleted
            self.start = self.end = change.start
            if found >= 0:
                self.start = _beyond(change.start, change.text[:found])
                self.end = _beyond(self.start, self.text)
            return
        self.start = _moved(self.start, change, change.start)
        self.end = self.end if self.end == change.start else _moved(self.end, change, change.end)

    def share(self, lines: tuple[str, ...]) -> float:
        """Of its characters, blanks left out, those that still stand there in their order, 0 to 1."""
        if self.end.line >= len(lines):
            return 0.0
        there = between(lines, self.start, self.end)[: _LONGER * len(self.text)]
        one, two = _TOKEN.findall(self.text), _TOKEN.findall(there)
        blocks = SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
        kept = sum(len(token) for block in blocks for token in one[block.a : block.a + block.size])
        return round(kept / max(1, sum(map(len, one))), 3)


def _moved(place: Place, change: Change, inside: Place) -> Place:
    """A place after an edit; `inside` for one that the edit took away."""
    if place < change.start:
        return place
    if place < change.old_end:
        return inside
    column = place.column + (change.end.column - change.old_end.column if place.line == change.old_end.line else 0)
    return Place(place.line + change.end.line - change.old_end.line, column)


def _beyond(start: Place, text: str) -> Place:
    """Where a text ends that begins at `start`."""
    lines = text.replace("\r\n", "\n").split("\n")
    return Place(start.line + len(lines) - 1, len(lines[-1]) + (start.column if len(lines) == 1 else 0))
