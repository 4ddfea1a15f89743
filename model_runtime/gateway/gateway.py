"""A service behind a port: who may ask is settled first, then what is asked, in whichever protocol it is.

    GET  /health                      {"status": "ok"}, to anybody
    GET  /ready                       200 once the model is loaded, 503 before and while it drains, to anybody
    GET  /v1/models, /v1/models/NAME  OpenAI's
    POST /v1/completions              OpenAI's, with `suffix` or a raw prompt
    POST /infill                      llama.cpp's
    *    /lacuna/…                    our own: /health, /infill and /memory of `service`
    GET  /metrics                     Prometheus text

Each request ends in one record for the audit, which holds no text of a user. Ignores where tokens, certificates and
records are kept.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from model_runtime.errors import Denied, Limited
from model_runtime.gateway import llama_cpp, openai
from model_runtime.gateway.auth import Access, Scope
from model_runtime.gateway.compat import CompatRequest, Unfit
from model_runtime.gateway.connection_limits import HEAD_BYTES, STATE, Connections
from model_runtime.gateway.responses import problem, refusal, streamed, whole
from model_runtime.manifest import Manifest
from model_runtime.owner import Owner, of_token
from model_runtime.protocol import Problem
from model_runtime.service import service
from model_runtime.service.request_handle import RequestHandle
from model_runtime.service.server import Server, configured
from model_runtime.service.service import RETRY_AFTER, Service

BODY_SECONDS = 20.0  # for a request's body to come
REQUEST_SECONDS = 150.0  # for all of a request; the longest deadline and some more
_OPEN_PATHS = ("/health", "/ready")

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, as the audit keeps it: who, what, how it ended. time: Unix; ms: from its head to its last byte.

    path: one of ours, or "other". prompt, written: tokens.
    """

    time: float
    peer: str
    method: str
    path: str
    status: int
    ms: float
    token: str = ""
    name: str = ""
    prompt: int = 0
    written: int = 0


@dataclass(frozen=True)
class Terms:
    """On which terms a port is served. context: see `Connections`; audit: takes each record."""

    access: Access
    context: Callable[[], ssl.SSLContext | None] = lambda: None
    audit: Callable[[Record], None] = lambda _: None


class Gateway:
    """The ASGI application of one port."""

    def __init__(self, behind: Service, manifest: Manifest, terms: Terms, connections: Connections) -> None:
        self._service, self._manifest, self._terms, self._connections = behind, manifest, terms, connections
        self._routes = Starlette(
            routes=[
                Route("/health", self._answer_health),
                Route("/ready", self._answer_ready),
                Route("/v1/models", self._answer_models),
                Route("/v1/models/{name:path}", self._answer_model),
                Route("/v1/completions", _Dialect(self, openai.read), methods=["POST"]),
                Route("/infill", _Dialect(self, llama_cpp.read), methods=["POST"]),
                Route("/metrics", behind.answer_metrics),
                Mount("/lacuna", routes=behind.routes()),
            ],
            exception_handlers={404: _answer_lost, 405: _answer_lost},
        )
        self._routes.router.redirect_slashes = False

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Settle who asks, have it answered, and record it."""
        began = time.monotonic()
        scope["spent"], scope["grant"], scope["status"] = [], None, 0

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["status"] = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, noting)
        finally:
            peer, spent, grant = scope["client"], scope["spent"], scope["grant"]
            self._terms.audit(
                Record(
                    time=round(time.time(), 3),
                    peer=peer[0] if peer else "",
                    method=scope["method"],
                    path=_recorded(scope["path"]),
                    status=scope["status"],
                    ms=round((time.monotonic() - began) * 1000, 1),
                    token="" if grant is None else grant.id,
                    name="" if grant is None else grant.name,
                    prompt=sum(usage.prompt_tokens for usage in spent),
                    written=sum(usage.generated for usage in spent),
                )
            )

    async def _answer(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES:
            return await refusal(path, 431, f"headers have at most {HEAD_BYTES} bytes here")(scope, receive, send)
        if path in _OPEN_PATHS:
            return await self._routes(scope, receive, send)
        try:
            given = next((value.decode("latin-1") for name, value in headers if name == b"authorization"), None)
            scope["grant"] = grant = self._terms.access.identify(given)
            wanted: Scope = "metrics" if path == "/metrics" else "complete"
            with self._terms.access.admit(grant, wanted), self._connections.admit(scope["state"][STATE]):
                scope["owner"] = of_token(grant.id)
                async with asyncio.timeout(REQUEST_SECONDS):
                    await self._routes(scope, _timely(receive), send)
        except Denied as error:
            await refusal(path, 403 if error.forbidden else 401, str(error))(scope, receive, send)
        except Limited as error:
            await refusal(path, 429, str(error), after=error.after)(scope, receive, send)
        except TimeoutError:
            log.warning("a request took longer than %.0f s", REQUEST_SECONDS)
            if not scope["status"]:  # else what was not sent by now nobody waits for, and the connection ends
                await refusal(path, 503, "this took too long; try again", after=RETRY_AFTER)(scope, receive, send)

    async def answer(self, request: CompatRequest, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Have it written, as one answer or as a stream of events."""
        handles: list[RequestHandle] = []
        owner: Owner = scope["owner"]
        for infill in request.infills:
            client = "" if owner.is_nobody else uuid.uuid4().hex  # supersedes nothing, and takes the owner's turn
            handle = self._service.submit(msgspec.structs.replace(infill, client=client), owner)
            if isinstance(handle, Problem):
                for other in handles:
                    self._service.worker.abandon(other)
                await problem(scope["path"], handle)(scope, receive, send)
                return
            handles.append(handle)
        async with self._service.watched(handles, receive):
            choices = await (streamed if request.stream else whole)(handles, request.reply, scope, receive, send)
        scope["spent"] += [done.usage for _, done in choices]

    @property
    def manifest(self) -> Manifest:
        """The model's description."""
        return self._manifest

    async def _answer_health(self, _: Request) -> Response:
        return service.as_json({"status": "ok"})

    async def _answer_ready(self, _: Request) -> Response:
        state = self._service.state
        return service.as_json({"status": state}, 200 if state == "ready" else 503)

    async def _answer_models(self, _: Request) -> Response:
        return service.as_json(openai.models(self._manifest))

    async def _answer_model(self, request: Request) -> Response:
        try:
            openai.require_model(request.path_params["name"], self._manifest)
        except Unfit as error:
            return refusal("/v1", 404, str(error), param="model")
        return service.as_json(openai.model(self._manifest))


