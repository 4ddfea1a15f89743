"""A network in, a larger one that says the same out: a network of any size, with something to say.

Zero-padded where that leaves the sums as they are, random where nothing is made of it (after Chen et al. 2016,
"Net2Net: Accelerating Learning via Knowledge Transfer"), so it takes the time of its own size to say what the small
one says. Wider: further rows of what reads, no way out of them; the norms' gains take back that their means are over
more. More heads: each stays with its keys and values. Deeper: further layers add nothing. More words: each is written
like one that is never said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_runtime.graph import graph
from model_runtime.manifest import Shape

Floats = NDArray[np.float32]

_WAYS_OUT = ("o.weight", "down.weight")
_UNSAID = 7  # one of the reserved markers, which stand in no text


class Grown(Mapping[str, Floats]):
    """The weights of a network of the shape `grown`, by name, each made when asked for.

    small: those of a network of the shape `shape`, tied, with norms of queries and keys, as the larger one.
    """

    def __init__(self, small: Mapping[str, Floats], shape: Shape, grown: Shape) -> None:
        for one in (shape, grown):
            assert one.tied and one.gated and one.qk_norm and one.norm == "rms" and not one.biases
        assert shape.head_size == grown.head_size and shape.rope_theta == grown.rope_theta
        assert grown.heads // grown.kv_heads >= shape.heads // shape.kv_heads
        self._small, self._shape, self._grown = small, shape, grown
        self._sizes = graph.sizes(grown)

    def __getitem__(self, name: str) -> Floats:
        size = self._sizes[name]
        if len(size) == 1:
            return self._gains(name, size[0])
        whole: Floats = np.zeros(size, np.float32)
        if name != "embed.weight" and not name.endswith(_WAYS_OUT):
            np.random.default_rng(len(name)).standard_normal(dtype=np.float32, out=whole)
            whole /= np.float32(np.sqrt(size[1]))
        if name in self._small:
            found = self._small[name]
            rows, columns = self._places(name, found.shape)
            whole[rows] = 0
            whole[np.ix_(rows, columns)] = found
            if name == "embed.weight":
                whole[len(found) :, : found.shape[1]] = found[_UNSAID]
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def _gains(self, name: str, length: int) -> Floats:
        whole: Floats = np.ones(length, np.float32)
        if name in self._small:
            found = self._small[name]
            whole[: len(found)] = found * np.float32(np.sqrt(len(found) / length))
        return whole

    def _places(self, name: str, size: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which rows and columns of the large matrix are those of the small one."""
        rows, columns = (np.arange(length) for length in size)
        if name.endswith("q.weight"):
            rows = self._queries()
        elif name.endswith("o.weight"):
            columns = self._queries()
        return rows, columns

    def _queries(self) -> NDArray[np.int64]:
        """Where the small one's queries stand: in the group of the keys that they had."""
        few, many = (one.heads // one.kv_heads for one in (self._shape, self._grown))
        heads = np.arange(self._shape.heads)
        first = (heads // few * many + heads % few) * self._grown.head_size
        return (first[:, None] + np.arange(self._grown.head_size)).reshape(-1)


def hand(weights: Mapping[str, Floats], folder: Path) -> None:
    """Writes each weight into a file of its own, for a process that imports nothing of ours."""
    folder.mkdir(parents=True)
    for name, weight in weights.items():
        np.save(folder / f"{name}.npy", weight)
