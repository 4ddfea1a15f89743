"""KV slots: what is reused, what is copied, what is given away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.engine.cache import MOST, MOST_TOLD, Cache, PrefixSlot, count, shared
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import ModelError


class Ledger:
    """A backend whose store is the list of tokens written into it: a copy shows as equal lists."""

    vocab_size, context_length, few, slot_bytes = 256, 4096, 1, 4096

    def new_slots(self, count: int) -> list[list[int]]:
        return [[] for _ in range(count)]

    def copy(self, source: list[int], target: list[int], length: int) -> None:
        target[:length] = source[:length]

    def prefill(self, store: list[int], tokens: Sequence[int], start: int, cancel: Cancel) -> None:
        store[start:] = tokens

    def decode(self, store: list[int], tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        self.prefill(store, tokens, start, cancel)
        return np.zeros(self.vocab_size, np.float32)

    def verify(self, store: list[int], tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        self.prefill(store, tokens, start, cancel)
        return np.zeros((len(tokens), self.vocab_size), np.float32)

    def decode_batch(
        self, stores: Sequence[list[int]], tokens: Sequence[int], starts: Sequence[int], cancel: Cancel
    ) -> Logits:
        for store, token, start in zip(stores, tokens, starts, strict=True):
            store[start:] = [token]
        return np.zeros((len(stores), self.vocab_size), np.float32)

    def close(self) -> None:
        """Holds nothing."""


def _fill(cache: Cache[list[int]], backend: Ledger, prompt: Sequence[int]) -> tuple[PrefixSlot[list[int]], int]:
    found = cache.acquire(prompt)
    assert found is not None
    slot, reused = found
    backend.prefill(slot.kv, prompt[reused:], reused, Cancel())
    slot.tokens.extend(prompt[reused:])
    cache.release(slot)
    return slot, reused


def test_one_more_token_reuses_all_the_others() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    _fill(cache, backend, range(100))
    assert _fill(cache, backend, range(101))[1] == 100


def test_the_same_prompt_again_leaves_one_token_to_compute() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    _fill(cache, backend, range(100))
    assert _fill(cache, backend, range(100))[1] == 99


def test_a_prompt_that_leaves_early_is_copied_and_the_way_back_stays_warm() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    there = [*range(100)]
    elsewhere = [*range(40), *range(200, 300)]
    _fill(cache, backend, there)
    assert _fill(cache, backend, elsewhere)[1] == 40
    assert _fill(cache, backend, [*there, 7])[1] == 100


def test_the_least_recently_used_slot_is_given_away() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    first, second, third = ([start + at for at in range(50)] for start in (0, 1000, 2000))
    for prompt in (first, second, third):
        _fill(cache, backend, prompt)
    assert len(cache) == 2
    assert _fill(cache, backend, [*third, 1])[1] == 50
    assert _fill(cache, backend, [*second, 1])[1] == 50
    assert _fill(cache, backend, [*first, 1])[1] == 0


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=120), max_size=25), st.integers(1, 4))
def test_a_slot_always_holds_what_it_says(prompts: list[list[int]], size: int) -> None:
    backend = Ledger()
    cache = Cache(backend, size)
    for prompt in prompts:
        slot, reused = _fill(cache, backend, prompt)
        assert reused < len(prompt)
        assert slot.tokens == prompt
        assert slot.kv[: len(prompt)] == prompt
        assert len(cache) <= size


def test_the_bound_on_memory_is_kept_or_refused() -> None:
    assert count(None, 12 << 20) == 8
    assert count(48, 12 << 20) == 4
    assert count(10_000, 12 << 20) == MOST_TOLD
    assert count(None, 1 << 20) == MOST
    assert count(None, 200 << 20) == 2, "two are made without being asked about it"
    with pytest.raises(ModelError, match="kv_cache is 300 MB, two texts of this model's length need 400"):
        count(300, 200 << 20)


def test_what_is_read_ahead_takes_nothing_from_what_answers() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    answering = [*range(100)]
    _fill(cache, backend, answering)
    ahead = cache.acquire([*range(60), *range(200, 240)], keep=True)
    assert ahead is not None
    assert ahead[1] == 60
    assert cache.held([*answering, 7]) == 100


def test_a_slot_in_use_is_copied_and_never_given_away() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    _fill(cache, backend, range(100))
    first = cache.acquire([*range(100), 1])
    second = cache.acquire([*range(100), 2])
    assert first is not None
    assert second is not None
    assert (first[1], second[1]) == (100, 100)
    assert first[0] is not second[0]
    assert cache.acquire([5, 6]) is None
    assert cache.free == 0
    cache.release(first[0])
    assert cache.free == 1


def test_nobody_finds_what_another_user_has_read() -> None:
    backend = Ledger()
    cache = Cache(backend, 2)
    _fill(cache, backend, range(100))
    assert cache.held(range(101)) == 100 and cache.held(range(101), "bert") == 0
    found = cache.acquire(range(101), "bert")
    assert found is not None and found[1] == 0 and found[0].tokens == []
    cache.release(found[0])
    found[0].tokens.extend(range(50))
    assert cache.held(range(101)) == 100 and cache.held(range(101), "bert") == 50


def test_shared_counts_the_common_beginning() -> None:
    assert shared([1, 2, 3], [1, 2, 4, 5]) == 2
    assert shared([1, 2], [1, 2, 3]) == 2
    assert shared([], [1]) == 0


def test_what_was_said_is_told_to_nobody_else() -> None:
    cache = Cache(Ledger(), 2)
    found = cache.acquire([1, 2, 3], "bert")
    assert found is not None
    found[0].tokens += [1, 2, 3, 8, 9]
    cache.release(found[0])
    assert cache.said([1, 2, 3, 4], "bert") == [1, 2, 3, 8, 9]
    assert cache.said([1, 2, 3, 4], "ada") == cache.said([1, 2, 3, 4]) == cache.said([7], "bert") == []
