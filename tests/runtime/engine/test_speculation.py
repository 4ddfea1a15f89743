"""Drafts: which are made, and that they change nothing but the time that a text takes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.profile import Profile
from model_runtime.engine.sequence import Cancel, Finish, Generation, Token
from model_runtime.engine.speculation import MOST, Chances, Drafter, worth
from model_runtime.tokenizer import Tokenizer
from tests.runtime.conftest import Precision

# What a machine would have to be like for each draft to be worth checking, and for none.
EAGER = Profile(prefill=1e4, decode_ms=1.0, verify_ms={16: 1.0})
PLAIN = Profile(prefill=1e4, decode_ms=1.0, verify_ms={})
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
    drafter.accept_token(4, None)
    assert drafter.draft(3) == [5, 6, 7]


def test_what_stood_last_is_drafted_not_what_stood_first() -> None:
    assert Drafter(Chances(), FLAT, [1, 2, 7, 1, 2, 8, 1, 2]).draft(1) == [8]


def test_what_was_written_at_the_same_place_goes_before_what_stands_elsewhere() -> None:
    drafter = Drafter(Chances(), FLAT, [1, 2, 7, 9, 1, 2], earlier=[1, 2, 8, 3, 4])
    assert drafter.draft(MOST) == [8, 3, 4]  # and nothing of the prompt, which does not follow it
    drafter.accept_token(8, None)
    assert drafter.draft(MOST) == [3, 4]
    for token in (3, 4):
        drafter.accept_token(token, None)
    assert drafter.draft(MOST) == []


def test_a_text_begins_with_what_is_allowed() -> None:
    memory = NGrams([[5, 6, 7, 8], [5, 6, 9, 10], [5, 6, 9, 10]], 100)
    for allowed, expected in ((None, [9, 10]), ([9, 4], [9, 10]), ([7, 4], [7, 8]), ([4], [])):
        drafter = Drafter(Chances(), FLAT, [1, 5, 6], memory)
        drafter.open(None if allowed is None else np.array(allowed))
        assert drafter.draft(2) == expected
    drafter = Drafter(Chances(), FLAT, [1, 2, 7, 1, 2])
    drafter.open(np.array([7, 8]))
    assert drafter.draft(1) == [7]
    drafter.open(np.array([8, 9]))
    assert drafter.draft(1) == []


def test_a_cut_word_is_drafted_as_it_was_typed() -> None:
    drafter = Drafter(Chances(), FLAT, [1, 2, 3])
    drafter.open(np.array([5, 6]), typed=[5, 7])
    assert drafter.draft(MOST) == [5, 7]
    drafter.accept_token(5, None)
    assert drafter.draft(MOST) == [7]
    drafter.accept_token(8, None)
    assert drafter.draft(MOST) == []


def test_nothing_is_drafted_after_what_never_stood_there() -> None:
    drafter = Drafter(Chances(), FLAT, [1, 2, 3, 4])
    assert drafter.draft(MOST) == []
    drafter.accept_token(9, None)
    assert drafter.draft(MOST) == []


@pytest.mark.parametrize("prompt", [[], [1], [1, 1], [1, 1, 1]])
def test_the_shortest_prompts_are_no_trouble(prompt: list[int]) -> None:
    drafter = Drafter(Chances(), FLAT, prompt)
    drafter.accept_token(1, None)
    assert set(drafter.draft(MOST)) <= {1}


def test_the_memory_of_the_workspace_drafts_too() -> None:
    memory = NGrams([[5, 6, 7, 8, 9, 10, 11]], 100)
    drafter = Drafter(Chances(), FLAT, [1, 5, 6], memory)
    drafter.accept_token(7, memory.after([1, 5, 6]))
    assert drafter.draft(3) == [8, 9, 10]
    drafter.accept_token(99, memory.after([1, 5, 6, 7]))
    assert drafter.draft(3) == []


def test_noise_is_hardly_drafted_and_a_copy_soon_is() -> None:
    costs = tuple(1 + 0.3 * count for count in range(MOST + 1))
    chances, source = Chances(), random.Random(1)
    noise = Drafter(chances, costs, [source.randrange(4) for _ in range(50)])
    made = []
    for _ in range(400):
        made.append(len(noise.draft(MOST)))
        noise.accept_token(source.randrange(4), None)
    assert sum(map(bool, made)) < 20

    copied = [*range(100, 160)]
    drafter = Drafter(chances, costs, [*copied, *copied[:2]])
    lengths = []
    for token in copied[2:]:
        lengths.append(len(drafter.draft(MOST)))
        drafter.accept_token(token, None)
    assert max(lengths) >= 4


class Counted(OnnxBackend):
    """The network, how often it ran to write, and how often of these several tokens were checked at once."""

    checked = written = 0

    def decode_batch(self, *asked: object) -> np.ndarray:  # type: ignore[override, type-arg]
        self.written += 1
        return super().decode_batch(*asked)  # type: ignore[arg-type]

    def verify(self, *asked: object) -> np.ndarray:  # type: ignore[override, type-arg]
        self.checked, self.written = self.checked + 1, self.written + 1
        return super().verify(*asked)  # type: ignore[arg-type]


@pytest.fixture
def engines(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> Iterator[tuple[Engine, Engine, Counted]]:
    """One that drafts whatever it can, one that never does, and the first one's network."""
    directory = tiny_model("fp32")
    described = manifest.read(directory)
    tokenizer = Tokenizer.load(directory, vocab_size=272, split_lines=True)
    backends = [Counted.open(directory, described, cache=tmp_path, threads=1) for _ in range(2)]
    eager, plain = (Engine(described, tokenizer, *one) for one in zip(backends, (EAGER, PLAIN), strict=True))
    assert isinstance(backends[0], Counted)
    yield eager, plain, backends[0]
    eager.close()
    plain.close()


