"""Keys in, text and LSP changes out: what an editor does to a file by itself.

Closes brackets and quotes, types over a closer it inserted, keeps the indentation, opens a block between
braces, takes trailing spaces away. As in VS Code; positions are utf-16. Ignores where the keys come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
QUOTES = "\"'`"
INDENT = "    "

Change = dict[str, object]
Position = dict[str, int]


@dataclass
class Mark:
    """A place that moves along when lines above it come or go. row and column count from 0, in characters."""

    row: int
    column: int


@dataclass
class Editor:
    """One open file. pending: the text right of the cursor that the editor put there by itself.

    unit: one step of indentation; ending: what stands between two lines; pairs: openers and quotes → what closes them.
    """

    lines: list[str]
    cursor: Mark = field(default_factory=lambda: Mark(0, 0))
    pending: str = ""
    version: int = 1
    marks: list[Mark] = field(default_factory=list)
    unit: str = INDENT
    ending: str = "\n"
    pairs: Mapping[str, str] = field(default_factory=lambda: PAIRS)

    @property
    def line(self) -> str:
        """The cursor's line."""
        return self.lines[self.cursor.row]

    def position(self, row: int | None = None, column: int | None = None) -> Position:
        """A place, the cursor's by default, as LSP counts."""
        row = self.cursor.row if row is None else row
        column = self.cursor.column if column is None else column
        return {"line": row, "character": len(self.lines[row][:column].encode("utf-16-le")) // 2}

    def column(self, row: int, character: int) -> int:
        """The column of a place that LSP counted."""
        return len(self.lines[row].encode("utf-16-le")[: 2 * character].decode("utf-16-le", "ignore"))

    def text(self) -> str:
        """The whole file."""
        return self.ending.join(self.lines)

    def jump(self, mark: Mark, pending: str) -> None:
        """Goes elsewhere. pending: what was pending there when the cursor left."""
        self.cursor, self.pending = Mark(mark.row, mark.column), pending

    def replace(self, start: Mark, end: Mark, text: str, *, caret: int | None = None) -> Change:
        """Puts text in place of what stands between two places; the cursor goes `caret` characters into it.

        The text has \\n between its lines, the change the file's own ending.
        """
        change: Change = {
            "range": {"start": self.position(start.row, start.column), "end": self.position(end.row, end.column)},
            "text": text.replace("\n", self.ending),
        }
        left, right = self.lines[start.row][: start.column], self.lines[end.row][end.column :]
        new = (left + text + right).split("\n")
        self.lines[start.row : end.row + 1] = new
        before = text[: len(text) if caret is None else caret]
        row = start.row + before.count("\n")
        column = len(before.rsplit("\n", 1)[-1]) + (start.column if "\n" not in before else 0)
        self.cursor = Mark(row, column)
        for mark in self.marks:
            if mark.row > end.row or (mark.row == end.row and mark.column > end.column):
                mark.row += len(new) - 1 - (end.row - start.row)
        self.version += 1
        return change

    def insert(self, text: str, *, caret: int | None = None) -> Change:
        """Puts text in at the cursor."""
        return self.replace(self.cursor, self.cursor, text, caret=caret)

    def type(self, character: str) -> Change:
        """Presses a key that writes."""
        before = self.line[: self.cursor.column]
        after = self.line[self.cursor.column :]
        if self.pending.startswith(character) and character in self.pairs.values():
            self.pending = self.pending[1:]
            end = Mark(self.cursor.row, self.cursor.column + 1)
            return self.replace(self.cursor, end, character)
        if character in self.pairs and _closes(character, before, after):
            self.pending = self.pairs[character] + self.pending
            return self.insert(character + self.pairs[character], caret=1)
        return self.insert(character)

    def enter(self) -> Change:
        """Presses Enter: the indentation goes on, a block opens, spaces on an empty line go."""
        before = self.line[: self.cursor.column]
        stripped = before.strip()
        indent = before[: len(before) - len(before.lstrip(" \t"))]
        deeper = indent + self.unit if stripped and stripped[-1] in ":([{" else indent
        start = Mark(self.cursor.row, 0) if not stripped else self.cursor
        text = "\n" + deeper
        opener = stripped[-1:]
        if opener and self.pending and self.pairs.get(opener) == self.pending[0] and opener not in QUOTES:
            below = "\n" + indent
            self.pending = below + self.pending
            return self.replace(start, self.cursor, text + below, caret=len(text))
        return self.replace(start, self.cursor, text)

    def backspace(self, count: int = 1) -> Change:
        """Takes characters left of the cursor away."""
        assert 0 < count <= self.cursor.column, "a backspace stays in its line here"
        return self.replace(Mark(self.cursor.row, self.cursor.column - count), self.cursor, "")

    def delete_pending(self, count: int) -> Change:
        """Takes characters away that the editor put right of the cursor and that are not wanted."""
        end, gone = self._after(count), self.cursor
        self.pending = self.pending[count:]
        return self.replace(Mark(gone.row, gone.column), end, "")

    def skip_pending(self, count: int) -> None:
        """Moves past characters that stand right of the cursor already."""
        self.cursor = self._after(count)
        self.pending = self.pending[count:]

    def _after(self, count: int) -> Mark:
        passed = self.pending[:count]
        row = self.cursor.row + passed.count("\n")
        column = len(passed.rsplit("\n", 1)[-1]) + (self.cursor.column if "\n" not in passed else 0)
        return Mark(row, column)


def _closes(character: str, before: str, after: str) -> bool:
    """Whether an editor closes this opener: not in front of a word, and a quote not after a word or a quote."""
    if after[:1] and not after[0].isspace() and after[0] not in ")]},:;":
        return False
    if character not in QUOTES:
        return True
    word = before[len(before.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")) :]
    return (not word or word.lower() in ("f", "r", "b", "rb", "br")) and not before.endswith(tuple(QUOTES))
