"""Where other programs keep models on this disk: Ollama, LM Studio, llama.cpp, the Hugging Face hub, and this folder.

Reads their folders and Ollama's manifests; asks no program and no network. Whether a model can be imported says the
importer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lacuna.errors import ModelNameError

OLLAMA = "ollama:"

_REGISTRY, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"sha256[:-](?P<digits>[0-9a-f]{64})")
_MODEL = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_LATER_PART = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}\.gguf$")
_LARGEST_MANIFEST = 1 << 20  # bytes


@dataclass(frozen=True)
class DiskModel:
    """keeper: the program that keeps it; source: what `lacuna model import` takes; path: the file or folder of it;
    bytes: of its weights."""

    keeper: str
    source: str
    path: Path
    bytes: int


class _Layer(msgspec.Struct):
    media_type: str = msgspec.field(name="mediaType")
    digest: str


class _Manifest(msgspec.Struct):
    layers: list[_Layer]


def ollama_model(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The GGUF of a model by Ollama's name for it, NAME[:TAG]. Raises ModelNameError."""
    parts = _ollama_parts(name)
    folders = _ollama_folders(environment)
    for folder in folders:
        manifest = folder.joinpath("manifests", *parts)
        if manifest.is_file():
            return _ollama_blob(folder, manifest)
    there = [one.source for one in _ollama(environment)]
    names = f"there are {', '.join(there)}" if there else f"it keeps none in {' or '.join(map(str, folders))}"
    raise ModelNameError(f"Ollama has no model {name!r} on this disk; {names}")


def on_disk(here: Path, environment: Mapping[str, str] = os.environ) -> list[DiskModel]:
    """All that these programs keep, and what is in a folder or right below it; nothing is there twice."""
    found: dict[Path, DiskModel] = {}
    for one in (*_ollama(environment), *_others(environment), *_in_folder("this folder", here, 1)):
        found.setdefault(one.path.resolve(), one)
    return list(found.values())


def _ollama_parts(name: str) -> tuple[str, str, str, str]:
    """Registry, namespace, model and tag."""
    path, _, tag = name.partition(":")
    words = path.split("/")
    parts = [*[_REGISTRY, _NAMESPACE][: max(0, 3 - len(words))], *words, tag or _TAG]
    if len(parts) != 4 or not all(_WORD.fullmatch(part) for part in parts):
        raise ModelNameError(f"{name!r} is no name of Ollama's; give it as `ollama list` shows it, NAME:TAG")
    registry, namespace, model, tag = parts
    return registry, namespace, model, tag


def _ollama_folders(environment: Mapping[str, str]) -> list[Path]:
    if told := environment.get("OLLAMA_MODELS"):
        return [Path(told).expanduser()]
    return [_home(environment) / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]  # as a service


def _ollama_blob(folder: Path, manifest: Path) -> Path:
    try:
        if manifest.stat().st_size > _LARGEST_MANIFEST:
            raise msgspec.DecodeError("it is too long")
        layers = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).layers
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelNameError(f"{manifest} is no manifest of Ollama's ({error}); pull the model again") from error
    weights = [layer.digest for layer in layers if layer.media_type == _MODEL]
    digest = _DIGEST.fullmatch(weights[0]) if weights else None
    if len(weights) != 1 or digest is None or any(layer.media_type == _ADAPTER for layer in layers):
        raise ModelNameError(f"{manifest} is of a model in {len(weights)} parts or with an adapter; import another")
    blob = folder / "blobs" / f"sha256-{digest['digits']}"
    if not blob.is_file():
        raise ModelNameError(f"{blob} is not there, {manifest} names it; pull the model again")
    return blob


def _ollama(environment: Mapping[str, str]) -> Iterator[DiskModel]:
    for folder in _ollama_folders(environment):
        root = folder / "manifests"
        for manifest in sorted(root.glob("*/*/*/*")):
            registry, namespace, model, tag = manifest.relative_to(root).parts
            words = [registry, namespace, model] if registry != _REGISTRY else [namespace, model]
            name = "/".join(words if words[0] != _NAMESPACE else words[1:])
            try:
                blob = _ollama_blob(folder, manifest)
            except ModelNameError:
                continue
            yield DiskModel("Ollama", f"{OLLAMA}{name}:{tag}", blob, blob.stat().st_size)


def _others(environment: Mapping[str, str]) -> Iterator[DiskModel]:
    home = _home(environment)
    caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    for folder in (home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"):
        yield from _in_folder("LM Studio", folder, 3)
    told = environment.get("LLAMA_CACHE")
    for folder in [Path(told)] if told else [caches / "llama.cpp", home / "Library" / "Caches" / "llama.cpp"]:
        yield from _in_folder("llama.cpp", folder, 1)
    hub = Path(environment.get("HF_HUB_CACHE") or Path(environment.get("HF_HOME") or caches / "huggingface") / "hub")
    for repository in sorted(hub.glob("models--*")):
        for snapshot in sorted((repository / "snapshots").glob("*")):
            yield from _in_folder("Hugging Face hub", snapshot, 1)


def _in_folder(keeper: str, folder: Path, depth: int) -> Iterator[DiskModel]:
    """GGUF files and checkpoints in a folder and so many levels below it."""
    checkpoint = folder / "config.json"
    weights = [path for kind in ("*.safetensors", "pytorch_model*.bin") for path in folder.glob(kind)]
    if checkpoint.is_file() and weights:
        yield DiskModel(keeper, str(folder), folder, sum(map(_size, weights)))
    for path in sorted(folder.glob("*.gguf")):
        if path.is_file() and not _LATER_PART.search(path.name):
            parts = path.parent.glob(path.name.replace("-00001-of-", "-?????-of-", 1))
            yield DiskModel(keeper, str(path), path, sum(map(_size, parts)))
    if depth > 0 and folder.is_dir():
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith("."):
                yield from _in_folder(keeper, inner, depth - 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link of the hub's cache whose blob is gone
        return 0


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment["HOME"]) if environment.get("HOME") else Path.home()
