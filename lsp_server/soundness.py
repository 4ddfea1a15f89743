"""A Suggestion and the Snapshot it is for in, as much of it as adds no error to the code out.

The tree of the code without it is made on a thread of its own, while the model writes; the text changes little of that.
No key waits for more work than a few milliseconds of it. What cannot be looked at in that time is not shown; in a
language without a grammar nothing is looked at.
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
from retrieval.languages import Language

BUDGET = 0.003  # seconds of work on a suggestion that an answer waits for
PARSING = 0.030  # seconds of work on the tree around it, done before the suggestion is there but after a jump
BUSY = 1.0  # seconds for that, on a machine that is busy with other things

HEAD_START = 0.004  # seconds for the request to the model, which goes first

NO_TIME = "there was no time to see whether it fits"

_HEAD = re.compile(r"(?:[:{(\[]|=>|\b(?:do|then|else|begin))$")

Parsed = asyncio.Task[Gap | None]


class Soundness:
    """The thread, and the newest tree. Use it on one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "syntax")
        self._tasks: set[Parsed] = set()
        self._newest: tuple[str, Gap | None] = ("", None)  # and the document it is of

    def begin(self, snapshot: Snapshot, *, at_once: bool = False) -> Parsed:
        """The code around the snapshot's cursor as a tree, which is made at once or when the model has been asked."""
        task = asyncio.create_task(self._parsed(snapshot, 0.0 if at_once else HEAD_START))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _parsed(self, snapshot: Snapshot, later: float) -> Gap | None:
        await asyncio.sleep(later)
        language, cursor = _language(snapshot), snapshot.cursor
        old = self._newest[1] if self._newest[0] == snapshot.uri else None
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, insertion.gap, snapshot.lines, cursor.line, cursor.column, language, PARSING, old
        )
        self._newest = (snapshot.uri, found)
        return found

    def forget(self, uri: str) -> None:
        """The document was closed."""
        if self._newest[0] == uri:
            self._newest = ("", None)

    async def sound(self, found: Suggestion, parsed: Parsed, snapshot: Snapshot) -> Suggestion | Nothing:
        """The suggestion, as much of it as adds no error; nothing when that is nothing."""
        if _language(snapshot).grammar is None:
            return found
        await asyncio.wait({parsed}, timeout=BUSY)
        if not parsed.done() or (gap := parsed.result()) is None:
            return Nothing(NO_TIME, found.whole)
        line, column = content(snapshot.lines[snapshot.cursor.line]), snapshot.cursor.column
        removed = line[column : column + found.replaces]
        text = _fitting(gap, found, removed, time.thread_time() + BUDGET)
        if text is None:
            return Nothing(NO_TIME, found.whole)
        if text == found.text:
            return found
        if not text.strip():
            return Nothing("it would break the code", found.whole)
        return replace(found, text=text, replaces=found.replaces if text.startswith(found.text) else 0)

    def close(self) -> None:
        """End the thread."""
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _language(snapshot: Snapshot) -> Language:
    return languages.named(snapshot.language) or languages.of(snapshot.path)


def _fitting(gap: Gap, found: Suggestion, removed: str, until: float) -> str | None:
    """The text, with the closers that it lacks, or cut; None when time is up."""

    first, several, _ = found.text.partition("\n")
    strict = not found.whole or bool(removed) or bool(several)

    def sound(text: str) -> int | None:
        return insertion.sound(gap, text, removed, until - time.thread_time(), strict=strict)

    length = sound(found.text)
    if length is None or length == len(found.text):
        return None if length is None else found.text
    if length == 0 and several and first.strip() and not removed:  # code that is broken anyway
        return _fitting(gap, replace(found, text=first), "", until)
    if removed:  # without what goes on behind the editor's closers, these stay
        closer = removed.lstrip()[:1]
        at = found.text.find(closer) if closer in lexis.QUOTES else lexis.first_closer(found.text)
        short = found.text[:at].rstrip()
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
