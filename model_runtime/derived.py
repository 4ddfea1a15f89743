"""A model directory in, further graphs of the same network out: stored beside the weights, or derived and kept.

Long prompts are computed from a second copy of the weights, in columns (see `quantize`). Some
models bring it along; for the others it is made at first start and kept in the cache folder,
under a seal that tells a whole file from a broken one. Knows nothing of sessions.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from model_runtime import graph
from model_runtime.manifest import Manifest, digest
from model_runtime.nodes import Precision

_VERSION = 4  # raised when `graph` changes what it derives


def prefill(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The prefill graph's file; its bytes where no file can be kept. Raises ModelError."""
    if graph.PREFILL in manifest.files:
        return directory / graph.PREFILL
    return _derived(directory, manifest, cache, "prefill", "columns")


def device(directory: Path, manifest: Manifest, cache: Path) -> Path | bytes:
    """The same of the graph for a graphics processor, in half precision; 4 bits stay 4 bits. Raises ModelError."""
    return _derived(directory, manifest, cache, "device", "device4" if manifest.weights == "int4" else "device")


def _derived(directory: Path, manifest: Manifest, cache: Path, name: str, precision: Precision) -> Path | bytes:
    stored = manifest.files.get(graph.DATA)
    key = stored.sha256[:16] if stored else digest(directory / graph.DATA).sha256[:16]
    path = cache / f"{name}-{key}-{_VERSION}.onnx"
    if _is_whole(path):
        return path
    weights = graph.read_weights(directory, manifest.shape)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}-") as workshop:
            graph.write(Path(workshop) / path.name, manifest.shape, weights, precision)
            _keep(Path(workshop), path)
    except OSError:  # no room or no right to keep it: works all the same, and a little slower next time
        derived: bytes = graph.build(manifest.shape, weights, precision).SerializeToString()
        return derived
    return path


class _Stamp(msgspec.Struct, frozen=True):
    """bytes: a file's size; modified: when it was last written to, in nanoseconds."""

    bytes: int
    modified: int


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return _Stamp(found.st_size, found.st_mtime_ns)


def _seal(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_whole(path: Path) -> bool:
    """Whether the graph and its data are the ones that were sealed, as far as can be told without reading them."""
    try:
        sealed = msgspec.json.decode(_seal(path).read_bytes(), type=dict[str, _Stamp])
        return bool(sealed) and all(_stamp(path.with_name(name)) == stamp for name, stamp in sealed.items())
    except (OSError, msgspec.DecodeError):
        return False


def _keep(workshop: Path, path: Path) -> None:
    """Moves a graph and its data into the cache; the seal comes last."""
    parts = [graph.data_of(path), path]
    sealed = {part.name: _stamp(workshop / part.name) for part in parts}
    _seal(path).unlink(missing_ok=True)
    (workshop / "seal").write_bytes(msgspec.json.encode(sealed))
    for made, kept in [*((part.name, part) for part in parts), ("seal", _seal(path))]:
        with (workshop / made).open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(workshop / made, kept)
