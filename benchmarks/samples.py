"""Samples of one typing session in, percentiles by class and a verdict on each threshold out. Measures nothing.

A sample is one request. Its class: *cold* is the first one answered after a jump (and those before it that the next
key cut off); *through* was answered from what an earlier answer had said; *warm* is every other one.

A suggestion is **due** for a request when the server's trigger says go, the line as the author wrote it goes on at
the cursor, and the model has something to say there when it may take the whole of its time: 1000 ms. The last is
seen from the request's own answer, or, where the next key cut that off, from the same text asked about again after
the session. Only requests that the typist left alone for 150 ms count, whatever became of them: one that the next
key cut off sooner can be neither kept nor missed, and to count the answers that were quicker than such keys would
make the share look better than it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PROMPT = 150.0  # ms in which a suggestion that is due has to be there

Class = Literal["cold", "warm", "through"]


@dataclass
class Sample:
    """One request. latency_ms: until its reply; left_ms: until the next key; both None while they are not known.

    timing: what the server says of it. shown: the reply came before the next key and held text. rest: the line goes
    on at the cursor. probed: whether the model had something to say when it was asked again. at: seconds since the
    beginning. state: file, lines and position, to ask again.
    """

    id: int
    at: float
    kind: str
    cold: bool
    rest: bool
    latency_ms: float | None = None
    left_ms: float | None = None
    shown: bool = False
    timing: dict[str, Any] | None = None
    probed: bool | None = None
    state: Any = None

    @property
    def cls(self) -> Class:
        """The class it counts in."""
        if self.cold:
            return "cold"
        return "through" if self.said("source") == "memory" else "warm"

    def said(self, name: str) -> Any:
        """A field of the server's timing; None where it said nothing."""
        return None if self.timing is None else self.timing.get(name)

    @property
    def interrupted(self) -> bool:
        """The server gave up on it for the next key. How its time was spent until then is not known."""
        return bool(self.said("reason") == "superseded")

    @property
    def skipped(self) -> bool:
        """The trigger said no."""
        return self.said("source") == "skip" and not self.interrupted

    @property
    def superseded(self) -> bool:
        """The next key came before the reply."""
        return self.left_ms is not None and (self.latency_ms is None or self.latency_ms > self.left_ms)

    @property
    def judged(self) -> bool:
        """It could have been due: the trigger said go, the line goes on, and the typist left it its time."""
        return self.rest and not self.skipped and (self.left_ms is None or self.left_ms >= PROMPT)

    @property
    def unknown(self) -> bool:
        """Whether it was due can only be found by asking again."""
        return self.judged and not self.cold and not self.shown and self.superseded and self.probed is None

    @property
    def due(self) -> bool:
        """It had to be answered within PROMPT."""
        return self.judged and (self.shown or bool(self.probed))

    @property
    def prompt(self) -> bool:
        """It was."""
        return self.shown and self.latency_ms is not None and self.latency_ms <= PROMPT


@dataclass(frozen=True)
class Threshold:
    """One line of the verdict; `measured` None where nothing could be measured."""

    name: str
    measured: float | None
    limit: float
    least: bool = False  # the limit is the least, not the most

    @property
    def kept(self) -> bool:
        """Whether it is kept; not when nothing was measured."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.least else self.measured <= self.limit


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that `share` of all values do not exceed (nearest rank); None when there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def spread(values: Iterable[float]) -> dict[str, Any]:
    """n, p50, p95, p99 and max of some values."""
    kept = list(values)
    ranks = {f"p{share * 100:.0f}": percentile(kept, share) for share in (0.50, 0.95, 0.99, 1.0)}
    ranks["max"] = ranks.pop("p100")
    return {"n": len(kept), **{name: None if value is None else round(value, 2) for name, value in ranks.items()}}


def row(sample: Sample) -> dict[str, Any]:
    """A sample for a file: all but the text it was asked about."""
    own = {
        name: getattr(sample, name) for name in ("id", "at", "kind", "rest", "latency_ms", "left_ms", "shown", "probed")
    }
    return {**own, "class": sample.cls, "superseded": sample.superseded, "due": sample.due, "timing": sample.timing}


def classes(samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """For each class: requests, what became of them, and the latency of those that were shown."""
    return {name: _class([sample for sample in samples if sample.cls == name]) for name in ("cold", "warm", "through")}


def together(samples: Sequence[Sample]) -> dict[str, Any]:
    """The same for warm and through as one."""
    return _class([sample for sample in samples if sample.cls != "cold"])


def reasons(samples: Sequence[Sample]) -> dict[str, int]:
    """Why nothing was shown, most frequent first."""
    counted = Counter(
        "the next key came first" if sample.superseded else str(sample.said("reason") or "no reason given")
        for sample in samples
        if not sample.shown
    )
    return dict(counted.most_common())


def _class(samples: list[Sample]) -> dict[str, Any]:
    asked = [sample for sample in samples if not sample.skipped]
    shown = [sample.latency_ms for sample in asked if sample.shown and sample.latency_ms is not None]
    due = [sample for sample in asked if sample.due]
    return {
        "requests": len(samples),
        "skipped": len(samples) - len(asked),
        "superseded": sum(sample.superseded for sample in asked),
        "shown": len(shown),
        "shown_share": _share(len(shown), len(asked)),
        "shown_share_unless_superseded": _share(len(shown), sum(not sample.superseded for sample in asked)),
        "due": len(due),
        "due_within_150_ms": _share(sum(sample.prompt for sample in due), len(due)),
        "latency_ms": spread(shown),
    }


def stages(samples: Sequence[Sample]) -> dict[str, Any]:
    """Where the time goes: each stage over the requests that reached it, and the tokens prefilled by a warm key.

    Requests that the server gave up on are left out: they were waiting for something, and it is not said for what.
    """
    samples = [sample for sample in samples if not sample.interrupted]
    names = ("outside_ms", "debounce_ms", "queue_ms", "prefill_ms", "decode_ms", "model_ms")
    model = [sample for sample in samples if sample.said("source") == "model" and sample.cls == "warm"]
    return {
        **{name: spread(value for sample in samples if (value := sample.said(name)) is not None) for name in names},
        "prefilled_warm": spread(value for sample in model if (value := sample.said("prefilled")) is not None),
    }


def thresholds(report: dict[str, Any], *, huge: bool) -> list[Threshold]:
    """The promises the report is held to. huge: a file of many thousand lines, where only the pipeline is judged."""
    stage, by_class, memory = report["stages"], report["classes"], report["memory_mb"]
    outside = stage["outside_ms"]
    if huge:
        return [Threshold("outside the model, slowest key, ms", outside["max"], 20.0)]
    share = by_class["warm"]["due_within_150_ms"]
    return [
        Threshold("warm, due: shown within 150 ms, %", None if share is None else 100 * share, 95.0, least=True),
        Threshold("cold: shown, p95, ms", by_class["cold"]["latency_ms"]["p95"], 1000.0),
        Threshold("tokens prefilled a warm key, p50", stage["prefilled_warm"]["p50"], 4.0),
        Threshold("tokens prefilled a warm key, p95", stage["prefilled_warm"]["p95"], 16.0),
        Threshold("outside the model, p99, ms", outside["p99"], 10.0),
        Threshold("editor process, resident MB", memory["editor"], 150.0),
        Threshold("daemon, resident MB", memory["daemon"], 350.0),
        Threshold("CPU seconds a minute of typing", report["cpu"]["typing_s_per_min"], 25.0),
        Threshold("CPU 30 s after the last key, % of a core", report["cpu"]["idle_percent"], 0.5),
    ]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
