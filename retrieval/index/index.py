"""A workspace root in, an Index out: what `search` reads. Unsaved buffers override the disk.

An Index is frozen: an edit makes another one that shares the store. Ignores queries.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from retrieval.index import dependencies, edits, entries, store, vectors, workspace
from retrieval.index.dependencies import Outside
from retrieval.index.edits import Edit
from retrieval.index.embedding import LATENT, Kind
from retrieval.index.entries import Entry, IndexedDefinition
from retrieval.index.store import ChunkMatch, Store
from retrieval.index.vectors import Neighbours
from retrieval.resolve import modules
from retrieval.resolve.projects import Project
from retrieval.syntax.outlines import Import

DATABASE = "index.sqlite"
EDITS = 8  # remembered
AT_HAND = "at-hand"  # beside it: the path of the file that is being read
LOCK = "writer.lock"  # beside it: held by the one process that writes


@dataclass(frozen=True)
class Index:
    """A root's entries: the store's, over them those of open buffers, and around them the dependencies.

    edits: what was changed in buffers, the newest first.
    """

    root: Path
    store: Store
    buffers: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    edits: tuple[Edit, ...] = ()
    outside: Outside | None = None
    neighbours: Neighbours | None = None

    def look(self) -> None:
        """Notices what has changed; a question begins with it."""
        self.store.look()
        if self.outside is not None:
            self.outside.look()

    def has(self, path: str) -> bool:
        """Whether a file is known."""
        return path in self.buffers or self.store.has(path)

    def bears(self, stem: str) -> bool:
        """Whether any file, or folder that holds files, bears this name, endings aside."""
        return self.store.bears(stem) or any(stem in path for path in self.buffers)

    def language(self, path: str) -> str | None:
        """The name of a known file's language."""
        held = self._held(path)
        return held.language if held is not None else self.store.language(path)

    def definitions(self, path: str) -> tuple[IndexedDefinition, ...]:
        """What a file defines, in source order."""
        held = self._held(path)
        return held.definitions if held is not None else self.store.definitions(path)

    def container(self, path: str, holder: str) -> tuple[IndexedDefinition, ...]:
        """A file's definition of a dotted path, and what stands directly in it, in source order."""
        held = self._held(path)
        if held is None:
            return self.store.container(path, holder)
        return tuple(
            one for one in held.definitions if one.definition.parent == holder or one.definition.path == holder
        )

    def imports(self, path: str) -> tuple[Import, ...]:
        """What a file imports."""
        held = self._held(path)
        return held.imports if held is not None else self.store.imports(path)

    def files(self, module: str, path: str, language: str) -> tuple[str, ...]:
        """The files that a module means in a file: the workspace's, or else an installed dependency's."""
        if self.outside is not None and dependencies.is_outside(path):
            return modules.files(module, path, language, self.outside)
        found = self._own_files(module, path, language)
        if found or self.outside is None:
            return found
        return self.outside.files(module, path, language, self.projects())

    def _own_files(self, module: str, path: str, language: str) -> tuple[str, ...]:
        if not all(map(self.store.has, self.buffers)):  # a file that is not on disk yet may be meant
            return modules.files(module, path, language, self)
        known, asked = self.store.resolved(), (module, path, language)
        if asked not in known:
            known[asked] = modules.files(module, path, language, self)
        return known[asked]

    def in_package(self, package: str) -> tuple[str, ...]:
        """The files that say they belong to a package or namespace, buffers first."""
        open_ones = tuple(path for path, entry in self.buffers.items() if entry.package == package)
        return open_ones + tuple(path for path in self.store.in_package(package) if path not in self.buffers)

    def in_folder(self, folder: str) -> tuple[str, ...]:
        """The files that lie directly in a folder."""
        open_ones = (path for path in self.buffers if posixpath.dirname(path) == folder)
        return tuple(dict.fromkeys((*open_ones, *self.store.in_folder(folder))))

    def called(self, name: str) -> tuple[str, ...]:
        """The files of this name, wherever they lie."""
        open_ones = (path for path in self.buffers if posixpath.basename(path) == name)
        return tuple(dict.fromkeys((*open_ones, *self.store.called(name))))

    def mentioning(self, words: Mapping[str, float], most: int, without: str) -> tuple[ChunkMatch, ...]:
        """The chunks that mention the words, those of open buffers as they are now, best first; none of `without`."""
        unsaved = [(path, one) for path, entry in self.buffers.items() if path != without for one in entry.chunks]
        return self.store.mentioning(words, most, (without, *self.buffers), unsaved)

    def like(self, text: str, most: int, without: str) -> tuple[ChunkMatch, ...]:
        """The chunks whose vectors are nearest to a text's, best first; none of the file `without`."""
        if self.neighbours is None:
            return ()
        near = (self.store.chunk(number, score) for number, score in self.neighbours.near(text, 2 * most))
        kept = [one for one in near if one is not None and one.path != without and one.path not in self.buffers]
        return tuple(kept[:most])

    def projects(self) -> tuple[Project, ...]:
        """What the project files say."""
        return self.store.projects()

    def defined(self, path: str, name: str) -> tuple[IndexedDefinition, ...]:
        """A file's definitions of a name, in source order."""
        held = self._held(path)
        if held is None:
            return self.store.defined(path, name)
        return tuple(known for known in held.definitions if known.definition.name == name)

    def named(self, names: Collection[str], most: int) -> dict[str, list[IndexedDefinition]]:
        """For each of the names the definitions it has, buffers first; a name with more than `most` is left out."""
        wanted = set(names)
        found: dict[str, list[IndexedDefinition]] = {}
        for entry in self.buffers.values():
            for known in entry.definitions:
                if known.definition.name in wanted:
                    found.setdefault(known.definition.name, []).append(known)
        for known in self.store.named(sorted(wanted), most):
            if known.path not in self.buffers:
                found.setdefault(known.definition.name, []).append(known)
        return {name: known for name, known in found.items() if len(known) <= most}

    def _held(self, path: str) -> Entry | None:
        """The entry of a file that the store does not speak for: an open buffer, a dependency."""
        if path in self.buffers:
            return self.buffers[path]
        if self.outside is not None and dependencies.is_outside(path):
            return self.outside.entry(path) or entries.blank(path, 0, 0)
        return None


