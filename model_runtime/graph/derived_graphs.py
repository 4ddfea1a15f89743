"""A model directory in, further graphs of the same network out: stored beside the weights, or derived and kept.

Long prompts are computed from a second copy of the weights, in columns (see `quantize`). Some models bring it along;
for the others it is made at first start and kept in the cache folder, as is what our own kernels and graphics
processors read, and what was prepacked for this processor. Runs nothing itself.
"""

from __future__ import annotations

import logging
import math
import platform
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import onnxruntime as ort

from model_runtime.errors import ModelError
from model_runtime.graph import artifact_cache, graph, kernels, prepacked
from model_runtime.graph.nodes import Precision
from model_runtime.manifest import Manifest, digest

log = logging.getLogger(__name__)

_VERSION = 9  # raised when `graph` changes what it derives
_MOST = 1 << 30  # bytes of weights in 8 bits up to which they are prepacked: it takes twice the room
LARGE = 32 << 20  # bytes of weights from which on large pages pay, which what is mapped has none of


def generate(directory: Path, manifest: Manifest, cache: Path) -> Path:
    """The stored graph; the same prepacked where that is as quick."""
    stored = directory / graph.GRAPH
    if manifest.weights not in ("int8", "int4") or _bytes(stored) >= LARGE:
        return stored
    path = _path(directory, manifest, cache, "generate", graph.GRAPH)
    return path if _is_prepacked(path, lambda made: prepacked.write(stored, made)) else stored


def prefill(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The prefill graph, prepacked unless it is large; its bytes where no file can be kept. Raises ModelError."""
    if graph.PREFILL in manifest.files:
        stored = directory / graph.PREFILL
        path = _path(directory, manifest, cache, "prefill", graph.PREFILL, graph.PREFILL_DATA)
        is_small = _bytes(stored) <= _MOST
        return path if is_small and _is_prepacked(path, lambda made: prepacked.write(stored, made)) else stored
    columns = _path(directory, manifest, cache, "columns")
    if artifact_cache.is_whole(columns):  # it is large, or was not to be prepacked
        return columns

    def make(made: Path) -> None:
        plain = made.with_name("plain.onnx")
        graph.write(plain, manifest.shape, graph.read_weights(directory, manifest.shape), "columns")
        prepacked.write(plain, made)

    path = _path(directory, manifest, cache, "prefill", graph.GRAPH)
    is_small = sum(math.prod(size) for size in graph.matrix_names(manifest.shape).values()) <= _MOST
    if is_small and _is_prepacked(path, make):
        return path
    return _derived(directory, manifest, columns, "columns")


def packed(directory: Path, manifest: Manifest, cache: Path) -> Path | None:
    """The graph for our own kernels, see `kernels`; None where it cannot be kept. Raises ModelError."""
    path = _path(directory, manifest, cache, "packed")
    if not artifact_cache.is_whole(path):
        weights = graph.read_weights(directory, manifest.shape)
        try:
            precision: Precision = "packed4" if manifest.weights == "int4" else "packed8"
            _keep(path, lambda made: graph.write(made, manifest.shape, weights, precision))
        except OSError as error:
            log.warning("%s cannot be kept: %s; ONNX Runtime's kernels are used", path, error)
            return None
    return path


def device(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The graph for a graphics processor, in half precision; 4 bits stay 4 bits. Raises ModelError."""
    path = _path(directory, manifest, cache, "device")
    return _derived(directory, manifest, path, "device4" if manifest.weights == "int4" else "device")


def _derived(directory: Path, manifest: Manifest, path: Path, precision: Precision) -> Path | bytes:
    if artifact_cache.is_whole(path):
        return path
    weights = graph.read_weights(directory, manifest.shape)
    try:
        _keep(path, lambda made: graph.write(made, manifest.shape, weights, precision))
    except OSError:  # no room or no right to keep it: works all the same, and a little slower next time
        derived: bytes = graph.build(manifest.shape, weights, precision).SerializeToString()
        return derived
    return path


def _is_prepacked(path: Path, make: Callable[[Path], None]) -> bool:
    """Whether a graph is kept in the order of ONNX Runtime's kernels; where it was not, it is now, if it can be."""
    if artifact_cache.is_whole(path):
        return True
    try:
        _keep(path, make)
    except (OSError, ModelError) as error:
        log.info("%s is not made: %s", path.name, error)
        return False
    return True


def _keep(path: Path, make: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name.partition('-')[0]}-") as workshop:
        make(Path(workshop) / path.name)
        artifact_cache.keep(Path(workshop), path, [graph.data_of(path).name])


def _path(directory: Path, manifest: Manifest, cache: Path, name: str, *sources: str) -> Path:
    """sources: the files that it is made of for this processor, besides the weights; none where any may use it."""
    stored = manifest.files.get(graph.DATA) or digest(directory / graph.DATA)
    digests = [stored.sha256, *(manifest.files[one].sha256 for one in sources if one in manifest.files)]
    where = [_here()] if sources else []
    key = sha256(" ".join([*digests, *where]).encode() + msgspec.json.encode(manifest.shape)).hexdigest()[:16]
    return cache / f"{name}-{key}-{_VERSION}.onnx"


def _bytes(source: Path) -> int:
    return graph.data_of(source).stat().st_size


def _here() -> str:
    """A word for what decides on the order: the kernels, and what they choose by."""
    vectors = sorted(flag for flag in kernels.processor() if flag.startswith(("sse", "avx", "amx", "fma", "f16c")))
    return " ".join([ort.__version__, platform.machine(), platform.processor(), *vectors])
