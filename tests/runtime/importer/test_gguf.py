"""GGUF files of each family, imported, against the family in plain numpy; and files that lie."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.errors import CheckpointError, ModelError
from model_runtime.graph import graph
from model_runtime.graph.fused_matrices import StoredWeights
from model_runtime.graph.graph import sizes
from model_runtime.graph.quantize import from_blocks
from model_runtime.graph.storage import Stored
from model_runtime.importer import gguf_tensors, importer
from model_runtime.importer.gguf_checkpoint import open_gguf
from model_runtime.importer.gguf_header import BlockTensor, read_header
from model_runtime.importer.gguf_tensors import BlockLocation
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out
from model_runtime.tokenizer import Tokenizer
from tests import checkpoints, ggufs
from tests.checkpoints import Array, Checkpoint
from tests.ggufs import Kind

TOKENS = [int(token) for token in np.random.default_rng(1).integers(0, 256, 60)]
FAMILIES: dict[str, Checkpoint] = {
    "llama": checkpoints.llama(),
    "smollm": checkpoints.llama(tie_word_embeddings=True, num_key_value_heads=1),
    "biased llama": checkpoints.llama(attention_bias=True),
    "mistral": checkpoints.llama(model_type="mistral"),
    "qwen2": checkpoints.llama(model_type="qwen2"),
    "qwen3": checkpoints.llama(model_type="qwen3", head_dim=32),
    "starcoder2": checkpoints.starcoder2(),
    "gptj": checkpoints.gptj(),
    "bigcode": checkpoints.bigcode(),
}


def imported(source: Path, at: Path, quant: importer.Quant = "fp32") -> Path:
    importer.write(importer.examine(source, name="test", quant=quant), at / "model")
    return at / "model"


def logits(directory: Path, cache: Path) -> Array:
    described = manifest.read(directory)
    manifest.check(directory, described)
    backend = OnnxBackend.open(directory, described, cache=cache, threads=1)
    return backend.decode(backend.new_slots(1)[0], TOKENS, 0, Cancel())


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_family(family: str, tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES[family])
    found = logits(imported(source, tmp_path), tmp_path / "cache")
    assert np.abs(found - FAMILIES[family].logits(TOKENS)[-1]).max() <= 1e-3


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("F16", 0.999999),
        ("BF16", 0.9999),
        ("Q8_0", 0.9995),
        ("Q5_1", 0.98),
        ("Q5_0", 0.98),
        ("Q4_1", 0.9),
        ("Q4_0", 0.9),
    ],
)
def test_what_is_quantized_is_read_within_its_rounding(kind: str, least: float, tmp_path: Path) -> None:
    """least: cosine between the logits and those of the weights before they were quantized."""
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["qwen2"], Kind[kind])
    found, expected = logits(imported(source, tmp_path), tmp_path / "cache"), FAMILIES["qwen2"].logits(TOKENS)[-1]
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) >= least


@pytest.mark.parametrize(
    "kind",
    ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "F16", "F32"],
)
def test_rows_are_what_the_library_says(kind: str, tmp_path: Path) -> None:
    block, block_bytes = gguf.GGML_QUANT_SIZES[Kind[kind]]
    width, rows = 512, 24
    random = np.random.default_rng(3)
    raw = random.integers(0, 256, (rows, width // block * block_bytes), np.uint8)
    raw.reshape(-1, 2)[:, 1] &= 0x3F  # of whatever is a half or a float: none of them endless
    path = tmp_path / "it"
    path.write_bytes(b"before" + raw.tobytes())
    location = BlockLocation(BlockTensor("it", kind, (rows, width), 6, raw.shape[1]))
    expected = gguf.quants.dequantize(raw, Kind[kind])
    assert np.array_equal(gguf_tensors.read(path, location, 5, 17), expected[5:17], equal_nan=True)


@pytest.mark.parametrize(("kind", "bits"), [("Q4_0", 4), ("Q8_0", 8)])
def test_blocks_that_are_ours_are_taken_over_bit_for_bit(kind: str, bits: int, tmp_path: Path) -> None:
    checkpoint = checkpoints.llama(tie_word_embeddings=True, hidden_size=64)
    source = ggufs.write(tmp_path / "it.gguf", checkpoint, Kind[kind])
    directory = imported(source, tmp_path, "int4" if bits == 4 else "int8")
    shape = manifest.read(directory).shape
    stored = StoredWeights(Stored(directory / graph.GRAPH), shape, sizes(shape))
    opened = open_gguf(source)
    names = {"embed": "model.embed_tokens", "layers.1.q": "model.layers.1.self_attn.q_proj"}
    names |= {"layers.0.k": "model.layers.0.self_attn.k_proj", "layers.1.down": "model.layers.1.mlp.down_proj"}
    for ours, theirs in names.items():
        blocks = stored.blocks(f"{ours}.weight")
        assert blocks is not None and (blocks.bits, blocks.block) == (bits, 32)
        assert np.array_equal(from_blocks(blocks), opened.checkpoint.read(f"{theirs}.weight"))


def test_blocks_stay_as_long_as_they_were_where_rows_could_have_longer_ones(tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", checkpoints.gptj(), Kind.Q4_0)
    directory = imported(source, tmp_path, "int4")
    shape = manifest.read(directory).shape
    stored = StoredWeights(Stored(directory / graph.GRAPH), shape, sizes(shape))
    assert stored.coding("layers.0.up.weight") == (4, 32)
    blocks = stored.blocks("layers.0.up.weight")
    assert blocks is not None
    assert np.array_equal(from_blocks(blocks), open_gguf(source).checkpoint.read("transformer.h.0.mlp.fc_in.weight"))


@pytest.mark.parametrize("quant", ["int4", "int8", "hybrid"])
def test_an_imported_gguf_answers(quant: importer.Quant, tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"], Kind.Q4_0)
    engine = open_engine(imported(source, tmp_path, quant), cache=tmp_path / "cache")
    try:
        prompt = lay_out(Infill("a.py", "x = ", "\n"), engine.tokenizer, engine.manifest.fim, 256)
        *_, last = engine.generate(Generation(prompt.tokens, max_tokens=4), Cancel())
    finally:
        engine.close()
    assert isinstance(last, Finish)


def test_a_llama_that_is_a_granite_multiplies_as_it_says(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama(tie_word_embeddings=True)
    plain = dict(checkpoint.tensors)
    source = tmp_path / "it.gguf"
    config = {**checkpoint.config, "model_type": "granite"}
    granite = Checkpoint(config, plain, checkpoint.logits)
    scales = {"embedding_scale": 12.0, "residual_scale": 0.22, "attention.scale": 0.015625, "logit_scale": 8.0}
    ggufs.write(source, granite, more=scales)
    found = logits(imported(source, tmp_path), tmp_path / "cache")
    folded = {**plain, "lm_head.weight": plain["model.embed_tokens.weight"] / 8}
    folded["model.embed_tokens.weight"] = plain["model.embed_tokens.weight"] * 12
    for name, value in plain.items():
        if ".o_proj" in name or ".down_proj" in name:
            folded[name] = value * 0.22
        elif ".q_proj" in name:
            folded[name] = value * 0.015625 * 4  # heads are 16 wide
    expected = checkpoints.llama_logits({**config, "tie_word_embeddings": False}, folded, TOKENS)
    assert np.abs(found - expected[-1]).max() <= 1e-3


@pytest.mark.parametrize(
    "more", [{"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, {"rope.scale_linear": 4.0}]
)
def test_linear_scaling_is_that_of_the_checkpoint(more: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = checkpoints.llama(rope_scaling={"type": "linear", "factor": 4.0})
    source = ggufs.write(tmp_path / "it.gguf", checkpoint, more=more)
    assert np.abs(logits(imported(source, tmp_path), tmp_path / "cache") - checkpoint.logits(TOKENS)[-1]).max() <= 1e-3


def test_factors_of_the_rotary_embedding_slow_each_pair_down(tmp_path: Path) -> None:
    factors = np.linspace(1, 8, 8).astype(np.float32)
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"], added={"rope_freqs.weight": factors})
    shape = importer.examine(source, name="test", quant="fp32").plan.shape
    assert shape.rope == pytest.approx(10_000.0 ** (-np.arange(8) / 8) / factors)


def test_yarn_is_read_with_its_original_length(tmp_path: Path) -> None:
    more = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["qwen2"], more=more)
    shape = importer.examine(source, name="test", quant="fp32").plan.shape
    assert shape.rope_magnitude == pytest.approx(0.1 * np.log(4) + 1)


def test_several_files_are_one_model(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / f"it-{number + 1:05d}-of-00003.gguf"
        ggufs.write(path, FAMILIES["llama"], part=(number, 3))
    found = logits(imported(tmp_path / "it-00001-of-00003.gguf", tmp_path), tmp_path / "cache")
    assert np.abs(found - FAMILIES["llama"].logits(TOKENS)[-1]).max() <= 1e-3
    (tmp_path / "it-00002-of-00003.gguf").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00003\.gguf is not there, it is one of the 3 files"):
        importer.examine(tmp_path / "it-00001-of-00003.gguf", name="test", quant="fp32")


def test_one_of_several_files_under_another_name_is_no_whole_model(tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"], part=(0, 3))
    with pytest.raises(CheckpointError, match="one of 3 files by its header"):
        importer.examine(source, name="test", quant="fp32")


def test_markers_known_by_name_say_how_it_infills(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama(model_type="qwen2")
    marked = Checkpoint(checkpoint.config, checkpoint.tensors, checkpoint.logits, checkpoints.QWEN_MARKERS)
    source = ggufs.write(tmp_path / "it.gguf", marked, pre="qwen2")
    fim = importer.examine(source, name="test", quant="fp32").vocabulary.fim
    assert (fim.layout, fim.prefix, fim.context) == ("psm", "<|fim_prefix|>", "<|file_sep|>")


def test_markers_that_the_metadata_names_say_how_it_infills(tmp_path: Path) -> None:
    names = ("<|endoftext|>", "<before>", "<after>", "<between>")
    marked = Checkpoint(FAMILIES["llama"].config, FAMILIES["llama"].tensors, FAMILIES["llama"].logits, names)
    source = ggufs.write(tmp_path / "it.gguf", marked, fim={"fim_pre": 257, "fim_suf": 258, "fim_mid": 259})
    fim = importer.examine(source, name="test", quant="fp32").vocabulary.fim
    assert (fim.layout, fim.prefix, fim.suffix, fim.middle) == ("psm", "<before>", "<after>", "<between>")


def test_without_markers_it_knows_only_what_stands_before(tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"])
    assert importer.examine(source, name="test", quant="fp32").vocabulary.fim.layout == "prefix"


PRE_TEXT = "def f1(x):\n    return x2345 + 'naïve'  # it's\n\n\tif (a==b) {};\n"


def inner_of(text: str) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_str(text)


@pytest.mark.parametrize(
    "pre", ["gpt-2", "starcoder", "smollm", "qwen2", "llama-bpe", "deepseek-coder", "tekken", "default"]
)
def test_texts_come_back_whichever_way_they_are_cut(pre: str, tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["qwen2"], pre=pre)
    ours = Tokenizer(inner_of(importer.examine(source, name="test", quant="fp32").vocabulary.text))
    assert ours.decode(ours.encode(PRE_TEXT)) == PRE_TEXT


def sentencepiece(path: Path) -> Path:
    """A Llama's vocabulary: pieces with scores, bytes, a beginning and an end."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "d",
        "e",
        "f",
        "▁d",
        "ef",
        "▁def",
    ]
    pieces += [f"[PAD{at}]" for at in range(checkpoints.VOCAB - len(pieces))]
    kinds = [2, 3, 3, *[6] * 256, *[1] * 7]
    kinds += [5] * (len(pieces) - len(kinds))
    writer = gguf.GGUFWriter(path, "llama")
    sizes = {"block_count": 2, "embedding_length": 64, "attention.head_count": 4, "attention.head_count_kv": 2}
    for key, value in (sizes | {"context_length": 512, "feed_forward_length": 96}).items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_scores([float(-at) for at in range(len(pieces))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, value in ggufs.tensors_of(FAMILIES["llama"]).items():
        ggufs.add_tensor(writer, name, value, ggufs.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_pieces_are_merged_by_their_scores(tmp_path: Path) -> None:
    vocabulary = importer.examine(sentencepiece(tmp_path / "it.gguf"), name="test", quant="fp32").vocabulary
    inner = inner_of(vocabulary.text)
    assert inner.encode(" def def", add_special_tokens=False).tokens == ["▁def", "▁def"]
    assert (vocabulary.fim.begin, vocabulary.fim.end) == ("<s>", ("</s>",))
    ours = Tokenizer(inner)
    assert ours.decode(ours.encode(PRE_TEXT)) == PRE_TEXT


def header(tensors: int, values: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + rest


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(size: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text("it") + struct.pack(f"<I{len(size)}QIQ", len(size), *size, kind, offset)


LIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"GGUF", "cut short"),
    "big-endian": (header(0, 0, version=3 << 24), "version 50331648"),
    "tensors without end": (header(1 << 60, 0), "tensors"),
    "values without end": (header(0, 1 << 60), "cut short"),
    "a text of 2^60 bytes": (header(0, 1, struct.pack("<Q", 1 << 60)), "cut short"),
    "a list of 2^40 numbers": (header(0, 1, text("a") + struct.pack("<IIQ", 9, 4, 1 << 40)), "1099511627776 items"),
    "a list of 2^40 texts": (header(0, 1, text("a") + struct.pack("<IIQ", 9, 8, 1 << 40)), "1099511627776 items"),
    "lists in lists": (header(0, 1, text("a") + struct.pack("<IIQ", 9, 9, 1)), "unknown type 9"),
    "an unknown type": (header(0, 1, text("a") + struct.pack("<I", 99)), "unknown type 99"),
    "a value twice": (header(0, 2, 2 * (text("a") + struct.pack("<II", 4, 1))), "twice"),
    "an alignment of nothing": (header(0, 1, text("general.alignment") + struct.pack("<II", 4, 0)), "alignment is 0"),
    "a tensor of 2^60 values": (header(1, 0, tensor((1 << 60,))), "beyond the end"),
    "sizes that wrap around": (header(1, 0, tensor((1 << 32, 1 << 32))), "beyond the end"),
    "an offset outside": (header(1, 0, tensor((32,), offset=1 << 62)), "beyond the end"),
    "no size": (header(1, 0, tensor((0, 32))), "cannot be"),
    "half a block": (header(1, 0, tensor((31, 2), kind=2)), "cannot be"),
    "too many dimensions": (header(1, 0, tensor((1,) * 9)), "9 dimensions"),
    "an unknown kind": (header(1, 0, tensor((32,), kind=77)), "unknown type 77"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_one_line_and_takes_no_memory(lie: str, tmp_path: Path) -> None:
    raw, message = LIES[lie]
    path = tmp_path / "it.gguf"
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as caught:
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("block_count", 1 << 31, "do not agree"),
        ("attention.head_count", 1 << 31, "do not agree"),
        ("attention.key_length", 1 << 30, "of heads 1073741824 values wide"),
        ("context_length", 1 << 31, "do not agree"),
        ("feed_forward_length", 1 << 31, r"ffn_gate.weight is \[96, 64\], its metadata calls for"),
        ("attention.head_count_kv", 1 << 31, "cannot share|its metadata calls for|kv_heads"),
    ],
)
def test_sizes_that_lie_take_no_memory(key: str, value: int, message: str, tmp_path: Path) -> None:
    where = f"llama.{key}".encode()
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"])
    raw = bytearray(source.read_bytes())
    if where in raw:
        at = raw.index(where) + len(where) + 4
        raw[at : at + 4] = struct.pack("<I", value)
        source.write_bytes(raw)
    else:
        ggufs.write(source, FAMILIES["llama"], more={key: value})
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message):
            importer.examine(source, name="test", quant="int4")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [3, 20, 200, 4000, -1000])
def test_a_file_cut_short_says_so(kept: int, tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"])
    source.write_bytes(source.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"cut short|no GGUF"):
        importer.examine(source, name="test", quant="int4")


@dataclass(frozen=True)
class Whole:
    """A file, and what stands in it, which is too long to be shown."""

    path: Path
    raw: bytes = field(repr=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    source = ggufs.write(tmp_path_factory.mktemp("whole") / "it.gguf", checkpoints.llama(), Kind.Q8_0)
    return Whole(source.with_name("harmed.gguf"), source.read_bytes())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_header_is_refused_or_imported(whole: Whole, data: st.DataObject) -> None:
    raw = bytearray(whole.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 16_000))
        value = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8), st.just(bytes(8))))
        raw[at : at + len(value)] = value
    whole.path.write_bytes(raw)
    with contextlib.suppress(ModelError):
        importer.examine(whole.path, name="test", quant="int4")


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    source = tmp_path / "it.gguf"
    source.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(CheckpointError, match="is no GGUF file; give one, or the folder"):
        importer.examine(source, name="test", quant="int4")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda raw: raw.replace(b"llama", b"mamba"), "architecture 'mamba' cannot be imported; those that can"),
        (lambda raw: raw.replace(b"gpt-2", b"gpt-7"), "as by 'gpt-7', which is not known"),
        (lambda raw: raw.replace(b"blk.1.ffn_up", b"blk.1.ffn_xx"), r"has no tensor blk\.1\.ffn_up\.weight"),
    ],
)
def test_what_cannot_be_imported_says_why(harm: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", FAMILIES["llama"])
    source.write_bytes(harm(source.read_bytes()))
    with pytest.raises(ModelError, match=message):
        importer.examine(source, name="test", quant="int4")


def test_an_import_holds_a_tensor_and_not_the_file(tmp_path: Path) -> None:
    source = ggufs.write(tmp_path / "it.gguf", checkpoints.gptj(n_layer=2), Kind.Q8_0)
    checked = importer.examine(source, name="test", quant="int8")
    tracemalloc.start()
    try:
        importer.write(checked, tmp_path / "model")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * 1024 * 256 * 4  # the largest is 1024 × 256
