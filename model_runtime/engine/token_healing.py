"""Tokens of a prompt in, the part of them that may stand out, and the bytes that the model is to begin with.

A text cut in mid-word falls into other tokens than the whole of it does; a model that never saw such a cut goes on
badly. So its last tokens are taken back and the model is held to their spelling ("token healing"; Lundberg 2023).
Knows bytes and ids; nothing of networks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DEEP = 4  # tokens taken back at most


class Spellings:
    """The bytes of a vocabulary's tokens, to be searched by how they begin; a marker's are empty and never found."""

    def __init__(self, spelled: Sequence[bytes]) -> None:
        self._spelled = spelled
        self._ids = np.array(sorted((at for at, one in enumerate(spelled) if one), key=spelled.__getitem__), np.int64)
        self._sorted = [spelled[token] for token in self._ids]

    def healed(self, tokens: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
        """The tokens without those at the end that may be the beginning of a longer one, and what these spell.

        Neither a marker nor the end of a line is taken back, and one token always stays.
        """
        kept, text, forced = len(tokens), b"", b""
        for at in range(len(tokens) - 1, max(0, len(tokens) - 1 - _DEEP), -1):
            spelled = self._spelled[tokens[at]] if tokens[at] < len(self._spelled) else b""
            if not spelled or b"\n" in spelled:
                break
            text = spelled + text
            begin = self._beginning(text)
            if begin and self._sorted[begin[-1]] != text:
                kept, forced = at, text
        return tokens[:kept], forced

    def fitting(self, text: bytes) -> NDArray[np.int64]:
        """The tokens that begin with this text, and those that it begins with; [n], at least one if it was spelled."""
        shorter = [
            begin[0]
            for length in range(1, len(text))
            if (begin := self._beginning(text[:length])) and self._sorted[begin[0]] == text[:length]
        ]
        return self._ids[[*shorter, *self._beginning(text)]]

    def _beginning(self, text: bytes) -> range:
        """Where among the sorted spellings those stand that begin with this text."""
        first = bisect_left(self._sorted, text)
        size = len(text)
        return range(first, bisect_right(self._sorted, text, first, key=lambda one: one[:size]))
