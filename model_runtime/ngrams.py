"""Token streams in, the next-token distribution after the longest known context out.

The memory of a workspace: unbounded n-grams over a suffix array (Liu et al. 2024, "Infini-gram"),
mixed into the model's own distribution with a weight that depends on what was matched
(Khandelwal et al. 2020, "Generalization through Memorization"; the worth of a cache of local
code is Hellendoorn & Devanbu 2017). Knows token ids only; never written to disk.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_runtime.manifest import Trust
from model_runtime.sampling import Logits

LONGEST = 32  # tokens of context that are looked up; suffixes are sorted as far as this
_SAMPLED = 256  # continuations counted of one context; more than that are sampled evenly
_BOUNDARY = 0xFFFF_FFFF  # between streams; never a token, so no match crosses it


@dataclass(frozen=True)
class Continuation:
    """What followed a context. tokens: [n] distinct ids; shares: [n], summing to one.

    length: tokens of context that matched; found: where among the sorted suffixes they stand.
    """

    length: int
    found: range
    tokens: NDArray[np.int64]
    shares: NDArray[np.float32]

    @property
    def seen(self) -> int:
        """How often the matched context occurs."""
        return len(self.found)


def features(continuation: Continuation, sure: float) -> tuple[float, float, float, float, float]:
    """What a Trust's fields multiply, in their order. sure: the model's largest log-probability."""
    peak = float(continuation.shares.max())
    return 1.0, math.log(continuation.length), math.log(continuation.seen), peak, max(sure, -8.0)


def weight(trust: Trust, continuation: Continuation, sure: float) -> float:
    """The memory's share of the mixture, above 0 and below 1."""
    slopes = msgspec.structs.astuple(trust)
    value = sum(slope * feature for slope, feature in zip(slopes, features(continuation, sure), strict=True))
    return 1.0 / (1.0 + math.exp(-value))


class NGrams:
    """An immutable memory; 8 bytes a token while held, about 40 while built."""

    def __init__(self, streams: Iterable[Sequence[int]], limit: int) -> None:
        """Keeps the first `limit` tokens of the streams, in their order."""
        parts: list[NDArray[np.uint32]] = []
        room = limit
        for stream in streams:
            if room <= 1:
                break
            kept = np.array(stream[: room - 1], np.uint32)
            parts += [kept, np.array([_BOUNDARY], np.uint32)]
            room -= len(kept) + 1
        tokens = np.concatenate(parts) if parts else np.empty(0, np.uint32)
        self._suffixes = _sorted_suffixes(tokens)
        self._order = self._suffixes.data  # the same, one at a time: plain integers are quicker to search
        self._tokens = tokens.astype(">u4").tobytes()  # big-endian: bytes compare as the tokens do

    def __len__(self) -> int:
        return len(self._suffixes)

    def after(self, context: Sequence[int], before: Continuation | None = None) -> Continuation | None:
        """What followed the longest end of `context` that occurs; None when not even its last token does.

        before: the answer for the context without its last token. Where that token went on as known, the
        search is over at once: what matches now stands among what matched then, one token longer. Where it
        did not, no longer match than that one is left to look for.
        """
        longest = min(len(context), LONGEST)
        if before is not None and before.length < LONGEST:
            longer = np.array(context[-before.length - 1 :], ">u4").tobytes()
            first = self._first(longer, before.found)
            if first is not None:
                again = self._continuation(before.length + 1, self._beginning_with(longer, first, before.found.stop))
                if again is not None:
                    return again
            longest = min(longest, before.length)
        known = np.array(context[-LONGEST:], ">u4").tobytes()
        shortest = at = 0  # an end occurs only if every shorter one does
        while shortest < longest:
            length = (shortest + longest + 1) // 2
            first = self._first(known[-4 * length :], range(len(self)))
            if first is None:
                longest = length - 1
            else:
                shortest, at = length, first
        if shortest == 0:
            return None
        continuation = self._continuation(shortest, self._beginning_with(known[-4 * shortest :], at, len(self)))
        if continuation is None and shortest > 1:  # the match stands only at the ends of streams
            return self.after(context[-shortest + 1 :])
        return continuation

    def draft(self, context: Sequence[int], count: int, before: Continuation | None = None) -> list[int]:
        """Up to `count` tokens that most often went on from here; ends where what went on ends. before: see `after`."""
        drafted: list[int] = []
        matched = 0
        while len(drafted) < count:
            continuation = self.after([*context[-LONGEST:], *drafted], before)
            if continuation is None or continuation.length <= min(matched, LONGEST - 1):
                break
            before, matched = continuation, continuation.length
            drafted.append(int(continuation.tokens[continuation.shares.argmax()]))
        return drafted

    def _first(self, key: bytes, within: range) -> int | None:
        """Where in that range of the sorted suffixes the first one stands that begins with `key`."""
        tokens, size = self._tokens, len(key)
        first = bisect_left(self._order, key, within.start, within.stop, key=lambda at: tokens[4 * at : 4 * at + size])
        if first == within.stop:
            return None
        at = 4 * self._order[first]
        return first if tokens[at : at + size] == key else None

    def _beginning_with(self, key: bytes, first: int, stop: int) -> range:
        """From the first of the suffixes that begin with `key` to the last, none of them at or after `stop`."""
        tokens, size = self._tokens, len(key)
        last = bisect_right(self._order, key, first, stop, key=lambda at: tokens[4 * at : 4 * at + size])
        return range(first, last)

    def _continuation(self, length: int, found: range) -> Continuation | None:
        step = max(1, len(found) // _SAMPLED)
        at = self._suffixes[found.start : found.stop : step].astype(np.int64) + length
        following = np.frombuffer(self._tokens, ">u4")[at[at < len(self)]].astype(np.int64)
        tokens, counts = np.unique(following[following != _BOUNDARY], return_counts=True)
        if not len(tokens):
            return None
        return Continuation(length, found, tokens, (counts / counts.sum()).astype(np.float32))


def mix(scores: Logits, continuation: Continuation | None, trust: Trust) -> Logits:
    """Log-probabilities of the mixture (1−w)·model + w·memory. scores: the model's, [V]."""
    if continuation is None:
        return scores
    share = weight(trust, continuation, float(scores.max()))
    mixed: Logits = scores + np.float32(math.log1p(-share))
    seen = continuation.tokens
    mixed[seen] = np.log((1 - share) * np.exp(scores[seen]) + share * continuation.shares)
    return mixed


def _sorted_suffixes(tokens: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Start positions in the order of the first LONGEST tokens from each (prefix doubling, Manber & Myers 1993)."""
    if not len(tokens):
        return np.empty(0, np.int32)
    rank = np.unique(tokens, return_inverse=True)[1].astype(np.int64) + 1
    order = np.argsort(rank, kind="stable")
    known = 1
    while known < LONGEST and int(rank.max()) < len(rank):
        later = np.zeros_like(rank)
        later[:-known] = rank[known:]
        key = rank * (len(rank) + 1) + later
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        rank = np.empty_like(rank)
        rank[order] = np.cumsum(np.concatenate([[1], ordered[1:] != ordered[:-1]]))
        known *= 2
    return order.astype(np.int32)
