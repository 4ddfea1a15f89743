"""Text in, token ids out, and back: whole or as a stream. Knows nothing of prompts."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer as HuggingFaceTokenizer

from model_runtime.errors import TokenizerError

FILE = "tokenizer.json"
_LINES_KEPT = 20_000  # encoded lines remembered; a typed key re-encodes only its own line
_LINE = 200  # characters: longer lines are remembered with the texts, or a few requests could fill the memory
_TEXTS_KEPT = 32  # encoded texts remembered, up to the line that is typed where lines can be told apart
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """A byte-level or byte-fallback BPE read from tokenizer.json.

    split_lines: promise of the manifest that no token spans a newline and what follows it,
    so that a text is the sum of its lines and an edit costs one line.
    """

    def __init__(self, inner: HuggingFaceTokenizer, *, split_lines: bool = False) -> None:
        inner.encode_special_tokens = True  # a marker typed by a user is text, not a marker
        self._inner = inner
        self._split_lines = split_lines
        self._bytes = _token_bytes(inner)
        self._encode_lines = lru_cache(maxsize=_TEXTS_KEPT)(self._encode_lines_uncached)
        self._encode_line = lru_cache(maxsize=_LINES_KEPT)(self._encode_uncached)
        self._encode_text = lru_cache(maxsize=_TEXTS_KEPT)(self._encode_uncached)

    @classmethod
    def load(cls, directory: Path, *, vocab_size: int, split_lines: bool = False) -> Tokenizer:
        """Raises TokenizerError when the file is missing, broken, or of another vocabulary."""
        path = directory / FILE
        try:
            inner = HuggingFaceTokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise TokenizerError(f"cannot read {path}: {error.strerror}; restore the model directory") from error
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            raise TokenizerError(f"{path} is not a tokenizer: {error}; restore the model directory") from error
        if inner.get_vocab_size() > vocab_size:
            raise TokenizerError(
                f"{path} has {inner.get_vocab_size()} tokens, the network {vocab_size}; "
                "the two belong to different models, restore the model directory"
            )
        return cls(inner, split_lines=split_lines)

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary, markers included."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; markers inside it stay plain text."""
        if not self._split_lines:
            return list(self._encode_text(text))
        lines, newline, last = text.rpartition("\n")
        return [*self._encode_lines(lines + newline), *self._encode_piece(last)]

    def encode_once(self, text: str) -> list[int]:
        """As `encode`, for a text that will not come again: its lines are not remembered."""
        return list(self._encode_uncached(text))

    def count(self, text: str) -> int:
        """How many tokens `encode` gives."""
        return len(self.encode(text))

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of the tokens, markers left out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes one token stands for; empty for a marker, and for a row that pads the network's vocabulary."""
        return self._bytes[token] if token < len(self._bytes) else b""

    @property
    def spelled(self) -> Sequence[bytes]:
        """`token_bytes` of each token of the vocabulary."""
        return self._bytes

    def special(self, token: str) -> int:
        """The id of one marker. Raises TokenizerError when the vocabulary has none of that name."""
        found = self._inner.token_to_id(token)
        if found is None:
            raise TokenizerError(f"the tokenizer has no token {token!r}; restore the model directory")
        return int(found)

    def stream(self) -> Detokenizer:
        """A decoder that is fed one token at a time."""
        return Detokenizer(self)

    def _encode_lines_uncached(self, text: str) -> tuple[int, ...]:
        return tuple(token for line in text.split("\n")[:-1] for token in self._encode_piece(line + "\n"))

    def _encode_piece(self, line: str) -> tuple[int, ...]:
        return self._encode_line(line) if len(line) <= _LINE else self._encode_text(line)

    def _encode_uncached(self, text: str) -> tuple[int, ...]:
        return tuple(self._inner.encode(text, add_special_tokens=False).ids)


class Detokenizer:
    """Tokens one at a time in, text out as soon as its characters are whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int, skip: int = 0) -> str:
        """The text that became certain with this token; empty inside a character. skip: bytes of it left out."""
        return self._decoder.decode(self._tokenizer.token_bytes(token)[skip:])

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never finished."""
        return self._decoder.decode(b"", final=True)


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for U+0100 and up (Radford et al. 2019)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in plain}
    others = (byte for byte in range(256) if byte not in set(plain))
    table.update({chr(256 + index): byte for index, byte in enumerate(others)})
    return table


def _token_bytes(inner: HuggingFaceTokenizer) -> list[bytes]:
    vocabulary = inner.get_vocab(with_added_tokens=True)
    spell = _fallback_bytes if "<0x0A>" in vocabulary else _level_bytes(_byte_of_character())
    found = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for text, token in vocabulary.items():
        found[token] = spell(text)
    for token, one in inner.get_added_tokens_decoder().items():
        found[token] = b"" if one.special else one.content.encode()
    return found


def _level_bytes(table: dict[str, int]) -> Callable[[str], bytes]:
    """Byte-level: each character stands for a byte."""

    def spell(text: str) -> bytes:
        if all(character in table for character in text):
            return bytes(table[character] for character in text)
        return text.encode()

    return spell


def _fallback_bytes(text: str) -> bytes:
    """Byte-fallback, as SentencePiece writes it: ▁ is a space, <0x0A> a byte, all else is itself (Kudo 2018)."""
    if (found := _BYTE.fullmatch(text)) is not None:
        return bytes([int(found[1], 16)])
    return text.replace("▁", " ").encode()
