"""A pretrained tokenizer and counted texts in, the part of its vocabulary that code uses out. Needs no PyTorch.

A token is kept with all that it is merged from, so each text can still be written, and a text of kept tokens is cut
as before. A newline is split off first, so lines may be encoded apart. Ignores where texts and weights come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from training.vocabulary import CONTEXT, END, FILE, PREFIX, SPECIAL, SUFFIX

_TOGETHER = 256  # texts encoded at once
_NEWLINE = "Ċ"  # as byte-level BPE writes it
_LONGEST = 30_000  # characters of one text that are counted
# Which of a pretrained model's markers each of ours begins as; the end stands for what is not there.
_LIKENED = {
    END: ("<|endoftext|>", "<|end_of_text|>", "</s>"),
    CONTEXT: ("<file_sep>", "<|file_sep|>"),
    FILE: ("<filename>", "<|repo_name|>", "<repo_name>"),
    SUFFIX: ("<fim_suffix>", "<|fim_suffix|>", "<jupyter_start>"),
    PREFIX: ("<fim_prefix>", "<|fim_prefix|>", "<jupyter_code>"),
}


@dataclass(frozen=True)
class PrunedVocabulary:
    """inner: the tokenizer, markers first; rows: for each of its tokens, which of the pretrained ones it was."""

    inner: Tokenizer
    rows: tuple[int, ...]


def counting(pretrained: Tokenizer) -> Tokenizer:
    """The pretrained tokenizer, but with a newline always alone, and without its markers.

    Raises ValueError for one that is no byte-level BPE.
    """
    content = json.loads(pretrained.to_str())
    if content["model"]["type"] != "BPE" or content["model"].get("byte_fallback"):
        raise ValueError("only a byte-level BPE can be cut; take a base that has one")
    return _tokenizer(pretrained, content["model"]["vocab"], content["model"]["merges"])


def count(inner: Tokenizer, texts: Iterable[str]) -> NDArray[np.int64]:
    """How often each token comes, [V]."""
    found = np.zeros(inner.get_vocab_size(), np.int64)
    batch: list[str] = []

    def flush() -> None:
        for one in inner.encode_batch(batch, add_special_tokens=False):
            np.add.at(found, np.array(one.ids, np.int64), 1)
        batch.clear()

    for text in texts:
        batch.append(text[:_LONGEST])
        if len(batch) == _TOGETHER:
            flush()
    flush()
    return found


def prune(pretrained: Tokenizer, counts: NDArray[np.int64], size: int) -> PrunedVocabulary:
    """The `size` tokens, markers included, that are counted most and what they are merged from. Raises ValueError."""
    model = json.loads(pretrained.to_str())["model"]
    vocab: Mapping[str, int] = model["vocab"]
    merges = [tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in model["merges"]]
    alphabet = [text for text in pre_tokenizers.ByteLevel.alphabet() if text in vocab]
    if size < len(alphabet) + len(SPECIAL):
        raise ValueError(f"{size} tokens do not hold the {len(alphabet)} bytes and {len(SPECIAL)} markers; keep more")
    kept = _closed(vocab, merges, counts, size - len(SPECIAL), alphabet)
    texts = sorted(kept, key=lambda text: vocab[text])
    numbered = {text: at for at, text in enumerate((*SPECIAL, *texts))}
    own = [(a, b) for a, b in merges if a in kept and b in kept and a + b in kept]
    inner = _tokenizer(pretrained, numbered, own)
    inner.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return PrunedVocabulary(inner, (*_markers(pretrained), *(vocab[text] for text in texts)))


def _closed(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, ...]],
    counts: NDArray[np.int64],
    size: int,
    alphabet: Sequence[str],
) -> set[str]:
    parts: dict[str, tuple[str, ...]] = {}
    for pair in merges:
        parts.setdefault("".join(pair), pair)
    kept = set(alphabet)
    counted = [text for text in sorted(vocab, key=lambda one: -int(counts[vocab[one]])) if counts[vocab[text]]]
    # Room that is left, where the last of these need more than there is, goes to what was learnt first.
    early = [
        text for text in sorted(parts, key=lambda one: vocab.get(one, 0)) if text in vocab and _NEWLINE not in text
    ]
    for text in (*counted, *early):
        needed, waiting = set(), [text]
        while waiting:
            one = waiting.pop()
            if one not in kept and one not in needed:
                needed.add(one)
                waiting.extend(parts.get(one, ()))
        if len(kept) + len(needed) <= size:
            kept |= needed
    return kept


def _markers(pretrained: Tokenizer) -> list[int]:
    def likened(marker: str) -> int:
        names = (*_LIKENED.get(marker, ()), *_LIKENED[END])
        found = next((one for name in names if (one := pretrained.token_to_id(name)) is not None), 0)
        return int(found)

    return [likened(marker) for marker in SPECIAL]


def _tokenizer(pretrained: Tokenizer, vocab: Mapping[str, int], merges: Sequence[Sequence[str]]) -> Tokenizer:
    inner = Tokenizer(models.BPE(dict(vocab), [(first, second) for first, second in merges]))
    newline = pre_tokenizers.Split(Regex(r"\n"), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([newline, pretrained.pre_tokenizer])
    inner.decoder = decoders.ByteLevel()
    return inner


def coverage(counts: NDArray[np.int64], rows: Iterable[int]) -> float:
    """The share of the counted tokens that are kept."""
    return float(counts[sorted(set(rows))].sum() / max(1, counts.sum()))


def by_language(texts: Iterable[tuple[str, str]], budget: int) -> Iterable[str]:
    """Texts of (language, text), of each language about as many characters."""
    seen: Counter[str] = Counter()
    for language, text in texts:
        if seen[language] < budget:
            seen[language] += min(len(text), _LONGEST)
            yield text
