"""A server and a workspace in, a sample of each request of one sitting out: a person writes functions.

Draws on the seed for everything a person does differently each time. Ignores what the samples are worth.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.editor import Change, Editor, Mark
from benchmarks.lsp_client import Client, Reply
from benchmarks.samples import Sample
from benchmarks.typist import Typing
from benchmarks.workspace import Hole, Workspace, opened

TASTE = 0.6  # share of right suggestions that are taken
WORTH = 3  # characters that make one worth a key
REACTION = (0.25, 0.45)  # seconds to see that one is right
LANDING = (0.5, 1.8)  # seconds a person looks around after a jump
STRETCH = (1, 3)  # lines written before the next jump
PROBES = 120  # requests asked again at most
REMEMBERED = 10_000  # lines of a file whose text is kept to ask again


@dataclass
class Sitting:
    """One sitting: the server, the open files and a sample of each request."""

    client: Client
    root: Path
    rng: random.Random
    editors: dict[Path, Editor] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    replies: dict[int, tuple[Sample, Reply]] = field(default_factory=dict)
    timings: dict[int, dict[str, Any]] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    last: tuple[Sample, Reply] | None = None
    cold: bool = True
    keys: int = 0
    accepted: int = 0
    jumps: int = 0

    def open(self, path: Path, editor: Editor) -> None:
        """Shows a file to the server."""
        self.editors[path] = editor
        document = {"uri": path.as_uri(), "languageId": "python", "version": editor.version, "text": editor.text()}
        self.client.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, path: Path, change: Change) -> None:
        """Tells the server of one."""
        identifier = {"uri": path.as_uri(), "version": self.editors[path].version}
        self.client.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]})

    def ask(self, path: Path, typing: Typing, kind: str, since: float) -> None:
        """Requests a suggestion at the cursor; the one before is cut off. since: when the key was pressed."""
        self.cut_off(since)
        editor = self.editors[path]
        position = editor.position()
        reply = self.client.request(
            "textDocument/inlineCompletion",
            {"textDocument": {"uri": path.as_uri()}, "position": position, "context": {"triggerKind": 2}},
        )
        reply.sent = since
        sample = Sample(reply.id, since - self.began, kind, self.cold, bool(typing.rest_of_line.strip()))
        sample.state = (path, tuple(editor.lines) if len(editor.lines) < REMEMBERED else None, position)
        self.samples.append(sample)
        self.replies[reply.id] = (sample, reply)
        self.last = (sample, reply)

    def cut_off(self, now: float) -> None:
        """Notes that the last request's time is over."""
        if self.last is None:
            return
        sample, reply = self.last
        self.client.cancel(reply)
        sample.left_ms = (now - reply.sent) * 1000
        if reply.received is not None and reply.received <= now:
            self.cold = False

    async def pause(self, seconds: float, path: Path, typing: Typing) -> bool:
        """Waits for the next key's time. False when a suggestion came and was taken instead."""
        until = time.perf_counter() + seconds
        if self.last is not None:
            reply = self.last[1]
            await asyncio.wait({reply.done}, timeout=seconds)
            item = first_item(reply)
            if item is not None:
                taken = self._liked(item, path, typing)
                if taken is not None and self.rng.random() < TASTE:
                    await asyncio.sleep(self.rng.uniform(*REACTION))
                    self._accept(item, path, typing, taken)
                    return False
        await asyncio.sleep(max(0.0, until - time.perf_counter()))
        return True

    def _liked(self, item: dict[str, Any], path: Path, typing: Typing) -> tuple[int, int, int] | None:
        """Row and columns that a suggestion replaces, if it is what was to be typed and worth a key."""
        editor = self.editors[path]
        row, start, end = place(item, editor)
        length = typing.would_accept(editor, row, start, end, item["insertText"])
        return (row, start, end) if length is not None and length >= WORTH else None

    def _accept(self, item: dict[str, Any], path: Path, typing: Typing, place: tuple[int, int, int]) -> None:
        now = time.perf_counter()
        self.change(path, typing.accept(self.editors[path], *place, item["insertText"]))
        if command := item.get("command"):
            params = {"command": command["command"], "arguments": command.get("arguments", [])}
            self.client.request("workspace/executeCommand", params)
        self.accepted += 1
        self.ask(path, typing, "accepted", now)

    def hear(self, method: str, params: Any) -> None:
        """Keeps what the server says of a request's time."""
        if method == "lacuna/timing" and isinstance(params, dict):
            self.timings[params["id"]] = params


