"""Entries in, rows of one SQLite database out: the truth about a workspace, on disk or in memory.

One writer, any number of readers (WAL). A database of another schema version, or one that is
damaged, is refused with StoreBroken and built again by the caller. Ignores how entries are made
and what is done with them.
"""

from __future__ import annotations

import posixpath
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from retrieval.entries import Entry, Known
from retrieval.errors import StoreBroken, StoreError
from retrieval.outlines import Definition, Import
from retrieval.projects import Project

SCHEMA = 2
_TABLES = """
create table files (
  id integer primary key, path text not null unique, folder text not null, name text not null,
  language text not null, size integer not null, mtime integer not null, package text);
create table projects (file integer not null references files on delete cascade, content text not null);
create table definitions (
  file integer not null references files on delete cascade, name text not null, kind text not null, parent text,
  first integer not null, last integer not null, signature text not null, doc text, text text not null);
create table imports (
  file integer not null references files on delete cascade, module text not null, name text, alias text not null,
  line integer not null, reexport integer not null);
create index definitions_by_name on definitions (name);
create index definitions_by_file on definitions (file);
create index imports_by_file on imports (file);
create index projects_by_file on projects (file);
create index files_by_folder on files (folder);
create index files_by_name on files (name);
create index files_by_package on files (package) where package is not null;
"""
_KNOWN = "select f.path, d.name, d.kind, d.parent, d.first, d.last, d.signature, d.doc, d.text from definitions d"


class Store:
    """A database of entries. Use from one thread at a time, except for `interrupt`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes over an open connection; use `open_store` or `in_memory`."""
        self._db = connection
        self._projects: tuple[tuple[int, int], tuple[Project, ...]] | None = None

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
        with self._db:
            yield

    def put(self, entry: Entry) -> None:
        """Replaces what is known about the entry's file."""
        self.remove(entry.path)
        cursor = self._db.execute(
            "insert into files (path, folder, name, language, size, mtime, package) values (?, ?, ?, ?, ?, ?, ?)",
            (entry.path, *posixpath.split(entry.path), entry.language, entry.size, entry.mtime, entry.package),
        )
        file = cursor.lastrowid
        self._db.executemany(
            "insert into definitions values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((file, *_definition_row(known)) for known in entry.definitions),
        )
        self._db.executemany(
            "insert into imports values (?, ?, ?, ?, ?, ?)",
            ((file, one.module, one.name, one.alias, one.line, one.reexport) for one in entry.imports),
        )
        if entry.project is not None:
            content = msgspec.json.encode(entry.project).decode()
            self._db.execute("insert into projects values (?, ?)", (file, content))

    def remove(self, path: str) -> None:
        """Forgets a file."""
        self._db.execute("delete from files where path = ?", (path,))

    def has(self, path: str) -> bool:
        """Whether a file is known."""
        return self._db.execute("select 1 from files where path = ?", (path,)).fetchone() is not None

    def language(self, path: str) -> str | None:
        """The name of a known file's language."""
        row = self._db.execute("select language from files where path = ?", (path,)).fetchone()
        return row[0] if row else None

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and mtime of every known file, by path."""
        return {path: (size, mtime) for path, size, mtime in self._db.execute("select path, size, mtime from files")}

    def definitions(self, path: str) -> tuple[Known, ...]:
        """What a file defines, in source order."""
        return self._known("join files f on f.id = d.file where f.path = ? order by d.rowid", (path,))

    def named(self, name: str, most: int = 32) -> tuple[Known, ...]:
        """The definitions of a name, at most so many."""
        return self._known("join files f on f.id = d.file where d.name = ? limit ?", (name, most))

    def imports(self, path: str) -> tuple[Import, ...]:
        """What a file imports."""
        rows = self._db.execute(
            "select i.module, i.name, i.alias, i.line, i.reexport from imports i join files f on f.id = i.file"
            " where f.path = ?",
            (path,),
        )
        return tuple(Import(module, name, alias, line, bool(again)) for module, name, alias, line, again in rows)

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
        version = (self._db.execute("pragma data_version").fetchone()[0], self._db.total_changes)
        if self._projects is None or self._projects[0] != version:
            rows = self._db.execute("select content from projects")
            self._projects = version, tuple(msgspec.json.decode(content, type=Project) for (content,) in rows)
        return self._projects[1]

    def count(self) -> int:
        """How many files are known."""
        return int(self._db.execute("select count(*) from files").fetchone()[0])

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        self._db.close()

    def _known(self, rest: str, values: Iterable[object]) -> tuple[Known, ...]:
        rows = self._db.execute(f"{_KNOWN} {rest}", tuple(values))
        return tuple(
            Known(path, Definition(name, kind, parent, first, last, signature, doc), text)
            for path, name, kind, parent, first, last, signature, doc, text in rows
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
        raise StoreError(f"the index {path} cannot be opened ({error}); check the folder's rights") from error
    return _checked(connection, path)


def open_fresh(path: Path) -> Store:
    """The store in a file, for writing; one that is damaged or of another version is thrown away and begun anew.

    Raises StoreError when the file cannot be made.
    """
    try:
        return open_store(path, write=True)
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


def _definition_row(known: Known) -> tuple[object, ...]:
    one = known.definition
    return one.name, one.kind, one.parent, one.first, one.last, one.signature, one.doc, known.text
