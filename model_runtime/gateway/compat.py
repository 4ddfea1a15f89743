"""What another protocol's request comes to, and what its answer is written with.

A dialect reads a body into a CompatRequest; the Reply in it turns tokens into that protocol's JSON. Ignores how the two
travel and who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from model_runtime.errors import LacunaRuntimeError
from model_runtime.protocol import Chunk, Done, InfillRequest

CANDIDATES = 8  # that one request may ask for
SECONDS = 30.0  # a request of a protocol that knows no deadline is answered within this
MOST_TOKENS = 4096


class Unfit(LacunaRuntimeError):
    """A request of another protocol that cannot be answered.

    param: the field at fault. missing: it names something that is not there.
    """

    def __init__(self, message: str, *, param: str | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.param, self.missing = param, missing


Choice = tuple[Sequence[Chunk], Done]


class Reply(Protocol):
    """How one request's answer is written."""

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """All of it at once."""

    def part(self, index: int, chunks: Sequence[Chunk]) -> bytes:
        """Some tokens of one choice, as events of a stream."""

    def end(self, index: int, done: Done) -> bytes:
        """The end of one choice in a stream."""

    def close(self, choices: Sequence[Choice]) -> bytes:
        """The end of a stream, after the end of every choice."""


@dataclass(frozen=True)
class CompatRequest:
    """infills: one for each candidate. stream: whether the answer goes out as it is written."""

    infills: tuple[InfillRequest, ...]
    stream: bool
    reply: Reply


def event(value: object) -> bytes:
    """One server-sent event, as the HTML standard has them."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def decoded(body: bytes, kind: type[Any]) -> Any:
    """A body as a struct. Raises Unfit, which names the field but quotes nothing of the body."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"the body is not what this path takes: {error}") from error


def checked(infill: dict[str, object]) -> InfillRequest:
    """An infill of these values. Raises Unfit, which names the one that is out of range."""
    try:
        return msgspec.convert(infill, InfillRequest)
    except msgspec.ValidationError as error:
        raise Unfit(str(error)) from error
