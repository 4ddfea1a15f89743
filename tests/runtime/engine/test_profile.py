"""How fast a model is here: measured once, kept, and measured again when what was kept is of no use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from model_runtime import manifest as manifests
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine import profile
from model_runtime.engine.profile import Profile
from model_runtime.manifest import Manifest
from tests import tiny
from tests.runtime.conftest import Precision

KNOWN = Profile(prefill=1000.0, decode_ms=2.0, verify_ms={2: 3.0, 4: 4.0})


def manifest(name: str = "tiny") -> Manifest:
    return Manifest(1, name, "llama", "none", tiny.SHAPE, tiny.FIM, "int8", {})


@pytest.fixture
def backend(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> Iterator[OnnxBackend]:
    directory = tiny_model("int8")
    opened = OnnxBackend.open(directory, manifests.read(directory), cache=tmp_path / "graphs", threads=1)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing else ran, whatever does."""
    monkeypatch.setattr(profile, "_waited", lambda: 0.0)


def test_what_was_measured_is_kept(backend: OnnxBackend, tmp_path: Path) -> None:
    first = profile.kept(backend, manifest(), "1", tmp_path)
    assert min(first.prefill, first.decode_ms, *first.verify_ms.values()) > 0
    assert profile.kept(backend, manifest(), "1", tmp_path) == first


def test_another_model_or_number_of_threads_has_a_profile_of_its_own(backend: OnnxBackend, tmp_path: Path) -> None:
    for model, runs_on in (("one", "1"), ("two", "1"), ("one", "2")):
        profile.kept(backend, manifest(model), runs_on, tmp_path)
    assert len(list(tmp_path.glob("profile-*.json"))) == 3


def test_a_damaged_profile_is_measured_again(backend: OnnxBackend, tmp_path: Path) -> None:
    profile.kept(backend, manifest(), "1", tmp_path)
    (kept,) = tmp_path.glob("profile-*.json")
    kept.write_bytes(msgspec.json.encode(KNOWN))
    assert profile.kept(backend, manifest(), "1", tmp_path) == KNOWN
    kept.write_bytes(b'{"prefill": 3')
    assert profile.kept(backend, manifest(), "1", tmp_path) != KNOWN


def test_where_nothing_can_be_kept_it_is_measured_all_the_same(backend: OnnxBackend, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert profile.kept(backend, manifest(), "1", tmp_path / "file").decode_ms > 0


def test_what_was_measured_while_others_held_the_cores_is_not_kept(
    backend: OnnxBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "_waited", lambda: time.perf_counter() / 2)
    assert profile.kept(backend, manifest(), "1", tmp_path).decode_ms > 0
    assert not list(tmp_path.glob("profile-*.json"))


def test_a_slow_model_is_asked_for_one_token_only(backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_BUDGET", 0.0)
    found = profile.measured(backend)
    assert found.verify_ms == {}
    assert found.prefill == pytest.approx(1e3 / found.decode_ms)
    assert found.costs() == (found.decode_ms,)


def test_what_is_measured_as_quicker_for_more_tokens_is_not_believed() -> None:
    assert Profile(1.0, 2.0, {2: 1.5, 4: 4.0}).costs() == (2.0, 2.0, 3.0, 4.0)


def test_costs_between_what_was_measured_lie_on_straight_lines() -> None:
    assert KNOWN.costs() == (2.0, 3.0, 3.5, 4.0)
