"""Small GGUF files with the weights of a checkpoint of `checkpoints`, as llama.cpp's converter lays them out.

Names and the order of rows are written down here a second time, so that a wrong one in the import shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import Tokenizer

from tests.checkpoints import Array, Checkpoint, byte_level

F32 = gguf.GGMLQuantizationType.F32
Kind = gguf.GGMLQuantizationType

_LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.c_fc": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.c_proj": "ffn_down",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "attn.q_proj": "attn_q",
    "attn.k_proj": "attn_k",
    "attn.v_proj": "attn_v",
    "attn.out_proj": "attn_output",
    "mlp.fc_in": "ffn_up",
    "mlp.fc_out": "ffn_down",
}
_SIZES = {
    "block_count": ("num_hidden_layers", "n_layer"),
    "embedding_length": ("hidden_size", "n_embd"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "context_length": ("max_position_embeddings", "n_positions"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "rope.dimension_count": ("rotary_dim",),
}


def architecture(checkpoint: Checkpoint) -> str:
    """What llama.cpp calls the family."""
    kind = checkpoint.config["model_type"]
    return {"gpt_bigcode": "starcoder", "mistral": "llama"}.get(kind, kind)


def name_of(theirs: str) -> str:
    """ggml's name of a tensor."""
    base, _, kind = theirs.rpartition(".")
    for layers in ("model.layers.", "transformer.h."):
        if base.startswith(layers):
            number, _, inner = base.removeprefix(layers).partition(".")
            return f"blk.{number}.{_LLAMA[inner]}.{kind}"
    return f"{_LLAMA[base]}.{kind}"


def in_pairs(rows: Array, heads: int) -> Array:
    """The rows of q or k as llama.cpp wants them: neighbours turn together."""
    half = len(rows) // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def tensors_of(checkpoint: Checkpoint) -> dict[str, Array]:
    """The tensors by ggml's names, in its order."""
    found = {}
    for name, value in checkpoint.tensors.items():
        if name.endswith("causal_mask"):
            continue
        if architecture(checkpoint) == "llama" and ".q_proj." in name:
            value = in_pairs(value, checkpoint.config["num_attention_heads"])
        if architecture(checkpoint) == "llama" and ".k_proj." in name:
            value = in_pairs(value, checkpoint.config["num_key_value_heads"])
        found[name_of(name)] = value
    return found


def write(
    path: Path,
    checkpoint: Checkpoint,
    kind: Kind = F32,
    *,
    fim: dict[str, int] | None = None,
    pre: str = "gpt-2",
    part: tuple[int, int] = (0, 1),
    more: dict[str, Any] | None = None,
    added: dict[str, Array] | None = None,
    inner: Tokenizer | None = None,
) -> Path:
    """One file, or one of several. kind: of the matrices; more: further numbers of the architecture's metadata;
    inner: its tokenizer, a byte-level BPE, where that is not a token a byte."""
    arch, config = architecture(checkpoint), checkpoint.config
    writer = gguf.GGUFWriter(path, arch)
    for key, names in _SIZES.items():
        value = next((config[name] for name in names if config.get(name)), None)
        if value is not None:
            writer.add_uint32(f"{arch}.{key}", value)
    norm = "layer_norm_rms_epsilon" if "rms_norm_eps" in config else "layer_norm_epsilon"
    epsilon = next(config[name] for name in ("rms_norm_eps", "norm_epsilon", "layer_norm_epsilon") if name in config)
    writer.add_float32(f"{arch}.attention.{norm}", epsilon)
    if "rope_theta" in config:
        writer.add_float32(f"{arch}.rope.freq_base", config["rope_theta"])
    for key, value in (more or {}).items():
        add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        add = writer.add_string if isinstance(value, str) else add
        add(f"{arch}.{key}", value)
    if part[1] > 1:
        writer.add_uint16("split.no", part[0])
        writer.add_uint16("split.count", part[1])
    rows = checkpoint.config["vocab_size"]
    add_vocabulary(writer, inner or byte_level(checkpoint.markers), checkpoint.markers, rows, pre, fim or {})
    held = list((tensors_of(checkpoint) | (added or {})).items())[part[0] :: part[1]]
    for name, value in held:
        add_tensor(writer, name, value, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_vocabulary(
    writer: gguf.GGUFWriter, inner: Tokenizer, markers: Sequence[str], rows: int, pre: str, fim: dict[str, int]
) -> None:
    """The tokens of a byte-level BPE, their merges, and rows that pad the network."""
    vocabulary = inner.get_vocab(with_added_tokens=True)
    merges = json.loads(inner.to_str())["model"]["merges"]
    texts = sorted(vocabulary, key=lambda text: vocabulary[text])
    kinds = [3 if text in markers else 1 for text in texts]
    padding = [f"[PAD{token}]" for token in range(len(texts), rows)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*texts, *padding])
    writer.add_token_types([*kinds, *[5] * len(padding)])
    if merges:
        writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(vocabulary[markers[0]])
    for key, token in fim.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", token)


def add_tensor(writer: gguf.GGUFWriter, name: str, value: Array, kind: Kind) -> None:
    """Matrices in this kind, where their rows are whole blocks of it; vectors in float32."""
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if value.ndim < 2 or value.shape[-1] % block or name == "position_embd.weight":
        kind = F32
    writer.add_tensor(name, gguf.quants.quantize(value.astype(np.float32), kind), raw_dtype=kind)
