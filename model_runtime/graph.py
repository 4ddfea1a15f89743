"""Weights and a Shape in, an ONNX graph out: every network that a Shape can describe, wired here.

One graph serves prefill, decode and verification. Attention is com.microsoft
GroupQueryAttention with rotary embedding inside and keys and values in buffers that the
caller owns. The precision only chooses how a matrix is stored and multiplied:

    "fp32"     MatMul on floats: the reference
    "fp16"     the same, stored in half precision and widened when the graph is loaded
    "int8"     MatMulNBits, 8 bits in blocks of 32: storage and decode
    "int4"     MatMulNBits, 4 bits in blocks of 32: storage and decode
    "columns"  DynamicQuantizeMatMul with each row scaled by its own maximum: prefill
    "device"   all of it in half precision, for graphics processors
    "device4"  the same, with matrices as in "int4"

Inputs:  tokens int64 [B, T]; rows int64 [R], which of the B·T positions get logits;
         length int32 [B], past + T − 1 of each sequence; total int32 [], the largest past + T;
         past.{i}.key and past.{i}.value [B, KV, max, head] for each layer i, float32; float16 for a device.
Outputs: logits float32 [R, V]; present.{i}.key and .value, bound to the same buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_runtime.errors import ModelError
from model_runtime.manifest import Shape
from model_runtime.nodes import MICROSOFT, Nodes, Precision, Weights
from model_runtime.quantize import Blocks, Floats, from_blocks
from model_runtime.storage import Constants, FileConstants, Stored

GRAPH = "model.onnx"
DATA = "model.onnx.data"
PREFILL = "model.prefill.onnx"
PREFILL_DATA = "model.prefill.onnx.data"

_OPSET = 21
_IR = 10


def matrix_names(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name and [N, K] of every matrix of the network, the embedding first."""
    hidden, ffn = shape.hidden_size, shape.ffn_size
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    found = {"embed.weight": (shape.vocab_size, hidden)}
    if shape.positions == "learned":
        found["positions.weight"] = (shape.context_length, hidden)
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        found |= {
            at + "q.weight": (queries, hidden),
            at + "k.weight": (keys, hidden),
            at + "v.weight": (keys, hidden),
            at + "o.weight": (hidden, queries),
        }
        if shape.gated:
            found[at + "gate.weight"] = (ffn, hidden)
        found |= {at + "up.weight": (ffn, hidden), at + "down.weight": (hidden, ffn)}
    if not shape.tied:
        found["head.weight"] = (shape.vocab_size, hidden)
    return found


def vector_names(shape: Shape) -> dict[str, int]:
    """Name and length of every norm's weight and of every bias."""
    found = _norm(shape, "norm", shape.hidden_size)
    matrices = matrix_names(shape)
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        found |= _norm(shape, at + "attention_norm", shape.hidden_size)
        if not shape.parallel:
            found |= _norm(shape, at + "ffn_norm", shape.hidden_size)
        if shape.qk_norm:
            found |= _norm(shape, at + "q_norm", shape.head_size) | _norm(shape, at + "k_norm", shape.head_size)
        for name in shape.biases:
            if name != "head":
                found[f"{at}{name}.bias"] = matrices[f"{at}{name}.weight"][0]
    if "head" in shape.biases:
        found["head.bias"] = shape.vocab_size
    return found


def _norm(shape: Shape, name: str, length: int) -> dict[str, int]:
    kinds = ("weight", "bias") if shape.norm == "layer" else ("weight",)
    return {f"{name}.{kind}": length for kind in kinds}


def sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and size of every weight of the network."""
    return {**matrix_names(shape), **{name: (length,) for name, length in vector_names(shape).items()}}


def build(shape: Shape, weights: Weights, precision: Precision) -> onnx.ModelProto:
    """The graph with its weights inside. Raises ModelError for a missing tensor or one of another shape."""
    return _build(shape, weights, precision, Constants())


def write(graph: Path, shape: Shape, weights: Weights, precision: Precision, journal: Path | None = None) -> None:
    """Writes a graph and, beside it, its data; takes one weight at a time. Raises ModelError, OSError.

    With the journal of an earlier call that was broken off, goes on where that one stopped.
    """
    with FileConstants(data_of(graph), journal) as constants:
        model = _build(shape, weights, precision, constants)
    graph.write_bytes(model.SerializeToString())


def write_model(directory: Path, shape: Shape, weights: Weights, precision: Precision) -> None:
    """Writes model.onnx and model.onnx.data, the stored form of a model. Raises ModelError, OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / GRAPH, shape, weights, precision)


def data_of(graph: Path) -> Path:
    """The data file that belongs to a graph."""
    return graph.with_name(graph.name + ".data")


def read_weights(directory: Path, shape: Shape) -> Weights:
    """Every matrix and vector of a stored model as floats, each read when asked for.

    Raises ModelError when the graph is another's or cannot be read.
    """
    weights = StoredWeights(Stored(directory / GRAPH), shape)
    _check_names(shape, weights)
    return weights


class StoredWeights(Mapping[str, Floats]):
    """The weights of a stored graph by their names in the network, as floats."""

    def __init__(self, stored: Stored, shape: Shape) -> None:
        self._stored = stored
        forms = ("", ".T", ".codes")
        self._forms = {
            name: name + form for name in sizes(shape) for form in forms if name + form in stored
        }  # the last form wins, and a weight is stored in one

    def __getitem__(self, name: str) -> Floats:
        form = self._forms[name]
        found = self._stored[form]
        if form.endswith(".T"):
            found = found.T
        elif form.endswith(".codes"):
            scales = self._stored[name + ".scales"]
            found = from_blocks(Blocks(8 if found.shape[-1] == 32 else 4, found, scales.reshape(found.shape[:2])))
        return found.astype(np.float32, copy=False)

    def __contains__(self, name: object) -> bool:
        return name in self._forms  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def _check_names(shape: Shape, weights: Weights) -> None:
    for name in sizes(shape):
        if name not in weights:
            raise ModelError(f"the model has no tensor {name}; export or import it again")


def _build(shape: Shape, weights: Weights, precision: Precision, constants: Constants) -> onnx.ModelProto:
    _check_names(shape, weights)
    nodes = Nodes(shape, sizes(shape), weights, precision, constants)
    _wire(shape, nodes)
    inputs, outputs = _signature(shape, TensorProto.FLOAT16 if nodes.half else TensorProto.FLOAT)
    graph = helper.make_graph(nodes.nodes, "network", inputs, outputs, constants.tensors)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="lacuna")


def _wire(shape: Shape, nodes: Nodes) -> None:
    """The whole network, from tokens to logits."""
    rotary = _rotary(shape, nodes) if shape.positions == "rotary" else []
    hidden = nodes.embedding("tokens")
    if shape.positions == "learned":
        hidden = nodes.node("Add", [hidden, _learned(nodes)], "placed")
    delta: str | None = None
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        hidden, normed = nodes.add_and_norm(hidden, delta, at + "attention_norm")
        mixed = _attention(shape, nodes, layer, normed, rotary)
        if shape.parallel:
            delta = nodes.node("Add", [mixed, _feed_forward(shape, nodes, at, normed)], at + "both")
        else:
            hidden, normed = nodes.add_and_norm(hidden, mixed, at + "ffn_norm")
            delta = _feed_forward(shape, nodes, at, normed)
    assert delta is not None
    hidden = nodes.node("Add", [hidden, delta], "last.hidden")
    flat = nodes.constant("flat", np.array([-1, shape.hidden_size], np.int64))
    picked = nodes.node("Gather", [nodes.node("Reshape", [hidden, flat], "last.flat"), "rows"], "picked", axis=0)
    logits = nodes.linear(nodes.norm(picked, "norm"), "embed" if shape.tied else "head")
    if nodes.half:
        nodes.node("Cast", [logits], "logits", to=TensorProto.FLOAT)
    else:
        nodes.node("Identity", [logits], "logits")