def written(engine: Engine, generation: Generation) -> tuple[str, list[float], Finish]:
    *tokens, finish = engine.generate(generation, Cancel())
    assert isinstance(finish, Finish)
    found = [token for token in tokens if isinstance(token, Token)]
    return "".join(token.text for token in found), [token.logprob for token in found], finish


def prompts() -> Iterator[tuple[int, ...]]:
    """Some that repeat themselves, for there is much to be drafted."""
    source = random.Random(3)
    for _ in range(12):
        part = [source.randrange(5, 260) for _ in range(source.randrange(3, 30))]
        yield tuple(part * source.randrange(1, 4) + part[: len(part) // 2 + 1])


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_text_is_the_same_with_drafts_and_without(
    engines: tuple[Engine, Engine, Counted], temperature: float
) -> None:
    eager, plain, network = engines
    memory = NGrams([[token for prompt in prompts() for token in prompt]], 1000)
    for seed, prompt in enumerate(prompts()):
        for known in (None, memory):
            asked = Generation(prompt, max_tokens=30, temperature=temperature, seed=seed, ngrams=known)
            text, scores, finish = written(eager, asked)
            expected, expected_scores, expected_finish = written(plain, asked)
            assert text == expected
            assert scores == pytest.approx(expected_scores, abs=1e-3)
            assert finish.usage.generated == expected_finish.usage.generated
            assert finish.reason == expected_finish.reason
    assert network.checked > 50


def test_what_is_asked_again_is_written_in_few_runs(engines: tuple[Engine, Engine, Counted]) -> None:
    eager, _, network = engines
    prompt = tuple(random.Random(5).sample(range(5, 260), 100))
    texts, runs = [], []
    for _ in range(2):
        before = network.written
        texts.append(written(eager, Generation(prompt, max_tokens=30))[:1])
        runs.append(network.written - before)
    assert texts[0] == texts[1]
    assert runs[1] <= 4 < runs[0]


def test_what_a_draft_left_behind_is_not_taken_for_the_text(engines: tuple[Engine, Engine, Counted]) -> None:
    eager, plain, _ = engines
    for prompt in prompts():
        first, *_ = written(eager, Generation(prompt, max_tokens=9))
        longer = (*prompt, *eager.tokenizer.encode(first), 42)
        assert (
            written(eager, Generation(longer, max_tokens=9))[0] == written(plain, Generation(longer, max_tokens=9))[0]
        )


def test_samples_have_the_distribution_they_had(engines: tuple[Engine, Engine, Counted]) -> None:
    eager, plain, network = engines
    prompt = tuple([11, 12, 13, 14, 15, 16] * 4)
    # What was written before: after the prompt mostly 20 and then one of three, so drafts are often made and wrong.
    memory = NGrams([[*prompt, first, second] for first in (20, 20, 20, 21) for second in (30, 30, 31, 32)], 1000)

    def seconds(engine: Engine, seeds: range) -> Counter[str]:
        return Counter(
            written(engine, Generation(prompt, max_tokens=3, temperature=0.7, seed=seed, ngrams=memory))[0][1:2]
            for seed in seeds
        )

    ours, theirs = seconds(eager, range(250)), seconds(plain, range(1000, 1250))
    assert network.checked > 20
    common = [text for text, count in (ours + theirs).items() if count >= 10]
    rows = np.array([[one[text] for text in common] for one in (ours, theirs)], float)
    rows = np.hstack([rows, 250 - rows.sum(axis=1, keepdims=True) + 1e-9])
    expected = rows.sum(axis=0) / 2
    freedom = len(common)
    assert freedom >= 5
    assert ((rows - expected) ** 2 / expected).sum() < freedom + 3 * np.sqrt(2 * freedom)  # Pearson's chi-squared
