"""Random weights of a given size in, milliseconds of everything the runtime does out, beside llama.cpp's.

    python -m benchmarks.throughput --size a
    python -m benchmarks.throughput --size a b c --against PYTHON --replay 300 --json > throughput.json
    python -m benchmarks.throughput --plot throughput.svg < throughput.json

Speed does not depend on what the weights are, so the table is of random ones; what a typist waits for depends on what
there is to say, so `--replay` has the shipped model in these sizes, see `key_times`. PYTHON is an interpreter of
another environment that has `llama-cpp-python`, built from source with native flags, and `gguf`; its network has the
same shape and the same bits, Q4_0. All take turns in every round, so that a machine that slows down slows them alike;
medians are quoted, and of two the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import key_times, loading, random_model
from benchmarks.opponent import Opponent
from benchmarks.plot import Bar, bars
from benchmarks.random_model import SIZES, Precision
from model_runtime.backends.onnx_backend import OnnxBackend, default_threads
from model_runtime.engine.engine import CHUNK
from model_runtime.engine.sequence import Cancel
from model_runtime.manifest import Manifest

PRECISIONS: tuple[Precision, ...] = ("int4", "int8")
PREFILLS = (256, 512, 1024, 2048)
HELD = (16, 512, 1024)
DRAFTED = (2, 4, 8, 16)
BATCHES = (1, 2, 4, 8)
REPEATS = 5  # runs of what takes a millisecond or two, for one time
LOADS = 3

Jobs = dict[str, Callable[[], float]]
Spent = dict[str, dict[str, list[float]]]


def own_jobs(backend: OnnxBackend) -> Jobs:
    """One time, in milliseconds, of everything that is measured."""
    stores, cancel = backend.new_slots(max(BATCHES)), Cancel()

    def prefill(length: int) -> None:
        for start in range(0, length, CHUNK):
            backend.prefill(stores[0], [5] * min(CHUNK, length - start), start, cancel)

    jobs: Jobs = {f"prefill {length}": partial(_timed, partial(prefill, length), 1) for length in PREFILLS}
    for held in HELD:
        jobs[f"decode at {held}"] = partial(_timed, partial(backend.decode, stores[0], [5], held, cancel), REPEATS)
    for count in DRAFTED:
        run = partial(backend.verify, stores[0], [5] * count, 1024, cancel)
        jobs[f"verify {count} at 1024"] = partial(_timed, run, REPEATS)
    for rows in BATCHES:
        run = partial(backend.decode_batch, stores[:rows], [5] * rows, [512] * rows, cancel)
        jobs[f"batch {rows} at 512"] = partial(_timed, run, REPEATS)
    return jobs


def their_jobs(opponent: Opponent) -> Jobs:
    """The same of llama.cpp."""
    jobs: Jobs = {f"prefill {length}": partial(opponent.run, "prefill", n=length) for length in PREFILLS}
    for held in HELD:
        jobs[f"decode at {held}"] = partial(opponent.run, "step", held=held, n=1, repeats=REPEATS)
    for count in DRAFTED:
        jobs[f"verify {count} at 1024"] = partial(opponent.run, "step", held=1024, n=count, repeats=REPEATS)
    for rows in BATCHES:
        jobs[f"batch {rows} at 512"] = partial(opponent.run, "batch", held=512, rows=rows, repeats=REPEATS)
    return jobs


def _timed(run: Callable[[], object], repeats: int) -> float:
    if repeats > 1:
        run()  # what the others pushed out of the processor's cache comes back
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - began) * 1e3 / repeats


def measure(contestants: dict[str, Jobs], rounds: int) -> Spent:
    """Milliseconds by contestant and job, all rounds; who goes first changes with the round."""
    spent: Spent = {name: {job: [] for job in jobs} for name, jobs in contestants.items()}
    names = list(contestants)
    for number in range(rounds + 1):  # the first round warms up and is dropped
        for job in contestants[names[0]]:
            for name in names if number % 2 else names[::-1]:
                time.sleep(key_times.SETTLED)
                taken = contestants[name][job]()
                if number:
                    spent[name][job].append(taken)
    return spent


def compare(size: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything about one size."""
    threads = asked.threads or default_threads()
    found = table(size, asked, threads, folder) if asked.rounds else {}
    if asked.against is not None and asked.replay:
        found["replay"] = key_times.compared(size, asked.against, threads, asked.replay, folder / "replay")
    return found


