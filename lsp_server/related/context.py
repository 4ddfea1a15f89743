"""A Snapshot and its Frame in, snippets from elsewhere out: found once for a scope, ahead of the key, then kept.

Two sources: the file itself above the window (imports, the definitions around the cursor), and `retrieve`, which
reads other files. Knows nothing of how those are found; never waits for them longer than it is told.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from lsp_server.editor.scope import outline
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from model_runtime.prompt import Snippet

BUDGET = 350  # tokens of snippets from other files
STALE, PARTIAL_STALE = 120.0, 2.0  # seconds: what was found longer ago is still used, and looked for again
RENEWAL = 0.1  # seconds a request waits for what takes the place of snippets whose file has changed
KEPT = 256  # scopes


@dataclass(frozen=True)
class Part:
    """A piece of what was found. names: the definitions that it stands for, none for lines that are no definition.

    chosen: it is in the snippets; others had no room.
    """

    path: str
    names: tuple[str, ...]
    text: str
    chosen: bool


@dataclass(frozen=True)
class Retrieved:
    """What other files hold, the most valuable last. partial: not all of them have been read yet."""

    snippets: tuple[Snippet, ...]
    partial: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def pieces(self) -> tuple[Part, ...]:
        """The parts, or the snippets themselves where nobody says what these are made of."""
        return self.parts or tuple(Part(one.path, (one.path,), one.text, chosen=True) for one in self.snippets)


_Key = tuple[str, tuple[str, ...]]  # document and scope
Retrieve = Callable[[Snapshot, Frame], Awaitable[Retrieved]]


@dataclass(frozen=True)
class Context:
    """Snippets, the most valuable last: `found` in other files, then `own`.

    late: there may be better ones, which were not there in time.
    """

    found: tuple[Snippet, ...]
    own: tuple[Snippet, ...] = ()
    late: bool = False

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        """All of them."""
        return self.found + self.own

    def says_the_same(self, before: tuple[Snippet, ...] | None) -> bool:
        """Whether an anchor that has these holds all that was found, so that nothing has to be read anew."""
        same = before is not None and before[: len(self.found)] == self.found
        return same and before is not None and len(before) == len(self.snippets)


@dataclass(frozen=True)
class _Found:
    """What was found for a document at `path` under `root`. changed: the files that are others since."""

    what: Retrieved
    at: float
    root: str | None
    path: str
    changed: frozenset[str] = frozenset()

    @property
    def is_stale(self) -> bool:
        """Whether it should be looked for again."""
        age = time.monotonic() - self.at
        return bool(self.changed) or age > (PARTIAL_STALE if self.what.partial else STALE)

    @property
    def is_outdated(self) -> bool:
        """Whether it may show what another file no longer says."""
        return any(one.path in self.changed and one.path != self.path for one in self.what.snippets)

    @property
    def left(self) -> tuple[Snippet, ...]:
        """The snippets that are as their files are."""
        return tuple(one for one in self.what.snippets if one.path not in self.changed or one.path == self.path)

    def is_still_good(self, new: Retrieved) -> bool:
        """Whether files have changed that make no difference to it, and nothing else is a reason to take the new."""
        if not self.changed or self.what.partial or new.partial or time.monotonic() - self.at > STALE:
            return False
        return not _is_touched(self, new)

    def concerns(self, root: str | None, path: str) -> bool:
        """Whether a change of a file may change it. Of its own document only what it shows of that matters."""
        if self.root != root:
            return False
        return path != self.path or any(one.path == path for one in self.what.snippets)


class Contexts:
    """What was found for which scope. Lives on the event loop's thread."""

    def __init__(self, retrieve: Retrieve | None) -> None:
        self._retrieve = retrieve
        self._found: OrderedDict[_Key, _Found] = OrderedDict()
        self._looking: dict[_Key, asyncio.Task[None]] = {}
        self._meanwhile: dict[_Key, set[tuple[str | None, str]]] = {}  # changed while it is looked for

    def known(self, snapshot: Snapshot, frame: Frame) -> Context | None:
        """The context of a fresh frame, if nothing has to be waited for."""
        own = _own(snapshot, frame)
        if self._retrieve is None or not snapshot.settings.retrieval:
            return Context((), own)
        found = self._found.get(_key(snapshot, frame))
        if found is None or found.is_outdated:
            return None
        return Context(found.what.snippets, own, late=found.is_stale or found.what.partial)

    async def of(self, snapshot: Snapshot, frame: Frame, patience: float) -> Context:
        """The context of a fresh frame; at most `patience` seconds are spent waiting for other files.

        Where what was found is no longer so, it is waited for RENEWAL seconds at least, and left out after that.
        """
        known = self.known(snapshot, frame)
        key = _key(snapshot, frame)
        if known is not None and (key not in self._found or not self._found[key].is_stale):
            return known
        looking = self._look(snapshot, frame)
        if key in self._found and self._found[key].is_outdated:
            patience = max(patience, RENEWAL)
        if patience > 0:
            await asyncio.wait({looking}, timeout=patience)
            known = self.known(snapshot, frame)
        if known is not None:
            return known
        left = self._found[key].left if key in self._found else self._nearest(snapshot.uri)
        return Context(left, _own(snapshot, frame), late=True)

    def changed(self, root: str | None, path: str) -> set[str]:
        """A file is another than it was. Returns the documents for which something is to be looked for again."""
        for meanwhile in self._meanwhile.values():
            meanwhile.add((root, path))
        concerned = {key: found for key, found in self._found.items() if found.concerns(root, path)}
        for key, found in concerned.items():
            self._found[key] = replace(found, changed=found.changed | {path})
        return {uri for uri, _ in concerned}

    def forget(self, uri: str) -> None:
        """The document was closed, or its surroundings changed."""
        for key in [key for key in self._found if key[0] == uri]:
            del self._found[key]

    def _nearest(self, uri: str) -> tuple[Snippet, ...]:
        """What was found last for another place of the document: it imports the same, and has been read already."""
        return next((found.left for key, found in reversed(self._found.items()) if key[0] == uri), ())

    def close(self) -> None:
        """Look for nothing any more."""
        for task in self._looking.values():
            task.cancel()

    def _look(self, snapshot: Snapshot, frame: Frame) -> asyncio.Task[None]:
        key = _key(snapshot, frame)
        task = self._looking.get(key)
        if task is None:
            self._meanwhile[key] = set()
            task = self._looking[key] = asyncio.create_task(self._search(key, snapshot, frame))
            task.add_done_callback(lambda _: self._over(key))
        return task

    def _over(self, key: _Key) -> None:
        del self._looking[key], self._meanwhile[key]

    async def _search(self, key: _Key, snapshot: Snapshot, frame: Frame) -> None:
        assert self._retrieve is not None
        try:
            found = await self._retrieve(snapshot, frame)
        except Exception:  # whatever is wrong with other files, this one still gets its suggestion
            return
        old = self._found.get(key)
        at = time.monotonic()
        if old is not None and old.is_still_good(found):
            found, at = old.what, old.at  # the prompt that holds it has been read already
        changed = frozenset(path for root, path in self._meanwhile[key] if root == snapshot.root)
        self._found[key] = _Found(found, at, snapshot.root, snapshot.path, changed)
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)


