"""What the editor says in, what we make of it out: the protocol's handlers, in its types.

Everything runs on one event loop; stdin has a thread of its own. The composition root hands in how to reach a
service and where to find related code; this package starts neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import msgspec
from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.completion import prefetch
from lsp_server.completion.requests import Kind
from lsp_server.editor.options import SECTION, Settings
from lsp_server.handler import CompletionRequest
from lsp_server.related.connection import Connect
from lsp_server.related.indexing import Indexing
from lsp_server.rpc import wire
from lsp_server.rpc.protocol import LacunaProtocol, hush
from lsp_server.rpc.transport import Reader, Writer
from lsp_server.wiring import Wiring

LAST_WORDS = 2.0  # seconds for what is under way when the pipe has ended


class Server(LanguageServer):
    """One editor's server. `connect`, `indexing` and `journal` are as for `run`."""

    protocol: LacunaProtocol

    def __init__(
        self, connect: Connect, indexing: Indexing | None, journal: Path | None, version: str, base: Settings
    ) -> None:
        super().__init__("lacuna", version, protocol_cls=LacunaProtocol, max_workers=1)
        self.protocol.host = self
        self.finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.wiring = Wiring(connect, indexing, journal, base, self)
        self._initial: object = None
        self._wants_files = False
        _register(self)

    # What the editor asks

    async def inline_completion(self, params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        """Ghost text."""
        invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        chosen = wire.chosen(params)
        shown = await self.wiring.handler.shown(self._request(params, "inline", invoked=invoked, chosen=chosen))
        if shown is None:
            return []
        if chosen is not None:
            return [wire.chosen_item(shown.texts[0], shown.number, params)]
        return [wire.inline_item(one, shown.number, params.position, shown.replaces) for one in shown.texts]

    async def completion(self, params: types.CompletionParams) -> types.CompletionList:
        """The same for editors that have a menu only."""
        shown = await self.wiring.handler.shown(self._request(params, "menu"))
        if shown is None:
            return types.CompletionList(is_incomplete=True, items=[])
        snapshot = shown.snapshot
        start = self.wiring.session.position(snapshot.uri, wire.word_start(snapshot))
        item = wire.menu_item(shown.texts[0], shown.number, snapshot, params.position, start, shown.replaces)
        return types.CompletionList(is_incomplete=True, items=[item])

    async def context(self, params: Any) -> list[Any]:
        """What the model is given from elsewhere at a place: snippets with `path` and `text`."""
        found = wire.cursor(params)
        snapshot = None if found is None else self.wiring.session.snapshot(*found)
        return [] if snapshot is None else msgspec.to_builtins(await prefetch.given(snapshot, self.wiring.state))

    def _request(
        self, params: types.InlineCompletionParams | types.CompletionParams, kind: Kind, **more: Any
    ) -> CompletionRequest:
        identifier = self.protocol.msg_id
        assert identifier is not None
        uri, at = params.text_document.uri, wire.position(params.position)
        return CompletionRequest(identifier, self.protocol.arrived, uri, at, kind, **more)

    # What the editor tells

    def initialize(self, params: types.InitializeParams) -> None:
        """The first message: settings, folders, encoding."""
        self._initial = params.initialization_options
        self.wiring.handler.habits = wire.habits(params.client_info)
        self.wiring.session.encoding = wire.encoding(self.workspace.position_encoding)
        folders = [folder.uri for folder in params.workspace_folders or ()]
        for uri in folders or ([params.root_uri] if params.root_uri else []):
            self.wiring.session.add_folder(uri)
        self.wiring.configure(self._initial)
        workspace = params.capabilities.workspace
        watched = None if workspace is None else workspace.did_change_watched_files
        tells = watched is not None and bool(watched.dynamic_registration)
        self._wants_files = self.wiring.watch(disk=not tells) and tells  # before a document opens its folder
        document = params.capabilities.text_document
        has_ghosts = document is not None and document.inline_completion is not None
        wanted = self.wiring.session.settings.completion
        if wanted or (wanted is None and not has_ghosts):
            _register_menu(self)

    async def initialized(self) -> None:
        """The editor is ready: connect, so that the first key finds a service, and ask for the configuration."""
        workspace = self.client_capabilities.workspace
        self.wiring.tasks.spawn(self.wiring.warm())
        if workspace is None:
            return
        wishes = []
        changed = workspace.did_change_configuration
        if changed is not None and changed.dynamic_registration:
            wishes.append(types.Registration("configuration", types.WORKSPACE_DID_CHANGE_CONFIGURATION))
        if self._wants_files:
            everything = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*")])
            wishes.append(types.Registration("files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, everything))
        if wishes:
            self.wiring.tasks.spawn(self._wish(wishes))
        await self._pull()

    async def configured(self, params: types.DidChangeConfigurationParams) -> None:
        """The configuration changed: ask for it where the editor can be asked, else take what it sent."""
        sent = params.settings
        if not await self._pull() and isinstance(sent, dict) and SECTION in sent:
            self.wiring.configure(self._initial, sent[SECTION])

    def opened(self, params: types.DidOpenTextDocumentParams) -> None:
        """A document is shown."""
        document = params.text_document
        self.wiring.documents.opened(document.uri, document.language_id, document.version, document.text)

    def changed(self, params: types.DidChangeTextDocumentParams) -> None:
        """A document was edited."""
        self.wiring.documents.changed(params.text_document.uri, params.text_document.version, wire.edits(params))

    def closed(self, params: types.DidCloseTextDocumentParams) -> None:
        """A document is no longer shown."""
        self.wiring.documents.closed(params.text_document.uri)

    def moved(self, params: Any) -> None:
        """The cursor went somewhere."""
        found = wire.cursor(params)
        if found is not None:
            self.wiring.documents.moved(*found, wire.state(params))

    def accepted(self, *arguments: Any) -> None:
        """The editor ran an item's command."""
        if arguments and isinstance(arguments[0], int):
            self.wiring.acceptance.accept(arguments[0])

    def snooze(self, *arguments: Any) -> None:
        """Be quiet for so many minutes, unless asked by hand; 0 or nothing wakes up."""
        minutes = arguments[0] if arguments and isinstance(arguments[0], int | float) else 0
        self.wiring.snooze(60.0 * max(0, minutes))

    def missed(self, method: str, uri: str | None) -> None:
        """A notification could not be read. If it was an edit, the text is not known any more."""
        if method == types.TEXT_DOCUMENT_DID_CHANGE and uri is not None:
            self.wiring.documents.distrusted(uri)
            self.wiring.warn(
                "Lacuna could not read an edit and is quiet in this file; close and open it again, and report this"
            )
        else:
            self._log(f"a {method} of the editor could not be read")

    def replied(self, identifier: int | str) -> None:
        """The answer to a request has been written."""
        self.wiring.notifications.replied(identifier)

    def shut(self) -> None:
        """The editor is about to leave: nobody waits any longer."""
        self.wiring.requests.supersede(lambda one: True)

    def left(self) -> None:
        """The editor said exit."""
        self.shut()
        self.wiring.tasks.spawn(self._finish())

    def ended(self) -> None:
        """The pipe ended: whoever was asked something still answers it."""
        self.wiring.tasks.spawn(self._finish())

    # What is said to the editor

    def failed(self, error: BaseException) -> None:
        """Something of ours raised what it should not: a line without a word of the user's code."""
        where = traceback.extract_tb(error.__traceback__)
        place = f" at {PurePath(where[-1].filename).name}:{where[-1].lineno}" if where else ""
        self._log(f"{type(error).__name__}{place}: please report this", types.MessageType.Error)

    def show(self, message: str, *, severe: bool) -> None:
        """A message to the user."""
        kind = types.MessageType.Error if severe else types.MessageType.Warning
        self.window_show_message(types.ShowMessageParams(kind, message))

    def notify(self, method: str, params: object) -> None:
        """A notification of ours."""
        self.protocol.notify(method, params)

    def _log(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        self.window_log_message(types.LogMessageParams(kind, f"Lacuna: {message}"))

    # What it is asked

    async def _pull(self) -> bool:
        """Ask the editor for its configuration. False when it cannot be asked."""
        workspace = self.client_capabilities.workspace
        if workspace is None or not workspace.configuration:
            return False
        items = types.ConfigurationParams([types.ConfigurationItem(section=SECTION)])
        with contextlib.suppress(Exception):  # an editor that promises and then refuses keeps the defaults
            found = await self.workspace_configuration_async(items)
            self.wiring.configure(self._initial, *found[:1])
        return True

    async def _wish(self, wishes: list[types.Registration]) -> None:
        with contextlib.suppress(Exception):  # an editor that promises and then refuses tells of less, no more
            await self.client_register_capability_async(types.RegistrationParams(wishes))

    # How it ends

    async def _finish(self) -> None:
        await self.wiring.requests.settled(LAST_WORDS)
        if not self.finished.done():
            self.finished.set_result(0 if self.protocol.orderly else 1)

    def start_tcp(self, host: str, port: int) -> None:
        """Not offered: pygls would give all its clients one writer and end with the first of them."""
        raise NotImplementedError("a server serves one editor, on stdin and stdout")


def run(connect: Connect, indexing: Indexing | None = None, *, journal: Path | None = None, version: str = "0") -> int:
    """Serve one editor on stdin and stdout until it leaves. Returns the exit code.

    connect: gives a service, starting one if need be. indexing: where related code is looked for; None for nowhere.
    journal: the folder for what becomes of suggestions, if the user wants that kept; None for never.
    LACUNA_TIMINGS in the environment sends `lacuna/timing` to an editor that did not ask for it.
    """
    hush()
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
    server.wiring.state.syntax_check.start()
    server.protocol.rehearse()
    loop.set_exception_handler(lambda _, context: server.failed(context.get("exception") or RuntimeError()))
    server.protocol.set_writer(Writer(output, server.ended))
    Reader(sys.stdin.fileno(), loop, server.protocol.receive, server.ended).start()
    try:
        return await server.finished
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await server.wiring.close()


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
            server.wiring.documents.touched(change.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.wiring.documents.saved(params.text_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        for folder in params.event.removed:
            server.wiring.session.remove_folder(folder.uri)
        for folder in params.event.added:
            server.wiring.session.add_folder(folder.uri)

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
