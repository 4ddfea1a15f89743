"""A tiny model with random weights, and the same network in numpy as an independent reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from model_runtime import manifest
from model_runtime.graph import graph
from model_runtime.manifest import Fim, Manifest, Shape

Array = NDArray[np.float32]

SHAPE = Shape(
    vocab_size=272,
    hidden_size=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_size=32,
    ffn_size=96,
    context_length=512,
    qk_norm=True,
)
FIM = Fim(
    layout="spm",
    end=("<|end|>",),
    prefix="<|prefix|>",
    suffix="<|suffix|>",
    file="<|file|>",
    context="<|context|>",
)
MARKERS = ("<|end|>", "<|context|>", "<|file|>", "<|suffix|>", "<|prefix|>")


def write(directory: Path, *, precision: Literal["fp32", "int8", "int4"] = "int8", seed: int = 0) -> Path:
    """A whole model directory: byte-level tokenizer, random weights, manifest."""
    graph.write_model(directory, SHAPE, weights(seed), precision)
    (directory / "tokenizer.json").write_text(tokenizer().to_str(), encoding="utf-8")
    seal(directory, precision=precision)
    return directory


def seal(directory: Path, *, precision: Literal["fp32", "int8", "int4"] = "int8") -> None:
    """Writes manifest.json for the files as they stand."""
    names = ("tokenizer.json", graph.GRAPH, graph.DATA)
    described = Manifest(
        format=manifest.FORMAT,
        name="tiny",
        family="llama",
        licence="Apache-2.0",
        shape=SHAPE,
        fim=FIM,
        weights=precision,
        files={name: manifest.digest(directory / name) for name in names},
        split_lines=True,
    )
    (directory / manifest.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(described)))


def tokenizer() -> Tokenizer:
    """One token a byte, markers first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({text: at for at, text in enumerate([*MARKERS, *alphabet])}, []))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\n"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(marker, special=True) for marker in MARKERS])
    vocabulary = inner.get_vocab()
    assert len(vocabulary) == 256 + len(MARKERS)
    return inner


def weights(seed: int = 0) -> dict[str, Array]:
    """Random weights of about unit gain."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {
        name: (random.standard_normal(size) / np.sqrt(size[1])).astype(np.float32)
        for name, size in graph.matrix_names(SHAPE).items()
    }
    found["embed.weight"] *= np.float32(np.sqrt(SHAPE.hidden_size))
    for name, length in graph.vector_names(SHAPE).items():
        found[name] = (1 + 0.1 * random.standard_normal(length)).astype(np.float32)
    return found


def logits(weights: Mapping[str, Array], tokens: Sequence[int], shape: Shape = SHAPE) -> Array:
    """[T, V]: the llama network as its papers describe it, in plain numpy."""
    x = weights["embed.weight"][np.array(tokens)]
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        x = x + _attention(weights, at, _norm(x, weights[at + "attention_norm.weight"], shape), shape)
        n = _norm(x, weights[at + "ffn_norm.weight"], shape)
        gate = n @ weights[at + "gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (n @ weights[at + "up.weight"].T)) @ weights[at + "down.weight"].T
    found: Array = _norm(x, weights["norm.weight"], shape) @ weights["embed.weight"].T
    return found


def _attention(weights: Mapping[str, Array], at: str, x: Array, shape: Shape) -> Array:
    length = len(x)
    q = (x @ weights[at + "q.weight"].T).reshape(length, shape.heads, shape.head_size)
    k = (x @ weights[at + "k.weight"].T).reshape(length, shape.kv_heads, shape.head_size)
    v = (x @ weights[at + "v.weight"].T).reshape(length, shape.kv_heads, shape.head_size)
    if shape.qk_norm:
        q, k = _norm(q, weights[at + "q_norm.weight"], shape), _norm(k, weights[at + "k_norm.weight"], shape)
    q, k = _rotate(q, shape), _rotate(k, shape)
    k, v = (np.repeat(one, shape.heads // shape.kv_heads, axis=1) for one in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(shape.head_size)
    scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = np.einsum("hqk,khd->qhd", shares, v).reshape(length, -1)
    found: Array = mixed @ weights[at + "o.weight"].T
    return found


def _norm(x: Array, weight: Array, shape: Shape) -> Array:
    found: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + shape.norm_epsilon) * weight
    return found


def _rotate(x: Array, shape: Shape) -> Array:
    half = shape.head_size // 2
    frequencies = shape.rope_theta ** (-np.arange(half) / half)
    angles = (np.arange(len(x))[:, None] * frequencies)[:, None, :]
    left, right = x[..., :half], x[..., half:]
    cos, sin = np.cos(angles), np.sin(angles)
    found: Array = np.concatenate([left * cos - right * sin, right * cos + left * sin], -1).astype(np.float32)
    return found
