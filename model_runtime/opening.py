"""Turns a model directory into an engine: picks what runs its network, and measures how fast that is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend, default_threads
from model_runtime.backends.providers import Provider
from model_runtime.engine import profile
from model_runtime.engine.backend import Backend
from model_runtime.engine.engine import Engine
from model_runtime.errors import ModelError
from model_runtime.sharding.tensor_parallel import Ranks
from model_runtime.tokenizer import Tokenizer


def open_engine(
    directory: Path,
    *,
    cache: Path,
    threads: int | None = None,
    kv_cache: int | None = None,
    provider: Provider = "cpu",
) -> Engine:
    """Loads a model directory. cache: where derived graphs are kept; kv_cache: megabytes. Raises ModelError."""
    described = manifest.read(directory)
    manifest.check_sizes(directory, described)
    shape = described.shape
    tokenizer = Tokenizer.load(directory, vocab_size=shape.vocab_size, split_lines=described.split_lines)
    kind: Any = OnnxBackend if described.sharding is None else Ranks
    try:
        backend: Backend[Any] = kind.open(directory, described, cache=cache, threads=threads, provider=provider)
    except MemoryError as error:
        raise ModelError(
            f"there is not the memory for {directory} and {shape.context_length} tokens of context; "
            "end other programs, or import the model again with a smaller --context"
        ) from error
    runs_on = f"{provider} {threads or default_threads()} {backend.kernels}"
    speed = profile.kept(backend, described, runs_on, cache)
    return Engine(described, tokenizer, backend, speed, kv_cache)
