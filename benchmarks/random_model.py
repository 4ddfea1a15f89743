"""A Shape in, a model directory with random weights out, or with others. Speed does not depend on what the weights are.

The sizes are those of docs/log/runtime.md's tables. `SMALL` is the model of 11 million parameters that tests run on: it
lends its tokenizer, and its weights where a benchmark grows them to another size. Ignores what a model says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from model_runtime import manifest
from model_runtime.graph import graph
from model_runtime.graph.nodes import Weights
from model_runtime.manifest import Manifest, Shape

Precision = Literal["fp32", "int8", "int4"]

SMALL = Path(__file__).parents[1] / "tests" / "model"
SIZES = {
    "embedded": Shape(16_384, 576, 30, 9, 3, 64, 1536, 2048, rope_theta=1e5, norm_epsilon=1e-5),
    "bootstrap": Shape(4096, 384, 8, 6, 2, 64, 1024, 2048, qk_norm=True),
    "a": Shape(16_384, 512, 12, 8, 2, 64, 1408, 2048),
    "b": Shape(32_000, 768, 12, 12, 4, 64, 2048, 2048),
    "c": Shape(151_936, 896, 24, 14, 2, 64, 4864, 2048),
}


def write(directory: Path, shape: Shape, precision: Precision, weights: Weights | None = None) -> Manifest:
    """A whole model directory, weights normal at unit gain, with the tokenizer and the layout of the small model.

    weights: of this shape, instead of those.
    """
    graph.write_model(directory, shape, _normal(shape) if weights is None else weights, precision)
    small = manifest.read(SMALL)
    shutil.copy(SMALL / "tokenizer.json", directory)
    files = {name: manifest.digest(directory / name) for name in ("tokenizer.json", graph.GRAPH, graph.DATA)}
    described = msgspec.structs.replace(small, name="benchmark", shape=shape, weights=precision, files=files)
    (directory / manifest.MANIFEST).write_bytes(msgspec.json.encode(described))
    return described


def _normal(shape: Shape) -> Weights:
    random = np.random.default_rng(0)
    matrices = {
        name: random.standard_normal(size, np.float32) / np.float32(np.sqrt(size[1]))
        for name, size in graph.matrix_names(shape).items()
    }
    return matrices | {name: np.ones(length, np.float32) for name, length in graph.vector_names(shape).items()}
