"""A RUN.toml in, frozen settings of one training run out. Ignores what is done with them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from model_runtime.manifest import Shape


class RowPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """buckets: (row length in tokens, share of samples); cap: bytes of a package a pass; shards: a pass.

    cross_file, plain: shares of samples with snippets, and without a hole.
    """

    buckets: tuple[tuple[int, float], ...]
    cap: int
    shards: int
    cross_file: float = 0.1
    plain: float = 0.12


class StepPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """batch: tokens in one pass through the network; accumulate: passes a step; warmup: steps.

    middle_weight, kept_weight: of the tokens of middles, and of rows marked as kept, by those of other text.
    """

    batch: int
    accumulate: int
    warmup: int
    middle_weight: float
    checkpoint_minutes: float
    kept_weight: float = 1.0


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learning rates of the stable phase; momentum of Muon; decay: of the matrices, per unit of rate.

    muon: False trains the matrices by AdamW too, at the rate `others`.
    """

    matrices: float
    others: float
    momentum: float
    decay: float
    muon: bool = True


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of a RUN.toml."""

    name: str
    seed: int
    shape: Shape
    rows: RowPlan
    steps: StepPlan
    rates: Rates


def read(path: Path) -> Run:
    """Raises ValueError that names the file and the field when something is missing or odd."""
    return convert(path, tomllib.loads(path.read_text(encoding="utf-8")))


def read_variants(path: Path) -> tuple[int, dict[str, Run]]:
    """Steps of each run, and the runs by name, "base" first. Raises ValueError that names what is wrong.

    The file is a RUN.toml with tables `[variants.NAME.…]` that say what differs, and `[budget]`.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    variants = tables.pop("variants", {})
    steps = tables.pop("budget", {}).get("steps")
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"{path}: [budget] steps is missing; say how many steps every variant takes")
    return steps, {name: convert(path, _merged(tables, one)) for name, one in {"base": {}, **variants}.items()}


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, one in change.items():
        found[key] = _merged(base.get(key, {}), one) if isinstance(one, dict) else one
    return found


def convert(path: Path, tables: Mapping[str, Any]) -> Run:
    """The settings of tables that came from `path`. Raises ValueError as `read` does."""
    try:
        run = msgspec.convert(tables, Run)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}; see training/runs/bootstrap.toml for every field") from error
    longest = max(length for length, _ in run.rows.buckets)
    if longest > run.shape.context_length:
        raise ValueError(f"{path}: rows of {longest} tokens exceed context_length; shorten them")
    return run
