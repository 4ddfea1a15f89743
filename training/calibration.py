"""Turns a network's float matrices into blocks of 4 bits that change its answers least. Writes no files.

GPTQ (Frantar et al. 2023): the matrices are rounded layer by layer and column by column, and what the rounding of a
column does to a layer's outputs is made up for in the columns that follow it. What a layer reads is observed on rows
of the training, through the layers before it as they are already rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_runtime.graph.quantize import BLOCK, Blocks, from_blocks
from training.model import Decoder, Layer, rotation

_DAMPING = 0.01  # of the mean of the second moments' diagonal, added to it
_STRETCHES = torch.linspace(0.8, 1.12, 17)  # of the scale that makes a block's largest value -8
_MIDDLE = 4.0  # what a token of a middle counts for, in tokens of other text
_CODES = 8  # codes go from -8 to 7

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]
Observed = list[tuple[Tensor, Tensor]]  # hidden states [B, T, D], and what each position counts for, [B, T, 1]


class Rounded(Mapping[str, NDArray[np.float32]]):
    """The weights of a network, some of them in blocks: what `graph.write_model` stores without rounding it again."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], rounded: Mapping[str, Blocks]) -> None:
        self._weights, self._rounded = weights, rounded

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        blocks = self._rounded.get(name)
        return self._weights[name] if blocks is None else from_blocks(blocks)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def coding(self, name: str) -> tuple[int, int] | None:
        """Bits and length of a matrix's blocks; None where it is in none."""
        return (4, BLOCK) if name in self._rounded else None

    def blocks(self, name: str) -> Blocks | None:
        """A matrix in its blocks."""
        return self._rounded.get(name)


@torch.no_grad()
def calibrated(decoder: Decoder, batches: Iterable[Batch]) -> dict[str, Blocks]:
    """The matrices of every layer in blocks of 4 bits, by name; `decoder` is left with what they stand for.

    batches: as `packing.batches` gives them; some ten thousand tokens are enough. The embedding stays as it is.
    """
    states: Observed = []
    for tokens, classes in batches:
        found = torch.from_numpy(classes).abs()
        weights = torch.where(found == 2, _MIDDLE, (found > 0).float())
        states.append((decoder.embed(torch.from_numpy(tokens[:, :-1])), weights[..., None]))
    rounded: dict[str, Blocks] = {}
    for number, layer in enumerate(decoder.layers):
        assert isinstance(layer, Layer)
        for names in (("q", "k", "v"), ("o",), ("gate", "up"), ("down",)):
            matrices = [getattr(layer, name) for name in names]
            moments = _moments(layer, matrices[0], states)
            for name, matrix in zip(names, matrices, strict=True):
                blocks = _rounded(matrix.weight.float(), moments)
                matrix.weight.copy_(torch.from_numpy(from_blocks(blocks)))
                rounded[f"layers.{number}.{name}.weight"] = blocks
        states = [(_through(layer, x), weights) for x, weights in states]
    return rounded


def _through(layer: Layer, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        found: Tensor = layer(x, *rotation(layer.shape, x.shape[1]))
    return found


def _moments(layer: Layer, reader: nn.Module, states: Observed) -> Tensor:
    """Second moments [K, K] of what `reader`, one of the layer's matrices, reads."""
    total: list[Tensor] = []
    weights = torch.empty(0)

    def add(_: nn.Module, read: Sequence[Any]) -> None:
        flat = (read[0].float() * weights.sqrt()).flatten(0, 1)
        with torch.autocast(flat.device.type, enabled=False):
            total.append(flat.T @ flat if not total else total.pop() + flat.T @ flat)

    hook = reader.register_forward_pre_hook(add)
    for x, weights in states:  # noqa: B007  `add` reads it
        _through(layer, x)
    hook.remove()
    return total[0]


def _rounded(matrix: Tensor, moments: Tensor) -> Blocks:
    """matrix: [N, K]; moments: [K, K]."""
    width = len(moments)
    damped = moments + torch.eye(width) * (moments.diagonal().mean() * _DAMPING + 1e-12)
    spread = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)  # of H⁻¹
    left = matrix.clone()
    codes, scales = torch.empty_like(left), torch.empty(len(left), width // BLOCK)
    for start in range(0, width, BLOCK):
        stop = start + BLOCK
        scale = _scales(left[:, start:stop])
        scales[:, start // BLOCK] = scale[:, 0]
        errors = torch.empty(len(left), BLOCK)
        for at in range(start, stop):
            column = left[:, at : at + 1]
            code = (column / scale).round().clamp(-_CODES, _CODES - 1)
            codes[:, at : at + 1] = code
            error = (column - code * scale) / spread[at, at]
            errors[:, at - start : at - start + 1] = error
            left[:, at + 1 : stop] -= error @ spread[at : at + 1, at + 1 : stop]
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    return _blocks(codes, scales)


def _scales(block: Tensor) -> Tensor:
    """The scale of each row of a block [N, BLOCK] that leaves the least squared error, [N, 1]; never 0."""
    peak = block.gather(1, block.abs().argmax(1, keepdim=True))
    tried = -peak / _CODES * _STRETCHES  # [N, stretches]
    tried = torch.where(tried == 0, torch.ones_like(tried), tried)
    codes = (block[:, None] / tried[..., None]).round().clamp(-_CODES, _CODES - 1)
    errors = (codes * tried[..., None] - block[:, None]).square().sum(-1)
    return tried.gather(1, errors.argmin(1, keepdim=True))


def _blocks(codes: Tensor, scales: Tensor) -> Blocks:
    halves = (codes + _CODES).to(torch.uint8).reshape(len(codes), -1, BLOCK).numpy()
    return Blocks(4, halves[..., 0::2] | (halves[..., 1::2] << 4), scales.numpy())
