"""A file that changed in, the contexts that it touches looked up anew out, those of the prompts in use included.

A prompt that holds nothing of the file stays as it is, and so does one for which the change makes no difference: it
costs nothing then. Ignores what the file says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lsp_server.completion import prefetch
from lsp_server.completion.completion_state import CompletionState, renew
from lsp_server.editor.document import Place, content
from lsp_server.editor.session import Session, Snapshot
from model_runtime.errors import LacunaRuntimeError

TOGETHER = 0.05  # seconds: files that change within this time are looked at together


class Freshness:
    """What the prompts show of other files. spawn: starts a task and reports what it should not have raised."""

    def __init__(
        self,
        session: Session,
        state: CompletionState,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._session, self._state, self._spawn = session, state, spawn
        self._task: asyncio.Task[None] | None = None

    def changed(self, root: str | None, path: str) -> None:
        """A file is another than it was, on the disk or in an open buffer, as whoever is asked has been told."""
        state = self._state
        concerned = state.contexts.changed(root, path)
        for uri, anchor in state.anchors.items():
            shows = anchor.path != path and any(one.path == path for one in anchor.context or ())
            if shows and self._session.locate(uri)[0] == root:
                state.outdated.add(uri)
            elif uri in concerned:
                state.lacking.add(uri)
        if state.outdated and (self._task is None or self._task.done()):
            self._task = self._spawn(self._renew())

    async def _renew(self) -> None:
        """Looks up anew what the prompts in use show, and has those read that are others now."""
        await asyncio.sleep(TOGETHER)
        for uri in sorted(self._state.outdated):
            snapshot = self._last(uri)
            if snapshot is None:
                self._state.outdated.discard(uri)
            elif await renew(snapshot, self._state, prefetch.LOOKUP):
                with suppress(LacunaRuntimeError):  # the next request will meet it and say so
                    await prefetch.read(snapshot, self._state)

    def _last(self, uri: str) -> Snapshot | None:
        """The document with the cursor where it was asked about last."""
        at = self._state.cursors.get(uri)
        snapshot = self._session.view(uri, Place(0, 0))
        if at is None or snapshot is None or at.line >= len(snapshot.lines):
            return None
        return replace(snapshot, cursor=Place(at.line, min(at.column, len(content(snapshot.lines[at.line])))))
