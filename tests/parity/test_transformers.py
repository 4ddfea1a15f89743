"""Small random checkpoints of each family, made and run by transformers, then imported and run by us."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.graph import graph
from model_runtime.importer import importer
from model_runtime.opening import open_engine
from tests import checkpoints
from tests.checkpoints import Array
from tests.runtime.importer.test_importer import two_at_once

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

VOCAB = 320
TOKENS = [int(token) for token in np.random.default_rng(3).integers(0, 256, 160)]
GREEDY = 64

COMMON = {"vocab_size": VOCAB, "bos_token_id": 256, "eos_token_id": 256, "initializer_range": 0.08}
WIDE = {
    **COMMON,
    "hidden_size": 128,
    "intermediate_size": 224,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
GPT = {**COMMON, "n_embd": 256, "n_layer": 3, "n_head": 8, "n_positions": 512, "rotary_dim": 16}
MULTI = {**COMMON, "n_embd": 128, "n_layer": 3, "n_head": 4, "n_positions": 512}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LENGTH = {"original_max_position_embeddings": 64}

# name: configuration class, its arguments, markers of the vocabulary
FAMILIES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "llama": ("LlamaConfig", WIDE, checkpoints.END),
    "llama, tied, biased": (
        "LlamaConfig",
        {**WIDE, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
        checkpoints.END,
    ),
    "linear": ("LlamaConfig", {**WIDE, "rope_parameters": {"rope_type": "linear", "factor": 4.0}}, checkpoints.END),
    "dynamic": ("LlamaConfig", {**WIDE, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, checkpoints.END),
    "llama3": ("LlamaConfig", {**WIDE, "rope_parameters": {**LLAMA3, **LENGTH}}, checkpoints.END),
    "yarn": (
        "LlamaConfig",
        {**WIDE, "rope_parameters": {"rope_type": "yarn", "factor": 8.0, **LENGTH}},
        checkpoints.END,
    ),
    "mistral": ("MistralConfig", {**WIDE, "sliding_window": 24}, checkpoints.END),
    "qwen2": ("Qwen2Config", WIDE, checkpoints.QWEN_MARKERS),
    "qwen3": ("Qwen3Config", {**WIDE, "head_dim": 48}, checkpoints.QWEN_MARKERS),
    "starcoder2": ("Starcoder2Config", {**WIDE, "sliding_window": 40}, checkpoints.END),
    "gptj": ("GPTJConfig", GPT, checkpoints.END),
    "codegen": ("CodeGenConfig", GPT, checkpoints.END),
    "codegen2": ("CodeGenConfig", GPT, checkpoints.CODEGEN2_MARKERS),
    "bigcode": ("GPTBigCodeConfig", MULTI, checkpoints.END),
    "bigcode, many heads": ("GPTBigCodeConfig", {**MULTI, "multi_query": False}, checkpoints.END),
}


class Pair:
    """A checkpoint in transformers' hands, and its folder."""

    def __init__(self, family: str, directory: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        import transformers

        torch.manual_seed(0)
        torch.set_num_threads(1)
        kind, arguments, markers = FAMILIES[family]
        config = getattr(transformers, kind)(**arguments)
        self.model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        for name, value in self.model.named_parameters():
            if name.endswith("bias"):  # which a fresh model has as zeros
                torch.nn.init.normal_(value, std=0.1)
        self.directory = directory
        self.model.save_pretrained(directory, max_shard_size="300KB")
        tokenizer = checkpoints.byte_level([*markers, *(f"<{n}>" for n in range(VOCAB - 256 - len(markers)))])
        tokenizer.save(str(directory / "tokenizer.json"))
        if family == "codegen2":
            _as_codegen2(directory, self.model.config.n_embd)

    def logits(self, tokens: list[int]) -> Array:
        """[T, V]."""
        import torch

        with torch.no_grad():
            return np.asarray(self.model(torch.tensor([tokens]), use_cache=False).logits[0])

    def greedy(self, tokens: list[int], count: int) -> list[int]:
        """What comes after these tokens, one at a time, whatever ends a text."""
        found = list(tokens)
        for _ in range(count):
            found.append(int(self.logits(found)[-1].argmax()))
        return found[len(tokens) :]


def _as_codegen2(directory: Path, hidden: int) -> None:
    """The same model with its rows of q, v and k as eight cores hold them, which transformers itself cannot run."""
    from safetensors.numpy import load_file, save_file

    for path in directory.glob("*.safetensors"):
        tensors = load_file(path)
        for name, fused in tensors.items():
            if "qkv_proj" in name:
                four = fused.reshape(4, 3, hidden // 4, -1)
                each = [four[:, place].reshape(8, hidden // 8, -1) for place in range(3)]
                tensors[name] = np.stack(each, axis=1).reshape(fused.shape)
        save_file(tensors, path, {"format": "pt"})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """A family's checkpoint, made once."""
    made: dict[str, Pair] = {}

    def of(family: str) -> Pair:
        if family not in made:
            made[family] = Pair(family, tmp_path_factory.mktemp("checkpoint") / "source")
        return made[family]

    return of


def imported(pair: Pair, at: Path, quant: importer.Quant = "fp32") -> Path:
    importer.write(importer.examine(pair.directory, name="test", quant=quant), at / quant)
    return at / quant


def opened(directory: Path, cache: Path) -> OnnxBackend:
    return OnnxBackend.open(directory, manifest.read(directory), cache=cache, threads=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_within_a_thousandth(family: str, pair: Callable[[str], Pair], tmp_path: Path) -> None:
    reference = pair(family)
    backend = opened(imported(reference, tmp_path), tmp_path)
    expected = reference.logits(TOKENS)
    store = backend.new_slots(1)[0]
    assert expected.std() > 0.1
    assert np.abs(backend.decode(store, TOKENS, 0, Cancel()) - expected[-1]).max() <= 1e-3
    start = 0
    for size in (1, 63, 1, 5, 64, 26):  # in chunks, and every chunk's last position
        found = backend.decode(store, TOKENS[start : start + size], start, Cancel())
        start += size
        assert np.abs(found - expected[start - 1]).max() <= 1e-3
    assert start == len(TOKENS)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_goes_on_the_same_for_64_tokens(family: str, pair: Callable[[str], Pair], tmp_path: Path) -> None:
    reference = pair(family)
    backend = opened(imported(reference, tmp_path), tmp_path)
    expected = reference.greedy(TOKENS[:40], GREEDY)
    store, found = backend.new_slots(1)[0], list(TOKENS[:40])
    logits = backend.decode(store, found, 0, Cancel())
    while len(found) < 40 + GREEDY:
        found.append(int(logits.argmax()))
        logits = backend.decode(store, found[-1:], len(found) - 1, Cancel())
    assert found[40:] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_says_what_transformers_says(family: str, pair: Callable[[str], Pair], tmp_path: Path) -> None:
    reference = pair(family)
    engine = open_engine(imported(reference, tmp_path), cache=tmp_path, threads=1)
    *tokens, finish = engine.generate(Generation(tuple(TOKENS[:40]), max_tokens=24), Cancel())
    assert isinstance(finish, Finish)
    expected = reference.greedy(TOKENS[:40], finish.usage.generated)
    text = "".join(token.text for token in tokens if not isinstance(token, Finish))
    assert text == engine.tokenizer.decode(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_sequences_in_one_run_are_as_each_alone(family: str, pair: Callable[[str], Pair], tmp_path: Path) -> None:
    reference = pair(family)
    expected = reference.logits(TOKENS)
    found = two_at_once(imported(reference, tmp_path), TOKENS, (37, 90))
    assert np.abs(found - expected[[37, 90]]).max() <= 1e-3


@pytest.mark.parametrize("quant", ["fp32", "hybrid"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rewind_and_append_are_exact(
    family: str, quant: importer.Quant, pair: Callable[[str], Pair], tmp_path: Path
) -> None:
    backend = opened(imported(pair(family), tmp_path, quant), tmp_path)
    store = backend.new_slots(1)[0]
    backend.decode(store, TOKENS[:100], 0, Cancel())
    first = backend.decode(store, TOKENS[100:], 100, Cancel())
    backend.decode(store, TOKENS[:50], 70, Cancel())
    backend.decode(store, TOKENS[70:100], 70, Cancel())
    assert np.array_equal(first, backend.decode(store, TOKENS[100:], 100, Cancel()))


# Root mean square of what quantization moves the logits by, in units of the logits' own spread. Random weights
# are the worst case: no direction matters more than another. docs/log/runtime.md has the numbers.
DIVERGENCE: dict[importer.Quant, float] = {"fp16": 0.002, "int8": 0.08, "int4": 0.65, "hybrid": 0.55}


@pytest.mark.parametrize("quant", DIVERGENCE)
@pytest.mark.parametrize("family", FAMILIES)
def test_quantization_moves_the_logits_within_bounds(
    family: str, quant: importer.Quant, pair: Callable[[str], Pair], tmp_path: Path, record_property: Any
) -> None:
    reference = pair(family)
    backend = opened(imported(reference, tmp_path, quant), tmp_path)
    expected, store, moved = reference.logits(TOKENS), backend.new_slots(1)[0], []
    backend.prefill(store, TOKENS[:100], 0, Cancel())
    for at in range(100, len(TOKENS)):
        moved.append(backend.decode(store, TOKENS[at : at + 1], at, Cancel()) - expected[at])
    divergence = float(np.sqrt(np.mean(np.square(moved))) / expected.std())
    record_property("divergence", divergence)
    print(f"{family} {quant}: {divergence:.4f}")
    reads_in_4_bits = quant == "hybrid" and backend.kernels != "onnxruntime"  # then one copy of the weights does it all
    assert divergence <= DIVERGENCE["int4" if reads_in_4_bits else quant]


def test_a_pytorch_file_of_its_own_gives_the_same_model(pair: Callable[[str], Pair], tmp_path: Path) -> None:
    import torch

    reference, source = pair("qwen2"), tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (source / name).write_bytes((reference.directory / name).read_bytes())
    torch.save(reference.model.state_dict(), source / "pytorch_model.bin")
    whole = imported(reference, tmp_path)
    importer.write(importer.examine(source, name="test", quant="fp32"), tmp_path / "pickled")
    for name in (graph.GRAPH, graph.DATA):
        assert (whole / name).read_bytes() == (tmp_path / "pickled" / name).read_bytes()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("pickled", [True, False])
def test_half_precision_is_read_as_transformers_reads_it(
    kind: str, pickled: bool, pair: Callable[[str], Pair], tmp_path: Path
) -> None:
    import copy

    import torch

    reference, source = pair("bigcode"), tmp_path / "source"
    model = copy.deepcopy(reference.model).to(getattr(torch, kind))
    model.save_pretrained(source)
    (source / "tokenizer.json").write_bytes((reference.directory / "tokenizer.json").read_bytes())
    if pickled:
        (source / "model.safetensors").unlink()
        torch.save(model.state_dict(), source / "pytorch_model.bin")
    importer.write(importer.examine(source, name="test", quant="fp32"), tmp_path / "model")
    backend = opened(tmp_path / "model", tmp_path)
    with torch.no_grad():
        expected = np.asarray(model.float()(torch.tensor([TOKENS])).logits[0, -1])
    assert np.abs(backend.decode(backend.new_slots(1)[0], TOKENS, 0, Cancel()) - expected).max() <= 1e-3


def test_a_pickle_of_a_whole_model_is_not_run(pair: Callable[[str], Pair], tmp_path: Path) -> None:
    import torch

    from model_runtime.errors import CheckpointError

    reference, source = pair("bigcode"), tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(reference.model.config.to_dict()))
    torch.save(reference.model, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"asks for transformers\.|asks for torch\."):
        importer.examine(source, name="test", quant="fp32")


@pytest.mark.parametrize("kind", ["CodeGenTokenizer", "Qwen2Tokenizer"])
def test_two_files_encode_as_transformers_encodes_them(kind: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer

    from model_runtime import tokenizer
    from model_runtime.importer import hf_tokenizer
    from model_runtime.importer.hf_config import Configuration

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    files = Path(importer.__file__).parent.glob("*.py")
    texts = [path.read_text(encoding="utf-8").replace("<|endoftext|>", "") for path in files]  # to us it is text
    trained.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    )
    trained.model.save(str(tmp_path))
    config = {"tokenizer_class": kind, "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    size = len(theirs)
    words = hf_tokenizer.vocabulary(tmp_path, Configuration(tmp_path / "config.json", {}), size)
    ours = tokenizer.Tokenizer(Tokenizer.from_str(words.text))
    for text in [*texts, "x = 1234\n\n\n    y\t\t z \r\n", "日本 é 🎈\n"]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
