"""Tiny models, written once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.graph import graph, kernels
from model_runtime.manifest import Manifest
from model_runtime.opening import open_engine
from tests import tiny

Precision = Literal["fp32", "int8", "int4"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], Path]:
    """The directory of a tiny model in a precision."""
    made: dict[str, Path] = {}

    def model(precision: Precision) -> Path:
        if precision not in made:
            made[precision] = tiny.write(tmp_path_factory.mktemp(precision) / "model", precision=precision)
        return made[precision]

    return model


def hybrid(source: Path, target: Path) -> tuple[Path, Manifest]:
    """A copy of a tiny model in 4 bits that brings along what reads prompts in 8."""
    shutil.copytree(source, target)
    graph.write(target / graph.PREFILL, tiny.SHAPE, tiny.weights(), "columns")
    found = manifest.read(target)
    brought = {graph.PREFILL: manifest.digest(target / graph.PREFILL)}
    return target, msgspec.structs.replace(found, files=found.files | brought)


@pytest.fixture
def kernels_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no compiler, or a processor that needs no kernels of ours."""
    monkeypatch.setattr(kernels, "library", lambda cache: None)


@pytest.fixture
def engine(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> Iterator[Engine]:
    """The tiny int8 model, loaded afresh."""
    opened = open_engine(tiny_model("int8"), cache=tmp_path / "cache")
    yield opened
    opened.close()
