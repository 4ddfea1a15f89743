"""A checkpoint and its tokenizer in, a model directory that the runtime opens out. Needs no PyTorch.

Ignores how good the model is: `benchmarks.infill` says that.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_runtime import manifest, tokenizer
from model_runtime.graph import graph
from model_runtime.manifest import Manifest, Shape
from training import checkpoint, packing
from training.samples import FIM

LICENCE = "Apache-2.0"
_OBSERVED = 24_576  # tokens that a calibration looks at
_MOMENTS = ("momentum.", "first.", "second.")

# int4_head8: int4 with the matrix of the logits in 8 bits; hybrid: int4 to generate, 8 bits for long prompts
Precision = Literal["fp32", "int8", "int4", "int4_head8", "hybrid"]


def network(folder: Path) -> tuple[Shape, dict[str, NDArray[np.float32]]]:
    """The network of a checkpoint, without the optimizer's moments. Raises FileNotFoundError."""
    arrays, state = checkpoint.load(folder)
    shape = msgspec.convert(state["shape"], Shape)
    kept = {name: np.asarray(one, np.float32) for name, one in arrays.items() if not name.startswith(_MOMENTS)}
    return shape, kept


def export(
    folder: Path,
    tokens: Path,
    out: Path,
    name: str,
    precision: Precision,
    description: str = "",
    rows: Path | None = None,
) -> Manifest:
    """Write the model directory `out`; files in it that are not the model's stay as they are.

    rows: a shard of rows on which the rounding to 4 bits is calibrated, see `calibration`; that needs PyTorch.
    Raises OSError, ModelError for weights that do not fit their shape, TokenizerError for a foreign tokenizer.
    """
    shape, found = network(folder)
    tokenizer.Tokenizer.load(tokens.parent, vocab_size=shape.vocab_size, split_lines=True)
    out.mkdir(parents=True, exist_ok=True)
    stored: Literal["fp32", "int8", "int4", "int4_head8"] = "int4" if precision == "hybrid" else precision
    weights = found if rows is None else _calibrated(shape, found, rows)
    graph.write_model(out, shape, weights, stored)
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


def _calibrated(shape: Shape, found: dict[str, NDArray[np.float32]], rows: Path) -> Mapping[str, NDArray[np.float32]]:
    import torch

    from training import calibration
    from training.model import Decoder

    decoder = Decoder(shape)
    decoder.load_state_dict({name: torch.from_numpy(one.copy()) for name, one in found.items()})
    observed = itertools.islice(packing.batches(packing.load(rows), 2048, seed=1), _OBSERVED // 2048)
    return calibration.Rounded(found, calibration.calibrated(decoder, observed))
