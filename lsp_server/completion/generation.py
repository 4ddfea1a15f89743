"""One request to the model in, its text as it grows out. Knows nothing of what is shown of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import aclosing

from lsp_server.editor.document import Place
from lsp_server.editor.window import Frame
from lsp_server.related.connection import Connection
from lsp_server.shaping.truncation import Plan
from model_runtime.errors import LacunaRuntimeError
from model_runtime.protocol import Done, InfillRequest, Reason, Usage

DOUBT = -1.2  # mean log-probability of the tokens of a line below which a block ends before it

_numbers = itertools.count(1)


class TextStream:
    """A middle while it is written, and afterwards. It outlives the answer it was begun for.

    number: of the generation, from 1; asked: requests to the model so far.
    frame, at: where it begins; wanted: how much is wanted; enough: whether a text is all that can be used; more: what
    is wanted beyond the end of the line, if anything.
    text has \\n as its only line ending; pieces: the length and log-probability of each token of it.
    others, ends: other texts, if the request wants several, and why they ended.
    shown, offered: what of it and of the others was on the screen, from the beginning on; settled: no more of it will.
    right, replaces: what stood right of the cursor then, and how many characters of that it replaced.
    finish: why it ended, None while it runs. failure: what went wrong. sent, first, ended: in seconds of
    time.monotonic().
    """

    def __init__(
        self,
        request: InfillRequest,
        frame: Frame,
        at: Place,
        wanted: Plan,
        enough: Callable[[str, Plan], bool],
        more: Callable[[TextStream], Plan | None] = lambda _: None,
    ) -> None:
        self.number = next(_numbers)
        self.asked = 0
        self.request, self.frame, self.at, self.wanted = request, frame, at, wanted
        self._enough, self._more = enough, more
        self.text = ""
        self.pieces: list[tuple[int, float]] = []
        self.others = [""] * (request.n - 1)
        self.ends: tuple[Reason, ...] = tuple("deadline" for _ in self.others)
        self.offered: tuple[str, ...] = ()
        self.shown: str | None = None
        self.settled = False
        self.right, self.replaces = "", 0
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

    @property
    def has_ended(self) -> bool:
        """It said all that it had to say, and was not broken off."""
        return self.finish in ("end", "stop", "length")

    def agrees(self, typed: str) -> bool:
        """Whether the text begins with what was typed since, or may yet do so."""
        if self.shown is not None and self.shown.startswith(typed):
            return True
        return self.text.startswith(typed) or (self.running and typed.startswith(self.text))

    def choose(self, text: str) -> None:
        """The user goes on with another of the texts on the screen."""
        self.text = self.shown = text
        self.settled = True

    def start(self, connection: Connection) -> None:
        """Ask for it."""
        self._task = asyncio.create_task(self._run(connection))

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

    def confidence(self, start: int = 0) -> float:
        """The mean log-probability of the tokens from this character of the text on; 0 without any."""
        at, found = 0, []
        for length, logprob in self.pieces:
            if at >= start:
                found.append(logprob)
            at += length
        return sum(found) / len(found) if found else 0.0

    async def _run(self, connection: Connection) -> None:
        try:
            self._end(await self._write(connection))
        except LacunaRuntimeError as error:
            self.failure = error
        finally:
            self._end("cancelled")

    async def _write(self, connection: Connection) -> Reason:
        """Add what the model says."""
        self.asked += 1
        async with aclosing(connection.middle(self.request)) as events:
            async for event in events:
                if isinstance(event, Done):
                    self.ends = event.others or self.ends
                    self.usage = event.usage
                    return event.finish
                if self.first is None:
                    self.first = time.monotonic()
                if event.index:
                    self.others[event.index - 1] += event.text.replace("\r", "")
                    continue
                self._add(event.text.replace("\r", ""), event.logprob)
                newline = "\n" in event.text
                if newline and self.wanted.floor is None:
                    self.wanted = self._more(self) or self.wanted
                if newline and not self.others and (self._is_doubtful() or self._enough(self.text, self.wanted)):
                    self._end("stop")  # what a request costs that is broken off is not known
                    break
                if newline or not self._lines_only:
                    self._news.set()
        return "cancelled"

    def _is_doubtful(self) -> bool:
        """Whether the model did not mean the line of a block that it just ended; that line is forgotten then."""
        end = self.text.rstrip("\n").rfind("\n") + 1
        if self.wanted.floor is None or not self.text[:end].strip() or self.confidence(end) >= DOUBT:
            return False
        self.text = self.text[:end]
        while self.pieces and sum(length for length, _ in self.pieces) > end:
            self.pieces.pop()
        return True

    def _add(self, text: str, logprob: float) -> None:
        if not self.text and self.frame.left.strip() and self.frame.left[-1].isspace():
            text = text.lstrip(" \t")  # it is there already
        self.text += text
        self.pieces.append((len(text), logprob))

    def _end(self, finish: Reason) -> None:
        if self.finish is not None:
            return
        self.finish = finish
        self.ended = time.monotonic()
        self._news.set()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
