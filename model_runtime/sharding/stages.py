"""One rank's share of a network in ONNX Runtime: runs stage by stage, and has sums made between them.

Each stage leaves what stands so far and what the ranks are to sum; `Exchange` is how they do that. Both lie in
memory that the exchange provides, on the processor or on a graphics processor. Knows nothing of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model_runtime.backends import providers
from model_runtime.backends.device_kv_pool import DeviceKVPool
from model_runtime.backends.kv_pool import KVPool, KVSlot
from model_runtime.backends.onnx_backend import CPU, loaded
from model_runtime.backends.providers import Chosen
from model_runtime.engine.sampling import Logits
from model_runtime.graph import graph
from model_runtime.manifest import Manifest, Shape
from model_runtime.sharding import shard
from model_runtime.sharding.partition import Partition, partitions


class Exchange(Protocol):
    """How ranks sum. A memory is whatever it makes of it; only it looks inside."""

    def buffer(self, count: int, kind: type[np.floating[Any]]) -> Any:
        """Room for so many numbers."""

    def address(self, buffer: Any) -> int:
        """Where that room begins, for ONNX Runtime."""

    def add_up(self, buffer: Any, count: int) -> None:
        """Its first numbers become the sums of all ranks' first numbers; returns when they have."""


@dataclass(frozen=True)
class RankDevice:
    """Where a rank computes: a device of ONNX Runtime's, which of several, and how a session gets there."""

    device: str = "cpu"
    index: int = 0
    providers: Sequence[Chosen] = CPU


@dataclass(frozen=True)
class _Run:
    """What a run over some tokens of some stores side by side reads and writes."""

    tokens: NDArray[np.int64]  # [B, T]
    length: NDArray[np.int32]  # [B]
    total: NDArray[np.int32]  # []
    rows: NDArray[np.int64]  # [R]
    logits: Logits  # [R, V/N]
    bindings: list[ort.IOBinding]


