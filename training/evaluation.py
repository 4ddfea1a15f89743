"""The same gaps filled before and after in, whether the model after may be published out, and how far to tune it.

A language has become worse when the true answers cost more than before by more than a tolerance and the whole 95 %
interval says so, or when fewer of them are hit and the whole interval says so. Intervals are made by drawing whole
files again (bootstrap, Efron 1979): gaps of one file are no independent witnesses. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from training.gaps import Filled, Gap

TOLERANCE = 0.02  # share by which the true answers of a language may become dearer
LEAST = 40  # gaps of a language below which nothing is said about it
WAYS = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2)  # from a base to where it was tuned to
_DRAWS = 2000


class Interval(msgspec.Struct, frozen=True):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Tally(msgspec.Struct, frozen=True):
    """What became of the gaps of one language. exact: shares of 1; bits: a character of the true answers.

    lift: of the share that is exact, relative; None where nothing was exact before. cost: of the bits, relative.
    """

    gaps: int
    files: int
    exact_before: float
    exact_after: float
    exact_gain: Interval
    lift: Interval | None
    bits_before: float
    bits_after: float
    cost: Interval


class Verdict(msgspec.Struct, frozen=True):
    """reasons: why the model should not be published; none when it may be. own, others: tallies by language."""

    reasons: tuple[str, ...]
    own: dict[str, Tally]
    others: dict[str, Tally]

    @property
    def publishes(self) -> bool:
        """Nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True)
class Trial:
    """Gaps and what two models made of them, in one order."""

    gaps: Sequence[Gap]
    before: Sequence[Filled]
    after: Sequence[Filled]


def judged(own: Trial, others: Trial, tolerance: float = TOLERANCE, least: int = LEAST) -> Verdict:
    """own: the team's held-out gaps; others: those of code that the model should not forget."""
    mine, theirs = tallies(own), tallies(others)
    whole = tallies(own, apart=False)
    reasons = []
    for tally in whole.values():
        if tally.cost.high >= 0:
            reasons.append(f"the team's held-out code is not shown to be any likelier ({_percent(tally.cost)} bits)")
    for place, found in (("held-out", mine), ("other", theirs)):
        for language, tally in found.items():
            if tally.gaps >= least and (reason := _worse(tally, tolerance)):
                reasons.append(f"{place} {language} became worse: {reason}")
    if sum(tally.gaps >= least for tally in theirs.values()) < 2:
        reasons.append(
            f"code by others has {least} gaps in fewer than two languages: name folders with more with --regression"
        )
    return Verdict(tuple(reasons), {**whole, **mine} if len(mine) > 1 else mine, theirs)


def furthest(
    gaps: Sequence[Gap],
    before: Sequence[Filled],
    at: Callable[[float], Sequence[Filled]],
    tolerance: float = TOLERANCE,
) -> float:
    """The largest of `WAYS` at which no language's interval of bits reaches past the tolerance; else the least.

    at: what becomes of the gaps at a share of the way: the further, the dearer, so few shares are asked for.
    The gate must see other gaps than these: what is judged by that which it was chosen by is flattered.
    """
    first, last = 0, len(WAYS) - 1
    while first < last:
        middle = (first + last) // 2
        found = tallies(Trial(gaps, before, at(WAYS[middle])))
        if all(one.cost.high <= tolerance for one in found.values()):
            last = middle
        else:
            first = middle + 1
    return WAYS[first]


def tallies(trial: Trial, apart: bool = True) -> dict[str, Tally]:
    """One tally for each language, in order of their names; or, not `apart`, one for "all"."""
    found: dict[str, list[int]] = {}
    for number, gap in enumerate(trial.gaps):
        found.setdefault(gap.language if apart else "all", []).append(number)
    return {language: _tally(trial, numbers) for language, numbers in sorted(found.items())}


def table(verdict: Verdict) -> str:
    """The tallies as a table for people."""
    lines = [f"{'':24} gaps files   exact %          gain (95 %)        bits a character   change (95 %)"]
    for place, found in (("team", verdict.own), ("others", verdict.others)):
        for language, one in found.items():
            exact = f"{100 * one.exact_before:5.1f} → {100 * one.exact_after:5.1f}   {_points(one.exact_gain):22}"
            bits = f"{one.bits_before:.3f} → {one.bits_after:.3f}      {_percent(one.cost)}"
            lines.append(f"{place + ' ' + language:24} {one.gaps:4} {one.files:5}   {exact} {bits}")
    return "\n".join(lines)


def _tally(trial: Trial, numbers: Sequence[int]) -> Tally:
    files: dict[str, list[int]] = {}
    for number in numbers:
        files.setdefault(trial.gaps[number].path, []).append(number)
    rows = []  # of each file: gaps, exact before and after, nats before and after, characters
    for own in files.values():
        before, after = ([trial_of[number] for number in own] for trial_of in (trial.before, trial.after))
        hits = [sum(one.exact for one in some) for some in (before, after)]
        nats = [sum(one.nats for one in some) for some in (before, after)]
        rows.append([len(own), *hits, *nats, sum(one.characters for one in before)])
    table = np.array(rows, np.float64)
    drawn = np.random.default_rng(0).integers(0, len(table), (_DRAWS, len(table)))
    sums, resampled = table.sum(0), table[drawn].sum(1)
    bits = sums[3:5] / sums[5] / np.log(2)
    lifts = resampled[:, 2] / np.maximum(resampled[:, 1], 1) - 1
    return Tally(
        gaps=int(sums[0]),
        files=len(table),
        exact_before=float(sums[1] / sums[0]),
        exact_after=float(sums[2] / sums[0]),
        exact_gain=_interval((sums[2] - sums[1]) / sums[0], (resampled[:, 2] - resampled[:, 1]) / resampled[:, 0]),
        lift=_interval(sums[2] / sums[1] - 1, lifts) if sums[1] else None,
        bits_before=float(bits[0]),
        bits_after=float(bits[1]),
        cost=_interval(sums[4] / sums[3] - 1, resampled[:, 4] / resampled[:, 3] - 1),
    )


def _interval(value: float, resampled: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(float(value), float(low), float(high))


def _worse(tally: Tally, tolerance: float) -> str:
    if tally.cost.value > tolerance and tally.cost.low > 0:
        return f"the true answers cost {_percent(tally.cost)} bits, over {tally.gaps} gaps"
    if tally.exact_gain.high < 0:
        return f"{100 * tally.exact_before:.1f} % exact before, {100 * tally.exact_after:.1f} % after"
    return ""


def _percent(one: Interval) -> str:
    return f"{100 * one.value:+.1f} % ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _points(one: Interval) -> str:
    return f"{100 * one.value:+5.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
