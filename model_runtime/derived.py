"""A model directory in, further graphs of the same network out: stored beside the weights, or derived and kept.

Long prompts are computed from a second copy of the weights, in columns (see `quantize`). Some models bring it along;
for the others it is made at first start and kept in the cache folder, as is what our own kernels and graphics
processors read. Knows nothing of sessions.
"""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path

import msgspec

from model_runtime import graph, sealed
from model_runtime.manifest import Manifest, digest
from model_runtime.nodes import Precision

_VERSION = 5  # raised when `graph` changes what it derives


def prefill(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The prefill graph's file; its bytes where no file can be kept. Raises ModelError."""
    if graph.PREFILL in manifest.files:
        return directory / graph.PREFILL
    return _derived(directory, manifest, cache, "prefill", "columns")


def packed(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The same of the graph for our own kernels, see `kernels`. Raises ModelError."""
    return _derived(directory, manifest, cache, "packed", "packed4" if manifest.weights == "int4" else "packed8")


def device(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The same of the graph for a graphics processor, in half precision; 4 bits stay 4 bits. Raises ModelError."""
    return _derived(directory, manifest, cache, "device", "device4" if manifest.weights == "int4" else "device")


def _derived(directory: Path, manifest: Manifest, cache: Path, name: str, precision: Precision) -> Path | bytes:
    stored = manifest.files.get(graph.DATA) or digest(directory / graph.DATA)
    key = sha256(stored.sha256.encode() + msgspec.json.encode(manifest.shape)).hexdigest()[:16]
    path = cache / f"{name}-{key}-{_VERSION}.onnx"
    if sealed.is_whole(path):
        return path
    weights = graph.read_weights(directory, manifest.shape)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}-") as workshop:
            graph.write(Path(workshop) / path.name, manifest.shape, weights, precision)
            sealed.keep(Path(workshop), path, [graph.data_of(path).name])
    except OSError:  # no room or no right to keep it: works all the same, and a little slower next time
        derived: bytes = graph.build(manifest.shape, weights, precision).SerializeToString()
        return derived
    return path
