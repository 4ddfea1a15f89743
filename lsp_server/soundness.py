"""A Suggestion and the Snapshot it is for in, as much of it as adds no error to the code out.

The tree of the code without it is made on a thread of its own, while the model writes; the text changes little of that.
No key waits for it: what is not known in time counts as sound, as does a text in a language without a grammar.
"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lsp_server import lexis
from lsp_server.document import content
from lsp_server.extent import LOOSE
from lsp_server.session import Snapshot
from lsp_server.suggestion import Nothing, Suggestion
from retrieval import insertion, languages
from retrieval.insertion import Gap

BUDGET = 0.003  # seconds that an answer may wait for the tree, and then of work on it

HEAD_START = 0.004  # seconds for the request to the model, which goes first

_HEAD = re.compile(r"(?:[:{(\[]|=>|\b(?:do|then|else|begin))$")

Parsed = asyncio.Task[Gap | None]


class Soundness:
    """The thread. Use it on one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "syntax")
        self._tasks: set[Parsed] = set()

    def begin(self, snapshot: Snapshot, *, at_once: bool = False) -> Parsed:
        """The code around the snapshot's cursor as a tree, which is made at once or when the model has been asked."""
        task = asyncio.create_task(self._parsed(snapshot, 0.0 if at_once else HEAD_START))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _parsed(self, snapshot: Snapshot, later: float) -> Gap | None:
        await asyncio.sleep(later)
        language = languages.named(snapshot.language) or languages.of(snapshot.path)
        cursor = snapshot.cursor
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, insertion.gap, snapshot.lines, cursor.line, cursor.column, language
        )

    async def sound(self, found: Suggestion, parsed: Parsed, snapshot: Snapshot) -> Suggestion | Nothing:
        """The suggestion, as much of it as adds no error; nothing when that is nothing."""
        await asyncio.wait({parsed}, timeout=BUDGET)
        if not parsed.done() or (gap := parsed.result()) is None:
            return found
        line, column = content(snapshot.lines[snapshot.cursor.line]), snapshot.cursor.column
        removed = line[column : column + found.replaces]
        text = _fitting(gap, found, removed, time.thread_time() + BUDGET)
        if text is None or text == found.text:
            return found
        if not text.strip():
            return Nothing("it would break the code", found.whole)
        return replace(found, text=text, replaces=found.replaces if text.startswith(found.text) else 0)

    def close(self) -> None:
        """End the thread."""
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _fitting(gap: Gap, found: Suggestion, removed: str, until: float) -> str | None:
    """The text, with the closers that it lacks, or cut; None when time is up."""

    def sound(text: str) -> int | None:
        return insertion.sound(gap, text, removed, until - time.thread_time(), strict=not found.whole or bool(removed))

    length = sound(found.text)
    if length is None or length == len(found.text):
        return None if length is None else found.text
    if removed:  # without what goes on behind the editor's closers, these stay
        short = found.text[: lexis.first_closer(found.text)].rstrip()
        return _fitting(gap, replace(found, text=short, replaces=0), "", until) if short else ""
    missing = lexis.unclosed(found.text)
    if missing and found.whole and "\n" not in found.text and found.text[-1] not in LOOSE:
        closed = found.text + missing
        if sound(closed) == len(closed):
            return closed
    lines = found.text[:length].rstrip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _HEAD.search(lines[-1].rstrip())):
        lines.pop()
    return "\n".join(lines)
