"""Two versions of a text in, the stretch of lines that changed out. Ignores when and why."""

from __future__ import annotations

from dataclasses import dataclass

AROUND = 2  # lines above and below that are shown with a change
LONGEST = 14  # lines


@dataclass(frozen=True, slots=True)
class Edit:
    """A stretch of a file as it is now, around what was changed. Lines count from 0; `last` is included."""

    path: str
    first: int
    last: int
    text: str


def between(path: str, before: str, after: str) -> Edit | None:
    """The stretch that differs, from the first changed line to the last; None when nothing worth showing does."""
    old, new = before.split("\n"), after.split("\n")
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    same = 0
    while same < min(len(old), len(new)) - first and old[-1 - same] == new[-1 - same]:
        same += 1
    last = len(new) - 1 - same
    if not "".join(new[first : last + 1]).strip():
        return None
    first, last = max(0, first - AROUND), min(len(new) - 1, last + AROUND, first + LONGEST - 1 - AROUND)
    return Edit(path, first, last, "\n".join(new[first : last + 1]).strip("\n") + "\n")


def newest(edits: tuple[Edit, ...], one: Edit, most: int) -> tuple[Edit, ...]:
    """The edits with one more in front; what it lies over is forgotten, and what is older than `most`."""
    kept = (old for old in edits if old.path != one.path or old.last < one.first or one.last < old.first)
    return (one, *kept)[:most]
