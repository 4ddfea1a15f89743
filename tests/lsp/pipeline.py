"""A typist with the whole pipeline behind their keys, in one process: session, desk and a scripted service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

from lsp_server.completion import completion_state, syntax_check
from lsp_server.completion.completion import Answer, complete
from lsp_server.completion.completion_state import CompletionState
from lsp_server.completion.syntax_check import SyntaxCheck
from lsp_server.editor.document import Position, split
from lsp_server.editor.options import Settings
from lsp_server.editor.session import Edit, Session, Snapshot
from lsp_server.related.connection import Connection
from lsp_server.related.context import Contexts, Retrieve
from model_runtime.protocol import Chunk, Done, InfillRequest
from tests.caret import URI, parted
from tests.lsp.serve import Scripted

syntax_check.BUSY = 60.0  # a busy machine decides nothing here

LONG_AGO = 0.0  # a request received then is late by now, so that what is valid goes out at once


@cache
def proofreading() -> SyntaxCheck:
    """One process for all, which ends with this one."""
    return SyntaxCheck()


class Services:
    """Hands out scripted services and remembers what they were asked."""

    def __init__(self, folder: Path, *answers: dict[str, Any]) -> None:
        self.script: dict[str, Any] = {"answers": list(answers)}
        self.folder = folder
        self.connected = 0
        self.refusals: list[Exception] = []
        self.requests: list[InfillRequest] = []
        self.cancelled = 0

    async def connect(self) -> Service:
        if self.refusals:
            raise self.refusals.pop(0)
        self.connected += 1
        return Service(self)


class Service(Scripted):
    """One connection."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.script, services.folder / "service.log")
        self.services = services

    async def infill(self, request: InfillRequest) -> AsyncIterator[Chunk | Done]:
        self.services.requests.append(request)
        async for event in super().infill(request):
            yield event

    def note(self, what: str, **more: object) -> None:
        self.services.cancelled += what == "cancelled"


class Typing:
    """A document, a cursor in it, and a server's state."""

    def __init__(
        self,
        folder: Path,
        text: str,
        *answers: dict[str, Any],
        settings: Settings | None = None,
        retrieve: Retrieve | None = None,
        language: str = "python",
    ) -> None:
        self.services = Services(folder, *answers)
        self.session = Session(settings or Settings(debounce=0), "utf-32")
        self.session.add_folder("file:///project")
        plain, self.cursor = parted(text)
        self.session.open(URI, language, 1, plain)
        self.connection = Connection(self.services.connect)
        self.state = CompletionState(self.connection, Contexts(retrieve), syntax_check=proofreading())
        self.version = 1

    @property
    def asked(self) -> list[InfillRequest]:
        """The requests for a middle so far."""
        return [request for request in self.services.requests if request.max_tokens]

    @property
    def read_ahead(self) -> list[InfillRequest]:
        """The requests that only prefill."""
        return [request for request in self.services.requests if not request.max_tokens]

    def snapshot(self, *, invoked: bool = False) -> Snapshot:
        found = self.session.snapshot(URI, self.cursor, invoked=invoked)
        assert found is not None
        return found

    def edit(self, start: Position, end: Position, text: str) -> None:
        self.version += 1
        for change in self.session.change(URI, self.version, [Edit(text, start, end)]):
            completion_state.edited(URI, change, self.session.lines(URI), self.state)

    def type(self, text: str, closer: str = "") -> None:
        self.edit(self.cursor, self.cursor, text + closer)
        lines = split(text)
        self.cursor = Position(
            self.cursor.line + len(lines) - 1, len(lines[-1]) + (self.cursor.units if len(lines) == 1 else 0)
        )

    def backspace(self, count: int = 1) -> None:
        start = Position(self.cursor.line, self.cursor.units - count)
        self.edit(start, self.cursor, "")
        self.cursor = start

    async def answer(self, *, received: float | None = None, invoked: bool = False) -> Answer:
        async with asyncio.timeout(15):
            now = time.monotonic() if received is None else received
            return await complete(self.snapshot(invoked=invoked), self.state, now)

    async def ghost(self) -> str | None:
        return (await self.answer()).text

    async def close(self) -> None:
        self.state.stop()
        self.state.contexts.close()
        await self.connection.close()
