"""What is known of a suggestion before it is shown in, how likely it is just what the user is about to write out.

A logistic model over a few features, fitted on replayed edits of packages that no model learnt from (gate.json, written
by `python -m benchmarks.gate`), and moved a little by what this user took and did not take of late. Pure. Ignores the
words themselves: its features can be kept and told without telling any code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from lsp_server.editor.document import word_before
from lsp_server.editor.options import Eagerness
from lsp_server.editor.window import Frame
from lsp_server.feedback.journal import Fate, Outcome, Record

FEW = 40  # outcomes from which on a user's own count
DAYS = 60  # in which they came
MOST = 1000  # outcomes that are looked at, the newest
STEADY = 4.0  # how firmly the fitted model is held to against them: precision of slope and offset
RECENT = 0.2  # weight of the newest outcome in how suggestions fared of late
ACCEPTANCE_AVERAGE = 0.25  # until there are any

_FLOOR = -12.0  # nats: less likely than this is all the same
_TAKEN: Mapping[Fate, float | None] = {
    "accepted": 1.0, "partly": 1.0, "typed": 1.0, "overtyped": 0.0, "dismissed": 0.0, "replaced": None,
}  # fmt: skip


class Gate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fitted model. bias, weights: of the features, by name. least: the least likelihood that is shown, by eagerness.

    fitted: on what, with what command. slope, offset: how the user's own outcomes move the log-odds.
    """

    bias: float
    weights: dict[str, float]
    least: dict[str, float]
    fitted: dict[str, str] = {}
    slope: float = 1.0
    offset: float = 0.0

    def odds(self, features: Mapping[str, float]) -> float:
        """The logarithm of the odds of being taken, for anybody. A feature that is missing says nothing."""
        return self.bias + sum(weight * features.get(name, 0.0) for name, weight in self.weights.items())

    def likelihood(self, features: Mapping[str, float]) -> float:
        """Of being taken by this user, from 0 to 1."""
        return _sigmoid(self.slope * self.odds(features) + self.offset)

    def opens(self, features: Mapping[str, float], eagerness: Eagerness) -> bool:
        """Whether to show it."""
        return eagerness == "always" or self.likelihood(features) >= self.least[eagerness]


@cache
def fitted() -> Gate:
    """The model that comes with Lacuna."""
    return msgspec.json.decode(Path(__file__).with_name("gate.json").read_bytes(), type=Gate)


def features(
    pieces: Sequence[tuple[int, float]], typed: str, text: str, frame: Frame, acceptance_average: float
) -> dict[str, float]:
    """What speaks for and against a suggestion.

    pieces: the length and natural log-probability of each token of the generation. typed: how much of that the user
    has written already; text: what would be shown of the rest. acceptance_average: see `moved_average`.

    mean, worst, first, sum: of the log-probabilities of what would be shown. length, lines, typed: logarithms of its
    characters, lines, and of what was typed. word: characters of the word at the cursor, up to 8. start, dot, opened,
    spaced: the line is empty so far, or ends with a dot, an opener or a comma, or a space. right: there is text on the
    right. acceptance_average: as given.
    """
    start, stop, at = len(typed), len(typed) + len(text), 0
    scores = []
    for length, score in pieces:
        if at + length > start and at < stop:
            scores.append(max(score, _FLOOR))
        at += length
    scores = scores or [_FLOOR]
    left = frame.left
    found = {
        "mean": sum(scores) / len(scores),
        "worst": min(scores),
        "first": scores[0],
        "sum": max(sum(scores), 2 * _FLOOR),
        "length": math.log1p(len(text)),
        "lines": math.log(text.count("\n") + 1),
        "typed": math.log1p(len(typed)),
        "word": float(min(8, len(word_before(left, len(left))))),
        "start": float(not left.strip()),
        "dot": float(left.endswith(".")),
        "opened": float(left.endswith(("(", "[", "{", ","))),
        "spaced": float(bool(left.strip()) and left[-1].isspace()),
        "right": float(bool(frame.right.strip())),
        "fared": acceptance_average,
    }
    return {name: round(value, 4) for name, value in found.items()}


def moved_average(acceptance_average: float, fate: Fate) -> float:
    """How suggestions fared of late, from 0 (none was taken) to 1, after one more."""
    taken = _TAKEN[fate]
    return acceptance_average if taken is None else (1 - RECENT) * acceptance_average + RECENT * taken


def calibrated(gate: Gate, records: Iterable[Record]) -> Gate:
    """The gate moved by what became of suggestions that this user was shown unasked.

    Platt scaling (Platt 1999): slope and offset of the log-odds that make the outcomes likeliest, held back towards
    none by a normal prior. Too few change nothing, and none can turn the model round.
    """
    seen = [one for one in records if isinstance(one, Outcome) and one.evidence and not one.invoked]
    pairs = [(gate.odds(one.evidence), taken) for one in seen[-MOST:] if (taken := _TAKEN[one.fate]) is not None]
    if len(pairs) < FEW:
        return gate
    slope, offset = 1.0, 0.0
    for _ in range(12):  # Newton's method: two unknowns, and a likelihood without other peaks
        up, down = [STEADY * (1.0 - slope), -STEADY * offset], [STEADY, 0.0, STEADY]
        for odds, taken in pairs:
            share = _sigmoid(slope * odds + offset)
            weight = share * (1 - share)
            up = [up[0] + (taken - share) * odds, up[1] + taken - share]
            down = [down[0] + weight * odds * odds, down[1] + weight * odds, down[2] + weight]
        size = down[0] * down[2] - down[1] ** 2
        slope += (up[0] * down[2] - up[1] * down[1]) / size
        offset += (up[1] * down[0] - up[0] * down[1]) / size
    return msgspec.structs.replace(gate, slope=round(min(max(slope, 0.25), 4.0), 4), offset=round(offset, 4))


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))
