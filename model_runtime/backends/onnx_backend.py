"""A model directory in, a Backend out: the network in ONNX Runtime, on the processor or a graphics processor.

Two sessions share the sequences' keys and values: *generate* (blocks of integers, quick for
few tokens) and *prefill* (columns of integers, quick for many), see `derived`. On a graphics processor one session
does both, and so it does with kernels of our own, see `kernels`. Knows nothing of text.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model_runtime.backends import huge_pages, providers
from model_runtime.backends.device_kv_pool import DeviceKVPool
from model_runtime.backends.kv_pool import KVPool, KVSlot
from model_runtime.backends.providers import Chosen, Provider
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import Cancelled, ModelError
from model_runtime.graph import derived_graphs, graph, kernels
from model_runtime.manifest import Manifest, Shape

# Attention in tiles saves memory that chunks of a prompt do not need, and takes a quarter longer to read them.
os.environ.setdefault("ORT_GQA_DISABLE_FLASH_ATTENTION", "1")

CPU: tuple[Chosen, ...] = (("CPUExecutionProvider", {}),)
_FEW = 12  # tokens up to which the generate kernels beat the prefill kernels
_FEW_IN_ONE = 32  # the same where they are the same kernels, and what is saved is a run
_CHECKED = 16  # tokens at most that are followed by logits each
_BOUND = 256  # bindings kept of either kind: 18 KB each, and made in a tenth of the time of a run


@dataclass(frozen=True)
class _Step:
    """A run of one token for each of some stores side by side: its binding, and the arrays it reads and writes."""

    binding: ort.IOBinding
    tokens: NDArray[np.int64]  # [B, 1]
    length: NDArray[np.int32]  # [B]
    total: NDArray[np.int32]  # []
    logits: Logits  # [B, V]

    def bind(self) -> None:
        """Names what is read; on the processor that shares the memory."""
        for name, value in (("tokens", self.tokens), ("length", self.length), ("total", self.total)):
            self.binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))


class OnnxBackend:
    """Runs the network once at a time; not to be called from two threads at once."""

    def __init__(
        self,
        manifest: Manifest,
        generate: ort.InferenceSession,
        prefill: ort.InferenceSession,
        pool: Callable[[int], KVPool] | None = None,
    ) -> None:
        self.kernels = "onnxruntime"
        self._shape = manifest.shape
        self._generate, self._prefill = generate, prefill
        self._new_pool = pool or partial(KVPool, manifest.shape)
        self._pool = self._new_pool(1)
        self._logits = np.zeros((_CHECKED, self.vocab_size), np.float32)
        self._step, self._many = lru_cache(_BOUND)(self._new_step), lru_cache(_BOUND)(self._new_many)
        self._is_silent = all(one.name != "logits" for one in prefill.get_outputs())
        self._enlarging: threading.Timer | None = None
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", "0")  # the default; left out, each run raises and catches

    @classmethod
    def open(
        cls,
        directory: Path,
        manifest: Manifest,
        *,
        cache: Path,
        threads: int | None = None,
        provider: Provider = "cpu",
    ) -> OnnxBackend:
        """threads: None chooses by the machine.

        Raises ModelError when the stored graph cannot be loaded or the provider cannot be had.
        """
        count = threads or default_threads()
        if provider != "cpu":
            chosen = providers.chosen(provider, cache)
            session = loaded(derived_graphs.device(directory, manifest, cache), count, chosen)
            providers.check(session, provider)
            return cls.on_device(manifest, session, "cuda", chosen)
        _check(directory, manifest.shape)
        library = kernels.library(cache) if manifest.weights in ("int8", "int4") else None
        packed = derived_graphs.packed(directory, manifest, cache) if library is not None else None
        if library is not None and packed is not None:
            generate = loaded(packed, count, library=library)
            in_bytes = generate.get_inputs()[-1].type == "tensor(uint8)"  # keys and values come last
            backend = cls(manifest, generate, generate, partial(KVPool, manifest.shape, in_bytes=in_bytes))
            backend.kernels = library.stem
            return backend
        generate = loaded(derived_graphs.generate(directory, manifest, cache), count)
        if manifest.prefill == "same" or manifest.weights in ("fp32", "fp16"):
            prefill = generate
        else:
            prefill = loaded(derived_graphs.prefill(directory, manifest, cache), count)
        is_large = (directory / graph.DATA).stat().st_size >= derived_graphs.LARGE  # else they are mapped
        enlarging = (
            huge_pages.enlarge() if is_large else None
        )  # of what there is: untouched keys and values cost nothing
        backend = cls(manifest, generate, prefill)
        backend._enlarging = enlarging
        return backend

    @classmethod
    def on_device(
        cls, manifest: Manifest, session: ort.InferenceSession, device: str, chosen: list[Chosen]
    ) -> OnnxBackend:
        """One session in half precision, its keys and values in that device's memory."""
        pool = partial(DeviceKVPool, manifest.shape, device=device, providers=chosen)
        return cls(manifest, session, session, pool)

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""
        return self._shape.vocab_size

    @property
    def context_length(self) -> int:
        """The most tokens that one store holds."""
        return self._shape.context_length

    @property
    def few(self) -> int:
        """Up to this many tokens `decode` is quicker than `prefill`."""
        return _FEW_IN_ONE if self._prefill is self._generate else _FEW

    @property
    def slot_bytes(self) -> int:
        """What a slot takes once it is full."""
        return self._pool.slot_bytes

    @property
    def _on_device(self) -> bool:
        return isinstance(self._pool, DeviceKVPool)

    def new_slots(self, count: int) -> list[KVSlot]:
        """See Backend.new_slots."""
        self._pool = self._new_pool(count)
        self._logits = np.zeros((max(count, _CHECKED), self.vocab_size), np.float32)  # untouched rows cost nothing
        self._forget_bindings()
        return self._pool.slots

    def copy(self, source: KVSlot, target: KVSlot, length: int) -> None:
        """The first `length` positions of source, into target."""
        self._pool.copy(source, target, length)

    def prefill(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> None:
        """See Backend.prefill."""
        self._run_many(self._prefill, slot, tokens, start, cancel, rows=0 if self._is_silent else 1)

    def decode(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """See Backend.decode."""
        if len(tokens) == 1:
            self.decode_batch([slot], tokens, [start], cancel)
        else:
            self._run_many(self._generate, slot, tokens, start, cancel)
        logits: Logits = self._logits[0].copy()  # the next run writes over the buffer
        return logits

    def verify(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """See Backend.verify."""
        self._run_many(self._generate, slot, tokens, start, cancel, rows=len(tokens))
        return self._logits[: len(tokens)]  # whoever chooses tokens is done with them before the next run

    def decode_batch(
        self, slots: Sequence[KVSlot], tokens: Sequence[int], starts: Sequence[int], cancel: Cancel
    ) -> Logits:
        """See Backend.decode_batch."""
        first, count = self._pool.gather(slots), len(slots)
        step = self._step(first, count)
        order = [slot.row - first for slot in slots]
        step.tokens[order, 0] = tokens
        step.length[order] = starts
        step.total[...] = max(starts) + 1
        if self._on_device:  # what is bound is copied there and then
            step.bind()
        self._run(self._generate, step.binding, cancel)
        for slot, start in zip(slots, starts, strict=True):
            slot.length = start + 1
        if count == 1:
            return step.logits  # whoever chooses a token is done with them before the next run
        logits: Logits = step.logits[order]
        return logits

    def close(self) -> None:
        """Gives memory and threads back; the backend is of no use afterwards."""
        if self._enlarging is not None:
            self._enlarging.cancel()
        self._forget_bindings()
        del self._generate, self._prefill

    def _forget_bindings(self) -> None:
        self._step.cache_clear()
        self._many.cache_clear()

    def _new_step(self, first: int, count: int) -> _Step:
        binding = self._generate.io_binding()
        self._pool.bind(binding, first, count)
        step = _Step(
            binding,
            np.zeros((count, 1), np.int64),
            np.zeros(count, np.int32),
            np.zeros((), np.int32),
            self._logits[:count],
        )
        binding.bind_cpu_input("rows", np.arange(count))
        step.bind()
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(step.logits))
        return step

    def _new_many(self, row: int, rows: int, is_prefill: bool) -> ort.IOBinding:
        binding = (self._prefill if is_prefill else self._generate).io_binding()
        self._pool.bind(binding, row, 1)
        if rows:
            binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits[:rows]))
        return binding

    def _run_many(
        self,
        session: ort.InferenceSession,
        slot: KVSlot,
        tokens: Sequence[int],
        start: int,
        cancel: Cancel,
        rows: int = 1,
    ) -> None:
        """Tokens of one sequence at once; logits after the last `rows` of them, of which a silent graph has none."""
        total = start + len(tokens)
        assert start < total <= self.context_length, (start, total, self.context_length)
        binding = self._many(slot.row, rows, session is self._prefill)
        binding.bind_cpu_input("tokens", np.array([tokens], np.int64))
        if rows:
            binding.bind_cpu_input("rows", np.arange(len(tokens) - rows, len(tokens)))
        binding.bind_cpu_input("length", np.array([total - 1], np.int32))
        binding.bind_cpu_input("total", np.array(total, np.int32))
        self._run(session, binding, cancel)
        slot.length = total

    def _run(self, session: ort.InferenceSession, binding: ort.IOBinding, cancel: Cancel) -> None:
        options = self._options
        options.terminate = False

        def interrupt() -> None:
            options.terminate = True

        cancel.watch(interrupt)
        try:
            if cancel.is_set:
                raise Cancelled("cancelled before the run")
            session.run_with_iobinding(binding, options)
        except Cancelled:
            raise
        except Exception as error:  # ONNX Runtime raises bare kinds of its own
            if cancel.is_set:
                raise Cancelled("cancelled in the midst of a run") from error
            said = " ".join(str(error).split())  # in lines of its own
            raise ModelError(f"the model cannot be run: {said}; run: lacuna doctor") from error
        finally:
            cancel.watch(None)


