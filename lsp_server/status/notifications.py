"""How Lacuna stands and where the time of answers went in, what an editor that wants it is told of that out.

Ignores how a message gets there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from lsp_server.completion.completion import Answer
from lsp_server.completion.requests import SUPERSEDED, Requests
from lsp_server.completion.tasks import Tasks
from lsp_server.editor.session import Session, Snapshot
from lsp_server.related.connection import Connection
from lsp_server.related.indexing import Indexing
from lsp_server.rpc import wire
from lsp_server.status.journal_writer import JournalWriter
from lsp_server.status.status import State, state
from lsp_server.status.timing import answered, measure


class Notifications:
    """notify: sends the editor a notification."""

    def __init__(
        self,
        session: Session,
        connection: Connection,
        indexing: Indexing | None,
        requests: Requests,
        journal_writer: JournalWriter,
        tasks: Tasks,
        notify: Callable[[str, object], None],
    ) -> None:
        self._session, self._connection, self._indexing, self._requests = session, connection, indexing, requests
        self._journal_writer, self._tasks, self._notify = journal_writer, tasks, notify
        self._status: State = {}
        self._answered: dict[int | str, tuple[Answer, Snapshot, float]] = {}

    def status(self) -> None:
        """The state for a status bar, when it is another one."""
        status = state(self._session, self._connection, self._indexing, thinking=bool(self._requests))
        if self._session.settings.status and status != self._status:
            self._status = status
            self._notify(wire.STATUS, status)

    def answered(self, identifier: int | str, answer: Answer, snapshot: Snapshot, received: float) -> None:
        """A request has its answer. received: when it came, in seconds of time.monotonic()."""
        if self._session.settings.timings or self._journal_writer.wanted:
            self._answered[identifier] = (answer, snapshot, received)

    def replied(self, identifier: int | str) -> None:
        """The answer has been written."""
        found = self._answered.pop(identifier, None)
        if found is not None:
            self._tasks.spawn(self._timing(identifier, *found, written=time.monotonic()))

    async def _timing(
        self, identifier: int | str, answer: Answer, snapshot: Snapshot, received: float, *, written: float
    ) -> None:
        if answer.source == "model" and answer.generation is not None:
            await answer.generation.over()
        timing = measure(answer, identifier=identifier, version=snapshot.version, received=received, written=written)
        if self._session.settings.timings:
            self._notify(wire.TIMING, msgspec.to_builtins(timing))
        if answer is not SUPERSEDED:
            self._journal_writer.keep(answered(timing, snapshot.language))
