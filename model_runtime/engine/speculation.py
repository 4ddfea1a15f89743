"""Tokens as they are chosen in, drafts of what follows out, where checking one in a single run of the network pays.

There is no draft model. What followed the same tokens before is drafted: in the text itself (prompt lookup, Saxena
2023), in what was written at the same place a key ago, or in the workspace's memory; and a word that was cut and is
to be spelled again as it was typed. The network then says in one run what it would have said after each drafted token,
and as much of the draft stands as agrees with what is chosen there (Leviathan et al. 2023; Chen et al. 2023). A draft
is no distribution but one token, so their rule for samples comes to this: draw as ever, and go on while what was drawn
is what was drafted. Greedy texts stay what they were, and samples have the distribution that they had, as far as the
network says the same of tokens together as of each alone: with integers that is up to rounding.

How much is drafted follows what was measured: how often drafts after so long a match were right, also those that
were only thought and not checked, and what a run of so many tokens costs. Drafting goes on while it adds more tokens
a millisecond than it costs; that the best rule is such a threshold is shown by Huang et al. 2024, "SpecDec++".

Knows token ids and milliseconds; nothing of networks, slots or clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model_runtime.engine.ngrams import LONGEST, Continuation, NGrams

Source = Literal["text", "ngrams", "typed"]

MOST = 15  # tokens of a draft: a run of 16 is the largest that is measured
MARGIN = 1.1  # times as many tokens a millisecond must be expected: drafts cost thought, and chances are guesses
_APART = 12  # tokens of match up to which chances are told apart
_GUESS = 0.2  # chance of what was never tried: what is only thought costs nothing, so chances are learnt all the same
_NEWEST = 0.1  # share of the newest trial in a chance


class Chances:
    """How often drafted tokens were right, by their source and the length of the match that they follow."""

    def __init__(self) -> None:
        self._known: dict[tuple[Source, int], float] = {}

    def note(self, source: Source, length: int, *, right: bool) -> None:
        """One token was drafted, or might have been."""
        key = source, min(length, _APART)
        before = self._known.get(key, _GUESS)
        self._known[key] = before + _NEWEST * (right - before)

    def of(self, source: Source, length: int) -> float:
        """Of the next token to be right, after a match of so many."""
        return self._known.get((source, min(length, _APART)), _GUESS)


def worth(chances: Iterable[float], costs: Sequence[float]) -> tuple[int, float]:
    """How many drafted tokens to check at once, and how many times as quick that is; (0, 1.0) when none pays.

    chances: of each drafted token to be right when all before it are; costs: in any unit, of a run over 1, 2, …
    tokens. A run gives one token more than is right of the draft, so with chances a, b, … the number expected is
    1 + a + ab + … (Leviathan et al. 2023, equation 1).
    """
    best, gain = 0, 1.0
    expected = right = 1.0
    for count, (chance, cost) in enumerate(zip(chances, costs[1:], strict=False), start=1):
        right *= chance
        expected += right
        quicker = expected * costs[0] / cost
        if quicker > max(gain, MARGIN):
            best, gain = count, quicker
    return best, gain


class Drafter:
    """Drafts for one text. chances: shared by all texts, and learnt from each.

    prompt: the tokens that the text goes on from; ngrams: of its workspace; costs: see `worth`.
    earlier: the end of a text that began much as the prompt does. What followed there counts before what did elsewhere.
    """

    def __init__(
        self,
        chances: Chances,
        costs: Sequence[float],
        prompt: Sequence[int],
        ngrams: NGrams | None = None,
        earlier: Sequence[int] = (),
    ) -> None:
        self._chances, self._costs, self._ngrams = chances, costs, ngrams
        self._tokens, self._begin = [*earlier, *prompt], len(earlier)
        self._after = _followed(prompt, self._begin) | _followed(earlier, 0)  # two tokens → what followed last
        self._length, self._at = self._matched()
        self._known = 0
        self._before: Continuation | None = None  # what the memory had said of the last token
        self._drafted: list[Continuation] = []  # what the memory says of the next tokens, if they are those drafted
        self._first: Continuation | None = None  # what it says of the first, of those allowed
        self._typed: list[int] = []

    @property
    def foreseen(self) -> Continuation | None:
        """What the memory says of the next token, where that was looked up for a draft."""
        return self._drafted[0] if self._drafted else None

    def open(self, allowed: NDArray[np.int64] | None = None, typed: Sequence[int] = ()) -> None:
        """The text begins; with one of the tokens allowed, if any are said. typed: how what it must spell was typed."""
        if allowed is not None and self._length and self._tokens[self._at] not in allowed:
            self._length = 0
        self._typed = list(typed)
        if self._ngrams is not None:
            context = self._tokens[-LONGEST:]
            known = self._ngrams.after(context)
            self._first = known if allowed is None else self._ngrams.among(allowed, context, known)
            self._known = self._first.length if self._first is not None else 0

    def accept_token(self, token: int, known: Continuation | None) -> None:
        """A token was chosen. known: what the memory had said of it."""
        goes_on = bool(self._length) and self._tokens[self._at] == token
        if self._length:
            self._chances.note("text", self._length, right=goes_on)
        if self._typed:
            self._chances.note("typed", 1, right=self._typed[0] == token)
            self._typed = self._typed[1:] if self._typed[0] == token else []
        self._first = None
        self._known, self._before = 0, known
        if known is not None:
            self._chances.note("ngrams", known.length, right=known.likeliest == token)
            if known.holds(token):
                self._known = min(known.length + 1, LONGEST)
        self._drafted = self._drafted[1:] if known is not None and known.likeliest == token else []
        if len(self._tokens) >= 2:
            self._after[self._tokens[-2], self._tokens[-1]] = len(self._tokens)
        self._tokens.append(token)
        if goes_on and self._at + 1 != self._begin:
            self._length, self._at = min(self._length + 1, _APART), self._at + 1
        else:
            self._length, self._at = self._matched()

    def draft(self, room: int) -> list[int]:
        """What to check beside the last token, from the source that promises more; mostly nothing. room: at most."""
        costs = self._costs[: room + 1]
        from_text, gain = self._worth("text", self._length, costs)
        from_ngrams, other = self._worth("ngrams", self._known, costs)
        typed, third = worth([self._chances.of("typed", 1)] * len(self._typed), costs)
        if typed and third > max(gain, other):
            return self._typed[:typed]
        if from_ngrams and other > gain:
            return self._remembered(from_ngrams)
        end = self._begin if self._at < self._begin else len(self._tokens)
        return self._tokens[self._at : min(self._at + from_text, end)]

    def _remembered(self, count: int) -> list[int]:
        assert self._ngrams is not None, "what a memory said was heard without one"
        context = self._tokens[-LONGEST:]
        if self._first is None:
            self._drafted = self._ngrams.draft(context, count, self._before)
            return [known.likeliest for known in self._drafted]
        first = self._first.likeliest
        return [first, *(known.likeliest for known in self._ngrams.draft([*context, first], count - 1))]

    def _worth(self, source: Source, length: int, costs: Sequence[float]) -> tuple[int, float]:
        if not length:
            return 0, 1.0
        return worth((self._chances.of(source, length + at) for at in range(MOST)), costs)

    def _matched(self) -> tuple[int, int]:
        """How many of the last tokens stood together before, counted up to a point, and where what followed stands."""
        tokens, end = self._tokens, len(self._tokens)
        at = self._after.get((tokens[-2], tokens[-1])) if end >= 2 else None
        if at is None:
            return 0, 0
        length = 2
        while length < min(_APART, at) and tokens[at - length - 1] == tokens[end - length - 1]:
            length += 1
        return length, at


def _followed(tokens: Sequence[int], start: int) -> dict[tuple[int, int], int]:
    """Where what followed two tokens stands, the last time that something did; the first token is at `start`."""
    return {pair: at for at, pair in enumerate(pairwise(tokens[:-1]), start + 2)}
