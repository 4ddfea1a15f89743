"""Names of values in, ONNX nodes out: what every network is made of, in the precision at hand.

Each method adds nodes to a graph under construction and names the value it yields. Weights are
taken one at a time and handed to `storage` at once. Knows nothing of how a network is wired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_runtime.errors import ModelError
from model_runtime.graph import kv_blocks
from model_runtime.graph.fused_matrices import SCALED, Sizes, Stack, query_factor
from model_runtime.graph.quantize import BLOCK, PACKED_ROWS, Blocks, Floats, halved, packed, to_blocks, to_columns, wide
from model_runtime.graph.storage import Array, Constants
from model_runtime.manifest import Shape

Precision = Literal["fp32", "fp16", "int8", "int4", "int4_head8", "columns", "packed8", "packed4", "device", "device4"]
Weights = Mapping[str, Floats]

MICROSOFT = "com.microsoft"
OWN = "lacuna"  # operators of the library that `kernels` compiles
DEVICE: tuple[Precision, ...] = ("device", "device4")  # all in half precision, keys and values too
_LONGEST_ROW = 16_384  # `matmul.c`
_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "silu": ("QuickGelu", {"alpha": 1.0}),  # x·sigmoid(x)
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("FastGelu", {}),
}


@runtime_checkable
class InBlocks(Protocol):
    """Weights of which some are in blocks already, and stay as they are where the graph has blocks of as many bits."""

    def coding(self, name: str) -> tuple[int, int] | None:
        """Bits and length of a matrix's blocks; None where it is in none."""

    def blocks(self, name: str) -> Blocks | None:
        """A matrix in these blocks."""


@dataclass(frozen=True)
class _Stored:
    """A matrix in blocks: the names of its constants, its size [rows, width], and how it is coded."""

    codes: str
    scales: str
    rows: int
    width: int
    bits: int
    block: int


