"""Small checkpoints as Hugging Face lays them out, with random weights, and each family in plain numpy.

The references read the checkpoint's own tensors by the checkpoint's own names, so they share no
line with the import: a wrong row order or a forgotten bias shows.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

Array = NDArray[Any]
Tensors = dict[str, Array]

QWEN_MARKERS = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|repo_name|>", "<|file_sep|>")
END = ("<|endoftext|>",)
VOCAB = 272


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint before it is written. logits: [T, V] of some tokens, by the family's paper."""

    config: dict[str, Any]
    tensors: Tensors
    logits: Callable[[Sequence[int]], Array]
    markers: tuple[str, ...] = END
    files: dict[str, str] = field(default_factory=dict)

    def write(self, directory: Path, *, shards: int = 1, pickled: bool = False) -> Path:
        """The folder, in safetensors or as PyTorch writes them."""
        directory.mkdir(parents=True)
        (directory / "config.json").write_text(json.dumps(self.config))
        (directory / "tokenizer.json").write_text(byte_level(self.markers).to_str())
        for name, text in self.files.items():
            (directory / name).write_text(text)
        write_tensors(directory, self.tensors, shards=shards, pickled=pickled)
        return directory


def write_tensors(directory: Path, tensors: Tensors, *, shards: int = 1, pickled: bool = False) -> None:
    """One file, or shards and their index."""
    stem, ending = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    save = write_pickle if pickled else write_safetensors
    if shards == 1:
        save(directory / f"{stem}.{ending}", tensors)
        return
    table = {}
    for shard in range(shards):
        name = f"{stem}-{shard + 1:05d}-of-{shards:05d}.{ending}"
        held = dict(list(tensors.items())[shard::shards])
        save(directory / name, held)
        table |= dict.fromkeys(held, name)
    (directory / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """One file."""
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def byte_level(markers: Sequence[str], *, special: bool = True) -> Tokenizer:
    """One token a byte, then the markers, then tokens that nobody uses."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({text: at for at, text in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_tokens([AddedToken(marker, special=special, normalized=False) for marker in markers])
    return inner


class _Global:
    """A name that a pickle asks for."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        raise AssertionError("only to be named")


@dataclass(frozen=True)
class _Stored:
    key: str
    kind: str
    count: int


class _Rebuilt:
    def __init__(self, stored: _Stored, array: Array) -> None:
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        self.arguments = (stored, 0, array.shape, strides, False, {})

    def __reduce__(self) -> Any:
        return _Global("torch._utils", "_rebuild_tensor_v2"), self.arguments


class _Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes names and storages as PyTorch does, without PyTorch."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Stored):
            return ("storage", _Global("torch", obj.kind), obj.key, "cpu", obj.count)
        return None


_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def write_pickle(path: Path, tensors: Mapping[str, Array], more: Mapping[str, Any] | None = None) -> None:
    """One file as torch.save writes it; uint16 arrays stand for bfloat16."""
    table: dict[str, Any] = dict(more or {})
    for key, (name, array) in enumerate(tensors.items()):
        kind = _STORAGES.get(array.dtype.name, "BFloat16Storage")
        table[name] = _Rebuilt(_Stored(str(key), kind, array.size), array)
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump(table)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())


# The families. Each: a configuration as its authors published it, only smaller.

HIDDEN, LAYERS, HEADS, FFN = 64, 2, 4, 96
WIDE = 256  # for eight heads of 32 values, half of which are turned


def llama(**changes: Any) -> Checkpoint:
    """Llama, and with changes CodeLlama, DeepSeek-Coder, Qwen2, SmolLM or Mistral."""
    config = {
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "eos_token_id": 256,
        **changes,
    }
    biased = {"qwen2": ("q", "k", "v")}.get(
        config["model_type"], ("q", "k", "v", "o") if config.get("attention_bias") else ()
    )
    size = config.get("head_dim") or HIDDEN // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    make = Maker()
    tensors = make.matrices({"model.embed_tokens.weight": (VOCAB, HIDDEN)}, gain=8)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        sizes = {"q": (queries, HIDDEN), "k": (keys, HIDDEN), "v": (keys, HIDDEN), "o": (HIDDEN, queries)}
        tensors |= make.matrices({f"{at}self_attn.{name}_proj.weight": one for name, one in sizes.items()})
        tensors |= make.vectors({f"{at}self_attn.{name}_proj.bias": sizes[name][0] for name in biased})
        tensors |= make.matrices({f"{at}mlp.{name}_proj.weight": (FFN, HIDDEN) for name in ("gate", "up")})
        tensors |= make.matrices({f"{at}mlp.down_proj.weight": (HIDDEN, FFN)})
        tensors |= make.norms({f"{at}{name}_layernorm.weight": HIDDEN for name in ("input", "post_attention")})
        if config["model_type"] == "qwen3":
            tensors |= make.norms({f"{at}self_attn.{name}_norm.weight": size for name in "qk"})
    tensors |= make.norms({"model.norm.weight": HIDDEN})
    if not config["tie_word_embeddings"]:
        tensors |= make.matrices({"lm_head.weight": (VOCAB, HIDDEN)})
    return Checkpoint(config, tensors, lambda tokens: llama_logits(config, tensors, tokens))


