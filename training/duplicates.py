"""Texts in, fingerprints out: equal files, near-equal files, and files that share a run with the benchmark.

MinHash (Broder 1997) with banded look-up. Everything is a function of the text alone, so a rebuild
finds the same. Ignores what the text means.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RUN = 30  # tokens: a file that shares this many in a row with the benchmark is dropped
_SHINGLE = 5  # tokens
_BANDS, _ROWS = 8, 8  # half of the pairs at 0.77 similarity collide in a band
_SIMILAR = 0.8
_TOKEN = re.compile(r"\w+|[^\w\s]")

Hashes = NDArray[np.uint64]


@lru_cache(maxsize=1_000_000)
def _token_hash(token: str) -> int:
    raw = token.encode("utf-8", "surrogatepass")
    return zlib.crc32(raw) << 32 | zlib.adler32(raw)


def token_hashes(text: str) -> Hashes:
    """One number a token; words and single marks are tokens, white space is none."""
    return np.fromiter(map(_token_hash, _TOKEN.findall(text)), dtype=np.uint64)


def runs(tokens: Hashes, length: int) -> Hashes:
    """One number for every run of `length` tokens; empty when there are fewer tokens."""
    count = len(tokens) - length + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    found = np.zeros(count, dtype=np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    for offset in range(length):
        found = found * factor + tokens[offset : offset + count]
    return found ^ (found >> np.uint64(29))


def digest(text: str) -> bytes:
    """Equal for texts that differ in white space alone."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


_RANDOM = np.random.default_rng(20261121)
_FACTORS = _RANDOM.integers(1, 2**63, size=(_BANDS * _ROWS, 1), dtype=np.uint64) | np.uint64(1)
_SHIFTS = _RANDOM.integers(0, 2**63, size=(_BANDS * _ROWS, 1), dtype=np.uint64)


def signature(tokens: Hashes) -> Hashes:
    """The MinHash signature, 64 numbers."""
    shingles = np.unique(runs(tokens, _SHINGLE))
    if not len(shingles):
        shingles = np.unique(tokens) if len(tokens) else np.zeros(1, dtype=np.uint64)
    return np.asarray((shingles[None, :] * _FACTORS + _SHIFTS).min(axis=1), dtype=np.uint64)


def benchmark_runs(data: Path) -> Hashes:
    """Every run of RUN tokens in the benchmark's records, sorted. Raises FileNotFoundError when there are none."""
    found = [runs(token_hashes(text), RUN) for text in _benchmark_texts(data)]
    if not found:
        raise FileNotFoundError(f"no .jsonl or .jsonl.gz under {data}; give the benchmark data with --data")
    return np.unique(np.concatenate(found))


def shares_run(tokens: Hashes, forbidden: Hashes) -> bool:
    """Whether any run of RUN tokens is among the forbidden (sorted) ones."""
    own = runs(tokens, RUN)
    if not len(own) or not len(forbidden):
        return False
    place = np.minimum(np.searchsorted(forbidden, own), len(forbidden) - 1)
    return bool((forbidden[place] == own).any())


@dataclass
class Seen:
    """What has been kept so far; grows as files are admitted."""

    digests: set[bytes] = field(default_factory=set)
    bands: dict[bytes, list[int]] = field(default_factory=dict)
    signatures: list[Hashes] = field(default_factory=list)

    def admit(self, exact: bytes, near: Hashes) -> str | None:
        """None when the file is new, and it is remembered; else "duplicate" or "near-duplicate"."""
        if exact in self.digests:
            return "duplicate"
        keys = [bytes([band]) + near[band * _ROWS : (band + 1) * _ROWS].tobytes() for band in range(_BANDS)]
        rivals = {rival for key in keys for rival in self.bands.get(key, ())}
        if any(float((self.signatures[rival] == near).mean()) >= _SIMILAR for rival in rivals):
            return "near-duplicate"
        self.digests.add(exact)
        for key in keys:
            self.bands.setdefault(key, []).append(len(self.signatures))
        self.signatures.append(near)
        return None


def _benchmark_texts(data: Path) -> Iterator[str]:
    for path in sorted(data.rglob("*.jsonl*")):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in raw.decode("utf-8").splitlines():
            record = {key: value for key, value in json.loads(line).items() if isinstance(value, str)}
            yield from record.values()
            # the gap closed: the runs that cross the seams count as well
            yield record.get("prompt", "") + record.get("canonical_solution", "") + record.get("suffix", "")
