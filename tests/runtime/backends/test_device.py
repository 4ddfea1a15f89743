"""The network in half precision with its keys and values behind addresses: as on a graphics processor, on this one.

What needs a graphics processor itself is marked `gpu`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from model_runtime import manifest
from model_runtime.backends import providers
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.errors import ModelError
from model_runtime.graph import derived_graphs
from model_runtime.opening import open_engine
from tests import tiny
from tests.runtime.conftest import Precision
from tests.runtime.graph.test_graph import TOKENS, feed

CPU = [("CPUExecutionProvider", {})]


def on_this_machine(directory: Path, cache: Path) -> OnnxBackend:
    described = manifest.read(directory)
    path = derived_graphs.device(directory, described, cache)
    session = ort.InferenceSession(str(path), providers=CPU)
    return OnnxBackend.on_device(described, session, "cpu", CPU)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 0.01), ("int8", 0.03), ("int4", 0.25)])
def test_logits_in_half_precision_are_those_of_the_reference(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision, bound: float
) -> None:
    backend = on_this_machine(tiny_model(precision), tmp_path)
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    expected = tiny.logits(tiny.weights(), TOKENS)[-1]
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def test_rows_are_copied_and_swapped_where_they_lie(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    backend = on_this_machine(tiny_model("fp32"), tmp_path)
    first, second, third = backend.new_slots(3)
    feed(backend, first, TOKENS[:60], 0)
    feed(backend, second, TOKENS[60:], 0)
    backend.copy(first, third, 60)
    alone = [backend.decode(store, [9], 60, Cancel()) for store in (first, second, third)]
    assert np.array_equal(alone[0], alone[2])
    together = backend.decode_batch([first, third], [9, 9], [60, 60], Cancel())  # not side by side: one has to move
    assert np.abs(together - [alone[0], alone[2]]).max() <= 0.02
    assert np.array_equal(backend.decode(second, [9], 60, Cancel()), alone[1])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_without_a_graphics_processor_the_cure_is_named(
    provider: providers.Provider, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime knows CUDA")
    with pytest.raises(ModelError, match=rf"provider is {provider}, .*ExecutionProvider; install .*gpu.* or set"):
        open_engine(tiny_model("int8"), cache=tmp_path, provider=provider)


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_a_graphics_processor_says_what_the_processor_says(
    provider: providers.Provider, precision: Precision, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime does not know CUDA; install the gpu extra on a machine with a driver")
    texts = []
    for where in ("cpu", provider):
        engine = open_engine(tiny_model(precision), cache=tmp_path, provider=where)
        *tokens, finish = engine.generate(Generation(tuple(TOKENS), max_tokens=16), Cancel())
        assert isinstance(finish, Finish)
        texts.append("".join(token.text for token in tokens if not isinstance(token, Finish)))
        engine.close()
    assert texts[0][:4] == texts[1][:4]
