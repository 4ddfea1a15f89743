"""The processes `torchrun` starts, one a GPU: who reads which batch, and sums over all of them.

The network never hears of it. A run of one process asks nothing of PyTorch's process groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """own: this process's number; count: of all processes; device: where this one computes."""

    own: int
    count: int
    device: str

    @property
    def leads(self) -> bool:
        """This process writes checkpoints and figures for all."""
        return self.own == 0

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Each tensor becomes its sum over the processes."""
        if self.count > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def total(self, number: float) -> float:
        """The sum of a number over the processes."""
        if self.count == 1:
            return number
        held = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.all_reduce(held)
        return float(held)

    def end(self) -> None:
        """Leave the group; the last call."""
        if self.count > 1:
            dist.destroy_process_group()


def start(device: str) -> Ranks:
    """Join the group that torchrun's environment names; alone without one. device: "cpu" or "cuda"."""
    count, own = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count == 1:
        return Ranks(0, 1, device)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    if device != "cuda":
        return Ranks(own, count, device)
    local = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local)
    return Ranks(own, count, f"cuda:{local}")
