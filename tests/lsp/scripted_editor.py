"""An editor in, its messages to and from the real server process out: raw JSON-RPC, so that wrong ones can be sent."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lsp_server.rpc.transport import messages

SERVE = Path(__file__).with_name("serve.py")
URI = "file:///project/package/module.py"
PATIENCE = 15.0  # seconds for anything that must come; nothing here measures time
GHOSTS: dict[str, Any] = {"textDocument": {"inlineCompletion": {}}, "workspace": {"configuration": False}}


def framed(message: object) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class Editor:
    """The client of one server. `answers` and `script` are as serve.py has them."""

    def __init__(
        self,
        folder: Path,
        *answers: dict[str, Any],
        env: dict[str, str] | None = None,
        command: list[str] | None = None,
        **script: Any,
    ) -> None:
        self.log = folder / "service.log"
        told = folder / "script.json"
        told.write_text(json.dumps({"answers": answers, **script}), "utf-8")
        self.process = subprocess.Popen(
            command or [sys.executable, str(SERVE), str(told), str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )
        self.received: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.errors = b""
        self.configuration: Any = None
        self.version = 1
        self._id = 0
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    # Speaking

    def send(self, *sent: object) -> None:
        """Whole messages, or bytes as the body of one, in one write."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(map(framed, sent)))
        self.process.stdin.flush()

    def notify(self, method: str, params: object) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: object) -> int:
        """Sends a request and returns its id."""
        self._id += 1
        self.send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        return self._id

    def reply(self, identifier: int) -> dict[str, Any]:
        """The answer to a request."""
        return self.wait(lambda message: message.get("id") == identifier and "method" not in message)

    def call(self, method: str, params: object) -> Any:
        """The result of a request; an error fails the test."""
        answer = self.reply(self.request(method, params))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message, of those that came or are to come, that is wanted; it is taken out."""
        until = time.monotonic() + PATIENCE
        while True:
            for at, message in enumerate(self.seen):
                if wanted(message):
                    return self.seen.pop(at)
            try:
                message_or_end = self.received.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing came but {self.seen}; stderr: {self.errors!r}") from None
            assert message_or_end is not None, f"the server left; it said {self.seen}; stderr: {self.errors!r}"
            if message_or_end.get("method") == "workspace/configuration":
                self.send({"jsonrpc": "2.0", "id": message_or_end["id"], "result": [self.configuration]})
            self.seen.append(message_or_end)

    def told(self, method: str) -> dict[str, Any]:
        """The params of the next notification of this method."""
        params: dict[str, Any] = self.wait(lambda message: message.get("method") == method)["params"]
        return params

    # A session

    def start(
        self,
        options: object = None,
        capabilities: dict[str, Any] | None = None,
        encodings: list[str] | None = None,
        folder: str = "file:///project",
    ) -> dict[str, Any]:
        """initialize and initialized. Returns the server's capabilities."""
        able = dict(GHOSTS if capabilities is None else capabilities)
        if encodings is not None:
            able["general"] = {"positionEncodings": encodings}
        params = {
            "processId": None,
            "rootUri": None,
            "workspaceFolders": [{"uri": folder, "name": "project"}],
            "capabilities": able,
            "initializationOptions": options,
        }
        result: dict[str, Any] = self.call("initialize", params)
        self.notify("initialized", {})
        found: dict[str, Any] = result["capabilities"]
        return found

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, line: int, character: int, text: str, *, uri: str = URI, removed: int = 0) -> None:
        """An edit on one line, `removed` code units to the right of the place."""
        self.version += 1
        start, end = {"line": line, "character": character}, {"line": line, "character": character + removed}
        changes = [{"range": {"start": start, "end": end}, "text": text}]
        self.notify(
            "textDocument/didChange", {"textDocument": {"uri": uri, "version": self.version}, "contentChanges": changes}
        )

    def ask(self, line: int, character: int, *, kind: int = 2, uri: str = URI) -> int:
        """Requests ghost text and returns the request's id."""
        return self.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": uri},
                "position": {"line": line, "character": character},
                "context": {"triggerKind": kind},
            },
        )

    def ghost(self, line: int, character: int, *, kind: int = 2, uri: str = URI) -> str | None:
        """The ghost text at a place."""
        items = self.reply(self.ask(line, character, kind=kind, uri=uri))["result"]
        return items[0]["insertText"] if items else None

    def leave(self) -> int:
        """shutdown and exit. Returns the exit code."""
        self.call("shutdown", None)
        self.notify("exit", None)
        return self.process.wait(PATIENCE)

    def asked(self, what: str = "infill") -> list[dict[str, Any]]:
        """What the service was asked so far, prefills left out."""
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if one["what"] == what and one.get("max_tokens") != 0]

    def until(self, true: Callable[[], bool]) -> None:
        """Returns when it holds."""
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit, "it never came about"
            time.sleep(0.01)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for body in messages(lambda size: self.process.stdout.read1(size)):  # type: ignore[union-attr]
            self.received.put(json.loads(body))
        self.received.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while piece := self.process.stderr.read1(1 << 16):  # type: ignore[attr-defined]
            self.errors += piece
