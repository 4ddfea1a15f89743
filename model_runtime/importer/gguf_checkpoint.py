"""A GGUF file in, whole or split, the same as of a Hugging Face folder out: configuration and tensors by name.

Reads the headers; values are read when asked for. Knows nothing of tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_runtime.errors import CheckpointError
from model_runtime.importer import gguf_config, gguf_tensors
from model_runtime.importer.checkpoint import Checkpoint, Tensor
from model_runtime.importer.gguf_config import Architecture
from model_runtime.importer.gguf_header import BlockTensor, Header, read_header
from model_runtime.importer.gguf_tensors import BlockLocation
from model_runtime.importer.hf_config import Configuration

ENDING = ".gguf"
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_MOST_FILES = 1000


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF holds. metadata: of its first file, as it is."""

    metadata: Mapping[str, Any]
    config: Configuration
    checkpoint: Checkpoint


def is_gguf(path: Path) -> bool:
    """Whether a file is a GGUF by what it begins with; Ollama's have no ending."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"GGUF"


def stem(path: Path) -> str:
    """The name of a file without its ending and without which part of several it is."""
    split = _SPLIT.fullmatch(path.name)
    return split["stem"] if split else path.name.removesuffix(ENDING)


def open_gguf(path: Path) -> GgufFile:
    """A file, or any of the files that a network is split into. Raises CheckpointError, OSError."""
    files = _files(path)
    headers = [read_header(one) for one in files]
    metadata = headers[0].metadata
    _check_split(files, headers)
    placed: dict[str, tuple[Path, BlockTensor]] = {}
    for file, header in zip(files, headers, strict=True):
        for tensor in header.tensors:
            if tensor.name in placed:
                raise CheckpointError(f"{file}: tensor {tensor.name} is there twice; download it again")
            placed[tensor.name] = file, tensor
    found = gguf_config.architecture(path, metadata)
    config = gguf_config.configuration(path, metadata, {name: one.size for name, (_, one) in placed.items()})
    config = _with_rope_factors(config, placed)
    tensors, own_names = _tensors(found, config, metadata, placed)
    checkpoint = Checkpoint(files[0].parent, tensors, files, "its metadata", own_names)
    return GgufFile(metadata, config, checkpoint)


def _files(path: Path) -> list[Path]:
    split = _SPLIT.fullmatch(path.name)
    if split is None:
        return [path]
    count = int(split["count"])
    if not 1 <= count <= _MOST_FILES:
        raise CheckpointError(f"{path} is said to be one of {count} files; give a GGUF in {_MOST_FILES} files at most")
    files = [path.with_name(f"{split['stem']}-{number:05d}-of-{count:05d}{ENDING}") for number in range(1, count + 1)]
    for one in files:
        if not one.is_file():
            raise CheckpointError(f"{one} is not there, it is one of the {count} files of this model; download it")
    return files


def _check_split(files: list[Path], headers: list[Header]) -> None:
    told = headers[0].metadata.get("split.count", 1)
    if told != len(files) and (told or 1) != 1:
        raise CheckpointError(
            f"{files[0]} is one of {told} files by its header; give it the name that it had, "
            f"which ends with -00001-of-{told:05d}{ENDING}"
        )


def _with_rope_factors(config: Configuration, placed: dict[str, tuple[Path, BlockTensor]]) -> Configuration:
    """Llama 3's scaling, which the converter writes as one factor a pair."""
    if gguf_config.ROPE_FACTORS not in placed:
        return config
    file, tensor = placed.pop(gguf_config.ROPE_FACTORS)
    if len(tensor.size) != 1 or tensor.size[0] * 2 != config.get("head_dim"):
        raise config.wrong(f"tensor {tensor.name} is {list(tensor.size)}")
    values = gguf_tensors.read(file, BlockLocation(tensor), 0, tensor.size[0]).tolist()
    return config.replaced("rope_scaling", {"rope_type": "factors", "factors": values})


def _tensors(
    found: Architecture,
    config: Configuration,
    metadata: Mapping[str, Any],
    placed: Mapping[str, tuple[Path, BlockTensor]],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by a checkpoint's names, and those names to ggml's."""
    size = config.integer("head_dim", default=1)
    factors = gguf_config.factors(config.path, metadata, size)
    expected = _expected(found, config)
    tensors, own_names = {}, {gguf_config.checkpoint_name(found, name) or name: name for name in expected}
    for name, (file, tensor) in placed.items():
        theirs = gguf_config.checkpoint_name(found, name) or name
        base = theirs.split(".")[-2] if "." in theirs else theirs
        turned = size if found.in_pairs and base in ("q_proj", "k_proj") else 0
        if turned and tensor.size[0] % turned:
            raise config.wrong(f"tensor {name} is {list(tensor.size)}, which is no multiple of heads of {turned}")
        location = BlockLocation(tensor, turned, factors.get(base, 1.0))
        tensors[theirs] = Tensor(name, file, tensor.size, tensor.kind, location.is_readable, location)
        own_names[theirs] = name
    embed, head = tensors.get("model.embed_tokens.weight"), "lm_head.weight"
    if factors and head not in tensors and embed is not None and isinstance(embed.location, BlockLocation):
        location = BlockLocation(embed.location.tensor, 0, factors["lm_head"])
        tensors[head] = Tensor(embed.name, embed.file, embed.size, embed.kind, embed.is_float, location)
    return tensors, own_names


def _expected(found: Architecture, config: Configuration) -> list[str]:
    """ggml's names of what a network of so many layers may have, for messages."""
    layers = config.integer("num_hidden_layers", "n_layer")
    kinds = ("weight", "bias")
    whole = ("token_embd", "output_norm", "output", "position_embd")
    inner = [name for name in found.names if name not in whole]
    return [f"{name}.{kind}" for name in whole if name in found.names for kind in kinds] + [
        f"blk.{layer}.{name}.{kind}" for layer in range(layers) for name in inner for kind in kinds
    ]
