"""A configuration in, a Plan out: the network's shape and where each of its weights lies in the checkpoint.

One function a family. A plan is checked against the checkpoint before anything is read, so that
a tensor that is missing, of another size or left over is named at once. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from model_runtime import graph
from model_runtime.checkpoint import Checkpoint, Rows
from model_runtime.configuration import Configuration
from model_runtime.errors import CheckpointError
from model_runtime.manifest import Family, Matrix, Shape
from model_runtime.rope import rope

CONTEXT = 4096  # tokens served unless another length is asked for: keys and values cost memory for each

_ACTIVATIONS: dict[str, Literal["silu", "gelu", "gelu_tanh"]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
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


def plan(config: Configuration, checkpoint: Checkpoint, context: int | None) -> Plan:
    """context: tokens to serve, None for CONTEXT or what the model is good for. Raises CheckpointError."""
    kind = config.text("model_type")
    if kind not in _FAMILIES:
        raise CheckpointError(
            f"{config.path}: models of type {kind!r} cannot be imported; those that can are {', '.join(_FAMILIES)}"
        )
    if "quantization_config" in config:
        raise CheckpointError(
            f"{config.path}: the checkpoint is quantized already; import the original, in floats of 16 or 32 bits"
        )
    found = _FAMILIES[kind](config, checkpoint, context)
    _check(found, checkpoint)
    return found


def _llama(config: Configuration, checkpoint: Checkpoint, context: int | None) -> Plan:
    """Llama, CodeLlama, DeepSeek-Coder, SmolLM, Mistral, Qwen2, Qwen3, StarCoder2."""
    kind = config.text("model_type")
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    size = config.integer("head_dim", default=hidden // heads)
    turning = rope(config, size)
    trained = turning.limit or config.integer("max_position_embeddings")
    starcoder = kind == "starcoder2"
    shape = Shape(
        vocab_size=config.integer("vocab_size"),
        hidden_size=hidden,
        layers=config.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", default=heads),
        head_size=size,
        ffn_size=config.integer("intermediate_size"),
        context_length=_context(config, trained, context),
        rope_theta=turning.theta,
        rope=turning.frequencies,
        rope_magnitude=turning.magnitude,
        norm_epsilon=config.number("rms_norm_eps", "norm_epsilon", default=1e-5 if starcoder else 1e-6),
        norm="layer" if starcoder else "rms",
        activation=_activation(config, "hidden_act", "gelu_pytorch_tanh" if starcoder else "silu"),
        gated=not starcoder,
        qk_norm=kind == "qwen3",
        biases=_llama_biases(config, kind),
        tied=_tied(config, checkpoint),
    )
    shape = _windowed(config, shape)
    layer = {name: f"self_attn.{name}_proj" for name in "qkvo"}
    layer |= {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    layer |= {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
    layer |= {"up": "mlp.c_fc", "down": "mlp.c_proj"} if starcoder else {n: f"mlp.{n}_proj" for n in _GATED}
    whole = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
    return Plan("llama", shape, _named(shape, "model.layers", layer, whole), trained)


_GATED = ("gate", "up", "down")


def _llama_biases(config: Configuration, kind: str) -> tuple[Matrix, ...]:
    if kind == "starcoder2":
        return ("q", "k", "v", "o", "up", "down") if config.flag("use_bias", True) else ()
    if kind == "qwen2":
        return ("q", "k", "v")
    attention: tuple[Matrix, ...] = ("q", "k", "v", "o") if config.flag("attention_bias", False) else ()
    return attention + (("gate", "up", "down") if config.flag("mlp_bias", False) else ())


def _windowed(config: Configuration, shape: Shape) -> Shape:
    """With a sliding window where there is one and the served context reaches beyond it."""
    if "sliding_window" not in config or not config.flag("use_sliding_window", True):
        return shape
    window = config.integer("sliding_window")
    if window >= shape.context_length:
        return shape
    if config.text("model_type").startswith("qwen"):  # there only some layers have one
        raise CheckpointError(f"{config.path}: only some layers have a window; import with --context {window}")
    return msgspec.structs.replace(shape, window=window)


def _context(config: Configuration, trained: int, wanted: int | None) -> int:
    if wanted is not None and wanted > trained:
        raise CheckpointError(
            f"{config.path}: the model was trained on {trained} tokens; ask for no more with --context"
        )
    return min(trained, wanted or CONTEXT)


def _activation(config: Configuration, name: str, default: str) -> Literal["silu", "gelu", "gelu_tanh"]:
    kind = config.text(name, default=default)
    if kind not in _ACTIVATIONS:
        raise config.wrong(f"{name} is {kind!r}, known are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[kind]


def _tied(config: Configuration, checkpoint: Checkpoint) -> bool:
    return config.flag("tie_word_embeddings", "lm_head.weight" not in checkpoint.tensors)


def _named(shape: Shape, layers: str, layer: Mapping[str, str], whole: Mapping[str, str]) -> dict[str, Part]:
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


def _check(found: Plan, checkpoint: Checkpoint) -> None:
    """Every part is there and of the right size, and nothing is left over. Raises CheckpointError."""
    for name, size in graph.sizes(found.shape).items():
        part = found.parts[name]
        tensor = checkpoint.tensors.get(part.name)
        if tensor is None:
            raise CheckpointError(
                f"{checkpoint.files[0].parent} has no tensor {part.name} in its {len(checkpoint.files)} files, "
                "config.json calls for it; download the checkpoint again"
            )
        rows = sum(stop - start for start, stop in part.rows) if part.rows else tensor.size[0]
        if (rows, *tensor.size[1:]) != size or any(stop > tensor.size[0] for _, stop in part.rows or ()):
            raise CheckpointError(
                f"{tensor.file}: tensor {part.name} is {list(tensor.size)}, config.json calls for "
                f"{_whole_size(found, part.name)}; the two belong to different models, download the checkpoint again"
            )
    used = {part.name for part in found.parts.values()} | ({"lm_head.weight"} if found.shape.tied else set())
    rest = [name for name in checkpoint.tensors if name not in used and not name.endswith(_BUFFERS)]
    if rest:
        raise CheckpointError(
            f"{checkpoint.tensors[rest[0]].file}: tensor {rest[0]} and {len(rest) - 1} others have no place in a model "
            "of this type; it is a variant that cannot be imported"
        )


def _whole_size(found: Plan, tensor: str) -> list[int]:
    """The size that all parts of one tensor add up to."""
    sizes = graph.sizes(found.shape)
    parts = [sizes[name] for name, part in found.parts.items() if part.name == tensor]
    return [sum(size[0] for size in parts), *parts[0][1:]]


_FAMILIES: dict[str, Callable[[Configuration, Checkpoint, int | None], Plan]] = {
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
    "starcoder2": _llama,
}
