"""A checkpoint and its tokenizer in, a model directory that the runtime opens out. Needs no PyTorch.

Ignores how good the model is: `benchmarks.infill` says that.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_runtime import manifest, tokenizer
from model_runtime.graph import graph
from model_runtime.manifest import Manifest, Shape
from training import checkpoint
from training.samples import FIM

LICENCE = "Apache-2.0"
_MOMENTS = ("momentum.", "first.", "second.")

# int4_head8: int4 with the matrix of the logits in 8 bits; hybrid: int4 to generate, 8 bits for long prompts
Precision = Literal["fp32", "int8", "int4", "int4_head8", "hybrid"]


def network(folder: Path) -> tuple[Shape, dict[str, NDArray[np.float32]]]:
    """The network of a checkpoint, without the optimizer's moments. Raises FileNotFoundError."""
    arrays, state = checkpoint.load(folder)
    shape = msgspec.convert(state["shape"], Shape)
    kept = {name: np.asarray(one, np.float32) for name, one in arrays.items() if not name.startswith(_MOMENTS)}
    return shape, kept


def export(folder: Path, tokens: Path, out: Path, name: str, precision: Precision, description: str = "") -> Manifest:
    """Write the model directory `out`; files in it that are not the model's stay as they are.

    Raises OSError, ModelError for weights that do not fit their shape, TokenizerError for a foreign tokenizer.
    """
    shape, found = network(folder)
    tokenizer.Tokenizer.load(tokens.parent, vocab_size=shape.vocab_size, split_lines=True)
    out.mkdir(parents=True, exist_ok=True)
    stored: Literal["fp32", "int8", "int4", "int4_head8"] = "int4" if precision == "hybrid" else precision
    graph.write_model(out, shape, found, stored)
    files = [graph.GRAPH, graph.DATA, tokenizer.FILE]
    if precision == "hybrid":
        graph.write(out / graph.PREFILL, shape, found, "columns")
        files += [graph.PREFILL, graph.data_of(Path(graph.PREFILL)).name]
    shutil.copyfile(tokens, out / tokenizer.FILE)
    written = Manifest(
        format=manifest.FORMAT,
        name=name,
        family="llama",
        licence=LICENCE,
        shape=shape,
        fim=FIM,
        weights="int4" if stored == "int4_head8" else stored,
        prefill="same" if precision == "fp32" else "columns",
        files={one: manifest.digest(out / one) for one in files},
        description=description,
        split_lines=True,
    )
    text = msgspec.json.format(msgspec.json.encode(written), indent=2)
    (out / manifest.MANIFEST).write_bytes(text + b"\n")
    return written
