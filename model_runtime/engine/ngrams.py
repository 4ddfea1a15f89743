"""Token streams in, the next-token distribution after the longest known context out.

The memory of a workspace: unbounded n-grams over a suffix array (Liu et al. 2024, "Infini-gram"),
mixed into the model's own distribution with a weight that depends on what was matched
(Khandelwal et al. 2020, "Generalization through Memorization"; the worth of a cache of local
code is Hellendoorn & Devanbu 2017). Knows token ids only; never written to disk.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_runtime.engine.sampling import Scores
from model_runtime.manifest import MixtureWeights

Tokens = NDArray[np.unsignedinteger[Any]]

LONGEST = 32  # tokens of context that are looked up; suffixes are sorted as far as this
_SAMPLED = 256  # continuations counted of one context; more than that are sampled evenly
_BOUNDARY = 0xFFFF_FFFF  # between streams; never a token, so no match crosses it
_ALL = np.ones(1, np.float32)  # the share of what alone followed


@dataclass(frozen=True)
class Continuation:
    """What followed a context. tokens: [n] distinct ids; shares: [n], summing to one.

    length: tokens of context that matched; found: where among the sorted suffixes they stand.
    following: what followed each of those, or each of those that were counted; in order.
    """

    length: int
    found: range
    tokens: NDArray[np.int64]
    shares: NDArray[np.float32]
    following: Sequence[int] = ()

    @property
    def seen(self) -> int:
        """How often the matched context occurs."""
        return len(self.found)

    def holds(self, token: int) -> bool:
        """Whether this token was among what followed."""
        at = bisect_left(self.following, token)
        return at < len(self.following) and self.following[at] == token

    @cached_property
    def likeliest(self) -> int:
        """The token that followed most often."""
        return int(self.tokens[self.shares.argmax() if len(self.tokens) > 1 else 0])


def features(continuation: Continuation, sure: float) -> tuple[float, float, float, float, float]:
    """What a MixtureWeights's fields multiply, in their order. sure: the model's largest log-probability."""
    peak = float(continuation.shares.max() if len(continuation.shares) > 1 else continuation.shares[0])
    return 1.0, math.log(continuation.length), math.log(continuation.seen), peak, max(sure, -8.0)


def weight(mixture_weights: MixtureWeights, continuation: Continuation, sure: float) -> float:
    """The memory's share of the mixture, above 0 and below 1."""
    value = sum(map(mul, msgspec.structs.astuple(mixture_weights), features(continuation, sure)))
    return 1.0 / (1.0 + math.exp(-value))


