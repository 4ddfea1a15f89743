"""What the indexing process and its owner say to each other: structs in, length-framed bytes out.

A body is msgpack. Ignores pipes and processes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from retrieval import isolation
from retrieval.errors import WorkerError
from retrieval.search.search import Query, Snippet


class Ask(msgspec.Struct, frozen=True, tag=True):
    """To the indexer: what may help at this cursor? Answered by one Answer or Failed with the same id."""

    id: int
    query: Query


class Buffer(msgspec.Struct, frozen=True, tag=True):
    """To the indexer: an open buffer's text, or None when the file on disk speaks again."""

    path: str
    text: str | None


class Touched(msgspec.Struct, frozen=True, tag=True):
    """To the indexer: these files changed, appeared or went; no paths means: look at all of them.

    seen: the process saw it by itself, so its owner is to be told.
    """

    paths: tuple[str, ...] = ()
    seen: bool = False


class Recite(msgspec.Struct, frozen=True, tag=True):
    """To the indexer: tell the masked texts of these files, None for all; answered by Texts, the last one empty."""

    paths: tuple[str, ...] | None = None


class Texts(msgspec.Struct, frozen=True, tag=True):
    """From the indexer: masked texts by path, the newest file's last; empty text for a file that is gone.

    more: others follow.
    """

    texts: dict[str, str]
    more: bool


class Seen(msgspec.Struct, frozen=True, tag=True):
    """From the indexer: these files changed on disk, and nobody but the disk said so."""

    paths: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """From the indexer: ranked snippets, best first. `partial` while the first scan goes on."""

    id: int
    snippets: tuple[Snippet, ...]
    partial: bool = False


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From the indexer: an Ask (by id), or with id None the whole index, cannot be served; why and what to do."""

    id: int | None
    message: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """From the indexer: so many of so many files are read; `writing` is False where another process does it."""

    done: int
    total: int
    writing: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether every file is read."""
        return self.done >= self.total


ToIndexer = Ask | Buffer | Touched | Recite
FromIndexer = Answer | Failed | Progress | Seen | Texts

_encoder = msgspec.msgpack.Encoder()
_to_indexer = msgspec.msgpack.Decoder(ToIndexer)
_from_indexer = msgspec.msgpack.Decoder(FromIndexer)


def frame(message: ToIndexer | FromIndexer) -> bytes:
    """A message as it goes down a pipe."""
    return isolation.framed(_encoder.encode(message))


def to_indexer(body: bytes) -> ToIndexer:
    """The message in a body. Raises WorkerError."""
    message: ToIndexer = _decoded(_to_indexer, body)
    return message


def from_indexer(body: bytes) -> FromIndexer:
    """The message in a body. Raises WorkerError."""
    message: FromIndexer = _decoded(_from_indexer, body)
    return message


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise WorkerError(f"the indexing process and its owner are of different versions: {error}") from error
