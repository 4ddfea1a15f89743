"""A model directory in, what is to be known of it out. Loads no weights."""

from __future__ import annotations

from pathlib import Path

import msgspec

from model_runtime import manifest
from model_runtime.manifest import Manifest, Shape


class Description(msgspec.Struct, frozen=True):
    """What `lacuna model info` tells. parameters: estimated from the shape; bytes: of all files; ranks: 1 if whole."""

    name: str
    directory: str
    embedded: bool
    family: str
    licence: str
    description: str
    parameters: int
    bytes: int
    weights: str
    ranks: int
    context_length: int
    vocabulary: int
    layout: str
    infills: bool


def describe(directory: Path) -> Description:
    """Raises ManifestError, and ChecksumError when a file is missing or has another size."""
    found = manifest.read(directory)
    manifest.check_sizes(directory, found)
    return Description(
        name=found.name,
        directory=str(directory),
        embedded=directory == manifest.embedded(),
        family=found.family,
        licence=found.licence,
        description=found.description,
        parameters=parameters(found.shape),
        bytes=sum(file.bytes for file in found.files.values()),
        weights=_form(found),
        ranks=found.sharding.ranks if found.sharding else 1,
        context_length=found.shape.context_length,
        vocabulary=found.shape.vocab_size,
        layout=found.fim.layout,
        infills=found.fim.layout != "prefix",
    )


def _form(found: Manifest) -> str:
    """As `lacuna model import --quant` calls it."""
    is_hybrid = found.weights == "int4" and found.prefill == "columns" and found.sharding is None
    return "hybrid" if is_hybrid else found.weights


def parameters(shape: Shape) -> int:
    """Weights of the matrices; norms and biases are too few to count."""
    attention = shape.hidden_size * shape.head_size * 2 * (shape.heads + shape.kv_heads)
    feed_forward = (3 if shape.gated else 2) * shape.hidden_size * shape.ffn_size
    rows = shape.vocab_size * (1 if shape.tied else 2) + (shape.context_length if shape.positions == "learned" else 0)
    return shape.layers * (attention + feed_forward) + rows * shape.hidden_size
