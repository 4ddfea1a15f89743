"""A checkpoint's folder or a GGUF in, a model directory out: tensor by tensor, whole or not at all.

Everything is made in a workshop beside the target, which becomes the target by its last act, a
rename. A workshop that is left over from the same import is gone on with; one of another import
is thrown away. Knows nothing of where models are kept, nor of who watches the progress.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from model_runtime import manifest, tokenizer
from model_runtime.errors import CheckpointError
from model_runtime.graph import graph
from model_runtime.graph.nodes import Precision
from model_runtime.graph.quantize import Blocks, Floats
from model_runtime.importer.checkpoint import Checkpoint, open_folder
from model_runtime.importer.families import check_kind, planned
from model_runtime.importer.gguf_checkpoint import is_gguf, open_gguf
from model_runtime.importer.gguf_tokenizer import GgufVocabulary
from model_runtime.importer.hf_config import Configuration
from model_runtime.importer.hf_tokenizer import Vocabulary, assembled, check_size, vocabulary
from model_runtime.importer.weight_map import Part, Plan
from model_runtime.manifest import Manifest

Quant = Literal["int4", "int8", "hybrid", "fp16", "fp32"]
Progress = Callable[[int, int], None]  # weights done, weights in all

_VERSION = 2  # raised when a workshop of an older import cannot be gone on with
_ORDER = "import.json"
# Bytes that a weight takes on disk, scales included.
_BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8": 1.125, "int4": 0.625, "columns": 1.0}
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "NOTICE", "NOTICE.txt", "USE_POLICY.md")


class Order(msgspec.Struct, frozen=True):
    """What is to be imported; two imports of the same order make the same model.

    sources: size and time of change of each file that is read. context: tokens to serve.
    """

    version: int
    name: str
    quant: Quant
    context: int
    sources: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Checked:
    """A checkpoint about which nothing is left to be wrong but its values.

    origin: what the description calls it; licence: its name; notices: files that go with the model.
    """

    checkpoint: Checkpoint
    plan: Plan
    vocabulary: Vocabulary
    order: Order
    origin: str
    licence: str
    notices: tuple[Path, ...] = ()


def examine(source: Path, *, name: str, quant: Quant, context: int | None = None) -> Checked:
    """Everything but the weights, checked. context: tokens to serve, None chooses. Raises ModelError."""
    if is_gguf(source):
        return _examine_gguf(source, name, quant, context)
    if source.is_file():
        raise CheckpointError(f"{source} is no GGUF file; give one, or the folder of a Hugging Face checkpoint")
    config = Configuration.read(source)
    check_kind(config)
    checkpoint = open_folder(source)
    words = vocabulary(source, config, config.integer("vocab_size"))
    found = planned(config, checkpoint, words.fim.layout, context)
    files = [config.path, *checkpoint.files, *source.glob("*token*.json"), *source.glob("vocab.json")]
    notices = tuple(source / one for one in _LICENCES if (source / one).is_file())
    order = Order(_VERSION, name, quant, found.shape.context_length, _changes(files))
    return Checked(checkpoint, found, words, order, source.resolve().name, _licence(source), notices)


def _examine_gguf(source: Path, name: str, quant: Quant, context: int | None) -> Checked:
    opened = open_gguf(source)
    tokens = GgufVocabulary(source, opened.metadata)
    inner = tokens.tokenizer()
    check_size(source, inner, opened.config.integer("vocab_size"), "its embedding")
    words = assembled(source, inner, tokens.ends(), tokens.begin(), tokens.fim())
    found = planned(opened.config, opened.checkpoint, words.fim.layout, context)
    order = Order(_VERSION, name, quant, found.shape.context_length, _changes(opened.checkpoint.files))
    said = opened.metadata.get("general.license")
    licence = said if isinstance(said, str) and 0 < len(said) < 100 else "unknown"
    return Checked(opened.checkpoint, found, words, order, source.name, licence)


def _changes(files: Sequence[Path]) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)}


def write(checked: Checked, target: Path, progress: Progress = lambda done, total: None) -> Manifest:
    """Makes the model directory `target`, which must not be there. Raises ModelError, OSError.

    Interrupted, it leaves a workshop beside the target; called again it goes on from there.
    """
    if target.exists():
        raise CheckpointError(f"{target} is there already; remove it or import under another name")
    workshop = target.with_name(f".{target.name}.partial")
    _open_workshop(workshop, checked.order)
    _check_room(workshop, checked)
    weights = Weights(checked, progress)
    for name, precision in _graphs(checked.order.quant):
        graph.write(workshop / name, checked.plan.shape, weights.again(), precision, workshop / f"{name}.journal")
    (workshop / tokenizer.FILE).write_text(checked.vocabulary.text, encoding="utf-8")
    for path in checked.notices:
        shutil.copyfile(path, workshop / path.name)
    described = _describe(checked, workshop)
    (workshop / manifest.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(described)))
    manifest.read(workshop)  # what was written can be read
    _finish(workshop)
    os.replace(workshop, target)
    return described


class Weights(Mapping[str, Floats]):
    """The weights of a network by our names, read from a checkpoint when asked for."""

    def __init__(self, checked: Checked, progress: Progress) -> None:
        self._checkpoint, self._parts = checked.checkpoint, checked.plan.parts
        self._progress = progress
        sizes = graph.matrix_names(checked.plan.shape)
        self._behind = dict(zip(sizes, np.cumsum([rows * width for rows, width in sizes.values()]), strict=True))
        self._whole = int(next(reversed(self._behind.values())))
        self._passes, self._pass = len(_graphs(checked.order.quant)), -1

    def again(self) -> Weights:
        """The same, about to be read once more from the start."""
        self._pass += 1
        return self

    def __getitem__(self, name: str) -> Floats:
        part: Part = self._parts[name]
        found = self._checkpoint.read(part.name, part.rows)
        self._tell(name)
        return found

    def coding(self, name: str) -> tuple[int, int] | None:
        """Bits and length of the blocks of a matrix that the checkpoint has in blocks of ours."""
        return self._checkpoint.coding(self._parts[name].name)

    def blocks(self, name: str) -> Blocks | None:
        """A matrix in these blocks, the same to the bit."""
        part = self._parts[name]
        found = self._checkpoint.blocks(part.name, part.rows)
        if found is not None:
            self._tell(name)
        return found

    def _tell(self, name: str) -> None:
        if name in self._behind:  # the place in the network tells how far we are, also after an interruption
            self._progress(self._pass * self._whole + int(self._behind[name]), self._passes * self._whole)

    def __contains__(self, name: object) -> bool:
        return name in self._parts  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _graphs(quant: Quant) -> list[tuple[str, Precision]]:
    if quant == "hybrid":
        return [(graph.GRAPH, "int4"), (graph.PREFILL, "columns")]
    if quant == "int8":
        return [(graph.GRAPH, "int8"), (graph.PREFILL, "columns")]
    return [(graph.GRAPH, quant)]


def _open_workshop(workshop: Path, order: Order) -> None:
    """Empty, or as an interrupted import of the same order left it."""
    path = workshop / _ORDER
    try:
        if msgspec.json.decode(path.read_bytes(), type=Order) == order:
            return
    except (OSError, msgspec.DecodeError):
        pass  # nothing to go on with
    shutil.rmtree(workshop, ignore_errors=True)
    workshop.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(order))


def _check_room(workshop: Path, checked: Checked) -> None:
    """Raises CheckpointError when the disk cannot hold what is still to be written."""
    weights = sum(rows * width for rows, width in graph.matrix_names(checked.plan.shape).values())
    needed = sum(int(weights * _BYTES[precision]) for _, precision in _graphs(checked.order.quant))
    there = sum(path.stat().st_size for path in workshop.iterdir())
    free = shutil.disk_usage(workshop).free
    if needed - there > free:
        raise CheckpointError(
            f"the model takes {needed / 1e9:.1f} GB and {workshop.parent} has {free / 1e9:.1f} GB left; "
            "make room, or choose another folder with --out or a smaller form with --quant int4"
        )


def _finish(workshop: Path) -> None:
    """Nothing is left but the model, and the model is on the disk."""
    for path in [*workshop.glob("*.journal"), workshop / _ORDER]:
        path.unlink()
    for path in workshop.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _describe(checked: Checked, workshop: Path) -> Manifest:
    quant = checked.order.quant
    kept = [path for path in sorted(workshop.iterdir()) if path.suffix != ".journal" and path.name != _ORDER]
    return Manifest(
        format=manifest.FORMAT,
        name=checked.order.name,
        family=checked.plan.family,
        licence=checked.licence,
        shape=checked.plan.shape,
        fim=checked.vocabulary.fim,
        weights="int4" if quant == "hybrid" else quant,
        prefill="columns" if len(_graphs(quant)) > 1 else "same",
        files={path.name: manifest.digest(path) for path in kept if path.name != manifest.MANIFEST},
        description=f"imported from {checked.origin} as {quant}",
        split_lines=checked.vocabulary.split_lines,
    )


def _licence(source: Path) -> str:
    """What the model card names, or the first line of the licence; "unknown" where nobody says."""
    card = source / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:100]:
            key, _, value = line.partition(":")
            if key.strip() in ("license", "license_name") and value.strip(" '\"") not in ("", "other"):
                return value.strip(" '\"")
    for name in _LICENCES[:4]:
        if (source / name).is_file():
            lines = (source / name).read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in lines if line.strip()), "unknown")
    return "unknown"
