"""The editor's documents in, related code of their repositories out: one indexing process for each workspace folder.

Asks `retrieval` for what it finds and turns it into the prompt's snippets. Nothing is read or parsed on the event
loop. Files outside every workspace folder have no repository and get nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.related.context import BUDGET, Part, Retrieved, count
from model_runtime.prompt import Snippet
from retrieval.errors import RetrievalError
from retrieval.index import index
from retrieval.process.worker import Progress, Query, Texts, Worker
from retrieval.search import search

LONG = 3_000  # lines: of a longer file only a part is sent along with a question
HEAD, ABOVE, UNDER = 300, 1_200, 600  # lines of that part: from the file's first on, and around the cursor


@dataclass
class _Root:
    """A workspace folder's process. It answers one question at a time."""

    worker: Worker
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    progress: Progress = field(default_factory=lambda: Progress(0, 0))


class Indexing:
    """The indexing processes of one editor. Lives on the event loop's thread.

    cache: the folder under which indexes are kept. watch: the processes look at the disk themselves, for an editor that
    does not tell of files; to be set before a folder is opened. changed: called when `percent` may be another.
    counts: how many of the model's tokens each of some texts has; None while nobody says.
    recited: called with a workspace folder and texts of it, which `recite` asked for. seen: called with a workspace
    folder and paths of it that changed on the disk without the editor's telling.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self.watch = False
        self.changed: Callable[[], None] = lambda: None
        self.counts: Callable[[Sequence[str]], Awaitable[Sequence[int] | None]] = _unknown
        self.recited: Callable[[str, Texts], None] = lambda root, texts: None
        self.seen: Callable[[str, tuple[str, ...]], None] = lambda root, paths: None
        self._roots: dict[str, _Root] = {}

    @property
    def percent(self) -> int | None:
        """How much of the files to be read has been read; None when nothing is left to read."""
        working = [root.progress for root in self._roots.values() if not root.progress.is_complete]
        total = sum(one.total for one in working)
        return 100 * sum(one.done for one in working) // total if total else None

    @property
    def notice(self) -> str | None:
        """What keeps an index from being kept or made; None when nothing does."""
        return next((root.worker.failure for root in self._roots.values() if root.worker.failure), None)

    async def start(self, root: str) -> None:
        """Begin to read a workspace folder, before anybody asks. Raises RetrievalError."""
        await self._root(root).worker.start()
        self._root(root).worker.recite()

    def recite(self) -> None:
        """Have every workspace folder's texts told anew."""
        for root in self._roots.values():
            root.worker.recite()

    async def find(self, snapshot: Snapshot, frame: Frame) -> Retrieved:
        """Snippets from other files for a cursor, the most valuable last. Raises RetrievalError."""
        if snapshot.root is None:
            return Retrieved(())
        root = self._root(snapshot.root)
        async with root.asking:
            answer = await root.worker.ranked(query(snapshot, frame))
        texts = tuple(search.pieces(answer.snippets))
        known = await self.counts(texts)
        tokens = count if known is None else dict(zip(texts, known, strict=True)).__getitem__
        packed = search.pack(answer.snippets, tokens, BUDGET)
        shown = {one.path: one.text for one in packed}
        parts = (Part(one.path, one.names, one.text, one.text in shown.get(one.path, "")) for one in answer.snippets)
        return Retrieved(tuple(Snippet(one.path, one.text) for one in packed), answer.partial, tuple(parts))

    def rested(self, snapshot: Snapshot) -> None:
        """The user pauses in a document: its text is what other documents are told of.

        Of a very long one they are told what was saved.
        """
        if snapshot.root in self._roots and len(snapshot.lines) <= LONG:
            self._roots[snapshot.root].worker.changed(snapshot.path, "".join(snapshot.lines))

    def closed(self, root: str | None, path: str) -> None:
        """A document was closed: from now on its file speaks."""
        if root in self._roots:
            self._roots[root].worker.changed(path, None)

    def touched(self, root: str | None, path: str) -> None:
        """A file changed on disk."""
        if root in self._roots:
            self._roots[root].worker.touched((path,))
            self._roots[root].worker.recite((path,))

    async def close(self) -> None:
        """End the processes."""
        roots, self._roots = self._roots, {}
        with contextlib.suppress(RetrievalError):
            await asyncio.gather(*(root.worker.close() for root in roots.values()))

    def _root(self, path: str) -> _Root:
        found = self._roots.get(path)
        if found is None:
            root = Path(path)
            worker = Worker(
                root,
                index.directory(self._cache, root),
                lambda progress: self._heard(path, progress),
                lambda texts: self.recited(path, texts),
                self.watch,
                on_changed=lambda paths: self.seen(path, paths),
            )
            found = self._roots[path] = _Root(worker)
        return found

    def _heard(self, path: str, progress: Progress) -> None:
        if path in self._roots:
            self._roots[path].progress = progress
            self.changed()


async def _unknown(_: Sequence[str]) -> None:
    return None


def query(snapshot: Snapshot, frame: Frame) -> Query:
    """The cursor's file, or of a very long one its head, where the imports are, and the lines around the cursor."""
    lines, cursor, start = snapshot.lines, snapshot.cursor, frame.anchor.start
    first = max(HEAD, cursor.line - ABOVE)
    if len(lines) <= LONG or first == HEAD:
        skipped, kept = 0, lines[: max(LONG, cursor.line + UNDER)]
    else:
        skipped, kept = first - HEAD, (*lines[:HEAD], *lines[first : cursor.line + UNDER])
    offset = _offset(kept, cursor.line - skipped) + cursor.column
    shown = _offset(kept, max(0, start.line - skipped)) + start.column
    text = "".join(kept)
    return Query(snapshot.path, text, offset, (shown, min(len(text), offset + len(frame.anchor.suffix))))


def _offset(lines: tuple[str, ...], line: int) -> int:
    return sum(map(len, lines[:line]))