async def write(sitting: Sitting, workspace: Workspace, seconds: float) -> None:
    """Writes functions for so long, two at a time, jumping between them."""
    typings = _typings(sitting, workspace)
    active = [next(typings), next(typings)]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        hole, typing = active.pop(0)
        editor = sitting.editors[hole.path]
        editor.jump(typing.place, typing.pending)
        sitting.cold, sitting.jumps = True, sitting.jumps + 1
        sitting.ask(hole.path, typing, "landing", time.perf_counter())
        await sitting.pause(sitting.rng.uniform(*LANDING), hole.path, typing)
        await _stretch(sitting, hole.path, typing, sitting.rng.randint(*STRETCH), until)
        if typing.finished:
            following = next(typings, None)
            if following is None and not active:
                break
            active += [following] if following is not None else []
        else:
            active.append((hole, typing))
    sitting.cut_off(time.perf_counter())


async def _stretch(sitting: Sitting, path: Path, typing: Typing, lines: int, until: float) -> None:
    editor = sitting.editors[path]
    while lines > 0 and time.perf_counter() < until:
        key = typing.next_key(editor)
        if key is None:
            return
        if not await sitting.pause(key.pause, path, typing):
            continue
        now = time.perf_counter()
        change = typing.press(key, editor)
        sitting.keys += 1
        if change is not None:
            sitting.change(path, change)
        sitting.ask(path, typing, key.kind, now)
        lines -= key.kind == "enter"


def _typings(sitting: Sitting, workspace: Workspace) -> Iterator[tuple[Hole, Typing]]:
    """The functions to write; a file is opened when it is first needed."""
    used: dict[Path, list[Hole]] = {}
    for hole in workspace.holes:
        used.setdefault(hole.path, []).append(hole)
    marks: dict[int, Mark] = {}
    for hole in workspace.holes:
        if hole.path not in sitting.editors:
            editor, places = opened(hole.path, used[hole.path])
            marks.update({id(one): place for one, place in zip(used[hole.path], places, strict=True)})
            sitting.open(hole.path, editor)
        yield hole, Typing(hole.text, marks[id(hole)], sitting.rng)


async def probe(sitting: Sitting, patience: float = 3.0) -> None:
    """Asks again about texts whose request the next key cut off: would there have been something to show?"""
    unknown = [sample for sample in sitting.samples if sample.unknown and sample.state[1] is not None]
    for sample in random.Random(0).sample(unknown, k=min(PROBES, len(unknown))):
        path, lines, position = sample.state
        editor = sitting.editors[path]
        editor.version += 1
        sitting.change(path, {"text": "\n".join(lines)})
        params = {"textDocument": {"uri": path.as_uri()}, "position": position, "context": {"triggerKind": 2}}
        with contextlib.suppress(TimeoutError, RuntimeError):
            sample.probed = bool(_items(await sitting.client.ask("textDocument/inlineCompletion", params, patience)))


def _items(result: Any) -> list[dict[str, Any]]:
    items = result.get("items") if isinstance(result, dict) else result
    return [item for item in items or [] if item.get("insertText")]


def first_item(reply: Reply) -> dict[str, Any] | None:
    """What is shown of a reply: its first suggestion, if it has come and holds one."""
    return next(iter(_items(reply.result)), None)


def place(item: dict[str, Any], editor: Editor) -> tuple[int, int, int]:
    """Row and columns of what an item is put in place of."""
    covered = item.get("range")
    if covered is None:
        return editor.cursor.row, editor.cursor.column, editor.cursor.column
    row = covered["start"]["line"]
    if row != editor.cursor.row or covered["end"]["line"] != row:
        return row, 0, 0
    return row, editor.column(row, covered["start"]["character"]), editor.column(row, covered["end"]["character"])


def settle(sitting: Sitting) -> None:
    """Fills each sample in with its reply and the server's timing."""
    for sample, reply in sitting.replies.values():
        sample.latency_ms = reply.latency_ms
        sample.timing = sitting.timings.get(sample.id)
        sample.shown = not sample.superseded and first_item(reply) is not None
