"""Gaps that several arms have filled in, what they gain over the model alone out. Ignores how they did it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.hidden_lines import KINDS
from benchmarks.samples import spread

MODEL, RETRIEVAL, MEMORY, BOTH, ORACLE, ALONE = (
    "model",
    "+ retrieval",
    "+ memory",
    "+ both",
    "oracle",
    "memory alone",
)
ARMS = (MODEL, RETRIEVAL, MEMORY, BOTH, ORACLE, ALONE)
PARTS = ("all", "another file", "this file alone", *KINDS)


@dataclass(frozen=True)
class Try:
    """One gap filled by one arm. nats: log-probability of the true rest, None for an arm without a model."""

    exact: bool
    similar: float
    nats: float | None
    ms: float


@dataclass(frozen=True)
class Record:
    """One gap filled by every arm. crossing: it needs another file. search_ms: what finding the snippets took."""

    root: str
    path: str
    line: int
    kind: str
    crossing: bool
    search_ms: float
    tries: dict[str, Try]

    def is_of(self, part: str) -> bool:
        """Whether it counts for a part of the report."""
        return part in ("all", self.kind, "another file" if self.crossing else "this file alone")


@dataclass(frozen=True)
class Gain:
    """One arm. exact, similar: shares of 1; gains: over the model alone, with the ends of their 95 % interval.

    exact_over_memory: the same over the memory alone, None where that was not asked.
    """

    n: int
    exact: float
    exact_gain: tuple[float, float, float]
    exact_over_memory: tuple[float, float, float] | None
    similar: float
    nats: float | None
    nats_gain: tuple[float, float, float] | None
    p50_ms: float
    p95_ms: float


def paired(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval (normal approximation)."""
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return mean, mean - 1.96 * error, mean + 1.96 * error


def report(found: Sequence[Record]) -> dict[str, dict[str, Gain]]:
    """Part → arm → row, for parts and arms that have any gap."""
    parts = {part: [one for one in found if one.is_of(part)] for part in PARTS}
    return {
        part: {arm: _row(mine, arm) for arm in ARMS if (mine := [one for one in some if arm in one.tries])}
        for part, some in parts.items()
        if some
    }


def _row(found: Sequence[Record], arm: str) -> Gain:
    tries = [one.tries[arm] for one in found]
    pairs = [(one.tries[arm], one.tries[MODEL]) for one in found]
    scored = [(mine.nats, alone.nats) for mine, alone in pairs if mine.nats is not None and alone.nats is not None]
    over = [float(one.tries[arm].exact - one.tries[ALONE].exact) for one in found if ALONE in one.tries]
    times = spread(one.ms for one in tries)
    return Gain(
        n=len(tries),
        exact=statistics.fmean(one.exact for one in tries),
        exact_gain=paired([float(mine.exact - alone.exact) for mine, alone in pairs]),
        exact_over_memory=paired(over) if over else None,
        similar=statistics.fmean(one.similar for one in tries),
        nats=statistics.fmean(mine for mine, _ in scored) if scored else None,
        nats_gain=paired([mine - alone for mine, alone in scored]) if scored else None,
        p50_ms=times["p50"],
        p95_ms=times["p95"],
    )


def show(rows: dict[str, dict[str, Gain]]) -> None:
    """Prints a table."""
    for part, arms in rows.items():
        print(
            f"{part:18}    n  exact %  over the model          over the memory"
            "         similar  nats over the model      p50/p95 ms"
        )
        for arm, row in arms.items():
            gain, over = _percent(row.exact_gain), _percent(row.exact_over_memory)
            nats = "" if row.nats_gain is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*row.nats_gain)
            exact = f"{100 * row.exact:7.1f}   {gain:23} {over:23}"
            times = f"{row.p50_ms:.0f}/{row.p95_ms:.0f}"
            print(f"  {arm:14} {row.n:6} {exact} {row.similar:6.2f}   {nats:24} {times}")


def _percent(gain: tuple[float, float, float] | None) -> str:
    return "" if gain is None else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in gain))
