"""Entries in, rows of one SQLite database out: the truth about a workspace, on disk or in memory.

One writer, any number of readers (WAL). A database of another schema version, or one that is
damaged, is refused with StoreBroken and built again by the caller. Ignores how entries are made
and what is done with them.
"""

from __future__ import annotations

import heapq
import math
import posixpath
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import msgspec

from retrieval.errors import StoreBroken, StoreError
from retrieval.index.entries import Entry, IndexedDefinition
from retrieval.resolve.projects import Project
from retrieval.syntax.chunks import Chunk
from retrieval.syntax.outlines import Definition, Import

SCHEMA = 6
_TABLES = """
create table files (
  id integer primary key, path text not null unique, folder text not null, name text not null,
  language text not null, size integer not null, mtime integer not null, package text);
create table projects (file integer not null references files on delete cascade, content text not null);
create table definitions (
  file integer not null references files on delete cascade, name text not null, kind text not null, parent text,
  first integer not null, last integer not null, signature text not null, doc text);
create table imports (
  file integer not null references files on delete cascade, module text not null, name text, alias text not null,
  line integer not null, reexport integer not null);
create table kept (key text primary key, value blob not null);
create table chunks (
  id integer primary key autoincrement, file integer not null references files on delete cascade,
  first integer not null, last integer not null, text text not null);
create virtual table words using fts5 (text, content = 'chunks', content_rowid = 'id',
  tokenize = "unicode61 remove_diacritics 0 tokenchars '_'", detail = none, columnsize = 0);
create trigger chunk_gone after delete on chunks begin
  insert into words (words, rowid, text) values ('delete', old.id, old.text); end;
create trigger chunk_come after insert on chunks begin
  insert into words (rowid, text) values (new.id, new.text); end;
create index chunks_by_file on chunks (file);
create index definitions_by_name on definitions (name);
create index definitions_by_file on definitions (file, name);
create index imports_by_file on imports (file);
create index projects_by_file on projects (file);
create index files_by_folder on files (folder);
create index files_by_name on files (name);
create index files_by_package on files (package) where package is not null;
"""
MOST_MENTIONS = 300
_BATCH = 500  # names asked for at once; SQLite allows some hundred variables in a statement
_WORDS = 40  # words of one search
_WORD = re.compile(r"\w+")
_KEPT = 20_000  # names whose definitions are remembered
_COMMON = 4  # times the most: a name this common is not counted again
_KNOWN = "select f.path, d.name, d.kind, d.parent, d.first, d.last, d.signature, d.doc from definitions d"


@dataclass(frozen=True, slots=True)
class ChunkMatch:
    """A chunk of a file that a search found, and how well it fits (larger is better)."""

    path: str
    chunk: Chunk
    score: float


@dataclass(slots=True)
class _RowCache:
    """What a store remembers until it looks again: languages by path, the names of files and folders, projects.

    named, imports, resolved: what was asked for.
    """

    languages: dict[str, str]
    stems: frozenset[str]
    projects: tuple[Project, ...]
    named: dict[tuple[str, int], tuple[IndexedDefinition, ...]]
    imports: dict[str, tuple[Import, ...]]
    resolved: dict[tuple[str, str, str], tuple[str, ...]]


