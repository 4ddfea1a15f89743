"""Requests in, streams of tokens out: one engine on one thread, many requests at a time.

The event loop owns who asks; the thread owns the engine; requests cross in a queue, tokens with
`call_soon_threadsafe`. A client's newer request supersedes its older one. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from model_runtime.engine.sequence import Cancel, Finish, Generation, Token
from model_runtime.errors import ModelError, Overloaded, PromptError
from model_runtime.manifest import Manifest
from model_runtime.owner import Owner
from model_runtime.protocol import Chunk, Done, InfillRequest, Lesson, Problem
from model_runtime.service import battery
from model_runtime.service.metrics import Metrics
from model_runtime.service.ngram_store import NgramStore
from model_runtime.service.request_adapter import AHEAD, AdaptedRequest, adapt, reply
from model_runtime.service.request_handle import Event, RequestHandle, is_prefetch, kind, queued, user
from model_runtime.service.starvation import Starvation
from model_runtime.tokenizer import Tokenizer

CAPACITY = 32  # requests under way, and as many again of clients that starve; one client has two at most
GATHER = 0.005  # seconds: tokens that come quicker than this travel together, but for the end of a line
LATE = 0.010  # seconds after its deadline when a request is answered though the engine is in the midst of a run

log = logging.getLogger(__name__)


class Writer(Protocol):
    """What a worker asks of an engine."""

    @property
    def manifest(self) -> Manifest:
        """The model's description."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    @property
    def busy(self) -> bool:
        """There is something to do."""

    def reading(self, generation: Generation) -> float:
        """Seconds it would take to read its prompt."""

    def begin(self, generation: Generation, cancel: Cancel) -> Any:
        """Take a generation; the value names it. Raises PromptError, Overloaded."""

    def step(self) -> list[tuple[Any, Token | Finish]]:
        """Do a little; what came of it, by name. Raises ModelError, and then has forgotten every generation."""

    def close(self) -> None:
        """Give the memory back."""


def write(engine: Writer, request: InfillRequest, cancel: Cancel, arrived: float) -> Iterator[Chunk | Done]:
    """Fill one gap on the calling thread, with an engine that nobody else uses. arrived: of time.monotonic().

    Raises PromptError when the request cannot be laid out, ModelError.
    """
    one = adapt(request, engine.tokenizer, engine.manifest, arrived)
    engine.begin(one.generation, cancel)
    while engine.busy:
        for _, event in engine.step():
            yield reply(event, one.before)


@dataclass
class _ActiveRequest:
    """A handle on the engine's thread. held: what is to be told yet."""

    handle: RequestHandle
    request: AdaptedRequest
    held: list[Event] = field(default_factory=list)
    told_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """What is held is told now: it ends a line or the stream, or something was told long enough ago."""
        ends = any(not isinstance(one, Chunk) or "\n" in one.text for one in self.held)
        return ends or now - self.told_at > GATHER


