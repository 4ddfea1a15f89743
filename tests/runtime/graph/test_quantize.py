"""Blocks and columns: what is stored, how far it may be off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_runtime.graph.quantize import BLOCK, from_blocks, to_blocks, to_columns, wide


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.006), (4, 0.11)])
def test_blocks_of_a_normal_matrix_are_off_by_little(bits: int, bound: float) -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    off = from_blocks(to_blocks(matrix, bits)) - matrix
    assert np.sqrt((off**2).mean()) <= bound


@pytest.mark.parametrize("bits", [4, 8])
def test_what_comes_from_blocks_gets_the_blocks_it_had(bits: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    blocks = to_blocks(matrix, bits, wide(512))
    again = to_blocks(from_blocks(blocks), bits, wide(512))
    assert np.array_equal(again.data, blocks.data)
    assert np.array_equal(again.scales, blocks.scales)


@pytest.mark.parametrize("block", [32, 128])
def test_a_matrix_in_4_bits_is_no_smaller_than_it_was(block: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    along = (from_blocks(to_blocks(matrix, 4, block)) * matrix).sum() / (matrix**2).sum()
    assert along == pytest.approx(1, abs=1e-4)


@given(seed=st.integers(0, 2**32 - 1), bits=st.sampled_from([4, 8]), magnitude=st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_no_value_is_off_by_more_than_a_step(seed: int, bits: int, magnitude: float) -> None:
    matrix = (np.random.default_rng(seed).standard_normal((3, 2 * BLOCK)) * magnitude).astype(np.float32)
    blocks = to_blocks(matrix, bits)
    step = np.repeat(np.abs(blocks.scales), BLOCK, axis=1)
    slack = 1.3 if bits == 4 else 1.001  # at 4 bits the peak may be clipped for the good of the others
    assert (np.abs(from_blocks(blocks) - matrix) <= slack * step).all()


def test_a_matrix_of_zeros_stays_zero() -> None:
    zeros = np.zeros((4, BLOCK), np.float32)
    assert not from_blocks(to_blocks(zeros, 4)).any()
    assert not to_columns(zeros).data.any()


def test_columns_stay_within_seven_bits_and_half_a_step() -> None:
    matrix = np.random.default_rng(0).standard_normal((16, 96)).astype(np.float32)
    columns = to_columns(matrix)
    assert np.abs(columns.data).max() == 63
    off = np.abs(columns.data.T * columns.scales[:, None] - matrix)
    assert (off <= 0.501 * columns.scales[:, None]).all()