def llama_logits(config: Mapping[str, Any], tensors: Tensors, tokens: Sequence[int]) -> Array:
    """Touvron et al. 2023, with Qwen2's biases and Qwen3's norms of the heads."""
    epsilon, heads, kv_heads = config["rms_norm_eps"], config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or HIDDEN // heads
    angles = np.arange(len(tokens))[:, None] * reference_frequencies(config, size)
    x = tensors["model.embed_tokens.weight"][list(tokens)].astype(np.float64)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        n = rms_norm(x, tensors[at + "input_layernorm.weight"], epsilon)
        q, k, v = (linear(n, tensors, f"{at}self_attn.{name}_proj").reshape(len(n), -1, size) for name in "qkv")
        if config["model_type"] == "qwen3":
            q = rms_norm(q, tensors[at + "self_attn.q_norm.weight"], epsilon)
            k = rms_norm(k, tensors[at + "self_attn.k_norm.weight"], epsilon)
        q, k = turn_halves(q, angles), turn_halves(k, angles)
        k, v = (np.repeat(one, heads // kv_heads, axis=1) for one in (k, v))
        x = x + linear(attend(q, k, v, config.get("sliding_window")), tensors, at + "self_attn.o_proj")
        n = rms_norm(x, tensors[at + "post_attention_layernorm.weight"], epsilon)
        gate = linear(n, tensors, at + "mlp.gate_proj")
        x = x + linear(
            gate / (1 + np.exp(-gate)) * linear(n, tensors, at + "mlp.up_proj"), tensors, at + "mlp.down_proj"
        )
    x = rms_norm(x, tensors["model.norm.weight"], epsilon)
    return x @ tensors["model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"].T


def reference_frequencies(config: Mapping[str, Any], size: int) -> Array:
    """Radians a position; only the kinds of scaling that are one line."""
    plain = config["rope_theta"] ** (-np.arange(size // 2) / (size // 2))
    scaling = config.get("rope_scaling") or {}
    return plain / scaling["factor"] if scaling.get("type") == "linear" else plain


def starcoder2(**changes: Any) -> Checkpoint:
    """StarCoder2: norms with mean, biases everywhere, a feed-forward without a gate."""
    config = {
        "model_type": "starcoder2",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "norm_epsilon": 1e-5,
        "rope_theta": 100000,
        "hidden_act": "gelu_pytorch_tanh",
        "use_bias": True,
        "sliding_window": None,
        "eos_token_id": 256,
        **changes,
    }
    size, make = HIDDEN // HEADS, Maker()
    rows = {"self_attn.q_proj": HIDDEN, "self_attn.k_proj": 2 * size, "self_attn.v_proj": 2 * size}
    rows |= {"self_attn.o_proj": HIDDEN, "mlp.c_fc": FFN, "mlp.c_proj": HIDDEN}
    tensors = make.matrices({"model.embed_tokens.weight": (VOCAB, HIDDEN)}, gain=8)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        tensors |= make.matrices(
            {f"{at}{n}.weight": (r, FFN if n == "mlp.c_proj" else HIDDEN) for n, r in rows.items()}
        )
        tensors |= make.vectors({f"{at}{name}.bias": count for name, count in rows.items()})
        for name in ("input", "post_attention"):
            tensors |= make.norms({f"{at}{name}_layernorm.weight": HIDDEN})
            tensors |= make.vectors({f"{at}{name}_layernorm.bias": HIDDEN})
    tensors |= make.norms({"model.norm.weight": HIDDEN}) | make.vectors({"model.norm.bias": HIDDEN})
    markers = (*END, "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<repo_name>", "<file_sep>")
    return Checkpoint(config, tensors, lambda tokens: starcoder2_logits(config, tensors, tokens), markers)


def starcoder2_logits(config: Mapping[str, Any], tensors: Tensors, tokens: Sequence[int]) -> Array:
    """Lozhkov et al. 2024."""
    size, epsilon = HIDDEN // HEADS, config["norm_epsilon"]
    angles = np.arange(len(tokens))[:, None] * config["rope_theta"] ** (-np.arange(size // 2) / (size // 2))
    x = tensors["model.embed_tokens.weight"][list(tokens)].astype(np.float64)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        n = layer_norm(x, tensors, at + "input_layernorm", epsilon)
        q, k, v = (linear(n, tensors, f"{at}self_attn.{name}_proj").reshape(len(n), -1, size) for name in "qkv")
        q, k = turn_halves(q, angles), turn_halves(k, angles)
        k, v = (np.repeat(one, 2, axis=1) for one in (k, v))
        x = x + linear(attend(q, k, v, config["sliding_window"]), tensors, at + "self_attn.o_proj")
        n = layer_norm(x, tensors, at + "post_attention_layernorm", epsilon)
        x = x + linear(gelu_tanh(linear(n, tensors, at + "mlp.c_fc")), tensors, at + "mlp.c_proj")
    return layer_norm(x, tensors, "model.norm", epsilon) @ tensors["model.embed_tokens.weight"].T


CODEGEN2_MARKERS = (*END, "<mask_1>", "<sep>", "<eom>")


def gptj(kind: str = "gptj", cores: int = 4, markers: tuple[str, ...] = END, **changes: Any) -> Checkpoint:
    """GPT-J, or CodeGen with its rows of q, v and k as that many cores held them."""
    config = {
        "model_type": kind,
        "vocab_size": VOCAB,
        "n_embd": WIDE,
        "n_layer": LAYERS,
        "n_head": 8,
        "n_inner": None,
        "n_positions": 512,
        "rotary_dim": 16,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
        "eos_token_id": 256,
        **changes,
    }
    make = Maker()
    tensors = make.matrices({"transformer.wte.weight": (VOCAB, WIDE), "lm_head.weight": (VOCAB, WIDE)})
    tensors |= make.norms({"transformer.ln_f.weight": WIDE})
    tensors |= make.vectors({"transformer.ln_f.bias": WIDE, "lm_head.bias": VOCAB})
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        names = ["qkv_proj"] if kind == "codegen" else ["q_proj", "k_proj", "v_proj"]
        rows = 3 * WIDE // len(names)
        tensors |= make.matrices({f"{at}attn.{name}.weight": (rows, WIDE) for name in names})
        tensors |= make.matrices({f"{at}attn.out_proj.weight": (WIDE, WIDE)})
        tensors |= make.matrices({f"{at}mlp.fc_in.weight": (4 * WIDE, WIDE)})
        tensors |= make.matrices({f"{at}mlp.fc_out.weight": (WIDE, 4 * WIDE)})
        tensors |= make.vectors({f"{at}mlp.fc_in.bias": 4 * WIDE, f"{at}mlp.fc_out.bias": WIDE})
        tensors |= make.norms({f"{at}ln_1.weight": WIDE}) | make.vectors({f"{at}ln_1.bias": WIDE})
        tensors[f"{at}attn.causal_mask"] = np.tril(np.ones((8, 8), np.uint8))  # old checkpoints carry it along
    return Checkpoint(config, tensors, lambda tokens: gptj_logits(config, tensors, tokens, cores), markers)


def gptj_logits(config: Mapping[str, Any], tensors: Tensors, tokens: Sequence[int], cores: int) -> Array:
    """Wang and Komatsuzaki 2021; CodeGen: Nijkamp et al. 2022."""
    heads, turned, epsilon = config["n_head"], config["rotary_dim"], config["layer_norm_epsilon"]
    angles = np.arange(len(tokens))[:, None] * 10000.0 ** (-np.arange(turned // 2) / (turned // 2))
    x = tensors["transformer.wte.weight"][list(tokens)].astype(np.float64)
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        n = layer_norm(x, tensors, at + "ln_1", epsilon)
        if config["model_type"] == "codegen":
            each = linear(n, tensors, at + "attn.qkv_proj").reshape(len(n), cores, 3, WIDE // cores)
            q, v, k = (each[:, :, place].reshape(len(n), heads, -1) for place in range(3))
        else:
            q, k, v = (linear(n, tensors, f"{at}attn.{name}_proj").reshape(len(n), heads, -1) for name in "qkv")
        q, k = turn_neighbours(q, angles), turn_neighbours(k, angles)
        mixed = linear(attend(q, k, v), tensors, at + "attn.out_proj")
        x = x + mixed + linear(gelu_tanh(linear(n, tensors, at + "mlp.fc_in")), tensors, at + "mlp.fc_out")
    return linear(layer_norm(x, tensors, "transformer.ln_f", epsilon), tensors, "lm_head")


def bigcode(**changes: Any) -> Checkpoint:
    """SantaCoder and StarCoder."""
    config = {
        "model_type": "gpt_bigcode",
        "vocab_size": VOCAB,
        "n_embd": HIDDEN,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": FFN,
        "n_positions": 128,
        "multi_query": True,
        "activation_function": "gelu_pytorch_tanh",
        "layer_norm_epsilon": 1e-5,
        "eos_token_id": 256,
        **changes,
    }
    size, make = HIDDEN // HEADS, Maker()
    rows = {"attn.c_attn": HIDDEN + 2 * size if config["multi_query"] else 3 * HIDDEN, "attn.c_proj": HIDDEN}
    rows |= {"mlp.c_fc": FFN, "mlp.c_proj": HIDDEN}
    sizes = {"transformer.wte.weight": (VOCAB, HIDDEN), "transformer.wpe.weight": (config["n_positions"], HIDDEN)}
    tensors = make.matrices(sizes, gain=8)
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        tensors |= make.matrices(
            {f"{at}{n}.weight": (r, FFN if n == "mlp.c_proj" else HIDDEN) for n, r in rows.items()}
        )
        tensors |= make.vectors({f"{at}{name}.bias": count for name, count in rows.items()})
        for name in ("ln_1", "ln_2"):
            tensors |= make.norms({f"{at}{name}.weight": HIDDEN}) | make.vectors({f"{at}{name}.bias": HIDDEN})
    tensors |= make.norms({"transformer.ln_f.weight": HIDDEN}) | make.vectors({"transformer.ln_f.bias": HIDDEN})
    markers = (*END, "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>")
    return Checkpoint(config, tensors, lambda tokens: bigcode_logits(config, tensors, tokens), markers)


def bigcode_logits(config: Mapping[str, Any], tensors: Tensors, tokens: Sequence[int]) -> Array:
    """Ben Allal et al. 2023."""
    size, epsilon = HIDDEN // HEADS, config["layer_norm_epsilon"]
    x = (
        tensors["transformer.wte.weight"][list(tokens)].astype(np.float64)
        + tensors["transformer.wpe.weight"][: len(tokens)]
    )
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        fused = linear(layer_norm(x, tensors, at + "ln_1", epsilon), tensors, at + "attn.c_attn")
        if config["multi_query"]:
            q, k, v = np.split(fused, [HIDDEN, HIDDEN + size], axis=-1)
            q = q.reshape(len(x), HEADS, size)
            k, v = (np.repeat(one[:, None], HEADS, axis=1) for one in (k, v))
        else:
            q, k, v = np.split(fused.reshape(len(x), HEADS, 3 * size), 3, axis=-1)
        x = x + linear(attend(q, k, v), tensors, at + "attn.c_proj")
        n = layer_norm(x, tensors, at + "ln_2", epsilon)
        x = x + linear(gelu_tanh(linear(n, tensors, at + "mlp.c_fc")), tensors, at + "mlp.c_proj")
    return layer_norm(x, tensors, "transformer.ln_f", epsilon) @ tensors["transformer.wte.weight"].T


class Maker:
    """Random tensors of about unit gain, always the same ones."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def matrices(self, sizes: Mapping[str, tuple[int, int]], gain: float = 1.0) -> Tensors:
        return {
            name: (gain * self._random.standard_normal(size) / np.sqrt(size[1])).astype(np.float32)
            for name, size in sizes.items()
        }

    def vectors(self, sizes: Mapping[str, int]) -> Tensors:
        return {name: (0.1 * self._random.standard_normal(size)).astype(np.float32) for name, size in sizes.items()}

    def norms(self, sizes: Mapping[str, int]) -> Tensors:
        return {name: 1 + value for name, value in self.vectors(sizes).items()}


def linear(x: Array, tensors: Tensors, name: str) -> Array:
    return x @ tensors[name + ".weight"].T + tensors.get(name + ".bias", 0)


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def layer_norm(x: Array, tensors: Tensors, name: str, epsilon: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * tensors[f"{name}.weight"]
        + tensors[f"{name}.bias"]
    )


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def turn_halves(x: Array, angles: Array) -> Array:
    """Pairs are (i, i + half); x: [T, heads, size], angles: [T, size/2]."""
    left, right = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], -1)


def turn_neighbours(x: Array, angles: Array) -> Array:
    """Pairs are (2i, 2i + 1), and only as many as there are angles; x: [T, heads, size]."""
    found = x.copy()
    turned = 2 * angles.shape[1]
    left, right = x[..., 0:turned:2], x[..., 1:turned:2]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    found[..., 0:turned:2], found[..., 1:turned:2] = left * cos - right * sin, right * cos + left * sin
    return found


def attend(q: Array, k: Array, v: Array, window: int | None = None) -> Array:
    """Causal attention; q, k, v: [T, heads, size]; with a window each position sees that many, itself included."""
    length, _, size = q.shape
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size)
    back = np.arange(length)[:, None] - np.arange(length)
    seen = (back >= 0) & (back < (window or length))
    scores = np.where(seen, scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hqk,khd->qhd", shares / shares.sum(-1, keepdims=True), v).reshape(length, -1)
