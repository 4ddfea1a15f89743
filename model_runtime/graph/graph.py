"""Weights and a Shape in, an ONNX graph out: every network that a Shape can describe, wired here.

One graph serves prefill, decode and verification. Attention is com.microsoft
GroupQueryAttention with rotary embedding inside and keys and values in buffers that the
caller owns. The precision only chooses how a matrix is stored and multiplied:

    "fp32"     MatMul on floats: the reference
    "fp16"     the same, stored in half precision and widened when the graph is loaded
    "int8"     MatMulNBits, 8 bits in blocks of 128, in stacks: storage and decode
    "int4"     MatMulNBits, 4 bits in blocks of 128, in stacks: storage and decode
    "int4_head8"  "int4" in blocks of 32, the matrix of the logits in 8 bits, scales in half precision: the smallest
               that loses little
    "columns"  DynamicQuantizeMatMul with each row scaled by its own maximum: prefill, without logits
    "packed8"  MatMulPacked, an operator of our own, on the blocks of "int8": all of it, see `kernels`
    "packed4"  the same on those of "int4"
    "device"   all of it in half precision, for graphics processors
    "device4"  the same, with matrices as in "int4"

Inputs:  tokens int64 [B, T]; rows int64 [R], which of the B·T positions get logits;
         length int32 [B], past + T − 1 of each sequence; total int32 [], the largest past + T;
         past.{i}.key and past.{i}.value [B, KV, max, head] for each layer i, float32; float16 for a device;
         uint8 [B, KV, max/16, 16·(head + 4)] where they are in 8 bits, see `attention.h`.
Outputs: logits float32 [R, V] (nor rows, where none are said); present.{i}.key and .value, bound to the same buffers.

A network whose weights are shared out among ranks has a graph for each stage between two
sums over the ranks. Each but the first has instead of `tokens` the inputs `hidden` and `delta`, [B, T, H], and each
but the last instead of `logits` two such outputs: what stands so far, and what is to be summed and added to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_runtime.errors import ModelError
from model_runtime.graph import kv_blocks
from model_runtime.graph.fused_matrices import Sizes, StoredWeights, gated, heads
from model_runtime.graph.nodes import MICROSOFT, OWN, Nodes, Precision, Weights
from model_runtime.graph.storage import Constants, FileConstants, Stored, load
from model_runtime.manifest import Shape

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


def stages(shape: Shape) -> list[range]:
    """The network from one sum to the next. A stage names its blocks; the block behind the last is the head."""
    return [range(block, block + 1) for block in range(_blocks(shape) + 1)]


def attending(shape: Shape, stage: range) -> list[int]:
    """The layers whose attention a stage holds."""
    found = (_layer(shape, block) for block in stage if block < _blocks(shape))
    return [layer for layer, is_attention in found if is_attention]


def _blocks(shape: Shape) -> int:
    """Blocks that read a norm and give something to be added: attention and feed-forward, or both side by side."""
    return shape.layers * (1 if shape.parallel else 2)


def _layer(shape: Shape, block: int) -> tuple[int, bool]:
    """The layer of a block, and whether it attends."""
    return (block, True) if shape.parallel else (block // 2, block % 2 == 0)


def build(shape: Shape, weights: Weights, precision: Precision) -> onnx.ModelProto:
    """The graph with its weights inside. Raises ModelError for a missing tensor or one of another shape."""
    return _build(shape, sizes(shape), weights, precision, Constants(), _whole(shape))


def write(graph: Path, shape: Shape, weights: Weights, precision: Precision, journal: Path | None = None) -> None:
    """Writes a graph and, beside it, its data; takes one weight at a time. Raises ModelError, OSError.

    With the journal of an earlier call that was broken off, goes on where that one stopped.
    """
    with FileConstants(data_of(graph), journal) as constants:
        model = _build(shape, sizes(shape), weights, precision, constants, _whole(shape))
    graph.write_bytes(model.SerializeToString())


def write_stretches(
    graphs: Sequence[Path], data: Path, shape: Shape, weights: Weights, precision: Precision, vocabulary: int
) -> None:
    """Writes a graph for each stage and one file of data beside them. Raises ModelError, OSError.

    vocabulary: how many of the tokens get logits here.
    """
    own = sizes(shape)
    own |= {name: (vocabulary, *size[1:]) for name, size in own.items() if name.startswith("head.")}
    with FileConstants(data) as constants:
        for graph, stage in zip(graphs, stages(shape), strict=True):
            model = _build(shape, own, weights, precision, constants, stage)
            graph.write_bytes(model.SerializeToString())


def _whole(shape: Shape) -> range:
    return range(_blocks(shape) + 1)


def write_model(directory: Path, shape: Shape, weights: Weights, precision: Precision) -> None:
    """Writes model.onnx and model.onnx.data, the stored form of a model. Raises ModelError, OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / GRAPH, shape, weights, precision)


