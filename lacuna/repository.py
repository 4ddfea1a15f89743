"""The commands of the repository: index it, search it, show what a cursor would be given, forget everything.

What they do is done in `retrieval`; indexes are those that editors use, under the cache folder.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lacuna.completion import snapshot_of, tokenizer_of
from lacuna.position import locate
from lacuna.settings import cache_folder, read_settings
from model_runtime import manifest

if TYPE_CHECKING:
    from retrieval.index.index import Index

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_DAMAGE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_WRITE}

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[
    Path, typer.Argument(metavar="[PATH]", help="The folder that you open in your editor; the current one if none.")
]
_Show = Callable[[int, int], None]


def index(path: Folder = Path(), as_json: Json = False) -> None:
    """Read a repository, or what has changed in it, so that editors need not."""
    root = _root(path)
    start = time.perf_counter()
    with _opened(root, with_vectors=True) as made:
        found = {
            "root": str(root),
            "files": made.store.count(),
            "definitions": made.store.definition_count(),
            "chunks": made.store.chunks(),
            "seconds": round(time.perf_counter() - start, 2),
            "folder": str(_directory(root)),
        }
    if as_json:
        _print_json(found)
        return
    print("{files} files, {definitions} definitions and {chunks} chunks in {seconds} s".format(**found))
    print(f"kept in {found['folder']}")


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Names, or a piece of code.")],
    path: Annotated[
        Path, typer.Option("--path", metavar="PATH", help="The folder that you open in your editor.")
    ] = Path(),
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="How many to print.")] = 10,
    as_json: Json = False,
) -> None:
    """Print the definitions and the code of a repository that fit a query best."""
    from retrieval.search.search import find

    with _opened(_root(path), with_vectors=True) as made:
        found = find(query, made, most)
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    for one in found:
        print(f"{one.path}  {', '.join(one.names) or one.source}\n{_indented(one.text)}")
    if not found:
        print("lacuna: nothing fits", file=sys.stderr)


def context(
    position: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1.")],
    budget: Annotated[int, typer.Option(min=1, help="Tokens that other files may take.")] = 350,
    every: Annotated[bool, typer.Option("--all", help="Also what does not fit into the budget.")] = False,
    as_json: Json = False,
) -> None:
    """Print what would go into the prompt at a position besides the lines around it, the most valuable last."""
    from lsp_server.editor import window
    from lsp_server.related.context import Contexts
    from lsp_server.related.indexing import query
    from retrieval.search.search import Snippet, pack, rank

    snapshot = snapshot_of(locate(position))
    frame = window.frame(snapshot, None)
    directory = read_settings().model_directory
    count = tokenizer_of(directory, manifest.read(directory)).count
    own = Contexts(None).known(snapshot, frame)
    assert own is not None
    with _opened(Path(snapshot.root or "."), with_vectors=True) as made:
        ranked = rank(query(snapshot, frame), made)
    found = tuple(reversed(ranked)) if every else pack(ranked, count, budget)
    found += tuple(Snippet(one.path, one.text, 1.0, "file") for one in own.snippets)
    if as_json:
        _print_json([{**asdict(one), "tokens": count(one.text)} for one in found])
        return
    for one in found:
        print(f"{one.path}  {one.source}  score {one.score:.2f}  {count(one.text)} tokens\n{_indented(one.text)}")
    if not found:
        print("lacuna: nothing but the lines around it", file=sys.stderr)


def _root(path: Path) -> Path:
    from retrieval.index import workspace

    return workspace.check_root(path)


def _directory(root: Path) -> Path:
    from retrieval.index import index

    return index.directory(cache_folder(), root)


@contextlib.contextmanager
def _opened(root: Path, with_vectors: bool = False) -> Iterator[Index]:
    """The repository's index, brought up to date; by the process that writes it, if an editor runs one."""
    from retrieval import lock
    from retrieval.index import index, store, vectors

    directory = _directory(root)
    writer = lock.acquire(directory / index.LOCK)
    try:
        with _damage_told(directory, is_ours=writer is not None):
            if writer is None:
                made = index.over(root, store.open_store(directory / index.DATABASE))
                if with_vectors:
                    made = replace(made, neighbours=vectors.read(directory, made.store))
            else:
                with _progress() as show:
                    made = index.opened(root, directory, show)
                if with_vectors:
                    made = index.with_vectors(made, directory)
            yield made
            made.store.close()
    finally:
        if writer is not None:
            lock.release(writer)


@contextlib.contextmanager
def _damage_told(directory: Path, is_ours: bool) -> Iterator[None]:
    """What the database raises, as what to do. One of ours that is damaged is thrown away."""
    from retrieval.errors import StoreError
    from retrieval.index import index, store

    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_ROOM:
            raise
        code = getattr(error, "sqlite_errorcode", 0)
        if isinstance(error, OSError) or _NO_DAMAGE & {code, code & 0xFF}:
            raise StoreError(
                f"the index in {directory} cannot be kept ({error}); make room there, or set LACUNA_CACHE_DIR"
            ) from error
        if is_ours:
            store.discard(directory / index.DATABASE)
        raise StoreError(
            f"the index in {directory} is damaged ({error}); do the same again, it is built anew"
        ) from error


@contextlib.contextmanager
def _progress() -> Iterator[_Show]:
    """What to call with files done and files in all; shown on a terminal, after a moment, gone afterwards."""
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show


def purge(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove everything that Lacuna has written on this machine: indexes, graphs, imported models, log, settings."""
    import asyncio

    from lacuna import daemon, place
    from lacuna.purge import find, remove

    settings = read_settings()
    found = find(settings)
    for one in found:
        print(f"{one.path}  {one.what}, {one.size / 1e6:.1f} MB")
    if not found:
        print("there is nothing")
        return
    if not yes and not typer.confirm("remove all of it?"):
        raise typer.Exit(1)
    for where in place.every(settings):
        asyncio.run(daemon.end(where))
    remove(find(settings))
    print("removed")


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.rstrip("\n").split("\n"))


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
