"""A function's text in, the keys that write it out, with the delays, typos and detours of a person.

The editor does its part (closers, indentation); the typist reads what stands there and presses what is
missing. The same seed types the same keys as long as the same suggestions are accepted. Knows nothing of servers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.editor import Change, Editor, Mark

Kind = Literal["char", "enter", "backspace", "overtype", "skip", "delete", "tab", "typo"]

MEDIAN, SPREAD = 0.150, 0.35  # seconds and log-normal sigma between two keys
FASTEST, SLOWEST = 0.060, 0.700
TYPO = 0.02  # of letters
THINK = {"enter": (0.35, 0.4, 1.6), "char": (0.03, 0.3, 1.0)}  # share, and seconds from and to, of longer pauses
NEIGHBOURS = {"a": "s", "e": "r", "i": "o", "o": "p", "n": "m", "r": "t", "s": "d", "t": "y", "l": "k", "u": "i"}


@dataclass(frozen=True)
class Key:
    """One key: `text` for what writes, `count` for what deletes or moves, `pause` in seconds before it."""

    kind: Kind
    pause: float
    text: str = ""
    count: int = 1


@dataclass
class Typing:
    """The writing of one text at one place of a file. done: characters of `text` that stand there.

    excess: characters of the editor's indentation that are not in the text; wrong: letters of a typo, to be erased.
    """

    text: str
    place: Mark
    rng: random.Random
    done: int = 0
    excess: int = 0
    wrong: str = ""
    pending: str = ""
    queue: list[Key] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all of it is written and nothing too much is left."""
        return self.done == len(self.text) and not self.pending and not self.queue and not self.excess

    @property
    def rest_of_line(self) -> str:
        """What is still to be written on the cursor's line; empty while something wrong stands there."""
        return "" if self.wrong or self.excess else self.text[self.done :].split("\n", 1)[0]

    @property
    def _pending_here(self) -> str:
        """The pending text on the cursor's line."""
        return self.pending.split("\n", 1)[0]

    def next_key(self, editor: Editor) -> Key | None:
        """The key to press now; None when the text is written."""
        if self.queue:
            return self.queue.pop(0)
        self.pending = editor.pending
        rest = self.text[self.done :]
        if not rest:
            return Key("delete", self._pause("char"), count=len(self.pending)) if self.pending else None
        if rest[0] == "\n":
            return self._next_line(rest)
        if self.excess:
            return Key("backspace", self._pause("char"), count=min(self.excess, len(editor.unit)))
        closer = self._closer(rest, editor.pairs)
        return closer or self._character(rest)

    def press(self, key: Key, editor: Editor) -> Change | None:
        """Presses a key in the editor and notes how far the text is. None: nothing in the file changed."""
        change: Change | None
        if key.kind == "enter":
            change = editor.enter()
            self._after_enter(editor)
        elif key.kind == "backspace":
            change = editor.backspace(key.count)
            if self.wrong:
                self.wrong = self.wrong[: -key.count]
            else:
                self.excess -= key.count
        elif key.kind == "skip":
            change = None
            editor.skip_pending(key.count)
            self.done += key.count
        elif key.kind == "delete":
            change = editor.delete_pending(key.count)
        elif key.kind == "tab":
            change = editor.insert(key.text)
            self.done += len(key.text)
        elif key.kind == "typo":
            change = editor.insert(key.text)
            self.wrong += key.text
        else:
            change = editor.type(key.text)
            self.done += 1
        self.pending = editor.pending
        self.place.row, self.place.column = editor.cursor.row, editor.cursor.column
        return change

    def would_accept(self, editor: Editor, row: int, start: int, end: int, text: str) -> int | None:
        """Characters of the text that an item in place of columns start–end writes; None when they are other ones."""
        if self.wrong or self.excess or self.queue or row != editor.cursor.row:
            return None
        covered, own = end - editor.cursor.column, editor.line[start : editor.cursor.column]
        if start > editor.cursor.column or covered < 0 or not text.startswith(own):
            return None
        new = text[len(own) :]
        kept = editor.line[editor.cursor.column + len(self._pending_here) : end]
        if kept:  # what stands there anyway is written again: right if nothing is missing before it
            rest = self.text[self.done :]
            return len(rest) if new == rest + kept else None
        if len(new) <= covered or not self.text.startswith(new, self.done):
            return None
        return len(new)

    def accept(self, editor: Editor, row: int, start: int, end: int, text: str) -> Change:
        """Takes a suggestion that `would_accept` likes."""
        taken = self.would_accept(editor, row, start, end, text)
        assert taken is not None
        editor.pending = self.pending = self.pending[min(end - editor.cursor.column, len(self._pending_here)) :]
        change = editor.replace(Mark(row, start), Mark(row, end), text)
        self.done += taken
        self.place.row, self.place.column = editor.cursor.row, editor.cursor.column
        return change

    def _next_line(self, rest: str) -> Key:
        if self.pending.startswith("\n"):
            below = self._segment()
            if rest.startswith(below):
                return Key("skip", self._pause("char"), count=len(below))
        return Key("enter", self._pause("char"))

    def _after_enter(self, editor: Editor) -> None:
        self.done += 1
        self.excess = 0
        line = self.text[self.done :].split("\n", 1)[0]
        wanted = line[: len(line) - len(line.lstrip(" \t"))]
        given = editor.line[: editor.cursor.column]
        shorter = min(len(wanted), len(given))
        same = next((at for at in range(shorter) if wanted[at] != given[at]), shorter)
        self.done += same
        self.excess = len(given) - same
        if wanted[same:]:
            erased = [Key("backspace", self._pause("char"), count=self.excess)] if self.excess else []
            self.queue += [*erased, Key("tab", self._pause("enter"), text=wanted[same:])]

    def _segment(self) -> str:
        """The pending text up to its first closer."""
        blank = len(self.pending) - len(self.pending.lstrip())
        return self.pending[: blank + 1]

    def _closer(self, rest: str, pairs: Mapping[str, str]) -> Key | None:
        """The key that deals with a closer: typed over, or with what stands before it deleted first."""
        if rest[0] not in pairs.values() or not self.pending:
            return None
        if self.pending[0] == rest[0]:
            return Key("overtype", self._pause("char"), text=rest[0])
        at = self.pending.find(rest[0])
        blank = len(self.pending) - len(self.pending.lstrip())
        if at > 0 and (at == blank or rest[0] not in pairs):
            return Key("delete", self._pause("char"), count=at)
        return None

    def _character(self, rest: str) -> Key:
        key = Key("char", self._pause("enter" if self._begins_line() else "char"), text=rest[0])
        if rest[0] in NEIGHBOURS and self.rng.random() < TYPO:
            wrong = [Key("typo", key.pause, text=NEIGHBOURS[rest[0]])]
            if rest[1:2].isalpha() and self.rng.random() < 0.5:
                wrong.append(Key("typo", self._pause("char"), text=rest[1]))
            erased = [Key("backspace", 0.25 + self._pause("char") if not i else 0.12) for i in range(len(wrong))]
            self.queue = [*wrong[1:], *erased]
            return wrong[0]
        return key

    def _begins_line(self) -> bool:
        return self.text[: self.done].endswith("\n") or not self.text[: self.done].rsplit("\n", 1)[-1].strip()

    def _pause(self, kind: str) -> float:
        pause = min(max(self.rng.lognormvariate(math.log(MEDIAN), SPREAD), FASTEST), SLOWEST)
        share, least, most = THINK[kind]
        return pause + (self.rng.uniform(least, most) if self.rng.random() < share else 0.0)
