"""Random weights of a given size in, milliseconds of prefill, decode and verification out.

Speed does not depend on what the weights are, so no model is needed: `python -m benchmarks.throughput`.
Precisions take turns in every round, so that a machine that slows down slows them alike; medians are quoted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from model_runtime import graph, manifest
from model_runtime.manifest import Fim, Manifest, Shape
from model_runtime.onnx_backend import OnnxBackend
from model_runtime.sequence import Cancel

Precision = Literal["int8", "int4"]

PRECISIONS: tuple[Precision, ...] = ("int8", "int4")
SIZES = {
    "bootstrap": Shape(4096, 384, 8, 6, 2, 64, 1024, 2048, qk_norm=True),
    "a": Shape(16_384, 512, 12, 8, 2, 64, 1408, 2048),
    "b": Shape(32_000, 768, 12, 12, 4, 64, 2048, 2048),
    "c": Shape(151_936, 896, 24, 14, 2, 64, 4864, 2048),
}


def write_random(directory: Path, shape: Shape, precision: Precision) -> Manifest:
    """A model directory without a tokenizer, weights normal at unit gain."""
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(size, np.float32) / np.float32(np.sqrt(size[1]))
        for name, size in graph.matrix_names(shape).items()
    }
    weights |= {name: np.ones(length, np.float32) for name, length in graph.vector_names(shape).items()}
    graph.write_model(directory, shape, weights, precision)
    files = {name: manifest.digest(directory / name) for name in (graph.GRAPH, graph.DATA)}
    fim = Fim("spm", ("<|end|>",), "<|prefix|>", "<|suffix|>")
    return Manifest(manifest.FORMAT, "random", "llama", "none", shape, fim, precision, files)


def jobs(backend: OnnxBackend) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and one run of everything that is measured."""
    store, cancel = backend.new_stores(1)[0], Cancel()
    for length in (256, 512, 1024):
        yield f"prefill {length}", partial(backend.extend, store, [5] * length, 0, cancel)
    for held in (16, 512, 1024):
        yield f"decode at {held}", partial(backend.step, store, [5], held, cancel)
    for drafted in (2, 4, 8, 16):
        yield f"verify {drafted} at 1024", partial(backend.step, store, [5] * drafted, 1024, cancel)


def measure(size: str, rounds: int, threads: int | None) -> dict[str, dict[str, float]]:
    """Median milliseconds by precision and job, the precisions interleaved."""
    spent: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        opened: dict[str, list[tuple[str, Callable[[], object]]]] = {}
        for precision in PRECISIONS:
            directory = Path(folder) / precision
            described = write_random(directory, SIZES[size], precision)
            began = time.perf_counter()
            backend = OnnxBackend.open(directory, described, cache=directory, threads=threads)
            backend.close()
            first = time.perf_counter() - began
            began = time.perf_counter()
            backend = OnnxBackend.open(directory, described, cache=directory, threads=threads)
            again = time.perf_counter() - began
            spent[precision] = {"first load": [first * 1e3], "load": [again * 1e3]}
            opened[precision] = list(jobs(backend))
        for _ in range(rounds + 1):  # the first round warms up and is dropped
            for kind, runs in opened.items():
                for name, run in runs:
                    began = time.perf_counter()
                    run()
                    spent[kind].setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    return {
        precision: {name: statistics.median(times[1:] or times) for name, times in found.items()}
        for precision, found in spent.items()
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="bootstrap", help="network dimensions (default: bootstrap)")
    parser.add_argument("--rounds", type=int, default=9, help="counted runs of each job (default: 9)")
    parser.add_argument("--threads", type=int, help="threads of the network (default: by the machine)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    found = measure(asked.size, asked.rounds, asked.threads)
    if asked.json:
        json.dump({"size": asked.size, "unit": "ms", "median": found}, sys.stdout, indent=1)
        print()
        return
    print(f"size {asked.size}, median milliseconds of {asked.rounds} interleaved rounds")
    print(f"{'':20}" + "".join(f"{precision:>10}" for precision in found))
    for name in next(iter(found.values())):
        print(f"{name:20}" + "".join(f"{times[name]:10.2f}" for times in found.values()))


if __name__ == "__main__":
    main()
