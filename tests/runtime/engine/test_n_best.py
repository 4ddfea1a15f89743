"""How a first text may be left."""

from __future__ import annotations

import numpy as np

from model_runtime.engine.n_best import Fork, distinct, noted

SPELLED = {1: b"foo", 2: b"fo", 3: b"o", 4: b"bar", 5: b"", 6: b"(", 7: b"[", 8: b"food"}


def test_the_likeliest_ways_out_are_kept_in_order() -> None:
    scores = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    forks = noted([], scores, 0, 0, 0.0)
    forks = noted(forks, scores, 0, 1, -0.2)
    assert [(fork.at, fork.token) for fork in forks] == [(0, 1), (1, 1), (0, 2), (1, 2)]


def test_a_fork_that_may_spell_the_same_is_left_out() -> None:
    first = [1, 6]  # foo(
    forks = [Fork(0, 2, -1.0), Fork(0, 8, -2.0), Fork(0, 4, -3.0), Fork(1, 7, -4.0), Fork(1, 5, -5.0)]
    assert [fork.token for fork in distinct(forks, first, SPELLED.__getitem__, 5)] == [8, 4, 7]


def test_no_more_than_asked() -> None:
    forks = [Fork(0, 4, -1.0), Fork(1, 7, -2.0)]
    assert distinct(forks, [1, 6], SPELLED.__getitem__, 1) == [Fork(0, 4, -1.0)]
    assert distinct(forks, [1, 6], SPELLED.__getitem__, 0) == []