def _attention(shape: Shape, nodes: Nodes, layer: int, normed: str, rotary: list[str]) -> str:
    at = f"layers.{layer}."
    queries, keys, values = (nodes.linear(normed, at + name) for name in "qkv")
    if shape.qk_norm:
        queries = nodes.head_norm(queries, at + "q_norm", shape.heads)
        keys = nodes.head_norm(keys, at + "k_norm", shape.kv_heads)
    past, present = ([f"{side}.{layer}.{part}" for part in ("key", "value")] for side in ("past", "present"))
    mixed = nodes.node(
        "GroupQueryAttention",
        [queries, keys, values, *past, "length", "total", *rotary],
        at + "attention",
        *present,
        domain=MICROSOFT,
        num_heads=shape.heads,
        kv_num_heads=shape.kv_heads,
        do_rotary=int(bool(rotary)),
        rotary_interleaved=int(shape.rotary_interleaved),
        local_window_size=shape.window or -1,
    )
    return nodes.linear(mixed, at + "o")


def _feed_forward(shape: Shape, nodes: Nodes, at: str, normed: str) -> str:
    if not shape.gated:
        return nodes.linear(nodes.activated(nodes.linear(normed, at + "up")), at + "down")
    gate = nodes.activated(nodes.linear(normed, at + "gate"))
    return nodes.linear(nodes.node("Mul", [gate, nodes.linear(normed, at + "up")], at + "gated"), at + "down")


def _rotary(shape: Shape, nodes: Nodes) -> list[str]:
    """cos and sin of position × frequency (Su et al. 2021), [max, rotary/2]."""
    if shape.rope is not None:
        frequencies = np.array(shape.rope, np.float64)
    else:
        size = shape.rotary_size or shape.head_size
        frequencies = shape.rope_theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    angles = np.arange(shape.context_length)[:, None] * frequencies[None, :]
    return [
        nodes.constant("rotary.cos", (shape.rope_magnitude * np.cos(angles)).astype(nodes.kind)),
        nodes.constant("rotary.sin", (shape.rope_magnitude * np.sin(angles)).astype(nodes.kind)),
    ]


def _learned(nodes: Nodes) -> str:
    """The learned vectors of the positions, [B, T, H]; a sequence's positions are length − T + 1 … length."""
    axis = nodes.constant("axis.last", np.array([-1], np.int64))
    one = nodes.constant("one", np.array(1, np.int64))
    zero = nodes.constant("zero", np.array(0, np.int64))
    count = nodes.node("Gather", [nodes.node("Shape", ["tokens"], "tokens.shape"), one], "tokens.count")
    length = nodes.node("Cast", ["length"], "length.long", to=TensorProto.INT64)
    last = nodes.node("Unsqueeze", [nodes.node("Add", [length, one], "past.and.new"), axis], "position.end")
    steps = nodes.node("Range", [zero, count, one], "position.steps")
    begin = nodes.node("Sub", [last, count], "position.begin")
    return nodes.rows("positions.weight", nodes.node("Add", [begin, steps], "positions"), "position.vectors")


def _signature(shape: Shape, kind: int) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    def caches(side: str) -> list[onnx.ValueInfoProto]:
        size: list[int | str | None] = ["B", shape.kv_heads, "max", shape.head_size]
        return [
            helper.make_tensor_value_info(f"{side}.{layer}.{part}", kind, size)
            for layer in range(shape.layers)
            for part in ("key", "value")
        ]

    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "T"]),
        helper.make_tensor_value_info("rows", TensorProto.INT64, ["R"]),
        helper.make_tensor_value_info("length", TensorProto.INT32, ["B"]),
        helper.make_tensor_value_info("total", TensorProto.INT32, []),
        *caches("past"),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["R", shape.vocab_size])
    return inputs, [logits, *caches("present")]
