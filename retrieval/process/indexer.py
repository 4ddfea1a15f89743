"""The indexing process: messages on stdin, answers on stdout, a store on disk.

Reads the root file by file at low priority, one writer for each workspace (the others read what
it commits), and answers queries between two files. Ends when its stdin ends, at any moment it may
be killed: the store's transactions keep it whole. Ignores editors and models.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from retrieval import isolation, lock
from retrieval.errors import RetrievalError, StoreError
from retrieval.index import masked_texts, store, vectors, workspace
from retrieval.index.index import (
    DATABASE,
    LOCK,
    Index,
    files_of,
    over,
    pass_over,
    refreshing,
    with_buffer,
    without_buffer,
)
from retrieval.index.vectors import Neighbours
from retrieval.process import messages
from retrieval.process.messages import Answer, Ask, Buffer, Failed, Progress, Recite, Seen, Texts, Touched
from retrieval.search import search

COMMIT_SECONDS = 0.5  # work that a kill may lose
PROGRESS_SECONDS = 0.2
RETRY_SECONDS = 2.0  # how often a reader tries to become the writer
RECITED = 200_000  # characters of texts in one message
MEND_SECONDS = 60.0  # a database that fails twice within this time is kept in memory
CATCH_UP_SECONDS = 0.05  # before a question is answered, for the files that are known to have changed
CATCH_UP_FILES = 32  # of more than these at once the question does not wait for any
GRACE_SECONDS = 3.0  # after the end of stdin, for the file at hand


class Indexer:
    """One root's index and the work that is still to do on it."""

    def __init__(self, root: Path, directory: Path, out: BinaryIO, after_failure: bool = False) -> None:
        """after_failure: the process before this one crashed or hung. Raises WorkspaceError, StoreError."""
        self._root = workspace.check_root(root)
        self._directory = directory
        self._out = out
        self._is_alone = False  # nothing can be kept on disk: what is read is in memory, for this process only
        self._lock: int | None = None
        self._index = self._begun()
        self._work: Iterator[tuple[int, int]] | None = None
        self._learning: Iterator[Neighbours] | None = None
        self._touched: set[str] = set()
        self._reading: set[str] = set()  # those touched that are being read
        self._texts: dict[str, str] = {}  # of open buffers
        self._ahead: set[str] = set()  # files that a reader has read before the writer
        self._recital: Iterator[tuple[str, str]] | None = None
        self._committed = self._reported = self._tried = self._mended = 0.0
        if self.is_writing:
            if after_failure and not self._is_alone:
                pass_over(self._index, directory)
                self._index.store.commit()
            self._work = self._refreshing()
        self._remember()

    @property
    def is_working(self) -> bool:
        """Whether there are files to read."""
        return self._work is not None or bool(self._touched)

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do."""
        return self.is_working or self._learning is not None or self._recital is not None

    @property
    def is_writing(self) -> bool:
        """Whether this process is the workspace's writer."""
        return self._lock is not None or self._is_alone

    def handle(self, message: messages.ToIndexer) -> None:
        """One message from the owner."""
        if isinstance(message, Ask):
            self._catch_up()
            self._answer(message)
        elif isinstance(message, Buffer):
            self._edit(message)
        elif isinstance(message, Recite):
            self._recital = itertools.chain(self._recital or (), masked_texts.texts(self._root, message.paths))
        elif message.paths:
            self._touched.update(message.paths)
            if message.seen:
                self.send(Seen(message.paths))
        elif self.is_writing:
            self._work = self._refreshing()

    def _edit(self, message: Buffer) -> None:
        """A buffer was opened, changed or closed."""
        path, text = message.path, message.text
        self._ahead.discard(path)
        if text is None:
            was_saved = self._texts.pop(path, None) == workspace.read(self._root, path)
            self._index = without_buffer(self._index, path, was_saved)
            return
        before = self._texts.get(path) or workspace.read(self._root, path)
        self._index = with_buffer(self._index, path, text, before)
        self._texts[path] = text

    def step(self) -> None:
        """A little of what is to do: files first, then their vectors, then the recital."""
        if not self.is_writing:
            self._read_ahead()
        if self.is_working:
            self._read()
        elif self._learning is not None:
            self._learn(self._learning)
        elif self._recital is not None:
            self._recite(self._recital)

    def _catch_up(self) -> None:
        """Reads files that are known to have changed, so that an answer does not show what they said before."""
        changed = self._touched | self._reading
        if not changed or len(changed) > CATCH_UP_FILES:
            return
        if not self.is_writing:
            return self._read_ahead()
        paths = files_of(self._index.root, sorted(changed), self._index.store.stamps())
        if paths is None:
            return  # rules or whole folders
        until = time.monotonic() + CATCH_UP_SECONDS
        for _ in self._refreshing(paths):
            if time.monotonic() > until:
                return
        self._touched.clear()
        self._index.store.commit()

    def _read_ahead(self) -> None:
        """As a reader: holds what changed files say, until the writer, who is told of them too, has read them."""
        touched, self._touched = sorted(self._touched), set()
        for path in touched if len(touched) <= CATCH_UP_FILES else ():
            source = None if path in self._texts else workspace.admitted(self._root, path)
            text = None if source is None else workspace.read(self._root, path)
            if text is not None:
                self._index = with_buffer(self._index, path, text)
                self._ahead.add(path)

    def _let_go(self) -> None:
        """As a reader: goes by the writer for the files that it has read."""
        stamps = self._index.store.stamps() if self._ahead else {}
        for path in sorted(self._ahead):
            source = workspace.admitted(self._root, path)
            if self._lock is not None or source is None or stamps.get(path) == (source.size, source.mtime):
                self._ahead.discard(path)
                self._index = without_buffer(self._index, path)

    def _read(self) -> None:
        """Reads one file, or ends the work at hand; commits and reports now and then."""
        if self._work is None:
            self._reading, self._touched = self._touched, set()
            self._work = self._refreshing(sorted(self._reading))
        done = next(self._work, None)
        now = time.monotonic()
        if done is None or now - self._committed > COMMIT_SECONDS:
            self._index.store.commit()
            self._committed = time.monotonic()
        if done is None:
            self._work = None
            self._reading = set()
            if not self._is_alone:
                self._learning = vectors.refreshing(self._directory, self._index.store, self._index.neighbours)
            files = self._index.store.count()
            self.send(Progress(files, files))
        elif now - self._reported > PROGRESS_SECONDS:
            self._reported = now
            self.send(Progress(*done))

    def _learn(self, learning: Iterator[Neighbours]) -> None:
        """The vectors of the next chunks."""
        neighbours = next(learning, None)
        if neighbours is None:
            self._index.store.commit()
            self._learning = None
        else:
            self._index = replace(self._index, neighbours=neighbours)

    def _recite(self, recital: Iterator[tuple[str, str]]) -> None:
        """The next texts to the owner."""
        texts: dict[str, str] = {}
        size = 0
        for path, text in recital:
            texts[path] = text
            size += len(text)
            if size > RECITED:
                return self.send(Texts(texts, more=True))
        self._recital = None
        self.send(Texts(texts, more=False))

    def idle(self) -> None:
        """Becomes the writer when the one before has gone; as a reader, notices what the writer has done."""
        if self.is_writing or time.monotonic() - self._tried < RETRY_SECONDS:
            return
        self._tried = time.monotonic()
        self._lock = lock.acquire(self._directory / LOCK)
        if self._lock is not None or self._index.store.is_passing:
            self._let_go()
            self._reopen()
        elif self._index.store.look():
            self._let_go()
            self._remember()

    def mend(self, error: sqlite3.Error) -> None:
        """The database failed: throws it away and begins anew; in memory, when that does not last."""
        is_again = time.monotonic() - self._mended < MEND_SECONDS
        self._mended = time.monotonic()
        self._work = self._learning = None
        with contextlib.suppress(sqlite3.Error):
            self._index.store.close()
        if self._lock is not None and not is_again:
            with contextlib.suppress(StoreError):
                store.discard(self._directory / DATABASE)
                return self._reopen()
        self._is_alone = True
        self.send(Failed(None, f"the index in {self._directory} cannot be kept ({error}); free some disk space"))
        self._index = replace(over(self._root, store.in_memory()), buffers=self._index.buffers)
        self._work = self._refreshing()

    def _reopen(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._index.store.close()
        self._index = replace(self._opened(), buffers=self._index.buffers)
        self._remember()
        if self._lock is not None:
            self._work = self._refreshing()

    def _refreshing(self, paths: list[str] | None = None) -> Iterator[tuple[int, int]]:
        return refreshing(self._index, paths, self._directory if self._lock is not None else None)

    def _remember(self) -> None:
        """Reads the vectors that were kept."""
        if self._index.store.kept_at_all(vectors.KEY):
            self._index = replace(self._index, neighbours=vectors.read(self._directory, self._index.store))

    def send(self, message: messages.FromIndexer) -> None:
        """Writes to the owner; a broken pipe ends the process."""
        self._out.write(messages.frame(message))
        self._out.flush()

    def close(self) -> None:
        """Commits and lets go."""
        self._index.store.commit()
        self._index.store.close()
        if self._lock is not None:
            lock.release(self._lock)

    def _begun(self) -> Index:
        """The index on disk; where none can be kept there, one in memory, and the owner is told so."""
        try:
            self._lock = lock.acquire(self._directory / LOCK)
            return self._opened()
        except StoreError as error:
            if self._lock is not None:
                lock.release(self._lock)
                self._lock = None
            self._is_alone = True
            self.send(Failed(None, f"related code is kept in memory only: {error}, or set LACUNA_CACHE_DIR"))
            return over(self._root, store.in_memory())

    def _opened(self) -> Index:
        path = self._directory / DATABASE
        if self._lock is not None:
            return over(self._root, store.open_fresh(path))
        for _ in range(10):  # the writer may be about to make it
            with contextlib.suppress(RetrievalError):
                return over(self._root, store.open_store(path))
            time.sleep(0.1)
        return over(self._root, store.in_memory())

    def _answer(self, ask: Ask) -> None:
        try:
            snippets = search.rank(ask.query, self._index)
        except RetrievalError as error:
            self.send(Failed(ask.id, str(error)))
        except sqlite3.Error as error:
            self.send(Failed(ask.id, f"the index cannot be read ({error}); it is made anew"))
            raise
        else:
            self.send(Answer(ask.id, snippets, partial=self.is_working))


def serve(
    root: Path, directory: Path, inbox: BinaryIO, out: BinaryIO, watch: bool = False, after_failure: bool = False
) -> None:
    """Serves one root until `inbox` ends. `watch`: look at the disk oneself. Raises WorkspaceError, StoreError."""
    received: queue.SimpleQueue[messages.ToIndexer | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(inbox, received), daemon=True).start()
    indexer = Indexer(root, directory, out, after_failure)
    indexer.send(Progress(0, 1 if indexer.is_working else 0, indexer.is_writing))
    if watch:
        threading.Thread(target=_watch, args=(root, received), daemon=True).start()
    goes_on = True
    while goes_on:
        try:
            goes_on = _turn(indexer, received)
        except sqlite3.Error as error:
            indexer.mend(error)
    indexer.close()


def _turn(indexer: Indexer, received: queue.SimpleQueue[messages.ToIndexer | None]) -> bool:
    """One message, or a little work when there is none; whether there will be more."""
    try:
        message = received.get(timeout=0 if indexer.is_busy else RETRY_SECONDS)
    except queue.Empty:
        indexer.step()
    else:
        if message is None:
            return False
        indexer.handle(message)
    indexer.idle()
    return True


def _watch(root: Path, received: queue.SimpleQueue[messages.ToIndexer | None]) -> None:
    """Tells of files that change, for editors that do not. Without a way to watch, nothing is told."""
    import watchfiles

    with contextlib.suppress(OSError, RuntimeError):
        for changes in watchfiles.watch(root, debounce=200, rust_timeout=0, raise_interrupt=False):
            paths = {Path(path).relative_to(root).as_posix() for _, path in changes}
            touched = tuple(sorted(path for path in paths if not path.startswith(".git/")))
            if touched:
                received.put(Touched(touched, seen=True))


def main() -> int:
    """The process's entry: `--root DIR --directory DIR [--watch] [--after-failure]`."""
    parser = argparse.ArgumentParser(prog="retrieval.process.indexer")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--after-failure", action="store_true")
    options = parser.parse_args()
    inbox, out = isolation.own_pipes()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before FAISS is loaded
    try:
        serve(options.root, options.directory, inbox, out, options.watch, options.after_failure)
    except BrokenPipeError:
        return 0
    except RetrievalError as error:
        with contextlib.suppress(OSError):
            out.write(messages.frame(Failed(None, str(error))))
            out.flush()
        return 1
    return 0


def _receive(inbox: BinaryIO, received: queue.SimpleQueue[messages.ToIndexer | None]) -> None:
    """Reads frames until there are no more; then the process has GRACE_SECONDS to end."""
    with contextlib.suppress(RetrievalError, OSError, EOFError):
        while True:
            received.put(messages.to_indexer(isolation.received(inbox)))
    received.put(None)
    time.sleep(GRACE_SECONDS)
    os._exit(0)
