"""Greedy is the largest, a draw follows the distribution, and nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from model_runtime.sampling import Sampling, choose, log_probabilities

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def _shares(sampling: Sampling) -> list[float]:
    random = np.random.default_rng(0)
    drawn = [choose(LOGITS, sampling, random) for _ in range(4000)]
    return [drawn.count(token) / len(drawn) for token in range(4)]


def test_greedy_takes_the_largest() -> None:
    assert choose(LOGITS, Sampling(), np.random.default_rng(0)) == 0


def test_log_probabilities_sum_to_one_even_for_huge_logits() -> None:
    assert np.exp(log_probabilities(np.array([1e4, 1e4, -1e4], np.float32))).sum() == pytest.approx(1.0)


def test_a_draw_follows_the_distribution() -> None:
    assert _shares(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_a_low_temperature_sharpens() -> None:
    assert _shares(Sampling(temperature=0.2))[0] > 0.9


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-5, 2e-4])
def test_a_temperature_next_to_nothing_takes_the_largest(temperature: float) -> None:
    assert choose(LOGITS, Sampling(temperature=temperature), np.random.default_rng(0)) == 0


def test_top_p_leaves_out_the_tail() -> None:
    shares = _shares(Sampling(temperature=1.0, top_p=0.7))
    assert shares[2:] == [0.0, 0.0]
    assert shares[:2] == pytest.approx([0.625, 0.375], abs=0.03)


def test_a_seed_repeats() -> None:
    runs = [
        [choose(LOGITS, Sampling(1.0), random) for _ in range(20)]
        for random in (np.random.default_rng(5), np.random.default_rng(5))
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("temperature", "top_p"), [(-1.0, 1.0), (float("nan"), 1.0), (0.5, 0.0), (0.5, 1.5)])
def test_nonsense_is_refused_with_what_to_give(temperature: float, top_p: float) -> None:
    with pytest.raises(ValueError, match="give a number"):
        Sampling(temperature, top_p)
