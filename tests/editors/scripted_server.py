"""A script of answers in, a language server on stdio out: real LSP, no model. `python scripted_server.py SCRIPT LOG`.

SCRIPT is JSON: {"encoding": "utf-8", "answers": [{"before": "return ", "items": [...], "delay": 0.0}]}. The first
answer whose `before` ends the text left of the cursor is given; an item's `take` = [n, m] becomes a range from n
characters left of the cursor to m right of it. LOG receives each message of the editor as a line of JSON.
Ignores everything else a language server does.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

WIDTH = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


class Server:
    """One editor's server: its documents as plain text, its script and its log."""

    def __init__(self, script: Path, log: Path) -> None:
        said = json.loads(script.read_text("utf-8"))
        self.answers = said["answers"]
        self.encoding = said.get("encoding", "utf-8")
        self.codec, self.unit = WIDTH[self.encoding]
        self.log = log.open("a", encoding="utf-8")
        self.documents: dict[str, str] = {}
        self.cancelled: set[object] = set()
        self.writing = threading.Lock()

    def run(self) -> None:
        while (message := _read()) is not None:
            self.log.write(json.dumps(message) + "\n")
            self.log.flush()
            handler = getattr(self, "on_" + message.get("method", "").replace("/", "_").lstrip("$_"), None)
            if handler is not None:
                handler(message)
            elif "id" in message and "method" in message:
                self.reply(message, None)
            if message.get("method") == "exit":
                return

    def reply(self, message: dict[str, Any], result: object) -> None:
        self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        with self.writing:
            sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            sys.stdout.buffer.flush()

    def on_initialize(self, message: dict[str, Any]) -> None:
        capabilities = {
            "positionEncoding": self.encoding,
            "textDocumentSync": {"openClose": True, "change": 2},
            "inlineCompletionProvider": {},
            "executeCommandProvider": {"commands": ["lacuna.accepted"]},
        }
        self.reply(message, {"capabilities": capabilities})

    def on_textDocument_didOpen(self, message: dict[str, Any]) -> None:
        document = message["params"]["textDocument"]
        self.documents[document["uri"]] = document["text"]

    def on_textDocument_didChange(self, message: dict[str, Any]) -> None:
        uri = message["params"]["textDocument"]["uri"]
        for change in message["params"]["contentChanges"]:
            text = self.documents[uri]
            if "range" in change:
                start = self.offset(text, change["range"]["start"])
                end = self.offset(text, change["range"]["end"])
                self.documents[uri] = text[:start] + change["text"] + text[end:]
            else:
                self.documents[uri] = change["text"]

    def on_cancelRequest(self, message: dict[str, Any]) -> None:
        self.cancelled.add(message["params"]["id"])

    def on_textDocument_inlineCompletion(self, message: dict[str, Any]) -> None:
        text = self.documents[message["params"]["textDocument"]["uri"]]
        position = message["params"]["position"]
        before = text[: self.offset(text, position)]
        for answer in self.answers:
            if before.endswith(answer["before"]):
                items = [self.item(item, before, text, position) for item in answer["items"]]
                threading.Timer(answer.get("delay", 0.0), self.answer, (message, items)).start()
                return
        self.reply(message, [])

    def answer(self, message: dict[str, Any], items: list[dict[str, Any]]) -> None:
        if message["id"] in self.cancelled:
            error = {"code": -32800, "message": "cancelled"}
            self.send({"jsonrpc": "2.0", "id": message["id"], "error": error})
        else:
            self.reply(message, items)

    def item(self, item: dict[str, Any], before: str, text: str, position: dict[str, int]) -> dict[str, Any]:
        left, right = item.get("take", (0, 0))
        line, after = before.rsplit("\n", 1)[-1], text[len(before) :]
        start = self.units(line[: len(line) - left])
        end = position["character"] + self.units(after[:right])
        covered = {
            "start": {"line": position["line"], "character": start},
            "end": {"line": position["line"], "character": end},
        }
        command = {"title": "", "command": "lacuna.accepted", "arguments": [item["insertText"]]}
        return {"insertText": item["insertText"], "range": covered, "command": command}

    def units(self, text: str) -> int:
        return len(text.encode(self.codec)) // self.unit

    def offset(self, text: str, position: dict[str, int]) -> int:
        lines = text.split("\n")
        row = min(position["line"], len(lines) - 1)
        raw = lines[row].encode(self.codec)[: position["character"] * self.unit]
        return sum(len(line) + 1 for line in lines[:row]) + len(raw.decode(self.codec, "ignore"))


def _read() -> dict[str, Any] | None:
    length = 0
    while (header := sys.stdin.buffer.readline().strip()) != b"":
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if length == 0:
        return None
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read(length))
    return message


if __name__ == "__main__":
    Server(Path(sys.argv[1]), Path(sys.argv[2])).run()
