"""A Shape and a count in, that many KVSlots out: the keys and values of all sequences, in one memory.

Attention over several sequences at once wants them side by side, so each layer's keys are one array
[count, KV, max, head] and so are its values; a store is a row of each. The memory of positions that were
never written costs nothing. Ignores whose tokens stand where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from model_runtime.manifest import Shape


@dataclass(eq=False)
class KVSlot:
    """One sequence's keys and values: a row, and how many of its positions have been written."""

    row: int
    length: int = 0


class KVPool:
    """Rows for `count` stores."""

    def __init__(self, shape: Shape, count: int) -> None:
        assert count >= 1
        size = (count, shape.kv_heads, shape.context_length, shape.head_size)
        self._layers = range(shape.layers)
        self._arrays = {name: np.zeros(size, np.float32) for name in self._names()}
        self.slots = [KVSlot(row) for row in range(count)]

    def bind(self, binding: ort.IOBinding, first: int, count: int, layers: Iterable[int] | None = None) -> None:
        """Has a run read and write the rows from `first` on, in place; of these layers, None for all."""
        for name in self._names(layers):
            array = self._arrays[name]
            rows = ort.OrtValue.ortvalue_from_numpy(array[first : first + count])  # shares the memory
            binding.bind_ortvalue_input(f"past.{name}", rows)
            binding.bind_ortvalue_output(f"present.{name}", rows)

    def copy(self, source: KVSlot, target: KVSlot, length: int) -> None:
        """The first `length` positions of source, into target."""
        for array in self._arrays.values():
            array[target.row, :, :length] = array[source.row, :, :length]
        target.length = length

    def gather(self, slots: Sequence[KVSlot]) -> int:
        """Moves these stores side by side and returns the first one's row; moves as few positions as will do."""
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
        length = max(one.length, other.length)
        for array in self._arrays.values():
            array[[one.row, other.row], :, :length] = array[[other.row, one.row], :, :length]
        one.row, other.row = other.row, one.row
