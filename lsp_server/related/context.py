"""A Snapshot and its Frame in, snippets from elsewhere out: found once for a scope, ahead of the key, then kept.

Two sources: the file itself above the window (imports, the definitions around the cursor), and `retrieve`, which
reads other files. Knows nothing of how those are found; never waits for them longer than it is told.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lsp_server.editor.scope import outline
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from model_runtime.prompt import Snippet

BUDGET = 350  # tokens of snippets from other files
STALE, PARTIAL_STALE = 120.0, 2.0  # seconds: what was found longer ago is still used, and looked for again
KEPT = 256  # scopes


@dataclass(frozen=True)
class Retrieved:
    """What other files hold, the most valuable last. partial: not all of them have been read yet."""

    snippets: tuple[Snippet, ...]
    partial: bool = False


_Key = tuple[str, tuple[str, ...]]  # document and scope
Retrieve = Callable[[Snapshot, Frame], Awaitable[Retrieved]]


@dataclass(frozen=True)
class Context:
    """Snippets, the most valuable last. late: there may be better ones, which were not there in time."""

    snippets: tuple[Snippet, ...]
    late: bool = False


@dataclass(frozen=True)
class _Found:
    snippets: tuple[Snippet, ...]
    at: float
    partial: bool

    @property
    def is_stale(self) -> bool:
        """Whether it should be looked for again."""
        return time.monotonic() - self.at > (PARTIAL_STALE if self.partial else STALE)


class Contexts:
    """What was found for which scope. Lives on the event loop's thread."""

    def __init__(self, retrieve: Retrieve | None) -> None:
        self._retrieve = retrieve
        self._found: OrderedDict[_Key, _Found] = OrderedDict()
        self._looking: dict[_Key, asyncio.Task[None]] = {}

    def known(self, snapshot: Snapshot, frame: Frame) -> Context | None:
        """The context of a fresh frame, if nothing has to be waited for."""
        own = _own(snapshot, frame)
        if self._retrieve is None or not snapshot.settings.retrieval:
            return Context(own)
        found = self._found.get(_key(snapshot, frame))
        return None if found is None else Context(found.snippets + own, late=found.is_stale)

    async def of(self, snapshot: Snapshot, frame: Frame, patience: float) -> Context:
        """The context of a fresh frame; at most `patience` seconds are spent waiting for other files."""
        known = self.known(snapshot, frame)
        if known is not None and not known.late:
            return known
        looking = self._look(snapshot, frame)
        if patience > 0:
            await asyncio.wait({looking}, timeout=patience)
            known = self.known(snapshot, frame)
        if known is not None:
            return known
        return Context(self._nearest(snapshot.uri) + _own(snapshot, frame), late=True)

    def forget(self, uri: str) -> None:
        """The document was closed, or its surroundings changed."""
        for key in [key for key in self._found if key[0] == uri]:
            del self._found[key]

    def _nearest(self, uri: str) -> tuple[Snippet, ...]:
        """What was found last for another place of the document: it imports the same, and has been read already."""
        return next((found.snippets for key, found in reversed(self._found.items()) if key[0] == uri), ())

    def close(self) -> None:
        """Look for nothing any more."""
        for task in self._looking.values():
            task.cancel()

    def _look(self, snapshot: Snapshot, frame: Frame) -> asyncio.Task[None]:
        key = _key(snapshot, frame)
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.create_task(self._search(key, snapshot, frame))
            task.add_done_callback(lambda _: self._looking.pop(key, None))
        return task

    async def _search(self, key: _Key, snapshot: Snapshot, frame: Frame) -> None:
        assert self._retrieve is not None
        try:
            found = await self._retrieve(snapshot, frame)
        except Exception:  # whatever is wrong with other files, this one still gets its suggestion
            return
        self._found[key] = _Found(found.snippets, time.monotonic(), found.partial)
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)


def count(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text) / 3)


def _key(snapshot: Snapshot, frame: Frame) -> _Key:
    return snapshot.uri, frame.anchor.scope


def _own(snapshot: Snapshot, frame: Frame) -> tuple[Snippet, ...]:
    text = outline(snapshot.lines, frame.anchor.start.line, snapshot.cursor)
    return (Snippet(snapshot.path, text),) if text else ()
