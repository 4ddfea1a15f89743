"""A model directory that is missing, cut short, foreign or malicious is refused with a word on what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_runtime import manifest
from model_runtime.errors import ChecksumError, ManifestError

WEIGHTS = "model.onnx.data"


def described() -> dict[str, Any]:
    """A whole manifest, as JSON would give it, without its files."""
    return {
        "format": manifest.FORMAT,
        "name": "test",
        "family": "llama",
        "licence": "Apache-2.0",
        "shape": {
            "vocab_size": 300,
            "hidden_size": 64,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "head_size": 16,
            "ffn_size": 128,
            "context_length": 512,
        },
        "fim": {"layout": "spm", "end": ["<|end|>"], "prefix": "<|prefix|>", "suffix": "<|suffix|>"},
        "weights": "int8",
        "files": {},
    }


def write(directory: Path, change: Callable[[dict[str, Any]], object] = lambda one: None) -> Path:
    """A model directory with one file of weights and a manifest, the latter changed at will."""
    (directory / WEIGHTS).write_bytes(b"weights" * 100)
    content = described()
    found = manifest.digest(directory / WEIGHTS)
    content["files"][WEIGHTS] = {"bytes": found.bytes, "sha256": found.sha256}
    change(content)
    (directory / manifest.MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    return directory


def test_a_whole_directory_passes_every_check(tmp_path: Path) -> None:
    found = manifest.read(write(tmp_path))
    assert (found.name, found.shape.kv_heads, found.fim.layout) == ("test", 2, "spm")
    manifest.check_sizes(tmp_path, found)
    manifest.check(tmp_path, found)


def test_a_directory_without_a_manifest_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot read .*manifest\.json: No such file.*--model"):
        manifest.read(tmp_path)


def test_a_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ManifestError, match="Not a directory"):
        manifest.read(tmp_path / "model.gguf")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"format": 1}'])
def test_a_broken_manifest_is_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / manifest.MANIFEST).write_bytes(content)
    with pytest.raises(ManifestError, match=r"is not a model manifest: .*restore the model directory"):
        manifest.read(tmp_path)


def test_a_manifest_of_another_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="of format 99, this Lacuna reads format 1; upgrade Lacuna"):
        manifest.read(write(tmp_path, lambda one: one.update(format=99)))


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="flavour"):
        manifest.read(write(tmp_path, lambda one: one.update(flavour="sweet")))


@pytest.mark.parametrize("field", ["vocab_size", "heads", "kv_heads", "context_length", "rope_theta"])
@pytest.mark.parametrize("value", [0, -4])
def test_a_size_that_is_none_is_named(tmp_path: Path, field: str, value: int) -> None:
    with pytest.raises(ManifestError, match=rf"{field} is {value}(\.0)?, it must be above 0"):
        manifest.read(write(tmp_path, lambda one: one["shape"].update({field: value})))


def test_heads_that_cannot_share_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="4 heads cannot share 3 kv_heads"):
        manifest.read(write(tmp_path, lambda one: one["shape"].update(kv_heads=3)))


@pytest.mark.parametrize(
    ("layout", "token"),
    [("spm", "prefix"), ("spm", "suffix"), ("psm", "middle"), ("spm2", "middle"), ("mask", "middle")],
)
def test_a_layout_without_its_token_is_refused(tmp_path: Path, layout: str, token: str) -> None:
    def change(one: dict[str, Any]) -> None:
        one["fim"].update(layout=layout, middle="<|middle|>")
        one["fim"][token] = None

    with pytest.raises(ManifestError, match=rf"layout {layout} needs the token fim\.{token}"):
        manifest.read(write(tmp_path, change))


@pytest.mark.parametrize("name", ["../secrets", "/etc/passwd", "a/b", "..", ".", ""])
def test_a_file_name_that_leaves_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="leaves the model directory"):
        manifest.read(write(tmp_path, lambda one: one["files"].update({name: {"bytes": 1, "sha256": "0"}})))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    found = manifest.read(write(tmp_path))
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ChecksumError, match=rf"cannot read .*{WEIGHTS}: No such file.*restore"):
        manifest.check_sizes(tmp_path, found)


def test_a_file_cut_short_is_found_by_its_size(tmp_path: Path) -> None:
    found = manifest.read(write(tmp_path))
    (tmp_path / WEIGHTS).write_bytes(b"weights" * 99)
    with pytest.raises(ChecksumError, match="has 693 bytes, the manifest names 700"):
        manifest.check_sizes(tmp_path, found)


def test_a_changed_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    found = manifest.read(write(tmp_path))
    (tmp_path / WEIGHTS).write_bytes(b"weighty" + b"weights" * 99)
    manifest.check_sizes(tmp_path, found)
    with pytest.raises(ChecksumError, match=r"has SHA-256 .*restore the model directory"):
        manifest.check(tmp_path, found)


def test_the_embedded_model_lies_inside_the_package() -> None:
    assert manifest.embedded() == Path(manifest.__file__).parent / "embedded"
