"""A folder of somebody's weights in, tensors by name out: sizes at once, values when asked for.

Reads safetensors and PyTorch files, whole or in shards with an index, and opens a file only
while it reads from it, so that no more than a tensor is in memory. Knows nothing of what the
tensors are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open

from model_runtime.errors import CheckpointError
from model_runtime.graph.quantize import BLOCK, Blocks, Floats
from model_runtime.importer import gguf_tensors, torch_pickle
from model_runtime.importer.gguf_tensors import BlockLocation

_AGAIN = "download the checkpoint again"
_SAFETENSORS, _PYTORCH = "model.safetensors", "pytorch_model.bin"
_FLOATS = ("F64", "F32", "F16", "BF16")
_POINTER = b"version https://git-lfs"

Rows = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint. location: where it lies in a PyTorch or GGUF file."""

    name: str
    file: Path
    size: tuple[int, ...]
    kind: str
    is_float: bool
    location: torch_pickle.TensorLocation | BlockLocation | None = None


class Checkpoint:
    """The tensors of a folder, or of a GGUF, under the names that a Hugging Face checkpoint has for them.

    described_by: what names the network's sizes. own_names: of a GGUF, how it calls them itself.
    """

    def __init__(
        self,
        directory: Path,
        tensors: Mapping[str, Tensor],
        files: Sequence[Path],
        described_by: str = "config.json",
        own_names: Mapping[str, str] | None = None,
    ) -> None:
        self.directory, self.tensors, self.files = directory, tensors, tuple(files)
        self.described_by, self._own_names = described_by, own_names or {}

    def own_name(self, name: str) -> str:
        """How the files themselves call a tensor, for a message."""
        return self._own_names.get(name, name)

    def read(self, name: str, rows: Rows | None = None) -> Floats:
        """A tensor, or the given runs of its rows one after another, as float32. Raises CheckpointError."""
        tensor = self.tensors[name]
        if not tensor.is_float:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} is of type {tensor.kind}; only checkpoints of floats can be "
                "imported, not ones that are quantized already"
            )
        try:
            found = _values(tensor, rows or [(0, tensor.size[0])])
        except (OSError, ValueError, SafetensorError) as error:
            raise _unreadable(tensor, error) from error
        if not np.isfinite(found).all():
            raise CheckpointError(f"{tensor.file}: tensor {tensor.name} holds values that are no numbers; {_AGAIN}")
        return found

    def coding(self, name: str) -> tuple[int, int] | None:
        """Bits and length of the blocks of a tensor that is stored in blocks of ours."""
        location = self.tensors[name].location
        if not isinstance(location, BlockLocation) or location.bits is None:
            return None
        return location.bits, BLOCK

    def blocks(self, name: str, rows: Rows | None = None) -> Blocks | None:
        """The same in blocks of ours, where it is stored so. Raises CheckpointError."""
        tensor = self.tensors[name]
        if not isinstance(location := tensor.location, BlockLocation) or location.bits is None:
            return None
        try:
            runs = rows or [(0, tensor.size[0])]
            parts = [gguf_tensors.read_blocks(tensor.file, location, *run) for run in runs]
        except (OSError, ValueError) as error:
            raise _unreadable(tensor, error) from error
        kept = [part for part in parts if part is not None]
        return Blocks(
            location.bits, np.concatenate([one.data for one in kept]), np.concatenate([one.scales for one in kept])
        )


def _unreadable(tensor: Tensor, error: Exception) -> CheckpointError:
    return CheckpointError(f"{tensor.file}: tensor {tensor.name} cannot be read ({error}); {_AGAIN}")


def open_folder(directory: Path) -> Checkpoint:
    """The checkpoint of a folder, with every name, size and file checked. Raises CheckpointError."""
    index, files = _files(directory)
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= _tensors(path)
    for name, file in index.items():
        if name not in tensors or tensors[name].file.name != file:
            raise CheckpointError(f"{directory / file} has no tensor {name}, which the index says it has; {_AGAIN}")
    if not tensors:
        raise CheckpointError(f"{files[0]} holds no tensors; {_AGAIN}")
    return Checkpoint(directory, tensors, files)


def _files(directory: Path) -> tuple[dict[str, str], list[Path]]:
    """What the index says, tensor by tensor, and the files; no index when the checkpoint is one file."""
    for whole in (_SAFETENSORS, _PYTORCH):
        index = directory / f"{whole}.index.json"
        if index.exists():
            table = _weight_map(index)
            missing = [name for name in sorted(set(table.values())) if not (directory / name).exists()]
            if missing:
                raise CheckpointError(f"{directory / missing[0]} is not there, {index.name} names it; {_AGAIN}")
            return table, [directory / name for name in sorted(set(table.values()))]
        if (directory / whole).exists():
            return {}, [directory / whole]
    raise CheckpointError(
        f"{directory} has no weights: neither {_SAFETENSORS} nor {_PYTORCH}, nor an index of shards; "
        "give the folder of a Hugging Face checkpoint"
    )


def _weight_map(index: Path) -> dict[str, str]:
    class Index(msgspec.Struct):
        weight_map: dict[str, str]

    try:
        table = msgspec.json.decode(index.read_bytes(), type=Index).weight_map
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{index} is no index of shards ({error}); {_AGAIN}") from error
    for name in table.values():
        if name != Path(name).name or name in ("", ".", ".."):
            raise CheckpointError(f"{index} names the file {name!r}, which leaves the folder; do not use it")
    return table


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream:
            if stream.read(len(_POINTER)) == _POINTER:
                raise CheckpointError(f"{path} is a Git LFS pointer, not the file itself; run: git lfs pull")
        return _in_safetensors(path) if path.suffix == ".safetensors" else _in_pytorch(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read, it may be cut short ({error}); {_AGAIN}") from error


def _in_safetensors(path: Path) -> dict[str, Tensor]:
    found = {}
    with safe_open(path, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            part = file.get_slice(name)
            kind = part.get_dtype()
            found[name] = Tensor(name, path, tuple(part.get_shape()), kind, kind in _FLOATS)
    return found


def _in_pytorch(path: Path) -> dict[str, Tensor]:
    return {
        name: Tensor(name, path, location.size, location.kind, location.is_float, location)
        for name, location in torch_pickle.locations(path).items()
    }


def _values(tensor: Tensor, rows: Rows) -> Floats:
    if isinstance(tensor.location, BlockLocation):
        parts = [gguf_tensors.read(tensor.file, tensor.location, *run) for run in rows]
    elif tensor.location is not None:
        parts = [torch_pickle.read(tensor.file, tensor.location, *run) for run in rows]
    else:
        with safe_open(tensor.file, "numpy") as file:
            part: Any = file.get_slice(tensor.name)
            parts = [np.asarray(part[start:stop]).astype(np.float32) for start, stop in rows]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
