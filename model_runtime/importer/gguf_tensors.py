"""Rows of a GGUF's tensors in, float32 or blocks of ours out; a slab at a time, so that no more is in memory.

The `gguf` library knows what ggml's codes stand for. Blocks of 32 values with one scale (Q4_0, Q8_0) are the
runtime's own in another order, and are handed on code by code. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from model_runtime.graph.quantize import BLOCK, Blocks, Floats
from model_runtime.importer.gguf_header import BlockTensor

_SLAB = 4 << 20  # values that are decoded at once
_PLAIN = ("F64", "F32", "F16", "BF16")
_OURS = {"Q4_0": 4, "Q8_0": 8}  # bits of the codes that are ours, too
_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "Q8_1", "Q8_K")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class BlockLocation:
    """Where a tensor lies in its file. turned: rows of a head that llama.cpp keeps in pairs, 0 for none;
    factor: what the values are multiplied by."""

    tensor: BlockTensor
    turned: int = 0
    factor: float = 1.0

    @property
    def is_readable(self) -> bool:
        """Whether the library knows what its values are."""
        return self.tensor.kind not in _NO_WEIGHTS

    @property
    def bits(self) -> int | None:
        """Of its codes, where its blocks are ours."""
        return _OURS.get(self.tensor.kind) if len(self.tensor.size) == 2 else None


def read(path: Path, location: BlockLocation, start: int, stop: int) -> Floats:
    """Rows start to stop as float32. Raises OSError, ValueError when the file is shorter than it was."""
    tensor = location.tensor
    found = np.empty((stop - start, *tensor.size[1:]), np.float32)
    step = max(1, _SLAB // max(1, found[:1].size))
    for low in range(start, stop, step):
        high = min(stop, low + step)
        found[low - start : high - start] = _decoded(tensor, _raw(path, location, low, high))
    if location.factor != 1:
        found *= np.float32(location.factor)
    return found


def read_blocks(path: Path, location: BlockLocation, start: int, stop: int) -> Blocks | None:
    """The same rows in blocks of ours, the same to the bit; None where they are in no such blocks."""
    if (bits := location.bits) is None:
        return None
    raw = _raw(path, location, start, stop)
    blocks = raw.reshape(stop - start, -1, 2 + BLOCK * bits // 8)
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0].astype(np.float32)
    codes = blocks[..., 2:]
    if bits == 8:
        data = codes ^ np.uint8(0x80)  # from two's complement to an offset of 128
    else:  # there the low halves are the first sixteen values, here low and high half are neighbours
        values = np.concatenate([codes & 15, codes >> 4], axis=-1)
        data = values[..., 0::2] | (values[..., 1::2] << 4)
    return Blocks(bits, np.ascontiguousarray(data), scales * np.float32(location.factor))


def _raw(path: Path, location: BlockLocation, start: int, stop: int) -> Bytes:
    """The bytes of some rows [stop − start, row_bytes], in the order of the checkpoint it was made of."""
    tensor = location.tensor
    row = tensor.row_bytes * int(np.prod(tensor.size[1:-1], dtype=np.int64))
    whole: Any = np.memmap(path, np.uint8, "r", tensor.offset, (tensor.size[0], row))
    if not location.turned:
        return np.array(whole[start:stop])
    # llama.cpp turns neighbours, checkpoints turn the halves of a head: row [2 i + h] was row [h · half + i].
    at = np.arange(start, stop)
    inside = at % location.turned
    half = location.turned // 2
    return np.array(whole[at - inside + 2 * (inside % half) + inside // half])


def _decoded(tensor: BlockTensor, raw: Bytes) -> Floats:
    if tensor.kind == "F64":
        wide: Floats = raw.view("<f8").astype(np.float32).reshape(len(raw), *tensor.size[1:])
        return wide
    kind = gguf.GGMLQuantizationType[tensor.kind]
    if len(tensor.size) == 1:  # a vector: its rows are its values, and it lies in one piece
        raw = raw.reshape(1, -1)
    found: Floats = gguf.quants.dequantize(raw, kind).astype(np.float32, copy=False)
    return found.reshape(-1, *tensor.size[1:])