class NGrams:
    """An immutable memory; 8 bytes a token while held, about 40 while built."""

    def __init__(self, streams: Iterable[Sequence[int] | Tokens], limit: int) -> None:
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
        self._values = np.frombuffer(self._tokens, ">u4")
        self._starts = _starts(tokens, self._suffixes).data

    def __len__(self) -> int:
        return len(self._suffixes)

    def after(self, context: Sequence[int], before: Continuation | None = None) -> Continuation | None:
        """What followed the longest end of `context` that occurs; None when not even its last token does.

        before: the answer for the context without its last token. Where that token went on as known, the
        search is over at once: what matches now stands among what matched then, one token longer. Where it
        did not, no longer match than that one is left to look for.
        """
        longest = min(len(context), LONGEST)
        known = np.array(context[-LONGEST:], ">u4").tobytes()
        shortest = at = 0  # an end occurs only if every shorter one does
        if before is not None and before.length < LONGEST:
            found = self._narrowed(before, known[-4:], context[-1])
            if found and (again := self._continuation(before.length + 1, found)) is not None:
                return again
            longest = min(longest, before.length)
        elif before is not None and (first := self._first(known, context[-longest])) is not None:
            shortest, at = longest, first  # where one copies, the longest match follows the longest match
        while shortest < longest:
            length = (shortest + longest + 1) // 2
            first = self._first(known[-4 * length :], context[-length])
            if first is None:
                longest = length - 1
            else:
                shortest, at = length, first
        if shortest == 0:
            return None
        found = self._beginning_with(known[-4 * shortest :], at, self._of(context[-shortest]).stop)
        continuation = self._continuation(shortest, found)
        if continuation is None and shortest > 1:  # the match stands only at the ends of streams
            return self.after(context[-shortest + 1 :])
        return continuation

    def among(
        self, allowed: NDArray[np.int64], context: Sequence[int], known: Continuation | None
    ) -> Continuation | None:
        """What followed the longest end of `context` that went on with one of these tokens, and these alone.

        known: what `after` says of the context.
        """
        while known is not None:
            fit = (known.tokens[:, None] == allowed).any(axis=1)  # of few tokens, quicker than np.isin
            if fit.any():
                shares = known.shares[fit]
                return Continuation(known.length, known.found, known.tokens[fit], shares / shares.sum())
            known = self.after(context[len(context) - known.length + 1 :]) if known.length > 1 else None
        return None

    def draft(self, context: Sequence[int], count: int, before: Continuation | None = None) -> list[Continuation]:
        """What followed this context, then it and the likeliest token that followed, and so on, up to `count` times.

        Ends where what went on ends. before: see `after`.
        """
        drafted: list[Continuation] = []
        tokens = list(context[-LONGEST:])
        while len(drafted) < count:
            continuation = self.after(tokens, before)
            if continuation is None or (drafted and continuation.length <= min(drafted[-1].length, LONGEST - 1)):
                break
            before = continuation
            drafted.append(continuation)
            tokens.append(continuation.likeliest)
        return drafted

    def _of(self, token: int) -> range:
        """Where among the sorted suffixes those stand that begin with this token."""
        known = token < len(self._starts) - 1
        return range(self._starts[token], self._starts[token + 1]) if known else range(0)

    def _first(self, key: bytes, token: int) -> int | None:
        """Where among the sorted suffixes the first one stands that begins with `key`, whose first token this is."""
        within = self._of(token)
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

    def _narrowed(self, before: Continuation, key: bytes, token: int) -> range:
        """Those of what matched that go on with this token, which is `key` in bytes; perhaps none.

        What followed them is in order, so what was counted says between which two of them they begin and end.
        """
        found, step = before.found, _step(before.found)
        tokens, skip = self._tokens, 4 * before.length
        low, high = bisect_left(before.following, token), bisect_right(before.following, token)
        if step == 1:
            return found[low:high]

        def next_of(at: int) -> bytes:
            return tokens[4 * at + skip : 4 * at + skip + 4]

        ends = [
            (max(found.start, found.start + (at - 1) * step), min(found.stop, found.start + at * step))
            for at in (low, high)
        ]
        first = bisect_left(self._order, key, *ends[0], key=next_of)
        return range(first, bisect_right(self._order, key, max(first, ends[1][0]), ends[1][1], key=next_of))

    def _continuation(self, length: int, found: range) -> Continuation | None:
        if len(found) == 1:
            following = [int(self._values[self._order[found.start] + length])]
        else:
            following = self._values[self._suffixes[found.start : found.stop : _step(found)] + length].tolist()
        if length == LONGEST:  # suffixes are sorted no further
            following.sort()
        if following[-1] == _BOUNDARY:
            del following[bisect_left(following, _BOUNDARY) :]
        if not following:
            return None
        if following[0] == following[-1]:
            return Continuation(length, found, np.array(following[:1], np.int64), _ALL, following)
        counts = Counter(following)
        shares = np.fromiter(counts.values(), np.int64, len(counts)) / len(following)
        tokens = np.fromiter(counts, np.int64, len(counts))
        return Continuation(length, found, tokens, shares.astype(np.float32), following)


def mix(scores: Scores, continuation: Continuation | None, mixture_weights: MixtureWeights) -> Scores:
    """The mixture (1−w)·model + w·memory. scores: the model's, with none raised."""
    if continuation is None:
        return scores
    share = weight(mixture_weights, continuation, scores.peak)
    seen = continuation.tokens
    if len(seen) == 1:  # mostly; and numbers are quicker than arrays of one
        token = continuation.likeliest
        raised = {token: math.log((1 - share) * math.exp(scores[token]) + share * float(continuation.shares[0]))}
    else:
        model = np.exp(scores.logits[seen] - np.float32(scores.total))
        mixed = np.log((1 - share) * model + share * continuation.shares)
        raised = dict(zip(seen.tolist(), mixed.tolist(), strict=True))
    total = scores.total - math.log1p(-share)
    likeliest = max(raised, key=raised.__getitem__)
    if raised[likeliest] >= (peak := float(scores.logits[scores.best]) - total):
        return Scores(scores.logits, total, likeliest, raised[likeliest], raised)
    return Scores(scores.logits, total, scores.best, peak, raised)


def _step(found: range) -> int:
    """Every how many-th of these matches is counted."""
    return max(1, len(found) // _SAMPLED)


def _starts(tokens: NDArray[np.uint32], suffixes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where the suffixes begin that begin with token 0, 1, …, and where the last of these end."""
    most = int(tokens[tokens != _BOUNDARY].max(initial=0))
    return np.searchsorted(tokens[suffixes], np.arange(most + 2, dtype=np.uint32)).astype(np.int32)


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
