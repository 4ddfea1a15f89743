"""What came of requests and of suggestions in, lines in files of this machine out, and back. Opt-in, and bounded.

A folder holds a file a day, `2026-11-21.jsonl`, a JSON object a line, each with a `type`:

    answer   a request was answered: where its time went, and why nothing was shown if nothing was
    outcome  a suggestion that was shown has met its fate; `evidence` is what the gate went by
    kept     how much of an accepted suggestion is still there, 30 s, 2 min and 10 min after

The lines of several editors stand in one file; `suggestion` ties a `kept` to its `outcome`. No code is in it unless
`text` was asked for. Whatever cannot be read is passed over, so that a line cut off by a full disk costs itself only.
Read by `lacuna stats` and by the gate's calibration, never while a request is answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

DAYS = 180  # files that are kept
FOLDER_BYTES = 64 << 20  # of all of them
DAY_BYTES = 8 << 20  # of one of them: a day beyond it keeps its outcomes and no more answers

Moment = Annotated[float, msgspec.Meta(ge=0, lt=1e10)]  # seconds of the epoch
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]

Fate = Literal["accepted", "partly", "typed", "overtyped", "dismissed", "replaced"]
"""accepted: taken to its end. partly: some of it at once, and then no more. typed: written by hand, key by key.
overtyped: something else was written there. dismissed: left, or the text before it changed. replaced: another
suggestion took its place before anything was decided; it says nothing about the first."""


class AnswerRecord(msgspec.Struct, frozen=True, tag="answer", omit_defaults=True):
    """A request that was answered. at: seconds of the epoch; times in milliseconds, None where nothing was measured.

    source: "model", "memory" or "skip". reason: why nothing was shown, None when something was.
    """

    at: Moment
    language: str
    source: str
    reason: str | None = None
    total: float = 0.0
    debounce: float = 0.0
    outside: float | None = None
    queue: float | None = None
    layout: float | None = None
    prefill: float | None = None
    decode: float | None = None


class Outcome(msgspec.Struct, frozen=True, tag="outcome", omit_defaults=True):
    """What became of a suggestion.

    at: seconds of the epoch when it was first shown; visible: seconds until its fate was known.
    characters: its length when first shown; taken: how many of them were inserted at once, not typed.
    evidence: what the gate went by, as it named it. text: the suggestion itself, only where that was asked for.
    """

    suggestion: str
    at: Moment
    language: str
    fate: Fate
    characters: Count
    taken: Count = 0
    lines: Count = 1
    visible: float = 0.0
    invoked: bool = msgspec.field(default=False, name="by_hand")
    evidence: Mapping[str, float] = {}
    text: str | None = None


class Retention(msgspec.Struct, frozen=True, tag="kept"):
    """after: seconds since the acceptance. share: of the accepted characters, those that are still there, 0 to 1."""

    suggestion: str
    at: Moment
    after: Count
    share: Share


Record = AnswerRecord | Outcome | Retention

_decode = msgspec.json.Decoder(Record).decode


class Journal:
    """The files of one folder, for one writer of several. Each line is one write, so that writers never mingle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._day: date | None = None
        self._file: int | None = None

    def write(self, record: Record) -> None:
        """Adds a line. Raises OSError when it cannot."""
        today = date.today()
        if today != self._day or self._file is None or os.fstat(self._file).st_nlink == 0:  # `lacuna purge` took it
            self._turn(today)
        assert self._file is not None
        if isinstance(record, Outcome | Retention) or os.fstat(self._file).st_size < DAY_BYTES:
            os.write(self._file, msgspec.json.encode(record) + b"\n")

    def close(self) -> None:
        """Gives the file back; the next line opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _turn(self, today: date) -> None:
        """The file of this day, and the oldest ones gone."""
        self.close()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(self.folder / f"{today.isoformat()}.jsonl", flags, 0o600)
        self._day = today
        prune(self.folder)


def files(folder: Path) -> list[Path]:
    """The days' files, oldest first."""
    return sorted(folder.glob("????-??-??.jsonl"))


def prune(folder: Path) -> None:
    """Removes the oldest files until there are few and small enough; the newest stays in any case."""
    found = files(folder)
    sizes = {}
    for path in found:
        with suppress(FileNotFoundError):  # another editor's server was quicker
            sizes[path] = path.stat().st_size
    for path in found[:-1]:
        if len(sizes) <= DAYS and sum(sizes.values()) <= FOLDER_BYTES:
            return
        sizes.pop(path, None)
        path.unlink(missing_ok=True)


def read(folder: Path, since: date | None = None) -> Iterator[Record]:
    """Every line that can be read, a day after the other; none when there is no folder. Raises OSError."""
    for path in files(folder):
        if since is None or path.stem >= since.isoformat():
            for line in path.read_bytes().splitlines():
                with suppress(msgspec.DecodeError):  # ValidationError is one: a line of another version, or cut off
                    yield _decode(line)
