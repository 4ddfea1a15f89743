"""A sharded model's directory in, a Backend out: a process for each rank, all told the same, see `group`.

When a rank is lost the request at hand fails with a RankError and all ranks start anew, by themselves. What they had
read is lost with them; so each store here remembers its tokens, and a new group is told them again when they are next
built upon. A run is not interrupted: the ranks would have to agree where. Imports no torch, the ranks do.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model_runtime.backends.kv_pool import KVSlot
from model_runtime.backends.onnx_backend import default_threads
from model_runtime.backends.providers import Provider
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import Cancelled, ModelError, RankError
from model_runtime.manifest import Manifest
from model_runtime.sharding.partition import partitions
from model_runtime.sharding.rank_group import Group
from model_runtime.sharding.rank_protocol import Copy, NewSlots, Run

_FEW = 32  # tokens that are read in the run that writes: one graph does both, and more would delay a cancel
_CHUNK = 128  # tokens told again in one run
_REST = 5.0  # seconds that a group must have lived to be started anew before anybody asks
_CURE = "install Lacuna with the extra shards beside cpu or gpu, or use the model that this one was sharded from"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class RankSlot(KVSlot):
    """A store of all ranks. tokens: those it holds; group: the number of the group of processes that holds them."""

    tokens: list[int] = field(default_factory=list)
    group: int = 0


class Ranks:
    """The network in as many processes as it is sharded for; not to be called from two threads at once."""

    def __init__(self, directory: Path, manifest: Manifest, cache: Path, threads: int) -> None:
        """threads: of each rank. Raises RankError when the ranks cannot be started."""
        assert manifest.sharding is not None
        self.kernels = "onnxruntime"
        self._directory, self._manifest, self._cache, self._threads = directory, manifest, cache, threads
        self._lock = threading.RLock()  # held while ranks start
        self._stop = threading.Event()
        self._count = 0
        self._number = 0
        self._group: Group | None = None
        self._started()

    @classmethod
    def open(
        cls,
        directory: Path,
        manifest: Manifest,
        *,
        cache: Path,
        threads: int | None = None,
        provider: Provider = "cpu",
    ) -> Ranks:
        """threads: of all ranks together, None chooses by the machine. Raises ModelError when it cannot run here."""
        assert manifest.sharding is not None
        ranks, device = manifest.sharding.ranks, manifest.sharding.device
        if sys.platform == "win32":
            raise ModelError(f"{manifest.name} is sharded, and ranks run on Linux and macOS alone; use another model")
        if importlib.util.find_spec("torch") is None:
            raise ModelError(f"{manifest.name} is sharded over {ranks} ranks, which need torch; {_CURE}")
        if device != provider:
            raise ModelError(
                f"{manifest.name} is sharded for {device} and provider is {provider}; set provider to {device}, or "
                f"shard the model again with --device {'cpu' if provider == 'cpu' else 'cuda'}"
            )
        return cls(directory, manifest, cache, max(1, (threads or default_threads()) // ranks))

    @property
    def pids(self) -> list[int]:
        """The processes of the ranks, in their order. Raises RankError when they cannot be started."""
        return self._current().pids

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""
        return self._manifest.shape.vocab_size

    @property
    def context_length(self) -> int:
        """The most tokens that one store holds."""
        return self._manifest.shape.context_length

    @property
    def few(self) -> int:
        """Up to this many tokens `decode` is quicker than `prefill`."""
        return _FEW

    @property
    def slot_bytes(self) -> int:
        """What a store takes of all ranks together once it is full; heads that several ranks hold count each time."""
        shape, sharding = self._manifest.shape, self._manifest.sharding
        assert sharding is not None
        heads = sum(len(partition.kv_heads) for partition in partitions(shape, sharding.ranks))
        numbers = 2 * shape.layers * heads * shape.context_length * shape.head_size
        return numbers * (2 if sharding.device == "cuda" else 4)

    def new_slots(self, count: int) -> list[RankSlot]:
        """See Backend.new_slots."""
        self._count = count
        self._current().ask(NewSlots(count))
        return [RankSlot(number, group=self._number) for number in range(count)]

    def copy(self, source: RankSlot, target: RankSlot, length: int) -> None:
        """The first `length` positions of source, into target."""
        group = self._current()
        if source.group == self._number:
            group.ask(Copy(source.row, target.row, length))
        target.tokens, target.group = source.tokens[:length], source.group

    def prefill(self, slot: RankSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> None:
        """See Backend.prefill; cancelled before a run, never in the midst of one."""
        self._run([slot], [list(tokens)], [start], 1, cancel)

    def decode(self, slot: RankSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """See Backend.decode."""
        logits: Logits = self._run([slot], [list(tokens)], [start], 1, cancel)[0]
        return logits

    def verify(self, slot: RankSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """See Backend.verify."""
        return self._run([slot], [list(tokens)], [start], len(tokens), cancel)

    def decode_batch(
        self, slots: Sequence[RankSlot], tokens: Sequence[int], starts: Sequence[int], cancel: Cancel
    ) -> Logits:
        """See Backend.decode_batch."""
        return self._run(slots, [[token] for token in tokens], starts, 1, cancel)

    def close(self) -> None:
        """Ends the ranks."""
        self._stop.set()
        with self._lock:
            if self._group is not None:
                self._group.close()

    def _run(
        self, slots: Sequence[RankSlot], tokens: list[list[int]], starts: Sequence[int], rows: int, cancel: Cancel
    ) -> Logits:
        """Logits [B·rows, V]: each rank's lie side by side."""
        assert max(starts) + len(tokens[0]) <= self.context_length, (starts, len(tokens[0]))
        _check(cancel)
        group = self._current()
        for slot, start in zip(slots, starts, strict=True):
            self._replay(group, slot, start, cancel)
        answers = group.ask(Run([slot.row for slot in slots], tokens, list(starts), rows))
        for slot, start, new in zip(slots, starts, tokens, strict=True):
            slot.tokens[start:] = new
        parts = [np.frombuffer(one.logits, np.float32).reshape(len(slots) * rows, -1) for one in answers]
        found: Logits = np.concatenate(parts, axis=-1)
        return found

    def _replay(self, group: Group, slot: RankSlot, length: int, cancel: Cancel) -> None:
        """Has the ranks read what only their predecessors had read."""
        if slot.group == self._number:
            return
        for start in range(0, length, _CHUNK):
            _check(cancel)
            group.ask(Run([slot.row], [slot.tokens[start : min(start + _CHUNK, length)]], [start], 1))
        slot.group = self._number

    def _current(self) -> Group:
        """The ranks, started anew where they were lost; waits while they start."""
        with self._lock:
            return self._started() if self._group is None or self._group.fault is not None else self._group

    def _started(self) -> Group:
        assert self._manifest.sharding is not None
        if self._group is not None:
            self._group.close()
        self._group = None
        group = Group(self._directory, self._cache, self._manifest.sharding.ranks, self._threads, self._stop)
        self._group, self._number = group, self._number + 1
        if self._count:
            group.ask(NewSlots(self._count))
        group.watch(lambda: self._lost(group))
        return group

    def _lost(self, group: Group) -> None:
        """On a thread of the group's: starts another, unless that has been done or this one died at its very start."""
        log.error("%s", group.fault)
        with self._lock:
            if self._group is not group or self._stop.is_set() or time.monotonic() - group.since < _REST:
                return
            try:
                self._started()
            except RankError as error:  # whoever asks next tries again and is told
                log.error("the ranks do not start: %s", error)


def _check(cancel: Cancel) -> None:
    if cancel.is_set:
        raise Cancelled("cancelled before the run")
