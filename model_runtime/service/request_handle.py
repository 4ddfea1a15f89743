"""One request while it is under way: whose it is, whether anybody still wants it, and its stream of events.

Lives on the event loop's thread. Ignores who computes, and how events travel.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from model_runtime.engine.sequence import Cancel
from model_runtime.owner import Owner
from model_runtime.protocol import Chunk, Done, InfillRequest, Problem, Usage

Event = Chunk | Done | Problem


class RequestHandle:
    """One request's place in the worker, and its stream."""

    def __init__(self, request: InfillRequest, owner: Owner, *, starved: bool = False) -> None:
        self.request, self.owner, self.starved = request, owner, starved
        self.arrived = time.monotonic()
        self.cancel = Cancel()
        self.timer: asyncio.TimerHandle | None = None
        self.begun = False
        self.over = False
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()

    def push(self, *events: Event) -> None:
        """Add to the stream; what comes after its end is dropped. Loop thread only."""
        if self.over or not events:
            return
        self.over = not isinstance(events[-1], Chunk)
        self._events.extend(events)
        self._wake.set()

    async def batches(self) -> AsyncIterator[list[Event]]:
        """All events that are there, as often as there are any; the last of the last is a Done or a Problem."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(self._events)
            self._events.clear()
            yield batch
            if not isinstance(batch[-1], Chunk):
                return


def kind(request: InfillRequest, owner: Owner) -> tuple[Owner, str, bool]:
    """Requests of one kind supersede each other: a client's prefetches are one kind, all else the other."""
    return owner, request.client, is_prefetch(request)


def user(request: InfillRequest, owner: Owner) -> str:
    """The owner's token where there is one, else the client: one user starves once, whatever the names."""
    return owner.token or request.client


def is_prefetch(request: InfillRequest) -> bool:
    """Nobody waits for it."""
    return request.priority == "prefetch" or not request.max_tokens


def queued(handle: RequestHandle) -> Usage:
    """What a request has cost that was never begun."""
    return Usage(queue_ms=(time.monotonic() - handle.arrived) * 1000)
