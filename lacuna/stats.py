"""The journal's records in, what can be said about them out: how much was taken, how fast, and why nothing showed.

Knows nothing of terminals or pages. Rates are None where there is nothing to divide by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from statistics import quantiles

import msgspec

from lsp_server.feedback.journal import AnswerRecord, Outcome, Record, Retention

SEEN = 0.3  # seconds: a suggestion that was gone sooner was not read, and nobody can have refused it
STAGES = ("debounce", "queue", "layout", "prefill", "decode", "outside")


class Tally(msgspec.Struct, frozen=True):
    """Suggestions by their fates. shown: those that somebody could read, or took; the rest adds up to it.

    written: characters of code that came from them; saved: keys that need not be pressed for those.
    """

    shown: int = 0
    accepted: int = 0
    partly: int = 0
    typed: int = 0
    overtyped: int = 0
    dismissed: int = 0
    written: int = 0
    saved: int = 0
    acceptance: float | None = None


class Speed(msgspec.Struct, frozen=True):
    """How long `suggestions` took. In milliseconds, of those that the model wrote just then: the median, the slowest
    twentieth, and the median of each stage; one of which nothing was measured is missing. The others were remembered.
    """

    suggestions: int = 0
    median: float | None = None
    slowest: float | None = None
    stages: dict[str, float] = {}


class Row(msgspec.Struct, frozen=True):
    """One day, one language, or all of it."""

    tally: Tally
    speed: Speed


class Survival(msgspec.Struct, frozen=True):
    """Of `looked` accepted suggestions, the mean share of characters that was still there after so many seconds."""

    looked: int
    share: float


class Statistics(msgspec.Struct, frozen=True):
    """Everything there is to say. days and languages: oldest and most used first; reasons: most frequent first.

    requests: that were answered, nothing to show included. remembered: of the suggestions, those from memory.
    """

    total: Row
    days: dict[str, Row]
    languages: dict[str, Row]
    survival: dict[int, Survival]
    reasons: dict[str, int]
    requests: int
    remembered: int


@dataclass
class _Pile:
    outcomes: list[Outcome] = field(default_factory=list)
    answers: list[AnswerRecord] = field(default_factory=list)

    def row(self) -> Row:
        return Row(_tally(self.outcomes), _speed(self.answers))


def gather(records: Iterable[Record]) -> Statistics:
    """The statistics of some records, whatever their order."""
    total, days, languages = _Pile(), defaultdict[str, _Pile](_Pile), defaultdict[str, _Pile](_Pile)
    kept = defaultdict[int, list[float]](list)
    for record in records:
        if isinstance(record, Retention):
            kept[record.after].append(record.share)
            continue
        for pile in (total, days[date.fromtimestamp(record.at).isoformat()], languages[record.language]):
            if isinstance(record, Outcome):
                pile.outcomes.append(record)
            else:
                pile.answers.append(record)
    reasons = Counter(one.reason for one in total.answers if one.reason is not None)
    by_language = {name: pile.row() for name, pile in languages.items()}
    return Statistics(
        total=total.row(),
        days={name: days[name].row() for name in sorted(days)},
        languages=dict(sorted(by_language.items(), key=lambda one: (-one[1].tally.shown, one[0]))),
        survival={
            after: Survival(len(shares), _rounded(sum(shares) / len(shares))) for after, shares in sorted(kept.items())
        },
        reasons=dict(reasons.most_common()),
        requests=len(total.answers),
        remembered=sum(one.source == "memory" and one.reason is None for one in total.answers),
    )


def _tally(outcomes: list[Outcome]) -> Tally:
    seen = [
        one for one in outcomes if one.fate != "replaced" and (one.visible >= SEEN or one.taken or one.fate == "typed")
    ]
    fates = Counter(one.fate for one in seen)
    taken = [one for one in seen if one.taken]
    return Tally(
        shown=len(seen),
        accepted=fates["accepted"],
        partly=fates["partly"],
        typed=fates["typed"],
        overtyped=fates["overtyped"],
        dismissed=fates["dismissed"],
        written=sum(one.taken for one in taken),
        saved=sum(one.taken - 1 for one in taken),
        acceptance=_rounded((fates["accepted"] + fates["partly"]) / len(seen)) if seen else None,
    )


def _speed(answers: list[AnswerRecord]) -> Speed:
    shown = [one for one in answers if one.reason is None]
    fresh = [one for one in shown if one.source == "model"]
    stages = {}
    for stage in STAGES:
        spent = [value for one in fresh if (value := getattr(one, stage)) is not None]
        if spent:
            stages[stage] = _rounded(_quantile(spent, 50))
    if not fresh:
        return Speed(len(shown))
    totals = [one.total for one in fresh]
    return Speed(len(shown), _rounded(_quantile(totals, 50)), _rounded(_quantile(totals, 95)), stages)


def _quantile(values: list[float], percent: int) -> float:
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def _rounded(value: float) -> float:
    return round(value, 3)
