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

from lsp_server.scope import outline
from lsp_server.session import Snapshot
from lsp_server.window import Frame
from model_runtime.prompt import Snippet

BUDGET = 350  # tokens of snippets from other files
STALE = 20.0  # seconds: what was found longer ago is still used, and looked for again
KEPT = 64  # scopes


@dataclass(frozen=True)
class Retrieved:
    """What other files hold, the most valuable last. partial: not all of them have been read yet."""

    snippets: tuple[Snippet, ...]
    partial: bool = False


Retrieve = Callable[[Snapshot, Frame], Awaitable[Retrieved]]


@dataclass(frozen=True)
class Context:
    """Snippets, the most valuable last. late: others were looked for and not there in time."""

    snippets: tuple[Snippet, ...]
    late: bool = False


@dataclass(frozen=True)
class _Found:
    snippets: tuple[Snippet, ...]
    at: float


class Contexts:
    """What was found for which scope. Lives on the event loop's thread."""

    def __init__(self, retrieve: Retrieve | None) -> None:
        self._retrieve = retrieve
        self._found: OrderedDict[tuple[str, tuple[str, ...]], _Found] = OrderedDict()
        self._looking: dict[tuple[str, tuple[str, ...]], asyncio.Task[None]] = {}

    def known(self, snapshot: Snapshot, frame: Frame) -> Context | None:
        """The context of a fresh frame, if nothing has to be waited for."""
        own = _own(snapshot, frame)
        if self._retrieve is None or not snapshot.settings.retrieval:
            return Context(own)
        found = self._found.get((snapshot.uri, frame.anchor.scope))
        return None if found is None else Context(found.snippets + own)

    async def of(self, snapshot: Snapshot, frame: Frame, patience: float) -> Context:
        """The context of a fresh frame; at most `patience` seconds are spent waiting for other files."""
        own = _own(snapshot, frame)
        if self._retrieve is None or not snapshot.settings.retrieval:
            return Context(own)
        key = (snapshot.uri, frame.anchor.scope)
        found = self._found.get(key)
        if found is None or time.monotonic() - found.at > STALE:
            looking = self._look(key, snapshot, frame)
            if found is None and patience > 0:
                await asyncio.wait({looking}, timeout=patience)
                found = self._found.get(key)
        if found is None:
            return Context(own, late=True)
        self._found.move_to_end(key)
        return Context(found.snippets + own)

    def forget(self, uri: str) -> None:
        """The document was closed, or its surroundings changed."""
        for key in [key for key in self._found if key[0] == uri]:
            del self._found[key]

    def close(self) -> None:
        """Look for nothing any more."""
        for task in self._looking.values():
            task.cancel()

    def _look(self, key: tuple[str, tuple[str, ...]], snapshot: Snapshot, frame: Frame) -> asyncio.Task[None]:
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.create_task(self._search(key, snapshot, frame))
            task.add_done_callback(lambda _: self._looking.pop(key, None))
        return task

    async def _search(self, key: tuple[str, tuple[str, ...]], snapshot: Snapshot, frame: Frame) -> None:
        assert self._retrieve is not None
        try:
            found = await self._retrieve(snapshot, frame)
        except Exception:  # whatever is wrong with other files, this one still gets its suggestion
            return
        self._found[key] = _Found(found.snippets, -STALE if found.partial else time.monotonic())
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)


def count(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text) / 3)


def _own(snapshot: Snapshot, frame: Frame) -> tuple[Snippet, ...]:
    text = outline(snapshot.lines, frame.anchor.start.line, snapshot.cursor)
    return (Snippet(snapshot.path, text),) if text else ()
