"""A model directory in, its description out: shapes, FIM tokens, checksums. Loads no weights.

A model directory holds `manifest.json`, `tokenizer.json`, one ONNX graph and its external
data. The manifest is the only file read by hand; everything else is named in it, with its
size and SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from model_runtime.errors import ChecksumError, ManifestError

FORMAT = 1
MANIFEST = "manifest.json"

Layout = Literal["spm", "psm", "spm2", "mask", "prefix"]
Family = Literal["llama", "gptj", "bigcode"]
Matrix = Literal["q", "k", "v", "o", "gate", "up", "down", "head"]

_NEEDED: dict[Layout, tuple[str, ...]] = {
    "spm": ("prefix", "suffix"),
    "psm": ("prefix", "suffix", "middle"),
    "spm2": ("prefix", "suffix", "middle"),
    "mask": ("middle",),
    "prefix": (),
}


class Fim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is asked for a middle. Token strings; None where the model has no such token.

    layout: "spm" suffix, prefix, and the middle goes on from the prefix (ours);
            "psm" prefix, suffix, middle; "spm2" both markers, suffix, the middle marker,
            prefix (the other suffix–prefix–middle of Bavarian et al. 2022);
            "mask" prefix, mask, suffix, separators, mask (CodeGen 2), where `middle` is the
            mask; "prefix" the model cannot infill.
    begin: what every prompt begins with. separators: see "mask".
    path_in_prefix: the file's path follows the prefix marker, not the file marker.
    heading: for models without file and context markers, the line of text that stands before
             a snippet and before the prefix, `{path}` for its path; None for no such line
             and no snippets.
    """

    layout: Layout
    end: tuple[str, ...]
    prefix: str | None = None
    suffix: str | None = None
    middle: str | None = None
    file: str | None = None
    context: str | None = None
    begin: str | None = None
    separators: tuple[str, ...] = ()
    path_in_prefix: bool = False
    heading: str | None = None

    @property
    def markers(self) -> tuple[str, ...]:
        """Every marker there is, the ends included."""
        single = (self.begin, self.context, self.file, self.prefix, self.suffix, self.middle)
        return tuple(dict.fromkeys([*(one for one in single if one), *self.separators, *self.end]))


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the model directory. bytes: its size; sha256: in hexadecimal."""

    bytes: int
    sha256: str


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network: its sizes, in units of elements, and its kind. The defaults are the embedded model's.

    norm: of what is read by attention and feed-forward, by root mean square or by mean and variance.
    gated: the feed-forward has a gate beside its way up. parallel: attention and feed-forward read
    the same norm and are added together (GPT-J). biases: which matrices have one, of q, k, v, o,
    gate, up, down and head. window: the most positions that a position sees, itself included.
    positions: turned into keys and queries, or learned and added to the embedding.
    rotary_size: how much of a head is turned, from its start; None is all of it.
    rotary_interleaved: neighbours are turned together, not the halves of the head.
    rope: radians a position, for each pair, where `rope_theta` does not say it (scaled RoPE);
    rope_magnitude: what cos and sin are multiplied by.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    ffn_size: int
    context_length: int
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    qk_norm: bool = False
    tied: bool = True
    norm: Literal["rms", "layer"] = "rms"
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    gated: bool = True
    parallel: bool = False
    biases: tuple[Matrix, ...] = ()
    window: int | None = None
    positions: Literal["rotary", "learned"] = "rotary"
    rotary_size: int | None = None
    rotary_interleaved: bool = False
    rope: tuple[float, ...] | None = None
    rope_magnitude: float = 1.0


class MixtureWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a workspace's n-grams are believed beside this model: the slopes of a logistic function.

    bias; length: of the logarithm of the match in tokens; seen: of the logarithm of how often it occurs;
    peak: of the share of its likeliest continuation; sure: of the model's largest log-probability.
    Fitted to a model on held-out code by `training.mixture_weights`.
    """

    bias: float = -4.0
    length: float = 1.0
    seen: float = 0.1
    peak: float = 2.0
    sure: float = -1.0


