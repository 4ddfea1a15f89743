"""The fit finds what the data was made with, and a memory that knows nothing is not believed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from model_runtime import manifest
from model_runtime.manifest import MixtureWeights
from model_runtime.opening import open_engine
from tests import tiny
from training import mixture_weights
from training.mixture_weights import Observed
from training.sources import SourceFile


def _made(slopes: tuple[float, ...], count: int = 20_000) -> Observed:
    """Tokens that the memory knew with the share the slopes say, and only the model knew otherwise."""
    random = np.random.default_rng(0)
    seen = np.column_stack(
        [
            np.ones(count),
            random.uniform(0, 3, count),
            random.uniform(0, 4, count),
            random.uniform(0.1, 1, count),
            random.uniform(-4, 0, count),
        ]
    )
    right = random.random(count) < 1 / (1 + np.exp(-(seen @ np.array(slopes))))
    return Observed(seen, np.where(right, 0.01, 0.5), np.where(right, 0.9, 1e-6))


def test_the_fit_finds_the_slopes_the_data_was_made_with() -> None:
    true = (-3.0, 1.2, 0.3, 2.0, -0.5)
    found = msgspec.structs.astuple(mixture_weights.fit(_made(true)))
    assert found == pytest.approx(true, abs=0.4)


def test_a_fit_is_never_worse_than_the_defaults() -> None:
    observed = _made((-4.0, 0.2, 0.0, 1.0, 0.0))
    assert observed.gain(mixture_weights.fit(observed)) >= observed.gain(MixtureWeights())


def test_a_memory_that_is_always_wrong_is_not_believed() -> None:
    observed = _made((-20.0, 0.0, 0.0, 0.0, 0.0))
    assert observed.gain(mixture_weights.fit(observed)) == pytest.approx(0.0, abs=0.01)


def test_a_model_is_observed_on_real_files_and_its_manifest_keeps_the_fit(tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    texts = [f"first = 1\n\n\n\n\ndef area_{at}(self, width):\n    return self.scale * width\n" for at in range(3)]
    files = [SourceFile("package", "held_out", f"f{at}.py", "python", text) for at, text in enumerate(texts)]
    engine = open_engine(model, cache=tmp_path / "cache")
    observed = mixture_weights.observe(engine, {"package": files}, lines=6, seed=1)
    assert len(observed.model) == len(observed.memory) == len(observed.seen) > 20
    assert observed.memory.mean() > observed.model.mean()  # the other files say the same, the weights are random
    found = mixture_weights.fit(observed)
    assert observed.gain(found) > 1.0
    mixture_weights.write(model, found)
    assert manifest.read(model).mixture_weights == found


def test_the_memory_knows_a_file_without_the_lines_that_are_asked_for() -> None:
    assert mixture_weights.without("a\nb\nc\nd", [2, 0]) == ["", "b\n", "d\n"]
    assert mixture_weights.without("a\nb", []) == ["a\nb\n"]


def test_packages_without_lines_are_refused(tmp_path: Path) -> None:
    engine = open_engine(tiny.write(tmp_path / "model"), cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="take more lines"):
        mixture_weights.observe(engine, {}, lines=6, seed=1)
