"""Models of other programs: whether Lacuna can run each, whether it can infill, and what a token of it would cost here.

A token is as quick as its weights can be read, so its cost is their bytes by this machine's memory bandwidth, which is
measured anew each time. Imports nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from lacuna import models
from lacuna.other_programs import DiskModel

_BYTES_A_WEIGHT = 0.5625  # four bits in blocks of 32, with a scale of 16 bits
_PROBE = 256 << 20  # bytes: more than any cache holds
_RUNS = 3


class FoundModel(msgspec.Struct, frozen=True):
    """keeper: who keeps it; source: what `lacuna model import` takes; bytes: of its weights as they lie there.

    infills: whether it knows what stands behind the cursor; parameters: its weights; token_ms: the least that a token
    takes here in 4 bits; obstacle: why it cannot be imported, "" where it can.
    """

    keeper: str
    source: str
    bytes: int
    infills: bool = False
    parameters: int = 0
    token_ms: float = 0.0
    obstacle: str = ""


def judged(candidates: Iterable[DiskModel]) -> list[FoundModel]:
    """Each of them, those that can be imported first. Measures the memory's bandwidth if there are any."""
    kept = list(candidates)
    bandwidth = read_bandwidth() if kept else 0.0
    found = [_judged(one, bandwidth) for one in kept]
    return sorted(found, key=lambda one: bool(one.obstacle))


def read_bandwidth() -> float:
    """Bytes a second that all cores together read from memory: the best of a few runs, a tenth of a second or so."""
    threads = os.cpu_count() or 1
    parts = np.array_split(np.ones(_PROBE // 8, np.int64), threads)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_RUNS):
            began = time.perf_counter()
            list(pool.map(_read, parts))
            best = min(best, time.perf_counter() - began)
    return _PROBE / best


def _read(part: NDArray[np.int64]) -> int:
    return int(np.bitwise_or.reduce(part))


def _judged(one: DiskModel, bandwidth: float) -> FoundModel:
    from model_runtime.errors import ModelError
    from model_runtime.importer import importer

    try:
        checked = importer.examine(Path(one.path), name="found", quant="int4")
    except (ModelError, OSError) as error:
        return FoundModel(one.keeper, one.source, one.bytes, obstacle=str(error))
    shape = checked.plan.shape
    parameters = models.parameters(shape)
    # Of an embedding that is no head one row is read for a token.
    read = parameters - (0 if shape.tied else shape.vocab_size * shape.hidden_size)
    token_ms = read * _BYTES_A_WEIGHT / bandwidth * 1e3
    infills = checked.vocabulary.fim.layout != "prefix"
    return FoundModel(one.keeper, one.source, one.bytes, infills, parameters, token_ms)
