"""The memory of a workspace against the obvious way to count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.engine.ngrams import LONGEST, Continuation, NGrams, mix, weight
from model_runtime.engine.sampling import scored
from model_runtime.manifest import MixtureWeights

Streams = list[list[int]]


def counted(streams: Streams, context: Sequence[int]) -> tuple[int, Counter[int]]:
    """Length of the longest end of context that is followed by anything, and what it is followed by."""
    for length in range(min(len(context), LONGEST), 0, -1):
        end = list(context[-length:])
        followed = Counter(
            stream[at + length]
            for stream in streams
            for at in range(len(stream) - length)
            if stream[at : at + length] == end
        )
        if followed:
            return length, followed
    return 0, Counter()


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=5), st.lists(st.integers(0, 3), min_size=1, max_size=12)
)
def test_it_counts_as_one_would_by_hand(streams: Streams, context: list[int]) -> None:
    found = NGrams(streams, 10_000).after(context)
    length, followed = counted(streams, context)
    if found is None:
        assert not followed
        return
    assert found.length == length
    assert dict(zip(found.tokens.tolist(), found.shares.tolist(), strict=True)) == pytest.approx(
        {token: count / followed.total() for token, count in followed.items()}
    )


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=5),
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.sets(st.integers(0, 3), min_size=1),
)
def test_where_only_some_may_follow_the_longest_end_that_any_of_them_followed_counts(
    streams: Streams, context: list[int], allowed: set[int]
) -> None:
    memory = NGrams(streams, 10_000)
    found = memory.among(np.array(sorted(allowed)), context, memory.after(context))
    ends = [counted(streams, context[-length:]) for length in range(len(context), 0, -1)]
    fit = [
        (length, [followed[one] for one in sorted(allowed)]) for length, followed in ends if followed.keys() & allowed
    ]
    if found is None:
        assert not fit
        return
    length, counts = fit[0]
    assert found.length == length
    shares = [float(found.shares[found.tokens == one].sum()) for one in sorted(allowed)]
    assert shares == pytest.approx([count / sum(counts) for count in counts])


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=60), max_size=5), st.lists(st.integers(0, 2), min_size=1, max_size=50)
)
def test_going_on_from_the_answer_before_finds_the_same(streams: Streams, context: list[int]) -> None:
    memory = NGrams(streams, 10_000)
    before: Continuation | None = None
    for end in range(1, len(context) + 1):
        afresh = memory.after(context[:end])
        before = memory.after(context[:end], before)
        assert (before is None) == (afresh is None)
        if before is not None and afresh is not None:
            assert (before.length, before.found) == (afresh.length, afresh.found)
            assert np.array_equal(before.shares, afresh.shares)


def test_going_on_finds_the_same_where_only_some_of_what_followed_are_counted() -> None:
    source = np.random.default_rng(5)
    memory = NGrams([(source.random(3000) ** 3 * 4).astype(int).tolist() for _ in range(3)], 10_000)
    before: Continuation | None = None
    sampled = 0
    context: list[int] = []
    for token in (source.random(400) ** 2 * 5).astype(int).tolist():  # 4 is never known
        context.append(token)
        before, afresh = memory.after(context, before), memory.after(context)
        assert (before is None) == (afresh is None)
        if before is not None and afresh is not None:
            sampled += before.seen > len(before.following) + 1
            assert (before.length, before.found) == (afresh.length, afresh.found)
            assert np.array_equal(before.tokens, afresh.tokens)
    assert sampled > 50


def test_what_is_drafted_comes_with_what_the_memory_says() -> None:
    memory = NGrams([[5, 6, 7, 8, 5, 6, 9, 5, 6, 7, 5]], 100)
    context = [5]
    for known in memory.draft(context, 4):
        afresh = memory.after(context)
        assert afresh is not None
        assert (known.length, known.found) == (afresh.length, afresh.found)
        assert known.holds(known.likeliest)
        assert not known.holds(99)
        context.append(known.likeliest)
    assert context == [5, 6, 7, 5]


def test_no_match_crosses_from_one_stream_into_the_next() -> None:
    found = NGrams([[1, 2], [3, 4]], 100).after([2])
    assert found is None


def test_the_limit_is_honoured() -> None:
    assert len(NGrams([[1] * 100, [2] * 100], 50)) <= 50
    assert len(NGrams([], 50)) == 0
    assert NGrams([], 50).after([1]) is None


def test_a_draft_follows_what_was_written_before() -> None:
    memory = NGrams([[5, 6, 7, 8, 9, 10]], 100)
    assert [known.likeliest for known in memory.draft([1, 2, 6, 7], 8)] == [8, 9, 10]
    assert memory.draft([99], 8) == []


@pytest.mark.parametrize("tokens", [[7], [7, 20, 41]])
def test_a_mixture_is_a_distribution_and_favours_what_was_seen(tokens: list[int]) -> None:
    scores = scored(np.random.default_rng(0).standard_normal(50).astype(np.float32))
    shares = np.full(len(tokens), 1 / len(tokens), np.float32)
    mixed = mix(scores, Continuation(12, range(5), np.array(tokens), shares), MixtureWeights())
    assert np.exp(mixed.whole()).sum() == pytest.approx(1.0, abs=1e-5)
    assert all(mixed[token] > scores[token] for token in tokens)
    assert mixed.best == mixed.whole().argmax() and mixed.peak == pytest.approx(mixed.whole().max())
    assert mix(scores, None, MixtureWeights()) is scores


def test_a_mixture_s_likeliest_token_may_be_the_model_s_own() -> None:
    logits = np.zeros(50, np.float32)
    logits[3] = 9.0
    mixed = mix(scored(logits), Continuation(1, range(1), np.array([7]), np.array([1.0], np.float32)), MixtureWeights())
    assert mixed.best == mixed.whole().argmax() == 3 and mixed.peak == pytest.approx(mixed[3])


def test_a_longer_and_surer_match_is_believed_more_and_a_sure_model_less() -> None:
    def believed(length: int, share: float, sure: float) -> float:
        return weight(
            MixtureWeights(), Continuation(length, range(3), np.array([1]), np.array([share], np.float32)), sure
        )

    assert 0 < believed(1, 0.3, -1.0) < believed(8, 0.3, -1.0) < believed(8, 1.0, -1.0) < 1
    assert believed(8, 1.0, -0.01) < believed(8, 1.0, -3.0)
