"""An engine behind HTTP: protocol values in, newline-delimited JSON out, as an ASGI application.

Ignores what listens, who may reach it, and what the texts mean; never logs one. Whoever lets requests in names the
`Owner` of each in the ASGI scope; a request that belongs to no owner is refused.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from model_runtime import protocol
from model_runtime.errors import Overloaded
from model_runtime.owner import LOCAL, Owner
from model_runtime.protocol import (
    Answer,
    Chunk,
    Counts,
    Done,
    Fault,
    Health,
    InfillRequest,
    Learnt,
    Lesson,
    Problem,
    State,
    Texts,
)
from model_runtime.service import metrics
from model_runtime.service.engine_worker import EngineWorker
from model_runtime.service.request_handle import RequestHandle

DRAIN_SECONDS = 5  # what still runs this long after a drain began is cancelled
RETRY_AFTER = 1  # seconds: a queue is shorter by then, and a server that drains has made room for another
STATUS: dict[Fault, int] = {
    "bad_request": 400,
    "too_large": 413,
    "denied": 401,
    "overloaded": 429,
    "draining": 503,
    "model": 500,
    "internal": 500,
}

_decode_request = msgspec.json.Decoder(InfillRequest).decode
_decode_texts = msgspec.json.Decoder(Texts).decode
_decode_lesson = msgspec.json.Decoder(Lesson).decode
_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


@dataclass(frozen=True)
class Identity:
    """Who the service says it is. build: opaque here; model: the manifest's name."""

    build: str
    model: str


class Service:
    """One engine's HTTP face. Make it on the event loop's thread."""

    def __init__(self, identity: Identity) -> None:
        self.state: State = "loading"
        self.touched = time.monotonic()
        self.metrics = metrics.Metrics()
        self.worker = EngineWorker(self.metrics)
        self._identity = identity
        self.ended: Callable[[], None] = lambda: None  # told when no more requests are wanted

    def application(self) -> Starlette:
        """The routes of a socket that only its user reaches."""
        return Starlette(
            routes=[
                *self.routes(),
                Route("/count", self._answer_count, methods=["POST"]),
                Route("/drain", self._answer_drain, methods=["POST"]),
                Route("/metrics", self.answer_metrics),
            ],
            exception_handlers={405: _answer_other_method},
            middleware=[Middleware(_LocalUser)],
        )

    def routes(self) -> list[Route]:
        """The routes that a client needs.

        The ASGI scope's `owner` says whose request it is; without one the infill and the lesson are refused.
        `spent` says afterwards what an infill cost.
        """
        return [
            Route("/health", self._answer_health),
            Route("/infill", _Infill(self), methods=["POST"]),
            Route("/memory", self._answer_memory, methods=["POST"]),
        ]

    def health(self) -> Health:
        """Who answers, and how it is."""
        return Health(
            protocol=protocol.PROTOCOL,
            build=self._identity.build,
            model=self._identity.model,
            pid=os.getpid(),
            state=self.state,
            requests=self.metrics.taken,
        )

    def read(self, body: bytes, owner: Owner) -> InfillRequest | Problem:
        """The request in a body, as this owner may ask it; nobody's has no workspace."""
        request = _decoded(body, _decode_request, "an infill")
        if owner.is_local or isinstance(request, Problem):
            return request
        return msgspec.structs.replace(
            request,
            workspace="" if owner.is_nobody else request.workspace,
            priority="automatic" if request.priority == "hand" else request.priority,  # nobody goes before the others
        )

    def submit(self, request: InfillRequest, owner: Owner) -> RequestHandle | Problem:
        """The handle of a request, or why there is none."""
        if self.state == "draining":
            return Problem("draining", "this service is about to end; connect again")
        self.touched = time.monotonic()
        try:
            return self.worker.submit(request, owner)
        except Overloaded as error:
            return Problem("overloaded", str(error))

    @asynccontextmanager
    async def watched(self, handles: Sequence[RequestHandle], receive: Receive) -> AsyncIterator[None]:
        """While these handles are answered: whoever asked may go, and then the work ends too, as it does at the end."""

        def abandon() -> None:
            for handle in handles:
                self.worker.abandon(handle)

        async def abandon_when_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            abandon()

        watch = asyncio.create_task(abandon_when_gone())
        began = time.monotonic()
        try:
            yield
        finally:
            watch.cancel()
            abandon()
            self.touched = time.monotonic()
            self.metrics.answer(self.touched - began)

    def end(self) -> None:
        """Take no more requests; let what runs finish, within DRAIN_SECONDS."""
        if self.state != "draining":
            self.state = "draining"
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, self.worker.abandon_all)
            self.ended()

    async def _answer_health(self, _: Request) -> Response:
        return as_json(self.health())

    async def _answer_memory(self, request: Request) -> Response:
        owner = owner_of(request.scope)
        if isinstance(owner, Problem):
            return no(owner)
        lesson = await _read(request, _decode_lesson, "a lesson")
        if isinstance(lesson, Problem):
            return no(lesson)
        if owner.is_nobody:
            return as_json(Learnt(0))
        self.touched = time.monotonic()
        return as_json(Learnt(await self.worker.learn(lesson, owner)))

    async def _answer_count(self, request: Request) -> Response:
        asked = await _read(request, _decode_texts, "texts")
        if isinstance(asked, Problem):
            return no(asked)
        self.touched = time.monotonic()
        return as_json(Counts(await self.worker.count(asked.texts)))

    async def _answer_drain(self, _: Request) -> Response:
        self.end()
        return as_json(self.health())

    async def answer_metrics(self, _: Request) -> Response:
        """Prometheus text."""
        return Response(self.metrics.text(), media_type=metrics.CONTENT_TYPE)


