"""A workspace in, its masked texts out, for whoever remembers how it is written. Ignores what becomes of them.

The texts are those that an index would hold: nothing ignored, generated or binary, every secret starred out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from retrieval import secrets
from retrieval.index import workspace
from retrieval.index.workspace import SourceFile

CHARACTERS = 2_000_000  # of one workspace: more than a memory holds is not read


def texts(root: Path, paths: Iterable[str] | None = None, characters: int = CHARACTERS) -> Iterator[tuple[str, str]]:
    """Path and masked text of each file, the newest last, at most so many characters in all.

    paths: only these files, the ones that are gone with an empty text; None: the whole root. Raises WorkspaceError.
    """
    if paths is None:
        for file in _newest(workspace.files(root), characters):
            if text := _masked(root, file.path):
                yield file.path, text
        return
    for path in paths:
        yield path, _masked(root, path) if workspace.admitted(root, path) is not None else ""


def _newest(files: Iterable[SourceFile], room: int) -> list[SourceFile]:
    """The newest files that fit, oldest first."""
    kept: list[SourceFile] = []
    for file in sorted(files, key=lambda one: one.mtime, reverse=True):
        room -= file.size
        if room < 0:
            break
        kept.insert(0, file)
    return kept


def _masked(root: Path, path: str) -> str:
    text = workspace.read(root, path)
    return "" if text is None else secrets.mask(text, path)
