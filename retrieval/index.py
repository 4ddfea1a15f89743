"""A workspace root in, an Index out: what `search` reads. Unsaved buffers override the disk.

An Index is frozen: an edit makes another one that shares the store. Ignores queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from retrieval import entries, store, workspace
from retrieval.entries import Entry, Known
from retrieval.store import Store
from retrieval.syntax import Import


@dataclass(frozen=True)
class Index:
    """A root's entries: the store's, and over them those of open buffers."""

    root: Path
    store: Store
    buffers: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))

    def has(self, path: str) -> bool:
        """Whether a file is known."""
        return path in self.buffers or self.store.has(path)

    def language(self, path: str) -> str | None:
        """The name of a known file's language."""
        return self.buffers[path].language if path in self.buffers else self.store.language(path)

    def definitions(self, path: str) -> tuple[Known, ...]:
        """What a file defines, in source order."""
        return self.buffers[path].definitions if path in self.buffers else self.store.definitions(path)

    def imports(self, path: str) -> tuple[Import, ...]:
        """What a file imports."""
        return self.buffers[path].imports if path in self.buffers else self.store.imports(path)

    def named(self, name: str) -> tuple[Known, ...]:
        """The definitions of a name, buffers first."""
        open_ones = tuple(k for entry in self.buffers.values() for k in entry.definitions if k.definition.name == name)
        return open_ones + tuple(known for known in self.store.named(name) if known.path not in self.buffers)


def build(root: Path, progress: Callable[[int, str], None] | None = None) -> Index:
    """An index of the root in memory, read in this process: for one-shot commands and tests.

    progress(files done, path) is called after each file. Raises WorkspaceError.
    """
    resolved = workspace.check_root(root)
    made = store.in_memory()
    with made.writing():
        for done, source in enumerate(workspace.files(resolved), start=1):
            text = workspace.read(resolved, source.path)
            if text is not None:
                made.put(entries.read(source.path, text, source.mtime, source.size))
            if progress is not None:
                progress(done, source.path)
    return Index(resolved, made)


def with_buffer(index: Index, path: str, text: str) -> Index:
    """The index with an unsaved buffer's text in place of the file's."""
    return replace(index, buffers=MappingProxyType({**index.buffers, path: entries.read(path, text)}))


def without_buffer(index: Index, path: str) -> Index:
    """The index with the file as it is on disk."""
    return replace(index, buffers=MappingProxyType({one: e for one, e in index.buffers.items() if one != path}))
