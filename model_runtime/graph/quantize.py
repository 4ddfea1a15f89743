"""Float matrices in, integers with scales out, and back. Numpy only; knows nothing of graphs.

Two codes. *Blocks*: each run of 32 or 128 inputs of a row shares a scale (what MatMulNBits reads,
the storage and decode code; the longer, the less there is to read for a token), and the same blocks in the order in
which `matmul.h` multiplies them. *Columns*: each output has one scale (what DynamicQuantizeMatMul reads, the
prefill code), in 7 bits because a full signed byte saturates on AVX2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # rows are multiples of it
PACKED_ROWS = 8
_WIDE_BLOCK = 128
_STRETCHES = (0.9, 0.95, 1.03, 1.06)  # of the scale that makes a block's peak −8, which it stays
_ROUNDING = 1e-5  # relative, of sums of float32
_SEVEN_BITS = 63
_SLAB = 1 << 16  # values coded at once: what the steps between need then stays in the processor's cache

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Blocks:
    """A matrix [N, K] in blocks of B. data: uint8 [N, K/B, B·bits/8]; scales: float32 [N, K/B].

    A value is (code − 2^(bits−1)) · scale; at 4 bits the low half of a byte comes first.
    """

    bits: int
    data: NDArray[np.uint8]
    scales: Floats

    @property
    def block(self) -> int:
        """B, the values that share a scale."""
        return int(self.data.shape[-1]) * 8 // self.bits


@dataclass(frozen=True)
class Packed:
    """Blocks of eight rows together. data: uint8 [N/8, K/B, B·bits/32, 32]; scales: float16 [N/8, K/B, 8].

    The scales are times power, float32 [1], a power of 2 by which the largest lies ½ to 1.
    32 bytes are four values of each row at 8 bits. At 4 bits they are eight: of a byte the low half is one of the
    first four, the high half one of the last four.
    """

    data: NDArray[np.uint8]
    scales: NDArray[np.float16]
    power: Floats


@dataclass(frozen=True)
class Columns:
    """A matrix [N, K] by output, transposed. data: int8 [K, N]; scales: float32 [N]."""

    data: NDArray[np.int8]
    scales: Floats


def wide(width: int) -> int:
    """The longest blocks that rows of this width can be cut into."""
    return _WIDE_BLOCK if width % _WIDE_BLOCK == 0 else BLOCK


def to_blocks(matrix: Floats, bits: int, block: int = BLOCK) -> Blocks:
    """matrix: [N, K], K a multiple of block; bits: 4 or 8.

    At 4 bits each block's scale is the one of a few candidates with the least squared error, where an error counts as
    much as the value is large, and is then set so that the codes fall short of the values as often as they exceed
    them: a matrix that is a hundredth too small on the whole does more harm than one that is off here and there.
    What comes from blocks of the same length gets the codes that it had.
    """
    rows, width = matrix.shape
    assert bits in (4, 8), bits
    assert width % block == 0, (matrix.shape, block)
    data = np.empty((rows, width // block, block * bits // 8), np.uint8)
    scales = np.empty((rows, width // block), np.float32)
    for slab in _slabs(matrix):
        blocks = matrix[slab].astype(np.float32).reshape(-1, width // block, block)
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


def packed(blocks: Blocks) -> Packed:
    """Where N is no multiple of PACKED_ROWS, rows of nothing follow until it is."""
    rows, count, size = blocks.data.shape
    missing = [(0, -rows % PACKED_ROWS), (0, 0)]
    rows += missing[0][1]
    data, scales = np.pad(blocks.data, [*missing, (0, 0)]), np.pad(blocks.scales, missing)
    apart = np.stack([data & 15, data >> 4], axis=-1) if blocks.bits == 4 else data
    # [group, row, block, 32 bytes, first or last, value] → [first or last, group, block, 32 bytes, row, value]
    fours = apart.reshape(rows // PACKED_ROWS, PACKED_ROWS, count, size // 4, -1, 4).transpose(4, 0, 2, 3, 1, 5)
    parts = fours.reshape(-1, rows // PACKED_ROWS, count, size // 4, PACKED_ROWS * 4)
    turned = scales.reshape(-1, PACKED_ROWS, count).transpose(0, 2, 1)
    codes = parts[0] if blocks.bits == 8 else parts[0] | (parts[1] << 4)
    return Packed(codes, *halved(turned))


def halved(scales: Floats) -> tuple[NDArray[np.float16], Floats]:
    """Scales in half precision, and the power of 2, [1], that they are times: the largest is then ½ to 1."""
    power = np.ldexp(np.float32(1), np.frexp(np.abs(scales).max())[1]).reshape(1)
    return (scales / power).astype(np.float16), power


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
    """Codes, packed, and scales of blocks [n, K/B, B]."""
    half = 1 << (bits - 1)
    peak_at = np.abs(blocks).argmax(-1)[..., None]
    peak = np.take_along_axis(blocks, peak_at, -1)
    # The largest value lands on the code that reaches farther, −half; at 4 bits that is one more step of range.
    first = (-peak / half).astype(np.float32)
    if bits == 8:
        scales, codes = _coded(blocks, first, half)
        return (codes + half).astype(np.uint8), scales[..., 0]
    scales, codes = _best(blocks, first, half)
    halves = (codes + half).astype(np.uint8)
    return (halves[..., 0::2] | (halves[..., 1::2] << 4)).astype(np.uint8), _level(blocks, codes, scales)[..., 0]


def _best(blocks: Floats, first: Floats, half: int) -> tuple[Floats, Floats]:
    """Scales [n, K/B, 1] and codes, the best of some that are not far from the first."""
    weights = np.abs(blocks)
    best_scales, best_codes = _coded(blocks, first, half)
    best_error = _error(blocks, best_codes, best_scales, weights)
    for stretch in _STRETCHES:
        scales, codes = _coded(blocks, first * np.float32(stretch), half)
        error = _error(blocks, codes, scales, weights)
        better = error < best_error
        np.copyto(best_scales, scales, where=better)
        np.copyto(best_codes, codes, where=better)
        np.copyto(best_error, error, where=better)
    return best_scales, best_codes


def _coded(blocks: Floats, scales: Floats, half: int) -> tuple[Floats, Floats]:
    """Scales [n, K/B, 1], never 0, and codes from −half to half − 1. In place: it is where an import's time goes."""
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    codes: Floats = blocks / scales
    np.clip(np.rint(codes, out=codes), -half, half - 1, out=codes)
    return scales, codes


def _error(blocks: Floats, codes: Floats, scales: Floats, weights: Floats) -> Floats:
    off = codes * scales
    off -= blocks
    off *= off
    found: Floats = np.einsum("nki,nki->nk", off, weights)[..., None]
    return found


def _level(blocks: Floats, codes: Floats, scales: Floats) -> Floats:
    """The scales, each times what makes the coded block as long as the block, measured along the block."""
    own = np.einsum("nki,nki->nk", blocks, blocks)[..., None]
    coded = np.einsum("nki,nki->nk", blocks, codes)[..., None] * scales
    longer = np.divide(own, coded, out=np.ones_like(own), where=coded > 0)
    found: Floats = np.where(np.abs(longer - 1) < _ROUNDING, scales, scales * longer)
    return found
