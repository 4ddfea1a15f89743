"""Drafts: which are made, and that they change nothing but the time that a text takes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.ngrams import NGrams
from model_runtime.speculation import MOST, Chances, Drafter, worth

FLAT = tuple([1.0] * (MOST + 1))  # a run over many tokens costs what one over one does
STEEP = tuple(float(count) for count in range(1, MOST + 2))  # checking costs what writing does


def test_nothing_is_drafted_where_checking_costs_what_writing_does() -> None:
    assert worth([0.99] * MOST, STEEP) == (0, 1.0)


def test_all_is_drafted_where_checking_costs_nothing() -> None:
    count, gain = worth([0.99] * MOST, FLAT)
    assert count == MOST
    assert gain == pytest.approx((1 - 0.99 ** (MOST + 1)) / 0.01)


@given(st.lists(st.floats(0, 1), max_size=MOST), st.lists(st.floats(0.01, 3), min_size=1, max_size=MOST + 1))
def test_no_other_number_is_worth_more(chances: list[float], steps: list[float]) -> None:
    costs = [sum(steps[: at + 1]) for at in range(len(steps))]

    def gain(count: int) -> float:
        expected = right = 1.0
        for chance in chances[:count]:
            right *= chance
            expected += right
        return expected * costs[0] / costs[count]

    count, found = worth(chances, costs)
    assert found == pytest.approx(gain(count))
    best = max(gain(other) for other in range(min(len(chances), len(costs) - 1) + 1))
    assert best == pytest.approx(found) or (count == 0 and best <= 1.1)


def test_a_text_that_repeats_itself_is_drafted_as_it_went_on_before() -> None:
    drafter = Drafter(Chances(), FLAT, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3])
    assert drafter.draft(MOST) == [4, 5, 6, 7, 8, 9, 1, 2, 3]
    assert drafter.draft(2) == [4, 5]
    drafter.hear(4, None)
    assert drafter.draft(3) == [5, 6, 7]


def test_what_stood_last_is_drafted_not_what_stood_first() -> None:
    assert Drafter(Chances(), FLAT, [1, 2, 7, 1, 2, 8, 1, 2]).draft(1) == [8]


def test_nothing_is_drafted_after_what_never_stood_there() -> None:
    drafter = Drafter(Chances(), FLAT, [1, 2, 3, 4])
    assert drafter.draft(MOST) == []
    drafter.hear(9, None)
    assert drafter.draft(MOST) == []


@pytest.mark.parametrize("prompt", [[], [1], [1, 1], [1, 1, 1]])
def test_the_shortest_prompts_are_no_trouble(prompt: list[int]) -> None:
    drafter = Drafter(Chances(), FLAT, prompt)
    drafter.hear(1, None)
    assert set(drafter.draft(MOST)) <= {1}


def test_the_memory_of_the_workspace_drafts_too() -> None:
    memory = NGrams([[5, 6, 7, 8, 9, 10, 11]], 100)
    drafter = Drafter(Chances(), FLAT, [1, 5, 6], memory)
    drafter.hear(7, memory.after([1, 5, 6]))
    assert drafter.draft(3) == [8, 9, 10]
    drafter.hear(99, memory.after([1, 5, 6, 7]))
    assert drafter.draft(3) == []


def test_drafts_that_are_never_right_stop_and_drafts_that_are_right_begin_again() -> None:
    costs = tuple(1 + 0.3 * count for count in range(MOST + 1))
    chances, source = Chances(), random.Random(1)
    noise = Drafter(chances, costs, [source.randrange(4) for _ in range(50)])
    made = []
    for _ in range(400):
        made.append(len(noise.draft(MOST)))
        noise.hear(source.randrange(4), None)
    assert any(made[:20])
    assert sum(map(bool, made[100:])) < 15

    copied = [*range(100, 160)]
    drafter = Drafter(chances, costs, [*copied, *copied[:2]])
    lengths = []
    for token in copied[2:]:
        lengths.append(len(drafter.draft(MOST)))
        drafter.hear(token, None)
    assert max(lengths) >= 4