@dataclass(frozen=True)
class _Before:
    """What a product does to x before: x + delta, which it names `total`, and its norm; or gated, see `matmul.c`."""

    x: str
    delta: str = ""
    weight: str = ""
    total: str = ""
    gated: bool = False


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
        self._before: dict[str, _Before] = {}

    @property
    def in_stacks(self) -> bool:
        """Whether matrices that read the same are kept as one."""
        return self.precision in ("int8", "int4", "int4_head8", "columns") or self.is_packed

    @property
    def is_silent(self) -> bool:
        """Whether the graph only reads: it writes keys and values, and says nothing."""
        return self.precision == "columns"

    @property
    def is_packed(self) -> bool:
        """Whether the graph is for our own kernels, which read and write: what only logits need is for their rows."""
        return self.precision in ("packed8", "packed4")

    @property
    def in_bytes(self) -> bool:
        """Whether keys and values are kept in 8 bits, which only our own attention reads."""
        return self.is_packed and kv_blocks.fit(self.shape)

    def can_precede(self, width: int) -> bool:
        """Whether our own product does itself what comes before it, for rows of this width that nothing else reads."""
        return self.is_packed and width <= _LONGEST_ROW

    @property
    def bits(self) -> int:
        """Of what is stored in blocks."""
        return 4 if self.precision in ("int4", "int4_head8", "packed4", "device4") else 8

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

    def stacked(self, x: str, stack: Stack) -> str:
        """What `linear` gives for each matrix of a stack, side by side, [.., K] → [.., N₁ + N₂ …]; in integers only."""
        name, output = stack.name + ".weight", stack.name + ".product"
        parts = [part + ".weight" for part in stack.parts]
        product = self._multiply(x, name, output, parts, stack.factors)
        if not any(part + ".bias" in self._sizes for part in stack.parts):
            return product
        return self.node("Add", [product, self._stacked_bias(stack)], stack.name + ".out")

    def parted(self, x: str, parts: Sequence[str]) -> list[str]:
        """What `stacked` gave, part by part again. parts: the names of its matrices."""
        lengths = np.array([self._sizes[part + ".weight"][0] for part in parts], np.int64)
        outputs = [part + ".part" for part in parts]
        self.node("Split", [x, self.constant("rows." + ".".join(map(str, lengths)), lengths)], *outputs, axis=-1)
        return outputs

    def activated(self, x: str) -> str:
        """The network's nonlinear function."""
        kind, attributes = _ACTIVATIONS[self.shape.activation]
        return self.node(kind, [x], x + ".active", domain=MICROSOFT, **attributes)

    def gated(self, both: str, name: str) -> str:
        """silu of the first half of each row times the second, as a part of the one product that reads it."""
        self._before[name] = _Before(both, gated=True)
        return name

    def picked(self, x: str, width: int) -> str:
        """The rows that get logits: [B, T, width] → [R, width]."""
        flat = self.constant(f"flat.{width}", np.array([-1, width], np.int64))
        return self.node("Gather", [self.node("Reshape", [x, flat], x + ".flat"), "rows"], x + ".picked", axis=0)

    def norm(self, x: str, name: str, *, scaled: bool = False) -> str:
        """x brought to unit size along its last axis. name: without ".weight". scaled: see `head_norm`."""
        weights = [self._scaled(name)] if scaled else self._norm_weights(name)
        epsilon = self.shape.norm_epsilon
        kind = "LayerNormalization" if self.shape.norm == "layer" else "SimplifiedLayerNormalization"
        return self.node(kind, [x, *weights], name + ".normed", axis=-1, epsilon=epsilon)

    def add_and_norm(self, hidden: str, delta: str | None, name: str) -> tuple[str, str]:
        """(hidden + delta, its norm); the sum and the norm are one node, or a part of the one product that reads it."""
        if self.can_precede(self.shape.hidden_size) and self.shape.norm == "rms" and not self.shape.parallel:
            total, weight = name + ".sum" if delta else hidden, self.vector(name + ".weight")
            self._before[name + ".normed"] = _Before(hidden, delta or "", weight, total if delta else "")
            return total, name + ".normed"
        if delta is None:
            return hidden, self.norm(hidden, name)
        kind = "SkipLayerNormalization" if self.shape.norm == "layer" else "SkipSimplifiedLayerNormalization"
        inputs, total = [hidden, delta, *self._norm_weights(name)], name + ".sum"
        epsilon = self.shape.norm_epsilon
        normed = self.node(kind, inputs, name + ".normed", "", "", total, domain=MICROSOFT, epsilon=epsilon)
        return total, normed

    def head_norm(self, x: str, name: str, heads: int, *, scaled: bool = False) -> str:
        """The norm of each head apart: [B, T, heads·size] → the same. scaled: times what queries are multiplied by."""
        apart = self.constant(f"heads.{heads}", np.array([0, 0, heads, self.shape.head_size], np.int64))
        together = self.constant("heads.merged", np.array([0, 0, -1], np.int64))
        normed = self.norm(self.node("Reshape", [x, apart], name + ".apart"), name, scaled=scaled)
        return self.node("Reshape", [normed, together], name + ".together")

    def embedding(self, tokens: str) -> str:
        """The rows of the embedding: [B, T] → [B, T, H]."""
        if self.half or self.precision in ("fp32", "fp16"):
            return self.rows("embed.weight", tokens, "embedded")
        found = self._blocks("embed.weight")  # a tied head reads the very same data, but for a packed one
        flat = self.constant("embed.size", np.array([self.shape.vocab_size, -1], np.int64))
        codes = found.codes if self.is_packed else self.node("Reshape", [found.codes, flat], "embed.flat")
        return self.node(
            "GatherBlockQuantized",
            [codes, tokens, found.scales],
            "embedded",
            domain=MICROSOFT,
            bits=found.bits,
            block_size=found.block,
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

    def _multiply(
        self, x: str, name: str, output: str, parts: Sequence[str] = (), factors: Sequence[float] = (1.0,)
    ) -> str:
        """parts, factors: of a stack, see `stacked`."""
        if self.precision in ("fp32", "fp16", "device"):
            return self.node("MatMul", [x, self._turned(name)], output)
        if self.precision == "columns":
            return self._multiply_columns(x, name, output, parts, factors)
        if self.is_packed:
            return self._multiply_packed(x, name, output, parts, factors)
        return self._multiply_blocks(x, self._blocks(name, parts, factors), output)

    def _multiply_blocks(self, x: str, blocks: _Stored, output: str) -> str:
        return self.node(
            "MatMulNBits",
            [x, blocks.codes, blocks.scales],
            output,
            domain=MICROSOFT,
            K=blocks.width,
            N=blocks.rows,
            bits=blocks.bits,
            block_size=blocks.block,
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

    def _multiply_columns(self, x: str, name: str, output: str, parts: Sequence[str], factors: Sequence[float]) -> str:
        """DynamicQuantizeMatMul has one activation scale a call; its rows are first brought to one size."""
        codes, scales = name + ".columns", name + ".column_scales"

        def make() -> list[Array]:
            columns = [to_columns(self._weight(one)) for one in parts or [name]]
            spread = [one.scales * np.float32(factor) for one, factor in zip(columns, factors, strict=True)]
            return [np.concatenate([one.data for one in columns], axis=1), np.concatenate(spread)]

        self._constants.keep([codes, scales], make)
        even, peak = self._evened(x)
        product = self.node("DynamicQuantizeMatMul", [even, codes, scales], output + ".even", domain=MICROSOFT)
        return self.node("Mul", [product, peak], output)

    def _multiply_packed(self, x: str, name: str, output: str, parts: Sequence[str], factors: Sequence[float]) -> str:
        names = parts or [name]
        rows, (bits, block) = sum(self._sizes[one][0] for one in names), self._coding(names)
        whole = -(-rows // PACKED_ROWS) * PACKED_ROWS
        matrix = [name + ".packed", name + ".packed_scales", name + ".packed_power"]

        def make() -> list[Array]:
            found = packed(self._coded(names, factors, bits, block))
            return [found.data, found.scales, found.power]

        self._constants.keep(matrix, make)
        before = self._before.pop(x, _Before(x))
        product = self.node(
            "MatMulPacked",
            [before.x, *matrix, before.weight, before.delta],
            output if whole == rows else output + ".whole",
            *([before.total] if before.total else []),
            domain=OWN,
            N=whole,
            bits=bits,
            block_size=block,
            gated=int(before.gated),
            epsilon=self.shape.norm_epsilon,
        )
        if whole == rows:
            return product
        ends = [self.constant(f"{end}.{at}", np.array([at], np.int64)) for end, at in (("from", 0), ("to", rows))]
        axis = self.constant("axis.last", np.array([-1], np.int64))
        return self.node("Slice", [product, *ends, axis], output)

    def _evened(self, x: str) -> tuple[str, str]:
        """Each row divided by its largest value, and that value; made once for all that read x."""
        if x not in self._even:
            axis = self.constant("axis.last", np.array([-1], np.int64))
            tallest = self.node("ReduceMax", [self.node("Abs", [x], x + ".abs"), axis], x + ".tallest", keepdims=1)
            peak = self.node("Max", [tallest, self.constant("tiny", np.array(1e-8, np.float32))], x + ".peak")
            self._even[x] = self.node("Div", [x, peak], x + ".even"), peak
        return self._even[x]

    def _blocks(self, name: str, parts: Sequence[str] = (), factors: Sequence[float] = (1.0,)) -> _Stored:
        """A matrix in blocks, or several, one below the other and each times its factor, under one name.

        In a packed graph only the embedding is kept so, row by row.
        """
        names = parts or [name]
        codes, scales = name + ".codes", name + ".scales"
        width = self._sizes[names[0]][1]
        if width % BLOCK:
            raise ModelError(
                f"{names[0]} has rows of {width} values, integers are stored in blocks of {BLOCK}; "
                "import the model with --quant fp16"
            )

        bits, block = self._coding(names)
        is_halved = self.precision == "int4_head8"

        def make() -> list[Array]:
            found = self._coded(names, factors, bits, block)
            data = found.data.reshape(len(found.data), -1) if self.is_packed else found.data
            return [data, *(halved(found.scales) if is_halved else (found.scales.astype(self.kind),))]

        self._constants.keep([codes, scales, *([name + ".power"] if is_halved else [])], make)
        if is_halved:
            scales = self._whole_scales(name)
        return _Stored(codes, scales, sum(self._sizes[one][0] for one in names), width, bits, block)

    def _whole_scales(self, name: str) -> str:
        """Scales that are stored in half precision, for ONNX Runtime, which computes that when it loads them."""
        whole = name + ".scales.whole"
        if all(whole not in node.output for node in self.nodes):
            wide_scales = self.node("Cast", [name + ".scales"], name + ".scales.wide", to=TensorProto.FLOAT)
            self.node("Mul", [wide_scales, name + ".power"], whole)
        return whole

    def _coding(self, names: Sequence[str]) -> tuple[int, int]:
        """Bits and length of the blocks of some matrices: as they come, where that will do, or else the longest.

        Our own kernels multiply what is stored in 8 bits in 8 bits, whatever the rest is in.
        """
        if self.precision == "int4_head8":
            return 8 if names[0] == ("embed.weight" if self.shape.tied else "head.weight") else 4, BLOCK
        codings = [self._weights.coding(name) if isinstance(self._weights, InBlocks) else None for name in names]
        known = {one[0] for one in codings if one is not None}
        bits = known.pop() if self.is_packed and len(known) == 1 and None not in codings else self.bits
        lengths = [one[1] for one in codings if one is not None and one[0] == bits]
        return bits, min([wide(self._sizes[names[0]][1]), *lengths])

    def _coded(self, names: Sequence[str], factors: Sequence[float], bits: int, block: int) -> Blocks:
        """Matrices in blocks, one below the other and each times its factor; as they are stored, where so they are."""
        found = [self._blocks_of(name, bits, block) for name in names]
        spread = [one.scales * np.float32(factor) for one, factor in zip(found, factors, strict=True)]
        return Blocks(bits, np.concatenate([one.data for one in found]), np.concatenate(spread))

    def _blocks_of(self, name: str, bits: int, block: int) -> Blocks:
        found = self._weights if isinstance(self._weights, InBlocks) else None
        kept = found.blocks(name) if found is not None and found.coding(name) == (bits, block) else None
        if kept is None:
            return to_blocks(self._weight(name), bits, block)
        if not np.isfinite(kept.scales).all():
            raise _no_numbers(name)
        return kept

    def _stacked_bias(self, stack: Stack) -> str:
        def make() -> list[Array]:
            found = []
            for part, factor in zip(stack.parts, stack.factors, strict=True):
                has = part + ".bias" in self._sizes
                bias = self._weight(part + ".bias") if has else np.zeros(self._sizes[part + ".weight"][0])
                found.append((bias * factor).astype(np.float32))
            return [np.concatenate(found)]

        self._constants.keep([stack.name + ".bias"], make)
        return stack.name + ".bias"

    def _scaled(self, name: str) -> str:
        """The norm of queries, times what queries are multiplied by."""
        factor = np.float32(query_factor(self.shape))
        self._constants.keep([name + SCALED], lambda: [(self._weight(name + ".weight") * factor).astype(self.kind)])
        return name + SCALED

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
            raise _no_numbers(name)
        return found


def _no_numbers(name: str) -> ModelError:
    return ModelError(f"tensor {name} holds values that are no numbers; export or import the model again")
