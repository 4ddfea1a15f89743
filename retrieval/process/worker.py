"""The owner's end of an indexing process: start it, tell it of edits, ask it, end it.

Everything is asynchronous and cheap: no file is read and no code parsed on the caller's event
loop. A process that dies is started again at the next question, and told of the open buffers
again. Ignores how an index is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from retrieval import isolation
from retrieval.errors import WorkerError
from retrieval.process import messages
from retrieval.process.messages import Answer, Ask, Buffer, Failed, Progress, Recite, Seen, Texts, Touched
from retrieval.search.search import Query, Snippet

REST_SECONDS = 5.0  # a process that died is not started again sooner than this
END_SECONDS = 2.0  # a process whose pipe is closed and that has not ended by then is killed
_ENDED = (0, -9, -15)  # by itself, or by somebody who did not mean the file at hand
ANSWER_SECONDS = 10.0  # a question that takes longer has met a hung process: it is killed


def command(root: Path, directory: Path, watch: bool = False, after_failure: bool = False) -> list[str]:
    """The command line of a root's indexing process."""
    options = ["--root", str(root), "--directory", str(directory)]
    options += ["--watch"] * watch + ["--after-failure"] * after_failure
    return isolation.command("retrieval.process.indexer", *options)


class Worker:
    """One root's indexing process. Use from one event loop."""

    def __init__(
        self,
        root: Path,
        directory: Path,
        on_progress: Callable[[Progress], None] | None = None,
        on_texts: Callable[[Texts], None] | None = None,
        watch: bool = False,
        on_changed: Callable[[tuple[str, ...]], None] | None = None,
    ) -> None:
        """Starts nothing yet: the first `start`, `changed` or `ranked` does. `directory` holds the index on disk.

        on_texts: gets what `recite` asked for. watch: let the process look at the disk, for an owner
        who cannot tell it what was `touched`. on_changed: gets the paths that the process saw change by itself.
        """
        self._root, self._directory, self._watch = root, directory, watch
        self._on_progress = on_progress
        self._on_texts = on_texts
        self._on_changed = on_changed
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_alive = self._failed = False
        self._starting = asyncio.Lock()
        self._started = 0.0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._ids = itertools.count()
        self._buffers: dict[str, str] = {}
        self.progress = Progress(0, 1)
        self.failure: str | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self._is_alive else None

    async def start(self) -> None:
        """Starts the process if it does not run. Raises WorkerError when it cannot, or died moments ago."""
        async with self._starting:
            if self.pid is not None:
                return
            wait = self._started + REST_SECONDS - time.monotonic()
            if self._process is not None and wait > 0:
                raise WorkerError(self.failure or f"the indexing process ended; it starts again in {wait:.0f} s")
            await self._spawn()

    async def ranked(self, query: Query) -> Answer:
        """Ranked snippets for a cursor, best first. Ask one question at a time; the newest counts.

        Raises WorkerError when the process cannot answer.
        """
        await self.start()
        number = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(Ask(number, query))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            self._failed = True
            self._kill()
            raise WorkerError(f"the indexing process did not answer within {ANSWER_SECONDS:.0f} s") from None
        finally:
            self._waiting.pop(number, None)

    def changed(self, path: str, text: str | None) -> None:
        """An open buffer has this text now; None: it was closed and the disk speaks. Not for every key."""
        if text is None:
            self._buffers.pop(path, None)
        else:
            self._buffers[path] = text
        self._send(Buffer(path, text))

    def touched(self, paths: Iterable[str]) -> None:
        """These files, relative to the root, changed on disk."""
        self._send(Touched(tuple(paths)))

    def recite(self, paths: Iterable[str] | None = None) -> None:
        """Have the masked texts of these files told, None: of all, once everything is read."""
        self._send(Recite(None if paths is None else tuple(paths)))

    async def close(self) -> None:
        """Ends the process; it is killed if it does not end by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        await _end(process)
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def _spawn(self) -> None:
        self._started = time.monotonic()
        self.failure = None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command(self._root, self._directory, self._watch, self._failed),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise WorkerError(f"the indexing process cannot be started: {error}") from error
        self._is_alive, self._failed = True, False
        self._reader = asyncio.create_task(self._read(self._process))
        for path, text in self._buffers.items():
            self._send(Buffer(path, text))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                size = isolation.length(await process.stdout.readexactly(isolation.LENGTH))
                self._receive(messages.from_indexer(await process.stdout.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except WorkerError as error:
            self.failure = str(error)
            process.kill()
        await _end(process)
        if process is self._process:
            self._is_alive = False
            self._failed = self._failed or process.returncode not in _ENDED
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    WorkerError(self.failure or "the indexing process ended; it will be started again")
                )

    def _receive(self, message: messages.FromIndexer) -> None:
        if isinstance(message, Progress):
            self.progress = message
            if self._on_progress is not None:
                self._on_progress(message)
        elif isinstance(message, Texts):
            if self._on_texts is not None:
                self._on_texts(message)
        elif isinstance(message, Seen):
            if self._on_changed is not None:
                self._on_changed(message.paths)
        elif isinstance(message, Failed) and message.id is None:
            self.failure = message.message
        else:
            assert message.id is not None
            answer = self._waiting.get(message.id)
            if answer is None or answer.done():
                return
            if isinstance(message, Answer):
                answer.set_result(message)
            else:
                answer.set_exception(WorkerError(message.message))

    def _send(self, message: messages.ToIndexer) -> None:
        if self._process is not None and self._process.stdin is not None and self._is_alive:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(messages.frame(message))

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closes the process's stdin, on which it ends; kills it when it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


__all__ = ["Answer", "Progress", "Query", "Snippet", "Texts", "Worker"]
