"""A Shape in, which of its matrices a graph keeps as one out; a stored graph in, each of its weights as floats out.

Matrices that read the same are multiplied at once: one product over more rows is quicker than several. What turns
queries into scores of unit spread, 1/√head, is multiplied into the stored queries, as ONNX Runtime attends to one
token in two thirds of the time where there is nothing left to multiply. Whoever reads weights back sees neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from model_runtime.graph.quantize import Blocks, Floats, from_blocks
from model_runtime.graph.storage import Stored
from model_runtime.manifest import Shape

Sizes = Mapping[str, tuple[int, ...]]

SCALED = ".scaled"  # instead of ".weight": the norm of queries, with 1/√head in it


@dataclass(frozen=True)
class Stack:
    """Matrices one below the other. parts: their names, without ".weight"; factors: what each is multiplied by."""

    name: str
    parts: tuple[str, ...]
    factors: tuple[float, ...]


def query_factor(shape: Shape) -> float:
    """What queries are multiplied by before they meet keys."""
    return float(shape.head_size**-0.5)


def heads(shape: Shape, at: str) -> Stack:
    """Queries, keys and values of a layer. at: what its names begin with. A norm of queries holds their factor."""
    return Stack(at + "qkv", (at + "q", at + "k", at + "v"), (1.0 if shape.qk_norm else query_factor(shape), 1.0, 1.0))


def gated(at: str) -> Stack:
    """The gate and the way up of a layer."""
    return Stack(at + "gate_up", (at + "gate", at + "up"), (1.0, 1.0))


def stacks(shape: Shape) -> list[Stack]:
    """All of a network."""
    layers = [f"layers.{layer}." for layer in range(shape.layers)]
    return [heads(shape, at) for at in layers] + [gated(at) for at in layers if shape.gated]


@dataclass(frozen=True)
class _RowSpan:
    """Where a weight is kept: under which name, in which of its rows, multiplied by what."""

    key: str
    rows: slice
    factor: float = 1.0


class StoredWeights(Mapping[str, Floats]):
    """The weights of a stored graph by their names in the network, as floats. sizes: of every weight."""

    def __init__(self, stored: Stored, shape: Shape, sizes: Sizes) -> None:
        self._stored, self._sizes = stored, sizes
        self._places = {
            name: _RowSpan(name + form, slice(None))
            for name in sizes
            for form in ("", ".T", ".codes")
            if name + form in stored
        }  # the last form wins, and a weight is stored in one
        for stack in stacks(shape):
            self._places |= self._stacked(stack)
        for name in sizes:
            if (scaled := name.removesuffix(".weight") + SCALED) in stored:
                self._places[name] = _RowSpan(scaled, slice(None), query_factor(shape))

    def __getitem__(self, name: str) -> Floats:
        if (blocks := self.blocks(name)) is not None:
            return from_blocks(blocks)
        place = self._places[name]
        found = self._stored[place.key]
        found = found.T if place.key.endswith(".T") else found[place.rows]
        whole: Floats = found.astype(np.float32, copy=False)
        return whole if place.factor == 1 else whole / np.float32(place.factor)

    def coding(self, name: str) -> tuple[int, int] | None:
        """Bits and length of a matrix's blocks, where it is stored in blocks; reads no values."""
        place = self._places[name]
        if not place.key.endswith(".codes"):
            return None
        _, count, size = self._stored.dims(place.key)
        bits = 8 * count * size // self._sizes[name][1]
        return bits, size * 8 // bits

    def blocks(self, name: str) -> Blocks | None:
        """A matrix as it is stored, where that is in blocks."""
        place = self._places[name]
        if not place.key.endswith(".codes"):
            return None
        codes = self._stored[place.key]
        matrix = place.key.removesuffix("codes")
        scales = self._stored[matrix + "scales"].reshape(codes.shape[:2])[place.rows].astype(np.float32)
        if matrix + "power" in self._stored:
            scales *= self._stored[matrix + "power"]
        bits = 8 * codes.shape[1] * codes.shape[2] // self._sizes[name][1]
        return Blocks(bits, codes[place.rows], (scales / np.float32(place.factor)).astype(np.float32))

    def __contains__(self, name: object) -> bool:
        return name in self._places  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _stacked(self, stack: Stack) -> dict[str, _RowSpan]:
        found: dict[str, _RowSpan] = {}
        start = 0
        for part, factor in zip(stack.parts, stack.factors, strict=True):
            rows = slice(start, start := start + self._sizes[part + ".weight"][0])
            for kind, key in ((".weight", stack.name + ".weight.codes"), (".bias", stack.name + ".bias")):
                if part + kind in self._sizes and key in self._stored:
                    found[part + kind] = _RowSpan(key, rows, factor)
        return found
