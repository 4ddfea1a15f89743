"""The two sides of a cursor and texts that may be put between in, how much of each is sound out: by a process.

A grammar may look at its time limit once in minutes, or crash, on a file that is odd enough (a few thousand times the
same bracket or quote), and would take an editor's language server with it. So it runs in a process which ends itself
when a piece of work takes too long; the document at hand is then left alone for a while, and the next question starts
another. Ignores what the texts are and what is made of them.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import IO

import msgspec

from retrieval import isolation, languages
from retrieval.languages import Language
from retrieval.syntax import insertion
from retrieval.syntax.insertion import InsertionPoint, Sides

LIMIT = 0.25  # seconds of the processor for one message, after which the process ends itself
REST = 10.0  # seconds that a document is left alone over which it did, or died
KEPT = 4  # gaps that the process remembers, of which a suggestion may still be on its way


class Look(msgspec.Struct, frozen=True, tag=True):
    """What stands around a cursor of a document. Answered by the number of errors in it, None without time to tell."""

    number: int
    document: str
    language: str
    sides: Sides
    seconds: float


class Try(msgspec.Struct, frozen=True, tag=True):
    """A text to be put there. Answered by how many of its characters may be, None without time to tell."""

    number: int
    text: str
    removed: str
    seconds: float
    strict: bool


@dataclass(frozen=True)
class Verdict:
    """The answer, and the seconds of the processor that it took."""

    found: int | None
    spent: float


class SyntaxProcess:
    """The owner's end. Each call waits for the process, so use it on one thread; `kill` may come from any."""

    def __init__(self) -> None:
        """Starts nothing yet: `start` or the first `look` does."""
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._document = ""
        self._resting: dict[str, float] = {}

    def start(self) -> None:
        """Start the process if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        with contextlib.suppress(OSError):  # then nothing is looked at
            self._process = subprocess.Popen(
                isolation.command("retrieval.process.syntax_process"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def look(self, document: str, sides: Sides, language: Language, seconds: float) -> int | None:
        """The number by which to ask about the place between the sides; None when it cannot be looked at.

        seconds: for parsing, of the processor.
        """
        if self._resting.get(document, 0.0) > time.monotonic():
            return None
        self.start()
        self._document = document
        number = next(self._numbers)
        return None if self._ask(Look(number, document, language.name, sides, seconds)).found is None else number

    def sound(self, number: int, text: str, removed: str, seconds: float, *, strict: bool) -> Verdict:
        """What `insertion.sound` says of a text at the place of this number."""
        return self._ask(Try(number, _utf8(text), _utf8(removed), seconds, strict))

    def kill(self) -> None:
        """End the process at once; whoever waits for it has no answer."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """The same, and give back what it held."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, message: Look | Try) -> Verdict:
        process = self._process
        if process is None:
            return Verdict(None, 0.0)
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError, EOFError):
            _write(process.stdin, msgspec.msgpack.encode(message))
            return msgspec.msgpack.decode(isolation.received(process.stdout), type=Verdict)
        self.close()
        self._resting[self._document] = time.monotonic() + REST
        return Verdict(None, 0.0)


def main() -> int:
    """The process's entry."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(*isolation.own_pipes())
    return 0


def _serve(inbox: IO[bytes], out: IO[bytes]) -> None:
    """Answers messages until there are no more."""
    insertion_points: dict[int, InsertionPoint | None] = {}
    document: str | None = None
    newest: InsertionPoint | None = None
    while True:
        message = msgspec.msgpack.decode(isolation.received(inbox), type=Look | Try)
        _allow(LIMIT)
        began = time.thread_time()
        found = None
        if isinstance(message, Look):
            old = newest if message.document == document else None
            language = languages.LANGUAGES[message.language]
            document, newest = (
                message.document,
                insertion.insertion_point(message.sides, language, message.seconds, old),
            )
            insertion_points[message.number] = newest
            insertion_points.pop(message.number - KEPT, None)
            found = None if newest is None else newest.errors
        elif (insertion_point := insertion_points.get(message.number)) is not None:
            found = insertion.sound(
                insertion_point, message.text, message.removed, message.seconds, strict=message.strict
            )
        _allow(0.0)
        _write(out, msgspec.msgpack.encode(Verdict(found, time.thread_time() - began)))


def _allow(seconds: float) -> None:
    """So much of the processor until the system ends this process; 0: as much as it wants."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _write(out: IO[bytes], body: bytes) -> None:
    out.write(isolation.framed(body))
    out.flush()


def _utf8(text: str) -> str:
    """The text without half characters, each of which is one still."""
    return text.encode("utf-8", errors="replace").decode()
