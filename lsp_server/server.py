"""The protocol's handlers in, the pipeline's answers out: who is told what, when, and what supersedes what.

Everything runs on one event loop; stdin has a thread of its own. The composition root hands in how to reach a
service and where to find related code; this package starts neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path, PurePath
from typing import Any

import msgspec
from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server import ahead, standing, wire
from lsp_server import desk as desks
from lsp_server.acceptance import Acceptance
from lsp_server.completion import Answer, complete, without_cover
from lsp_server.context import Contexts
from lsp_server.desk import Desk
from lsp_server.document import Position, ending
from lsp_server.indexing import Indexing
from lsp_server.keeping import Keeping
from lsp_server.link import Connect, Link
from lsp_server.options import SECTION, Settings, resolve
from lsp_server.pause import CURSOR_REST, Pause
from lsp_server.requests import SUPERSEDED, Kind, Requests
from lsp_server.session import Session, Snapshot
from lsp_server.teaching import Teaching
from lsp_server.timing import answered, measure
from lsp_server.transport import Reader, Writer
from model_runtime.errors import LacunaRuntimeError
from retrieval.errors import RetrievalError

THINKING = 0.150  # seconds after which a request that waits is shown to wait
LAST_WORDS = 2.0  # seconds for what is under way when the pipe has ended

UNKNOWN = Answer(None, "skip", "the document is not open, or an edit of it was lost")


class Server(LanguageServer):
    """One editor's server. `connect`, `indexing` and `journal` are as for `run`."""

    protocol: wire.LacunaProtocol

    def __init__(
        self, connect: Connect, indexing: Indexing | None, journal: Path | None, version: str, base: Settings
    ) -> None:
        super().__init__("lacuna", version, protocol_cls=wire.LacunaProtocol, max_workers=1)
        self.protocol.host = self
        self.session = Session(base)
        self.link = Link(connect, self._link_changed)
        self.desk = Desk(self.link, Contexts(None if indexing is None else indexing.find))
        self._keeping = Keeping(journal, self.desk, lambda: self.session.settings, self._warn)
        self.acceptance = Acceptance(self._keeping.keep, self._lines_of, asyncio.get_running_loop().call_later)
        self.finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._indexing = indexing
        if indexing is not None:
            teaching = Teaching(self.link, self.session.writing)
            indexing.changed = self._tell_status
            indexing.counts = self.link.count
            indexing.recited = lambda root, texts: self._begin(teaching.teach(root, texts))
            self.link.opened = indexing.recite
        self._base = base
        self._initial: object = None
        self._habits = wire.Habits()
        self._requests = Requests()
        self._pause = Pause(self.session, self.desk, indexing, self._spawn)
        self._answered: dict[int | str, tuple[Answer, Snapshot, float]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._told: set[str] = set()
        self._status: standing.State = {}
        _register(self)

    # What the editor asks

    async def answer(
        self,
        uri: str,
        at: Position,
        kind: Kind,
        *,
        by_hand: bool = False,
        chosen: tuple[Position, Position, str] | None = None,
    ) -> tuple[Answer, Snapshot | None]:
        """The answer to a request, and the snapshot it is for. chosen: what the editor's menu would insert first."""
        received, identifier = self.protocol.arrived, self.protocol.msg_id
        assert identifier is not None
        self._pause.stir()
        snapshot = self.session.snapshot(uri, at, by_hand=by_hand)
        if snapshot is None:
            return UNKNOWN, None
        self.acceptance.looked(uri, snapshot.cursor)
        if by_hand:
            self.link.forgive()
        waiting = asyncio.get_running_loop().call_later(THINKING, self._tell_status)
        try:
            asked = snapshot if chosen is None else self.session.chosen(snapshot, *chosen)
            answer = await self._requests.answer(identifier, uri, kind, complete(asked, self.desk, received))
        except asyncio.CancelledError:
            if self.session.version(uri) == snapshot.version:
                self.desk.stop()  # nobody typed on, so nobody wants the rest of it either
            raise
        finally:
            waiting.cancel()
        if self.session.settings.timings or self._keeping.wanted:
            self._answered[identifier] = (answer, snapshot, received)
        if answer is not SUPERSEDED:
            self._pause.rest(uri, at)
        self._tell_status()
        return answer, snapshot

    async def inline_completion(self, params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        """Ghost text."""
        by_hand = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        at = wire.position(params.position)
        chosen = wire.chosen(params)
        answer, snapshot = await self.answer(params.text_document.uri, at, "inline", by_hand=by_hand, chosen=chosen)
        if snapshot is not None and not self._habits.covers:
            answer = without_cover(answer, snapshot)
        if answer.text is None or snapshot is None:
            return []
        if chosen is not None:
            return self._behind(answer.text, chosen, snapshot, params)
        text, number = self._shown(answer, snapshot)
        texts = (text, *(self._ended(one, snapshot) for one in answer.others))
        return [wire.inline_item(one, number, params.position, answer.replaces) for one in texts]

    def _behind(
        self,
        text: str,
        chosen: tuple[Position, Position, str],
        snapshot: Snapshot,
        params: types.InlineCompletionParams,
    ) -> list[types.InlineCompletionItem]:
        """A suggestion behind what the editor's menu would insert."""
        whole = chosen[2] + text
        line = snapshot.lines[snapshot.cursor.line]
        typed = line[self.session.place(snapshot.uri, chosen[0]).column : snapshot.cursor.column]
        if not whole.startswith(typed):  # the menu's item is another word than the one begun
            return []
        shown, number = self._shown(Answer(whole[len(typed) :], "model"), snapshot)
        return [wire.chosen_item(typed + shown, number, params)]

    async def completion(self, params: types.CompletionParams) -> types.CompletionList:
        """The same for editors that have a menu only."""
        at = wire.position(params.position)
        answer, snapshot = await self.answer(params.text_document.uri, at, "menu")
        if answer.text is None or snapshot is None:
            return types.CompletionList(is_incomplete=True, items=[])
        text, number = self._shown(answer, snapshot)
        start = self.session.position(snapshot.uri, wire.word_start(snapshot))
        item = wire.menu_item(text, number, snapshot, params.position, start, answer.replaces)
        return types.CompletionList(is_incomplete=True, items=[item])

    def _shown(self, answer: Answer, snapshot: Snapshot) -> tuple[str, int]:
        """What goes to the screen, and the number of the suggestion."""
        assert answer.text is not None
        texts = (answer.text, *answer.others)
        number = self.acceptance.show(snapshot, texts, covered=answer.replaces, evidence=answer.signs)
        return self._ended(answer.text, snapshot), number

    def _ended(self, text: str, snapshot: Snapshot) -> str:
        """The text with the line endings that the editor wants."""
        wanted = "\n" if self._habits.newlines else ending(snapshot.lines, snapshot.cursor.line)
        return text.replace("\n", wanted)

    # What the editor tells

    def initialize(self, params: types.InitializeParams) -> None:
        """The first message: settings, folders, encoding."""
        self._initial = params.initialization_options
        self._habits = wire.habits(params.client_info)
        self.session.encoding = wire.encoding(self.workspace.position_encoding)
        folders = [folder.uri for folder in params.workspace_folders or ()]
        for uri in folders or ([params.root_uri] if params.root_uri else []):
            self.session.add_folder(uri)
        self._configure(self._initial)
        document = params.capabilities.text_document
        has_ghosts = document is not None and document.inline_completion is not None
        wanted = self.session.settings.completion
        if wanted or (wanted is None and not has_ghosts):
            _register_menu(self)

    async def initialized(self) -> None:
        """The editor is ready: connect, so that the first key finds a service, and ask for the configuration."""
        workspace = self.client_capabilities.workspace
        watched = None if workspace is None else workspace.did_change_watched_files
        tells = watched is not None and bool(watched.dynamic_registration)
        if self._indexing is not None:
            self._indexing.watch = not tells
        self._spawn(self._warm())
        if workspace is None:
            return
        wishes = []
        changed = workspace.did_change_configuration
        if changed is not None and changed.dynamic_registration:
            wishes.append(types.Registration("configuration", types.WORKSPACE_DID_CHANGE_CONFIGURATION))
        if self._indexing is not None and tells:
            everything = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*")])
            wishes.append(types.Registration("files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, everything))
        if wishes:
            self._spawn(self._wish(wishes))
        await self._pull()

    async def configured(self, params: types.DidChangeConfigurationParams) -> None:
        """The configuration changed: ask for it where the editor can be asked, else take what it sent."""
        sent = params.settings
        if not await self._pull() and isinstance(sent, dict) and SECTION in sent:
            self._configure(self._initial, sent[SECTION])

    def opened(self, params: types.DidOpenTextDocumentParams) -> None:
        """A document is shown: what is related to it is looked for already."""
        document = params.text_document
        self.session.open(document.uri, document.language_id, document.version, document.text)
        desks.closed(document.uri, self.desk)
        snapshot = self.session.snapshot(document.uri, Position(0, 0))
        if snapshot is not None:
            self._spawn(ahead.look(snapshot, self.desk))

    def changed(self, params: types.DidChangeTextDocumentParams) -> None:
        """A document was edited: who waits for an answer about it is told there is none."""
        uri, version = params.text_document.uri, params.text_document.version
        self._pause.stir()
        self._requests.supersede(lambda one: one.uri == uri)
        changes = self.session.change(uri, version, wire.edits(params))
        if changes:
            self.acceptance.edited(uri, changes, self.session.lines(uri))
        for change in changes:
            desks.edited(uri, change, self.session.lines(uri), self.desk)
        if changes:
            self._pause.rest(uri, self.session.position(uri, changes[-1].end))

    def closed(self, params: types.DidCloseTextDocumentParams) -> None:
        """A document is no longer shown."""
        uri = params.text_document.uri
        self._requests.supersede(lambda one: one.uri == uri)
        snapshot = self.session.snapshot(uri, Position(0, 0))
        self.acceptance.closed(uri)
        self.session.close(uri)
        desks.closed(uri, self.desk)
        self._pause.forget(uri)
        if self._indexing is not None and snapshot is not None:
            self._indexing.closed(snapshot.root, snapshot.path)

    def touched(self, uri: str) -> None:
        """A file changed on disk."""
        if self._indexing is not None:
            self._indexing.touched(*self.session.locate(uri))

    def moved(self, params: Any) -> None:
        """The cursor went somewhere: its place is prepared if it stays there."""
        found = wire.cursor(params)
        snapshot = None if found is None else self.session.snapshot(*found)
        if found is not None and snapshot is not None:
            self.session.moved(snapshot.uri, **wire.state(params))
            self.acceptance.looked(snapshot.uri, snapshot.cursor)
            self._pause.rest(*found, CURSOR_REST)

    async def context(self, params: Any) -> list[Any]:
        """What the model is given from elsewhere at a place: snippets with `path` and `text`."""
        found = wire.cursor(params)
        snapshot = None if found is None else self.session.snapshot(*found)
        return [] if snapshot is None else msgspec.to_builtins(await ahead.given(snapshot, self.desk))

    def accepted(self, *arguments: Any) -> None:
        """The editor ran an item's command."""
        if arguments and isinstance(arguments[0], int):
            self.acceptance.accept(arguments[0])

    def snooze(self, *arguments: Any) -> None:
        """Be quiet for so many minutes, unless asked by hand; 0 or nothing wakes up."""
        minutes = arguments[0] if arguments and isinstance(arguments[0], int | float) else 0
        self.session.snooze(60.0 * max(0, minutes))
        asyncio.get_running_loop().call_later(60.0 * max(0, minutes), self._tell_status)
        self._tell_status()

    def missed(self, method: str, uri: str | None) -> None:
        """A notification could not be read. If it was an edit, the text is not known any more."""
        if method == types.TEXT_DOCUMENT_DID_CHANGE and uri is not None:
            self.session.distrust(uri)
            self._requests.supersede(lambda one: one.uri == uri)
            self._warn(
                "Lacuna could not read an edit and is quiet in this file; close and open it again, and report this"
            )
        else:
            self._log(f"a {method} of the editor could not be read")

    def replied(self, identifier: int | str) -> None:
        """The answer to a request has been written."""
        found = self._answered.pop(identifier, None)
        if found is not None:
            self._spawn(self._tell_timing(identifier, *found, written=time.monotonic()))

    def shut(self) -> None:
        """The editor is about to leave: nobody waits any longer."""
        self._requests.supersede(lambda one: True)

    def left(self) -> None:
        """The editor said exit."""
        self.shut()
        self._spawn(self._finish())

    def ended(self) -> None:
        """The pipe ended: whoever was asked something still answers it."""
        self._spawn(self._finish())

    # What is said to the editor

    def failed(self, error: BaseException) -> None:
        """Something of ours raised what it should not: a line without a word of the user's code."""
        where = traceback.extract_tb(error.__traceback__)
        place = f" at {PurePath(where[-1].filename).name}:{where[-1].lineno}" if where else ""
        self._log(f"{type(error).__name__}{place}: please report this", types.MessageType.Error)

    def _link_changed(self) -> None:
        if self.link.problem is not None:
            self._show(f"Lacuna: {self.link.problem}", types.MessageType.Error)
        elif self.link.notice is not None:
            self._warn(f"Lacuna: {self.link.notice}")
        self._tell_status()

    def _show(self, message: str, kind: types.MessageType) -> None:
        """A message to the user, once."""
        if message not in self._told:
            self._told.add(message)
            self.window_show_message(types.ShowMessageParams(kind, message))

    def _warn(self, message: str) -> None:
        self._show(message, types.MessageType.Warning)

    def _log(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        self.window_log_message(types.LogMessageParams(kind, f"Lacuna: {message}"))

    def _tell_status(self) -> None:
        """The state for a status bar, when it is another one, to an editor that wants it."""
        status = standing.state(self.session, self.link, self._indexing, thinking=bool(self._requests))
        if self.session.settings.status and status != self._status:
            self._status = status
            self.protocol.notify(wire.STATUS, status)

    async def _tell_timing(
        self, identifier: int | str, answer: Answer, snapshot: Snapshot, received: float, *, written: float
    ) -> None:
        if answer.source == "model" and answer.generation is not None:
            await answer.generation.over()
        timing = measure(answer, identifier=identifier, version=snapshot.version, received=received, written=written)
        if self.session.settings.timings:
            self.protocol.notify(wire.TIMING, msgspec.to_builtins(timing))
        if answer is not SUPERSEDED:
            self._keeping.keep(answered(timing, snapshot.language))

    def _lines_of(self, uri: str) -> tuple[str, ...] | None:
        return self.session.lines(uri) if self.session.is_open(uri) else None

    # What goes on by itself

    def _configure(self, *layers: object) -> None:
        settings, problems = resolve(*layers, base=self._base)
        kept, self.session.settings = self._keeping.wanted, settings
        if self._keeping.wanted != kept:
            self._spawn(self._keeping.calibrate())
        for problem in problems:
            self._warn(f"Lacuna: {problem}")
        self._tell_status()

    async def _pull(self) -> bool:
        """Ask the editor for its configuration. False when it cannot be asked."""
        workspace = self.client_capabilities.workspace
        if workspace is None or not workspace.configuration:
            return False
        items = types.ConfigurationParams([types.ConfigurationItem(section=SECTION)])
        with contextlib.suppress(Exception):  # an editor that promises and then refuses keeps the defaults
            found = await self.workspace_configuration_async(items)
            self._configure(self._initial, *found[:1])
        return True

    async def _wish(self, wishes: list[types.Registration]) -> None:
        with contextlib.suppress(Exception):  # an editor that promises and then refuses tells of less, no more
            await self.client_register_capability_async(types.RegistrationParams(wishes))

    async def _warm(self) -> None:
        with contextlib.suppress(LacunaRuntimeError):  # the link tells of its problem itself
            await self.link.open()
        self._tell_status()
        if self._indexing is not None and self.session.settings.retrieval:
            for root in list(self.session.folders.values()):
                with contextlib.suppress(RetrievalError):  # the next question will meet it
                    await self._indexing.start(root)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)
        return task

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _finish(self) -> None:
        await self._requests.settled(LAST_WORDS)
        if not self.finished.done():
            self.finished.set_result(0 if self.protocol.orderly else 1)

    def start_tcp(self, host: str, port: int) -> None:
        """Not offered: pygls would give all its clients one writer and end with the first of them."""
        raise NotImplementedError("a server serves one editor, on stdin and stdout")

    async def close(self) -> None:
        """Give everything back."""
        self._pause.stir()
        self.acceptance.closed()
        self._keeping.close()
        self.desk.stop()
        self.desk.contexts.close()
        self.desk.soundness.close()
        for task in self._tasks:
            task.cancel()
        await self.link.close()
        if self._indexing is not None:
            await self._indexing.close()


def run(connect: Connect, indexing: Indexing | None = None, *, journal: Path | None = None, version: str = "0") -> int:
    """Serve one editor on stdin and stdout until it leaves. Returns the exit code.

    connect: gives a service, starting one if need be. indexing: where related code is looked for; None for nowhere.
    journal: the folder for what becomes of suggestions, if the user wants that kept; None for never.
    LACUNA_TIMINGS in the environment sends `lacuna/timing` to an editor that did not ask for it.
    """
    wire.hush()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints must not print into the protocol
    gc.collect()
    gc.freeze()  # what is imported stays: no collection has to walk it in the midst of a key
    base = Settings(timings=bool(os.environ.get("LACUNA_TIMINGS")))
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_serve(lambda: Server(connect, indexing, journal, version, base), output))
    return 130


async def _serve(make: Callable[[], Server], output: Any) -> int:
    loop = asyncio.get_running_loop()
    server = make()
    server.desk.soundness.start()
    server.protocol.rehearse()
    loop.set_exception_handler(lambda _, context: server.failed(context.get("exception") or RuntimeError()))
    server.protocol.set_writer(Writer(output, server.ended))
    Reader(sys.stdin.fileno(), loop, server.protocol.receive, server.ended).start()
    try:
        return await server.finished
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await server.close()


def _register(server: Server) -> None:
    """pygls takes plain functions only, so each handler is named here once."""

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.initialize(params)

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        await server.initialized()

    @server.feature(types.SHUTDOWN)
    def shutdown(_: None) -> None:
        server.shut()

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        return await server.inline_completion(params)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def configured(params: types.DidChangeConfigurationParams) -> None:
        await server.configured(params)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: types.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            server.touched(change.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.touched(params.text_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        for folder in params.event.removed:
            server.session.remove_folder(folder.uri)
        for folder in params.event.added:
            server.session.add_folder(folder.uri)

    @server.feature(wire.CURSOR)
    def moved(params: Any) -> None:
        server.moved(params)

    @server.feature(wire.CONTEXT)
    async def context(params: Any) -> list[Any]:
        return await server.context(params)

    @server.command(wire.SNOOZE)
    def snooze(*arguments: Any) -> None:
        server.snooze(*arguments)

    @server.command(wire.ACCEPTED)
    def accepted(*arguments: Any) -> None:
        server.accepted(*arguments)


def _register_menu(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=list(".([{:=,")))
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        return await server.completion(params)
