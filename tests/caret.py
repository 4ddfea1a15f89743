"""A text with a caret in, what the language server makes of it out; and a user who types into it."""

from __future__ import annotations

from lsp_server.editor.document import Position, split
from lsp_server.editor.options import Settings
from lsp_server.editor.session import Edit, Session, Snapshot
from lsp_server.editor.window import Anchor, Frame, frame, settled, shifted

CARET = "<caret>"
URI = "file:///project/package/module.py"


def parted(text: str) -> tuple[str, Position]:
    """The text without its caret, and where that was (utf-32)."""
    before, after = text.split(CARET)
    lines = split(before)
    return before + after, Position(len(lines) - 1, len(lines[-1]))


def snapshot(
    text: str, *, language: str = "python", invoked: bool = False, settings: Settings | None = None
) -> Snapshot:
    """The document with the cursor at the caret."""
    plain, position = parted(text)
    session = Session(settings, "utf-32")
    session.add_folder("file:///project")
    session.open(URI, language, 1, plain)
    found = session.snapshot(URI, position, invoked=invoked)
    assert found is not None
    return found


def framed(text: str) -> Frame:
    """A fresh frame at the caret, without context."""
    return settled(frame(snapshot(text), None), ())


class Typist:
    """A document in an editor: keys go in at the cursor; each frame is the one the server would make."""

    def __init__(self, text: str, *, uri: str = URI) -> None:
        self.uri = uri
        self.session = Session(None, "utf-32")
        plain, self.cursor = parted(text)
        self.session.open(uri, "python", 1, plain)
        self.anchor: Anchor | None = None
        self.version = 1

    def edit(self, start: Position, end: Position, text: str) -> None:
        """An edit anywhere; the cursor stays."""
        self.version += 1
        for change in self.session.change(self.uri, self.version, [Edit(text, start, end)]):
            self.anchor = shifted(self.anchor, change) if self.anchor else None

    def type(self, text: str, closer: str = "") -> None:
        """Text at the cursor, and right of it what the editor adds by itself."""
        self.edit(self.cursor, self.cursor, text + closer)
        lines = split(text)
        self.cursor = Position(
            self.cursor.line + len(lines) - 1, len(lines[-1]) + (self.cursor.units if len(lines) == 1 else 0)
        )

    def overtype(self, text: str) -> None:
        """Text that stands right of the cursor already."""
        self.cursor = Position(self.cursor.line, self.cursor.units + len(text))

    def backspace(self, count: int = 1) -> None:
        """Characters left of the cursor, on its line, go away."""
        start = Position(self.cursor.line, self.cursor.units - count)
        self.edit(start, self.cursor, "")
        self.cursor = start

    def frame(self) -> Frame:
        """What a request at the cursor is answered from; its anchor is kept for the next."""
        found = self.session.snapshot(self.uri, self.cursor)
        assert found is not None
        made = frame(found, self.anchor)
        if made.fresh:
            made = settled(made, ())
        self.anchor = made.anchor
        return made
