"""What is done in the editor to a document in, everything that goes by its text told of it.

Whoever waits for an answer about a text that is another now is told there is none. Ignores what is asked about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsp_server.completion import completion_state, prefetch
from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.freshness import Freshness
from lsp_server.completion.idle import CURSOR_REST, Idle
from lsp_server.completion.requests import Requests
from lsp_server.completion.tasks import Tasks
from lsp_server.editor.document import Position
from lsp_server.editor.session import Edit, Session
from lsp_server.feedback.acceptance import Acceptance
from lsp_server.related.indexing import Indexing


@dataclass(frozen=True)
class Documents:
    """Those that are open, as everybody knows them."""

    session: Session
    state: CompletionState
    acceptance: Acceptance
    requests: Requests
    idle: Idle
    freshness: Freshness
    indexing: Indexing | None
    tasks: Tasks

    def opened(self, uri: str, language: str, version: int, text: str) -> None:
        """A document is shown: what is related to it is looked for already."""
        self.session.open(uri, language, version, text)
        completion_state.closed(uri, self.state)
        snapshot = self.session.snapshot(uri, Position(0, 0))
        if snapshot is not None:
            self.tasks.spawn(prefetch.look(snapshot, self.state))

    def changed(self, uri: str, version: int, edits: Sequence[Edit]) -> None:
        """A document was edited."""
        self.idle.stir()
        self._supersede(uri)
        changes = self.session.change(uri, version, edits)
        if changes:
            self.acceptance.edited(uri, changes, self.session.lines(uri))
        for change in changes:
            completion_state.edited(uri, change, self.session.lines(uri), self.state)
        if changes:
            self.idle.edited(uri)
            self.idle.rest(uri, self.session.position(uri, changes[-1].end))

    def distrusted(self, uri: str) -> None:
        """An edit of it could not be read: the text is not known any more."""
        self.session.distrust(uri)
        self._supersede(uri)

    def closed(self, uri: str) -> None:
        """A document is no longer shown."""
        self._supersede(uri)
        snapshot = self.session.snapshot(uri, Position(0, 0))
        self.acceptance.closed(uri)
        self.session.close(uri)
        completion_state.closed(uri, self.state)
        self.idle.forget(uri)
        if self.indexing is not None and snapshot is not None:
            self.indexing.closed(snapshot.root, snapshot.path)
            self.freshness.changed(snapshot.root, snapshot.path)

    def saved(self, uri: str) -> None:
        """A document was written to the disk."""
        self.idle.share()
        self.touched(uri)

    def touched(self, uri: str) -> None:
        """A file changed on disk."""
        if self.indexing is not None:
            root, path = self.session.locate(uri)
            self.indexing.touched(root, path)
            self.freshness.changed(root, path)

    def moved(self, uri: str, at: Position, state: Mapping[str, bool]) -> None:
        """The cursor went somewhere: its place is prepared if it stays there. state: as `Session.moved` has it."""
        snapshot = self.session.snapshot(uri, at)
        if snapshot is not None:
            self.session.moved(uri, **state)
            self.acceptance.looked(uri, snapshot.cursor)
            self.idle.rest(uri, at, CURSOR_REST)

    def _supersede(self, uri: str) -> None:
        self.requests.supersede(lambda one: one.uri == uri)
