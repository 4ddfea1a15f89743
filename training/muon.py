"""Gradients in, changed weights out: Muon for matrices (Jordan et al. 2024), AdamW for the rest.

Matrices of one shape are made orthogonal together, in bf16. State is a flat mapping of names to tensors,
so that a checkpoint holds it bit for bit. Ignores schedules: the rate comes with every step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steep at zero, near one in five turns
_TURNS = 5
_BETAS = (0.9, 0.95)
_EPSILON = 1e-10


def orthogonal(batch: Tensor) -> Tensor:
    """batch: [N, rows, columns] → about the nearest matrices with orthonormal rows or columns, bf16."""
    x = batch.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(_TURNS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Optimizer:
    """Holds the weights it changes and their moments."""

    def __init__(self, weights: Mapping[str, Tensor], momentum: float, decay: float, muon: bool = True) -> None:
        self._weights = dict(weights)
        self._matrices = {name for name, weight in self._weights.items() if muon and _is_matrix(name, weight)}
        self._momentum, self._decay = momentum, decay
        self.steps = 0
        self.moments: dict[str, Tensor] = {}
        for name, weight in self._weights.items():
            if name in self._matrices:
                self.moments[f"momentum.{name}"] = torch.zeros_like(weight)
            else:
                self.moments[f"first.{name}"] = torch.zeros_like(weight)
                self.moments[f"second.{name}"] = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, matrices: float, others: float) -> None:
        """Change every weight by its gradient, at the given rates, and drop the gradients."""
        self.steps += 1
        shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, weight in self._weights.items():
            assert weight.grad is not None, name
            if name in self._matrices:
                shapes[tuple(weight.shape)].append(name)
            else:
                self._adam(name, weight, weight.grad, others)
        for names in shapes.values():
            self._muon(names, matrices)
        for weight in self._weights.values():
            weight.grad = None

    def _muon(self, names: list[str], rate: float) -> None:
        looked = []
        for name in names:
            slope, moment = self._weights[name].grad, self.moments[f"momentum.{name}"]
            assert slope is not None
            moment.lerp_(slope, 1 - self._momentum)
            looked.append(slope.lerp(moment, self._momentum))  # Nesterov's look ahead
        for name, change in zip(names, orthogonal(torch.stack(looked)), strict=True):
            weight = self._weights[name]
            weight.mul_(1 - rate * self._decay)
            # root mean square of the change: 0.2 of the rate, whatever the shape (Liu et al. 2025)
            weight.add_(change.to(weight.dtype), alpha=-rate * 0.2 * max(weight.shape) ** 0.5)

    def _adam(self, name: str, weight: Tensor, slope: Tensor, rate: float) -> None:
        first, second = self.moments[f"first.{name}"], self.moments[f"second.{name}"]
        first.lerp_(slope, 1 - _BETAS[0])
        second.lerp_(slope.square(), 1 - _BETAS[1])
        straight = first / (1 - _BETAS[0] ** self.steps)
        spread = (second / (1 - _BETAS[1] ** self.steps)).sqrt_().add_(_EPSILON)
        weight.addcdiv_(straight, spread, value=-rate)


def _is_matrix(name: str, weight: Tensor) -> bool:
    return weight.ndim == 2 and not name.startswith("embed.")
