"""Connections in from a listening socket, each handed to the HTTP server: no more than so many, none that dawdles.

Somebody who opens connections and says nothing holds up nobody: a stranger who has not asked for something they may
ask for within STRANGER_SECONDS is shown out, and when the house is full the stranger who came first makes room, or
else the guest who has rested longest. Ignores what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MOST = 2_000  # connections at once
STRANGER_SECONDS = 10.0
HEAD_BYTES = 16 * 1024  # of a request's line and headers
_BREATH = 0.05  # seconds to wait when the system has no descriptor left

STATE = "visit"  # under which a request's scope knows, in its state, whose visit it is part of


@dataclass(eq=False)
class Visit:
    """One connection. transport: None until the handshake is over; known: has asked for something it may ask for."""

    came: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    known: bool = False
    busy: int = 0
    rests_since: float = field(default_factory=time.monotonic)
    timer: asyncio.TimerHandle | None = None


class Door:
    """Accepts until closed. context: the certificate as it is now, asked for with each connection; None is plain."""

    def __init__(self, context: Callable[[], ssl.SSLContext | None] = lambda: None, most: int = MOST) -> None:
        self._context, self._most = context, most
        self._visits: dict[Visit, None] = {}  # a set in the order they came
        self._accepting: asyncio.Task[None] | None = None

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._visits)

    def accept(self, listener: socket.socket, config: uvicorn.Config, state: ServerState) -> None:
        """Begin to let connections in."""
        listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(listener, config, state))

    def close(self) -> None:
        """Let nobody in any more; who is inside may finish, who has not come in yet may not."""
        if self._accepting is not None:
            self._accepting.cancel()
        for visit in self._visits:
            if visit.transport is None and visit.came is not None:
                visit.came.cancel()

    async def wait_closed(self) -> None:
        """Nothing to wait for: the server waits for its connections itself."""

    @contextlib.contextmanager
    def welcome(self, visit: Visit) -> Iterator[None]:
        """Somebody asks for something they may ask for: they are not shown out while it lasts, nor at once after."""
        visit.known = True
        visit.busy += 1
        try:
            yield
        finally:
            visit.busy -= 1
            visit.rests_since = time.monotonic()

    def left(self, visit: Visit) -> None:
        """The connection is over."""
        self._visits.pop(visit, None)
        if visit.timer is not None:
            visit.timer.cancel()

    async def _accept(self, listener: socket.socket, config: uvicorn.Config, state: ServerState) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # no descriptor left, or the other side is gone already
                self._make_room(0)
                await asyncio.sleep(_BREATH)
                continue
            if not self._make_room(self._most - 1):
                connection.close()
                continue
            visit = Visit()
            self._visits[visit] = None
            visit.timer = loop.call_later(STRANGER_SECONDS, self._show_out_stranger, visit)
            visit.came = asyncio.create_task(self._let_in(connection, visit, config, state))

    async def _let_in(
        self, connection: socket.socket, visit: Visit, config: uvicorn.Config, state: ServerState
    ) -> None:
        """The handshake, which `_show_out` cancels when it takes too long."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Protocol(self, visit, config, state), connection, ssl=self._context()
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            connection.close()
            self.left(visit)

    def _make_room(self, most: int) -> bool:
        """Whether there are at most so many connections, once the least welcome was shown out if there were more."""
        if len(self._visits) <= most:
            return True
        stranger = next((visit for visit in self._visits if not visit.known), None)
        resting = (visit for visit in self._visits if visit.known and not visit.busy)
        least = stranger or min(resting, key=lambda visit: visit.rests_since, default=None)
        if least is not None:
            self._show_out(least)
        return least is not None

    def _show_out_stranger(self, visit: Visit) -> None:
        if not visit.known:
            self._show_out(visit)

    def _show_out(self, visit: Visit) -> None:
        self.left(visit)
        if visit.transport is not None:
            visit.transport.abort()
        elif visit.came is not None:
            visit.came.cancel()


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to how long a request's head may be."""

    def __init__(self, door: Door, visit: Visit, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config=config, server_state=state, app_state={STATE: visit})
        self._door, self._visit = door, visit
        self._in_head, self._head = True, 0

    def connection_made(self, transport: Any) -> None:
        """The handshake is over."""
        super().connection_made(transport)
        self._visit.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after a reset the original stays until it would have rested too long
        self._door.left(self._visit)

    def data_received(self, data: bytes) -> None:
        """Some bytes: those of a head are counted, for the parser keeps them all."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Its body follows."""
        self._in_head = False
        super().on_headers_complete()
