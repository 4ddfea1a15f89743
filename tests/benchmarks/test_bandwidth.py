"""What is computed of cards that nobody has here: the page holds it, and it behaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks import bandwidth
from benchmarks.bandwidth import CARDS, CODEGEN_6B

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sharding.md"


def test_the_page_holds_what_is_computed() -> None:
    assert bandwidth.table() in PAGE.read_text(encoding="utf-8")


def test_a_token_reads_all_weights_but_the_embedding() -> None:
    layer = 4 * 4096**2 + 2 * 4096 * 16_384
    assert bandwidth.weights(CODEGEN_6B) == 33 * layer + 51_200 * 4096


def test_a_second_sum_a_layer_is_paid_for() -> None:
    once, twice = (
        bandwidth.row(CARDS[1], "fp16", msgspec.structs.replace(CODEGEN_6B, parallel=parallel))
        for parallel in (True, False)
    )
    more = 33 * (CARDS[1].latency + bandwidth.STRETCH)
    assert abs(twice.token - once.token - more) < 1e-9


def test_cards_that_sum_for_nothing_would_share_a_token_evenly() -> None:
    one, four = replace(CARDS[0], count=1, memory=1e12), CARDS[0]
    sums = 33 * (four.latency + bandwidth.STRETCH)
    alone, shared = bandwidth.row(one, "int4"), bandwidth.row(four, "int4")
    fixed = bandwidth.STRETCH + 33 * bandwidth.LAYER
    assert abs((alone.token - fixed) - 4 * (shared.token - fixed - sums)) < 1e-9


def test_a_form_that_no_card_can_hold_says_so() -> None:
    assert not bandwidth.row(replace(CARDS[0], count=1), "fp16").fits
