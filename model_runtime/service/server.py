"""A bound socket and a way to open an engine in, a service that answers there until it is told to end out.

Ignores what is asked and answered, where the socket is and who may reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_runtime.backends import huge_pages
from model_runtime.service.engine_worker import Writer
from model_runtime.service.service import DRAIN_SECONDS, Identity, Service

TIDY = 60.0  # seconds after which memory that nobody uses is given back: it takes some milliseconds

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn that sleeps until it is told to end, where the original looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Stop accepting, let what runs finish, return from `serve`."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Wait for `end`."""
        await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`: the original's handlers count on being looked at ten times a second."""
        yield


async def serve(
    opener: Callable[[], Writer],
    listener: socket.socket,
    identity: Identity,
    *,
    idle_exit: float | None = None,
    ready: Callable[[], None] = lambda: None,
    server_of: Callable[[Service], Server] = lambda service: Server(configured(service.application())),
) -> None:
    """Serve until drained, signalled, or idle for `idle_exit` seconds.

    Listens while the engine still opens on its own thread; requests that come early wait for it.
    Calls `ready` once the engine is open. server_of: what listens. Raises what `opener` raises.
    """
    service = Service(identity)
    server = server_of(service)
    service.ended = server.end
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # no such thing off the main thread
            loop.add_signal_handler(number, service.end)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    opening = asyncio.create_task(service.worker.open(opener))
    idling = asyncio.create_task(_end_when_idle(service, idle_exit))
    tidying = asyncio.create_task(_tidy())
    try:
        await asyncio.wait((serving, opening), return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            if service.state == "loading":
                service.state = "ready"
            ready()
        await serving
    finally:
        service.end()
        idling.cancel()
        tidying.cancel()
        await asyncio.gather(serving, opening, return_exceptions=True)
        await service.worker.close()


async def _tidy() -> None:
    while True:
        await asyncio.sleep(TIDY)
        await asyncio.to_thread(huge_pages.give_back)


async def _end_when_idle(service: Service, seconds: float | None) -> None:
    if seconds is None:
        return
    while (left := service.touched + seconds - time.monotonic()) > 0 or service.worker.busy:
        await asyncio.sleep(left if left > 0 else 1.0)
    log.info("idle for %.0f s, ending", seconds)
    service.end()


class _Whole:
    """An application whose streams are held back for clients of HTTP/1.0, which know no chunks, and sent as a whole."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope.get("http_version") != "1.0":
            return await self._application(scope, receive, send)
        start: Message = {}
        body: list[bytes] = []

        async def hold(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                kept = [one for one in start.get("headers", ()) if one[0].lower() != b"content-length"]
                length = (b"content-length", b"%d" % sum(map(len, body)))
                await send({**start, "headers": [*kept, length]})
                await send({"type": "http.response.body", "body": b"".join(body)})

        await self._application(scope, receive, hold)


def configured(application: ASGIApp) -> uvicorn.Config:
    """How uvicorn is to serve an application: quietly, and without an end to connections that rest."""
    return uvicorn.Config(
        _Whole(application),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # whoever connects is who connects, whatever they say
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=DRAIN_SECONDS + 2,  # a client that does not read its answer holds nothing up
    )
