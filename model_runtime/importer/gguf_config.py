"""A GGUF's metadata in, what a Hugging Face checkpoint of the same network would say out: values, and tensors' names.

So one table of families serves both. Sources: the converter and the model loader of llama.cpp, for what each key
means and in which order rows are kept. Reads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_runtime.errors import CheckpointError
from model_runtime.importer.hf_config import Configuration

_LARGEST = 1 << 24  # of any size of a network
_WIDEST_HEAD = 1 << 12

_LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_STARCODER2 = {**_LLAMA, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
_GPT = {"token_embd": "transformer.wte", "output_norm": "transformer.ln_f", "output": "lm_head", "attn_norm": "ln_1"}
_BIGCODE = {
    **_GPT,
    "position_embd": "transformer.wpe",
    "ffn_norm": "ln_2",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_GPTJ = {
    **_GPT,
    "attn_q": "attn.q_proj",
    "attn_k": "attn.k_proj",
    "attn_v": "attn.v_proj",
    "attn_output": "attn.out_proj",
    "ffn_up": "mlp.fc_in",
    "ffn_down": "mlp.fc_out",
}


@dataclass(frozen=True)
class Architecture:
    """model_type: of the configuration; names: ggml's to the checkpoint's; layers: what the names of a layer's begin
    with; in_pairs: q and k are kept so that neighbours turn together."""

    model_type: str
    names: Mapping[str, str]
    layers: str = "model.layers"
    in_pairs: bool = False


ARCHITECTURES = {
    "llama": Architecture("llama", _LLAMA, in_pairs=True),
    "granite": Architecture("llama", _LLAMA, in_pairs=True),
    "qwen2": Architecture("qwen2", _LLAMA),
    "qwen3": Architecture("qwen3", _LLAMA),
    "starcoder2": Architecture("starcoder2", _STARCODER2),
    "starcoder": Architecture("gpt_bigcode", _BIGCODE, "transformer.h"),
    "gptj": Architecture("gptj", _GPTJ, "transformer.h"),
}
_OF_LAYER = re.compile(r"blk\.(?P<number>\d{1,8})\.(?P<base>.+)")
ROPE_FACTORS = "rope_freqs.weight"


def architecture(path: Path, metadata: Mapping[str, Any]) -> Architecture:
    """Raises CheckpointError for one that is not known."""
    kind = metadata.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: models of architecture {str(kind)[:40]!r} cannot be imported; those that can are "
            f"{', '.join(ARCHITECTURES)}"
        )
    for key in ("expert_count", "attention.clamp_kqv", "rope.scaling.yarn_log_multiplier"):
        if metadata.get(f"{kind}.{key}"):
            raise CheckpointError(f"{path}: {kind}.{key} is {metadata[f'{kind}.{key}']!r}; it cannot be imported")
    return ARCHITECTURES[kind]


def checkpoint_name(architecture: Architecture, name: str) -> str | None:
    """What a checkpoint calls a tensor; None for one that it does not have."""
    found = _OF_LAYER.fullmatch(name)
    base, _, kind = (found["base"] if found else name).rpartition(".")
    if base not in architecture.names:
        return None
    theirs = f"{architecture.names[base]}.{kind}"
    return f"{architecture.layers}.{found['number']}.{theirs}" if found else theirs


def configuration(path: Path, metadata: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]]) -> Configuration:
    """What config.json would say. sizes: of the tensors, by ggml's names. Raises CheckpointError."""
    found = architecture(path, metadata)
    kind = str(metadata["general.architecture"])
    own = Configuration(path, {key.removeprefix(kind + "."): value for key, value in metadata.items()})
    layers, heads = own.integer("block_count"), own.integer("attention.head_count")
    hidden, context = own.integer("embedding_length"), own.integer("context_length")
    embedding = sizes.get("token_embd.weight", (0,))
    if max(layers, heads, hidden, context, *embedding) > _LARGEST or layers > len(sizes) or hidden % heads:
        raise own.wrong(f"{layers} layers of {heads} heads do not agree with {hidden} values and {len(sizes)} tensors")
    shared = {"model_type": found.model_type, "vocab_size": embedding[0], "bos_token_id": None}
    if found.layers == "transformer.h":
        values: dict[str, Any] = {"n_layer": layers, "n_head": heads, "n_embd": hidden, "n_positions": context}
        values |= {"n_inner": own.integer("feed_forward_length", default=4 * hidden)}
        values |= {"layer_norm_epsilon": own.number(*_EPSILON, default=1e-5)}
        values |= {"multi_query": own.integer("attention.head_count_kv", default=1) == 1}
        values |= {"rotary_dim": own.integer("rope.dimension_count", default=hidden // heads)}
        return Configuration(path, shared | values)
    return Configuration(path, shared | _llama(own, found, hidden // heads, sizes))


_EPSILON = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")


def _llama(own: Configuration, found: Architecture, size: int, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """size: of a head, unless told."""
    size = own.integer("attention.key_length", default=size)
    turned, kept = (own.integer(key, default=size) for key in ("rope.dimension_count", "attention.value_length"))
    if size > _WIDEST_HEAD or not size == turned == kept:
        raise own.wrong(f"of heads {size} values wide it turns {turned} and keeps {kept}")
    biased = "blk.0.attn_q.bias" in sizes
    heads = own.integer("attention.head_count")
    return {
        "num_hidden_layers": own.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": own.integer("attention.head_count_kv", default=heads),
        "hidden_size": own.integer("embedding_length"),
        "intermediate_size": own.integer("feed_forward_length"),
        "max_position_embeddings": own.integer("context_length"),
        "head_dim": size,
        "rms_norm_eps": own.number(*_EPSILON, default=1e-5),
        "norm_epsilon": own.number(*_EPSILON, default=1e-5),
        "attention_bias": biased,
        "mlp_bias": "blk.0.ffn_up.bias" in sizes,
        "use_bias": biased,
        "rope_theta": own.number("rope.freq_base", default=10_000.0),
        "rope_scaling": _rope_scaling(own),
        "sliding_window": None if found.model_type.startswith("qwen") else own.get("attention.sliding_window"),
    }


def factors(path: Path, metadata: Mapping[str, Any], size: int) -> dict[str, float]:
    """What some weights of a Granite are multiplied by to be a Llama's, by the last part of their names.

    It multiplies the embedding, what each block adds and the logits, and divides scores by no root. size: of a head.
    """
    if metadata.get("general.architecture") != "granite":
        return {}
    own = Configuration(path, {key.removeprefix("granite."): value for key, value in metadata.items()})
    added = own.number("residual_scale", default=1.0)
    return {
        "embed_tokens": own.number("embedding_scale", default=1.0),
        "o_proj": added,
        "down_proj": added,
        "q_proj": own.number("attention.scale", default=size**-0.5) * size**0.5,
        "lm_head": 1 / own.number("logit_scale", default=1.0),
    }


def _rope_scaling(own: Configuration) -> dict[str, Any] | None:
    kind = own.text("rope.scaling.type", default="linear")
    factor = own.get("rope.scaling.factor") or own.get("rope.scale_linear")
    if kind == "none" or not factor or (kind == "linear" and factor == 1):
        return None
    values = {"rope_type": kind, "factor": factor}
    return values | {ours: own.get(key) for key, ours in _YARN.items() if key in own}


_YARN = {
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
