"""A text and its Outline in, its Chunks out: pieces of some dozen lines that begin where definitions do.

Ignores vectors and what the lines mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.syntax.outlines import Outline

FEWEST = 8  # lines: a shorter definition shares its chunk with the next
MOST = 40  # lines: a longer one is cut, at an empty line if there is one
MOST_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines `first` to `last` (from 0, both included) of a file."""

    first: int
    last: int
    text: str


def split(text: str, outline: Outline) -> tuple[Chunk, ...]:
    """The chunks of a text, in order; together they hold every line that is not empty."""
    lines = text.split("\n")
    starts = {one.first for one in outline.definitions if one.kind not in ("field", "constant") and not one.local}
    found: list[Chunk] = []
    first = 0
    for at in range(1, len(lines) + 1):
        length = at - first
        is_break = at == len(lines) or length >= MOST or (at in starts and length >= FEWEST)
        if not is_break:
            continue
        end = at if at == len(lines) or at in starts else _empty_line(lines, first, at)
        body = "\n".join(lines[first:end]).strip("\n")
        if body.strip():
            found.append(Chunk(first, end - 1, body[:MOST_CHARS] + "\n"))
        first = end
    if first < len(lines) and "\n".join(lines[first:]).strip():
        found.append(Chunk(first, len(lines) - 1, "\n".join(lines[first:]).strip("\n")[:MOST_CHARS] + "\n"))
    return tuple(found)


def _empty_line(lines: list[str], first: int, at: int) -> int:
    """The last empty line in the second half of a stretch, or its end."""
    for end in range(at, first + (at - first) // 2, -1):
        if end < len(lines) and not lines[end].strip():
            return end
    return at
