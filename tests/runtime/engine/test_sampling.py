"""Greedy is the largest, a draw follows the distribution, and nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from model_runtime.engine.sampling import Sampling, choose, only, scored

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def _shares(sampling: Sampling) -> list[float]:
    random = np.random.default_rng(0)
    drawn = [choose(scored(LOGITS), sampling, random) for _ in range(4000)]
    return [drawn.count(token) / len(drawn) for token in range(4)]


def test_greedy_takes_the_largest() -> None:
    assert choose(scored(LOGITS), Sampling(), np.random.default_rng(0)) == 0


def test_log_probabilities_sum_to_one_even_for_huge_logits() -> None:
    scores = scored(np.array([1e4, 1e4, -1e4], np.float32))
    assert np.exp(scores.whole()).sum() == pytest.approx(1.0)
    assert (scores.best, scores.peak) == (0, pytest.approx(np.log(0.5)))


def test_one_log_probability_is_as_among_all() -> None:
    scores = scored(LOGITS)
    assert [scores[token] for token in range(4)] == pytest.approx(scores.whole().tolist())
    assert scores[scores.best] == pytest.approx(scores.peak)


def test_of_some_tokens_only_these_share_all_of_the_chance() -> None:
    scores = only(scored(LOGITS), np.array([1, 3]))
    assert np.exp(scores.whole()) == pytest.approx([0.0, 6 / 7, 0.0, 1 / 7], abs=1e-6)
    assert scores.best == 1


def test_a_draw_follows_the_distribution() -> None:
    assert _shares(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_a_low_temperature_sharpens() -> None:
    assert _shares(Sampling(temperature=0.2))[0] > 0.9


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-5, 2e-4])
def test_a_temperature_next_to_nothing_takes_the_largest(temperature: float) -> None:
    assert choose(scored(LOGITS), Sampling(temperature=temperature), np.random.default_rng(0)) == 0


def test_top_p_leaves_out_the_tail() -> None:
    shares = _shares(Sampling(temperature=1.0, top_p=0.7))
    assert shares[2:] == [0.0, 0.0]
    assert shares[:2] == pytest.approx([0.625, 0.375], abs=0.03)


def test_a_seed_repeats() -> None:
    runs = [
        [choose(scored(LOGITS), Sampling(1.0), random) for _ in range(20)]
        for random in (np.random.default_rng(5), np.random.default_rng(5))
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("temperature", "top_p"), [(-1.0, 1.0), (float("nan"), 1.0), (0.5, 0.0), (0.5, 1.5)])
def test_nonsense_is_refused_with_what_to_give(temperature: float, top_p: float) -> None:
    with pytest.raises(ValueError, match="give a number"):
        Sampling(temperature, top_p)