def default_threads() -> int:
    """All of two cores, most of more: the editor keeps one from three on, and eight are enough."""
    cores = _cores()
    return max(1, min(8, cores if cores <= 2 else cores - 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loaded(
    source: Path | bytes, threads: int, chosen: Sequence[Chosen] = CPU, library: Path | None = None
) -> ort.InferenceSession:
    """A graph, ready to run. library: of operators that are not ONNX Runtime's. Raises ModelError when it can't be."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = min(threads, _cores())  # more would wait for each other, some hundred for minutes
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # two sessions' spinning would fight
    options.add_session_config_entry("session.prepack.enable_parallel", "1")  # loads in two thirds of the time
    try:
        if library is not None:
            options.register_custom_ops_library(str(library))
        return ort.InferenceSession(
            source if isinstance(source, bytes) else str(source), options, providers=list(chosen)
        )
    except Exception as error:  # ONNX Runtime raises bare kinds of its own
        where = "a derived graph" if isinstance(source, bytes) else str(source)
        raise ModelError(f"ONNX Runtime cannot load {where}: {error}; restore the model directory") from error


def _check(directory: Path, shape: Shape) -> None:
    """Whether the stored graph is this network's, by its inputs and outputs."""
    ends = graph.ends(directory / graph.GRAPH)
    wanted = {f"past.{layer}.{part}" for layer in range(shape.layers) for part in ("key", "value")}
    found = {name for name in ends if name.startswith("past.")}
    cache = next((ends[name] for name in sorted(found)), None)
    fits = cache is not None and (cache[1], cache[3]) == (shape.kv_heads, shape.head_size)
    if found != wanted or not fits or "logits" not in ends or ends["logits"][-1] != shape.vocab_size:
        raise ModelError(
            f"{directory / graph.GRAPH} is the graph of another model than manifest.json describes; "
            "restore the model directory"
        )
