"""A Shape in, how its keys and values lie in 8 bits out: the sizes that `attention.h` reads them in.

Each layer's keys are uint8 [KV, blocks, 16·(head + 4)], and so are its values: a block holds 16 positions in the order
in which they are multiplied, and a scale for each behind them.
"""

from __future__ import annotations

from model_runtime.manifest import Shape

TOKENS = 16  # positions of a block
_SCALE = 4  # bytes
_STEP, _WIDEST = 16, 256  # of heads that the kernels are written for


def fit(shape: Shape) -> bool:
    """Whether the kernels are written for heads of this size."""
    turned = shape.rotary_size or shape.head_size
    return shape.head_size % _STEP == 0 and shape.head_size <= _WIDEST and turned % 2 == 0


def size(shape: Shape) -> int:
    """Bytes of a block."""
    return TOKENS * (shape.head_size + _SCALE)


def count(positions: int) -> int:
    """Blocks that hold so many positions."""
    return -(-positions // TOKENS)
