"""Our own kernels: compiled here, beside the arithmetic they stand for, and in the network."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend, loaded
from model_runtime.engine.sequence import Cancel
from model_runtime.errors import ModelError
from model_runtime.graph import derived_graphs, graph, kernels
from model_runtime.graph.fused_matrices import StoredWeights
from model_runtime.graph.nodes import MICROSOFT, OWN
from model_runtime.graph.quantize import Blocks, Floats, from_blocks, packed, to_blocks
from model_runtime.graph.storage import Stored
from tests import tiny
from tests.runtime.conftest import Precision, hybrid
from tests.runtime.graph.test_graph import ROUNDED, TOKENS, feed

SANITIZED = "LACUNA_TEST_SANITIZED"  # set by `make test-sanitized`, which loads what the sanitizers need first
if SANITIZED in os.environ:  # floats may lie anywhere on these processors
    strict = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=alignment")
    kernels._FLAGS = (*kernels._FLAGS, *strict)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, whether or not this processor has better than it."""
    if not kernels.can_run():
        pytest.skip("this processor has no AVX2, which the kernels are written for")
    if kernels.compiler() is None:
        pytest.skip("no C compiler here; install gcc")
    made = kernels.compiled(folder := tmp_path_factory.mktemp("kernels"), folder)
    assert made is not None
    return made


LEVELS = {"avx2": 1, "vnni": 2, "vnni_vl": 3, "vnni_512": 4}  # `processor.h`


def choose(library: Path, level: int) -> int:
    """Has all sessions multiply so from now on, 0: as is best here; the level that is taken then."""
    taken: int = ctypes.CDLL(str(library)).lacuna_choose(level)
    return taken


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, library: Path) -> Iterator[str]:
    """Each way to multiply, where this processor has it."""
    if choose(library, LEVELS[request.param]) != LEVELS[request.param]:
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    choose(library, 0)