class Stages:
    """A rank's sessions, its keys and values, and the memory between stages. To be called from one thread."""

    def __init__(
        self,
        whole: Shape,
        partition: Partition,
        sessions: list[ort.InferenceSession],
        exchange: Exchange,
        place: RankDevice,
    ):
        self._shape, self._vocabulary = partition.shape(whole), len(partition.vocabulary)
        self._stages = graph.stages(whole)
        self._sessions, self._exchange, self._place = sessions, exchange, place
        self._inputs = [{one.name for one in session.get_inputs()} for session in sessions]
        half = "float16" in sessions[0].get_outputs()[0].type
        self._kind: type[np.floating[Any]] = np.float16 if half else np.float32
        self._new_pool: Callable[[int], KVPool] = partial(KVPool, self._shape)
        if half:
            self._new_pool = partial(
                DeviceKVPool, self._shape, device=place.device, providers=list(place.providers), index=place.index
            )
        self._pool = self._new_pool(1)
        self._room = 0
        self._hidden: list[Any] = []
        self._delta: list[Any] = []
        self._kept: dict[tuple[int, int], _Run] = {}

    @classmethod
    def open(
        cls, directory: Path, manifest: Manifest, rank: int, threads: int, exchange: Exchange, place: RankDevice
    ) -> Stages:
        """Raises ModelError when a graph cannot be loaded."""
        assert manifest.sharding is not None
        partition = partitions(manifest.shape, manifest.sharding.ranks)[
            rank
        ]  # where the feed-forward was cut is not asked
        sessions = [
            loaded(directory / shard.graph_file(rank, at), threads, place.providers)
            for at in range(len(graph.stages(manifest.shape)))
        ]
        if place.device == "cuda":
            providers.check(sessions[0], "cuda")
        return cls(manifest.shape, partition, sessions, exchange, place)

    @property
    def slots(self) -> list[KVSlot]:
        """Those made last."""
        return self._pool.slots

    def new_slots(self, count: int) -> None:
        """See Backend.new_slots."""
        self._kept = {}
        self._pool = self._new_pool(count)

    def copy(self, source: int, target: int, length: int) -> None:
        """See Backend.copy."""
        self._pool.copy(self.slots[source], self.slots[target], length)

    def run(self, slots: Sequence[int], tokens: NDArray[np.int64], starts: Sequence[int], rows: int) -> Logits:
        """tokens [B, T] of B stores, from their starts on; logits [B·rows, V/N] after the last `rows` of each."""
        chosen = [self.slots[number] for number in slots]
        first, (batch, count) = self._pool.gather(chosen), tokens.shape
        order = [slot.row - first for slot in chosen]
        self._reserve(batch * count)
        run = self._kept.get((first, batch)) if count == 1 else None
        run = run or self._bound(first, batch, count, rows)
        run.tokens[order] = tokens
        run.length[order] = np.array(starts) + count - 1
        run.total[...] = max(starts) + count
        size = batch * count * self._shape.hidden_size
        for at, (session, binding) in enumerate(zip(self._sessions, run.bindings, strict=True)):
            if self._place.device != "cpu":  # what is bound is copied there and then
                self._bind_numbers(binding, self._inputs[at], run)
            session.run_with_iobinding(binding)
            if at < len(self._sessions) - 1:
                self._exchange.add_up(self._delta[at % 2], size)
        for slot, start in zip(chosen, starts, strict=True):
            slot.length = start + count
        found: Logits = run.logits.reshape(batch, rows, -1)[order].reshape(batch * rows, -1)
        return found

    def _reserve(self, tokens: int) -> None:
        """Room between stages for so many tokens: two of each, so that none is read and written at once."""
        if tokens <= self._room:
            return
        self._room, self._kept = max(tokens, 2 * self._room), {}
        count = self._room * self._shape.hidden_size
        self._hidden = [self._exchange.buffer(count, self._kind) for _ in range(2)]
        self._delta = [self._exchange.buffer(count, self._kind) for _ in range(2)]

    def _bound(self, first: int, batch: int, count: int, rows: int) -> _Run:
        wanted = np.arange(count - rows, count) + np.arange(batch)[:, None] * count
        run = _Run(
            tokens=np.zeros((batch, count), np.int64),
            length=np.zeros(batch, np.int32),
            total=np.zeros((), np.int32),
            rows=wanted.reshape(-1).astype(np.int64),
            logits=np.zeros((batch * rows, self._vocabulary), np.float32),
            bindings=[session.io_binding() for session in self._sessions],
        )
        size = [batch, count, self._shape.hidden_size]
        for at, (session, binding) in enumerate(zip(self._sessions, run.bindings, strict=True)):
            self._bind_numbers(binding, self._inputs[at], run)
            self._pool.bind(binding, first, batch, graph.attending(self._shape, self._stages[at]))
            sums = ((self._hidden, "hidden"), (self._delta, "delta"))
            if at:
                for buffer, name in sums:
                    self._bind_sum(binding.bind_input, name, size, buffer[(at - 1) % 2])
            if at == len(self._sessions) - 1:
                binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(run.logits))
                continue
            for (buffer, _), output in zip(sums, session.get_outputs(), strict=False):  # before keys and values
                self._bind_sum(binding.bind_output, output.name, size, buffer[at % 2])
        if count == 1:
            self._kept[first, batch] = run
        return run

    def _bind_numbers(self, binding: ort.IOBinding, inputs: set[str], run: _Run) -> None:
        """Names what is read besides keys, values and sums; on the processor that shares the memory."""
        for name in ("tokens", "length", "total", "rows"):
            if name in inputs:
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(getattr(run, name)))

    def _bind_sum(self, bind: Callable[..., None], name: str, size: list[int], buffer: Any) -> None:
        place = self._place
        bind(name, place.device, place.index, self._kind, size, self._exchange.address(buffer))
