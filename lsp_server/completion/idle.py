"""When the user does something and where in, the work done once they pause out: `ahead` at the place they are at.

Lives on the event loop's thread. One timer, set anew by each key, and no polling. Answers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from lsp_server.completion import prefetch
from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.freshness import Freshness
from lsp_server.editor.document import Place, Position
from lsp_server.editor.session import Session, Snapshot
from lsp_server.related.indexing import Indexing
from model_runtime.errors import LacunaRuntimeError

REST = 0.400  # seconds without a key after which there is time to prepare
CURSOR_REST = 0.150  # seconds the cursor stands still before its place is prepared


class Idle:
    """The next pause of the user. spawn: starts a task and reports what it should not have raised."""

    def __init__(
        self,
        session: Session,
        state: CompletionState,
        indexing: Indexing | None,
        freshness: Freshness,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._session, self._state, self._indexing, self._spawn = session, state, indexing, spawn
        self._freshness = freshness
        self._edited: set[str] = set()  # documents that others are to be told of
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._indexed: dict[str, int] = {}  # document → version its repository knows

    def stir(self) -> None:
        """The user does something: what was to be done has to wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def rest(self, uri: str, at: Position, seconds: float = REST) -> None:
        """Prepare this place if nothing happens for so long."""
        self.stir()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._prepare, uri, at)

    def edited(self, uri: str) -> None:
        """A document was edited: other documents are told once there is time for it, or once they are asked about."""
        self._edited.add(uri)

    def share(self, *, but: str | None = None) -> None:
        """Tell what the edited documents say now, for a request in `but` is next, or all of it."""
        for uri in self._edited - {but}:
            self._edited.discard(uri)
            snapshot = self._session.view(uri, Place(0, 0))
            if self._indexing is not None and snapshot is not None:
                self._indexed[uri] = snapshot.version
                self._indexing.rested(snapshot)
                self._freshness.changed(snapshot.root, snapshot.path)

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._indexed.pop(uri, None)
        self._edited.discard(uri)

    def _prepare(self, uri: str, at: Position) -> None:
        snapshot = self._session.snapshot(uri, at)
        if snapshot is None:
            return
        if self._indexed.get(uri) != snapshot.version:
            self._edited.add(uri)
        self.share()
        self._task = self._spawn(self._look_ahead(snapshot))

    async def _look_ahead(self, snapshot: Snapshot) -> None:
        with suppress(LacunaRuntimeError):  # the next request will meet it and say so
            await prefetch.prepare(snapshot, self._state)
            await prefetch.look_around(snapshot, self._state)
