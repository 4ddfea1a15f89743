"""Graphs in the order of ONNX Runtime's kernels say what they said before, and are what is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend, loaded
from model_runtime.engine.sampling import Logits
from model_runtime.errors import ModelError
from model_runtime.graph import derived_graphs, graph, prepacked
from model_runtime.graph.storage import load
from tests import tiny
from tests.runtime.conftest import Precision, hybrid
from tests.runtime.graph.test_graph import TOKENS, feed

pytestmark = pytest.mark.usefixtures("kernels_of_onnxruntime")


def said(backend: OnnxBackend) -> Logits:
    return feed(backend, backend.new_slots(1)[0], TOKENS, 0)


def plain(directory: Path, folder: Path) -> OnnxBackend:
    """The same model without any of it."""
    folder.mkdir()
    graph.write(folder / "columns.onnx", tiny.SHAPE, graph.read_weights(directory, tiny.SHAPE), "columns")
    generate, prefill = loaded(directory / graph.GRAPH, 2), loaded(folder / "columns.onnx", 2)
    return OnnxBackend(manifest.read(directory), generate, prefill)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_network_is_the_same_to_the_bit(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision
) -> None:
    directory = tiny_model(precision)
    expected = said(plain(directory, tmp_path / "plain"))
    for _ in ("made", "kept"):
        backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path / "cache", threads=2)
        assert np.array_equal(said(backend), expected)
    made = sorted(one.name.partition("-")[0] for one in (tmp_path / "cache").glob("*.onnx"))
    assert made == ["generate", "prefill"]


def test_all_of_it_begins_where_kernels_look_for_it(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    prepacked.write(tiny_model("int4") / graph.GRAPH, tmp_path / "made.onnx")
    found = {
        key: int(offset)
        for tensor in load(tmp_path / "made.onnx").graph.initializer
        for key, offset in _offsets(tensor.name, {pair.key: pair.value for pair in tensor.external_data})
    }
    assert sum(key.endswith("prepacked_0") for key in found) >= 2 * 4  # matrices of two layers
    assert all(offset % 64 == 0 for offset in found.values())


def _offsets(name: str, where: dict[str, str]) -> list[tuple[str, str]]:
    blobs = [(f"{name} {key}", blob) for key, value in where.items() if "|" in value for blob in value.split("|")[1:]]
    plain = [(name, where["offset"])] if where else []
    return plain + [(key, blob.split(";")[0]) for key, blob in blobs]


def test_one_that_says_something_else_is_not_used(
    tiny_model: Callable[[Precision], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory, times = tiny_model("int4"), iter(range(100))
    monkeypatch.setattr(prepacked, "_said", lambda session: [np.array(next(times))])
    with pytest.raises(ModelError, match="is another network once it is prepacked"):
        prepacked.write(directory / graph.GRAPH, tmp_path / "made.onnx")
    with caplog.at_level(logging.INFO):
        backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path / "cache", threads=2)
    assert "is not made: " in caplog.text
    made = {one.name.partition("-")[0] for one in (tmp_path / "cache").iterdir()}
    assert made == {"columns"}
    assert np.array_equal(said(backend), said(plain(directory, tmp_path / "plain")))


def test_what_a_model_brings_along_is_prepacked_too(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, described = hybrid(tiny_model("int4"), tmp_path / "model")
    path = derived_graphs.prefill(directory, described, tmp_path / "cache")
    assert isinstance(path, Path) and path.parent == tmp_path / "cache"
    assert derived_graphs.prefill(directory, manifest.read(directory), tmp_path / "cache") != path
    monkeypatch.setattr(derived_graphs, "_MOST", 0)
    assert derived_graphs.prefill(directory, described, tmp_path / "none") == directory / graph.PREFILL


def test_large_models_generate_from_memory_of_their_own(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tiny_model("int4")
    monkeypatch.setattr(derived_graphs, "LARGE", 1000)
    assert derived_graphs.generate(directory, manifest.read(directory), tmp_path) == directory / graph.GRAPH
    assert derived_graphs.generate(tiny_model("fp32"), manifest.read(tiny_model("fp32")), tmp_path).name == graph.GRAPH
    assert not list(tmp_path.iterdir())


def test_on_another_processor_it_is_made_anew(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tiny_model("int8")
    described = manifest.read(directory)
    first = derived_graphs.generate(directory, described, tmp_path)
    monkeypatch.setattr(derived_graphs.kernels, "processor", lambda: frozenset({"avx2", "avx512_vnni"}))
    assert derived_graphs.generate(directory, described, tmp_path) != first
