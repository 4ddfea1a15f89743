"""A Shape and a count in, that many KVSlots out: the keys and values of all sequences, in one memory.

Attention over several sequences at once wants them side by side, so each layer's keys are one array
[count, KV, max, head] and so are its values; a slot is a row of each. In 8 bits they are arrays of `kv_blocks`.
The memory of positions that were never written costs nothing. Ignores whose tokens stand where.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model_runtime.graph import kv_blocks
from model_runtime.manifest import Shape

_ALIGNED = 64  # bytes


@dataclass(eq=False)
class KVSlot:
    """One sequence's keys and values: a row, and how many of its positions have been written."""

    row: int
    length: int = 0


class KVPool:
    """Rows for `count` slots. in_bytes: in 8 bits, for our own attention."""

    def __init__(self, shape: Shape, count: int, in_bytes: bool = False) -> None:
        assert count >= 1
        kind: np.dtype[Any] = np.dtype(np.float32)
        size = (count, shape.kv_heads, shape.context_length, shape.head_size)
        if in_bytes:
            kind = np.dtype(np.uint8)
            size = (count, shape.kv_heads, kv_blocks.count(shape.context_length), kv_blocks.size(shape))
        self._step = kv_blocks.TOKENS if in_bytes else 1  # positions that lie together
        self._layers = range(shape.layers)
        self._arrays = {name: _zeros(size, kind) for name in self._names()}
        self.slots = [KVSlot(row) for row in range(count)]

    @property
    def slot_bytes(self) -> int:
        """What a slot takes once it is full."""
        return sum(array[0].nbytes for array in self._arrays.values())

    def bind(self, binding: ort.IOBinding, first: int, count: int, layers: Iterable[int] | None = None) -> None:
        """Has a run read and write the rows from `first` on, in place; of these layers, None for all."""
        for name in self._names(layers):
            array = self._arrays[name]
            rows = ort.OrtValue.ortvalue_from_numpy(array[first : first + count])  # shares the memory
            binding.bind_ortvalue_input(f"past.{name}", rows)
            binding.bind_ortvalue_output(f"present.{name}", rows)

    def copy(self, source: KVSlot, target: KVSlot, length: int) -> None:
        """The first `length` positions of source, into target."""
        end = self._end(length)
        for array in self._arrays.values():
            array[target.row, :, :end] = array[source.row, :, :end]
        target.length = length

    def gather(self, slots: Sequence[KVSlot]) -> int:
        """Moves these slots side by side and returns the first one's row; moves as few positions as will do."""
        rows = {slot.row for slot in slots}
        if max(rows) - min(rows) < len(rows):
            return min(rows)
        inside = {
            first: sum(slot.length for slot in slots if first <= slot.row < first + len(rows))
            for first in range(len(self.slots) - len(rows) + 1)
        }
        first = max(inside, key=lambda at: inside[at])
        window = range(first, first + len(rows))
        free = [slot for slot in self.slots if slot.row in window and slot.row not in rows]
        for slot in slots:
            if slot.row not in window:
                self._swap(slot, free.pop())
        return first

    def _names(self, layers: Iterable[int] | None = None) -> list[str]:
        chosen = self._layers if layers is None else layers
        return [f"{layer}.{part}" for layer in chosen for part in ("key", "value")]

    def _swap(self, one: KVSlot, other: KVSlot) -> None:
        end = self._end(max(one.length, other.length))
        for array in self._arrays.values():
            array[[one.row, other.row], :, :end] = array[[other.row, one.row], :, :end]
        one.row, other.row = other.row, one.row

    def _end(self, length: int) -> int:
        """Where in an array the first so many positions end."""
        return -(-length // self._step)


def _zeros(size: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """An array that begins where a line of the processor's cache does."""
    count = math.prod(size) * kind.itemsize
    room = np.zeros(count + _ALIGNED, np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + count].view(kind).reshape(size)
