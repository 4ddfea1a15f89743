"""Weights and a Shape in, an ONNX graph out: the llama family, written node by node.

One graph serves prefill, decode and verification. Attention is com.microsoft
GroupQueryAttention with rotary embedding inside and keys and values in buffers that the
caller owns. The precision only chooses how a matrix is stored and multiplied:

    "fp32"     MatMul on floats: the reference
    "int8"     MatMulNBits, 8 bits in blocks of 32: storage and decode
    "int4"     MatMulNBits, 4 bits in blocks of 32: storage and decode
    "columns"  DynamicQuantizeMatMul with each row scaled by its own maximum: prefill

Inputs:  tokens int64 [1, T]; rows int64 [R], which of the T positions get logits;
         length int32 [1], past + T − 1; total int32 [], past + T;
         past.{i}.key and past.{i}.value float32 [1, KV, max, head] for each layer i.
Outputs: logits float32 [R, V]; present.{i}.key and .value, bound to the same buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_runtime.errors import ModelError
from model_runtime.manifest import Shape
from model_runtime.quantize import Blocks, Floats, from_blocks, to_blocks, to_columns

GRAPH = "model.onnx"
DATA = "model.onnx.data"

Precision = Literal["fp32", "int8", "int4", "columns"]
Weights = Mapping[str, Floats]

_MICROSOFT = "com.microsoft"
_OPSET = 21
_IR = 10
_INLINE_BELOW = 1024  # bytes: smaller tensors stay in the graph file


def matrix_names(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name and [N, K] of every matrix of the network, the embedding first."""
    hidden, ffn = shape.hidden_size, shape.ffn_size
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    found = {"embed.weight": (shape.vocab_size, hidden)}
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        found |= {
            at + "q.weight": (queries, hidden),
            at + "k.weight": (keys, hidden),
            at + "v.weight": (keys, hidden),
            at + "o.weight": (hidden, queries),
            at + "gate.weight": (ffn, hidden),
            at + "up.weight": (ffn, hidden),
            at + "down.weight": (hidden, ffn),
        }
    if not shape.tied:
        found["head.weight"] = (shape.vocab_size, hidden)
    return found


def vector_names(shape: Shape) -> dict[str, int]:
    """Name and length of every norm's weight."""
    found = {"norm.weight": shape.hidden_size}
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        found |= {at + "attention_norm.weight": shape.hidden_size, at + "ffn_norm.weight": shape.hidden_size}
        if shape.qk_norm:
            found |= {at + "q_norm.weight": shape.head_size, at + "k_norm.weight": shape.head_size}
    return found


def build(shape: Shape, weights: Weights, precision: Precision) -> onnx.ModelProto:
    """The graph with its weights inside. Raises ModelError for a missing tensor or one of another shape."""
    _check(shape, weights)
    return _Graph(shape, weights, precision).model()


def write_model(directory: Path, shape: Shape, weights: Weights, precision: Literal["fp32", "int8", "int4"]) -> None:
    """Writes model.onnx and model.onnx.data, the stored form of a model. Raises ModelError, OSError."""
    model = build(shape, weights, precision)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DATA).unlink(missing_ok=True)  # the library appends to a file that is there
    onnx.save_model(model, directory / GRAPH, save_as_external_data=True, location=DATA, size_threshold=_INLINE_BELOW)


def read_weights(directory: Path, shape: Shape) -> dict[str, Floats]:
    """Every matrix and vector of a stored model as floats. Raises ModelError when the graph is another's."""
    try:
        model = onnx.load(directory / GRAPH)
        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except Exception as error:  # protobuf and the library raise many kinds for a broken file
        raise ModelError(f"cannot read {directory / GRAPH}: {error}; restore the model directory") from error
    weights = {name: found[name] for name in vector_names(shape) if name in found}
    for name in matrix_names(shape):
        if name in found:
            weights[name] = found[name]
        elif name + ".T" in found:
            weights[name] = found[name + ".T"].T
        elif name + ".codes" in found:
            codes, scales = found[name + ".codes"], found[name + ".scales"]
            bits = 8 if codes.shape[-1] == 32 else 4
            weights[name] = from_blocks(Blocks(bits, codes, scales.reshape(codes.shape[:2])))
    _check(shape, weights)
    return weights


