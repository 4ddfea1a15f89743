"""A configuration in, a Plan out: one function a family. Reads no weights."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from model_runtime.errors import CheckpointError
from model_runtime.importer.checkpoint import Checkpoint, Rows
from model_runtime.importer.hf_config import Configuration
from model_runtime.importer.rope import rope
from model_runtime.importer.weight_map import Part, Plan, activation, check, context, named, tied
from model_runtime.manifest import Layout, Matrix, Shape


def check_kind(config: Configuration) -> None:
    """Raises CheckpointError when the configuration is of a type that has no family here."""
    kind = config.text("model_type")
    if kind not in _FAMILIES:
        raise CheckpointError(
            f"{config.path}: models of type {kind!r} cannot be imported; those that can are {', '.join(_FAMILIES)}"
        )
    if "quantization_config" in config:
        raise CheckpointError(
            f"{config.path}: the checkpoint is quantized already; import the original, in floats of 16 or 32 bits"
        )


def planned(config: Configuration, checkpoint: Checkpoint, layout: Layout, length: int | None) -> Plan:
    """layout: what the tokenizer's markers tell; length: tokens to serve, None chooses. Raises CheckpointError."""
    found = _FAMILIES[config.text("model_type")](config, checkpoint, layout, length)
    check(found, checkpoint)
    return found


def _llama(config: Configuration, checkpoint: Checkpoint, layout: Layout, length: int | None) -> Plan:
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
        context_length=context(config, trained, length),
        rope_theta=turning.theta,
        rope=turning.frequencies,
        rope_magnitude=turning.magnitude,
        norm_epsilon=config.number("rms_norm_eps", "norm_epsilon", default=1e-5 if starcoder else 1e-6),
        norm="layer" if starcoder else "rms",
        activation=activation(config, "hidden_act", "gelu_pytorch_tanh" if starcoder else "silu"),
        gated=not starcoder,
        qk_norm=kind == "qwen3",
        biases=_llama_biases(config, kind),
        tied=tied(config, checkpoint),
    )
    shape = _windowed(config, shape)
    layer = {name: f"self_attn.{name}_proj" for name in "qkvo"}
    layer |= {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    layer |= {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
    layer |= {"up": "mlp.c_fc", "down": "mlp.c_proj"} if starcoder else {n: f"mlp.{n}_proj" for n in _GATED}
    whole = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
    return Plan("llama", shape, named(shape, "model.layers", layer, whole), trained)


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
    is_qwen = config.text("model_type").startswith("qwen")
    if "sliding_window" not in config or not config.flag("use_sliding_window", not is_qwen):
        return shape
    window = config.integer("sliding_window")
    if window >= shape.context_length:
        return shape
    if is_qwen:  # there only some layers have one
        raise CheckpointError(f"{config.path}: only some layers have a window; import with --context {window}")
    return msgspec.structs.replace(shape, window=window)


def _gptj(config: Configuration, checkpoint: Checkpoint, layout: Layout, length: int | None) -> Plan:
    """GPT-J, CodeGen 1 and 2: attention and feed-forward side by side, a part of each head turned by neighbours."""
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    trained = config.integer("n_positions", "n_ctx")
    shape = Shape(
        vocab_size=config.integer("vocab_size"),
        hidden_size=hidden,
        layers=config.integer("n_layer"),
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        ffn_size=config.integer("n_inner", default=4 * hidden),
        context_length=context(config, trained, length),
        norm_epsilon=config.number("layer_norm_epsilon", default=1e-5),
        norm="layer",
        activation=activation(config, "activation_function", "gelu_new"),
        gated=False,
        parallel=True,
        biases=("up", "down", "head"),
        rotary_size=config.integer("rotary_dim", default=hidden // heads),
        rotary_interleaved=True,
        tied=config.flag("tie_word_embeddings", False),
    )
    layer = {"attention_norm": "ln_1", "up": "mlp.fc_in", "down": "mlp.fc_out", "o": "attn.out_proj"}
    layer |= {name: f"attn.{name}_proj" for name in "qkv"}
    parts = named(shape, "transformer.h", layer, _TRANSFORMER)
    if config.text("model_type") == "codegen":
        # How many accelerators it was trained across still shows in its rows: four for CodeGen 1, eight for
        # CodeGen 2, which says the same type, has code of its own in `auto_map` and masks in its vocabulary.
        cores = 8 if layout == "mask" or "auto_map" in config else 4
        if heads % cores:
            raise config.wrong(f"n_head is {heads}, it must be a multiple of {cores}")
        for number in range(shape.layers):
            fused = f"transformer.h.{number}.attn.qkv_proj.weight"
            for place, name in enumerate("qvk"):
                parts[f"layers.{number}.{name}.weight"] = Part(fused, _codegen_rows(hidden, cores, place))
    return Plan("gptj", shape, parts, trained)


_TRANSFORMER = {
    "embed": "transformer.wte",
    "positions": "transformer.wpe",
    "norm": "transformer.ln_f",
    "head": "lm_head",
}


def _codegen_rows(hidden: int, cores: int, place: int) -> Rows:
    """Each core holds its heads' queries, then their values, then their keys; place: 0, 1 or 2 of these."""
    count = hidden // cores
    return [((3 * core + place) * count, (3 * core + place + 1) * count) for core in range(cores)]


def _bigcode(config: Configuration, checkpoint: Checkpoint, layout: Layout, length: int | None) -> Plan:
    """SantaCoder, StarCoder: GPT-2 with one head of keys and values for all queries."""
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    trained, size = config.integer("n_positions"), hidden // heads
    shared = config.flag("multi_query", True)
    shape = Shape(
        vocab_size=config.integer("vocab_size"),
        hidden_size=hidden,
        layers=config.integer("n_layer"),
        heads=heads,
        kv_heads=1 if shared else heads,
        head_size=size,
        ffn_size=config.integer("n_inner", default=4 * hidden),
        context_length=context(config, trained, length),
        norm_epsilon=config.number("layer_norm_epsilon", default=1e-5),
        norm="layer",
        activation=activation(config, "activation_function", "gelu_pytorch_tanh"),
        gated=False,
        positions="learned",
        biases=("q", "k", "v", "o", "up", "down"),
        tied=tied(config, checkpoint),
    )
    layer = {"attention_norm": "ln_1", "ffn_norm": "ln_2", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    layer |= {"o": "attn.c_proj"} | dict.fromkeys("qkv", "attn.c_attn")
    parts = named(shape, "transformer.h", layer, _TRANSFORMER)
    parts["positions.weight"] = Part("transformer.wpe.weight", [(0, shape.context_length)])
    for number in range(shape.layers):
        for place, name in enumerate("qkv"):
            rows = _bigcode_rows(heads, size, place, shared=shared)
            for kind in ("weight", "bias"):
                parts[f"layers.{number}.{name}.{kind}"] = Part(f"transformer.h.{number}.attn.c_attn.{kind}", rows)
    return Plan("bigcode", shape, parts, trained)


def _bigcode_rows(heads: int, size: int, place: int, *, shared: bool) -> Rows:
    """All queries, the keys, the values; or, where keys and values are not shared, the three of each head in turn."""
    if shared:
        begin = 0 if place == 0 else (heads + place - 1) * size
        return [(begin, begin + (heads * size if place == 0 else size))]
    return [((3 * head + place) * size, (3 * head + place + 1) * size) for head in range(heads)]


_FAMILIES: dict[str, Callable[[Configuration, Checkpoint, Layout, int | None], Plan]] = {
    "gptj": _gptj,
    "codegen": _gptj,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
    "starcoder2": _llama,
    "gpt_bigcode": _bigcode,
}
