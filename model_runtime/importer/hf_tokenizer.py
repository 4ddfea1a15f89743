"""A checkpoint's tokenizer in, ours out: one tokenizer.json, its markers, and how the model is asked to infill.

Reads tokenizer.json, or vocab.json with merges.txt. Markers are found by name in the vocabulary,
each must be one token, and each is made special, so that a marker that stands in a user's file
stays text. Reads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import model_runtime.tokenizer
from model_runtime.errors import TokenizerError
from model_runtime.importer.hf_config import Configuration
from model_runtime.manifest import Fim

_LEAST = 0.9  # of the network's vocabulary: a tokenizer that has less belongs to another model

_OWN = Fim("spm", ("<|end|>",), "<|prefix|>", "<|suffix|>", file="<|file|>", context="<|context|>")
_QWEN = Fim(
    layout="psm",
    end=("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file="<|file_sep|>",
    context="<|file_sep|>",
)
_STARCODER2 = Fim(
    layout="psm",
    end=("<|endoftext|>", "<file_sep>"),
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    file="<file_sep>",
    context="<file_sep>",
    path_in_prefix=True,
)
_STARCODER = Fim("spm2", ("<|endoftext|>",), "<fim_prefix>", "<fim_suffix>", "<fim_middle>", heading="# {path}")
_SANTACODER = Fim("spm2", ("<|endoftext|>",), "<fim-prefix>", "<fim-suffix>", "<fim-middle>", heading="# {path}")
_DEEPSEEK = Fim("psm", (), "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", heading="#{path}")
_CODESTRAL = Fim("spm", (), "[PREFIX]", "[SUFFIX]", heading="# {path}")
_CODELLAMA = Fim("spm2", ("▁<EOT>",), "▁<PRE>", "▁<SUF>", "▁<MID>", heading="# {path}")
_CODEGEN2 = Fim(
    layout="mask",
    end=("<eom>", "<|endoftext|>"),
    middle="<mask_1>",
    separators=("<|endoftext|>", "<sep>"),
    heading="# {path}",
)
_PREFIX = Fim("prefix", (), heading="# {path}")

# The first whose markers are all there is taken; the ends may be missing.
_DIALECTS = (
    _OWN,
    _QWEN,
    _STARCODER2,
    _STARCODER,
    _SANTACODER,
    _DEEPSEEK,
    _CODESTRAL,
    _CODELLAMA,
    _CODEGEN2,
    _PREFIX,
)

# Where a tokenizer may merge what a line break should keep apart.
_PROBES = (
    "def f(x):\n    return x  \n\n\n\tif x :\n  y\n",
    "a\r\n\r\n b \r\n",
    "\n\n x\n \n\t\n}\n  });\n\n",
    "# é\n日本\n\u2028\x0c\n1\n22\n",
)


@dataclass(frozen=True)
class Vocabulary:
    """text: our tokenizer.json. split_lines: see Manifest."""

    text: str
    fim: Fim
    split_lines: bool


def vocabulary(directory: Path, config: Configuration, vocab_size: int) -> Vocabulary:
    """The tokenizer of a checkpoint's folder. Raises TokenizerError when it is missing, broken or another model's."""
    path, found = _read(directory)
    check_size(path, found, vocab_size)
    return assembled(path, found, _ends(directory, config, path, found), _begin(found))


def assembled(
    path: Path, found: Tokenizer, ends: Sequence[str], begin: str | None, otherwise: Fim | None = None
) -> Vocabulary:
    """What an import makes of a tokenizer. ends, begin: what texts end and begin with, by the model's own word.

    otherwise: how to infill where no known markers are among the tokens. Raises TokenizerError.
    """
    known = [fim for fim in _DIALECTS if fim != _PREFIX]
    candidates = [*known, *([otherwise] if otherwise else []), _PREFIX]
    fim = next(fim for fim in candidates if all(found.token_to_id(one) is not None for one in _without_ends(fim)))
    kept = [*ends, *(one for one in fim.end if found.token_to_id(one) is not None)]
    fim = msgspec.structs.replace(fim, end=tuple(dict.fromkeys(kept)), begin=begin)
    text = _plain(found, fim.markers)
    _check_round_trip(path, text)
    return Vocabulary(text, fim, _keeps_lines_apart(text))


def _without_ends(fim: Fim) -> tuple[str, ...]:
    return msgspec.structs.replace(fim, end=()).markers


def _read(directory: Path) -> tuple[Path, Tokenizer]:
    path = directory / model_runtime.tokenizer.FILE
    vocab, merges = directory / "vocab.json", directory / "merges.txt"
    if not path.exists() and not (vocab.exists() and merges.exists()):
        raise TokenizerError(
            f"{directory} has neither {model_runtime.tokenizer.FILE} nor {vocab.name} and {merges.name}; "
            "save the checkpoint's fast tokenizer beside it"
        )
    try:
        if path.exists():
            return path, Tokenizer.from_str(path.read_text(encoding="utf-8"))
        return vocab, _of_two_files(directory, vocab, merges)
    except TokenizerError:
        raise
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        where = path if path.exists() else vocab
        raise TokenizerError(f"{where} is not a tokenizer ({error}); download the checkpoint again") from error


def _of_two_files(directory: Path, vocab: Path, merges: Path) -> Tokenizer:
    """The byte-level BPE of GPT-2, as CodeGen, GPT-J and StarCoder have it, or of Qwen2."""
    settings = _json(directory / "tokenizer_config.json")
    inner = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    inner.decoder = decoders.ByteLevel()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if str(settings.get("tokenizer_class", "")).startswith("Qwen2"):
        inner.normalizer = normalizers.NFC()
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"), whole])
    for token, (text, special) in sorted(_added(directory, settings).items()):
        inner.add_tokens([AddedToken(text, special=special, normalized=False)])
        if inner.token_to_id(text) != token:
            raise TokenizerError(f"{directory}: token {text!r} is {token} in one file and another in {vocab.name}")
    return inner


QWEN_WORDS = (  # from Qwen2's published tokenizer
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _added(directory: Path, settings: dict[str, Any]) -> dict[int, tuple[str, bool]]:
    """Tokens beside the vocabulary: id → text, and whether it is a marker."""
    found = {int(token): (str(text), False) for text, token in _json(directory / "added_tokens.json").items()}
    for token, one in settings.get("added_tokens_decoder", {}).items():
        found[int(token)] = (str(one["content"]), bool(one.get("special", False)))
    vocabulary = _json(directory / "vocab.json")
    for name in ("bos_token", "eos_token", "unk_token"):
        one = settings.get(name)
        text = one.get("content") if isinstance(one, dict) else one
        if isinstance(text, str) and text in vocabulary:
            found[int(vocabulary[text])] = (text, True)
    return found


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one when there is no such file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} cannot be read ({error}); download the checkpoint again") from error


def check_size(path: Path, found: Tokenizer, vocab_size: int, described_by: str = "config.json") -> None:
    """Raises TokenizerError when the network has another vocabulary. described_by: what says how many tokens it has."""
    count = max(found.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if not _LEAST * vocab_size <= count <= vocab_size:
        raise TokenizerError(
            f"{path} has {count} tokens, {described_by} says {vocab_size}; the two belong to different models, "
            "download the checkpoint again"
        )


def _ends(directory: Path, config: Configuration, path: Path, found: Tokenizer) -> list[str]:
    """What the model ends a text with, as its configurations say."""
    told = [config.get("eos_token_id"), _json(directory / "generation_config.json").get("eos_token_id")]
    ids = [one for value in told for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
    texts = [found.id_to_token(one) if 0 <= one < 1 << 32 else None for one in dict.fromkeys(ids)]
    if None in texts:
        raise TokenizerError(
            f"{path} has no token {ids[texts.index(None)]}, with which config.json ends a text; "
            "the two belong to different models, download the checkpoint again"
        )
    return [text for text in texts if text is not None]


def _begin(found: Tokenizer) -> str | None:
    """What the tokenizer itself puts before every text."""
    bare, dressed = (found.encode("x", add_special_tokens=dress).ids for dress in (False, True))
    return found.id_to_token(dressed[0]) if dressed[:1] != bare[:1] else None


def _plain(found: Tokenizer, markers: Iterable[str]) -> str:
    """tokenizer.json that adds nothing to a text, neither a space nor a token, and knows each marker as special."""
    content = json.loads(found.to_str())
    content["post_processor"] = None
    _without_leading_space(content)
    added = {one["content"]: one for one in content["added_tokens"]}
    for marker in markers:
        added.setdefault(marker, _token(found, marker))["special"] = True
    content["added_tokens"] = sorted(added.values(), key=lambda one: int(one["id"]))
    return json.dumps(content, ensure_ascii=False)


def _token(found: Tokenizer, text: str) -> dict[str, Any]:
    sides = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": found.token_to_id(text), "content": text, **sides, "special": True}


def _without_leading_space(content: dict[str, Any]) -> None:
    for name in ("normalizer", "pre_tokenizer"):
        step = content[name]
        steps = [step] if step is not None and step["type"] != "Sequence" else _inner(step)
        kept = [one for one in steps if one["type"] != "Prepend"]
        for one in kept:
            if "prepend_scheme" in one:
                one["prepend_scheme"] = "never"
            if "add_prefix_space" in one:
                one["add_prefix_space"] = False
        if len(kept) < len(steps):
            content[name] = {"type": "Sequence", "normalizers": kept}


def _inner(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if step is None else step.get("normalizers") or step.get("pretokenizers") or []


def _check_round_trip(path: Path, text: str) -> None:
    ours = model_runtime.tokenizer.Tokenizer(Tokenizer.from_str(text))
    for probe in _PROBES:
        if ours.decode(ours.encode(probe)) != probe:
            raise TokenizerError(
                f"{path}: a text that is encoded and decoded comes back as another; "
                "only byte-level and byte-fallback BPE can be imported"
            )


def _keeps_lines_apart(text: str) -> bool:
    """Whether encoding line by line gives what encoding the whole gives."""
    whole = model_runtime.tokenizer.Tokenizer(Tokenizer.from_str(text))
    lines = model_runtime.tokenizer.Tokenizer(Tokenizer.from_str(text), split_lines=True)
    if any(b"\n" in (one := whole.token_bytes(token)) and one != b"\n" for token in range(whole.vocab_size)):
        return False
    return all(whole.encode(probe) == lines.encode(probe) for probe in _PROBES)
