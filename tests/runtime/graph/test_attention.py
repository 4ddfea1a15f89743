"""Our own attention over keys and values in 8 bits, beside the same arithmetic in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from model_runtime import manifest
from model_runtime.backends.kv_pool import KVPool
from model_runtime.backends.onnx_backend import OnnxBackend, loaded
from model_runtime.engine.sequence import Cancel
from model_runtime.graph import kv_blocks
from model_runtime.graph.nodes import OWN
from model_runtime.graph.quantize import Floats
from model_runtime.manifest import Shape
from tests import tiny
from tests.runtime.conftest import Precision
from tests.runtime.graph.test_kernels import LEVELS, choose
from tests.runtime.graph.test_kernels import level as level  # a fixture, as are the next two
from tests.runtime.graph.test_kernels import library as library
from tests.runtime.graph.test_kernels import own as own

POSITIONS = 640  # that a text has room for


@dataclass(frozen=True)
class Heads:
    """half: of the values that turn; 0: none turns."""

    queries: int
    shared: int
    size: int
    half: int
    interleaved: bool = False
    window: int = 0

    @property
    def shape(self) -> Shape:
        return msgspec.structs.replace(
            tiny.SHAPE, kv_heads=self.shared, head_size=self.size, context_length=POSITIONS, layers=1
        )


PLAIN = Heads(9, 3, 64, 32)
ALL = [
    PLAIN,
    Heads(4, 2, 32, 16),
    Heads(4, 4, 80, 16),
    Heads(8, 1, 16, 8, interleaved=True),
    Heads(2, 2, 256, 32, interleaved=True),
    Heads(6, 2, 48, 0),
    Heads(15, 1, 128, 64),
    Heads(4, 2, 64, 32, window=100),
    Heads(4, 2, 64, 32, window=16),
]


def angles(heads: Heads) -> tuple[Floats, Floats]:
    """cos and sin, [positions, half]."""
    turned = np.arange(POSITIONS)[:, None] * 100.0 ** (-np.arange(heads.half) / max(1, heads.half))
    return np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)


class Attention:
    """The operator on texts of its own. threads: of the session."""

    def __init__(self, library: Path, heads: Heads, texts: int = 1, threads: int = 2, together: bool = True) -> None:
        self.heads, self.together = heads, together
        self.session = _session(library, heads, threads, together)
        self.pool = KVPool(heads.shape, texts, in_bytes=True)

    def __call__(self, q: Floats, k: Floats, v: Floats, starts: list[int]) -> Floats:
        """[B, T, ..] of texts that have so many positions before these."""
        binding = self.session.io_binding()
        given = {"q": np.concatenate([q, k, v], axis=-1)} if self.together else {"q": q, "k": k, "v": v}
        given |= {"length": np.array(starts, np.int32) + q.shape[1] - 1, "total": np.array(0, np.int32)}
        if self.heads.half:
            given |= dict(zip(("cos", "sin"), angles(self.heads), strict=True))
        for name, array in given.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        self.pool.bind(binding, 0, len(q))
        binding.bind_output("y")
        self.session.run_with_iobinding(binding)
        found: Floats = binding.get_outputs()[-1].numpy()
        return found


def _session(library: Path, heads: Heads, threads: int, together: bool) -> ort.InferenceSession:
    turned = ["cos", "sin"] if heads.half else ["", ""]
    apart = ["", ""] if together else ["k", "v"]
    kept = [f"{side}.0.{part}" for side in ("past", "present") for part in ("key", "value")]
    node = helper.make_node(
        "Attention",
        ["q", *apart, *kept[:2], "length", "total", *turned],
        ["y", *kept[2:]],
        domain=OWN,
        heads=heads.queries,
        kv_heads=heads.shared,
        interleaved=int(heads.interleaved),
        window=heads.window,
    )
    kinds = {"length": (TensorProto.INT32, ["B"]), "total": (TensorProto.INT32, [])}
    kinds |= {name: (TensorProto.UINT8, ["B", "KV", "blocks", None]) for name in kept}
    kinds |= {name: (TensorProto.FLOAT, ["P", "half"]) for name in ("cos", "sin")}
    ends = {
        name: helper.make_tensor_value_info(name, *kinds.get(name, (TensorProto.FLOAT, ["B", "T", None])))
        for name in (*node.input, *node.output)
        if name
    }
    made = helper.make_graph(
        [node], "attention", [ends[name] for name in node.input if name], [ends[name] for name in (*kept[2:], "y")]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(OWN, 1)]
    return loaded(
        helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString(), threads, library=library
    )


def drawn(heads: Heads, texts: int, count: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Queries, keys and values [B, T, ..] of which some heads are larger than others by far."""
    random = np.random.default_rng(seed)

    def some(number: int) -> Floats:
        found = random.standard_normal((texts, count, number, heads.size), np.float32)
        found *= random.lognormal(0, 1, (texts, count, number, 1)).astype(np.float32)
        return found.reshape(texts, count, -1)

    return some(heads.queries) / np.float32(np.sqrt(heads.size)), some(heads.shared), some(heads.shared)


