"""A size in, what it takes out to compute it in one process and shared out among ranks, on this machine's cores.

`python -m benchmarks.ranks --size b --precision int4 --ranks 2 4`, with the extra `shards`. Random weights; all are
open at once and take turns, so that what else the machine does strikes each. One process has all cores, ranks have
them together. A network of next to nothing tells what a sum and the way to it take, besides computing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import random_model
from model_runtime.backends.onnx_backend import OnnxBackend, default_threads
from model_runtime.engine.backend import Backend
from model_runtime.engine.sequence import Cancel
from model_runtime.graph import graph
from model_runtime.manifest import Shape, Sharding
from model_runtime.sharding import shard
from model_runtime.sharding.tensor_parallel import Ranks

HELD, CHUNK, TOKENS = 512, 128, 16  # tokens read before, read in a run, and written one by one in a turn

SIZES: dict[str, Shape] = {
    "nothing": Shape(4096, 64, 12, 4, 4, 32, 128, 2048),
    "b": random_model.SIZES["b"],
    "g": Shape(
        51_200, 1024, 20, 16, 16, 64, 4096, 2048, norm="layer", gated=False, parallel=True, rotary_size=32, tied=False,
        rotary_interleaved=True, activation="gelu_tanh", biases=("up", "down", "head"),
    ),
}  # fmt: skip


class RankTiming(msgspec.Struct):
    """Medians of the turns of one way to compute: milliseconds a token, and a run over a chunk of a prompt."""

    size: str
    precision: str
    ranks: int
    token_ms: float
    chunk_ms: float
    stage_us: float | None = None


def measured(
    size: str, precision: random_model.Precision, ranks: list[int], turns: int, folder: Path
) -> list[RankTiming]:
    """One row for a single process, then one for each number of ranks. stage_us: of the token, by its stages."""
    whole = folder / f"{size}-{precision}"
    described = random_model.write(whole, SIZES[size], precision)
    with contextlib.ExitStack() as stack:
        opened: dict[int, Backend[Any]] = {
            1: OnnxBackend.open(whole, described, cache=folder, threads=default_threads())
        }
        for count in ranks:
            target = folder / f"{size}-{precision}-{count}"
            made = shard.write(whole, target, target.name, Sharding(count))
            opened[count] = Ranks.open(target, made, cache=folder)
        for backend in opened.values():
            stack.callback(backend.close)
        spent: dict[int, list[tuple[float, float]]] = {count: [] for count in opened}
        stores = {count: backend.new_slots(1)[0] for count, backend in opened.items()}
        for _ in range(turns + 1):
            for count, backend in opened.items():
                spent[count].append(_turn(backend, stores[count]))
    rows = []
    for count, found in spent.items():
        token, chunk = (statistics.median(one[at] for one in found[1:]) for at in (0, 1))  # the first warms up
        pieces = len(graph.stages(SIZES[size])) if count > 1 else None
        rows.append(RankTiming(size, precision, count, token, chunk, token * 1e3 / pieces if pieces else None))
    return rows


def _turn(backend: Backend[Any], store: Any) -> tuple[float, float]:
    """Milliseconds a token, and those of a chunk."""
    cancel = Cancel()
    chunk = _milliseconds(lambda: backend.prefill(store, [5] * CHUNK, HELD, cancel))

    def write() -> None:
        for at in range(TOKENS):
            backend.decode(store, [5], HELD + at, cancel)

    return _milliseconds(write) / TOKENS, chunk


def _milliseconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Prints a row for each size, precision and number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["nothing", "b", "g"])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "int8", "int4"], default=["fp32"])
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for size in options.size:
            for precision in options.precision:
                for row in measured(size, precision, options.ranks, options.turns, Path(folder)):
                    if options.json:
                        print(msgspec.json.encode(row).decode(), flush=True)
                        continue
                    each = f", {row.stage_us:.0f} µs a stage" if row.stage_us else ""
                    print(
                        f"{size} {precision} over {row.ranks}: {row.token_ms:.2f} ms a token{each}, "
                        f"{row.chunk_ms:.1f} ms a chunk of {CHUNK}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
