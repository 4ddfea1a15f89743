"""A model directory in, one of the same model shared out among ranks: weight by weight, whole or not at all.

The directory holds for each rank `rankR.onnx.data` and a graph `rankR.SSS.onnx` for each stage between two sums.
What is shared out are the values that the model stores: blocks of integers are cut between blocks and stay as they
are. The second copy of the weights that long prompts are read with is left out: the ranks read in the one graph.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from model_runtime import manifest
from model_runtime.errors import ShardError
from model_runtime.graph import graph
from model_runtime.graph.nodes import Precision, Weights
from model_runtime.graph.quantize import Floats, wide
from model_runtime.manifest import Manifest, Sharding
from model_runtime.sharding.partition import PartitionWeights, partitions

Progress = Callable[[int, int], None]  # weights done, weights in all

_GRAPHS = (graph.GRAPH, graph.DATA, graph.PREFILL, graph.PREFILL_DATA)


def data_file(rank: int) -> str:
    """The name of a rank's weights."""
    return f"rank{rank}.onnx.data"


def graph_file(rank: int, stage: int) -> str:
    """The name of a rank's graph of a stage."""
    return f"rank{rank}.{stage:03}.onnx"


def write(
    source: Path, target: Path, name: str, sharding: Sharding, progress: Progress = lambda done, total: None
) -> Manifest:
    """Makes the model directory `target`, which must not be there, of `source`. Raises ModelError, OSError."""
    described = manifest.read(source)
    manifest.check_sizes(source, described)
    if described.sharding is not None:
        raise ShardError(f"{source} is sharded already; shard the model that it was made of")
    if target.exists():
        raise ShardError(f"{target} is there already; remove it or choose another --name")
    workshop = target.with_name(f".{target.name}.partial")
    shutil.rmtree(workshop, ignore_errors=True)
    workshop.mkdir(parents=True)
    try:
        made = _write(source, msgspec.structs.replace(described, name=name), workshop, sharding, progress)
        os.replace(workshop, target)
    except BaseException:
        shutil.rmtree(workshop, ignore_errors=True)
        raise
    return made


def _write(source: Path, described: Manifest, workshop: Path, sharding: Sharding, progress: Progress) -> Manifest:
    shape, precision = described.shape, _precision(described, sharding)
    in_blocks = precision in ("int8", "int4", "device4")
    weights = _Told(graph.read_weights(source, shape), sharding.ranks, progress)
    for rank, partition in enumerate(partitions(shape, sharding.ranks, wide(shape.ffn_size) if in_blocks else 1)):
        graph.write_stretches(
            [workshop / graph_file(rank, at) for at in range(len(graph.stages(shape)))],
            workshop / data_file(rank),
            partition.shape(shape),
            PartitionWeights(partition, shape, weights),
            precision,
            len(partition.vocabulary),
        )
    for name in described.files:
        if name not in _GRAPHS:
            shutil.copyfile(source / name, workshop / name)
    made = msgspec.structs.replace(
        described,
        prefill="same",
        files={path.name: manifest.digest(path) for path in sorted(workshop.iterdir())},
        sharding=sharding,
    )
    (workshop / manifest.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    for path in workshop.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return made


def _precision(described: Manifest, sharding: Sharding) -> Precision:
    if sharding.device == "cpu":
        return described.weights
    return "device4" if described.weights == "int4" else "device"


class _Told(Mapping[str, Floats]):
    """Weights that tell how many of them have been read; each rank reads all of them."""

    def __init__(self, weights: Weights, times: int, progress: Progress) -> None:
        self._weights, self._progress = weights, progress
        self._done, self._all = 0, times * len(weights)

    def __getitem__(self, name: str) -> Floats:
        self._done += 1
        self._progress(min(self._done, self._all), self._all)
        return self._weights[name]

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
