"""Text in, the likeliest next words by counting alone out: the baseline every model must beat.

A back-off over at most four words of context. What the open file holds is asked before what a larger
text holds, at every length of context (a cache model in the sense of Kuhn & De Mori 1990).
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

    def _number(self, word: str) -> int:
        found = self._numbers.setdefault(word, len(self._texts))
        if found == len(self._texts):
            self._texts.append(word)
        return found


def tables(words: NDArray[np.int64]) -> list[Table]:
    """One table for each length of context, the longest first."""
    return [_table(words, length) for length in range(ORDER - 1, 0, -1)]


def answer(words: Words, sources: Sequence[list[Table]], prefix: str) -> str:
    """What follows the prefix up to the end of its line, word by word, each the likeliest. sources: nearest first."""
    context = words.numbers(prefix[-2000:]).tolist()
    start = len(context)
    while len(context) - start < _MOST:
        found = _next(sources, context)
        if found is None:
            break
        context.append(found)
        if words.text([found]) == "\n":
            context.pop()
            if len(context) > start:
                break
            return ""
    return words.text(context[start:])


def _next(sources: Sequence[list[Table]], context: list[int]) -> int | None:
    for depth in range(ORDER - 1):
        length = ORDER - 1 - depth
        if len(context) < length:
            continue
        wanted = _hash(np.array(context[-length:], dtype=np.int64), length)[0]
        for source in sources:
            table = source[depth]
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
