"""Texts in, how long they take with drafts and without out.

Shows where `model_runtime.engine.speculation` pays, and where not.

    python -m benchmarks.drafts [--size embedded b c] [--pairs 30] [--temperature 0] [--json]

Each pair is one text written twice, once by an engine that drafts where the machine's profile says that it pays and
once by one that never does, who goes first changing from pair to pair. *Copied*: a function is written once more below
itself, as one does before changing it, its first lines typed already. *Elsewhere*: the lines after a place of the same
file, which stand nowhere else. *Alone*: the same without a memory of the workspace, which the others have. Networks
with random weights say nothing that was said before, so their memory is believed and what is elsewhere is only asked
alone. Times are those after the prompt was read; a ratio below 1 says that drafts were quicker.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import random_model
from benchmarks.workspace import holes_of, package
from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend, default_threads
from model_runtime.engine import profile
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.profile import Profile
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.manifest import Manifest, MixtureWeights
from model_runtime.prompt import Infill, lay_out
from model_runtime.tokenizer import Tokenizer

WRITTEN = 48  # tokens of each text
TYPED = 2  # lines of a copied function that stand there already
BEFORE, AFTER = 2400, 1000  # characters around the cursor, as an editor's window has them
BELIEVED = MixtureWeights(bias=12.0)


@dataclass(frozen=True)
class Case:
    """One text to write. source: the file that a memory is made of; None for no memory."""

    kind: str
    infill: Infill
    source: str | None


def cases(count: int, seed: int) -> Iterator[Case]:
    """So many of each kind, in turns, from the functions of a package."""
    rng = random.Random(seed)
    functions = [hole for path in sorted(package("httpx").rglob("*.py")) for hole in holes_of(path)]
    for hole in rng.sample(functions, min(count, len(functions))):
        text = hole.path.read_text("utf-8")
        lines = text.split("\n")
        body = hole.text.split("\n")[1:]
        end = hole.row + 1 + len(body)
        above, below = "\n".join(lines[:end]) + "\n", "\n" + "\n".join(lines[end:])
        again = "\n" + lines[hole.row] + "\n" + "\n".join(body[:TYPED]) + "\n"
        yield Case("copied", Infill(hole.path.name, (above + again)[-BEFORE:], below[:AFTER]), text)
        above, below = "\n".join(lines[: hole.row + 1]) + "\n", "\n" + "\n".join(lines[end:])
        gap = Infill(hole.path.name, above[-BEFORE:], below[:AFTER])
        yield Case("elsewhere", gap, above + below)
        yield Case("alone", gap, None)


def measure(directory: Path, described: Manifest, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Median ratio and times of each kind, and what a run over several tokens costs, in runs over one."""
    embedded = directory == manifest.embedded()
    threads = asked.threads or default_threads()
    tokenizer = Tokenizer.load(directory, vocab_size=described.shape.vocab_size, split_lines=described.split_lines)
    backends = [OnnxBackend.open(directory, described, cache=folder, threads=threads) for _ in range(2)]
    speed = profile.kept(backends[0], described, str(threads), folder)
    never = Profile(speed.prefill, speed.decode_ms, {})
    believing = described if embedded else msgspec.structs.replace(described, mixture_weights=BELIEVED)
    engines = [Engine(believing, tokenizer, *one) for one in zip(backends, (speed, never), strict=True)]
    found: dict[str, list[tuple[float, float]]] = {}
    for number, case in enumerate(cases(asked.pairs + 1, asked.seed)):
        if case.kind == "elsewhere" and not embedded:
            continue
        tokens = lay_out(case.infill, tokenizer, described.fim, described.shape.context_length - WRITTEN).tokens
        memory = None if case.source is None else NGrams([tokenizer.encode(case.source)], 100_000)
        generation = Generation(tokens, max_tokens=WRITTEN, ngrams=memory, temperature=asked.temperature, seed=number)
        times = [0.0, 0.0]
        for at in (0, 1) if number % 2 else (1, 0):
            times[at] = _written(engines[at], generation)
        if min(times) > 0:
            found.setdefault(case.kind, []).append((times[0], times[1]))
    for engine in engines:
        engine.close()
    costs = {str(at): cost / speed.decode_ms for at, cost in enumerate(speed.costs(), start=1) if at in (2, 4, 8, 16)}
    return {"cost of a run over tokens": costs} | {
        kind: {
            "pairs": len(pairs) - 1,
            "median ratio": statistics.median(drafted / plain for drafted, plain in pairs[1:]),
            "ms with drafts": statistics.median(drafted for drafted, _ in pairs[1:]),
            "ms plain": statistics.median(plain for _, plain in pairs[1:]),
        }
        for kind, pairs in found.items()  # the first pair of each kind warms up
    }


def _written(engine: Engine, generation: Generation) -> float:
    """Milliseconds from the end of the prompt to the last token; 0 for a text of a token or none."""
    for _ in engine.generate(replace(generation, max_tokens=0), Cancel()):
        pass
    began = time.perf_counter()
    count = sum(not isinstance(event, Finish) for event in engine.generate(generation, Cancel()))
    return (time.perf_counter() - began) * 1e3 if count > 1 else 0.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = list(random_model.SIZES)
    parser.add_argument("--size", choices=sizes, nargs="+", default=["embedded"], help="default: embedded")
    parser.add_argument("--pairs", type=int, default=30, help="texts of each kind (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="which texts (default: 1)")
    parser.add_argument("--temperature", type=float, default=0.0, help="default: 0, the likeliest token each time")
    parser.add_argument("--threads", type=int, help="threads of the network (default: by the machine)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    asked = parser.parse_args()
    report: dict[str, Any] = {}
    for size in asked.size:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            directory = manifest.embedded() if size == "embedded" else folder / "model"
            if size == "embedded":
                described = manifest.read(directory)
            else:
                described = random_model.write(directory, random_model.SIZES[size], "int4")
            report[size] = measure(directory, described, folder / "cache", asked)
        if not asked.json:
            for kind, figures in report[size].items():
                print(f"{size} {kind}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    if asked.json:
        json.dump(report, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
