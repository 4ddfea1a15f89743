"""Requests in, streams of tokens out, over one connection that is made when needed and made anew when it broke.

Ignores how a service is found or started (`connect` does that), and what is asked of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Protocol

from model_runtime.errors import LacunaRuntimeError, Overloaded, Unreachable
from model_runtime.protocol import Chunk, Done, InfillRequest, Learnt, Lesson

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts to connect that fail


class Service(Protocol):
    """What is asked of a client; `model_runtime.client.client.Client` is one."""

    def infill(self, request: InfillRequest) -> AsyncIterator[Chunk | Done]:
        """Tokens as they come, then one Done."""

    async def learn(self, lesson: Lesson) -> Learnt:
        """Remember texts of a workspace."""

    async def count(self, texts: Sequence[str]) -> Sequence[int] | None:
        """How many of the model's tokens each text has; None from whoever is not told texts for that."""

    async def close(self) -> None:
        """Give the connections back."""


Connect = Callable[[], Awaitable[Service]]


class Connection:
    """The way to the service. Use it on one event loop.

    changed: called when `problem` or `connected` has become another. Concurrent requests share one attempt to connect.
    """

    def __init__(self, connect: Connect, changed: Callable[[], None] = lambda: None) -> None:
        self._connect = connect
        self._changed = changed
        self.opened: Callable[[], None] = lambda: None  # called whenever a service was found or found anew
        self._service: Service | None = None
        self._opening: asyncio.Task[Service] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._pause, self._not_before = FIRST_PAUSE, 0.0
        self.problem: str | None = None

    @property
    def notice(self) -> str | None:
        """What a service that stands in for another has to say of it; None when all is as it should be."""
        return getattr(self._service, "notice", None)

    @property
    def connected(self) -> bool:
        """A service answered, and has not been missed since."""
        return self._service is not None

    async def open(self) -> Service:
        """The service, connected. Raises Unreachable with the words of whoever could not connect.

        After a failure the next attempt has to wait a while, longer each time; until then the same is raised at once.
        """
        if self._service is not None:
            return self._service
        if self._opening is None:
            if self.problem is not None and time.monotonic() < self._not_before:
                raise Unreachable(self.problem)
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def forgive(self) -> None:
        """Try at once with the next request, whatever failed before."""
        self._pause, self._not_before = FIRST_PAUSE, 0.0

    async def middle(self, request: InfillRequest) -> AsyncGenerator[Chunk | Done]:
        """Tokens as they come, then one Done. A service that is gone is found or started anew, once.

        Raises what `Client.infill` raises, and Unreachable when there is no service to be had.
        """
        for last in (False, True):
            service = await self.open()
            silent, notice = True, self.notice
            try:
                async with aclosing(service.infill(request)) as events:  # type: ignore[type-var]
                    async for event in events:
                        silent = False
                        self._clear()
                        if notice != self.notice:
                            notice = self.notice
                            self._changed()
                        yield event
                return
            except Unreachable:
                self._drop(service)
                if last or not silent:
                    raise
            except Overloaded:
                raise  # that passes by itself
            except LacunaRuntimeError as error:
                self._blame(str(error))
                raise

    async def learn(self, lesson: Lesson) -> None:
        """Have the service remember texts of a workspace, if there is one. Raises what `Client.learn` raises."""
        if self._service is not None:
            await self._service.learn(lesson)

    async def count(self, texts: Sequence[str]) -> Sequence[int] | None:
        """How many of the model's tokens each text has; None while nobody says."""
        if self._service is not None:
            with suppress(LacunaRuntimeError):  # the next request finds out what is wrong
                return await self._service.count(texts)
        return None

    async def close(self) -> None:
        """Give the connection back."""
        if self._opening is not None:
            self._opening.cancel()
        if self._service is not None:
            service, self._service = self._service, None
            await service.close()

    async def _open(self) -> Service:
        try:
            return await self._connect()
        except LacunaRuntimeError as error:
            raise Unreachable(str(error)) from error
        except OSError as error:
            raise Unreachable(f"no service to be had: {error}; run `lacuna doctor`") from error
        except Exception as error:  # whatever composes us words its own errors for users
            raise Unreachable(str(error) or type(error).__name__) from error

    def _opened(self, task: asyncio.Task[Service]) -> None:
        self._opening = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._service = task.result()
            self.opened()
            self.forgive()
            self.problem = None
            self._changed()
            return
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._blame(str(error))

    def _drop(self, service: Service) -> None:
        """The service is gone; whoever noticed last may have dropped it already."""
        if service is not self._service:
            return
        self._service = None
        task = asyncio.create_task(_closed(service))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _blame(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._changed()

    def _clear(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._changed()


async def _closed(service: Service) -> None:
    with suppress(Exception):  # it is gone already, one way or another
        await service.close()
