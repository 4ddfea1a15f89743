"""Named arrays and a small state in, a folder of pieces of at most 16 MiB out, and back, bit for bit.

Pieces so small can be carried through narrow doors one by one. Knows nothing of networks; needs no PyTorch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIECE = (16 << 20) - (64 << 10)  # bytes of array data in one piece; room is left for headers
STATE = "state.json"

Array = NDArray[np.generic]


def save(folder: Path, arrays: Mapping[str, Array], state: Mapping[str, object]) -> None:
    """Write the checkpoint beside its place, then move it there: a reader sees all of it or the one before."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    piece: dict[str, Array] = {}
    size = number = 0
    for name, part in _parts(arrays):
        if piece and size + part.nbytes > PIECE:
            np.savez(partial / f"piece-{number:03d}.npz", allow_pickle=False, **piece)
            piece, size, number = {}, 0, number + 1
        piece[name] = part
        size += part.nbytes
    np.savez(partial / f"piece-{number:03d}.npz", allow_pickle=False, **piece)
    whole = {**state, "pieces": number + 1}
    (partial / STATE).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    stale = folder.with_name(folder.name + ".old")
    shutil.rmtree(stale, ignore_errors=True)
    if folder.exists():
        folder.rename(stale)
    partial.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)


def load(folder: Path) -> tuple[dict[str, Array], dict[str, object]]:
    """What `save` was given. Raises FileNotFoundError naming the piece that is missing."""
    state: dict[str, object] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    found: dict[str, list[tuple[int, Array]]] = {}
    for number in range(int(str(state.pop("pieces")))):
        with np.load(folder / f"piece-{number:03d}.npz") as piece:
            for name in piece:
                key, _, index = name.rpartition("@")
                found.setdefault(key, []).append((int(index), piece[name]))
    arrays = {}
    for name, parts in found.items():
        ordered = [part for _, part in sorted(parts, key=lambda one: one[0])]
        arrays[name] = ordered[0] if len(ordered) == 1 else np.concatenate(ordered)
    return arrays, state


def _parts(arrays: Mapping[str, Array]) -> list[tuple[str, Array]]:
    found = []
    for name, array in arrays.items():
        count = max(1, -(-array.nbytes // PIECE)) if array.ndim else 1
        rows = -(-len(array) // count) if array.ndim else 0
        if count == 1:
            found.append((f"{name}@0", array))
        else:
            found += [(f"{name}@{part}", array[part * rows : (part + 1) * rows]) for part in range(count)]
    return found
