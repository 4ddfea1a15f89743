"""A model directory in, a Backend out: the network in ONNX Runtime, on the CPU.

Two sessions share one sequence's keys and values: *generate* (blocks of integers, quick for
few tokens) and *prefill* (columns of integers, quick for many), see `derived`. Knows nothing
of text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model_runtime import derived, graph
from model_runtime.errors import Cancelled, ModelError
from model_runtime.manifest import Manifest, Shape
from model_runtime.sampling import Logits
from model_runtime.sequence import Cancel

_FEW = 12  # tokens up to which the generate kernels beat the prefill kernels


@dataclass(frozen=True)
class KeysAndValues:
    """One sequence's buffers, [1, KV, max, head] each, with the bindings that name them; logits: [1, V]."""

    buffers: dict[str, ort.OrtValue]
    logits: ort.OrtValue
    generate: ort.IOBinding
    prefill: ort.IOBinding


class OnnxBackend:
    """Runs one sequence at a time; not to be called from two threads at once."""

    def __init__(self, manifest: Manifest, generate: ort.InferenceSession, prefill: ort.InferenceSession) -> None:
        self._shape = manifest.shape
        self._generate, self._prefill = generate, prefill
        self._options: ort.RunOptions | None = None

    @classmethod
    def open(cls, directory: Path, manifest: Manifest, *, cache: Path, threads: int | None = None) -> OnnxBackend:
        """Raises ModelError when the stored graph cannot be loaded. threads: None chooses by the machine."""
        count = threads or default_threads()
        generate = _session(directory / graph.GRAPH, count)
        _check_inputs(directory, generate, manifest.shape)
        if manifest.prefill == "same" or manifest.weights in ("fp32", "fp16"):
            return cls(manifest, generate, generate)
        return cls(manifest, generate, _session(derived.prefill(directory, manifest, cache), count))

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
        """Up to this many tokens `step` is quicker than `extend`."""
        return _FEW

    def new_store(self) -> KeysAndValues:
        """Empty keys and values for one sequence."""
        shape = self._shape
        size = (1, shape.kv_heads, shape.context_length, shape.head_size)
        buffers = {
            f"{layer}.{part}": ort.OrtValue.ortvalue_from_numpy(np.zeros(size, np.float32))
            for layer in range(shape.layers)
            for part in ("key", "value")
        }
        logits = ort.OrtValue.ortvalue_from_numpy(np.zeros((1, self.vocab_size), np.float32))
        bindings = [session.io_binding() for session in (self._generate, self._prefill)]
        for binding in bindings:
            binding.bind_ortvalue_output("logits", logits)
            for name, value in buffers.items():
                binding.bind_ortvalue_input(f"past.{name}", value)
                binding.bind_ortvalue_output(f"present.{name}", value)  # the same memory: written in place
        return KeysAndValues(buffers, logits, *bindings)

    def copy(self, source: KeysAndValues, target: KeysAndValues, length: int) -> None:
        """The first `length` positions of source, into target."""
        for name, value in source.buffers.items():
            target.buffers[name].numpy()[:, :, :length] = value.numpy()[:, :, :length]

    def extend(self, store: KeysAndValues, tokens: Sequence[int], start: int, cancel: Cancel) -> None:
        """See Backend.extend."""
        self._run(self._prefill, store.prefill, tokens, start, cancel)

    def step(self, store: KeysAndValues, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """See Backend.step."""
        self._run(self._generate, store.generate, tokens, start, cancel)
        found: Logits = store.logits.numpy()[0].copy()  # the next run writes over the buffer
        return found

    def close(self) -> None:
        """Gives memory and threads back; the backend is of no use afterwards."""
        del self._generate, self._prefill

    def _run(
        self, session: ort.InferenceSession, binding: ort.IOBinding, tokens: Sequence[int], start: int, cancel: Cancel
    ) -> None:
        total = start + len(tokens)
        assert start < total <= self.context_length, (start, total, self.context_length)
        _bind(binding, "tokens", np.array([tokens], np.int64))
        _bind(binding, "rows", np.array([len(tokens) - 1], np.int64))
        _bind(binding, "length", np.array([total - 1], np.int32))
        _bind(binding, "total", np.array(total, np.int32))
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "0")  # the default; left out, each run raises and catches an error

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
            raise ModelError(f"the model cannot be run: {error}; run: lacuna doctor") from error
        finally:
            cancel.watch(None)


def default_threads() -> int:
    """All of two cores, most of more: the editor keeps one from three on, and eight are enough."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores if cores <= 2 else cores - 1))


def _bind(binding: ort.IOBinding, name: str, value: NDArray[np.int64] | NDArray[np.int32]) -> None:
    binding.bind_cpu_input(name, value)


def _session(source: Path | bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # two sessions' spinning would fight
    try:
        return ort.InferenceSession(
            source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises bare kinds of its own
        where = "a derived graph" if isinstance(source, bytes) else str(source)
        raise ModelError(f"ONNX Runtime cannot load {where}: {error}; restore the model directory") from error


def _check_inputs(directory: Path, session: ort.InferenceSession, shape: Shape) -> None:
    names = {one.name: one.shape for one in session.get_inputs()}
    wanted = {f"past.{layer}.{part}" for layer in range(shape.layers) for part in ("key", "value")}
    found = {name for name in names if name.startswith("past.")}
    cache = next((names[name] for name in sorted(found)), None)
    if found != wanted or cache is None or (cache[1], cache[3]) != (shape.kv_heads, shape.head_size):
        raise ModelError(
            f"{directory / graph.GRAPH} is the graph of another model than manifest.json describes; "
            "restore the model directory"
        )
