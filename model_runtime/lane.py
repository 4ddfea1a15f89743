"""Requests in, streams of tokens out: one engine on one thread, one sequence at a time.

The event loop owns the queue; the thread owns the engine; tokens cross with
`call_soon_threadsafe`. A client's newer request supersedes its older one. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from model_runtime.errors import ModelError, Overloaded, PromptError
from model_runtime.manifest import Manifest
from model_runtime.memories import Memories
from model_runtime.metrics import Metrics
from model_runtime.ngrams import NGrams
from model_runtime.prompt import stops
from model_runtime.protocol import Chunk, Done, InfillRequest, Lesson, Problem, Usage, prompt
from model_runtime.sequence import Cancel, Finish, Generation, Token
from model_runtime.tokenizer import Tokenizer

CAPACITY = 32  # requests that may wait; one client has one, so this many editors may type at once
GATHER = 0.005  # seconds: tokens that come quicker than this travel together, but for the end of a line

Event = Chunk | Done | Problem
log = logging.getLogger(__name__)


class Writer(Protocol):
    """What a lane asks of an engine."""

    @property
    def manifest(self) -> Manifest:
        """The model's description."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    def generate(self, generation: Generation, cancel: Cancel) -> Iterator[Token | Finish]:
        """Tokens, then exactly one Finish."""

    def close(self) -> None:
        """Give the memory back."""


def write(
    engine: Writer, request: InfillRequest, cancel: Cancel, arrived: float, memory: NGrams | None = None
) -> Iterator[Chunk | Done]:
    """Fill one gap on the calling thread. arrived: time.monotonic() when the request came in.

    Raises PromptError when the request cannot be laid out.
    """
    began = time.monotonic()
    tokens = prompt(request, engine.tokenizer, engine.manifest).tokens
    laid_out = time.monotonic()
    generation = Generation(
        prompt=tokens,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        max_lines=request.max_lines,
        stop=(*request.stop, *stops(request.suffix, engine.manifest.fim)),
        deadline=_deadline(request, arrived),
        memory=memory,
    )
    for event in engine.generate(generation, cancel):
        if isinstance(event, Token):
            yield Chunk(event.text, event.logprob)
            continue
        used = event.usage
        yield Done(
            event.reason,
            Usage(
                prompt_tokens=used.prompt_tokens,
                prefilled=used.prefilled,
                reused=used.reused,
                generated=used.generated,
                queue_ms=(began - arrived) * 1000 + used.queue_ms,
                layout_ms=(laid_out - began) * 1000,
                prefill_ms=used.prefill_ms,
                decode_ms=used.decode_ms,
                model_ms=used.model_ms,
            ),
        )


def _deadline(request: InfillRequest, arrived: float) -> float | None:
    return None if request.deadline_ms is None else arrived + request.deadline_ms / 1000


class Ticket:
    """One request's place in the lane, and its stream."""

    def __init__(self, request: InfillRequest) -> None:
        self.request = request
        self.arrived = time.monotonic()
        self.cancel = Cancel()
        self.timer: asyncio.TimerHandle | None = None
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


