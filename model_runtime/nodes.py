"""Names of values in, ONNX nodes out: what every network is made of, in the precision at hand.

Each method adds nodes to a graph under construction and names the value it yields. Weights are
taken one at a time and handed to `storage` at once. Knows nothing of how a network is wired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_runtime.errors import ModelError
from model_runtime.manifest import Shape
from model_runtime.quantize import BLOCK, Floats, to_blocks, to_columns
from model_runtime.storage import Array, Constants

Precision = Literal["fp32", "fp16", "int8", "int4", "columns", "device", "device4"]
Weights = Mapping[str, Floats]
Sizes = Mapping[str, tuple[int, ...]]

MICROSOFT = "com.microsoft"
DEVICE: tuple[Precision, ...] = ("device", "device4")  # all in half precision, keys and values too
_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "silu": ("QuickGelu", {"alpha": 1.0}),  # x·sigmoid(x)
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("FastGelu", {}),
}


class Nodes:
    """A graph under construction. sizes: of every weight the network may ask for."""

    def __init__(
        self, shape: Shape, sizes: Sizes, weights: Weights, precision: Precision, constants: Constants
    ) -> None:
        self.shape, self.precision = shape, precision
        self.half = precision in DEVICE
        self.nodes: list[onnx.NodeProto] = []
        self._sizes, self._weights, self._constants = sizes, weights, constants
        self._even: dict[str, tuple[str, str]] = {}

    @property
    def kind(self) -> type[np.floating[Any]]:
        """What is computed with."""
        return np.float16 if self.half else np.float32

    def node(self, kind: str, inputs: Sequence[str], output: str, *others: str, **attributes: Any) -> str:
        """One node of the standard's, or with domain=MICROSOFT of the runtime's own. others: its further outputs."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output, *others], **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        """A value that is no weight."""
        self._constants.keep([name], lambda: [value])
        return name

    def vector(self, name: str) -> str:
        """A norm's weight or a bias, in float32 but for a device."""
        self._constants.keep([name], lambda: [self._weight(name).astype(self.kind)])
        return name

    def linear(self, x: str, name: str) -> str:
        """x · weightᵀ, and its bias where the network has one; [.., K] → [.., N]. name: without ".weight"."""
        product = self._multiply(x, name + ".weight", name + ".product")
        if name + ".bias" not in self._sizes:
            return product
        return self.node("Add", [product, self.vector(name + ".bias")], name + ".out")

    def activated(self, x: str) -> str:
        """The network's nonlinear function."""
        kind, attributes = _ACTIVATIONS[self.shape.activation]
        return self.node(kind, [x], x + ".active", domain=MICROSOFT, **attributes)

    def norm(self, x: str, name: str) -> str:
        """x brought to unit size along its last axis. name: without ".weight"."""
        weights, epsilon = self._norm_weights(name), self.shape.norm_epsilon
        kind = "LayerNormalization" if self.shape.norm == "layer" else "SimplifiedLayerNormalization"
        return self.node(kind, [x, *weights], name + ".normed", axis=-1, epsilon=epsilon)

    def add_and_norm(self, hidden: str, delta: str | None, name: str) -> tuple[str, str]:
        """(hidden + delta, its norm); the sum and the norm are one node."""
        if delta is None:
            return hidden, self.norm(hidden, name)
        kind = "SkipLayerNormalization" if self.shape.norm == "layer" else "SkipSimplifiedLayerNormalization"
        inputs, total = [hidden, delta, *self._norm_weights(name)], name + ".sum"
        epsilon = self.shape.norm_epsilon
        normed = self.node(kind, inputs, name + ".normed", "", "", total, domain=MICROSOFT, epsilon=epsilon)
        return total, normed

    def head_norm(self, x: str, name: str, heads: int) -> str:
        """The norm of each head apart: [B, T, heads·size] → the same."""
        apart = self.constant(f"heads.{heads}", np.array([0, 0, heads, self.shape.head_size], np.int64))
        together = self.constant("heads.merged", np.array([0, 0, -1], np.int64))
        normed = self.norm(self.node("Reshape", [x, apart], name + ".apart"), name)
        return self.node("Reshape", [normed, together], name + ".together")

    def embedding(self, tokens: str) -> str:
        """The rows of the embedding: [B, T] → [B, T, H]."""
        if self.half or self.precision in ("fp32", "fp16"):
            return self.rows("embed.weight", tokens, "embedded")
        bits = 4 if self.precision == "int4" else 8
        codes, scales = self._blocks("embed.weight", bits)  # in blocks a tied head reads the very same data
        packed = self.constant("embed.packed", np.array([self.shape.vocab_size, -1], np.int64))
        return self.node(
            "GatherBlockQuantized",
            [self.node("Reshape", [codes, packed], "embed.flat"), tokens, scales],
            "embedded",
            domain=MICROSOFT,
            bits=bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def rows(self, name: str, at: str, output: str) -> str:
        """Rows of a float table, in half precision unless the graph is exact."""
        if self.half:
            self._constants.keep([name], lambda: [self._weight(name).astype(np.float16)])
            return self.node("Gather", [name, at], output)
        half = self.precision != "fp32"
        self._constants.keep([name], lambda: [self._weight(name).astype(np.float16 if half else np.float32)])
        found = self.node("Gather", [name, at], output + ".half" if half else output)
        return self.node("Cast", [found], output, to=TensorProto.FLOAT) if half else found

    def _multiply(self, x: str, name: str, output: str) -> str:
        if self.precision in ("fp32", "fp16", "device"):
            return self.node("MatMul", [x, self._turned(name)], output)
        if self.precision == "columns":
            return self._multiply_columns(x, name, output)
        rows, width = self._sizes[name]
        bits = 4 if self.precision in ("int4", "device4") else 8
        return self.node(
            "MatMulNBits",
            [x, *self._blocks(name, bits)],
            output,
            domain=MICROSOFT,
            K=width,
            N=rows,
            bits=bits,
            block_size=BLOCK,
            accuracy_level=0 if self.half else 4,
        )

    def _turned(self, name: str) -> str:
        """The transpose of a float matrix; the embedding's is made of the table that is stored already."""
        half = self.half or self.precision == "fp16"
        if name == "embed.weight":
            turned = self.node("Transpose", [name], "embed.T", perm=[1, 0])
        else:
            turned = name + ".T"
            kind = np.float16 if half else np.float32
            self._constants.keep([turned], lambda: [np.ascontiguousarray(self._weight(name).T, kind)])
        widened = half and not self.half
        return self.node("Cast", [turned], turned + ".whole", to=TensorProto.FLOAT) if widened else turned

    def _multiply_columns(self, x: str, name: str, output: str) -> str:
        """DynamicQuantizeMatMul has one activation scale a call; its rows are first brought to one size."""
        codes, scales = name + ".columns", name + ".column_scales"

        def make() -> list[Array]:
            columns = to_columns(self._weight(name))
            return [columns.data, columns.scales]

        self._constants.keep([codes, scales], make)
        even, peak = self._evened(x)
        product = self.node("DynamicQuantizeMatMul", [even, codes, scales], output + ".even", domain=MICROSOFT)
        return self.node("Mul", [product, peak], output)

    def _evened(self, x: str) -> tuple[str, str]:
        """Each row divided by its largest value, and that value; made once for all that read x."""
        if x not in self._even:
            axis = self.constant("axis.last", np.array([-1], np.int64))
            tallest = self.node("ReduceMax", [self.node("Abs", [x], x + ".abs"), axis], x + ".tallest", keepdims=1)
            peak = self.node("Max", [tallest, self.constant("tiny", np.array(1e-8, np.float32))], x + ".peak")
            self._even[x] = self.node("Div", [x, peak], x + ".even"), peak
        return self._even[x]

    def _blocks(self, name: str, bits: int) -> tuple[str, str]:
        codes, scales = name + ".codes", name + ".scales"

        def make() -> list[Array]:
            blocks = to_blocks(self._weight(name), bits)
            return [blocks.data, blocks.scales.astype(self.kind)]

        if self._sizes[name][1] % BLOCK:
            raise ModelError(
                f"{name} has rows of {self._sizes[name][1]} values, integers are stored in blocks of {BLOCK}; "
                "import the model with --quant fp16"
            )
        self._constants.keep([codes, scales], make)
        return codes, scales

    def _norm_weights(self, name: str) -> list[str]:
        kinds = (".weight", ".bias") if self.shape.norm == "layer" else (".weight",)
        return [self.vector(name + kind) for kind in kinds]

    def _weight(self, name: str) -> Floats:
        """One weight, checked. Raises ModelError for another size than the network's or values that are no numbers."""
        found, size = self._weights[name], self._sizes[name]
        if found.shape != size:
            raise ModelError(
                f"tensor {name} is {list(found.shape)}, the manifest wants {list(size)}; "
                "export or import the model again"
            )
        if not np.isfinite(found).all():
            raise ModelError(f"tensor {name} holds values that are no numbers; export or import the model again")
        return found
