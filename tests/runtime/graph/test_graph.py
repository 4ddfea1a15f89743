"""The graph against the same network in plain numpy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx
import pytest

from model_runtime import manifest
from model_runtime.backends.kv_pool import KVSlot
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import ModelError
from model_runtime.graph import derived_graphs, graph, nodes
from model_runtime.graph.nodes import Nodes
from model_runtime.graph.storage import Stored
from tests import tiny
from tests.runtime.conftest import Precision

# Of the largest logit: without AVX-512 the kernels for 4 bits sum one row in another order than several, and where
# inputs are rounded to 8 bits the last bit of a sum may decide on a step; with random weights that grows. What else
# might differ is seen in a graph that does not round, see `unrounded`.
ROUNDED = 0.03

TOKENS = [int(token) for token in np.random.default_rng(1).integers(5, 260, 120)]


def _backend(directory: Path, cache: Path) -> OnnxBackend:
    return OnnxBackend.open(directory, manifest.read(directory), cache=cache)


def feed(backend: OnnxBackend, store: KVSlot, tokens: Sequence[int], start: int) -> Logits:
    """As the engine does: all but the last token in the prefill kernels."""
    if len(tokens) > backend.few:
        backend.prefill(store, tokens[:-1], start, Cancel())
        start, tokens = start + len(tokens) - 1, tokens[-1:]
    return backend.decode(store, tokens, start, Cancel())


def unrounded(source: Path, target: Path) -> Path:
    """A model directory whose integers multiply inputs as they are, instead of rounded to 8 bits."""
    shutil.copytree(source, target)
    model = onnx.load(target / graph.GRAPH, load_external_data=False)
    for attribute in (one for node in model.graph.node for one in node.attribute):
        if attribute.name == "accuracy_level":
            attribute.i = 1  # float32
    (target / graph.GRAPH).write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("int8", 0.03), ("int4", 0.25)])
def test_logits_are_those_of_the_reference(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision, bound: float
) -> None:
    backend = _backend(tiny_model(precision), tmp_path)
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    expected = tiny.logits(tiny.weights(), TOKENS)[-1]
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def test_chunks_of_any_size_give_the_logits_of_one_run(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    backend = _backend(tiny_model("fp32"), tmp_path)
    first, store = backend.new_slots(2)
    whole, start = feed(backend, first, TOKENS, 0), 0
    for size in (1, 2, 64, 1, 13, 39):
        logits = feed(backend, store, TOKENS[start : start + size], start)
        start += size
    assert start == len(TOKENS)
    assert np.abs(logits - whole).max() <= 1e-3


@pytest.mark.usefixtures("kernels_of_onnxruntime")
@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("int8", True), ("int4", False), ("int4", True)])
def test_tokens_that_are_checked_at_once_have_the_logits_of_each_alone(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision, rounds: bool
) -> None:
    made = tiny_model(precision)
    backend = _backend(made if rounds else unrounded(made, tmp_path / "model"), tmp_path)
    store = backend.new_slots(1)[0]
    feed(backend, store, TOKENS[:40], 0)
    alone = [backend.decode(store, [token], 40 + at, Cancel()) for at, token in enumerate(TOKENS[40:56])]
    bound = ROUNDED * np.abs(np.stack(alone)).max() if precision == "int4" and rounds else 1e-4
    for count in (16, 3):
        checked = backend.verify(store, TOKENS[40 : 40 + count], 40, Cancel())
        assert np.abs(checked - np.stack(alone[:count])).max() <= bound


def test_a_prompt_is_read_without_what_only_its_logits_need(
    tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    directory = tiny_model("int8")
    path = derived_graphs.prefill(directory, manifest.read(directory), tmp_path)
    assert isinstance(path, Path)
    kept = set(Stored(path))
    assert {"layers.0.down.weight.columns", "layers.1.qkv.weight.columns"} <= kept
    assert not {"layers.1.o.weight.columns", "layers.1.up.weight.columns", "norm.weight"} & kept


@pytest.mark.usefixtures("kernels_of_onnxruntime")
def test_a_prefill_graph_that_says_something_still_serves(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tiny.logits(tiny.weights(), TOKENS)[-1]
    monkeypatch.setattr(Nodes, "is_silent", False)  # as graphs were before
    backend = _backend(tiny_model("int8"), tmp_path)
    assert {one.name for one in backend._prefill.get_outputs()} > {"logits"}
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    assert np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()


def test_going_back_and_writing_over_is_exact(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    backend = _backend(tiny_model("int8"), tmp_path)
    store = backend.new_slots(1)[0]
    feed(backend, store, TOKENS[:60], 0)
    first = feed(backend, store, TOKENS[60:], 60)
    feed(backend, store, TOKENS[:40], 60)  # other text over the tail
    assert np.array_equal(first, feed(backend, store, TOKENS[60:], 60))


def test_a_copied_prefix_goes_on_exactly(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    backend = _backend(tiny_model("int8"), tmp_path)
    source, target = backend.new_slots(2)
    feed(backend, source, TOKENS[:80], 0)
    backend.copy(source, target, 80)
    on_copy = feed(backend, target, TOKENS[80:], 80)
    assert np.array_equal(on_copy, feed(backend, source, TOKENS[80:], 80))


def test_sequences_of_unequal_length_in_one_run_are_as_each_alone(
    tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    backend = _backend(tiny_model("fp32"), tmp_path)
    stores = backend.new_slots(6)
    lengths = {5: 31, 0: 64, 3: 97}  # not side by side, so that some have to move
    for row, length in lengths.items():
        feed(backend, stores[row], TOKENS[:length], 0)
    feed(backend, stores[1], TOKENS[:90], 0)  # in their way
    asked = [stores[row] for row in lengths]
    for ahead in range(3):
        starts = [length + ahead for length in lengths.values()]
        found = backend.decode_batch(asked, [TOKENS[start] for start in starts], starts, Cancel())
    for logits, length in zip(found, lengths.values(), strict=True):
        assert np.abs(logits - tiny.logits(tiny.weights(), TOKENS[: length + 3])[-1]).max() <= 1e-3
    on = feed(backend, stores[1], TOKENS[90:], 90)
    assert np.abs(on - tiny.logits(tiny.weights(), TOKENS)[-1]).max() <= 1e-3


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_stored_weights_can_be_read_back(tmp_path: Path, precision: Precision) -> None:
    weights = tiny.weights()
    graph.write_model(tmp_path, tiny.SHAPE, weights, precision)
    found = graph.read_weights(tmp_path, tiny.SHAPE)
    assert found.keys() == weights.keys()
    bound = {"fp32": 0.0, "int8": 0.02, "int4": 0.4}[precision]
    for name, value in weights.items():
        assert np.abs(found[name] - value).max() <= bound * np.abs(value).max(), name


@pytest.mark.parametrize("block", [32, 128])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_blocks_short_and_long_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["int8", "int4"], block: int
) -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, hidden_size=128, ffn_size=256)
    described = msgspec.structs.replace(manifest.read(tiny.write(tmp_path)), shape=shape, prefill="same")
    random = np.random.default_rng(3)
    weights = {name: np.ones(length, np.float32) for name, length in graph.vector_names(shape).items()}
    for name, (rows, width) in graph.matrix_names(shape).items():
        weights[name] = random.standard_normal((rows, width), np.float32) / np.float32(np.sqrt(width))
    monkeypatch.setattr(nodes, "wide", lambda width: block)
    graph.write_model(tmp_path, shape, weights, precision)
    codes = Stored(tmp_path / graph.GRAPH)["layers.0.down.weight.codes"]
    assert codes.shape == (128, 256 // block, block * int(precision[3]) // 8)
    read = graph.read_weights(tmp_path, shape)
    expected = tiny.logits(read, TOKENS, shape)[-1]
    backend = OnnxBackend.open(tmp_path, described, cache=tmp_path / "cache")
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


@pytest.mark.usefixtures("kernels_of_onnxruntime")
@pytest.mark.parametrize("qk_norm", [True, False])
def test_a_model_whose_matrices_are_apart_says_the_same_as_one_that_stacks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qk_norm: bool
) -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, qk_norm=qk_norm, biases=("q", "v"))
    weights = tiny.weights() | {
        name: np.linspace(-1, 1, length, dtype=np.float32)
        for name, length in graph.vector_names(shape).items()
        if name.endswith(".bias")
    }
    described = msgspec.structs.replace(
        manifest.read(tiny.write(tmp_path / "apart", precision="int4")), shape=shape, prefill="same"
    )
    for name, in_stacks in (("stacked", True), ("apart", False)):
        monkeypatch.setattr(Nodes, "in_stacks", in_stacks)
        graph.write_model(tmp_path / name, shape, weights, "int4")
    stacked, apart = (graph.read_weights(tmp_path / name, shape) for name in ("stacked", "apart"))
    assert "layers.1.qkv.weight.codes" in Stored(tmp_path / "stacked" / graph.GRAPH)
    assert stacked.keys() == apart.keys() == graph.sizes(shape).keys()
    for name in stacked:
        assert np.allclose(stacked[name], apart[name], rtol=1e-6, atol=0), name
    for rounds, bound in ((False, 1e-4), (True, ROUNDED)):
        made = [tmp_path / name for name in ("stacked", "apart")]
        used = made if rounds else [unrounded(one, one.with_name(f"{one.name}-unrounded")) for one in made]
        backends = [OnnxBackend.open(one, described, cache=tmp_path / "cache") for one in used]
        one, other = (feed(backend, backend.new_slots(1)[0], TOKENS, 0) for backend in backends)
        assert np.abs(one - other).max() <= bound * np.abs(other).max()


def test_a_missing_tensor_is_named() -> None:
    weights = tiny.weights()
    del weights["layers.1.up.weight"]
    with pytest.raises(ModelError, match=r"no tensor layers\.1\.up\.weight"):
        graph.build(tiny.SHAPE, weights, "int8")


def test_a_tensor_of_another_shape_is_named() -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, ffn_size=128)
    with pytest.raises(ModelError, match=r"gate\.weight is \[96, 64\], the manifest wants \[128, 64\]"):
        graph.build(shape, tiny.weights(), "int8")


def test_weights_that_are_no_numbers_are_refused() -> None:
    weights = tiny.weights()
    weights["layers.0.q.weight"][3, 3] = np.nan
    with pytest.raises(ModelError, match=r"layers\.0\.q\.weight holds values that are no numbers"):
        graph.build(tiny.SHAPE, weights, "int8")
