"""The editor's documents in, related code of their repositories out: one indexing process for each workspace folder.

Asks `retrieval` for what it finds and turns it into the prompt's snippets. Nothing is read or parsed on the event
loop. Files outside every workspace folder have no repository and get nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from lsp_server.context import BUDGET, Retrieved, count
from lsp_server.session import Snapshot
from lsp_server.window import Frame
from model_runtime.prompt import Snippet
from retrieval import index, search
from retrieval.errors import RetrievalError
from retrieval.worker import Query, Worker

LONG = 3_000  # lines: of a longer file only a part is sent along with a question
HEAD, ABOVE, UNDER = 300, 1_200, 600  # lines of that part: from the file's first on, and around the cursor


@dataclass
class _Root:
    """A workspace folder's process. It answers one question at a time."""

    worker: Worker
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Indexing:
    """The indexing processes of one editor. Lives on the event loop's thread.

    cache: the folder under which indexes are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._roots: dict[str, _Root] = {}

    async def start(self, root: str) -> None:
        """Begin to read a workspace folder, before anybody asks. Raises RetrievalError."""
        await self._root(root).worker.start()

    async def find(self, snapshot: Snapshot, frame: Frame) -> Retrieved:
        """Snippets from other files for a cursor, the most valuable last. Raises RetrievalError."""
        if snapshot.root is None:
            return Retrieved(())
        root = self._root(snapshot.root)
        async with root.asking:
            answer = await root.worker.ranked(_query(snapshot, frame))
        packed = search.pack(answer.snippets, count, BUDGET)
        return Retrieved(tuple(Snippet(one.path, one.text) for one in packed), answer.partial)

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

    async def close(self) -> None:
        """End the processes."""
        roots, self._roots = self._roots, {}
        with contextlib.suppress(RetrievalError):
            await asyncio.gather(*(root.worker.close() for root in roots.values()))

    def _root(self, path: str) -> _Root:
        found = self._roots.get(path)
        if found is None:
            root = Path(path)
            found = self._roots[path] = _Root(Worker(root, index.directory(self._cache, root)))
        return found


def _query(snapshot: Snapshot, frame: Frame) -> Query:
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
