"""A model directory in, further graphs of the same network out: stored beside the weights, or derived and kept.

Long prompts are computed from a second copy of the weights, in columns (see `quantize`). Some models bring it along;
for the others it is made at first start and kept in the cache folder, as is what our own kernels and graphics
processors read, and what was prepacked for this processor. Runs nothing itself.
"""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import onnxruntime as ort

from model_runtime import graph, kernels, prepacked, sealed
from model_runtime.errors import ModelError
from model_runtime.manifest import Manifest, digest
from model_runtime.nodes import Precision

log = logging.getLogger(__name__)

_VERSION = 5  # raised when `graph` changes what it derives
_MOST = 1 << 30  # bytes of weights in 8 bits up to which they are prepacked: it takes twice the room
LARGE = 32 << 20  # bytes of weights from which on large pages pay, which what is mapped has none of


def generate(directory: Path, manifest: Manifest, cache: Path) -> Path:
    """The stored graph; the same prepacked where that is as quick."""
    stored = directory / graph.GRAPH
    if manifest.weights not in ("int8", "int4") or _bytes(stored) >= LARGE:
        return stored
    path = _path(directory, manifest, cache, "generate", _here())
    return path if _is_prepacked(stored, path) else stored


def prefill(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The prefill graph, prepacked unless it is large; its bytes where no file can be kept. Raises ModelError."""
    brought = manifest.files.get(graph.PREFILL)
    path = _path(directory, manifest, cache, "prefill", f"{_here()} {brought.sha256 if brought else ''}")
    if sealed.is_whole(path):
        return path
    if brought is not None:
        stored = directory / graph.PREFILL
        return path if _is_prepacked(stored, path) else stored
    plain = _derived(directory, manifest, cache, "columns", "columns")
    if isinstance(plain, bytes) or not _is_prepacked(plain, path):
        return plain
    sealed.remove(plain)
    return path


def packed(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The same of the graph for our own kernels, see `kernels`. Raises ModelError."""
    return _derived(directory, manifest, cache, "packed", "packed4" if manifest.weights == "int4" else "packed8")


def device(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The same of the graph for a graphics processor, in half precision; 4 bits stay 4 bits. Raises ModelError."""
    return _derived(directory, manifest, cache, "device", "device4" if manifest.weights == "int4" else "device")


def _derived(directory: Path, manifest: Manifest, cache: Path, name: str, precision: Precision) -> Path | bytes:
    path = _path(directory, manifest, cache, name)
    if sealed.is_whole(path):
        return path
    weights = graph.read_weights(directory, manifest.shape)
    try:
        _keep(path, lambda made: graph.write(made, manifest.shape, weights, precision))
    except OSError:  # no room or no right to keep it: works all the same, and a little slower next time
        derived: bytes = graph.build(manifest.shape, weights, precision).SerializeToString()
        return derived
    return path


def _is_prepacked(source: Path, path: Path) -> bool:
    """Whether the graph is kept in the order of ONNX Runtime's kernels; where it was not, it is now, if it can be."""
    if sealed.is_whole(path):
        return True
    if _bytes(source) > _MOST:
        return False
    try:
        _keep(path, lambda made: prepacked.write(source, made))
    except (OSError, ModelError) as error:
        log.info("%s is not prepacked: %s", source.name, error)
        return False
    return True


def _keep(path: Path, make: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name.partition('-')[0]}-") as workshop:
        make(Path(workshop) / path.name)
        sealed.keep(Path(workshop), path, [graph.data_of(path).name])


def _path(directory: Path, manifest: Manifest, cache: Path, name: str, where: str = "") -> Path:
    stored = manifest.files.get(graph.DATA) or digest(directory / graph.DATA)
    key = sha256(f"{stored.sha256} {where}".encode() + msgspec.json.encode(manifest.shape)).hexdigest()[:16]
    return cache / f"{name}-{key}-{_VERSION}.onnx"


def _bytes(source: Path) -> int:
    return graph.data_of(source).stat().st_size


def _here() -> str:
    """A word for what decides on the order: the processor, and the kernels."""
    return " ".join([ort.__version__, platform.machine(), platform.processor(), *sorted(kernels.processor())])