def _check(shape: Shape, weights: Weights) -> None:
    expected: dict[str, tuple[int, ...]] = dict(matrix_names(shape))
    expected |= {name: (length,) for name, length in vector_names(shape).items()}
    for name, size in expected.items():
        if name not in weights:
            raise ModelError(f"the model has no tensor {name}; export or import it again")
        if tuple(weights[name].shape) != size:
            raise ModelError(
                f"tensor {name} is {list(weights[name].shape)}, the manifest wants {list(size)}; "
                "export or import the model again"
            )
        if not np.isfinite(weights[name]).all():
            raise ModelError(f"tensor {name} holds values that are no numbers; export or import the model again")


class _Graph:
    """A graph under construction: each method adds nodes and names the value it yields."""

    def __init__(self, shape: Shape, weights: Weights, precision: Precision) -> None:
        self.shape, self.weights, self.precision = shape, weights, precision
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        shape = self.shape
        self._rotary()
        hidden = self._embedding()
        delta: str | None = None
        for layer in range(shape.layers):
            at = f"layers.{layer}."
            hidden, normed = self._add_and_norm(hidden, delta, at + "attention_norm.weight")
            hidden, normed = self._add_and_norm(hidden, self._attention(layer, normed), at + "ffn_norm.weight")
            delta = self._feed_forward(at, normed)
        assert delta is not None
        hidden = self._node("Add", [hidden, delta], "last.hidden")
        picked = self._node("Gather", [hidden, "rows"], "picked", axis=1)
        normed = self._norm(picked, "norm.weight")
        logits = self._multiply(normed, "embed.weight" if shape.tied else "head.weight")
        size = self._constant("logits.shape", np.array([-1, shape.vocab_size], np.int64))
        self._node("Reshape", [logits, size], "logits")
        return self._finished()

    def _attention(self, layer: int, normed: str) -> str:
        shape, at = self.shape, f"layers.{layer}."
        queries = self._multiply(normed, at + "q.weight")
        keys = self._multiply(normed, at + "k.weight")
        values = self._multiply(normed, at + "v.weight")
        if shape.qk_norm:
            queries = self._head_norm(queries, at + "q_norm.weight", shape.heads)
            keys = self._head_norm(keys, at + "k_norm.weight", shape.kv_heads)
        past = [f"past.{layer}.key", f"past.{layer}.value"]
        present = [f"present.{layer}.key", f"present.{layer}.value"]
        mixed = at + "attention"
        self.nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [queries, keys, values, *past, "length", "total", "rotary.cos", "rotary.sin"],
                [mixed, *present],
                domain=_MICROSOFT,
                num_heads=shape.heads,
                kv_num_heads=shape.kv_heads,
                do_rotary=1,
            )
        )
        return self._multiply(mixed, at + "o.weight")

    def _feed_forward(self, at: str, normed: str) -> str:
        gate = self._multiply(normed, at + "gate.weight")
        up = self._multiply(normed, at + "up.weight")
        gated = self._node("QuickGelu", [gate], at + "silu", domain=_MICROSOFT, alpha=1.0)  # x·sigmoid(x)
        return self._multiply(self._node("Mul", [gated, up], at + "gated"), at + "down.weight")

    def _multiply(self, x: str, name: str) -> str:
        """x · weightᵀ in the graph's precision; [.., K] → [.., N]."""
        rows, width = matrix_names(self.shape)[name]
        out = name.removesuffix(".weight") + ".out"
        if self.precision == "fp32":
            if name == "embed.weight":  # stored once, as the embedding reads it
                return self._node("MatMul", [x, self._node("Transpose", [name], "embed.T", perm=[1, 0])], out)
            turned = self._constant(name + ".T", np.ascontiguousarray(self.weights[name].T))
            return self._node("MatMul", [x, turned], out)
        if self.precision == "columns":
            return self._multiply_columns(x, name, out)
        codes, scales = self._blocks(name)
        return self._node(
            "MatMulNBits",
            [x, codes, scales],
            out,
            domain=_MICROSOFT,
            K=width,
            N=rows,
            bits=self._bits,
            block_size=32,
            accuracy_level=4,
        )

    def _multiply_columns(self, x: str, name: str, out: str) -> str:
        """DynamicQuantizeMatMul has one activation scale a call; its rows are first brought to one size."""
        columns = to_columns(self.weights[name])
        data = self._constant(name + ".columns", columns.data)
        scales = self._constant(name + ".scales", columns.scales)
        tall = self._row_peak(x)
        even = x + ".even"
        if even not in self._names():
            self._node("Div", [x, tall], even)
        product = self._node("DynamicQuantizeMatMul", [even, data, scales], out + ".even", domain=_MICROSOFT)
        return self._node("Mul", [product, tall], out)

    def _row_peak(self, x: str) -> str:
        peak = x + ".peak"
        if peak not in self._names():
            size = self._node("Abs", [x], x + ".abs")
            axis = self._constant("axis.last", np.array([-1], np.int64))
            tallest = self._node("ReduceMax", [size, axis], x + ".tallest", keepdims=1)
            self._node("Max", [tallest, self._constant("tiny", np.array(1e-8, np.float32))], peak)
        return peak

    def _names(self) -> set[str]:
        return {name for node in self.nodes[-12:] for name in node.output}  # siblings stand close together

    @property
    def _bits(self) -> int:
        return 4 if self.precision == "int4" else 8

    def _blocks(self, name: str) -> tuple[str, str]:
        codes, scales = name + ".codes", name + ".scales"
        if codes not in self.constants:
            blocks = to_blocks(self.weights[name], self._bits)
            self._constant(codes, blocks.data)
            self._constant(scales, blocks.scales)
        return codes, scales

    def _embedding(self) -> str:
        if self.precision in ("fp32", "columns"):
            table = self._constant("embed.weight", self.weights["embed.weight"])
            return self._node("Gather", [table, "tokens"], "embedded")
        codes, scales = self._blocks("embed.weight")  # a tied head reads the very same data
        packed = self._constant("embed.packed", np.array([self.shape.vocab_size, -1], np.int64))
        flat = self._node("Reshape", [codes, packed], "embed.flat")
        return self._node(
            "GatherBlockQuantized",
            [flat, "tokens", scales],
            "embedded",
            domain=_MICROSOFT,
            bits=self._bits,
            block_size=32,
            gather_axis=0,
            quantize_axis=1,
        )

    def _add_and_norm(self, hidden: str, delta: str | None, name: str) -> tuple[str, str]:
        """(hidden + delta, its norm); the sum and the norm are one node."""
        weight = self._constant(name, self.weights[name])
        if delta is None:
            return hidden, self._norm(hidden, name)
        total, normed = name + ".sum", name + ".normed"
        self.nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [hidden, delta, weight],
                [normed, "", "", total],
                domain=_MICROSOFT,
                epsilon=self.shape.norm_epsilon,
            )
        )
        return total, normed

    def _norm(self, x: str, name: str) -> str:
        weight = self._constant(name, self.weights[name])
        return self._node(
            "SimplifiedLayerNormalization", [x, weight], name + ".normed", axis=-1, epsilon=self.shape.norm_epsilon
        )

    def _head_norm(self, x: str, name: str, heads: int) -> str:
        """RMS norm over each head apart: [1, T, heads·size] → the same."""
        size = self.shape.head_size
        apart = self._constant(f"heads.{heads}", np.array([0, 0, heads, size], np.int64))
        together = self._constant("heads.merged", np.array([0, 0, -1], np.int64))
        normed = self._norm(self._node("Reshape", [x, apart], name + ".apart"), name)
        return self._node("Reshape", [normed, together], name + ".together")

    def _rotary(self) -> None:
        """cos and sin of position × frequency (Su et al. 2021), [max, head/2]."""
        size = self.shape.head_size
        frequencies = self.shape.rope_theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
        angles = np.arange(self.shape.context_length)[:, None] * frequencies[None, :]
        self._constant("rotary.cos", np.cos(angles).astype(np.float32))
        self._constant("rotary.sin", np.sin(angles).astype(np.float32))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _finished(self) -> onnx.ModelProto:
        shape = self.shape
        cache: list[int | str | None] = [1, shape.kv_heads, "max", shape.head_size]

        def caches(side: str) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(f"{side}.{layer}.{part}", TensorProto.FLOAT, cache)
                for layer in range(shape.layers)
                for part in ("key", "value")
            ]

        inputs = [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "T"]),
            helper.make_tensor_value_info("rows", TensorProto.INT64, ["R"]),
            helper.make_tensor_value_info("length", TensorProto.INT32, [1]),
            helper.make_tensor_value_info("total", TensorProto.INT32, []),
            *caches("past"),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["R", shape.vocab_size]),
            *caches("present"),
        ]
        graph = helper.make_graph(self.nodes, "llama", inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="lacuna")
