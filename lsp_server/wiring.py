"""A way to a service and what the user wants in, everything that stands behind one editor's server, put together, out.

Ignores how the editor is spoken to.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.freshness import Freshness
from lsp_server.completion.idle import Idle
from lsp_server.completion.requests import Requests
from lsp_server.completion.tasks import Tasks
from lsp_server.documents import Documents
from lsp_server.editor.options import Settings, resolve
from lsp_server.editor.session import Session
from lsp_server.feedback.acceptance import Acceptance
from lsp_server.handler import CompletionHandler
from lsp_server.related.connection import Connect, Connection
from lsp_server.related.context import Contexts
from lsp_server.related.indexing import Indexing
from lsp_server.related.ngram_sync import NgramSync
from lsp_server.status.journal_writer import JournalWriter
from lsp_server.status.notifications import Notifications
from model_runtime.errors import LacunaRuntimeError
from retrieval.errors import RetrievalError
from retrieval.process.worker import Texts


class EditorOutput(Protocol):
    """What is said to the editor."""

    def show(self, message: str, *, severe: bool) -> None:
        """A message to the user."""

    def notify(self, method: str, params: object) -> None:
        """A notification of ours."""

    def failed(self, error: BaseException) -> None:
        """Something of ours raised what it should not."""


class Wiring:
    """connect, indexing, journal: as for `server.run`. base: the settings where the editor sends none."""

    def __init__(
        self, connect: Connect, indexing: Indexing | None, journal: Path | None, base: Settings, output: EditorOutput
    ) -> None:
        self._base, self._indexing, self._output = base, indexing, output
        self.session = Session(base)
        self.connection = Connection(connect, self._connection_changed)
        self.state = CompletionState(self.connection, Contexts(None if indexing is None else indexing.find))
        self.journal_writer = JournalWriter(journal, self.state, lambda: self.session.settings, self.warn)
        self.tasks = Tasks(output.failed)
        self.requests = Requests()
        self.freshness = Freshness(self.session, self.state, self.tasks.spawn)
        self.idle = Idle(self.session, self.state, indexing, self.freshness, self.tasks.spawn)
        self.acceptance = Acceptance(self.journal_writer.keep, self._lines_of, asyncio.get_running_loop().call_later)
        self.notifications = Notifications(
            self.session, self.connection, indexing, self.requests, self.journal_writer, self.tasks, output.notify
        )
        self.documents = Documents(
            self.session, self.state, self.acceptance, self.requests, self.idle, self.freshness, indexing, self.tasks
        )
        self.handler = CompletionHandler(
            self.session, self.state, self.acceptance, self.requests, self.idle, self.notifications
        )
        self._warned: set[str] = set()
        if indexing is not None:
            self._connect_indexing(indexing)

    def _connect_indexing(self, indexing: Indexing) -> None:
        """Have what the repositories' processes say told to whom it concerns."""
        ngram_sync = NgramSync(self.connection, self.session.writing)
        indexing.changed = self.notifications.status
        indexing.counts = self.connection.count
        indexing.recited = lambda root, texts: self._send_texts(ngram_sync, root, texts)
        indexing.seen = self._files_changed
        self.connection.opened = indexing.recite

    def _files_changed(self, root: str, paths: tuple[str, ...]) -> None:
        for path in paths:
            self.freshness.changed(root, path)

    def _send_texts(self, ngram_sync: NgramSync, root: str, texts: Texts) -> None:
        self.tasks.spawn(ngram_sync.send(root, texts))

    def configure(self, *layers: object) -> None:
        """Take the settings that the editor sent; the user is told of those that mean nothing."""
        settings, problems = resolve(*layers, base=self._base)
        kept, self.session.settings = self.journal_writer.wanted, settings
        if self.journal_writer.wanted != kept:
            self.tasks.spawn(self.journal_writer.calibrate())
        for problem in problems:
            self.warn(f"Lacuna: {problem}")
        self.notifications.status()

    def watch(self, *, disk: bool) -> bool:
        """Have files followed, on the disk or by what the editor tells. Whether anybody wants to know of them."""
        if self._indexing is not None:
            self._indexing.watch = disk
        return self._indexing is not None

    async def warm(self) -> None:
        """Connect, so that the first key finds a service, and begin to read the workspace folders."""
        with contextlib.suppress(LacunaRuntimeError):  # the link tells of its problem itself
            await self.connection.open()
        self.notifications.status()
        if self._indexing is not None and self.session.settings.retrieval:
            for root in list(self.session.folders.values()):
                with contextlib.suppress(RetrievalError):  # the next question will meet it
                    await self._indexing.start(root)

    def snooze(self, seconds: float) -> None:
        """Be quiet for so long, unless asked by hand; 0 wakes up."""
        self.session.snooze(seconds)
        asyncio.get_running_loop().call_later(seconds, self.notifications.status)
        self.notifications.status()

    def warn(self, message: str, *, severe: bool = False) -> None:
        """A message to the user, once."""
        if message not in self._warned:
            self._warned.add(message)
            self._output.show(message, severe=severe)

    async def close(self) -> None:
        """Give everything back."""
        self.idle.stir()
        self.acceptance.closed()
        self.journal_writer.close()
        self.state.stop()
        self.state.contexts.close()
        self.state.syntax_check.close()
        self.tasks.cancel()
        await self.connection.close()
        if self._indexing is not None:
            await self._indexing.close()

    def _connection_changed(self) -> None:
        if self.connection.problem is not None:
            self.warn(f"Lacuna: {self.connection.problem}", severe=True)
        elif self.connection.notice is not None:
            self.warn(f"Lacuna: {self.connection.notice}")
        self.notifications.status()

    def _lines_of(self, uri: str) -> tuple[str, ...] | None:
        return self.session.lines(uri) if self.session.is_open(uri) else None
