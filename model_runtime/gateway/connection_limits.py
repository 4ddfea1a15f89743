"""Connections in from a listening socket, each handed to the HTTP server: no more than so many, none that dawdles.

Somebody who opens connections and says nothing holds up nobody: a stranger who has not asked for something they may
ask for within STRANGER_SECONDS is cut off, and when there are too many the stranger who came first is cut off,
or else the known client that has rested longest. Ignores what is asked.
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

STATE = "connection"  # under which a request's scope knows, in its state, whose connection it is part of


@dataclass(eq=False)
class Connection:
    """One connection. transport: None until the handshake is over; known: has asked for something it may ask for."""

    handshake: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    known: bool = False
    busy: int = 0
    rests_since: float = field(default_factory=time.monotonic)
    timer: asyncio.TimerHandle | None = None


class Connections:
    """Accepts until closed. context: the certificate as it is now, asked for with each connection; None is plain."""

    def __init__(self, context: Callable[[], ssl.SSLContext | None] = lambda: None, most: int = MOST) -> None:
        self._context, self._most = context, most
        self._connections: dict[Connection, None] = {}  # a set in the order they came
        self._accepting: asyncio.Task[None] | None = None

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._connections)

    def accept(self, listener: socket.socket, config: uvicorn.Config, state: ServerState) -> None:
        """Begin to let connections in."""
        listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(listener, config, state))

    def close(self) -> None:
        """Takes no more; open connections may finish, handshakes may not."""
        if self._accepting is not None:
            self._accepting.cancel()
        for connection in self._connections:
            if connection.transport is None and connection.handshake is not None:
                connection.handshake.cancel()

    async def wait_closed(self) -> None:
        """Nothing to wait for: the server waits for its connections itself."""

    @contextlib.contextmanager
    def admit(self, connection: Connection) -> Iterator[None]:
        """Somebody asks for something they may ask for: they are not cut off while it lasts, nor at once after."""
        connection.known = True
        connection.busy += 1
        try:
            yield
        finally:
            connection.busy -= 1
            connection.rests_since = time.monotonic()

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self._connections.pop(connection, None)
        if connection.timer is not None:
            connection.timer.cancel()

    async def _accept(self, listener: socket.socket, config: uvicorn.Config, state: ServerState) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError:  # no descriptor left, or the other side is gone already
                self._make_room(0)
                await asyncio.sleep(_BREATH)
                continue
            if not self._make_room(self._most - 1):
                accepted.close()
                continue
            connection = Connection()
            self._connections[connection] = None
            connection.timer = loop.call_later(STRANGER_SECONDS, self._close_unknown, connection)
            connection.handshake = asyncio.create_task(self._handshake(accepted, connection, config, state))

    async def _handshake(
        self, accepted: socket.socket, connection: Connection, config: uvicorn.Config, state: ServerState
    ) -> None:
        """The handshake, which `_close` cancels when it takes too long."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Protocol(self, connection, config, state), accepted, ssl=self._context()
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            accepted.close()
            self.forget(connection)

    def _make_room(self, most: int) -> bool:
        """Whether there are at most so many connections, once the least wanted was cut off if there were more."""
        if len(self._connections) <= most:
            return True
        stranger = next((connection for connection in self._connections if not connection.known), None)
        resting = (connection for connection in self._connections if connection.known and not connection.busy)
        least = stranger or min(resting, key=lambda connection: connection.rests_since, default=None)
        if least is not None:
            self._close(least)
        return least is not None

    def _close_unknown(self, connection: Connection) -> None:
        if not connection.known:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self.forget(connection)
        if connection.transport is not None:
            connection.transport.abort()
        elif connection.handshake is not None:
            connection.handshake.cancel()


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to how long a request's head may be."""

    def __init__(
        self, connections: Connections, connection: Connection, config: uvicorn.Config, state: ServerState
    ) -> None:
        super().__init__(config=config, server_state=state, app_state={STATE: connection})
        self._connections, self._connection = connections, connection
        self._in_head, self._head = True, 0

    def connection_made(self, transport: Any) -> None:
        """The handshake is over."""
        super().connection_made(transport)
        self._connection.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after a reset the original stays until it would have rested too long
        self._connections.forget(self._connection)

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
