"""One request to the model in, its text as it grows out. Knows nothing of what is shown of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import aclosing

from lsp_server.document import Place
from lsp_server.extent import Plan
from lsp_server.link import Link
from lsp_server.window import Frame
from model_runtime.errors import LacunaRuntimeError
from model_runtime.protocol import Done, InfillRequest, Reason, Usage

_numbers = itertools.count(1)


class Generation:
    """A middle while it is written, and afterwards. It outlives the answer it was begun for.

    number: of the request, from 1. frame, at: where it begins; wanted: how much was asked for; enough: whether a text
    is all that can be used.
    text has \\n as its only line ending. finish: why it ended, None while it runs. failure: what went wrong.
    sent, first, ended: in seconds of time.monotonic().
    """

    def __init__(
        self, request: InfillRequest, frame: Frame, at: Place, wanted: Plan, enough: Callable[[str], bool]
    ) -> None:
        self.number = next(_numbers)
        self.request, self.frame, self.at, self.wanted = request, frame, at, wanted
        self._enough = enough
        self.text = ""
        self.finish: Reason | None = None
        self.usage: Usage | None = None
        self.failure: LacunaRuntimeError | None = None
        self.sent = time.monotonic()
        self.first: float | None = None
        self.ended: float | None = None
        self._news = asyncio.Event()
        self._lines_only = False
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """More text may come."""
        return self.finish is None

    def agrees(self, typed: str) -> bool:
        """Whether the text begins with what was typed since, or may yet do so."""
        return self.text.startswith(typed) or (self.running and typed.startswith(self.text))

    def start(self, link: Link) -> None:
        """Ask for it."""
        self._task = asyncio.create_task(self._run(link))

    def cancel(self) -> None:
        """Nobody wants more of it."""
        self._end("cancelled")

    async def news(self, seconds: float, *, lines: bool) -> None:
        """Returns when there is more text, or another line where `lines`, when it has ended, or after this time."""
        self._news.clear()
        self._lines_only = lines
        if not self.running:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def over(self) -> None:
        """Returns when it has ended, and what it cost is known if it ever will be."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self, link: Link) -> None:
        try:
            async with aclosing(link.middle(self.request)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        self.usage = event.usage
                        self._end(event.finish)
                        return
                    if self.first is None:
                        self.first = time.monotonic()
                    self.text += event.text.replace("\r", "")
                    newline = "\n" in event.text
                    if newline and self._enough(self.text):
                        self._end("stop")
                        return
                    if newline or not self._lines_only:
                        self._news.set()
        except LacunaRuntimeError as error:
            self.failure = error
        finally:
            self._end("cancelled")

    def _end(self, finish: Reason) -> None:
        if self.finish is not None:
            return
        self.finish = finish
        self.ended = time.monotonic()
        self._news.set()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
