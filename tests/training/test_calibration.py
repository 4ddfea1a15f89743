"""Four bits chosen by what a network reads: closer in its answers than plain rounding, and stored so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_runtime.graph import graph
from model_runtime.graph.quantize import from_blocks, to_blocks
from tests import tiny

torch = pytest.importorskip("torch", reason="needs the train extra")
pytestmark = pytest.mark.training


def test_calibrated_weights_answer_more_like_the_network_than_rounded_ones(tmp_path: Path) -> None:
    from training import calibration
    from training.model import Decoder

    weights = tiny.weights()
    random = np.random.default_rng(1)

    def batch() -> tuple[np.ndarray, np.ndarray]:
        return random.integers(8, tiny.SHAPE.vocab_size, (8, 129)), np.ones((8, 128), np.float32)

    def network() -> Decoder:
        found = Decoder(tiny.SHAPE)
        found.load_state_dict({name: torch.from_numpy(one.copy()) for name, one in weights.items()})
        return found

    calibrated, rounded = network(), network()
    blocks = calibration.calibrated(calibrated, [batch() for _ in range(4)])
    with torch.no_grad():
        for name, weight in rounded.named_parameters():
            if name in blocks:
                weight.copy_(torch.from_numpy(from_blocks(to_blocks(weight.numpy(), 4))))
        tokens = torch.from_numpy(batch()[0])
        wanted = network()(tokens)
        off = [float((found(tokens) - wanted).square().mean()) for found in (calibrated, rounded)]
    assert off[0] < 0.8 * off[1]

    graph.write_model(tmp_path, tiny.SHAPE, calibration.Rounded(weights, blocks), "int4_head8")
    stored = graph.read_weights(tmp_path, tiny.SHAPE)
    for name, one in blocks.items():
        expected = from_blocks(one)
        assert np.abs(stored[name] - expected).max() <= 1e-3 * np.abs(expected).max()  # scales in half precision
