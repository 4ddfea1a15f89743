"""Where a run stands, and what the learning rates are multiplied by there. Pure arithmetic, no PyTorch.

Warm-up, a stable phase without an end, and a linear cool-down begun when one likes (WSD, Hu et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TrainingProgress:
    """shard, batch: the next to be read; cool_from, cool_steps: the cool-down, 0 steps for none yet."""

    step: int = 0
    shard: int = 0
    batch: int = 0
    tokens: int = 0
    cool_from: int = 0
    cool_steps: int = 0

    @property
    def is_cooled(self) -> bool:
        """The cool-down is over."""
        return bool(self.cool_steps) and self.step >= self.cool_from + self.cool_steps


def factor(place: TrainingProgress, warmup: int) -> float:
    """What the rates are multiplied by: up over the warm-up, 1, then straight down to 0."""
    rise = min(1.0, (place.step + 1) / max(1, warmup))
    if not place.cool_steps:
        return rise
    return rise * max(0.0, 1 - (place.step - place.cool_from) / place.cool_steps)


def bent(place: TrainingProgress, left: int) -> TrainingProgress:
    """The same place with its cool-down, begun or not, falling from where it stands to 0 in `left` steps."""
    done = (place.step - place.cool_from) / place.cool_steps if place.cool_steps else 0.0
    whole = max(1, round(max(1, left) / max(1e-3, 1 - done)))
    return replace(place, cool_from=place.step - round(done * whole), cool_steps=whole)
