"""Where each weight of a network lies in a checkpoint: the plan of an import, and what every family says of itself.

A plan is checked against the checkpoint before anything is read, so that a tensor that is
missing, of another size or left over is named at once. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from model_runtime.errors import CheckpointError
from model_runtime.graph import graph
from model_runtime.importer.checkpoint import Checkpoint, Rows
from model_runtime.importer.hf_config import Configuration
from model_runtime.manifest import Family, Shape

CONTEXT = 4096  # tokens served unless another length is asked for: keys and values cost memory for each

_ACTIVATIONS: dict[str, Literal["silu", "gelu", "gelu_tanh"]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_TURNED = 16
# Buffers that old checkpoints carry along; a network of ours needs none.
_BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attn.causal_mask")


@dataclass(frozen=True)
class Part:
    """A tensor of the checkpoint, or some runs of its rows."""

    name: str
    rows: Rows | None = None


@dataclass(frozen=True)
class Plan:
    """parts: for each weight of ours, where it lies; trained: the most tokens the model is good for."""

    family: Family
    shape: Shape
    parts: Mapping[str, Part]
    trained: int


def context(config: Configuration, trained: int, wanted: int | None) -> int:
    """Tokens to serve: what is wanted, or CONTEXT, within what the model was trained on. Raises CheckpointError."""
    if wanted is not None and wanted > trained:
        raise CheckpointError(
            f"{config.path}: the model was trained on {trained} tokens; ask for no more with --context"
        )
    return min(trained, wanted or CONTEXT)


def activation(config: Configuration, name: str, default: str) -> Literal["silu", "gelu", "gelu_tanh"]:
    """The nonlinear function that a configuration names. Raises CheckpointError for an unknown one."""
    kind = config.text(name, default=default)
    if kind not in _ACTIVATIONS:
        raise config.wrong(f"{name} is {kind!r}, known are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[kind]


def tied(config: Configuration, checkpoint: Checkpoint) -> bool:
    """Whether the embedding serves as head, too; where the configuration is silent, the checkpoint tells."""
    return config.flag("tie_word_embeddings", "lm_head.weight" not in checkpoint.tensors)


def named(shape: Shape, layers: str, layer: Mapping[str, str], whole: Mapping[str, str]) -> dict[str, Part]:
    """Each weight of ours under the name that the checkpoint has for it. layer, whole: ours → theirs."""
    found = {}
    for name in graph.sizes(shape):
        base, _, kind = name.rpartition(".")
        if base.startswith("layers."):
            _, number, base = base.split(".")
            found[name] = Part(f"{layers}.{number}.{layer[base]}.{kind}")
        else:
            found[name] = Part(f"{whole[base]}.{kind}")
    return found


def check(found: Plan, checkpoint: Checkpoint) -> None:
    """Every part is there and of the right size, and nothing is left over. Raises CheckpointError."""
    shape = found.shape
    widths = (shape.head_size, shape.rotary_size or shape.head_size)
    if shape.positions == "rotary" and any(width % _TURNED for width in widths):
        raise CheckpointError(
            f"{checkpoint.directory}: of heads {widths[0]} values wide it turns {widths[1]}, ONNX Runtime only "
            f"multiples of {_TURNED}; this model cannot be imported"
        )
    for name, size in graph.sizes(shape).items():
        part = found.parts[name]
        tensor = checkpoint.tensors.get(part.name)
        if tensor is None:
            raise CheckpointError(
                f"{checkpoint.files[0].parent} has no tensor {checkpoint.own_name(part.name)} in its "
                f"{len(checkpoint.files)} files, {checkpoint.described_by} calls for it; download the checkpoint again"
            )
        rows = sum(stop - start for start, stop in part.rows) if part.rows else tensor.size[0]
        if (rows, *tensor.size[1:]) != size or any(stop > tensor.size[0] for _, stop in part.rows or ()):
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} is {list(tensor.size)}, {checkpoint.described_by} calls for "
                f"{_whole_size(found, part.name)}; the two belong to different models, download the checkpoint again"
            )
    used = {part.name for part in found.parts.values()} | ({"lm_head.weight"} if shape.tied else set())
    rest = [name for name in checkpoint.tensors if name not in used and not name.endswith(_BUFFERS)]
    if rest:
        raise CheckpointError(
            f"{checkpoint.tensors[rest[0]].file}: tensor {checkpoint.own_name(rest[0])} and {len(rest) - 1} others "
            "have no place in a model of this type; it is a variant that cannot be imported"
        )


def _whole_size(found: Plan, tensor: str) -> list[int]:
    """The size that all parts of one tensor add up to."""
    sizes = graph.sizes(found.shape)
    parts = [sizes[name] for name, part in found.parts.items() if part.name == tensor]
    return [sum(size[0] for size in parts), *parts[0][1:]]