@pytest.fixture
def own(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where our own kernels serve."""
    monkeypatch.setattr(kernels, "library", lambda cache: library)


def product(
    library: Path, blocks: Blocks, outputs: int | None = None, block: int | None = None, threads: int = 2
) -> ort.InferenceSession:
    """x · matrixᵀ by the operator. outputs, block: as the node claims them, else as they are."""
    found = packed(blocks)
    matrix = {"codes": found.data, "scales": found.scales, "power": found.power}
    constants = [numpy_helper.from_array(array, name) for name, array in matrix.items()]
    attributes = {"N": outputs or len(blocks.data), "bits": blocks.bits, "block_size": block or blocks.block}
    attributes |= {"gated": 0, "epsilon": 1e-5}
    node = helper.make_node("MatMulPacked", ["x", *matrix], ["y"], domain=OWN, **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "T", None]) for name in "xy"]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1), helper.make_opsetid(OWN, 1)]
    made = helper.make_graph([node], "product", ends[:1], ends[1:], constants)
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    return loaded(model.SerializeToString(), threads, library=library)


def multiplied(session: ort.InferenceSession, x: Floats) -> Floats:
    """[T, K] → [T, N]."""
    found: Floats = session.run(None, {"x": x[None]})[0][0]
    return found


def expected(blocks: Blocks, x: Floats) -> Floats:
    """The same in numpy: x in bytes block by block, and the sums in whole numbers."""
    parts = x.reshape(len(x), -1, blocks.block)
    peaks = np.abs(parts).max(-1, keepdims=True)
    turned = np.float32(127) / np.where(peaks == 0, np.float32(1), peaks)
    rounded = np.rint(parts * turned)
    codes = np.rint(from_blocks(Blocks(blocks.bits, blocks.data, np.ones_like(blocks.scales))))
    sums = np.einsum("tbk,nbk->tnb", rounded, codes.reshape(len(codes), -1, blocks.block))
    power = packed(blocks).power
    scales = (blocks.scales / power).astype(np.float16) * power
    found: Floats = np.einsum("tnb,nb,tb->tn", sums, scales, peaks[..., 0] / 127).astype(np.float32)
    return found


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("outputs", "width", "block"), [(8, 32, 32), (40, 96, 32), (72, 384, 128), (264, 512, 256), (24, 2304, 96)]
)
def test_products_are_those_of_whole_numbers(library: Path, bits: int, outputs: int, width: int, block: int) -> None:
    random = np.random.default_rng(bits + width)
    blocks = to_blocks(random.standard_normal((outputs, width), np.float32), bits, block)
    session = product(library, blocks)
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 129):
        x = random.standard_normal((rows, width), np.float32) * random.lognormal(0, 3, (rows, 1)).astype(np.float32)
        wanted = expected(blocks, x)
        off = np.abs(multiplied(session, x) - wanted).max(axis=1) / np.abs(wanted).max(axis=1)
        assert off.max() <= 1e-5, rows


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("bits", [4, 8])
def test_a_row_is_the_same_whoever_is_beside_it(library: Path, bits: int) -> None:
    random = np.random.default_rng(3)
    session = product(library, to_blocks(random.standard_normal((72, 384), np.float32), bits, 128))
    x = random.standard_normal((37, 384), np.float32)
    whole = multiplied(session, x)
    for rows in (1, 3, 4, 7, 12, 13):
        assert np.array_equal(multiplied(session, x[:rows]), whole[:rows])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("width", "block"), [(96, 32), (512, 128), (2304, 256)])
def test_a_product_is_the_same_to_the_bit_on_every_processor(
    library: Path, level: str, bits: int, width: int, block: int
) -> None:
    random = np.random.default_rng(width)
    session = product(library, to_blocks(random.standard_normal((56, width), np.float32), bits, block))
    x = random.standard_normal((23, width), np.float32) * random.lognormal(0, 9, (23, 1)).astype(np.float32)
    found = multiplied(session, x)
    choose(library, LEVELS["avx2"])
    assert np.array_equal(found, multiplied(session, x)), level


@pytest.mark.parametrize("outputs", [8, 40, 96])
def test_any_number_of_threads_gives_the_same(library: Path, outputs: int) -> None:
    random = np.random.default_rng(1)
    blocks = to_blocks(random.standard_normal((outputs, 192), np.float32), 4, 32)
    x = random.standard_normal((31, 192), np.float32)
    found = [multiplied(product(library, blocks, threads=threads), x) for threads in (1, 2, 3, 8)]
    assert all(np.array_equal(one, found[0]) for one in found)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_there_can_be_are_not_cut(library: Path, bits: int, low: bool, sign: int) -> None:
    code = 0 if low else 255  # of 4 bits two: 0 or 15
    data = np.full((16, 2, 128 * bits // 8), code, np.uint8)
    blocks = Blocks(bits, data, np.ones((16, 2), np.float32))
    x = np.full((14, 256), sign * 3.0, np.float32)
    assert np.allclose(multiplied(product(library, blocks), x), x @ from_blocks(blocks).T, rtol=1e-6)


@pytest.mark.usefixtures("level")
def test_nothing_times_nothing(library: Path) -> None:
    session = product(library, to_blocks(np.ones((8, 64), np.float32), 4, 32))
    assert not multiplied(session, np.zeros((5, 64), np.float32)).any()
    assert multiplied(session, np.zeros((0, 64), np.float32)).shape == (0, 8)
    tiny_values = multiplied(session, np.full((5, 64), 1e-38, np.float32))
    assert np.isfinite(tiny_values).all() and np.abs(tiny_values).max() < 1e-30


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_comes_to_none(library: Path, odd: float) -> None:
    session = product(library, to_blocks(np.ones((8, 64), np.float32), 8, 32))
    x = np.ones((3, 64), np.float32)
    x[1, 40] = odd
    found = multiplied(session, x)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


def prepared(library: Path, blocks: Blocks, inputs: Sequence[str], gated: bool = False) -> ort.InferenceSession:
    """What the operator does before it multiplies, too. inputs: x, and of weight and delta what there is."""
    found = packed(blocks)
    matrix = {"codes": found.data, "scales": found.scales, "power": found.power}
    given = ["x", *matrix, *(name if name in inputs else "" for name in ("weight", "delta"))]
    outputs = ["y", "sum"] if "delta" in inputs else ["y"]
    attributes = {"N": len(blocks.data), "bits": blocks.bits, "block_size": blocks.block}
    node = helper.make_node("MatMulPacked", given, outputs, domain=OWN, **attributes, gated=int(gated), epsilon=1e-3)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*inputs, *outputs)]
    constants = [numpy_helper.from_array(array, name) for name, array in matrix.items()]
    made = helper.make_graph([node], "product", ends[: len(inputs)], ends[len(inputs) :], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(OWN, 1)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    return loaded(model.SerializeToString(), 2, library=library)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_sum_and_its_norm_come_before_the_product(library: Path, rows: int) -> None:
    random = np.random.default_rng(5)
    blocks = to_blocks(random.standard_normal((40, 288), np.float32), 8, 32)
    x, delta = random.standard_normal((2, rows, 288), np.float32) * random.lognormal(0, 3, (2, rows, 1))
    weight = random.standard_normal(288).astype(np.float32)
    given = {"x": x.astype(np.float32)[None], "weight": weight, "delta": delta.astype(np.float32)[None]}
    y, total = prepared(library, blocks, list(given)).run(None, given)
    assert np.array_equal(total, given["x"] + given["delta"])
    normed = total[0] / np.sqrt((total[0] ** 2).mean(-1, keepdims=True) + 1e-3) * weight
    wanted = expected(blocks, normed)
    assert np.abs(y[0] - wanted).max() <= 0.002 * np.abs(wanted).max()  # a rounding may go the other way
    (alone,) = prepared(library, blocks, ["x", "weight"]).run(None, {"x": total, "weight": weight})
    assert np.array_equal(alone, y)
    (last,) = prepared(library, blocks, ["x", "weight"]).run(None, {"x": total[:, -1:], "weight": weight})
    assert np.array_equal(last, y[:, -1:])


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_gate_comes_before_the_product(library: Path, rows: int) -> None:
    random = np.random.default_rng(6)
    blocks = to_blocks(random.standard_normal((40, 256), np.float32), 8, 128)
    x = (random.standard_normal((1, rows, 512), np.float32) * random.lognormal(0, 2, (rows, 1))).astype(np.float32)
    x[0, 0, :4] = [-1e30, 100, -100, 0]
    session = prepared(library, blocks, ["x"], gated=True)
    (y,) = session.run(None, {"x": x})
    half = x[0, :, :256].astype(np.float64)
    wanted = expected(blocks, (half / (1 + np.exp(np.minimum(-half, 700))) * x[0, :, 256:]).astype(np.float32))
    assert np.abs(y[0] - wanted).max() <= 0.002 * np.abs(wanted).max()
    assert np.array_equal(session.run(None, {"x": x[:, -1:]})[0], y[:, -1:])
    x[0, 0, 9] = np.nan
    assert np.isnan(session.run(None, {"x": x})[0][0, 0]).all()


def test_a_norm_and_a_gate_at_once_are_refused(library: Path) -> None:
    session = prepared(library, to_blocks(np.ones((8, 32), np.float32), 8, 32), ["x", "weight"], gated=True)
    with pytest.raises(Exception, match="another size"):  # ONNX Runtime raises bare kinds of its own
        session.run(None, {"x": np.ones((1, 2, 64), np.float32), "weight": np.ones(32, np.float32)})


@pytest.mark.parametrize(
    ("outputs", "block", "width"), [(16, None, 64), (8, 64, 64), (8, 48, 64), (8, None, 96), (12, None, 64)]
)
def test_a_matrix_of_another_size_is_refused(library: Path, outputs: int, block: int | None, width: int) -> None:
    session = product(library, to_blocks(np.ones((8, 64), np.float32), 4, 32), outputs, block)
    with pytest.raises(Exception, match="another size"):  # ONNX Runtime raises bare kinds of its own
        multiplied(session, np.ones((3, width), np.float32))


@pytest.mark.parametrize(("precision", "bound"), [("int8", 0.03), ("int4", 0.03)])
def test_the_network_says_what_its_weights_say(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision, bound: float
) -> None:
    directory = tiny_model(precision)
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path)
    assert backend._prefill is backend._generate
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    stored = graph.read_weights(directory, tiny.SHAPE)
    wanted = tiny.logits({name: stored[name] for name in stored}, TOKENS)[-1]
    assert np.abs(found - wanted).max() <= bound * np.abs(wanted).max()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_tokens_that_are_checked_at_once_have_the_logits_of_each_alone(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision
) -> None:
    directory = tiny_model(precision)
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path)
    store = backend.new_slots(1)[0]
    feed(backend, store, TOKENS[:40], 0)
    alone = [backend.decode(store, [token], 40 + at, Cancel()) for at, token in enumerate(TOKENS[40:56])]
    for count in (16, 3):  # products are the same to the bit, and attention's sums are not
        checked = backend.verify(store, TOKENS[40 : 40 + count], 40, Cancel())
        assert np.abs(checked - np.stack(alone[:count])).max() <= ROUNDED * np.abs(alone).max()


def test_what_was_imported_for_two_sessions_has_one(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    directory, described = hybrid(tiny_model("int4"), tmp_path / "model")
    backend = OnnxBackend.open(directory, described, cache=tmp_path / "cache")
    assert backend._prefill is backend._generate
    assert {one.name.partition("-")[0] for one in (tmp_path / "cache").glob("*.onnx")} == {"packed"}


def test_weights_are_packed_as_they_are_stored(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    directory = tiny_model("int4")
    path = derived_graphs.packed(directory, manifest.read(directory), tmp_path)
    assert isinstance(path, Path)
    stored, found = Stored(directory / graph.GRAPH), Stored(path)
    for name in ("layers.0.down.weight", "layers.1.qkv.weight"):
        kept = packed(Blocks(4, stored[name + ".codes"], stored[name + ".scales"]))
        assert np.array_equal(found[name + ".packed"], kept.data)
        assert np.allclose(found[name + ".packed_scales"], kept.scales, rtol=1e-3, atol=0)
        assert np.array_equal(found[name + ".packed_power"], kept.power)


def test_rows_that_do_not_come_in_eights_are_filled_up(own: None, tmp_path: Path) -> None:
    shape = msgspec.structs.replace(tiny.SHAPE, vocab_size=269)
    random = np.random.default_rng(3)
    weights = {name: np.ones(length, np.float32) for name, length in graph.vector_names(shape).items()}
    for name, (rows, width) in graph.matrix_names(shape).items():
        weights[name] = random.standard_normal((rows, width), np.float32) / np.float32(np.sqrt(width))
    graph.write_model(tmp_path, shape, weights, "int8")
    described = msgspec.structs.replace(
        manifest.read(tiny.write(tmp_path / "other", precision="int8")),
        shape=shape,
        files={graph.DATA: manifest.digest(tmp_path / graph.DATA)},
    )
    backend = OnnxBackend.open(tmp_path, described, cache=tmp_path / "cache")
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    wanted = tiny.logits(weights, TOKENS, shape)[-1]
    assert np.abs(found - wanted).max() <= 0.05 * np.abs(wanted).max()


def test_scales_that_are_no_numbers_are_refused(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("int4"), directory)
    np.memmap(directory / graph.DATA, np.float32, "r+")[:] = np.nan
    with pytest.raises(ModelError, match="no numbers"):
        OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("flags", "better"),
    [
        ({"sse2"}, False),
        ({"avx2"}, False),
        ({"avx2", "fma", "f16c"}, True),
        ({"avx2", "fma", "f16c", "avx512f", "avx512_vnni"}, True),
        ({"avx2", "fma", "f16c", "avx_vnni"}, True),
        ({"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "amx_int8"}, False),
        (set[str](), False),
    ],
)
def test_they_are_for_processors_with_avx2_and_without_amx(
    flags: set[str], better: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: fpu {' '.join(flags)}\nbogomips\t: 1\n")
    monkeypatch.setattr(kernels, "_CPUINFO", info)
    monkeypatch.setattr(kernels.platform, "machine", lambda: "x86_64")
    assert kernels.are_better() is better
    if not better:
        assert kernels.library(tmp_path) is None


def test_what_the_processor_has_is_what_the_system_says(library: Path) -> None:
    best = {"avx512_vnni": "vnni_512", "avx_vnni": "vnni", "avx2": "avx2"}
    assert choose(library, 0) == LEVELS[next(name for flag, name in best.items() if flag in kernels.processor())]


def test_another_processor_or_system_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "_CPUINFO", tmp_path / "none")
    assert not kernels.can_run()
    monkeypatch.setattr(kernels.platform, "machine", lambda: "aarch64")
    assert kernels.processor() == frozenset()


def test_without_a_compiler_everything_works_all_the_same(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "are_better", lambda: True)
    monkeypatch.setattr(kernels, "_COMPILERS", ("no-such-compiler",))
    monkeypatch.setattr(kernels, "compiled", partial(kernels.compiled, brought=tmp_path))
    assert kernels.library(tmp_path) is None
    directory = tiny_model("int4")
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path)
    assert backend._prefill is not backend._generate


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "not a program", "#!/bin/sh\nexit 0\n"])
def test_a_compiler_that_fails_is_noted_and_works_all_the_same(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cc").write_text(script)
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert kernels.compiled(tmp_path / "cache", tmp_path) is None
    assert "cannot be compiled" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_a_library_is_compiled_once_and_anew_when_it_was_harmed(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kernels.compiled(tmp_path, tmp_path / "none")
    assert made is not None
    whole = made.read_bytes()
    with monkeypatch.context() as without:
        without.setattr(kernels, "_COMPILERS", ())
        assert kernels.compiled(tmp_path, tmp_path / "none") == made
    made.write_bytes(whole[:1000])
    assert kernels.compiled(tmp_path, tmp_path / "none") == made
    product(made, to_blocks(np.ones((8, 32), np.float32), 4, 32))


def test_one_that_cannot_be_loaded_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kernels.so").write_bytes(b"of another machine")
    monkeypatch.setattr(kernels, "are_better", lambda: True)
    monkeypatch.setattr(kernels, "compiled", lambda cache: tmp_path / "kernels.so")
    assert kernels.library(tmp_path) is None
    assert "cannot be loaded" in caplog.text


def test_where_no_packed_graph_can_be_kept_the_stored_one_serves(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    directory = tiny_model("int4")
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path / "file" / "cache")
    assert backend.kernels == "onnxruntime"
    assert np.isfinite(feed(backend, backend.new_slots(1)[0], TOKENS, 0)).all()


def test_where_nothing_can_be_kept_there_is_none(library: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert kernels.compiled(tmp_path / "file" / "cache", tmp_path) is None


def test_one_beside_its_source_is_used(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_COMPILERS", ())
    for one in (library, library.with_suffix(".json")):
        shutil.copy2(one, tmp_path)
    assert kernels.compiled(tmp_path / "cache", tmp_path) == tmp_path / library.name


def test_the_command_compiles_them_beside_their_source_and_removes_older_ones(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in kernels.sources(kernels.FOLDER):
        shutil.copy(one, tmp_path)
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    (tmp_path / "kernels-0123.so").write_bytes(b"of an older source")
    kernels.main()
    assert capsys.readouterr().out == f"{tmp_path / library.name}\n"
    assert {one.suffix for one in tmp_path.glob("kernels-*")} == {".so", ".json"}
    assert not (tmp_path / "kernels-0123.so").exists()
    monkeypatch.setattr(kernels, "_COMPILERS", ())
    (tmp_path / library.name).unlink()
    kernels.main()
    assert "not compiled" in capsys.readouterr().out


@pytest.mark.parametrize("has_own", [True, False])
def test_a_model_in_4_bits_with_its_head_in_8_says_what_its_weights_say(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_own: bool
) -> None:
    monkeypatch.setattr(kernels, "library", lambda cache: library if has_own else None)
    graph.write_model(tmp_path, tiny.SHAPE, tiny.weights(), "int4_head8")
    stored = graph.read_weights(tmp_path, tiny.SHAPE)
    assert isinstance(stored, StoredWeights)
    head = np.abs(stored["embed.weight"] - tiny.weights()["embed.weight"]).max()
    assert head <= 0.02 * np.abs(tiny.weights()["embed.weight"]).max()
    described = msgspec.structs.replace(
        manifest.read(tiny.write(tmp_path / "other", precision="int4")),
        files={graph.DATA: manifest.digest(tmp_path / graph.DATA)},
    )
    backend = OnnxBackend.open(tmp_path, described, cache=tmp_path / "cache")
    assert (backend.kernels == library.stem) is has_own
    found = feed(backend, backend.new_slots(1)[0], TOKENS, 0)
    wanted = tiny.logits({name: stored[name] for name in stored}, TOKENS)[-1]
    assert np.abs(found - wanted).max() <= 0.03 * np.abs(wanted).max()
    if has_own:
        (path,) = (tmp_path / "cache").glob("packed-*.onnx")
        kept = stored.blocks("embed.weight")
        assert kept is not None and kept.bits == 8
        assert np.array_equal(Stored(path)["embed.weight.packed"], packed(kept).data)
