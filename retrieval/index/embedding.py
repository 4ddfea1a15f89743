"""Texts in, vectors of unit length out: alike texts, near vectors.

The embedder here learns from the repository itself: words and their parts hashed into buckets,
weighted by rarity, then brought down to the directions in which the repository's code differs
(latent semantic analysis, Deerwester et al. 1990, by a randomized range finder, Halko et al. 2011).
Any other `Kind` will do. Ignores where texts come from.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

DIMENSIONS = 256
BUCKETS = 2048
SAMPLE = 4096  # texts that are learnt from
_WORD = re.compile(r"[^\W\d_]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SEED = 7


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """[n, dimensions] of unit length; a text without words gets zeros."""

    def to_bytes(self) -> bytes:
        """What its kind makes it again from."""


@dataclass(frozen=True)
class Kind:
    """A way to come by an embedder; another name for each whose vectors are others.

    learn: one for texts like these, which are some of a repository's; an embedder that is ready made ignores them.
    load: the one that `to_bytes` wrote. Raises ValueError when it is not one.
    """

    name: str
    learn: Callable[[Sequence[str]], Embedder]
    load: Callable[[bytes], Embedder]


@dataclass(frozen=True)
class LatentSemantics:
    """rarity: [BUCKETS], projection: [BUCKETS, dimensions]."""

    rarity: Vectors
    projection: Vectors

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return int(self.projection.shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """[n, dimensions] of unit length; a text without words gets zeros."""
        return _unit((_counted(texts) * self.rarity) @ self.projection)

    def to_bytes(self) -> bytes:
        """What `from_bytes` makes this again from."""
        import numpy as np

        return self.rarity.astype(np.float32).tobytes() + self.projection.astype(np.float16).tobytes()


def learn(texts: Sequence[str]) -> LatentSemantics:
    """An embedder for texts like these, of which it looks at no more than SAMPLE."""
    import numpy as np

    step = max(1, len(texts) // SAMPLE)
    counted = _counted(texts[::step][:SAMPLE])
    seen = (counted != 0).sum(axis=0)
    rarity = np.log((1 + len(counted)) / (1 + seen)).astype(np.float32)
    rows = _unit(counted * rarity)
    width = min(DIMENSIONS, *rows.shape)
    chance = np.random.default_rng(_SEED)
    reach = rows.T @ (rows @ chance.standard_normal((BUCKETS, width + 16), dtype=np.float32))
    for _ in range(2):
        reach = rows.T @ (rows @ np.linalg.qr(reach)[0])
    basis = np.linalg.qr(reach)[0]
    values, turned = np.linalg.eigh((rows @ basis).T @ (rows @ basis))
    best = np.argsort(values)[::-1][:width]
    # Square roots of the strengths: the commonest directions count, but do not drown the rest.
    strength = np.maximum(values[best], 1e-12) ** 0.25
    projection = (basis @ turned[:, best]) / strength
    padded = np.zeros((BUCKETS, DIMENSIONS), np.float32)
    padded[:, :width] = projection.astype(np.float16)
    return LatentSemantics(rarity, padded)


def from_bytes(content: bytes) -> LatentSemantics:
    """The embedder that `to_bytes` wrote. Raises ValueError when it is not one."""
    import numpy as np

    if len(content) != BUCKETS * 4 + BUCKETS * DIMENSIONS * 2:
        raise ValueError(f"{len(content)} bytes are no embedder")
    rarity = np.frombuffer(content, np.float32, BUCKETS)
    projection = np.frombuffer(content, np.float16, offset=BUCKETS * 4).reshape(BUCKETS, DIMENSIONS)
    return LatentSemantics(rarity, projection.astype(np.float32))


LATENT = Kind("lsa", learn, from_bytes)


def _counted(texts: Sequence[str]) -> Vectors:
    """[n, BUCKETS]: damped counts of words and their parts; the sign of the hash lets collisions cancel."""
    import numpy as np

    rows = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(rows, texts, strict=True):
        counts: dict[str, int] = {}
        for word in _WORD.findall(text):
            counts[word] = counts.get(word, 0) + 1
        for word, count in counts.items():
            weight = 1 + math.log(count)
            for bucket, sign in _buckets(word):
                row[bucket] += sign * weight
    return rows


_KNOWN: dict[str, tuple[tuple[int, float], ...]] = {}


def _buckets(word: str) -> tuple[tuple[int, float], ...]:
    """Where a word and its parts go. Remembered: the same words come again and again."""
    found = _KNOWN.get(word)
    if found is None:
        if len(_KNOWN) > 200_000:
            _KNOWN.clear()
        parts = {word.lower(), *(part.lower() for part in _PART.findall(word) if len(part) > 1)}
        hashes = [zlib.crc32(part.encode()) for part in parts]
        found = _KNOWN[word] = tuple((one % BUCKETS, 1.0 if one >> 31 else -1.0) for one in hashes)
    return found


def _unit(rows: NDArray[np.floating[Any]]) -> Vectors:
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit
