"""The files of one package in, cross-file snippets for one window out, in the layout serving uses.

A window that uses a name defined in another file of its package gets that definition, among others that
do not help. Finds definitions by their first line, in any language, without a parser: training must see
what a rough retrieval would give. Ignores files of other packages.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from model_runtime.prompt import Snippet
from training.sources import SourceFile

_DEFINITION = re.compile(
    r"^[ \t]*(?:export\s+)?(?:default\s+)?(?:pub(?:\([^)]*\))?\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:def|class|function\*?|interface|enum|type|struct|trait|fn|func(?:\s*\([^)]*\))?|const)\s+([A-Za-z_]\w{2,})",
    re.MULTILINE,
)
_NAME = re.compile(r"[A-Za-z_]\w{2,}")
_COMMON = 3  # a name defined in more files than this says nothing about which is meant


@dataclass(frozen=True)
class Definitions:
    """name → where it is defined: (path, offset of the line) in at most _COMMON files."""

    places: dict[str, tuple[tuple[str, int], ...]]
    texts: dict[str, str]


def definitions(files: Iterable[SourceFile]) -> Definitions:
    """Every definition of a package's files."""
    places: dict[str, list[tuple[str, int]]] = {}
    texts = {}
    for file in files:
        texts[file.path] = file.text
        for match in _DEFINITION.finditer(file.text):
            places.setdefault(match.group(1), []).append((file.path, match.start()))
    kept = {name: tuple(found) for name, found in places.items() if len(found) <= _COMMON}
    return Definitions(kept, texts)


def context(known: Definitions, path: str, window: str, middle: str, rng: random.Random) -> tuple[Snippet, ...]:
    """Up to five snippets, the most valuable last; empty when no name of the window is defined elsewhere.

    window: the text around the gap with the gap filled. A name used in the middle is worth most.
    """
    wanted = _defined_elsewhere(known, path, middle)
    nearby = [name for name in _defined_elsewhere(known, path, window) if name not in set(wanted)]
    if not wanted and not nearby:
        return ()
    rng.shuffle(nearby)
    wanted = wanted[: rng.randint(1, 3)]
    others = nearby[: rng.randint(0, 3)]
    if rng.random() < 0.4 and known.places:
        others.insert(0, rng.choice(sorted(known.places)))
    found = []
    for name in [*others, *wanted][-5:]:
        place, offset = rng.choice(known.places[name])
        if place != path:
            found.append(Snippet(place, _snippet(known.texts[place], offset, rng)))
    return tuple(found)


def _defined_elsewhere(known: Definitions, path: str, text: str) -> list[str]:
    names = dict.fromkeys(_NAME.findall(text))
    return [name for name in names if any(place != path for place, _ in known.places.get(name, ()))]


def _snippet(text: str, offset: int, rng: random.Random) -> str:
    lines = text[offset : offset + 1500].split("\n")[: rng.choice((1, 2, 4, 8, 12))]
    return "\n".join(lines).strip("\n") + "\n"
