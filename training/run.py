"""A RUN.toml in, frozen settings of one training run out. Ignores what is done with them."""

from __future__ import annotations

from pathlib import Path

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
    """batch: tokens in one pass through the network; accumulate: passes a step; warmup: steps."""

    batch: int
    accumulate: int
    warmup: int
    middle_weight: float
    checkpoint_minutes: float


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learning rates of the stable phase; momentum of Muon; decay: of the matrices, per unit of rate."""

    matrices: float
    others: float
    momentum: float
    decay: float


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
    try:
        run = msgspec.toml.decode(path.read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}; see training/runs/bootstrap.toml for every field") from error
    longest = max(length for length, _ in run.rows.buckets)
    if longest > run.shape.context_length:
        raise ValueError(f"{path}: rows of {longest} tokens exceed context_length; shorten them")
    return run
