"""Files that can be made again in, kept in a cache under a seal out: what is there is whole, or is made anew.

The seal tells each file's size and when it was written, so that looking costs nothing. Knows nothing of what is kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec


class _Stamp(msgspec.Struct, frozen=True):
    """bytes: a file's size; modified: when it was last written to, in nanoseconds."""

    bytes: int
    modified: int


def is_whole(path: Path) -> bool:
    """Whether what was kept with this file is what was sealed, as far as can be told without reading it."""
    try:
        sealed = msgspec.json.decode(_seal(path).read_bytes(), type=dict[str, _Stamp])
        return path.name in sealed and all(_stamp(path.with_name(name)) == stamp for name, stamp in sealed.items())
    except (OSError, msgspec.DecodeError):
        return False


def keep(workshop: Path, path: Path, beside: Sequence[str] = ()) -> None:
    """Moves a file, and the files that go with it, from the folder they were made in; the seal comes last.

    beside: the names of those. Raises OSError.
    """
    names = [*beside, path.name]
    sealed = {name: _stamp(workshop / name) for name in names}
    _seal(path).unlink(missing_ok=True)
    (workshop / "seal").write_bytes(msgspec.json.encode(sealed))
    for made, kept in [*((name, path.with_name(name)) for name in names), ("seal", _seal(path))]:
        with (workshop / made).open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(workshop / made, kept)


def _seal(path: Path) -> Path:
    return path.with_suffix(".json")


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return _Stamp(found.st_size, found.st_mtime_ns)