class _Infill:
    """The one route worth its own ASGI code: it streams, and it must notice at once when the client goes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = await self._submitted(scope, receive)
        if isinstance(handle, Problem):
            return await no(handle)(scope, receive, send)
        async with self._service.watched((handle,), receive):
            await _stream(handle, scope, receive, send)

    async def _submitted(self, scope: Scope, receive: Receive) -> RequestHandle | Problem:
        owner = owner_of(scope)
        if isinstance(owner, Problem):
            return owner
        body = await read_body(receive)
        request = body if isinstance(body, Problem) else self._service.read(body, owner)
        return request if isinstance(request, Problem) else self._service.submit(request, owner)


class _LocalUser:
    """Names the socket's one user as the owner of every request; the socket's folder lets nobody else in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["owner"] = LOCAL
        await self._app(scope, receive, send)


async def _answer_other_method(_: Request, error: Exception) -> Response:
    answer = as_json(Answer(Problem("bad_request", "this path takes another method, see Allow")), 405)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


def owner_of(scope: Scope) -> Owner | Problem:
    """The owner whom the application in front of a route named; a Problem where it named none."""
    owner = scope.get("owner")
    return owner if isinstance(owner, Owner) else Problem("denied", "this route was given no owner; report this")


async def read_body(receive: Receive) -> bytes | Problem:
    """All of a request's body, or what is wrong with it."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Problem("bad_request", "the request was cut short")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > protocol.BODY_LIMIT:
            return Problem("too_large", f"a request has at most {protocol.BODY_LIMIT} bytes; send a smaller window")
        if not message.get("more_body", False):
            return b"".join(parts)


async def _read(request: Request, decode: Callable[[bytes], _T], what: str) -> _T | Problem:
    body = await read_body(request.receive)
    return body if isinstance(body, Problem) else _decoded(body, decode, what)


def _decoded(body: bytes, decode: Callable[[bytes], _T], what: str) -> _T | Problem:
    """The value in a body, or why it is none."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Problem("bad_request", f"the request is not {what}: {error}")


async def _stream(handle: RequestHandle, scope: Scope, receive: Receive, send: Send) -> None:
    started = False
    async for batch in handle.batches():
        if not started and isinstance(batch[0], Problem):
            return await no(batch[0])(scope, receive, send)
        if not started:
            headers = [(b"content-type", b"application/x-ndjson")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            started = True
        lines = [_encode(Answer(event) if isinstance(event, Problem) else event) for event in batch]
        body = b"\n".join([*lines, b""])
        if isinstance(batch[-1], Done):
            scope.setdefault("spent", []).append(batch[-1].usage)
        await send({"type": "http.response.body", "body": body, "more_body": isinstance(batch[-1], Chunk)})


def as_json(value: object, status: int = 200) -> Response:
    """The answer that is this value."""
    return Response(_encode(value), status, media_type="application/json")


def no(problem: Problem) -> Response:
    """The answer that says so. After a request that made no sense the connection ends: more of it may follow."""
    answer = as_json(Answer(problem), STATUS[problem.type])
    if problem.type in ("bad_request", "too_large"):
        answer.headers["connection"] = "close"
    if answer.status_code in (429, 503):
        answer.headers["retry-after"] = str(RETRY_AFTER)
    return answer
