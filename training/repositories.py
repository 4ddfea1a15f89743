"""A team's folders and code by others in, what is learnt, replayed and judged out: four lots of files.

A team's files are those that an index would read: nothing ignored, generated or minified, every secret starred out.
They are parted file by file, and what is held out comes first, so that of two near copies the one that would be
learnt goes. Code by others is what the model must not forget: one half of it may be replayed, the other is judged.
Ignores tokens and models; nothing that is read here is written anywhere.
"""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval import languages
from retrieval.errors import RetrievalError
from retrieval.index import masked_texts, workspace
from training import archives, duplicates, filters, sources
from training.sources import SourceFile

CHECKOUT = Path(__file__).resolve().parent.parent
_PROSE = frozenset(
    ("markdown", "restructuredtext", "asciidoc", "org", "latex", "xml", "yaml", "toml", "ini", "dotenv", "text")
)
_READ_AT_ONCE = 1 << 40  # characters: all there is
_EACH = 80  # files of one language by others that are looked at, for either use


@dataclass(frozen=True)
class Lots:
    """learnt, held_out: the team's; replayed, judged: by others. dropped: why files are in none of them."""

    learnt: tuple[SourceFile, ...]
    held_out: tuple[SourceFile, ...]
    replayed: tuple[SourceFile, ...]
    judged: tuple[SourceFile, ...]
    dropped: dict[str, int]


@dataclass
class _Sieve:
    """What has been taken so far, and why other files were not."""

    seen: duplicates.Seen = field(default_factory=duplicates.Seen)
    dropped: Counter[str] = field(default_factory=Counter)

    def taken(self, files: Iterable[SourceFile], pardoned: frozenset[str] = frozenset()) -> tuple[SourceFile, ...]:
        """The files that are fit to learn from and unlike those before; `pardoned` reasons drop none."""
        kept = []
        for file in files:
            reason = filters.reason_to_drop(file.path, file.text)
            if reason is None or reason in pardoned:
                tokens = duplicates.token_hashes(file.text)
                reason = self.seen.admit(duplicates.digest(file.text), duplicates.signature(tokens))
            if reason is None:
                kept.append(file)
            else:
                self.dropped[reason] += 1
        return tuple(kept)


def parted(
    roots: Sequence[Path],
    replay: Sequence[Path] | None,
    regression: Sequence[Path] | None,
    share: float,
    seed: int,
) -> Lots:
    """The four lots. share: of the team's files that is held out; None for folders takes what this machine has.

    Raises ValueError when a folder cannot be read or holds too little.
    """
    own = [file for root in roots for file in read(root)]
    away = {_key(file) for file in own if _draw(file, seed) < share}
    sieve = _Sieve()
    theirs = frozenset({"licence"})  # a team's own licence is its own affair, and judging is not learning
    held_out = sieve.taken((file for file in own if _key(file) in away), theirs)
    learnt = sieve.taken((file for file in own if _key(file) not in away), theirs)
    if not held_out or not learnt:
        raise ValueError(
            f"{', '.join(map(str, roots))}: {len(learnt)} files to learn from and {len(held_out)} to judge by; "
            "give more code with --repo, or another --held-out"
        )
    elsewhere = [*by_others(regression, seed), *([] if regression is not None else _standard_library(seed))]
    judged = sieve.taken((file for file in elsewhere if regression is not None or _draw(file, seed) < 0.5), theirs)
    again = [*by_others(replay or [], seed), *([] if replay is not None else _ours(seed))]
    replayed = sieve.taken(file for file in again if replay is not None or _draw(file, seed) >= 0.5)
    return Lots(learnt, held_out, replayed, judged, dict(sieve.dropped))


def halves(files: Iterable[SourceFile], seed: int) -> tuple[list[SourceFile], list[SourceFile]]:
    """Files parted in two, whole and by chance."""
    found: tuple[list[SourceFile], list[SourceFile]] = ([], [])
    for file in files:
        found[_draw(file, seed + 1) < 0.5].append(file)  # another seed than that by which they were taken
    return found


def read(root: Path) -> Iterator[SourceFile]:
    """The code of a folder, masked. Raises ValueError when it cannot be read."""
    try:
        for path, text in masked_texts.texts(root, characters=_READ_AT_ONCE):
            language = languages.of(path, text).name
            if language not in _PROSE:
                yield SourceFile(root.resolve().name, "", path, language, text)
    except RetrievalError as error:
        raise ValueError(str(error)) from error


def places() -> list[Path]:
    """Folders of code by others that this machine may have: sources of toolchains, caches of package clients."""
    home = Path.home()
    go, rust = Path(os.environ.get("GOPATH") or home / "go"), Path(os.environ.get("CARGO_HOME") or home / ".cargo")
    known = [
        *(CHECKOUT, go / "pkg" / "mod", rust / "registry" / "src"),
        *(Path("/usr") / inside for inside in ("local/go/src", "lib/go/src", "lib/node_modules", "include", "src")),
    ]
    return [path for path in known if path.is_dir()]


def by_others(roots: Sequence[Path] | None, seed: int) -> list[SourceFile]:
    """Some files of each language that retrieval knows well, in the folders or in `places`. Raises ValueError."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for root in places() if roots is None else roots:
        try:
            for file in workspace.files(root, archives.LARGEST):
                if (language := languages.of(file.path)).full:
                    found.setdefault(language.name, []).append((root, file.path))
        except RetrievalError as error:
            raise ValueError(str(error)) from error
    drawn = []
    for language_name, paths in sorted(found.items()):
        for root, path in random.Random(f"{seed} {language_name}").sample(paths, min(_EACH, len(paths))):
            text = next(masked_texts.texts(root, [path]))[1]
            drawn.append(SourceFile(root.resolve().name, "", path, language_name, text))
    return drawn


def _standard_library(seed: int) -> list[SourceFile]:
    return random.Random(seed).sample(found := list(sources.standard_library()), min(_EACH, len(found)))


def _ours(seed: int) -> list[SourceFile]:
    """What is under a permissive licence wherever this runs: this checkout and Python's standard library."""
    return [*by_others([CHECKOUT], seed), *_standard_library(seed)]


def _key(file: SourceFile) -> tuple[str, str]:
    return file.package, file.path


def _draw(file: SourceFile, seed: int) -> float:
    """Where a file falls, from 0 to 1: always there, whatever other files there are."""
    return zlib.crc32(f"{seed} {file.package} {file.path}".encode()) / 2**32