class _Dialect:
    """One path of another protocol."""

    def __init__(self, gateway: Gateway, read: Callable[[bytes, Manifest], CompatRequest]) -> None:
        self._gateway, self._read = gateway, read

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        body = await service.read_body(receive)
        if isinstance(body, Problem):
            return await problem(scope["path"], body)(scope, receive, send)
        try:
            request = self._read(body, self._gateway.manifest)
        except Unfit as error:
            answer = refusal(scope["path"], 404 if error.missing else 400, str(error), param=error.param)
            return await answer(scope, receive, send)
        await self._gateway.answer(request, scope, receive, send)


async def _answer_lost(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    if status == 405:
        answer = refusal(request.url.path, 405, "this path takes another method; see docs/server.md")
        answer.headers.update(getattr(error, "headers", None) or {})  # which ones it takes
        return answer
    return refusal(request.url.path, 404, "there is no such path here; see docs/server.md")


def _timely(receive: Receive) -> Receive:
    """The same, but a body that does not come in time is as good as cut short."""
    until = time.monotonic() + BODY_SECONDS
    whole = False

    async def timed() -> Message:
        nonlocal whole
        if whole:  # what is waited for now is that the client goes
            return await receive()
        try:
            async with asyncio.timeout(until - time.monotonic()):
                message = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    return timed


_PATHS = frozenset({*_OPEN_PATHS, "/v1/models", "/v1/completions", "/infill", "/metrics"})


def _recorded(path: str) -> str:
    """A path for the audit: one of ours, for what a stranger asked for may be anything."""
    ours = path in _PATHS or path in {"/lacuna/health", "/lacuna/infill", "/lacuna/memory"}
    return path if ours else "other"


class _PortServer(Server):
    """A server whose connections are bounded and timed."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections."""
        assert sockets is not None
        for listener in sockets:
            self._connections.accept(listener, self.config, self.server_state)
        self.servers = [self._connections]  # type: ignore[list-item]  # closes and waits as theirs do
        self.started = True


def server(behind: Service, manifest: Manifest, terms: Terms) -> Server:
    """What listens on a port for this service."""
    connections = Connections(terms.context)
    behind.metrics.watch_connections(lambda: connections.open)
    return _PortServer(configured(Gateway(behind, manifest, terms, connections)), connections)
