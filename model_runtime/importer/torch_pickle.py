"""A PyTorch file in, the places of its tensors out: weights only, without PyTorch.

The file is a ZIP archive: `data.pkl` says which tensor lies where, one uncompressed member a
storage holds the values. The pickle is read by an unpickler that knows a dozen names and calls
nothing else, so a file can bring no code along. Ignores everything that is no tensor.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_runtime.errors import CheckpointError

Floats = NDArray[np.float32]

_KINDS = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": "<u2",  # the upper half of a float32
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_FLOATS = ("FloatStorage", "HalfStorage", "DoubleStorage", "BFloat16Storage")

# What reading a broken pickle, or one that somebody built with care, may raise.
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError)


@dataclass(frozen=True)
class _Storage:
    """kind: by PyTorch's name; key: its member's; count: of elements."""

    kind: str
    key: str
    count: int

    @property
    def layout(self) -> np.dtype[Any]:
        return np.dtype(_KINDS[self.kind])


@dataclass(frozen=True)
class TensorLocation:
    """Where a tensor lies. offset: in the file, in bytes; size: of each dimension, the rows first."""

    kind: str
    offset: int
    size: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        """Whether it holds weights."""
        return self.kind in _FLOATS


def locations(path: Path) -> dict[str, TensorLocation]:
    """Name and place of each tensor of a file. Raises CheckpointError, OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
            if "data.pkl" not in members:
                raise CheckpointError("it is a ZIP archive, but none that PyTorch wrote; save it as safetensors")
            with archive.open(members["data.pkl"]) as stream:
                state = _Unpickler(stream).load()
        if not isinstance(state, dict):
            raise CheckpointError("it holds no table of tensors; save the checkpoint's state_dict as safetensors")
        tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, _Tensor)}
        return {name: _location(path, name, tensor, members) for name, tensor in tensors.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is cut short or in the format of PyTorch before 1.6 ({error}); "
            "download it again, or save the checkpoint as safetensors"
        ) from error
    except _BROKEN as error:
        raise CheckpointError(f"{path}: its pickle cannot be read ({error}); download it again") from error


def read(path: Path, location: TensorLocation, start: int, stop: int) -> Floats:
    """Rows start to stop of a tensor as float32. Raises CheckpointError when the file ends before them, OSError."""
    row = int(np.prod(location.size[1:], dtype=np.int64))
    layout = np.dtype(_KINDS[location.kind])
    count, offset = (stop - start) * row, location.offset + start * row * layout.itemsize
    found = np.fromfile(path, layout, count=count, offset=offset)
    if len(found) != count:
        raise CheckpointError(f"{path} ends within a tensor; download it again")
    if location.kind == "BFloat16Storage":
        found = (found.astype(np.uint32) << 16).view(np.float32)
    return found.astype(np.float32, copy=False).reshape(stop - start, *location.size[1:])


@dataclass(frozen=True)
class _Tensor:
    """What _rebuild_tensor_v2 is told: a view of a storage, in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise CheckpointError("a tensor without a storage; download it again")
    return _Tensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


class _Unpickler(pickle.Unpickler):
    """Knows a dozen names. What it gives out for them is made anew each time or cannot be changed,
    because a pickle may also write attributes."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch", "Size":
                return tuple
            case "torch._utils", "_rebuild_tensor_v2":
                return lambda *arguments: _tensor(*arguments)
            case "torch._utils", "_rebuild_parameter":
                return lambda tensor, *_: tensor
            case "torch", name if name in _KINDS:
                return name
        raise CheckpointError(f"its pickle asks for {module}.{name}, which is no tensor; it was not read further")

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _, count = pid
        if word != "storage" or kind not in _KINDS:
            raise CheckpointError(f"its pickle refers to {word!r} of an unknown kind; save it as safetensors")
        return _Storage(kind, str(key), int(count))


def _location(path: Path, name: str, tensor: _Tensor, members: dict[str, zipfile.ZipInfo]) -> TensorLocation:
    """Checked against the archive: the storage is there, whole, as it is, and in order."""
    storage = tensor.storage
    member = members.get(f"data/{storage.key}")
    if member is None or member.file_size < storage.count * storage.layout.itemsize:
        raise CheckpointError(f"the values of tensor {name} are missing or cut short; download it again")
    if member.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"the values of tensor {name} are compressed; save the checkpoint as safetensors")
    whole = int(np.prod(tensor.size, dtype=np.int64))
    if tensor.offset < 0 or tensor.offset + whole > storage.count or tensor.stride != _strides(tensor.size):
        raise CheckpointError(f"tensor {name} does not lie in one piece; save the checkpoint as safetensors")
    offset = _begin(path, member) + tensor.offset * storage.layout.itemsize
    return TensorLocation(storage.kind, offset, tensor.size)


def _strides(size: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one index to the next in a tensor whose last dimension lies closest together."""
    found = [1]
    for length in reversed(size[1:]):
        found.append(found[-1] * length)
    return tuple(reversed(found)) if size else ()


def _begin(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its own header, whose fields differ from the directory's (APPNOTE 4.3.7)."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        header = stream.read(30)
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise CheckpointError("it is cut short; download it again")
    return member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
