"""A Suggestion and the Snapshot it is for in, as much of it as adds no error to the code out.

The tree of the code without it is made by a process of its own, while the model writes; the text changes little of
that. No key waits for more work than a few milliseconds of it. What cannot be looked at in that time is not shown; in a
language without a grammar nothing is looked at.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lsp_server.editor import brackets
from lsp_server.editor.document import content
from lsp_server.editor.session import Snapshot
from lsp_server.shaping.suggestion import Nothing, Suggestion
from lsp_server.shaping.truncation import LOOSE
from retrieval import languages
from retrieval.languages import Language
from retrieval.process.syntax_process import SyntaxProcess
from retrieval.syntax import insertion

BUDGET = 0.003  # seconds of work on a suggestion that an answer waits for
PARSING = 0.030  # seconds of work on the tree around it, done before the suggestion is there but after a jump
BUSY = 1.0  # seconds for that, on a machine that is busy with other things

HEAD_START = 0.004  # seconds for the request to the model, which goes first

NO_TIME = "there was no time to see whether it fits"

_HEAD = re.compile(r"(?:[:{(\[]|=>|\b(?:do|then|else|begin))$")

Parsed = asyncio.Task[int | None]  # the number by which the process knows the place


class SyntaxCheck:
    """The process, and the thread that waits for it. Use it on one event loop."""

    def __init__(self) -> None:
        self._proofreader = SyntaxProcess()
        self._thread = ThreadPoolExecutor(1, "syntax")
        self._tasks: set[Parsed] = set()

    def start(self) -> None:
        """Start the process, before anything else is done here, so that the first suggestion finds it."""
        self._proofreader.start()

    def begin(self, snapshot: Snapshot, *, at_once: bool = False) -> Parsed:
        """The code around the snapshot's cursor as a tree, which is made at once or when the model has been asked."""
        task = asyncio.create_task(self._parsed(snapshot, 0.0 if at_once else HEAD_START))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _parsed(self, snapshot: Snapshot, later: float) -> int | None:
        await asyncio.sleep(later)
        if _language(snapshot).grammar is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._thread, _looked, self._proofreader, snapshot)

    async def sound(self, found: Suggestion, parsed: Parsed, snapshot: Snapshot) -> Suggestion | Nothing:
        """The suggestion, as much of it as adds no error; nothing when that is nothing."""
        if _language(snapshot).grammar is None:
            return found
        await asyncio.wait({parsed}, timeout=BUSY)
        if not parsed.done() or (number := parsed.result()) is None:
            return Nothing(NO_TIME, found.whole)
        line, column = content(snapshot.lines[snapshot.cursor.line]), snapshot.cursor.column
        removed = line[column : column + found.replaces]
        ask = _asking(self._proofreader, number, BUDGET)
        text = await asyncio.get_running_loop().run_in_executor(self._thread, _fitting, ask, found, removed)
        if text is None:
            return Nothing(NO_TIME, found.whole)
        if text == found.text:
            return found
        if not text.strip():
            return Nothing("it would break the code", found.whole)
        return replace(found, text=text, replaces=found.replaces if text.startswith(found.text) else 0)

    def close(self) -> None:
        """End the process and the thread."""
        for task in self._tasks:
            task.cancel()
        self._proofreader.kill()
        self._thread.shutdown(cancel_futures=True)
        self._proofreader.close()


Ask = Callable[[str, str, bool], int | None]  # a text, what it replaces, whether to be strict → its sound characters


def _looked(reader: SyntaxProcess, snapshot: Snapshot) -> int | None:
    language, cursor = _language(snapshot), snapshot.cursor
    sides = insertion.sides(snapshot.lines, cursor.line, cursor.column, language)
    return reader.look(snapshot.uri, sides, language, PARSING)


def _asking(reader: SyntaxProcess, number: int, seconds: float) -> Ask:
    """Asks about texts at a place, for so many seconds of work in all."""

    def ask(text: str, removed: str, strict: bool) -> int | None:
        nonlocal seconds
        verdict = reader.sound(number, text, removed, seconds, strict=strict)
        seconds -= verdict.spent
        return verdict.found

    return ask


def _language(snapshot: Snapshot) -> Language:
    first = snapshot.lines[0][:200] if snapshot.lines else ""
    return languages.resolve(snapshot.language, snapshot.path, first)


def _fitting(ask: Ask, found: Suggestion, removed: str) -> str | None:
    """The text, with the closers that it lacks, or cut; None when time is up."""
    first, several, _ = found.text.partition("\n")
    strict = not found.whole or bool(removed) or bool(several)

    def sound(text: str) -> int | None:
        return ask(text, removed, strict)

    length = sound(found.text)
    if length is None or length == len(found.text):
        return None if length is None else found.text
    if length == 0 and several and first.strip() and not removed:  # code that is broken anyway
        return _fitting(ask, replace(found, text=first), "")
    if removed:  # without what goes on behind the editor's closers, these stay
        closer = removed.lstrip()[:1]
        at = found.text.find(closer) if closer in brackets.QUOTES else brackets.first_closer(found.text)
        short = found.text[:at].rstrip()
        return _fitting(ask, replace(found, text=short, replaces=0), "") if short else ""
    missing = brackets.unclosed(found.text)
    if missing and found.whole and "\n" not in found.text and found.text[-1] not in LOOSE:
        closed = found.text + missing
        if sound(closed) == len(closed):
            return closed
    lines = found.text[:length].rstrip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _HEAD.search(lines[-1].rstrip())):
        lines.pop()
    return "\n".join(lines)
