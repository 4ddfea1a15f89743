"""Notifications in, frozen Snapshots out: the open documents, the settings and the typing rhythm.

The only mutable picture of the editor there is. It lives on the event loop's thread; whoever goes on to
wait for something takes a snapshot first. Knows nothing of models, suggestions or the protocol's types.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsp_server.editor.document import Change, Document, Encoding, Place, Position
from lsp_server.editor.options import Settings

LOCATED = 4_096  # files whose folder is kept
PAUSE = 1.0  # seconds: a longer gap between two keys is no rhythm but a pause
_WEIGHT = 0.4  # of the newest interval in the mean


@dataclass(frozen=True)
class Edit:
    """The text between start and end is replaced; without them the whole text is."""

    text: str
    start: Position | None = None
    end: Position | None = None


@dataclass(frozen=True)
class Rhythm:
    """How the user types. interval: mean seconds between keys, None before there were two; last: the newest text.

    idle: seconds since the newest edit, infinite before the first.
    """

    interval: float | None = None
    last: str = ""
    idle: float = float("inf")


@dataclass(frozen=True)
class Snapshot:
    """One document at one moment, and the cursor in it. lines carry their endings.

    root: the workspace folder that holds the file, None if none does; path: relative to it, forward slashes.
    quiet: why nothing is to be said without being asked by hand, None when something is.
    """

    uri: str
    root: str | None
    path: str
    language: str
    version: int
    lines: tuple[str, ...]
    cursor: Place
    invoked: bool = False
    quiet: str | None = None
    settings: Settings = field(default_factory=Settings)
    rhythm: Rhythm = field(default_factory=Rhythm)


@dataclass
class _Open:
    """A document that is open in the editor. trusted: every edit of it was understood.

    writing: the line of the newest edit, until the cursor is seen in another.
    """

    language: str
    version: int
    document: Document
    trusted: bool = True
    interval: float | None = None
    last: str = ""
    edited: float | None = None
    writing: int | None = None
    selecting: bool = False
    in_snippet: bool = False


class Session:
    """What the editor has told so far."""

    def __init__(self, settings: Settings | None = None, encoding: Encoding = "utf-16") -> None:
        self.settings = settings or Settings()
        self.encoding: Encoding = encoding
        self.folders: dict[str, str] = {}  # URI → path
        self._awake = 0.0  # seconds of time.monotonic() from which on something may be said
        self._open: dict[str, _Open] = {}
        self._located: dict[str, tuple[str | None, str]] = {}

    def add_folder(self, uri: str) -> None:
        """A workspace folder; one that is not on a disk is ignored."""
        if (path := local_path(uri)) is not None:
            self.folders[uri] = path
            self._located.clear()

    def remove_folder(self, uri: str) -> None:
        """The folder is no longer part of the workspace."""
        self.folders.pop(uri, None)
        self._located.clear()

    def open(self, uri: str, language: str, version: int, text: str) -> None:
        """The editor shows a document."""
        self._located.pop(uri, None)
        self._open[uri] = _Open(language, version, Document(text, self.encoding))

    def close(self, uri: str) -> None:
        """The editor shows it no longer."""
        self._open.pop(uri, None)

    def is_open(self, uri: str) -> bool:
        """Whether the editor shows it."""
        return uri in self._open

    def change(self, uri: str, version: int, edits: Iterable[Edit], now: float | None = None) -> list[Change]:
        """Edits, each to the text that the one before left. Edits of a document that is not open change nothing."""
        found = self._open.get(uri)
        if found is None:
            return []
        found.version = version
        changes = []
        for edit in edits:
            if edit.start is None or edit.end is None:
                changes.append(found.document.replace(edit.text))
                found.trusted = True
            else:
                changes.append(found.document.edit(edit.start, edit.end, edit.text))
        if changes:
            found.selecting, found.writing = False, changes[-1].end.line
        _keep_time(found, changes, time.monotonic() if now is None else now)
        return changes

    def moved(self, uri: str, *, selecting: bool, in_snippet: bool) -> None:
        """What the editor says of the cursor: text is selected, a snippet's places are being filled in."""
        if (found := self._open.get(uri)) is not None:
            found.selecting, found.in_snippet = selecting, in_snippet

    def snooze(self, seconds: float) -> None:
        """Say nothing for so long without being asked by hand; 0 wakes up."""
        self._awake = time.monotonic() + seconds

    @property
    def snoozing(self) -> bool:
        """Whether the user wants silence for a while."""
        return time.monotonic() < self._awake

    def distrust(self, uri: str) -> None:
        """An edit was lost: nothing is said about this text until the editor sends the whole of it."""
        if uri in self._open:
            self._open[uri].trusted = False

    def snapshot(
        self, uri: str, position: Position, *, invoked: bool = False, now: float | None = None
    ) -> Snapshot | None:
        """The document as it is now; None when it is not open or cannot be trusted."""
        found = self._open.get(uri)
        if found is None or not found.trusted:
            return None
        cursor = found.document.place(position)
        if cursor.line != found.writing:
            found.writing = None
        return self.view(uri, cursor, invoked=invoked, now=now)

    def view(self, uri: str, cursor: Place, *, invoked: bool = False, now: float | None = None) -> Snapshot | None:
        """The same for a place where the cursor need not be."""
        found = self._open.get(uri)
        if found is None or not found.trusted:
            return None
        root, path = self.locate(uri)
        idle = float("inf") if found.edited is None else (time.monotonic() if now is None else now) - found.edited
        return Snapshot(
            uri=uri,
            root=root,
            path=path,
            language=found.language,
            version=found.version,
            lines=found.document.freeze(),
            cursor=cursor,
            invoked=invoked,
            quiet=self._quiet(found),
            settings=self.settings,
            rhythm=Rhythm(found.interval, found.last, idle),
        )

    def _quiet(self, found: _Open) -> str | None:
        if self.snoozing:
            return "snoozing"
        if found.selecting:
            return "text is selected"
        return "in a snippet" if found.in_snippet else None

    def chosen(self, snapshot: Snapshot, start: Position, end: Position, text: str) -> Snapshot:
        """The snapshot as if a menu's item were inserted: `text` from start to end, and the cursor behind it."""
        document = self._open[snapshot.uri].document
        first, last = document.place(start), document.place(end)
        line = snapshot.lines[first.line]
        changed = line[: first.column] + text + line[last.column :]
        lines = (*snapshot.lines[: first.line], changed, *snapshot.lines[first.line + 1 :])
        return replace(snapshot, lines=lines, cursor=Place(first.line, first.column + len(text)))

    def version(self, uri: str) -> int | None:
        """The newest version of a document; None when it is not open."""
        found = self._open.get(uri)
        return None if found is None else found.version

    def writing(self, root: str, path: str) -> int | None:
        """The line of a file that is being written; None when it is not open, or none is."""
        return next((one.writing for uri, one in self._open.items() if self.locate(uri) == (root, path)), None)

    def lines(self, uri: str) -> tuple[str, ...]:
        """The lines of an open document, with their endings."""
        return self._open[uri].document.freeze()

    def position(self, uri: str, place: Place) -> Position:
        """A place of an open document as the editor names it."""
        return self._open[uri].document.position(place)

    def place(self, uri: str, position: Position) -> Place:
        """A position of an open document in characters."""
        return self._open[uri].document.place(position)

    def locate(self, uri: str) -> tuple[str | None, str]:
        """The workspace folder that holds a file, and the file's path in it; None and its name where none does.

        A file is what its real path says, by whatever links it and the folder were opened.
        """
        found = self._located.get(uri)
        if found is None:
            if len(self._located) >= LOCATED:
                self._located.clear()
            found = self._located[uri] = self._locate(uri)
        return found

    def _locate(self, uri: str) -> tuple[str | None, str]:
        path = local_path(uri)
        if path is None:
            return None, PurePosixPath(unquote(urlsplit(uri).path)).name or "untitled"
        roots = {root: (_real(root), root) for root in self.folders.values()}
        for one, which in ((_real(path), 0), (path, 1)):
            inside = [root for root in roots if one.startswith(roots[root][which].rstrip("/") + "/")]
            if inside:
                root = max(inside, key=lambda root: len(roots[root][which]))
                return root, one[len(roots[root][which].rstrip("/")) + 1 :]
        return None, PurePosixPath(path).name


def _real(path: str) -> str:
    """A path without links, with forward slashes; a path of another machine stays as it is."""
    return os.path.realpath(path).replace(os.sep, "/") if path.startswith("/") or os.sep != "/" else path


def local_path(uri: str) -> str | None:
    """The path of a file: URI, with forward slashes; None for any other scheme."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path)
    if parts.netloc and parts.netloc != "localhost":
        return f"//{parts.netloc}{path}"
    if len(path) > 2 and path[0] == "/" and path[1].isalpha() and path[2] == ":":
        return path[1].upper() + path[2:]  # file:///c%3A/x is C:/x, however the editor writes the drive
    return path


def _keep_time(found: _Open, changes: list[Change], now: float) -> None:
    if not changes:
        return
    if found.edited is not None and 0 < now - found.edited < PAUSE:
        since = now - found.edited
        found.interval = since if found.interval is None else (1 - _WEIGHT) * found.interval + _WEIGHT * since
    found.edited, found.last = now, changes[-1].text