def data_of(graph: Path) -> Path:
    """The data file that belongs to a graph."""
    return graph.with_name(graph.name + ".data")


def ends(path: Path) -> dict[str, list[int | str]]:
    """The sizes of a stored graph's inputs and outputs, by their names. Raises ModelError when it cannot be read."""
    found = load(path).graph
    return {
        one.name: [size.dim_param or size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in (*found.input, *found.output)
    }


def read_weights(directory: Path, shape: Shape) -> Weights:
    """Every matrix and vector of a stored model as floats, each read when asked for.

    Raises ModelError when the graph is another's or cannot be read.
    """
    weights = StoredWeights(Stored(directory / GRAPH), shape, sizes(shape))
    _check_names(sizes(shape), weights)
    return weights


def _check_names(sizes: Iterable[str], weights: Weights) -> None:
    for name in sizes:
        if name not in weights:
            raise ModelError(f"the model has no tensor {name}; export or import it again")


def _build(
    shape: Shape, sizes: Sizes, weights: Weights, precision: Precision, constants: Constants, stage: range
) -> onnx.ModelProto:
    _check_names(sizes, weights)
    nodes = Nodes(shape, sizes, weights, precision, constants)
    sums = _wire(shape, nodes, stage)
    read = {name for node in nodes.nodes for name in node.input}
    made = {name for node in nodes.nodes for name in node.output}
    kind = TensorProto.FLOAT16 if nodes.half else TensorProto.FLOAT
    inputs, outputs = _signature(nodes, kind, sizes["embed.weight" if shape.tied else "head.weight"][0])
    graph = helper.make_graph(
        nodes.nodes,
        "network",
        [value for value in inputs if value.name in read],
        [_sum(shape, kind, name) for name in sums] + [value for value in outputs if value.name in made],
        [tensor for tensor in constants.tensors if tensor.name in read],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
    if nodes.is_packed:
        opsets.append(helper.make_opsetid(OWN, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="lacuna")


def _wire(shape: Shape, nodes: Nodes, stage: range) -> list[str]:
    """A stage of the network; what stands and what is to be added to it, where the stage has no head.

    What only reads ends where the last keys and values are written.
    """
    rotary = _rotary(shape, nodes) if shape.positions == "rotary" else []
    hidden, delta = ("hidden", "delta") if stage.start else (_embedded(shape, nodes), None)
    for block in stage:
        if nodes.is_silent and _layer(shape, block) == (shape.layers - 1, True):
            _, normed = nodes.add_and_norm(hidden, delta, f"layers.{shape.layers - 1}.attention_norm")
            _attended(shape, nodes, shape.layers - 1, normed, rotary)
            return []
        if block == _blocks(shape):
            assert delta is not None
            _head(shape, nodes, hidden, delta)
            return []
        hidden, delta = _block(shape, nodes, block, hidden, delta, rotary)
    assert delta is not None
    return [hidden, delta]


def _embedded(shape: Shape, nodes: Nodes) -> str:
    hidden = nodes.embedding("tokens")
    return nodes.node("Add", [hidden, _learned(nodes)], "placed") if shape.positions == "learned" else hidden


def _block(
    shape: Shape, nodes: Nodes, block: int, hidden: str, delta: str | None, rotary: list[str]
) -> tuple[str, str]:
    """hidden + delta, and what this block gives to be added to that."""
    layer, attends = _layer(shape, block)
    at = f"layers.{layer}."
    hidden, normed = nodes.add_and_norm(hidden, delta, at + ("attention_norm" if attends else "ffn_norm"))
    if not attends:
        return hidden, _feed_forward(shape, nodes, at, normed)
    attended = _attended(shape, nodes, layer, normed, rotary)
    if nodes.is_packed and layer == shape.layers - 1:
        hidden = nodes.picked(hidden, shape.hidden_size)
        attended = nodes.picked(attended, shape.heads * shape.head_size)
        normed = nodes.picked(normed, shape.hidden_size) if shape.parallel else normed
    mixed = nodes.linear(attended, at + "o")
    if not shape.parallel:
        return hidden, mixed
    return hidden, nodes.node("Add", [mixed, _feed_forward(shape, nodes, at, normed)], at + "both")


def _head(shape: Shape, nodes: Nodes, hidden: str, delta: str) -> None:
    if nodes.is_packed:  # picked already
        _, normed = nodes.add_and_norm(hidden, delta, "norm")
    else:
        total = nodes.node("Add", [hidden, delta], "last.hidden")
        normed = nodes.norm(nodes.picked(total, shape.hidden_size), "norm")
    logits = nodes.linear(normed, "embed" if shape.tied else "head")
    if nodes.half:
        nodes.node("Cast", [logits], "logits", to=TensorProto.FLOAT)
    else:
        nodes.node("Identity", [logits], "logits")


def _attended(shape: Shape, nodes: Nodes, layer: int, normed: str, rotary: list[str]) -> str:
    at = f"layers.{layer}."
    past, present = ([f"{side}.{layer}.{part}" for part in ("key", "value")] for side in ("past", "present"))
    if nodes.in_bytes:
        return nodes.node(
            "Attention",
            [*_heads(shape, nodes, at, normed), *past, "length", "total", *(rotary or ["", ""])],
            at + "attention",
            *present,
            domain=OWN,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            interleaved=int(shape.rotary_interleaved),
            window=shape.window or 0,
        )
    return nodes.node(
        "GroupQueryAttention",
        [*_heads(shape, nodes, at, normed), *past, "length", "total", *rotary],
        at + "attention",
        *present,
        domain=MICROSOFT,
        num_heads=shape.heads,
        kv_num_heads=shape.kv_heads,
        do_rotary=int(bool(rotary)),
        rotary_interleaved=int(shape.rotary_interleaved),
        local_window_size=shape.window or -1,
        **({"scale": 1.0} if nodes.in_stacks else {}),  # the queries bring it along
    )


def _heads(shape: Shape, nodes: Nodes, at: str, normed: str) -> list[str]:
    """Queries, keys and values; or all of them side by side and nothing else."""
    parts = [at + name for name in "qkv"]
    if not nodes.in_stacks:
        found = [nodes.linear(normed, part) for part in parts]
    else:
        together = nodes.stacked(normed, heads(shape, at))
        if not shape.qk_norm:
            return [together, "", ""]
        found = nodes.parted(together, parts)
    if shape.qk_norm:
        found[0] = nodes.head_norm(found[0], at + "q_norm", shape.heads, scaled=nodes.in_stacks)
        found[1] = nodes.head_norm(found[1], at + "k_norm", shape.kv_heads)
    return found


def _feed_forward(shape: Shape, nodes: Nodes, at: str, normed: str) -> str:
    if not shape.gated:
        return nodes.linear(nodes.activated(nodes.linear(normed, at + "up")), at + "down")
    if nodes.in_stacks and not nodes.is_silent:  # to part the products of many tokens costs more than a product saves
        both = nodes.stacked(normed, gated(at))
        if nodes.can_precede(shape.ffn_size) and shape.activation == "silu":
            return nodes.linear(nodes.gated(both, at + "gated"), at + "down")
        gate, up = nodes.parted(both, [at + "gate", at + "up"])
    else:
        gate, up = nodes.linear(normed, at + "gate"), nodes.linear(normed, at + "up")
    return nodes.linear(nodes.node("Mul", [nodes.activated(gate), up], at + "gated"), at + "down")


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


def _sum(shape: Shape, kind: int, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["B", "T", shape.hidden_size])


def _signature(nodes: Nodes, kind: int, vocabulary: int) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    """All that a network or a stage of one may read and give, but for the sums that a stage gives."""
    shape = nodes.shape

    def caches(side: str) -> list[onnx.ValueInfoProto]:
        size: list[int | str | None] = ["B", shape.kv_heads, "max", shape.head_size]
        if nodes.in_bytes:
            size[2:] = ["blocks", kv_blocks.size(shape)]
        kept = TensorProto.UINT8 if nodes.in_bytes else kind
        return [
            helper.make_tensor_value_info(f"{side}.{layer}.{part}", kept, size)
            for layer in range(shape.layers)
            for part in ("key", "value")
        ]

    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "T"]),
        *(_sum(shape, kind, name) for name in ("hidden", "delta")),
        helper.make_tensor_value_info("rows", TensorProto.INT64, ["R"]),
        helper.make_tensor_value_info("length", TensorProto.INT32, ["B"]),
        helper.make_tensor_value_info("total", TensorProto.INT32, []),
        *caches("past"),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["R", vocabulary])
    return inputs, [logits, *caches("present")]
