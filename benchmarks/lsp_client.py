"""A command line in, an LSP session over its stdio out: requests, notifications and when each went and came.

Speaks the base protocol itself, so that nothing but the server stands between a key and its answer. Ignores
what the messages mean, but answers the questions a server asks of an editor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Message = dict[str, Any]
LIMIT = 1 << 26  # bytes of one message


@dataclass
class Reply:
    """A request on its way. Times in seconds of time.perf_counter."""

    id: int
    sent: float
    done: asyncio.Future[None]
    received: float | None = None
    result: Any = None
    error: Message | None = None

    @property
    def latency_ms(self) -> float | None:
        """From the request's last byte written to the reply's last byte read; None while there is no reply."""
        return None if self.received is None else (self.received - self.sent) * 1000


@dataclass
class Client:
    """A language server's other end. `notified` is called with method and params of each notification."""

    process: asyncio.subprocess.Process
    configuration: Mapping[str, object]
    notified: Callable[[str, Any], None]
    waiting: dict[int, Reply] = field(default_factory=dict)
    last_id: int = 0
    reader: asyncio.Task[None] | None = None

    def request(self, method: str, params: object) -> Reply:
        """Sends a request without waiting for its answer."""
        self.last_id += 1
        reply = Reply(self.last_id, 0.0, asyncio.get_running_loop().create_future())
        self.waiting[reply.id] = reply
        reply.sent = self._send({"id": reply.id, "method": method, "params": params})
        return reply

    async def ask(self, method: str, params: object, patience: float = 60.0) -> Any:
        """The result of a request. Raises TimeoutError after `patience` seconds and RuntimeError for an error."""
        reply = self.request(method, params)
        async with asyncio.timeout(patience):
            await reply.done
        if reply.error is not None:
            raise RuntimeError(f"{method}: {reply.error.get('message')}")
        return reply.result

    def notify(self, method: str, params: object) -> None:
        """Sends a notification."""
        self._send({"method": method, "params": params})

    def cancel(self, reply: Reply) -> None:
        """Tells the server that nobody waits for a reply any more."""
        if reply.received is None:
            self.notify("$/cancelRequest", {"id": reply.id})

    def _send(self, message: Message) -> float:
        body = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()
        pipe = self.process.stdin
        assert pipe is not None
        pipe.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return time.perf_counter()

    async def read(self) -> None:
        """Works off what the server says until it ends."""
        pipe = self.process.stdout
        assert pipe is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                header = await pipe.readuntil(b"\r\n\r\n")
                lines = dict(line.split(b":", 1) for line in header.strip().lower().split(b"\r\n"))
                body = await pipe.readexactly(int(lines[b"content-length"]))
                self._receive(json.loads(body), time.perf_counter())
        for reply in self.waiting.values():
            if not reply.done.done():
                reply.error = {"message": "the server ended"}
                reply.done.set_result(None)

    def _receive(self, message: Message, now: float) -> None:
        if "method" not in message:
            reply = self.waiting.pop(message["id"], None)
            if reply is not None and not reply.done.done():
                reply.received, reply.result, reply.error = now, message.get("result"), message.get("error")
                reply.done.set_result(None)
        elif "id" in message:
            self._send({"id": message["id"], "result": self._answer(message["method"], message.get("params"))})
        else:
            self.notified(message["method"], message.get("params"))

    def _answer(self, method: str, params: Any) -> object:
        if method == "workspace/configuration":
            return [self.configuration if item.get("section") == "lacuna" else None for item in params["items"]]
        return None


async def start(
    command: list[str],
    *,
    environment: Mapping[str, str],
    root: Path,
    options: Mapping[str, object],
    errors: Path,
    notified: Callable[[str, Any], None],
) -> Client:
    """An initialized session in the workspace `root`. `errors`: the file that the server's stderr goes to."""
    with errors.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=dict(environment),
            cwd=root,
            limit=LIMIT,
        )
    client = Client(process, options, notified)
    client.reader = asyncio.create_task(client.read())
    capabilities = {
        "general": {"positionEncodings": ["utf-16"]},
        "workspace": {"configuration": True, "workspaceFolders": True},
        "window": {"workDoneProgress": True},
        "textDocument": {"inlineCompletion": {}, "synchronization": {}},
    }
    folder = {"uri": root.as_uri(), "name": root.name}
    await client.ask(
        "initialize",
        {
            "processId": None,
            "rootUri": root.as_uri(),
            "workspaceFolders": [folder],
            "capabilities": capabilities,
            "initializationOptions": dict(options),
        },
    )
    client.notify("initialized", {})
    return client


async def stop(client: Client, patience: float = 10.0) -> None:
    """Shuts a server down as an editor does; kills it when it does not go."""
    with contextlib.suppress(Exception):
        await client.ask("shutdown", None, patience)
        client.notify("exit", None)
    try:
        async with asyncio.timeout(patience):
            await client.process.wait()
    except TimeoutError:
        client.process.kill()
        await client.process.wait()
    if client.reader is not None:
        await client.reader
