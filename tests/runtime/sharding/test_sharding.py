"""A network shared out among ranks says what the whole one says. The ranks are threads here, and need no torch."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from model_runtime import manifest
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import ModelError, ShardError
from model_runtime.graph import graph
from model_runtime.importer import importer
from model_runtime.manifest import Sharding
from model_runtime.opening import open_engine
from model_runtime.sharding import shard
from model_runtime.sharding.partition import PartitionWeights, partitions
from model_runtime.sharding.stages import RankDevice, Stages
from tests import checkpoints, tiny
from tests.checkpoints import Checkpoint
from tests.runtime.conftest import Precision
from tests.runtime.graph.test_graph import _backend as backend_of

TOKENS = [int(token) for token in np.random.default_rng(4).integers(0, 256, 90)]
FAMILIES: dict[str, Callable[[], Checkpoint]] = {
    "llama": lambda: checkpoints.llama(),
    "codegen": lambda: checkpoints.gptj("codegen"),
    "starcoder2": lambda: checkpoints.starcoder2(),
    "bigcode": lambda: checkpoints.bigcode(),
}


class Sums:
    """Sums between threads: each lays its numbers down, and all take the sum when everybody has."""

    def __init__(self, ranks: int) -> None:
        self._barrier = threading.Barrier(ranks, timeout=20)
        self._laid: dict[int, NDArray[Any]] = {}

    def buffer(self, count: int, kind: type[np.floating[Any]]) -> NDArray[Any]:
        return np.zeros(count, kind)

    def address(self, buffer: NDArray[Any]) -> int:
        return buffer.ctypes.data

    def add_up(self, buffer: NDArray[Any], count: int) -> None:
        self._laid[threading.get_ident()] = buffer[:count].copy()
        self._barrier.wait()
        total = np.sum(list(self._laid.values()), axis=0, dtype=buffer.dtype)
        self._barrier.wait()
        buffer[:count] = total


def on_threads(directory: Path, work: Callable[[Stages], Logits]) -> Logits:
    """What all ranks say together, each doing the same work."""
    described = manifest.read(directory)
    assert described.sharding is not None
    ranks = described.sharding.ranks
    sums = Sums(ranks)

    def rank(number: int) -> Logits:
        return work(Stages.open(directory, described, number, 1, sums, RankDevice()))

    with ThreadPoolExecutor(ranks) as threads:
        return np.concatenate(list(threads.map(rank, range(ranks))), axis=-1)


def said(network: Stages) -> Logits:
    """In chunks, in a store that is not the first, the last token on its own, as one of two in a run."""
    network.new_slots(3)
    network.run([2], np.array([TOKENS[:50]]), [0], 1)
    network.run([2], np.array([TOKENS[50:-1]]), [50], 3)
    network.copy(2, 0, 40)
    both: Logits = network.run([2, 0], np.array([[TOKENS[-1]], [TOKENS[40]]]), [len(TOKENS) - 1, 40], 1)
    return both


def whole(directory: Path, cache: Path) -> Logits:
    """The same of the network in one process."""
    backend = backend_of(directory, cache)
    store = backend.new_slots(1)[0]
    last = backend.decode(store, TOKENS, 0, Cancel())
    return np.stack([last, backend.decode(store, TOKENS[40:41], 40, Cancel())])


def imported(family: str, at: Path, quant: importer.Quant) -> Path:
    importer.write(importer.examine(FAMILIES[family]().write(at / "source"), name="it", quant=quant), at / "model")
    return at / "model"


def sharded(source: Path, ranks: int, device: Literal["cpu", "cuda"] = "cpu") -> Path:
    target = source.with_name(f"{source.name}-{ranks}")
    shard.write(source, target, target.name, Sharding(ranks, device))
    return target


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_ranks_say_together_the_whole_network_says(family: str, ranks: int, tmp_path: Path) -> None:
    model = imported(family, tmp_path, "fp32")
    found = on_threads(sharded(model, ranks), said)
    assert np.abs(found - whole(model, tmp_path)).max() <= 1e-3


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_blocks_of_integers_are_shared_out_as_they_are_stored(precision: Precision, tmp_path: Path) -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, hidden_size=128, heads=8, ffn_size=256)
    graph.write_model(tmp_path, shape, random_weights(shape), precision)
    stored, weights = graph.Stored(tmp_path / graph.GRAPH), graph.read_weights(tmp_path, shape)
    for partition in partitions(shape, 2, 128):
        graphs = [tmp_path / f"{at}.onnx" for at in range(5)]
        part = PartitionWeights(partition, shape, weights)
        graph.write_stretches(
            graphs, tmp_path / "data", partition.shape(shape), part, precision, vocabulary=len(partition.vocabulary)
        )
        for name, at in (("layers.0.o.weight", 0), ("layers.1.down.weight", 3)):
            for form in (".codes", ".scales"):
                half = np.array_split(stored[name + form].reshape(128, -1), 2, axis=1)[not partition.is_first]
                assert np.array_equal(graph.Stored(graphs[at])[name + form].reshape(128, -1), half), name


def random_weights(shape: manifest.Shape) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(5)
    return {name: random.standard_normal(size).astype(np.float32) for name, size in graph.sizes(shape).items()}


def test_in_half_precision_ranks_say_about_the_same(tmp_path: Path) -> None:
    model = imported("codegen", tmp_path, "fp16")
    expected = whole(model, tmp_path)
    found = on_threads(sharded(model, 2, "cuda"), said)
    assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()


def test_all_of_a_network_is_held_and_only_what_must_be_is_held_twice() -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, heads=8, kv_heads=2, ffn_size=352, biases=("q", "o", "down"))
    found = partitions(shape, 4, 32)
    assert [one for partition in found for one in partition.heads] == list(range(8))
    assert [one for partition in found for one in partition.ffn] == list(range(352))
    assert [one for partition in found for one in partition.vocabulary] == list(range(shape.vocab_size))
    assert [list(partition.kv_heads) for partition in found] == [[0], [0], [1], [1]]
    assert all(partition.ffn.start % 32 == 0 for partition in found)
    assert [partition.shape(shape).biases for partition in found] == [("q", "o", "down"), ("q",), ("q",), ("q",)]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "ranks", "cure"),
    [(14, 2, 4, "give --ranks one of 2, 14"), (6, 6, 4, "give --ranks one of 2, 3, 6"), (1, 1, 2, "cannot be sharded")],
)
def test_heads_that_cannot_be_split_evenly_are_refused(heads: int, kv_heads: int, ranks: int, cure: str) -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, heads=heads, kv_heads=kv_heads)
    with pytest.raises(ShardError, match=f"among {ranks} ranks; .*{cure}"):
        partitions(shape, ranks)


def test_too_little_to_share_is_refused() -> None:
    with pytest.raises(ShardError, match="96 in blocks of 32 is too narrow for 4 ranks; give fewer"):
        partitions(tiny.SHAPE, 4, 32)


def test_what_is_sharded_is_not_sharded_again(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.symlink_to(tiny_model("fp32"))
    target = sharded(source, 2)
    with pytest.raises(ShardError, match="is sharded already; shard the model that it was made of"):
        sharded(target, 2)
    with pytest.raises(ShardError, match="is there already; remove it or choose another --name"):
        sharded(source, 2)
    described = manifest.read(target)
    manifest.check(target, described)
    assert set(described.files) == {path.name for path in target.iterdir()} - {manifest.MANIFEST}


def test_a_sharding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = tiny.write(tmp_path / "model", precision="int8")
    with pytest.raises(ShardError):
        sharded(source, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_without_torch_the_extra_is_named(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model"
    source.symlink_to(tiny_model("fp32"))
    target = sharded(source, 2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"over 2 ranks, which need torch; install Lacuna with the extra shards"):
        open_engine(target, cache=tmp_path)


def test_a_sharded_model_runs_on_what_it_was_sharded_for(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model"
    source.symlink_to(tiny_model("fp32"))
    target = sharded(source, 2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ModelError, match="is sharded for cpu and provider is cuda; set provider to cpu, or shard"):
        open_engine(target, cache=tmp_path, provider="cuda")
