"""Text in, the likeliest next words by counting alone out: the baseline every model must beat.

A back-off over at most four words of context. What the open file holds is asked before what a larger
text holds, at every length of context (a cache model in the sense of Kuhn & De Mori 1990). A word that the cursor
cuts is first completed to the commonest one that begins so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER = 5
_WORDS = re.compile(r"\w+|[^\w\s]|[ \t]+|\n")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MOST = 64  # words in an answer


@dataclass(frozen=True)
class Table:
    """contexts: sorted hashes; likeliest: the word that follows each most often."""

    contexts: NDArray[np.uint64]
    likeliest: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """What was counted in one text. tables: the longest context first; words: their numbers, the commonest first."""

    tables: list[Table]
    words: NDArray[np.int64]


class Words:
    """Numbers for words, shared by all tables that are asked together."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def numbers(self, text: str) -> NDArray[np.int64]:
        """The words of a text as numbers; nothing of the text is lost but odd white space."""
        return np.fromiter(map(self._number, _WORDS.findall(text)), dtype=np.int64)

    def text(self, numbers: Sequence[int]) -> str:
        """The words of the numbers, put together again."""
        return "".join(self._texts[number] for number in numbers)

    def completed(self, start: str, sources: Sequence[Source]) -> int:
        """The commonest word that begins with `start`, in the nearest source that has one; else `start` itself."""
        for source in sources:
            for number in source.words.tolist():
                if self._texts[number].startswith(start):
                    return int(number)
        return self._number(start)

    def _number(self, word: str) -> int:
        found = self._numbers.setdefault(word, len(self._texts))
        if found == len(self._texts):
            self._texts.append(word)
        return found


def count(words: NDArray[np.int64]) -> Source:
    """What is known of a text of these words: a table for each length of context, and how common each word is."""
    numbers, counts = np.unique(words, return_counts=True)
    common = numbers[np.argsort(-counts, kind="stable")]
    return Source([_table(words, length) for length in range(ORDER - 1, 0, -1)], common)


def answer(words: Words, sources: Sequence[Source], prefix: str) -> str:
    """What follows the prefix up to the end of its line, word by word, each the likeliest. sources: nearest first."""
    window = prefix[-2000:]
    cut = re.search(r"\w*$", window)
    assert cut is not None
    start = cut.group()
    context = words.numbers(window[: cut.start()]).tolist()
    begun = len(context)
    if start:
        context.append(words.completed(start, sources))
    while len(context) - begun < _MOST:
        found = _next(sources, context)
        if found is None or words.text([found]) == "\n":
            break
        context.append(found)
    return words.text(context[begun:])[len(start) :]


def _next(sources: Sequence[Source], context: list[int]) -> int | None:
    for depth in range(ORDER - 1):
        length = ORDER - 1 - depth
        if len(context) < length:
            continue
        wanted = _hash(np.array(context[-length:], dtype=np.int64), length)[0]
        for source in sources:
            table = source.tables[depth]
            place = int(np.searchsorted(table.contexts, wanted))
            if place < len(table.contexts) and table.contexts[place] == wanted:
                return int(table.likeliest[place])
    return None


def _table(words: NDArray[np.int64], length: int) -> Table:
    if len(words) <= length:
        return Table(np.empty(0, np.uint64), np.empty(0, np.int64))
    contexts, following = _hash(words[:-1], length), words[length:]
    order = np.lexsort((following, contexts))
    contexts, following = contexts[order], following[order]
    fresh = np.flatnonzero(np.r_[True, (contexts[1:] != contexts[:-1]) | (following[1:] != following[:-1])])
    counts = np.diff(np.r_[fresh, len(contexts)])
    contexts, following = contexts[fresh], following[fresh]
    order = np.lexsort((following, -counts, contexts))
    contexts, following = contexts[order], following[order]
    first = np.flatnonzero(np.r_[True, contexts[1:] != contexts[:-1]])
    return Table(contexts[first], following[first])


def _hash(words: NDArray[np.int64], length: int) -> NDArray[np.uint64]:
    count = len(words) - length + 1
    found = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        found = (found + words[offset : offset + count].astype(np.uint64) + np.uint64(1)) * _FACTOR
        found ^= found >> np.uint64(29)
    return found