def over(root: Path, made: Store) -> Index:
    """The index of a root that has been checked, over its store."""
    return Index(root, made, outside=Outside(root))


def build(root: Path, progress: Callable[[int, int], None] | None = None) -> Index:
    """An index of the root in memory, read in this process: for one-shot commands and tests.

    progress(files done, files in all) is called after each file. Raises WorkspaceError.
    """
    index = over(workspace.check_root(root), store.in_memory())
    _run(index, progress)
    return index


def with_vectors(index: Index, directory: Path, kind: Kind = LATENT) -> Index:
    """The index with its chunks' vectors, read from the cache or made now, some seconds for a large tree."""
    now = vectors.read(directory, index.store, kind)
    with index.store.writing():
        for made in vectors.refreshing(directory, index.store, now, kind):
            now = made
    return replace(index, neighbours=now)


def opened(root: Path, directory: Path, progress: Callable[[int, int], None] | None = None) -> Index:
    """The root's index on disk, brought up to date in this process.

    A damaged database is built again. Raises WorkspaceError, StoreError.
    """
    index = over(workspace.check_root(root), store.open_fresh(directory / DATABASE))
    _run(index, progress)
    return index


def empty() -> Index:
    """An index that knows nothing, for a file outside every root."""
    return Index(Path(), store.in_memory())


def directory(cache: Path, root: Path) -> Path:
    """Where under a cache folder the index of a root lives: no name of the root's stands in it."""
    return cache / "index" / hashlib.sha256(os.fsencode(root.expanduser().resolve())).hexdigest()[:24]


def refreshing(
    index: Index, paths: Iterable[str] | None = None, directory: Path | None = None
) -> Iterator[tuple[int, int]]:
    """Brings the store up to date with the disk, file by file; yields (done, all) after each.

    `paths` names the files that may have changed; None looks at the whole root. The caller
    commits. Files whose size and mtime are as before are not read again. In `directory` it is
    noted which file is being read, for `pass_over`.
    """
    known = index.store.stamps()
    paths = None if paths is None else files_of(index.root, paths, known)
    if paths is None:
        there = {source.path: source for source in workspace.files(index.root)}
        gone = known.keys() - there.keys()
    else:
        named = [(path, workspace.admitted(index.root, path)) for path in paths]
        there = {path: source for path, source in named if source is not None}
        gone = {path for path, source in named if source is None} & known.keys()
    for path in gone:
        index.store.remove(path)
    changed = [source for source in there.values() if known.get(source.path) != (source.size, source.mtime)]
    for done, source in enumerate(changed, start=1):
        if directory is not None:
            with contextlib.suppress(OSError):  # a full disk is told of by the store
                (directory / AT_HAND).write_text(source.path)
        text = workspace.read(index.root, source.path)
        if text is None:
            index.store.put(entries.blank(source.path, source.mtime, source.size))
        else:
            index.store.put(entries.read(source.path, text, source.mtime, source.size))
        yield done, len(changed)
    if directory is not None:
        with contextlib.suppress(OSError):
            (directory / AT_HAND).unlink()


def pass_over(index: Index, directory: Path) -> None:
    """Gives up the file that a process was reading here when it broke down or had to be killed; the caller commits.

    On a file of nothing but `a<` some grammars look at their time limit once in many minutes; on others they crash.
    """
    try:
        path = (directory / AT_HAND).read_text(errors="replace")
    except OSError:
        return
    source = workspace.admitted(index.root, path)
    if source is not None:
        index.store.put(entries.blank(path, source.mtime, source.size))


def files_of(root: Path, paths: Iterable[str], known: Collection[str]) -> list[str] | None:
    """The files that a change of these paths is about; None, all of them, when rules or whole folders changed."""
    found: list[str] = []
    for path in paths:
        if posixpath.basename(path) in workspace.IGNORE_FILES:
            return None
        if path not in known and ((root / path).is_dir() or any(one.startswith(path + "/") for one in known)):
            return None
        found.append(path)
    return found


def _run(index: Index, progress: Callable[[int, int], None] | None) -> None:
    with index.store.writing():
        for done, total in refreshing(index):
            if progress is not None:
                progress(done, total)


def with_buffer(index: Index, path: str, text: str, before: str | None = None) -> Index:
    """The index with an unsaved buffer's text in place of the file's. `before`: its text until now, for `edits`."""
    one = None if before is None else edits.between(path, before, text)
    changes = index.edits if one is None else edits.newest(index.edits, one, EDITS)
    buffers = MappingProxyType({**index.buffers, path: entries.read(path, text)})
    return replace(index, buffers=buffers, edits=changes)


def without_buffer(index: Index, path: str, was_saved: bool = True) -> Index:
    """The index with the file as it is on disk. Edits that were not saved never were."""
    buffers = MappingProxyType({one: entry for one, entry in index.buffers.items() if one != path})
    kept = index.edits if was_saved else tuple(one for one in index.edits if one.path != path)
    return replace(index, buffers=buffers, edits=kept)