def expected(heads: Heads, q: Floats, k: Floats, v: Floats, start: int = 0) -> NDArray[np.float64]:
    """[T − start, ..] of one text, whose tokens from `start` on ask; [T, ..] in."""
    queries, keys = (_turned(heads, one.reshape(len(one), -1, heads.size)) for one in (q, k))
    queries, keys, values = (_rounded(one) for one in (queries, keys, v.reshape(len(v), -1, heads.size)))
    keys, values = (np.repeat(one, heads.queries // heads.shared, axis=1) for one in (keys, values))
    scores = np.einsum("qhd,khd->hqk", queries[start:], keys)
    ahead = np.arange(start, len(q))[:, None] - np.arange(len(q))
    scores[:, (ahead < 0) | ((heads.window > 0) & (ahead >= heads.window))] = -np.inf
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", shares, values).reshape(len(q) - start, -1)


def _turned(heads: Heads, x: Floats) -> NDArray[np.float64]:
    found = x.astype(np.float64)
    if not heads.half:
        return found
    cos, sin = (one[: len(x), None] for one in angles(heads))
    end = 2 * heads.half
    left, right = (
        (slice(0, end, 2), slice(1, end, 2)) if heads.interleaved else (slice(0, heads.half), slice(heads.half, end))
    )
    found[..., left] = x[..., left] * cos - x[..., right] * sin
    found[..., right] = x[..., right] * cos + x[..., left] * sin
    return found


def _rounded(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """To 8 bits, a scale for each head of each token."""
    scales = np.abs(x).max(-1, keepdims=True).astype(np.float64) / 127
    return np.rint(x / np.where(scales == 0, 1, scales)) * scales


def off(found: Floats, wanted: NDArray[np.float64]) -> float:
    """By how much, of the largest there is; a rounding to 8 bits may go the other way here and there."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("heads", ALL, ids=str)
def test_it_is_what_its_arithmetic_says(library: Path, heads: Heads) -> None:
    q, k, v = drawn(heads, 1, 600)
    wanted = expected(heads, q[0], k[0], v[0])
    for together in (True, False):
        attention, at = Attention(library, heads, together=together), 0
        for count in (1, 2, 3, 4, 5, 16, 17, 208, 1, 7, 300, 36):
            found = attention(q[:, at : at + count], k[:, at : at + count], v[:, at : at + count], [at])
            assert off(found[0], wanted[at : at + count]) <= 0.01, (at, count)
            at += count


@pytest.mark.parametrize("heads", ALL, ids=str)
def test_a_row_is_the_same_to_the_bit_whoever_is_beside_it(library: Path, level: str, heads: Heads) -> None:
    q, k, v = drawn(heads, 1, 560)
    whole = Attention(library, heads)(q, k, v, [0])
    for counts, threads in (((560 - 40, *[1] * 24, 16), 1), ((128, 128, 128, 128, 48), 3), ((1, 255, 3, 301), 2)):
        attention, at = Attention(library, heads, threads=threads), 0
        for count in counts:
            found = attention(q[:, at : at + count], k[:, at : at + count], v[:, at : at + count], [at])
            assert np.array_equal(found, whole[:, at : at + count]), (at, count, threads)
            at += count
    choose(library, LEVELS["avx2"])
    assert np.array_equal(Attention(library, heads)(q, k, v, [0]), whole), level


@pytest.mark.usefixtures("level")
def test_texts_side_by_side_have_what_each_has_alone(library: Path) -> None:
    lengths = [3, 530, 255, 16, 0]
    q, k, v = drawn(PLAIN, len(lengths), 540)
    together = Attention(library, PLAIN, len(lengths))
    alone = [Attention(library, PLAIN) for _ in lengths]
    for text, (one, length) in enumerate(zip(alone, lengths, strict=True)):
        if length:
            one(*(part[text : text + 1, :length] for part in (q, k, v)), [0])
            for name, array in together.pool._arrays.items():
                array[text] = one.pool._arrays[name][0]
    for count in (1, 2, 3):
        new = [np.stack([part[at, n : n + count] for at, n in enumerate(lengths)]) for part in (q, k, v)]
        found = together(new[0], new[1], new[2], lengths)
        for text, one in enumerate(alone):
            wanted = one(*(part[text : text + 1] for part in new), [lengths[text]])
            assert np.array_equal(found[text], wanted[0])
        lengths = [n + count for n in lengths]


@pytest.mark.usefixtures("level")
def test_nothing_is_written_but_the_new_positions_and_nothing_read_behind_them(library: Path) -> None:
    q, k, v = drawn(PLAIN, 1, 300)
    attention = Attention(library, PLAIN)
    first = attention(*(part[:, :270] for part in (q, k, v)), [0])
    kept = {name: array.copy() for name, array in attention.pool._arrays.items()}
    attention(*(part[:, 200:300] for part in drawn(PLAIN, 1, 300, seed=1)), [200])  # gone back, and another way on
    for name, array in attention.pool._arrays.items():
        assert np.array_equal(array[:, :, : 192 // kv_blocks.TOKENS], kept[name][:, :, : 192 // kv_blocks.TOKENS])
        assert not array[:, :, kv_blocks.count(300) :].any()
    again = attention(*(part[:, 200:270] for part in (q, k, v)), [200])  # and gone back once more
    assert np.array_equal(again, first[:, 200:])
    for array in attention.pool._arrays.values():
        scales = array[..., -4 * kv_blocks.TOKENS :].view(np.float32)
        scales[:, :, 270 // kv_blocks.TOKENS, 270 % kv_blocks.TOKENS :] = np.nan
        scales[:, :, kv_blocks.count(270) :] = np.nan
    assert np.array_equal(attention(*(part[:, 260:270] for part in (q, k, v)), [260]), first[:, 260:])


@pytest.mark.usefixtures("level")
def test_a_copy_of_a_beginning_goes_on_as_the_original_does(library: Path) -> None:
    q, k, v = drawn(PLAIN, 1, 60)
    attention = Attention(library, PLAIN, 2)
    whole = attention(q, k, v, [0])
    source, target = attention.pool.slots
    attention.pool.copy(source, target, 37)
    attention.pool._swap(source, target)
    found = attention(*(part[:, 37:] for part in (q, k, v)), [37])
    assert np.array_equal(found, whole[:, 37:])


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("odd", [np.nan, np.inf])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_what_is_no_number_comes_to_none_from_there_on(library: Path, odd: float, part: int) -> None:
    all_of = drawn(PLAIN, 1, 40)
    plain = Attention(library, PLAIN)(*all_of, [0])
    all_of[part][0, 20, 5] = odd
    found = Attention(library, PLAIN)(*all_of, [0])[0].reshape(40, 9, 64)
    wanted = plain[0].reshape(40, 9, 64)
    assert np.array_equal(found[:20], wanted[:20])
    assert np.isnan(found[20, 0]).all()
    assert np.array_equal(found[:, 3:], wanted[:, 3:])


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e30])
def test_values_of_any_size_are_borne(library: Path, size: float) -> None:
    q, k, v = drawn(PLAIN, 1, 300)
    found = Attention(library, PLAIN)(q, k, v * np.float32(size), [0])
    assert np.isfinite(found).all()
    wanted = expected(PLAIN, q[0], k[0], v[0])
    if size == 1e30:
        assert off(found[0] / np.float32(size), wanted) <= 0.01
    else:
        assert np.abs(found).max() <= 1e-30


@pytest.mark.usefixtures("level")
def test_equal_scores_of_many_positions_are_their_mean(library: Path) -> None:
    heads = Heads(1, 1, 16, 0)
    values = np.full((1, 600, 16), 5.0, np.float32)
    found = Attention(library, heads)(np.zeros((1, 600, 16), np.float32), values, values, [0])
    assert np.allclose(found, 5.0, rtol=1e-4)  # the largest sums of 32 bits that there can be


@pytest.mark.parametrize(("queries", "start", "said"), [(9, 639, "longer"), (9, 650, "longer"), (8, 0, "fit")])
def test_what_does_not_fit_is_refused(library: Path, queries: int, start: int, said: str) -> None:
    q, k, v = drawn(PLAIN, 1, 2)
    with pytest.raises(Exception, match=said):  # ONNX Runtime raises bare kinds of its own
        Attention(library, PLAIN)(q[..., : queries * 64], k, v, [start])


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_drafts_are_checked_to_the_bit_and_so_are_texts_side_by_side(
    own: None, tiny_model: Callable[[Precision], Path], tmp_path: Path, precision: Precision
) -> None:
    directory = tiny_model(precision)
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=tmp_path)
    stores, cancel = backend.new_slots(3), Cancel()
    tokens = [int(token) for token in np.random.default_rng(2).integers(5, 260, 400)]
    backend.prefill(stores[0], tokens[:300], 0, cancel)
    alone = np.stack([backend.decode(stores[0], [tokens[300 + at]], 300 + at, cancel) for at in range(16)])
    for chunk in (1, 7, 128):
        for start in range(0, 300, chunk):
            backend.prefill(stores[1], tokens[start : min(300, start + chunk)], start, cancel)
        assert np.array_equal(backend.verify(stores[1], tokens[300:316], 300, cancel), alone)
    backend.copy(stores[0], stores[2], 290)
    backend.prefill(stores[2], tokens[290:300], 290, cancel)
    asked = [tokens[315], tokens[304], tokens[300]]
    assert np.array_equal(backend.decode_batch(stores, asked, [315, 304, 300], cancel), alone[[15, 4, 0]])