class Lane:
    """The queue before one engine. Make it and use it on the event loop's thread."""

    def __init__(self, metrics: Metrics, capacity: int = CAPACITY) -> None:
        self._metrics = metrics
        self._capacity = capacity
        self._thread = ThreadPoolExecutor(1, "engine")
        self._learning = ThreadPoolExecutor(1, "memory")
        self._loop = asyncio.get_running_loop()
        self._engine: Writer | None = None
        self._memories: Memories | None = None
        self._opened = asyncio.Event()
        self._waiting: deque[Ticket] = deque()
        self._running: Ticket | None = None
        self._newest: dict[str, Ticket] = {}

    @property
    def busy(self) -> bool:
        """Something runs or waits."""
        return self._running is not None or bool(self._waiting)

    async def open(self, opener: Callable[[], Writer]) -> Writer:
        """Open the engine on its thread, then start on what has come in meanwhile. Raises what `opener` raises."""
        self._engine = await self._loop.run_in_executor(self._thread, opener)
        self._memories = Memories(self._engine.tokenizer.encode_once)
        self._opened.set()
        self._start_next()
        return self._engine

    async def learn(self, lesson: Lesson) -> int:
        """Remember texts of a workspace, once the engine is open; how many of its tokens are then known."""
        await self._opened.wait()
        assert self._memories is not None
        learn = partial(self._memories.learn, lesson.workspace, lesson.texts, more=lesson.more)
        return await self._loop.run_in_executor(self._learning, learn)

    def submit(self, request: InfillRequest) -> Ticket:
        """Queue a request and supersede the client's older one. Raises Overloaded when the queue is full."""
        older = self._newest.get(request.client) if request.client else None
        if older is not None:
            self.abandon(older)
        if len(self._waiting) >= self._capacity:
            raise Overloaded(f"{self._capacity} requests wait already; try again in a second")
        ticket = Ticket(request)
        if request.client:
            self._newest[request.client] = ticket
        self._metrics.take()
        self._waiting.append(ticket)
        if request.deadline_ms is not None:
            ticket.timer = self._loop.call_later(request.deadline_ms / 1000, self._expire, ticket)
        self._start_next()
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        """Nobody wants this any more: it ends as cancelled, at once if it still waits."""
        ticket.cancel.set()
        self._drop(ticket, Done("cancelled", _queued(ticket)))

    def abandon_all(self) -> None:
        """End everything that waits or runs as cancelled."""
        for ticket in [*self._waiting, *([self._running] if self._running else [])]:
            self.abandon(ticket)

    async def close(self) -> None:
        """Cancel what is left, wait for the thread, give the engine's memory back."""
        self.abandon_all()
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._learning.shutdown, cancel_futures=True)
        if self._engine is not None:
            self._engine.close()

    def _expire(self, ticket: Ticket) -> None:
        self._drop(ticket, Done("deadline", _queued(ticket)))

    def _drop(self, ticket: Ticket, outcome: Done) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._finish(ticket, outcome)

    def _start_next(self) -> None:
        if self._engine is None or self._running is not None or not self._waiting:
            self._metrics.wait(len(self._waiting))
            return
        self._running = ticket = self._waiting.popleft()
        self._metrics.wait(len(self._waiting))
        self._thread.submit(self._run, self._engine, ticket)

    def _run(self, engine: Writer, ticket: Ticket) -> None:
        """On the engine's thread: one request from its first token to its end."""
        outcome: Done | Problem = Problem("internal", "the engine ended without an answer; see the daemon's log")
        chunks: list[Chunk] = []
        pushed = 0.0
        try:
            memory = self._memories.of(ticket.request.workspace) if self._memories is not None else None
            for event in write(engine, ticket.request, ticket.cancel, ticket.arrived, memory):
                if isinstance(event, Done):
                    outcome = event
                else:
                    chunks.append(event)
                    if (now := time.monotonic()) - pushed > GATHER or "\n" in event.text:
                        self._loop.call_soon_threadsafe(ticket.push, *chunks)
                        chunks, pushed = [], now
        except PromptError as error:
            outcome = Problem("bad_request", str(error))
        except ModelError as error:
            log.exception("the model failed")
            outcome = Problem("model", str(error))
        except Exception as error:  # the lane must go on for the others, whatever one request did
            log.exception("the engine failed")
            outcome = Problem("internal", f"the engine failed ({type(error).__name__}); see the daemon's log")
        self._loop.call_soon_threadsafe(self._ran, ticket, chunks, outcome)

    def _ran(self, ticket: Ticket, chunks: list[Chunk], outcome: Done | Problem) -> None:
        ticket.push(*chunks)
        self._running = None
        self._start_next()
        self._finish(ticket, outcome)

    def _finish(self, ticket: Ticket, outcome: Done | Problem) -> None:
        if ticket.timer is not None:
            ticket.timer.cancel()
        if self._newest.get(ticket.request.client) is ticket:
            del self._newest[ticket.request.client]
        self._metrics.finish(outcome)
        self._metrics.wait(len(self._waiting))
        ticket.push(outcome)


def _queued(ticket: Ticket) -> Usage:
    return Usage(queue_ms=(time.monotonic() - ticket.arrived) * 1000)
