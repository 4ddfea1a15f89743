"""A GGUF file's header in, its metadata and the places of its tensors out: every length checked, no value read.

The library's own reader takes a file's word for how long a list or a tensor is. Here each length is held against the
bytes that are left before anything is allocated, so a file that lies costs one error. Format: versions 2 and 3 of
"GGUF" in ggml's documentation, little-endian. Knows nothing of networks.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from model_runtime.errors import CheckpointError

LARGEST_HEADER = 64 << 20  # bytes; that of a vocabulary of 262,144 tokens has 16 MB
MOST_ITEMS = 1 << 21  # of one list
_MOST_TENSORS = 1 << 16
_MOST_DIMENSIONS = 4
_AGAIN = "download it again"
_MAGIC = b"GGUF"

_NUMBERS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
_BOOL, _STRING, _LIST = 7, 8, 9


@dataclass(frozen=True)
class BlockTensor:
    """A tensor of a file. kind: by ggml's name; size: the rows first; offset: in the file, in bytes;
    row_bytes: of a row, or of one value where there are no rows."""

    name: str
    kind: str
    size: tuple[int, ...]
    offset: int
    row_bytes: int


@dataclass(frozen=True)
class Header:
    """metadata: numbers, truth values, texts, and lists of these, by their keys."""

    metadata: dict[str, Any]
    tensors: tuple[BlockTensor, ...]


def read_header(path: Path) -> Header:
    """Raises CheckpointError when the file is no GGUF, is cut short or does not agree with itself; OSError."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            raise CheckpointError(f"{path} is no GGUF file; give one, or the folder of a Hugging Face checkpoint")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _header(_Cursor(data, min(size, LARGEST_HEADER)), size)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}; {_AGAIN}") from None


class _Cursor:
    """A place in the header, which moves on and never beyond the end."""

    def __init__(self, data: mmap.mmap, end: int) -> None:
        self._data, self._end, self.at = data, end, len(_MAGIC)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self._end - self.at:
            raise CheckpointError("its header is cut short, or a length in it is wrong")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        """The next number, as NumPy names its type."""
        found = np.frombuffer(self.take(np.dtype(layout).itemsize), layout)[0]
        return float(str(found)) if layout == "<f4" else found.item()  # 1e-5, not the binary fraction next to it

    def text(self) -> str:
        """The next text; bytes that are no UTF-8 become U+FFFD."""
        (count,) = struct.unpack("<Q", self.take(8))
        return self.take(count).decode("utf-8", errors="replace")

    def value(self) -> Any:
        """The next value behind its type."""
        kind = self.number("<u4")
        return self._items() if kind == _LIST else self._reader(kind)()

    def _items(self) -> list[Any]:
        kind, count = self.number("<u4"), self.number("<u8")
        if count > MOST_ITEMS:
            raise CheckpointError(f"a list in its header has {count} items")
        if kind in _NUMBERS:
            layout = np.dtype(_NUMBERS[kind])
            found: list[Any] = np.frombuffer(self.take(count * layout.itemsize), layout).tolist()
            return found
        read = self._reader(kind)
        return [read() for _ in range(count)]

    def _reader(self, kind: int) -> Callable[[], Any]:
        if kind == _STRING:
            return self.text
        if kind == _BOOL:
            return lambda: self.take(1) != b"\0"
        if kind in _NUMBERS:
            return lambda: self.number(_NUMBERS[kind])
        raise CheckpointError(f"its header has a value of the unknown type {kind}")


def _header(cursor: _Cursor, size: int) -> Header:
    version = cursor.number("<u4")
    if version not in (2, 3):
        raise CheckpointError(f"it is GGUF of version {version}, those of 2 and 3 in little-endian can be read")
    tensors, values = cursor.number("<u8"), cursor.number("<u8")
    if tensors > _MOST_TENSORS:
        raise CheckpointError(f"its header tells of {tensors} tensors")
    metadata: dict[str, Any] = {}
    for _ in range(values):  # each takes some bytes, so a wrong count ends at the end
        key = cursor.text()
        if key in metadata:
            raise CheckpointError(f"its header gives {key[:80]!r} twice")
        metadata[key] = cursor.value()
    bare = [_bare(cursor) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        raise CheckpointError(f"general.alignment is {alignment!r}")
    begin = -(-cursor.at // alignment) * alignment
    return Header(metadata, tuple(_placed(*one, begin, size) for one in bare))


def _bare(cursor: _Cursor) -> tuple[str, int, tuple[int, ...], int]:
    name, count = cursor.text(), cursor.number("<u4")
    if not 1 <= count <= _MOST_DIMENSIONS:
        raise CheckpointError(f"tensor {name[:80]} has {count} dimensions")
    size = tuple(cursor.number("<u8") for _ in range(count))
    return name, cursor.number("<u4"), size[::-1], cursor.number("<u8")


def _placed(name: str, kind: int, size: tuple[int, ...], offset: int, begin: int, whole: int) -> BlockTensor:
    """Held against the file: the type is known, rows are whole blocks, and all of it lies in the file."""
    try:
        known = gguf.GGMLQuantizationType(kind)
    except ValueError:
        raise CheckpointError(f"tensor {name[:80]} is of the unknown type {kind}") from None
    block, block_bytes = gguf.GGML_QUANT_SIZES[known]
    width = size[-1]
    if min(size) < 1 or width % block or (len(size) == 1 and block > 1):
        raise CheckpointError(f"tensor {name[:80]} is {list(size)}, which its type {known.name} cannot be")
    row_bytes = block_bytes * (width // block)
    rows = 1
    for one in size[:-1]:
        rows *= one
    if begin + offset + rows * row_bytes > whole:
        raise CheckpointError(f"tensor {name[:80]} lies beyond the end of the file, which may be cut short")
    return BlockTensor(name, known.name, size, begin + offset, row_bytes if len(size) > 1 else row_bytes // width)
