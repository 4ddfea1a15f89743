"""A way to a service and what the user wants in, everything that stands behind one editor's server, put together, out.

Ignores how the editor is spoken to.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from lsp_server.completion.idle import Pause
from lsp_server.completion.requests import Requests
from lsp_server.completion.state import Desk
from lsp_server.completion.tasks import Tasks
from lsp_server.documents import Documents
from lsp_server.editor.options import Settings, resolve
from lsp_server.editor.session import Session
from lsp_server.feedback.acceptance import Acceptance
from lsp_server.handler import Answering
from lsp_server.related.connection import Connect, Link
from lsp_server.related.context import Contexts
from lsp_server.related.indexing import Indexing
from lsp_server.related.ngram_sync import Teaching
from lsp_server.status.journal_writer import Keeping
from lsp_server.status.notifications import Telling
from model_runtime.errors import LacunaRuntimeError
from retrieval.errors import RetrievalError
from retrieval.process.worker import Texts


class Voice(Protocol):
    """What is said to the editor."""

    def show(self, message: str, *, severe: bool) -> None:
        """A message to the user."""

    def notify(self, method: str, params: object) -> None:
        """A notification of ours."""

    def failed(self, error: BaseException) -> None:
        """Something of ours raised what it should not."""


class Parts:
    """connect, indexing, journal: as for `server.run`. base: the settings where the editor sends none."""

    def __init__(
        self, connect: Connect, indexing: Indexing | None, journal: Path | None, base: Settings, voice: Voice
    ) -> None:
        self._base, self._indexing, self._voice = base, indexing, voice
        self.session = Session(base)
        self.link = Link(connect, self._link_changed)
        self.desk = Desk(self.link, Contexts(None if indexing is None else indexing.find))
        self.keeping = Keeping(journal, self.desk, lambda: self.session.settings, self.warn)
        self.tasks = Tasks(voice.failed)
        self.requests = Requests()
        self.pause = Pause(self.session, self.desk, indexing, self.tasks.spawn)
        self.acceptance = Acceptance(self.keeping.keep, self._lines_of, asyncio.get_running_loop().call_later)
        self.telling = Telling(self.session, self.link, indexing, self.requests, self.keeping, self.tasks, voice.notify)
        self.documents = Documents(
            self.session, self.desk, self.acceptance, self.requests, self.pause, indexing, self.tasks
        )
        self.answering = Answering(self.session, self.desk, self.acceptance, self.requests, self.pause, self.telling)
        self._told: set[str] = set()
        if indexing is not None:
            self._hear(indexing)

    def _hear(self, indexing: Indexing) -> None:
        """Have what the repositories' processes say told to whom it concerns."""
        teaching = Teaching(self.link, self.session.writing)
        indexing.changed = self.telling.status
        indexing.counts = self.link.count
        indexing.recited = lambda root, texts: self._teach(teaching, root, texts)
        self.link.opened = indexing.recite

    def _teach(self, teaching: Teaching, root: str, texts: Texts) -> None:
        self.tasks.spawn(teaching.teach(root, texts))

    def configure(self, *layers: object) -> None:
        """Take the settings that the editor sent; the user is told of those that mean nothing."""
        settings, problems = resolve(*layers, base=self._base)
        kept, self.session.settings = self.keeping.wanted, settings
        if self.keeping.wanted != kept:
            self.tasks.spawn(self.keeping.calibrate())
        for problem in problems:
            self.warn(f"Lacuna: {problem}")
        self.telling.status()

    def watch(self, *, disk: bool) -> bool:
        """Have files followed, on the disk or by what the editor tells. Whether anybody wants to know of them."""
        if self._indexing is not None:
            self._indexing.watch = disk
        return self._indexing is not None

    async def warm(self) -> None:
        """Connect, so that the first key finds a service, and begin to read the workspace folders."""
        with contextlib.suppress(LacunaRuntimeError):  # the link tells of its problem itself
            await self.link.open()
        self.telling.status()
        if self._indexing is not None and self.session.settings.retrieval:
            for root in list(self.session.folders.values()):
                with contextlib.suppress(RetrievalError):  # the next question will meet it
                    await self._indexing.start(root)

    def snooze(self, seconds: float) -> None:
        """Be quiet for so long, unless asked by hand; 0 wakes up."""
        self.session.snooze(seconds)
        asyncio.get_running_loop().call_later(seconds, self.telling.status)
        self.telling.status()

    def warn(self, message: str, *, severe: bool = False) -> None:
        """A message to the user, once."""
        if message not in self._told:
            self._told.add(message)
            self._voice.show(message, severe=severe)

    async def close(self) -> None:
        """Give everything back."""
        self.pause.stir()
        self.acceptance.closed()
        self.keeping.close()
        self.desk.stop()
        self.desk.contexts.close()
        self.desk.soundness.close()
        self.tasks.cancel()
        await self.link.close()
        if self._indexing is not None:
            await self._indexing.close()

    def _link_changed(self) -> None:
        if self.link.problem is not None:
            self.warn(f"Lacuna: {self.link.problem}", severe=True)
        elif self.link.notice is not None:
            self.warn(f"Lacuna: {self.link.notice}")
        self.telling.status()

    def _lines_of(self, uri: str) -> tuple[str, ...] | None:
        return self.session.lines(uri) if self.session.is_open(uri) else None
