"""Scaled rotary embeddings: what turns fast stays as it is, what turns slowly is slowed down. Parity has the digits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_runtime.errors import CheckpointError
from model_runtime.importer.hf_config import Configuration
from model_runtime.importer.rope import Rope, rope

PLAIN = 10_000.0 ** (-np.arange(32) / 32)


def scaled(scaling: dict[str, Any] | None, *, name: str = "rope_scaling", **more: Any) -> Rope:
    values = {"max_position_embeddings": 4096, "rope_theta": 10_000.0, **more}
    return rope(Configuration(Path("config.json"), {**values, name: scaling}), 64)


@pytest.mark.parametrize("scaling", [None, {}, {"rope_type": "default"}])
def test_without_scaling_theta_says_it_all(scaling: dict[str, Any] | None) -> None:
    assert scaled(scaling) == Rope(10_000.0)


def test_theta_may_stand_within_the_scaling() -> None:
    assert scaled({"rope_type": "default", "rope_theta": 5e5}, name="rope_parameters") == Rope(5e5)


@pytest.mark.parametrize("kind", ["type", "rope_type"])
def test_linear_slows_every_pair(kind: str) -> None:
    found = scaled({kind: "linear", "factor": 4.0})
    assert found.frequencies == pytest.approx(PLAIN / 4)
    assert found.magnitude == 1


def test_dynamic_is_plain_within_the_trained_length() -> None:
    assert scaled({"type": "dynamic", "factor": 2.0}) == Rope(10_000.0, limit=4096)


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {"rope_type": "yarn"},
        {"rope_type": "yarn", "truncate": False, "beta_fast": 16, "beta_slow": 2},
    ],
)
def test_slow_pairs_are_slowed_and_fast_ones_left(scaling: dict[str, Any]) -> None:
    found = scaled({**scaling, "factor": 8.0, "original_max_position_embeddings": 512})
    assert found.frequencies is not None
    share = np.array(found.frequencies) / PLAIN
    turns = 512 * PLAIN / (2 * math.pi)
    assert share[turns > 40] == pytest.approx(1)
    assert share[turns < 0.7] == pytest.approx(1 / 8)
    assert (np.diff(share) <= 1e-12).all()


def test_yarn_raises_cos_and_sin() -> None:
    scaling = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512}
    assert scaled(scaling).magnitude == pytest.approx(0.1 * math.log(8) + 1)
    assert scaled({**scaling, "attention_factor": 1.5}).magnitude == 1.5
    assert scaled({**scaling, "mscale": 0.7, "mscale_all_dim": 0.7}).magnitude == 1


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "longrope"}, "scaled by 'longrope', which is not known here"),
        ({"rope_type": "linear"}, "factor is missing"),
        ({"rope_type": "llama3", "factor": 8.0}, "original_max_position_embeddings is missing"),
        ("linear", "rope_scaling is 'linear', it must be an object"),
    ],
)
def test_a_scaling_that_is_unknown_or_incomplete_is_named(scaling: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        scaled(scaling)
