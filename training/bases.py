"""A folder in, the model it holds out: ours, to be tuned whole, or a Hugging Face checkpoint. Needs no PyTorch.

Ours is a model directory, whose stored integers are read back as floats, or one of our own checkpoints.
Ignores how either is tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_runtime import manifest, tokenizer
from model_runtime.graph import graph
from model_runtime.importer import importer
from model_runtime.manifest import Manifest
from training import checkpoint, export
from training.pretrained import trainable
from training.samples import FIM


@dataclass(frozen=True)
class Own:
    """A network that `training.model` describes. directory: it as the runtime opens it."""

    directory: Path
    manifest: Manifest
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class HuggingFaceBase:
    """A checkpoint in the layout of Hugging Face. directory: it as the runtime opens it; source: as it came."""

    directory: Path
    manifest: Manifest
    source: Path


def opened(folder: Path, work: Path, quant: importer.Quant) -> Own | HuggingFaceBase:
    """The base in a folder; `work` keeps what has to be made of it. Raises ValueError, ModelError, OSError."""
    if (folder / manifest.MANIFEST).is_file():
        return _ours(folder)
    if (folder / checkpoint.STATE).is_file():
        made = work / "base"
        tokens = manifest.embedded() / tokenizer.FILE
        export.export(folder, tokens, made, "base", "int8")
        return Own(made, manifest.read(made), export.network(folder)[1])
    if (folder / "config.json").is_file():
        made = work / f"base-{quant}"
        if not made.exists():
            importer.write(importer.examine(folder, name="base", quant=quant), made)
        return HuggingFaceBase(made, manifest.read(made), folder)
    raise ValueError(
        f"{folder} holds no model; --base takes a model directory of ours, one of our checkpoints, "
        "or the folder of a Hugging Face checkpoint"
    )


def _ours(folder: Path) -> Own:
    found = manifest.read(folder)
    manifest.check(folder, found)
    if found.fim != FIM or found.shape != trainable(found.shape):
        raise ValueError(
            f"{folder} was imported from somebody's checkpoint; give that checkpoint's folder as --base, "
            "its weights are whole there"
        )
    return Own(folder, found, dict(graph.read_weights(folder, found.shape)))
