"""A request of the editor in, the texts that it shows out: what is asked, by whom it is superseded, what it ends.

Ignores how the pipeline comes to an answer, and in what form an editor wants it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from lsp_server.completion.completion import Answer, complete, without_cover
from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.idle import Idle
from lsp_server.completion.requests import SUPERSEDED, Kind, Requests
from lsp_server.editor.document import Position, ending
from lsp_server.editor.session import Session, Snapshot
from lsp_server.feedback.acceptance import Acceptance
from lsp_server.rpc.wire import Habits
from lsp_server.status.notifications import Notifications

THINKING = 0.150  # seconds after which a request that waits is shown to wait


@dataclass(frozen=True)
class CompletionRequest:
    """A request. received: when it came, in seconds of time.monotonic().

    chosen: the item that the editor's menu would insert first: the range it takes the place of, and its text.
    """

    identifier: int | str
    received: float
    uri: str
    at: Position
    kind: Kind
    invoked: bool = False
    chosen: tuple[Position, Position, str] | None = None


@dataclass(frozen=True)
class ShownTexts:
    """What goes to the screen: texts of which the first is the best, one at least.

    number: of the suggestion; replaces: characters right of the cursor that a text takes the place of.
    """

    texts: tuple[str, ...]
    number: int
    replaces: int
    snapshot: Snapshot


@dataclass
class CompletionHandler:
    """The way from a request to its answer. habits: of the editor, once it has said who it is."""

    session: Session
    state: CompletionState
    acceptance: Acceptance
    requests: Requests
    idle: Idle
    notifications: Notifications
    habits: Habits = field(default_factory=Habits)

    async def shown(self, request: CompletionRequest) -> ShownTexts | None:
        """The texts for a request; None when there is nothing to show. Raises CancelledError when it is cancelled."""
        self.idle.stir()
        self.idle.share(but=request.uri)
        snapshot = self.session.snapshot(request.uri, request.at, invoked=request.invoked)
        if snapshot is None:  # the document is not open, or an edit of it was lost
            return None
        answer = await self._answer(request, snapshot)
        if request.kind == "inline" and not self.habits.covers:
            answer = without_cover(answer, snapshot)
        if answer.text is None:
            return None
        if request.chosen is not None:
            return self._behind(answer.text, request.chosen, snapshot)
        return self._show(answer, snapshot)

    async def _answer(self, request: CompletionRequest, snapshot: Snapshot) -> Answer:
        self.acceptance.looked(request.uri, snapshot.cursor)
        if request.invoked:
            self.state.connection.forgive()
        waiting = asyncio.get_running_loop().call_later(THINKING, self.notifications.status)
        try:
            there = snapshot if request.chosen is None else self.session.chosen(snapshot, *request.chosen)
            work = complete(there, self.state, request.received)
            answer = await self.requests.answer(request.identifier, request.uri, request.kind, work)
        except asyncio.CancelledError:
            if self.session.version(request.uri) == snapshot.version:
                self.state.stop()  # nobody typed on, so nobody wants the rest of it either
            raise
        finally:
            waiting.cancel()
        self.notifications.answered(request.identifier, answer, snapshot, request.received)
        if answer is not SUPERSEDED:
            self.idle.rest(request.uri, request.at)
        self.notifications.status()
        return answer

    def _behind(self, text: str, chosen: tuple[Position, Position, str], snapshot: Snapshot) -> ShownTexts | None:
        """A suggestion behind what the editor's menu would insert, and that."""
        whole = chosen[2] + text
        line = snapshot.lines[snapshot.cursor.line]
        typed = line[self.session.place(snapshot.uri, chosen[0]).column : snapshot.cursor.column]
        if not whole.startswith(typed):  # the menu's item is another word than the one begun
            return None
        shown = self._show(Answer(whole[len(typed) :], "model"), snapshot)
        return replace(shown, texts=(typed + shown.texts[0],))

    def _show(self, answer: Answer, snapshot: Snapshot) -> ShownTexts:
        assert answer.text is not None
        texts = (answer.text, *answer.others)
        number = self.acceptance.show(snapshot, texts, covered=answer.replaces, evidence=answer.features)
        wanted = "\n" if self.habits.newlines else ending(snapshot.lines, snapshot.cursor.line)
        return ShownTexts(tuple(text.replace("\n", wanted) for text in texts), number, answer.replaces, snapshot)
