"""A network grown into a larger one says what it said, and is handed on whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import grown, random_model
from model_runtime import manifest
from model_runtime.engine.sequence import Cancel, Generation, Token
from model_runtime.graph import graph
from model_runtime.opening import open_engine
from tests import tiny
from tests.small_model import SMALL

TOKENS = [int(token) for token in np.random.default_rng(1).integers(8, 260, 60)]


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (8, 2), (12, 4), (7, 1)])
def test_a_grown_network_says_what_the_small_one_says(heads: int, kv_heads: int) -> None:
    small = msgspec.structs.replace(tiny.SHAPE, kv_heads=min(kv_heads, tiny.SHAPE.kv_heads))
    weights = tiny.weights()
    if kv_heads == 1:
        weights |= {name: one[:32] for name, one in weights.items() if name.endswith(("k.weight", "v.weight"))}
    large = msgspec.structs.replace(
        tiny.SHAPE, vocab_size=300, hidden_size=96, layers=3, heads=heads, kv_heads=kv_heads, ffn_size=128
    )
    expected = tiny.logits(weights, TOKENS, small)
    found = tiny.logits(grown.Grown(weights, small, large), TOKENS, large)
    assert np.abs(found[:, : small.vocab_size] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).all()  # so no further token is ever said


def test_the_shipped_model_goes_on_alike_in_a_larger_network(tmp_path: Path) -> None:
    shipped = manifest.read(SMALL)
    weights = graph.read_weights(SMALL, shipped.shape)
    large = msgspec.structs.replace(shipped.shape, vocab_size=4224, hidden_size=512, layers=7, heads=8, ffn_size=1280)
    random_model.write(tmp_path / "small", shipped.shape, "fp32", weights)
    random_model.write(tmp_path / "large", large, "fp32", grown.Grown(weights, shipped.shape, large))
    small, same = (open_engine(tmp_path / name, cache=tmp_path) for name in ("small", "large"))
    begun = tuple(small.tokenizer.encode("import os\n\n\ndef read(path: str) -> str:\n    with open("))
    texts = [
        [
            event.text
            for event in engine.generate(Generation(begun, max_tokens=24), Cancel())
            if isinstance(event, Token)
        ]
        for engine in (small, same)
    ]
    assert texts[0] == texts[1] and len(texts[0]) == 24


def test_weights_are_handed_on_by_their_names(tmp_path: Path) -> None:
    large = msgspec.structs.replace(tiny.SHAPE, hidden_size=96)
    weights = grown.Grown(tiny.weights(), tiny.SHAPE, large)
    grown.hand(weights, tmp_path / "weights")
    assert {file.stem for file in (tmp_path / "weights").iterdir()} == set(graph.sizes(large))
    assert (np.load(tmp_path / "weights" / "layers.1.o.weight.npy") == weights["layers.1.o.weight"]).all()
