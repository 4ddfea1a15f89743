"""As `pool`, but the keys and values lie on a device, in half precision, and are never copied to the host.

Rows are named to the network by their addresses; what moves between them is moved by a network of one node.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from model_runtime.backends.kv_pool import KVPool, KVSlot
from model_runtime.backends.providers import Chosen
from model_runtime.manifest import Shape

_BYTES = 2  # of a number


class DeviceKVPool(KVPool):
    """Rows for `count` stores on a device of ONNX Runtime's, such as "cuda"; index: which of several."""

    def __init__(self, shape: Shape, count: int, device: str, providers: list[Chosen], index: int = 0) -> None:
        assert count >= 1
        self._device, self._index = device, index
        self._layers = range(shape.layers)
        self._size = (shape.kv_heads, shape.context_length, shape.head_size)
        self._values = {name: self._allocate(count) for name in self._names()}
        self._spare = self._allocate(1)
        self._mover = ort.InferenceSession(_identity(), providers=providers)
        self.slots = [KVSlot(row) for row in range(count)]

    @property
    def slot_bytes(self) -> int:
        """See KVPool.slot_bytes."""
        return len(self._values) * math.prod(self._size) * _BYTES

    def bind(self, binding: ort.IOBinding, first: int, count: int, layers: Iterable[int] | None = None) -> None:
        """See KVPool.bind."""
        size = [count, *self._size]
        for name in self._names(layers):
            at = self._address(self._values[name], first)
            binding.bind_input(f"past.{name}", self._device, self._index, np.float16, size, at)
            binding.bind_output(f"present.{name}", self._device, self._index, np.float16, size, at)

    def copy(self, source: KVSlot, target: KVSlot, length: int) -> None:
        """See KVPool.copy; moves the whole row."""
        for value in self._values.values():
            self._move(self._address(value, source.row), self._address(value, target.row))
        target.length = length

    def _swap(self, one: KVSlot, other: KVSlot) -> None:
        spare = self._address(self._spare, 0)
        for value in self._values.values():
            left, right = self._address(value, one.row), self._address(value, other.row)
            self._move(left, spare)
            self._move(right, left)
            self._move(spare, right)
        one.row, other.row = other.row, one.row

    def _allocate(self, count: int) -> ort.OrtValue:
        size = [count, *self._size]
        return ort.OrtValue.ortvalue_from_shape_and_type(size, np.float16, self._device, self._index)

    def _address(self, value: ort.OrtValue, row: int) -> int:
        start: int = value.data_ptr()
        return start + row * math.prod(self._size) * _BYTES

    def _move(self, source: int, target: int) -> None:
        binding, size = self._mover.io_binding(), [math.prod(self._size)]
        binding.bind_input("from", self._device, self._index, np.float16, size, source)
        binding.bind_output("to", self._device, self._index, np.float16, size, target)
        self._mover.run_with_iobinding(binding)


def _identity() -> bytes:
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["n"])] for name in ("from", "to"))
    graph = helper.make_graph([helper.make_node("Identity", ["from"], ["to"])], "move", inputs, outputs)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found: bytes = model.SerializeToString()
    return found
