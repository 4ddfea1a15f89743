"""PyTorch files: the tensors come out, code does not get in."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_runtime.errors import CheckpointError
from model_runtime.importer import torch_pickle
from tests import checkpoints
from tests.checkpoints import write_pickle

RANDOM = np.random.default_rng(0)
TENSORS: checkpoints.Tensors = {
    "a.weight": RANDOM.standard_normal((5, 3)).astype(np.float32),
    "b": RANDOM.standard_normal((4, 2, 3)).astype(np.float16),
    "c": RANDOM.standard_normal(7),
    "steps": np.arange(3),
}


def test_every_row_of_every_tensor_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write_pickle(path, TENSORS)
    found = torch_pickle.locations(path)
    assert found.keys() == TENSORS.keys()
    assert [name for name, location in found.items() if not location.is_float] == ["steps"]
    for name in ("a.weight", "b", "c"):
        whole = TENSORS[name].astype(np.float32)
        assert np.array_equal(torch_pickle.read(path, found[name], 0, len(whole)), whole)
        assert np.array_equal(torch_pickle.read(path, found[name], 1, 3), whole[1:3])


def test_what_is_no_tensor_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write_pickle(path, TENSORS, {"epoch": 3, "arguments": {"rate": 0.1}, 7: None})
    assert torch_pickle.locations(path).keys() == TENSORS.keys()


def _write(path: Path, state: bytes, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        for name, content in members.items():
            archive.writestr(f"archive/data/{name}", content)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_code_is_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "mark"
    _write(path, pickle.dumps({"a": Evil(mark)}, protocol=2))
    with pytest.raises(
        CheckpointError, match=r"asks for (posix|nt)\.system, which is no tensor; it was not read further"
    ):
        torch_pickle.locations(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins eval", "builtins getattr", "os system", "torch.storage _load_from_bytes", "numpy.core.multiarray x"],
)
def test_only_names_of_tensors_are_known(name: str, tmp_path: Path) -> None:
    module, member = name.split()
    path = tmp_path / "pytorch_model.bin"
    _write(path, f"\x80\x02c{module}\n{member}\n.".encode("latin-1"))
    with pytest.raises(CheckpointError, match=rf"asks for {module}\.{member}"):
        torch_pickle.locations(path)


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02N.",
        b"\x80\x02]q\x00.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",  # called without arguments
        b"\x80\x02ctorch\nFloatStorage\n}X\x04\x00\x00\x00nameK\x01sb.",  # an attribute written over
        b"not a pickle at all",
    ],
)
def test_a_broken_pickle_is_no_traceback(state: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    _write(path, state)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        torch_pickle.locations(path)
    test_every_row_of_every_tensor_comes_out(tmp_path)  # and it has changed nothing for the next


def test_the_format_before_zip_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2))
    with pytest.raises(CheckpointError, match=r"cut short or in the format of PyTorch before 1\.6.*safetensors"):
        torch_pickle.locations(path)


def test_a_zip_of_something_else_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match="none that PyTorch wrote"):
        torch_pickle.locations(path)


def test_values_that_are_missing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write_pickle(path, TENSORS)
    with zipfile.ZipFile(path) as archive:
        state = archive.read("archive/data.pkl")
    _write(path, state, **{"0": b"\x00" * 8, "1": b"\x00" * 99, "2": b"\x00" * 99, "3": b"\x00" * 99})
    with pytest.raises(CheckpointError, match=r"values of tensor a\.weight are missing or cut short; download"):
        torch_pickle.locations(path)


def test_compressed_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write_pickle(path, TENSORS)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"a\.weight are compressed; save the checkpoint as safetensors"):
        torch_pickle.locations(path)


def test_a_tensor_that_is_a_view_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    turned = checkpoints._Rebuilt(checkpoints._Stored("0", "FloatStorage", 15), TENSORS["a.weight"])
    turned.arguments = (*turned.arguments[:2], (3, 5), (1, 3), False, {})
    write_pickle(path, {}, {"turned": turned})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", b"\x00" * 60)
    with pytest.raises(CheckpointError, match="tensor turned does not lie in one piece"):
        torch_pickle.locations(path)
