"""Models that other programs keep: found where they lie, told what they are, imported by the name they have there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lacuna import commands, found_models, library
from lacuna.errors import ModelNameError
from lacuna.other_programs import ollama_model, on_disk
from model_runtime import manifest
from tests import checkpoints, ggufs
from tests.checkpoints import Checkpoint

BASE = checkpoints.llama(model_type="qwen2")
MARKED = Checkpoint(BASE.config, BASE.tensors, BASE.logits, checkpoints.QWEN_MARKERS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet, in a folder that is empty."""
    for name in [name for name in os.environ if name.startswith(("LACUNA_", "OLLAMA_", "HF_", "LLAMA_"))]:
        monkeypatch.delenv(name)
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs a command line; gives its exit code and what it printed, to both."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = commands.run(["model", *map(str, arguments)])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def pulled(folder: Path, place: str, source: Checkpoint = MARKED, more: list[dict[str, Any]] | None = None) -> Path:
    """A model as `ollama pull` leaves it; its manifest. place: registry, namespace, model and tag."""
    blobs = folder / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    made = ggufs.write(blobs / "made", source, ggufs.Kind.Q4_0, pre="qwen2")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    made.rename(blobs / f"sha256-{digest}")
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1}
    other = {"mediaType": "application/vnd.ollama.image.license", "digest": f"sha256:{'0' * 64}", "size": 1}
    target = folder / "manifests" / place
    target.parent.mkdir(parents=True)
    content = {"schemaVersion": 2, "config": {"digest": "sha256:" + "1" * 64}, "layers": [layer, other, *(more or [])]}
    target.write_text(json.dumps(content))
    return target


def test_what_ollama_keeps_is_found_imported_and_chosen_in_three_commands(home: Path, said: Any) -> None:
    pulled(home / ".ollama" / "models", "registry.ollama.ai/library/qwen2.5-coder/0.5b")
    code, out, err = said("find")
    assert (code, err) == (0, "")
    assert out.startswith(
        "ollama:qwen2.5-coder:0.5b\n    Ollama, 0.00 GB, 0M weights, infills, at least 0.0 ms a token"
    )
    assert "to import one: lacuna model import ollama:qwen2.5-coder:0.5b" in out
    code, out, err = said("import", "ollama:qwen2.5-coder:0.5b", "--quant", "int4")
    assert (code, err) == (0, "")
    assert manifest.read(library.folder() / "qwen2.5-coder-0.5b").fim.layout == "psm"
    assert said("verify", "qwen2.5-coder-0.5b")[0] == 0


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("registry.ollama.ai/library/coder/latest", "coder"),
        ("registry.ollama.ai/library/coder/latest", "coder:latest"),
        ("registry.ollama.ai/me/coder/7b", "me/coder:7b"),
        ("hf.co/me/coder-GGUF/Q4_0", "hf.co/me/coder-GGUF:Q4_0"),
    ],
)
def test_a_model_has_the_name_that_ollama_gives_it(place: str, name: str, home: Path) -> None:
    folder = home / "elsewhere"
    pulled(folder, place)
    environment = {"OLLAMA_MODELS": str(folder), "HOME": str(home)}
    assert ollama_model(name, environment).name.startswith("sha256-")
    (found,) = on_disk(home / "work", environment)
    assert found.source in (f"ollama:{name}", f"ollama:{name}:latest")


@pytest.mark.parametrize("name", ["", "..", "a/../b", "../../etc/passwd", "a/b/c/d", "a b", "a:b:c", "a:../x"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, home: Path) -> None:
    with pytest.raises(ModelNameError, match="is no name of Ollama's"):
        ollama_model(name)


def test_a_model_that_ollama_does_not_have_says_which_there_are(home: Path, said: Any) -> None:
    code, _, err = said("import", "ollama:coder")
    assert (code, err.count("\n"), "it keeps none in" in err) == (1, 1, True)
    pulled(home / ".ollama" / "models", "registry.ollama.ai/library/other/1b")
    code, _, err = said("import", "ollama:coder")
    assert (code, "there are ollama:other:1b" in err) == (1, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no manifest of Ollama's"),
        ('{"layers": []}', "in 0 parts"),
        ('{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]}', "1 parts"),
        (
            '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:' + "a" * 64 + '"}]}',
            "is not there, .* names it; pull the model again",
        ),
    ],
)
def test_a_broken_manifest_says_what_to_do(content: str, message: str, home: Path) -> None:
    path = pulled(home / ".ollama" / "models", "registry.ollama.ai/library/coder/latest")
    path.write_text(content)
    with pytest.raises(ModelNameError, match=message):
        ollama_model("coder")
    assert on_disk(home / "work") == []


def test_an_adapter_is_not_left_out_silently(home: Path) -> None:
    adapter = {"mediaType": "application/vnd.ollama.image.adapter", "digest": "sha256:" + "2" * 64}
    pulled(home / ".ollama" / "models", "registry.ollama.ai/library/coder/latest", more=[adapter])
    with pytest.raises(ModelNameError, match="with an adapter"):
        ollama_model("coder")


def test_each_program_and_the_folder_at_hand_are_looked_through(home: Path) -> None:
    studio = home / ".lmstudio" / "models" / "me" / "coder-GGUF"
    studio.mkdir(parents=True)
    ggufs.write(studio / "coder.gguf", MARKED, pre="qwen2")
    (home / "cache" / "llama.cpp").mkdir(parents=True)
    for number in range(2):
        path = home / "cache" / "llama.cpp" / f"coder-{number + 1:05d}-of-00002.gguf"
        ggufs.write(path, MARKED, pre="qwen2", part=(number, 2))
    snapshot = home / "cache" / "huggingface" / "hub" / "models--me--coder" / "snapshots" / "abc"
    checkpoints.starcoder2().write(snapshot)
    (home / "work" / "coder.gguf").symlink_to(studio / "coder.gguf")  # there already
    checkpoints.llama().write(home / "work" / "mine")
    found = {one.source: one for one in on_disk(home / "work")}
    split = str(home / "cache" / "llama.cpp" / "coder-00001-of-00002.gguf")
    assert {one.keeper: one.source for one in found.values()} == {
        "LM Studio": str(studio / "coder.gguf"),
        "llama.cpp": split,
        "Hugging Face hub": str(snapshot),
        "this folder": str(home / "work" / "mine"),
    }
    assert found[split].bytes > (home / "cache" / "llama.cpp" / "coder-00001-of-00002.gguf").stat().st_size


def test_what_cannot_be_imported_is_counted_and_told_on_request(home: Path, said: Any) -> None:
    (home / "work" / "picture.gguf").write_bytes(b"GGUF" + bytes(100))
    ggufs.write(home / "work" / "plain.gguf", checkpoints.llama())
    code, out, _ = said("find")
    assert code == 0 and "plain.gguf" in out and "prefix only" in out and "picture.gguf" not in out
    assert "1 more cannot be imported; --all says why" in out
    assert "picture.gguf: it is GGUF of version 0" in said("find", "--all")[1]
    told = json.loads(said("find", "--all", "--json")[1])
    assert [bool(one["obstacle"]) for one in told] == [False, True]
    assert told[0]["parameters"] > 0 and told[0]["token_ms"] > 0


def test_where_nothing_is_kept_that_is_said(home: Path, said: Any) -> None:
    assert said("find") == (0, "nothing was found to import\n", "")


def test_memory_is_read_at_a_speed_that_memory_has() -> None:
    assert 1e8 < found_models.read_bandwidth() < 1e13
