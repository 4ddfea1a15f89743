"""A file's path and text in, its Entry out: everything an index keeps about one file.

Runs in any process: an Entry is plain data. Secrets are starred out before anything else looks
at the text. A file that is too slow to parse or whose grammar is missing still gets its chunks
and names. Ignores other files and where the text came from.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrieval import languages, secrets
from retrieval.errors import ParseTimeout
from retrieval.resolve import projects
from retrieval.resolve.projects import Project
from retrieval.syntax import chunks, outlines
from retrieval.syntax.chunks import Chunk
from retrieval.syntax.outlines import Definition, Import, Outline

PARSE_SECONDS = 2.0  # a file that needs longer is data


@dataclass(frozen=True, slots=True)
class IndexedDefinition:
    """A definition that an index knows, and the file it stands in."""

    path: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as an index keeps it. `mtime` in nanoseconds, 0 for an unsaved buffer."""

    path: str
    language: str
    size: int
    mtime: int
    package: str | None
    definitions: tuple[IndexedDefinition, ...]
    imports: tuple[Import, ...]
    project: Project | None = None
    chunks: tuple[Chunk, ...] = ()


def read(path: str, text: str, mtime: int = 0, size: int | None = None, seconds: float = PARSE_SECONDS) -> Entry:
    """The Entry of a text. Raises GrammarError when an installed grammar and its query do not fit."""
    language = languages.of(path, text)
    masked = secrets.mask(text, path)
    outline = outlined(masked, language, seconds)
    known = tuple(IndexedDefinition(path, one) for one in outline.definitions if not one.local)
    length = len(text) if size is None else size
    return Entry(
        path,
        language.name,
        length,
        mtime,
        outline.package,
        known,
        outline.imports,
        projects.read(path, text),
        chunks.split(masked, outline),
    )


def blank(path: str, mtime: int, size: int) -> Entry:
    """The Entry of a file that holds nothing of use (binary, generated): known, so not read again."""
    return Entry(path, languages.of(path).name, size, mtime, None, (), ())


def outlined(text: str, language: languages.Language, seconds: float = PARSE_SECONDS) -> Outline:
    """The outline of a text, empty when parsing it takes too long."""
    try:
        return outlines.read(text, language, seconds)
    except ParseTimeout:
        return outlines.EMPTY