class Store:
    """A database of entries. Use from one thread at a time, except for `interrupt`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes over an open connection; use `open_store` or `in_memory`."""
        self._db = connection
        self._row_cache: _RowCache | None = None
        self._version = (0, 0)
        self._everywhere: set[str] = set()  # words in very many chunks, and that will stay there
        self._common: set[str] = set()  # names that have very many definitions, and will keep them

    @property
    def is_passing(self) -> bool:
        """Whether it lives in memory alone."""
        return not self._db.execute("pragma database_list").fetchone()[2]

    def commit(self) -> None:
        """Makes what was put so far visible to other readers, and lasting."""
        self._db.commit()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it or nothing."""
        try:
            with self._db:
                yield
        except BaseException:
            self._version, self._row_cache = (0, 0), None  # what was noticed meanwhile never was
            raise

    def put(self, entry: Entry) -> None:
        """Replaces what is known about the entry's file."""
        self.remove(entry.path)
        cursor = self._db.execute(
            "insert into files (path, folder, name, language, size, mtime, package) values (?, ?, ?, ?, ?, ?, ?)",
            (entry.path, *posixpath.split(entry.path), entry.language, entry.size, entry.mtime, entry.package),
        )
        file = cursor.lastrowid
        self._db.executemany(
            "insert into definitions values (?, ?, ?, ?, ?, ?, ?, ?)",
            ((file, *_definition_row(known)) for known in entry.definitions),
        )
        self._db.executemany(
            "insert into imports values (?, ?, ?, ?, ?, ?)",
            ((file, one.module, one.name, one.alias, one.line, one.reexport) for one in entry.imports),
        )
        self._db.executemany(
            "insert into chunks (file, first, last, text) values (?, ?, ?, ?)",
            ((file, one.first, one.last, one.text) for one in entry.chunks),
        )
        if entry.project is not None:
            content = msgspec.json.encode(entry.project).decode()
            self._db.execute("insert into projects values (?, ?)", (file, content))

    def remove(self, path: str) -> None:
        """Forgets a file."""
        self._db.execute("delete from files where path = ?", (path,))

    def look(self) -> bool:
        """Notices what this or another process has written since the last look; a query begins with it."""
        version = (self._db.execute("pragma data_version").fetchone()[0], self._db.total_changes)
        if version != self._version:
            self._version, self._row_cache = version, None
            return True
        return False

    def has(self, path: str) -> bool:
        """Whether a file is known."""
        return path in self._cached().languages

    def bears(self, stem: str) -> bool:
        """Whether any file, or folder that holds files, bears this name, endings aside."""
        return stem in self._cached().stems

    def language(self, path: str) -> str | None:
        """The name of a known file's language."""
        return self._cached().languages.get(path)

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and mtime of every known file, by path."""
        return {path: (size, mtime) for path, size, mtime in self._db.execute("select path, size, mtime from files")}

    def definitions(self, path: str) -> tuple[IndexedDefinition, ...]:
        """What a file defines, in source order."""
        return self._known("join files f on f.id = d.file where f.path = ? order by d.rowid", (path,))

    def container(self, path: str, holder: str) -> tuple[IndexedDefinition, ...]:
        """A file's definition of a dotted path, and what stands directly in it, in source order."""
        outer, _, name = holder.rpartition(".")
        rest = "join files f on f.id = d.file where f.path = ? and (d.parent = ? or d.name = ? and d.parent is ?)"
        return self._known(rest + " order by d.rowid", (path, holder, name, outer or None))

    def defined(self, path: str, name: str) -> tuple[IndexedDefinition, ...]:
        """A file's definitions of a name, in source order."""
        rest = "join files f on f.id = d.file where f.path = ? and d.name = ? order by d.rowid"
        return self._known(rest, (path, name))

    def named(self, names: Sequence[str], most: int) -> tuple[IndexedDefinition, ...]:
        """The definitions of each name that has at most so many."""
        known = self._cached().named
        if len(known) > _KEPT:
            known.clear()
        new = [name for name in names if (name, most) not in known]
        known.update(((name, most), ()) for name in new)
        for one in self._named(new, most):
            known[one.definition.name, most] += (one,)
        return tuple(one for name in names for one in known[name, most])

    def _named(self, names: Sequence[str], most: int) -> tuple[IndexedDefinition, ...]:
        asked = [name for name in names if name not in self._common]
        few: list[str] = []
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            counted = f"select name, count(*) from definitions where name in ({_marks(batch)}) group by name"
            for name, count in self._db.execute(counted, batch):
                if count <= most:
                    few.append(name)
                elif count > _COMMON * most:
                    self._common.add(name)
        found: tuple[IndexedDefinition, ...] = ()
        for start in range(0, len(few), _BATCH):
            batch = few[start : start + _BATCH]
            found += self._known(f"join files f on f.id = d.file where d.name in ({_marks(batch)})", batch)
        return found

    def resolved(self) -> dict[tuple[str, str, str], tuple[str, ...]]:
        """Room for what a module means, by module, path and language; empty again after the store has changed."""
        known = self._cached().resolved
        if len(known) > _KEPT:
            known.clear()
        return known

    def imports(self, path: str) -> tuple[Import, ...]:
        """What a file imports."""
        known = self._cached().imports
        if path not in known:
            known[path] = self._imports(path)
        return known[path]

    def _imports(self, path: str) -> tuple[Import, ...]:
        rows = self._db.execute(
            "select i.module, i.name, i.alias, i.line, i.reexport from imports i join files f on f.id = i.file"
            " where f.path = ?",
            (path,),
        )
        return tuple(Import(module, name, alias, line, bool(again)) for module, name, alias, line, again in rows)

    def mentioning(
        self,
        words: Mapping[str, float],
        most: int,
        without: Collection[str] = (),
        more: Sequence[tuple[str, Chunk]] = (),
    ) -> tuple[ChunkMatch, ...]:
        """The chunks that mention the words, each word weighted by its value and its rarity; best first.

        A word in more than MOST_MENTIONS chunks says nothing and is passed over, which bounds the
        time however large the store. Chunks of the files `without` are left out. more: paths and
        chunks that are looked at besides.
        """
        scores: dict[int, float] = {}
        others = [0.0] * len(more)
        named = [_lowered(chunk.text) for _, chunk in more]
        total = math.log(2 + self.last_chunk())
        asked = [word for word in sorted(words, key=lambda one: -words[one]) if word not in self._everywhere]
        for word in asked[:_WORDS]:
            rows = self._db.execute(
                "select rowid from words where words match ? limit ?", (f'"{word}"', MOST_MENTIONS + 1)
            ).fetchall()
            if len(rows) > MOST_MENTIONS:
                self._everywhere.add(word)
                continue
            worth = words[word] * (total - math.log(1 + len(rows)))
            for (chunk,) in rows:
                scores[chunk] = scores.get(chunk, 0.0) + worth
            for at, names in enumerate(named):
                if word.lower() in names:
                    others[at] += worth
        own = "select c.id from chunks c join files f on f.id = c.file where f.path = ?"
        for path in without:
            for (chunk,) in self._db.execute(own, (path,)):
                scores.pop(chunk, None)
        best = heapq.nsmallest(most, scores, key=lambda one: (-scores[one], one))
        found = [one for number in best if (one := self.chunk(number, scores[number])) is not None]
        found += [
            ChunkMatch(path, chunk, score) for (path, chunk), score in zip(more, others, strict=True) if score > 0
        ]
        return tuple(sorted(found, key=lambda one: -one.score)[:most])

    def in_package(self, package: str) -> tuple[str, ...]:
        """The files that say they belong to a package or namespace."""
        return tuple(path for (path,) in self._db.execute("select path from files where package = ?", (package,)))

    def in_folder(self, folder: str) -> tuple[str, ...]:
        """The files that lie directly in a folder."""
        return tuple(path for (path,) in self._db.execute("select path from files where folder = ?", (folder,)))

    def called(self, name: str) -> tuple[str, ...]:
        """The files of this name, wherever they lie."""
        return tuple(path for (path,) in self._db.execute("select path from files where name = ?", (name,)))

    def projects(self) -> tuple[Project, ...]:
        """What the project files say."""
        return self._cached().projects

    def count(self) -> int:
        """How many files are known."""
        return int(self._db.execute("select count(*) from files").fetchone()[0])

    def definition_count(self) -> int:
        """How many definitions are known."""
        return int(self._db.execute("select count(*) from definitions").fetchone()[0])

    def beginning(self, letters: str, most: int) -> tuple[IndexedDefinition, ...]:
        """Definitions whose names begin with these letters, case aside; short names first."""
        escaped = letters.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        rest = "join files f on f.id = d.file where d.name like ? escape '\\' order by length(d.name), d.rowid limit ?"
        return self._known(rest, (escaped + "%", most))

    def keep(self, key: str, value: bytes) -> None:
        """Keeps a value beside the entries."""
        self._db.execute("insert or replace into kept values (?, ?)", (key, value))

    def kept_at_all(self, key: str) -> bool:
        """Whether anything is kept under a key."""
        return self._db.execute("select 1 from kept where key = ?", (key,)).fetchone() is not None

    def kept(self, key: str) -> bytes | None:
        """A kept value."""
        row = self._db.execute("select value from kept where key = ?", (key,)).fetchone()
        return row[0] if row else None

    def chunk(self, number: int, score: float = 0.0) -> ChunkMatch | None:
        """A chunk by its number; None when it has gone."""
        asked = "select f.path, c.first, c.last, c.text from chunks c join files f on f.id = c.file where c.id = ?"
        row = self._db.execute(asked, (number,)).fetchone()
        return ChunkMatch(row[0], Chunk(row[1], row[2], row[3]), score) if row else None

    def chunks_after(self, number: int, most: int) -> list[tuple[int, str]]:
        """Numbers and texts of the next chunks behind a number."""
        rows = self._db.execute("select id, text from chunks where id > ? order by id limit ?", (number, most))
        return list(rows)

    def some_chunks(self, most: int) -> list[str]:
        """The texts of chunks spread evenly over the store."""
        step = max(1, self.chunks() // most)
        rows = self._db.execute("select text from chunks where id % ? = 0 order by id limit ?", (step, most))
        return [text for (text,) in rows]

    def last_chunk(self) -> int:
        """The highest number of a chunk; 0 without any."""
        return int(self._db.execute("select coalesce(max(id), 0) from chunks").fetchone()[0])

    def chunks(self) -> int:
        """How many chunks are known."""
        return int(self._db.execute("select count(*) from chunks").fetchone()[0])

    def fault(self) -> str | None:
        """What is wrong with the pages of the database; None when they hang together."""
        try:
            said = str(self._db.execute("pragma quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            return str(error)
        return None if said == "ok" else said

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        self._db.close()

    def _cached(self) -> _RowCache:
        if self._row_cache is None:
            languages = dict(self._db.execute("select path, language from files"))
            rows = self._db.execute("select content from projects")
            projects = tuple(msgspec.json.decode(content, type=Project) for (content,) in rows)
            stems = {part.partition(".")[0] for path in languages for part in path.split("/")[-2:]}
            self._row_cache = _RowCache(languages, frozenset(stems), projects, {}, {}, {})
        return self._row_cache

    def _known(self, rest: str, values: Iterable[object]) -> tuple[IndexedDefinition, ...]:
        rows = self._db.execute(f"{_KNOWN} {rest}", tuple(values))
        return tuple(
            IndexedDefinition(path, Definition(name, kind, parent, first, last, signature, doc))
            for path, name, kind, parent, first, last, signature, doc in rows
        )


def in_memory() -> Store:
    """A store that lives as long as the process; may be used from several threads, one at a time."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    return _prepared(connection, Path(":memory:"))


def open_store(path: Path, write: bool = False) -> Store:
    """The store in a file; created when `write` and missing.

    Raises StoreBroken when it is damaged or of another version, StoreError when it cannot be opened.
    """
    try:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return _prepared(sqlite3.connect(path, check_same_thread=False, timeout=5), path)
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False, timeout=5)
    except (sqlite3.OperationalError, OSError) as error:
        raise StoreError(f"the index {path} cannot be opened ({error}); check the folder's room and rights") from error
    return _checked(connection, path)


def open_fresh(path: Path) -> Store:
    """The store in a file, for writing; one that is damaged or of another version is thrown away and begun anew.

    Raises StoreError when the file cannot be made.
    """
    try:
        return _sound(open_store(path, write=True), path)
    except StoreBroken:
        discard(path)
        return open_store(path, write=True)


def discard(path: Path) -> None:
    """Deletes a store's files. Raises StoreError when they cannot be deleted."""
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        try:
            name.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the index {name} cannot be deleted ({error}); delete it by hand") from error


def _prepared(connection: sqlite3.Connection, path: Path) -> Store:
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma foreign_keys = on")
        if connection.execute("pragma user_version").fetchone()[0] == 0:
            connection.executescript(f"begin; {_TABLES} pragma user_version = {SCHEMA}; commit;")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreBroken(f"the index {path} is damaged ({error}); it has to be built again") from error
    return _checked(connection, path)


def _checked(connection: sqlite3.Connection, path: Path) -> Store:
    try:
        version = connection.execute("pragma user_version").fetchone()[0]
        connection.execute("select count(*) from files").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreBroken(f"the index {path} is damaged ({error}); it has to be built again") from error
    if version != SCHEMA:
        connection.close()
        raise StoreBroken(f"the index {path} has schema {version}, this version of Lacuna reads {SCHEMA}")
    return Store(connection)


def _sound(store: Store, path: Path) -> Store:
    """The store, if all its pages hang together: 0.2 s for a million lines. Raises StoreBroken."""
    fault = store.fault()
    if fault is None:
        return store
    store.close()
    raise StoreBroken(f"the index {path} is damaged ({fault}); it has to be built again")


@lru_cache(maxsize=4096)
def _lowered(text: str) -> frozenset[str]:
    """The words of a text as the table of words has them."""
    return frozenset(_WORD.findall(text.lower()))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _definition_row(known: IndexedDefinition) -> tuple[object, ...]:
    one = known.definition
    return one.name, one.kind, one.parent, one.first, one.last, one.signature, one.doc