class Sharding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a network is shared out: among how many ranks, and for what they compute on ("cuda" is half precision)."""

    ranks: int
    device: Literal["cpu", "cuda"] = "cpu"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of manifest.json.

    weights: how the stored weights are coded, see `quantize`: "int8" or "int4" in blocks
             of 32 or 128 along the input, or floats of 16 or 32 bits.
    prefill: what computes long prompts: a second copy of the weights in columns, which is
             quicker (stored beside the graph or derived from it), or the one graph alone.
    mixture_weights: how far a memory of n-grams is believed beside this model.
    split_lines: the tokenizer never merges across a newline, so lines may be encoded apart.
    sharding: among whom the weights are shared out; None is one process that holds them all.
    """

    format: int
    name: str
    family: Family
    licence: str
    shape: Shape
    fim: Fim
    weights: Literal["fp32", "fp16", "int8", "int4"]
    files: dict[str, File]
    prefill: Literal["columns", "same"] = "columns"
    description: str = ""
    split_lines: bool = False
    mixture_weights: MixtureWeights = msgspec.field(default=MixtureWeights(), name="trust")
    sharding: Sharding | None = None


def read(directory: Path) -> Manifest:
    """The manifest of a model directory. Raises ManifestError; see `check` for the files it names."""
    path = directory / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"cannot read {path}: {error.strerror}; a model directory holds a {MANIFEST}, "
            "give its path with --model or leave that out to use the embedded model"
        ) from error
    try:
        version = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get("format")
        if version is not None and bytes(version) != str(FORMAT).encode():
            raise ManifestError(
                f"{path} is of format {bytes(version).decode()}, this Lacuna reads format {FORMAT}; "
                "upgrade Lacuna or export the model again"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not a model manifest: {error}; restore the model directory") from error
    _check_sense(path, manifest)
    return manifest


def _check_sense(path: Path, manifest: Manifest) -> None:
    shape, fim = manifest.shape, manifest.fim
    sizes = {
        name: value
        for name, value in msgspec.structs.asdict(shape).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    for name, value in sizes.items():
        if value <= 0:
            raise ManifestError(f"{path}: {name} is {value}, it must be above 0; restore the model directory")
    if shape.heads % shape.kv_heads:
        raise ManifestError(
            f"{path}: {shape.heads} heads cannot share {shape.kv_heads} kv_heads; restore the model directory"
        )
    rotary = shape.rotary_size or shape.head_size
    if rotary % 2 or rotary > shape.head_size or (shape.rope is not None and len(shape.rope) != rotary // 2):
        raise ManifestError(f"{path}: rotary_size, rope and head_size do not agree; restore the model directory")
    for name in _NEEDED[fim.layout]:
        if getattr(fim, name) is None:
            raise ManifestError(f"{path}: layout {fim.layout} needs the token fim.{name}; restore the model directory")
    for name in manifest.files:
        if name != Path(name).name or name in ("", ".", ".."):
            raise ManifestError(f"{path}: file name {name!r} leaves the model directory; do not use this model")


def embedded() -> Path:
    """The directory of the model that ships with this package."""
    return Path(__file__).parent / "embedded"


def digest(path: Path) -> File:
    """Size and SHA-256 of one file. Raises OSError."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(bytes=path.stat().st_size, sha256=sha256)


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Every named file is there with the named size: cheap, done at every load. Raises ChecksumError."""
    for name, file in manifest.files.items():
        path = directory / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ChecksumError(f"cannot read {path}: {error.strerror}; restore the model directory") from error
        if size != file.bytes:
            raise ChecksumError(
                f"{path} has {size} bytes, the manifest names {file.bytes}: it was cut short or replaced; "
                "restore the model directory"
            )


def check(directory: Path, manifest: Manifest) -> None:
    """Every named file is there, whole and unchanged: reads all of it. Raises ChecksumError."""
    check_sizes(directory, manifest)
    for name, file in manifest.files.items():
        path = directory / name
        try:
            found = digest(path)
        except OSError as error:
            raise ChecksumError(f"cannot read {path}: {error.strerror}; restore the model directory") from error
        if found.sha256 != file.sha256:
            raise ChecksumError(
                f"{path} has SHA-256 {found.sha256[:12]}…, the manifest names {file.sha256[:12]}…; "
                "restore the model directory"
            )
