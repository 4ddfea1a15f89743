"""Float matrices in, integers with scales out, and back. Numpy only; knows nothing of graphs.

Two codes. *Blocks*: each run of 32 inputs of a row shares a scale (what MatMulNBits reads,
the storage and decode code). *Columns*: each output has one scale (what DynamicQuantizeMatMul
reads, the prefill code), in 7 bits because a full signed byte saturates on AVX2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
_SEVEN_BITS = 63
_SLAB = 1 << 16  # values coded at once: what the steps between need then stays in the processor's cache

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Blocks:
    """A matrix [N, K] in blocks. data: uint8 [N, K/32, 32·bits/8]; scales: float32 [N, K/32].

    A value is (code − 2^(bits−1)) · scale; at 4 bits the low half of a byte comes first.
    """

    bits: int
    data: NDArray[np.uint8]
    scales: Floats


@dataclass(frozen=True)
class Columns:
    """A matrix [N, K] by output, transposed. data: int8 [K, N]; scales: float32 [N]."""

    data: NDArray[np.int8]
    scales: Floats


def to_blocks(matrix: Floats, bits: int) -> Blocks:
    """matrix: [N, K], K a multiple of 32; bits: 4 or 8.

    Each block's scale is the one of a few candidates with the least squared error.
    """
    rows, width = matrix.shape
    assert bits in (4, 8), bits
    assert width % BLOCK == 0, matrix.shape
    data = np.empty((rows, width // BLOCK, BLOCK * bits // 8), np.uint8)
    scales = np.empty((rows, width // BLOCK), np.float32)
    for slab in _slabs(matrix):
        blocks = matrix[slab].astype(np.float32).reshape(-1, width // BLOCK, BLOCK)
        data[slab], scales[slab] = _blocks_of(blocks, bits)
    return Blocks(bits, data, scales)


def from_blocks(blocks: Blocks) -> Floats:
    """The matrix [N, K] that the blocks stand for."""
    data = blocks.data
    if blocks.bits == 4:
        data = np.stack([data & 15, data >> 4], axis=-1).reshape(*data.shape[:2], -1)
    values = (data.astype(np.float32) - (1 << (blocks.bits - 1))) * blocks.scales[..., None]
    found: Floats = values.reshape(values.shape[0], -1)
    return found


def to_columns(matrix: Floats) -> Columns:
    """matrix: [N, K]. Symmetric, codes within ±63."""
    rows, width = matrix.shape
    data = np.empty((width, rows), np.int8)
    scales = np.empty(rows, np.float32)
    for slab in _slabs(matrix):
        peak = np.abs(matrix[slab]).max(axis=1).astype(np.float32) / _SEVEN_BITS
        scales[slab] = np.where(peak == 0, np.float32(1), peak)
        data[:, slab] = np.rint(matrix[slab] / scales[slab, None]).astype(np.int8).T
    return Columns(data, scales)


def _slabs(matrix: Floats) -> list[slice]:
    rows, width = matrix.shape
    step = max(1, _SLAB // width)
    return [slice(start, min(rows, start + step)) for start in range(0, rows, step)]


def _blocks_of(blocks: Floats, bits: int) -> tuple[NDArray[np.uint8], Floats]:
    """Codes, packed, and scales of blocks [n, K/32, 32]."""
    half = 1 << (bits - 1)
    peak_at = np.abs(blocks).argmax(-1)[..., None]
    peak = np.take_along_axis(blocks, peak_at, -1)
    # The largest value lands on the code that reaches farther, −half; at 4 bits that is one more step of range.
    best_scales, best_codes, best_error = _coded(blocks, (-peak / half).astype(np.float32), half)
    for stretch in (0.85, 0.9, 0.95, 1.05) if bits == 4 else ():
        scales, codes, error = _coded(blocks, (-peak * stretch / half).astype(np.float32), half)
        better = error < best_error
        np.copyto(best_scales, scales, where=better)
        np.copyto(best_codes, codes, where=better)
        np.copyto(best_error, error, where=better)
    data = (best_codes + half).astype(np.uint8)
    if bits == 4:
        data = (data[..., 0::2] | (data[..., 1::2] << 4)).astype(np.uint8)
    return data, best_scales[..., 0]


def _coded(blocks: Floats, scales: Floats, half: int) -> tuple[Floats, Floats, Floats]:
    """scales, codes from −half to half − 1 and squared error of each block, for scales [n, K/32, 1]. In place: it is
    where the time of an import goes."""
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    codes: Floats = blocks / scales
    np.clip(np.rint(codes, out=codes), -half, half - 1, out=codes)
    off = codes * scales
    off -= blocks
    return scales, codes, np.einsum("nki,nki->nk", off, off)[..., None]
