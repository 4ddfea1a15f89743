"""Settings in, the service that answers out: the user's daemon, or a server elsewhere with the daemon in its place
while it is away.

A server that fails is asked after in the background and taken again when it answers; no key waits for one that is
down. Ignores what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from lacuna import daemon
from lacuna.settings import Remote, Settings
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.client.external_engines import ExternalEngine, Manner
from model_runtime.errors import LacunaRuntimeError, Overloaded, Refused, ServiceError
from model_runtime.protocol import Chunk, Done, InfillRequest, Learnt, Lesson

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between looks at a server that is away


async def connect(settings: Settings, *, tell: Callable[[str], None] = lambda _: None) -> Client | Failover:
    """Whoever answers for these settings. Raises what `daemon.connect` raises, and ServiceError for a server that
    does not answer where nothing may take its place.
    """
    if settings.remote is None:
        return await daemon.connect(settings, tell=tell)
    if not settings.remote.fallback:
        return await reached(settings.remote)
    found = Failover(of(settings.remote), lambda: daemon.connect(settings, tell=tell))
    await found.look()
    return found


async def reached(remote: Remote) -> Client:
    """The client of a server elsewhere that answers. Raises what `Client.health` raises, and Untrusted."""
    client = of(remote)
    try:
        await client.health()
    except BaseException:
        await client.close()
        raise
    return client


def of(remote: Remote) -> Client:
    """The client of a server elsewhere. Raises Untrusted when its files cannot be used."""
    endpoint = Endpoint(
        url=remote.url, token=remote.token, ca=remote.ca, certificate=remote.certificate, key=remote.key
    )
    if remote.engine == "lacuna":
        return Client(endpoint) if remote.share_memory else _Untaught(endpoint)
    return ExternalEngine(endpoint, Manner(remote.engine, remote.model, remote.fim))


class _Untaught(Client):
    """A client that keeps workspaces to itself: what is sent is what a request needs."""

    async def learn(self, lesson: Lesson) -> Learnt:
        """Nothing of it."""
        return Learnt(0)


class Failover:
    """A server and the local model as one service. notice: what the user should know; None while the server answers."""

    def __init__(
        self, far: Client, near: Callable[[], Awaitable[Client]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.notice: str | None = None
        self._far, self._open_near, self._clock = far, near, clock
        self._near: Client | None = None
        self._opening = asyncio.Lock()
        self._pause, self._next_look = FIRST_PAUSE, 0.0
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Ask the server whether it is there."""
        try:
            await self._far.health()
        except LacunaRuntimeError as error:
            self._lost(error)
        else:
            self._found()

    async def infill(self, request: InfillRequest) -> AsyncGenerator[Chunk | Done, None]:
        """As `Client.infill`, by whoever can. Raises what the local one raises; a fault of the request is the server's
        to tell.
        """
        if self.notice is not None:
            self._look_again()
        else:
            silent = True
            try:
                async with aclosing(self._far.infill(request)) as events:
                    async for event in events:
                        silent = False
                        yield event
                return
            except Overloaded:
                pass  # this once the local one answers
            except ServiceError as error:
                if not silent or _is_the_requests(error):
                    raise
                self._lost(error)
        near = await self._local()
        try:
            async with aclosing(near.infill(request)) as events:
                async for event in events:
                    yield event
        except ServiceError:
            self._near = None  # the daemon may have ended; the next one is found or started
            raise

    async def learn(self, lesson: Lesson) -> Learnt:
        """Have whoever may answer know of it."""
        if self._near is not None:
            with contextlib.suppress(ServiceError):
                await self._near.learn(lesson)
        if self.notice is not None:
            return Learnt(0)
        return await self._far.learn(lesson)

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """As `Client.count`, by whoever answers."""
        return await (self._far if self.notice is None or self._near is None else self._near).count(texts)

    async def close(self) -> None:
        """Give the connections back."""
        if self._looking is not None:
            self._looking.cancel()
        await self._far.close()
        if self._near is not None:
            await self._near.close()

    async def _local(self) -> Client:
        async with self._opening:
            if self._near is None:
                self._near = await self._open_near()
            return self._near

    def _lost(self, error: LacunaRuntimeError) -> None:
        self.notice = f"{error}. Meanwhile the model on this machine answers."
        self._next_look = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _found(self) -> None:
        self.notice, self._pause = None, FIRST_PAUSE

    def _look_again(self) -> None:
        """In the background, when it is time."""
        if self._clock() >= self._next_look and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self.look())


def _is_the_requests(error: ServiceError) -> bool:
    """Whether the server is well and the request is at fault: nobody else would answer it either."""
    return type(error) is Refused