def table(size: str, asked: argparse.Namespace, threads: int, folder: Path) -> dict[str, Any]:
    """All but the replay."""
    contestants: dict[str, Jobs] = {}
    described: dict[str, Manifest] = {}
    for precision in asked.precision:
        described[precision] = random_model.write(folder / precision, SIZES[size], precision)
        backend = OnnxBackend.open(folder / precision, described[precision], cache=folder / "cache", threads=threads)
        contestants[precision] = own_jobs(backend)
    if asked.against is None:
        return {"milliseconds": _medians(measure(contestants, asked.rounds))}
    file, first = folder / "peer.gguf", asked.precision[0]
    with Opponent(asked.against, file, SIZES[size], threads, sequences=max(BATCHES)) as opponent:
        spent = measure({**contestants, "llama.cpp": their_jobs(opponent)}, asked.rounds)
    found: dict[str, Any] = {"milliseconds": _medians(spent), "ratio": ratios(spent)}
    found["load"] = _loads(folder, first, size, asked.against, threads)
    return found


def _loads(folder: Path, precision: str, size: str, python: Path, threads: int) -> dict[str, dict[str, float]]:
    own, their = [], []
    for _ in range(LOADS):
        own.append(loading.fresh(folder / precision, folder / "cache", threads))
        with Opponent(python, folder / "peer.gguf", SIZES[size], threads) as opponent:
            their.append({"load_ms": opponent.load_ms, **opponent.memory_mb})
    return {
        name: {figure: statistics.median(one[figure] for one in taken) for figure in taken[0]}
        for name, taken in (("lacuna", own), ("llama.cpp", their))
    }


def _medians(spent: Spent) -> dict[str, dict[str, float]]:
    return {name: {job: statistics.median(times) for job, times in jobs.items()} for name, jobs in spent.items()}


def ratios(spent: Spent) -> dict[str, dict[str, float]]:
    """Of each of ours to llama.cpp's, by job."""
    theirs = spent["llama.cpp"]
    return {
        name: {
            job: statistics.median(one / other for one, other in zip(times, theirs[job], strict=True))
            for job, times in jobs.items()
        }
        for name, jobs in spent.items()
        if name != "llama.cpp"
    }


def _print(size: str, found: dict[str, Any]) -> None:
    spent, quotients = found.get("milliseconds", {}), found.get("ratio", {})
    print(f"size {size}, median milliseconds")
    print(f"{'':20}" + "".join(f"{name:>11}" for name in (*spent, *(f"{one}/llama" for one in quotients))))
    for job in next(iter(spent.values()), ()):
        times = "".join(f"{one[job]:11.2f}" for one in spent.values())
        print(f"{job:20}{times}" + "".join(f"{one[job]:11.2f}" for one in quotients.values()))
    for part in ("replay", "load"):
        for name, figures in found.get(part, {}).items():
            print(f"{part} {name}: " + ", ".join(f"{figure} {value:.2f}" for figure, value in figures.items()))


def drawn(report: dict[str, Any]) -> str:
    """The ratios of a report as a picture: of each size's first precision, and of its replay."""
    groups: dict[str, dict[str, Bar]] = {}
    for size, found in report["sizes"].items():
        quotients = dict(next(iter(found.get("ratio", {}).values()), {}))
        replayed = found["replay"]["ratio"] if "replay" in found else {}
        quotients |= {f"replay {name}": replayed[name] for name in ("mean", "p50", "p95") if name in replayed}
        for job, ratio in quotients.items():
            groups.setdefault(job, {})[f"size {size}"] = Bar(ratio)
    return bars("Lacuna's time ÷ llama.cpp's: below 1 is quicker", groups, "×")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, nargs="+", default=["embedded"], help="default: embedded")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="default: both")
    parser.add_argument("--rounds", type=int, default=9, help="counted runs of each job (default: 9); 0: no table")
    parser.add_argument("--threads", type=int, help="threads of the network (default: by the machine)")
    parser.add_argument("--against", type=Path, metavar="PYTHON", help="an interpreter with llama-cpp-python and gguf")
    parser.add_argument("--replay", type=int, default=0, metavar="KEYS", help="keys to type against it (default: none)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw what --json printed, from the standard input")
    asked = parser.parse_args()
    if asked.plot:
        asked.plot.write_text(drawn(json.load(sys.stdin)))
        return
    if asked.replay and ({"bootstrap", "embedded"} & set(asked.size) or asked.against is None):
        parser.error("--replay needs --against, and sizes that hold the shipped model: a, b or c")
    sizes: dict[str, Any] = {}
    for size in asked.size:
        with tempfile.TemporaryDirectory() as folder:
            sizes[size] = compare(size, asked, Path(folder))
        if not asked.json:
            _print(size, sizes[size])
    if asked.json:
        json.dump({"unit": "ms", "rounds": asked.rounds, "sizes": sizes}, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
