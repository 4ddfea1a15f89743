"""A graph's constants in, tensors out: small ones inside the graph, large ones in one file beside it.

They are written as they come, so a model larger than memory can be stored, and noted in a
journal where one is asked for, so an import that was stopped goes on where it was. Read back
one at a time. Knows nothing of networks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_runtime.errors import ModelError

_INLINE_BELOW = 1024  # bytes: smaller tensors stay in the graph file
_PAGE = 4096  # bytes: where a tensor may begin, so that it can be mapped into memory

Array = NDArray[Any]


class Constants:
    """The constants of one graph, all of them inside it."""

    def __init__(self) -> None:
        self._tensors: dict[str, TensorProto] = {}

    def keep(self, names: Sequence[str], make: Callable[[], Sequence[Array]]) -> None:
        """Stores what `make` gives, one array a name; does not call it for names that are there."""
        if not all(name in self._tensors for name in names):
            for name, array in zip(names, make(), strict=True):
                self._tensors[name] = numpy_helper.from_array(array, name)

    @property
    def tensors(self) -> list[TensorProto]:
        """What was stored, in the order it came."""
        return list(self._tensors.values())


class Entry(msgspec.Struct, frozen=True):
    """Where one tensor lies in the data file. type: as ONNX numbers them; offset, bytes: within the file."""

    name: str
    type: int
    dims: tuple[int, ...]
    offset: int
    bytes: int


class FileConstants(Constants):
    """The constants of one graph, the large ones in `data`. To be closed, or used with `with`.

    journal: a file that names what is whole in `data`; with the journal of an earlier, broken-off
    run the data is gone on with, without one it is written anew. Raises OSError.
    """

    def __init__(self, data: Path, journal: Path | None = None) -> None:
        super().__init__()
        self._location = data.name
        entries = _recorded(data, journal) if journal is not None else []
        self._end = max((entry.offset + entry.bytes for entry in entries), default=0)
        self._data = data.open("r+b" if entries else "wb")
        self._data.truncate(self._end)  # what was written of a tensor that is not whole
        self._journal = journal.open("wb") if journal is not None else None
        self._note(entries)

    def __enter__(self) -> FileConstants:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes and closes; may be called twice."""
        self._data.close()
        if self._journal is not None:
            self._journal.close()

    def keep(self, names: Sequence[str], make: Callable[[], Sequence[Array]]) -> None:
        """As Constants.keep; arrays of some size go to the data file at once, and together. Raises OSError."""
        if all(name in self._tensors for name in names):
            self._tensors |= {name: self._tensors.pop(name) for name in names}  # the order is that of the calls
            return
        arrays = dict(zip(names, make(), strict=True))
        if all(array.nbytes < _INLINE_BELOW for array in arrays.values()):
            for name, array in arrays.items():
                self._tensors[name] = numpy_helper.from_array(array, name)
            return
        written = [self._write(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
        self._note(written)

    def _note(self, entries: Sequence[Entry]) -> None:
        if self._journal is not None and entries:
            _flush(self._data)  # first the tensor, then the word that it is there
            self._journal.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
            _flush(self._journal)
        for entry in entries:
            self._tensors[entry.name] = self._external(entry)

    def _write(self, name: str, array: Array) -> Entry:
        offset = -(-self._end // _PAGE) * _PAGE
        self._data.seek(offset)
        self._data.write(array.reshape(-1).view(np.uint8).data)
        self._end = offset + array.nbytes
        kind = int(helper.np_dtype_to_tensor_dtype(array.dtype))
        return Entry(name=name, type=kind, dims=array.shape, offset=offset, bytes=array.nbytes)

    def _external(self, entry: Entry) -> TensorProto:
        tensor = TensorProto(name=entry.name, data_type=entry.type, dims=entry.dims)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self._location), ("offset", entry.offset), ("length", entry.bytes)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def load(graph: Path) -> onnx.ModelProto:
    """A stored graph without its data. Raises ModelError."""
    try:
        return onnx.load(graph, load_external_data=False)
    except Exception as error:  # protobuf and the library raise many kinds for a broken file
        raise _unreadable(graph, error) from error


class Stored(Mapping[str, Array]):
    """The constants of a stored graph, each read when it is asked for.

    Raises ModelError when the graph or its data cannot be read.
    """

    def __init__(self, graph: Path) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in load(graph).graph.initializer}

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        if tensor.data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        where = {pair.key: pair.value for pair in tensor.external_data}
        path = self._graph.parent / Path(where["location"]).name  # never outside the model directory
        dims = tuple(tensor.dims)
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        try:
            found = np.fromfile(path, kind, count=int(np.prod(dims)), offset=int(where.get("offset", 0)))
            return found.reshape(dims)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def dims(self, name: str) -> tuple[int, ...]:
        """The size of a constant, without reading it."""
        return tuple(self._tensors[name].dims)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(f"cannot read {path}: {error}; restore the model directory")


def _recorded(data: Path, journal: Path) -> list[Entry]:
    """The entries of a journal that its data file bears out; none when there is nothing to go on with."""
    try:
        lines, size = journal.read_bytes().splitlines(), data.stat().st_size
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError:
            break  # the power went while this line was written
        if entry.offset + entry.bytes > size:
            break
        entries.append(entry)
    return entries


def _flush(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())