def count(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text) / 3)


def _is_touched(old: _Found, new: Retrieved) -> bool:
    """Whether a change of `old.changed` makes a difference to what was found, and not only the code at the cursor.

    It does where a chosen text is another now, and where a definition that was not there is chosen. That the document's
    own definitions are no longer looked for says nothing.
    """
    texts = {(one.path, one.names or one.text): one.text for one in new.pieces}
    before = {(one.path, one.names) for one in old.what.pieces}
    for one in _chosen(old.what, old.changed):
        now = texts.get((one.path, one.names or one.text))
        if now != one.text and (now is not None or one.path != old.path):
            return True
    news = (one for one in _chosen(new, old.changed) if one.names and one.path != old.path)
    return any((one.path, one.names) not in before for one in news)


def _chosen(what: Retrieved, paths: frozenset[str]) -> Iterable[Part]:
    return (one for one in what.pieces if one.chosen and one.path in paths)


def _key(snapshot: Snapshot, frame: Frame) -> _Key:
    return snapshot.uri, frame.anchor.scope


def _own(snapshot: Snapshot, frame: Frame) -> tuple[Snippet, ...]:
    text = outline(snapshot.lines, frame.anchor.start.line, snapshot.cursor)
    return (Snippet(snapshot.path, text),) if text else ()
