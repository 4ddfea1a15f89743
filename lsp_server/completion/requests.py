"""Requests that are being answered: the newest wins, and whoever is superseded hears so at once.

Lives on the event loop's thread. Knows nothing of what is asked or of how it is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from lsp_server.completion.completion import Answer

Kind = Literal["inline", "menu"]

SUPERSEDED = Answer(None, "skip", "superseded")


@dataclass
class Request:
    """One of them: the document it is about, and how it was asked."""

    uri: str
    kind: Kind
    task: asyncio.Task[Answer]
    superseded: bool = False


class Requests:
    """All of them, by the ids the editor gave them."""

    def __init__(self) -> None:
        self._running: dict[int | str, Request] = {}

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._running)

    async def answer(self, identifier: int | str, uri: str, kind: Kind, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What the work gives, or SUPERSEDED as soon as something newer came. Raises CancelledError when cancelled."""
        self.supersede(lambda one: one.kind == kind)
        request = self._running[identifier] = Request(uri, kind, asyncio.create_task(work))
        try:
            return await request.task
        except asyncio.CancelledError:
            if not request.superseded:
                raise
            return SUPERSEDED
        finally:
            del self._running[identifier]

    def supersede(self, which: Callable[[Request], bool]) -> None:
        """Requests that something newer has made pointless are answered with nothing, now."""
        for request in self._running.values():
            if which(request):
                request.superseded = True
                request.task.cancel()

    async def settled(self, seconds: float) -> None:
        """Returns when nobody waits any more, or after this time."""
        until = time.monotonic() + seconds
        while self._running and time.monotonic() < until:
            await asyncio.wait({one.task for one in self._running.values()}, timeout=until - time.monotonic())
            await asyncio.sleep(0)
