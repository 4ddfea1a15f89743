"""Rows of replays in, the gate's coefficients out, and what they are worth on packages they were not fitted on.

    python -m benchmarks.replay --options '{"eagerness": "always"}' --packages … --rows FIT      (held_out.FITTED)
    python -m benchmarks.replay --options '{"eagerness": "always"}' --rows JUDGE                 (held_out.JUDGED)
    python -m benchmarks.gate --judge JUDGE… [--fit FIT… [--write]] [--json]

A row counts where something was shown. Logistic regression by Newton's method, each package weighing the same. The
thresholds are those that show a share (COVERAGE) of the suggestions fitted on. Judged by **lift**: how many times
likelier a suggestion is right among the likelier half than among all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import moments
from benchmarks.moments import Moment, Row
from lsp_server.completion import gate
from lsp_server.completion.gate import Gate

COVERAGE = {"shy": 0.2, "balanced": 0.45, "eager": 0.75}  # share of suggestions shown, by eagerness
PRIOR = 20.0  # strength of the pull of a standardized weight towards none, in suggestions
FILE = Path(gate.__file__).with_name("gate.json")

Array = NDArray[np.float64]


def judged(rows: Sequence[Row]) -> list[Moment]:
    """The rows to go by: what was shown where the author's line goes on, and with what features."""
    return [row for row in rows if isinstance(row, Moment) and row.shown and row.goes_on and row.features]


def fit(found: Sequence[Moment], steps: int = 30) -> Gate:
    """The likeliest model of which were right. Raises ValueError when there is nothing to learn from."""
    if not any(one.right for one in found) or all(one.right for one in found):
        raise ValueError(f"{len(found)} suggestions, all right or all wrong, teach nothing; replay more")
    names = sorted(found[0].features)
    seen = np.array([[one.features.get(name, 0.0) for name in names] for one in found])
    right = np.array([one.right for one in found], np.float64)
    sizes = Counter(one.package for one in found)
    weight = np.array([len(found) / len(sizes) / sizes[one.package] for one in found])
    mean, spread = seen.mean(0), np.maximum(seen.std(0), 1e-6)
    sheet = np.hstack([np.ones((len(found), 1)), (seen - mean) / spread])
    slopes = np.zeros(len(names) + 1)
    hold = np.diag([0.0, *[PRIOR] * len(names)])
    for _ in range(steps):
        share = 1 / (1 + np.exp(-(sheet @ slopes)))
        up = sheet.T @ (weight * (right - share)) - hold @ slopes
        down = (sheet * (weight * share * (1 - share))[:, None]).T @ sheet + hold
        slopes += np.linalg.solve(down, up)
    weights = slopes[1:] / spread
    made = Gate(
        bias=round(float(slopes[0] - weights @ mean), 4),
        weights={name: round(float(one), 4) for name, one in zip(names, weights, strict=True)},
        least={},
    )
    likely = likelihoods(made, [one for one in found if one.fresh])
    least = {name: round(float(np.quantile(likely, 1 - share)), 4) for name, share in COVERAGE.items()}
    return msgspec.structs.replace(made, least=least)


def likelihoods(made: Gate, found: Sequence[Moment]) -> Array:
    """What the gate thinks of each."""
    return np.array([made.likelihood(one.features) for one in found])


def worth(made: Gate, found: Sequence[Moment]) -> dict[str, Any]:
    """How well the gate tells right from wrong among suggestions, each counted when it first appears."""
    fresh = [one for one in found if one.fresh]
    likely, right = likelihoods(made, fresh), np.array([one.right for one in fresh], np.float64)
    base = right.mean() if len(right) else 0.0
    if base in (0.0, 1.0):
        return {"suggestions": len(fresh), "right_share": round(float(base), 4)}
    half = right[np.argsort(-likely, kind="stable")[: -(-len(fresh) // 2)]].mean()
    return {
        "suggestions": len(fresh),
        "right_share": round(float(base), 4),
        "right_share_of_likelier_half": round(float(half), 4),
        "lift_at_half": round(float(half / base), 3),
        "area_under_curve": round(_area(likely, right), 4),
        "calibration_error": round(_miscalibration(likely, right), 4),
        "by_eagerness": {
            name: {
                "shown": round(float((likely >= least).mean()), 4),
                "right_share": round(float(right[likely >= least].mean()), 4) if (likely >= least).any() else None,
                "of_the_right_ones": round(float(right[likely >= least].sum() / right.sum()), 4),
            }
            for name, least in made.least.items()
        },
    }


def _area(likely: Array, right: Array) -> float:
    """The chance that a right one is thought likelier than a wrong one."""
    above = likely[right == 1][:, None] - likely[right == 0][None, :]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def _miscalibration(likely: Array, right: Array) -> float:
    """Expected calibration error over ten bins of equally many."""
    bins = np.array_split(np.argsort(likely), 10)
    return float(sum(abs(likely[one].mean() - right[one].mean()) * len(one) for one in bins if len(one)) / len(likely))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--fit", type=Path, nargs="+", metavar="ROWS", help="fit on these; else judge the gate as it is"
    )
    parser.add_argument("--judge", type=Path, nargs="+", metavar="ROWS", default=[])
    parser.add_argument("--write", action="store_true", help=f"keep the coefficients in {FILE.name}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        made = _fitted(judged(moments.read(arguments.fit))) if arguments.fit else gate.fitted()
        others = judged(moments.read(arguments.judge))
    except (OSError, ValueError) as error:
        print(f"gate: {error}", file=sys.stderr)
        return 1
    shared = sorted(set(made.fitted.get("packages", "").split(", ")) & {one.package for one in others})
    if shared:
        print(f"gate: {', '.join(shared)}: fitted on already; judge it by other packages", file=sys.stderr)
        return 1
    if arguments.write:
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    languages = sorted({one.language for one in others})
    report = {
        "fitted": made.fitted,
        "weights": made.weights,
        **worth(made, others),
        "languages": {name: worth(made, [one for one in others if one.language == name]) for name in languages},
    }
    print(json.dumps(report, indent=2) if arguments.json else _table(report))
    return 0


def _fitted(found: Sequence[Moment]) -> Gate:
    packages = ", ".join(sorted({one.package for one in found}))
    fresh = sum(one.fresh for one in found)
    return msgspec.structs.replace(
        fit(found), fitted={"by": "python -m benchmarks.gate", "packages": packages, "suggestions": str(fresh)}
    )


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'':12}{'suggestions':>12}{'right':>9}{'in half':>9}{'lift':>7}{'area':>8}{'error':>8}"]
    for name, one in [*report["languages"].items(), ("all", report)]:
        cells = (one["suggestions"], one["right_share"], one.get("right_share_of_likelier_half"))
        more = (one.get("lift_at_half"), one.get("area_under_curve"), one.get("calibration_error"))
        widths = (12, 9, 9, 7, 8, 8)
        lines.append(
            f"{name:12}" + "".join(f"{cell!s:>{width}}" for cell, width in zip((*cells, *more), widths, strict=True))
        )
    lines += [f"{name:12}{one}" for name, one in report.get("by_eagerness", {}).items()]
    return "\n".join([*lines, f"weights: {report['weights']}"])


if __name__ == "__main__":
    sys.exit(main())
