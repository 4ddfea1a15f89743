"""An Infill in, a Prompt of token ids out: the only fill-in-the-middle layout there is.

Training, serving and evaluation lay out with this module and nothing else, so the model
sees in use what it saw in training. docs/prompt-format.md says the same in prose and
tests/runtime/test_prompt.py pins it. Ignores where the texts come from and what becomes of the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from model_runtime.errors import PromptError
from model_runtime.manifest import Fim

TELLING = 10  # letters and digits of a line that is not written twice for nothing
STEP = 128  # tokens: a prefix too long for the model loses its head in steps of this size

_LETTER = re.compile(r"\w")


class Encoder(Protocol):
    """What a layout asks of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; markers inside it stay plain text."""

    def special(self, token: str) -> int:
        """The id of one marker. Raises TokenizerError when there is none."""


@dataclass(frozen=True)
class Snippet:
    """Text from elsewhere that may help: `path` relative to the workspace, with forward slashes."""

    path: str
    text: str


@dataclass(frozen=True)
class Infill:
    """A gap in a file. The file around the cursor reads `prefix + typed + ▮ + suffix`.

    prefix and suffix are frozen when the anchor is set; `typed` is what was typed since.
    context is ordered, the most valuable snippet last, nearest to the cursor.
    """

    path: str
    prefix: str
    suffix: str
    typed: str = ""
    context: tuple[Snippet, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """tokens: ids in the order the model reads them. cut: tokens left out for want of room."""

    tokens: tuple[int, ...]
    cut: int = 0


def lay_out(infill: Infill, encoder: Encoder, fim: Fim, limit: int) -> Prompt:
    """Token ids of the prompt, at most `limit` of them.

    What does not fit is cut by fixed shares, so that one more key does not move every cut:
    a quarter for the context (whole snippets, least valuable first), a quarter for the
    suffix (its far end), the rest for the prefix (its far end, in steps of STEP tokens).
    Raises PromptError when `limit` is too small to hold the markers and a step of prefix.
    """
    if limit < 2 * STEP:
        raise PromptError(f"a prompt of {limit} tokens is too short to lay out; allow at least {2 * STEP}")
    parts = _encoded(infill, encoder, fim)
    if parts.length > limit:
        kept = _cut(parts, limit)
        return Prompt(tuple(_arrange(fim, encoder, kept)), cut=parts.length - kept.length)
    return Prompt(tuple(_arrange(fim, encoder, parts)))


def stops(suffix: str, fim: Fim) -> tuple[str, ...]:
    """What shows that a model has come as far as the suffix: its first whole line, written again.

    A model that reads the suffix ends by itself, mostly; what it may well mean to say twice does not stop it.
    """
    line = next((line for line in suffix.split("\n")[1:] if line.strip()), None)
    if line is None or (fim.layout != "prefix" and len(_LETTER.findall(line)) < TELLING):
        return ()
    return (f"\n{line}\n",)


@dataclass(frozen=True)
class _Parts:
    """The infill in token ids. head: before the anchor; tail: since, where the layout keeps them apart.

    markers: how many stand beside these parts, or somewhat more.
    """

    markers: int

    snippets: list[list[int]]
    header: list[int]
    suffix: list[int]
    head: list[int]
    tail: list[int]

    @property
    def length(self) -> int:
        """Tokens in all."""
        texts = (*self.snippets, self.header, self.suffix, self.head, self.tail)
        return sum(map(len, texts)) + self.markers


def _encoded(infill: Infill, encoder: Encoder, fim: Fim) -> _Parts:
    apart = fim.layout in ("psm", "mask")
    knows_snippets = fim.context is not None or fim.heading is not None
    return _Parts(
        markers=3 + len(fim.separators) + (fim.begin is not None),
        snippets=[_snippet(fim, snippet, encoder) for snippet in infill.context] if knows_snippets else [],
        header=_header(fim, fim.file, infill.path, encoder),
        suffix=encoder.encode(infill.suffix) if fim.layout != "prefix" else [],
        head=encoder.encode(infill.prefix if apart else infill.prefix + infill.typed),
        tail=encoder.encode(infill.typed) if apart else [],
    )


def _cut(parts: _Parts, limit: int) -> _Parts:
    kept = _Parts(
        markers=parts.markers,
        snippets=_last_that_fit(parts.snippets, limit // 4),
        header=parts.header[: limit // 8],
        suffix=parts.suffix[: limit // 4],
        head=[],
        tail=parts.tail[-(limit // 4) :],
    )
    return replace(kept, head=parts.head[_stepped_cut(len(parts.head), limit - kept.length) :])


def _arrange(fim: Fim, encoder: Encoder, parts: _Parts) -> list[int]:
    def marker(name: str | None) -> list[int]:
        return [] if name is None else [encoder.special(name)]

    about = [token for snippet in parts.snippets for token in snippet] + parts.header
    outside = _outside(fim, parts, len(about))
    begin, head = marker(fim.begin) + about[:outside], about[outside:] + parts.head
    prefix, suffix, middle = marker(fim.prefix), marker(fim.suffix), marker(fim.middle)
    separators = [token for name in fim.separators for token in marker(name)]
    match fim.layout:
        case "prefix":
            return begin + head
        case "spm":
            return begin + suffix + parts.suffix + prefix + head
        case "spm2":
            return begin + prefix + suffix + parts.suffix + middle + head
        case "psm":
            return begin + prefix + head + suffix + parts.suffix + middle + parts.tail
        case "mask":
            return begin + head + middle + parts.suffix + separators + middle + parts.tail


def _outside(fim: Fim, parts: _Parts, length: int) -> int:
    """How much of what is said about files stands before the prefix and its marker; the rest begins the prefix."""
    if fim.heading is not None:
        return 0
    return length - len(parts.header) + 1 if fim.path_in_prefix and parts.header else length


def _header(fim: Fim, marker: str | None, path: str, encoder: Encoder) -> list[int]:
    if fim.heading is not None:
        return encoder.encode(fim.heading.replace("{path}", path) + "\n")
    return [] if marker is None else [encoder.special(marker), *encoder.encode(path + "\n")]


def _snippet(fim: Fim, snippet: Snippet, encoder: Encoder) -> list[int]:
    text = snippet.text if snippet.text.endswith("\n") else snippet.text + "\n"
    return _header(fim, fim.context, snippet.path, encoder) + encoder.encode(text)


def _last_that_fit(snippets: Sequence[list[int]], room: int) -> list[list[int]]:
    kept: list[list[int]] = []
    for snippet in reversed(snippets):
        room -= len(snippet)
        if room < 0:
            break
        kept.insert(0, snippet)
    return kept


def _stepped_cut(length: int, room: int) -> int:
    over = max(0, length - room)
    return min(length, -(-over // STEP) * STEP)