class EngineWorker:
    """The way to one engine. Make it and use it on the event loop's thread."""

    def __init__(self, metrics: Metrics, capacity: int = CAPACITY) -> None:
        self._metrics = metrics
        self._capacity = capacity
        self._thread = ThreadPoolExecutor(1, "engine")
        self._learning = ThreadPoolExecutor(1, "ngrams")
        self._loop = asyncio.get_running_loop()
        self._engine: Writer | None = None
        self._ngram_store: NgramStore | None = None
        self._opened = asyncio.Event()
        self._coming: SimpleQueue[RequestHandle | None] = SimpleQueue()  # None: no more will come
        self._handles: list[RequestHandle] = []
        self._newest: dict[tuple[Owner, str, bool], RequestHandle] = {}
        self._later = Cancel()
        self._starvation = Starvation()

    @property
    def busy(self) -> bool:
        """Something is under way."""
        return bool(self._handles)

    async def open(self, opener: Callable[[], Writer]) -> Writer:
        """Open the engine on its thread, then start on what has come in meanwhile. Raises what `opener` raises."""
        self._engine = await self._loop.run_in_executor(self._thread, opener)
        self._ngram_store = NgramStore(self._engine.tokenizer.encode_once)
        self._opened.set()
        self._thread.submit(self._work, self._engine)
        return self._engine

    async def learn(self, lesson: Lesson, owner: Owner) -> int:
        """Remember texts of a workspace, once the engine is open; how many of its tokens are then known."""
        await self._opened.wait()
        assert self._ngram_store is not None
        learn = partial(self._ngram_store.learn, owner, lesson.workspace, lesson.texts, more=lesson.more)
        return await self._loop.run_in_executor(self._learning, learn)

    async def count(self, texts: Sequence[str]) -> tuple[int, ...]:
        """How many of the model's tokens each text has, once the engine is open."""
        await self._opened.wait()
        assert self._engine is not None
        encode = self._engine.tokenizer.encode_once
        return await asyncio.to_thread(lambda: tuple(len(encode(text)) for text in texts))

    def submit(self, request: InfillRequest, owner: Owner) -> RequestHandle:
        """Take a request, in place of the client's older one of its kind. Raises Overloaded when there are too many.

        On battery a prefetch ends at once as cancelled.
        """
        older = self._newest.get(kind(request, owner)) if request.client else None
        if older is not None:
            self.abandon(older)
        starved = not is_prefetch(request) and self._starvation.starves(user(request, owner))
        if len(self._handles) >= self._capacity * (1 + starved):
            raise Overloaded(f"{len(self._handles)} requests are under way already; try again in a second")
        handle = RequestHandle(request, owner, starved=starved)
        if is_prefetch(request) and battery.on_battery():
            handle.push(Done("cancelled", queued(handle)))
            return handle
        if request.client:
            self._newest[kind(request, owner)] = handle
        self._handles.append(handle)
        self._metrics.take()
        self._metrics.wait(len(self._handles))
        if request.deadline_ms is not None:
            handle.timer = self._loop.call_later(request.deadline_ms / 1000 + LATE, self._expire, handle)
        self._coming.put(handle)
        return handle

    def abandon(self, handle: RequestHandle) -> None:
        """Nobody wants this any more: it ends as cancelled, at once if the engine has not got it yet."""
        handle.cancel.set()
        if not handle.begun:
            self._finish(handle, Done("cancelled", queued(handle)))

    def abandon_all(self) -> None:
        """End everything as cancelled."""
        for handle in self._handles[:]:
            self.abandon(handle)

    async def close(self) -> None:
        """Cancel what is left, wait for the thread, give the engine's memory back."""
        self.abandon_all()
        self._later.set()
        self._coming.put(None)
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._learning.shutdown, cancel_futures=True)
        if self._engine is not None:
            self._engine.close()

    def _expire(self, handle: RequestHandle) -> None:
        """Answers a request whose time is over; what the engine is reading for it makes the next one quick."""
        self._finish(handle, Done("deadline", queued(handle)))

    def _deliver(self, news: list[tuple[RequestHandle, list[Event]]]) -> None:
        for handle, (*events, last) in news:
            if any(isinstance(one, Chunk) and one.text.strip() for one in (*events, last)):
                self._starvation.feed(user(handle.request, handle.owner), handle.arrived)
            handle.push(*events)
            if isinstance(last, Chunk):
                handle.push(last)
            else:
                self._finish(handle, last)

    def _finish(self, handle: RequestHandle, outcome: Done | Problem) -> None:
        if handle.over:
            return
        if handle.timer is not None:
            handle.timer.cancel()
        own = kind(handle.request, handle.owner)
        if self._newest.get(own) is handle:
            del self._newest[own]
        self._handles.remove(handle)
        self._metrics.finish(outcome)
        self._metrics.wait(len(self._handles))
        handle.push(outcome)

    def _work(self, engine: Writer) -> None:
        """On the engine's thread, to the end: begins what has come, then lets the engine do a step."""
        active: dict[Any, _ActiveRequest] = {}
        more = True
        while more or engine.busy:
            for handle in self._came(wait=not engine.busy):
                if handle is None:
                    more = False
                elif not handle.over:
                    self._begin(engine, handle, active)
            self._step(engine, active)

    def _came(self, *, wait: bool) -> list[RequestHandle | None]:
        """What has come since; wait: until something has."""
        found = [self._coming.get()] if wait else []
        with suppress(Empty):
            while True:
                found.append(self._coming.get_nowait())
        return found

    def _begin(self, engine: Writer, handle: RequestHandle, active: dict[Any, _ActiveRequest]) -> None:
        handle.begun = True
        request, problem = handle.request, None
        try:
            ngrams = self._ngram_store.of(handle.owner, request.workspace) if self._ngram_store is not None else None
            one = adapt(
                request,
                engine.tokenizer,
                engine.manifest,
                handle.arrived,
                ngrams,
                engine.reading,
                owner=handle.owner,
                starved=handle.starved,
            )
            active[engine.begin(one.generation, handle.cancel)] = _ActiveRequest(handle, one)
            return
        except PromptError as error:
            problem = Problem("bad_request", str(error))
        except Overloaded as error:
            problem = Problem("overloaded", str(error))
        except Exception as error:  # the worker must go on for the others, whatever one request did
            problem = _failed(error)
        self._loop.call_soon_threadsafe(self._finish, handle, problem)

    def _read_later(self, engine: Writer, later: Generation | None, finish: Finish) -> None:
        """Has a prompt read whole that there was no time for, unless the user went on or the machine is to rest."""
        if later is not None and finish.reason != "cancelled" and not battery.on_battery():
            self._later.set()  # the newest is worth most
            self._later = Cancel()
            with suppress(Overloaded):  # then there is no time for it either
                engine.begin(replace(later, deadline=time.monotonic() + AHEAD), self._later)

    def _step(self, engine: Writer, active: dict[Any, _ActiveRequest]) -> None:
        over: list[Any] = []
        try:
            for name, event in engine.step():
                entry = active.get(name)
                if entry is None:  # what is read later is nobody's
                    continue
                entry.held.append(reply(event, entry.request.before))
                if isinstance(event, Finish):
                    over.append(name)
                    self._read_later(engine, entry.request.later, event)
        except Exception as error:  # the worker must go on for those who come later
            problem = _failed(error)
            for name, entry in active.items():
                entry.held.append(problem)
                over.append(name)
        now = time.monotonic()
        due = [entry for entry in active.values() if entry.held and (len(active) > 1 or entry.is_due(now))]
        if due:
            self._loop.call_soon_threadsafe(self._deliver, [(entry.handle, entry.held) for entry in due])
        for entry in due:
            entry.held, entry.told_at = [], now
        for name in over:
            active.pop(name, None)  # one that ended just before a fault is named twice


def _failed(error: Exception) -> Problem:
    """What is told of a fault that is not the request's."""
    if isinstance(error, ModelError):
        log.error("the model failed", exc_info=error)
        return Problem("model", str(error))
    log.error("the engine failed", exc_info=error)
    return Problem("internal", f"the engine failed ({type(error).__name__}); see the daemon's log")
