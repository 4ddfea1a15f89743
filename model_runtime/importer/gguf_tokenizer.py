"""A GGUF's vocabulary in, a tokenizer out: byte-level BPE by its merges, or SentencePiece's BPE by its scores.

A GGUF names how a text is cut into words before the merges, and does not say it; the cuts of the names known here are
those of the tokenizers that the names stand for. Sources: `llama-vocab.cpp` of llama.cpp for names and keys;
tokenizer.json of GPT-2, Llama 3, Qwen2, StarCoder, DeepSeek-Coder and Mistral NeMo for the cuts; Kudo 2018 for
byte-fallback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from model_runtime.errors import TokenizerError
from model_runtime.importer.hf_tokenizer import QWEN_WORDS
from model_runtime.manifest import Fim

_CONTROL, _USER, _UNUSED, _BYTE = 3, 4, 5, 6  # kinds of tokens; 1 is normal, 2 unknown

_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN_WORDS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_CUTS = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+")

_BY_DIGITS = ("starcoder", "smollm", "refact", "codeshell", "command-r", "exaone", "minerva-7b")
_LIKE_GPT2 = ("gpt-2", "gpt2", "olmo", "jais", "phi-2", "mpt", "roberta-bpe", "trillion", "granite-docling")
_LIKE_QWEN2 = ("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez")
_LIKE_LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "dbrx", "falcon3", "pixtral")
# Where a file is older than these names: what its architecture is known by.
_BY_ARCHITECTURE = {"starcoder": "starcoder", "starcoder2": "starcoder", "qwen2": "qwen2", "qwen3": "qwen2"}
_BY_ARCHITECTURE |= {"gptj": "gpt-2", "granite": "refact"}

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "</s>", "<｜end▁of▁sentence｜>")
_FIM_KEYS = {"prefix": "pre", "suffix": "suf", "middle": "mid"}


class GgufVocabulary:
    """The tokens of a file and what its metadata says of them. Raises TokenizerError."""

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        self.path, self._metadata = path, metadata
        self.texts = self._list("tokens", str)
        if not self.texts:
            raise self._wrong("there is no tokenizer.ggml.tokens in its metadata")
        self._kinds = self._list("token_type", int) or [1] * len(self.texts)
        if len(self._kinds) != len(self.texts):
            raise self._wrong(f"it has {len(self.texts)} tokens and the types of {len(self._kinds)}")
        while self.texts and self._kinds[len(self.texts) - 1] == _UNUSED:  # rows that only pad the network
            self.texts.pop()
        if len(set(self.texts)) != len(self.texts):
            raise self._wrong("a token is there twice")

    def tokenizer(self) -> Tokenizer:
        """As the model's authors had it. Raises TokenizerError for a kind that is not known."""
        kind = self._get("model")
        if kind not in ("gpt2", "llama"):
            raise self._wrong(f"its tokenizer is of the kind {kind!r}, only byte-level and byte-fallback BPE are known")
        inner = self._byte_level() if kind == "gpt2" else self._byte_fallback()
        for text, one in zip(self.texts, self._kinds, strict=False):
            if one in (_CONTROL, _USER):
                inner.add_tokens([AddedToken(text, special=one == _CONTROL, normalized=False)])
        return inner

    def ends(self) -> list[str]:
        """What the model ends a text with."""
        by_name = [one for one, kind in zip(self.texts, self._kinds, strict=False) if kind != 1 and one in _ENDS]
        return list(dict.fromkeys([*self._named("eos_token_id", "eot_token_id", "eom_token_id"), *by_name]))

    def begin(self) -> str | None:
        """What every text begins with."""
        is_added = self._get("add_bos_token")
        if is_added is None:
            is_added = self._get("model") == "llama"
        return next(iter(self._named("bos_token_id")), None) if is_added else None

    def fim(self) -> Fim | None:
        """How to infill by the markers that the metadata names, prefix, suffix, middle; None where it names none."""
        found = {ours: self._named(f"fim_{key}_token_id", f"{ours}_token_id") for ours, key in _FIM_KEYS.items()}
        if not all(found.values()):
            return None
        prefix, suffix, middle = (one[0] for one in found.values())
        ends = self._named("fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id")
        file = next(iter(self._named("fim_sep_token_id")), None)
        heading = None if file else "# {path}"
        return Fim("psm", tuple(ends), prefix, suffix, middle, file=file, context=file, heading=heading)

    def _byte_level(self) -> Tokenizer:
        merges = [tuple(one.split(" ")) for one in self._list("merges", str)]
        if any(len(one) != 2 for one in merges):
            raise self._wrong("one of its merges is not of two tokens")
        name = self._pre()
        cut: list[Any] = []
        if name in _BY_DIGITS:
            cut = [pre_tokenizers.Digits(individual_digits=True)]
        elif name in _LIKE_QWEN2:
            cut = [_split(QWEN_WORDS)]
        elif name in _LIKE_LLAMA3:
            cut = [_split(_LLAMA3_WORDS)]
        elif name == "tekken":
            cut = [_split(_TEKKEN_WORDS)]
        elif name == "deepseek-coder":
            cut = [*map(_split, _DEEPSEEK_CUTS), pre_tokenizers.Digits(individual_digits=True)]
        elif name not in _LIKE_GPT2:
            raise self._wrong(f"its texts are cut into words as by {name!r}, which is not known here")
        is_whole = name in (*_LIKE_LLAMA3, "tekken")  # a word that is a token is taken without its merges
        inner = self._bpe(merges, ignore_merges=is_whole)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in (*_BY_DIGITS, *_LIKE_GPT2))
        inner.pre_tokenizer = pre_tokenizers.Sequence([*cut, words])
        if name in _LIKE_QWEN2:
            inner.normalizer = normalizers.NFC()
        inner.decoder = decoders.ByteLevel()
        return inner

    def _byte_fallback(self) -> Tokenizer:
        scores = self._list("scores", int | float)
        if len(scores) < len(self.texts):
            raise self._wrong(f"it has {len(self.texts)} tokens and the scores of {len(scores)}")
        unknown = next((text for text, kind in zip(self.texts, self._kinds, strict=False) if kind == 2), None)
        inner = self._bpe(self._merges(scores), byte_fallback=True, fuse_unk=True, unk_token=unknown)
        inner.normalizer = normalizers.Replace(" ", "▁")
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        return inner

    def _merges(self, scores: Sequence[float]) -> list[tuple[str, str]]:
        """A token is merged of any two that it is made of; what has the higher score is merged first."""
        ids = {text: at for at, text in enumerate(self.texts) if self._kinds[at] in (1, _USER)}
        found = []
        for text, at in ids.items():
            if self._kinds[at] == 1:
                pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
                kept = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
                found += [(-scores[at], ids[pair[0]], ids[pair[1]], pair) for pair in kept]
        return [pair for *_, pair in sorted(found)]

    def _bpe(self, merges: list[tuple[str, str]], **kinds: Any) -> Tokenizer:
        try:
            return Tokenizer(models.BPE({text: at for at, text in enumerate(self.texts)}, merges, **kinds))
        except Exception as error:  # the library raises bare Exception for a merge of no tokens
            raise self._wrong(f"its tokens and merges do not agree ({error})") from error

    def _pre(self) -> str:
        name = self._get("pre")
        if name in (None, "", "default"):
            name = _BY_ARCHITECTURE.get(str(self._metadata.get("general.architecture")), "default")
        return str(name)[:40]

    def _get(self, key: str) -> Any:
        return self._metadata.get(f"tokenizer.ggml.{key}")

    def _list(self, key: str, kind: Any) -> list[Any]:
        found = self._get(key) or []
        if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
            raise self._wrong(f"tokenizer.ggml.{key} is of another type than it should be")
        return list(found)

    def _named(self, *keys: str) -> list[str]:
        """The texts of those tokens that the metadata names."""
        ids = [self._get(key) for key in keys]
        if any(one is not None and not (isinstance(one, int) and 0 <= one < len(self.texts)) for one in ids):
            raise self._wrong(f"it names a token beyond its {len(self.texts)}")
        return list(dict.fromkeys(self.texts[one] for one in ids if one is not None))

    def _wrong(self, what: str) -> TokenizerError:
        return TokenizerError(f"{self.path}: {what}; it cannot be imported")


def _split(words: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(words), "isolated")
