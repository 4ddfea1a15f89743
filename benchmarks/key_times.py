"""A size in, what each key of a typist costs out: ours with the memory of the workspace and without, and llama.cpp.

All write with the small model, grown to that size, in 4 bits; none takes the others' words. What is wanted is the
rest of the line, as our server asks for it mostly: a text ends for all with the first newline, where the model ends
it, where it goes round in circles, or after MOST tokens. Ours is as in use: cut words healed, drafts where the
machine's profile says that they pay, the memory made of the workspace's files without what is about to be typed.
Ignores what is written; greedy drafts change nothing of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import grown, keystrokes, random_model
from benchmarks.opponent import Opponent
from benchmarks.workspace import copied, package
from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.graph import graph
from model_runtime.manifest import Fim
from model_runtime.opening import open_engine
from model_runtime.owner import LOCAL
from model_runtime.service.ngram_store import NgramStore
from model_runtime.tokenizer import Tokenizer

MOST = 32  # tokens of a text
SETTLED = 0.03  # seconds until the threads of who ran last have stopped spinning
OURS, ALONE, THEIRS = "lacuna", "lacuna without memory", "llama.cpp"

Asks = Callable[[tuple[int, ...]], dict[str, float]]


def compared(size: str, python: Path, threads: int, keys: int, folder: Path) -> dict[str, dict[str, float]]:
    """Figures of each, and the ratios of ours to llama.cpp's. python: see `opponent`; folder: for all that is made."""
    small = manifest.read(random_model.SMALL)
    shape = msgspec.structs.replace(random_model.SIZES[size], qk_norm=True, norm_epsilon=small.shape.norm_epsilon)
    of_small = dict(graph.read_weights(random_model.SMALL, small.shape))
    weights = grown.Grown(of_small, small.shape, shape)
    described = random_model.write(folder / "model", shape, "int4", weights)
    grown.hand(weights, folder / "weights")
    workspace = copied(package("httpx"), folder, seed=1)
    engines = [open_engine(folder / "model", cache=folder / "cache", threads=threads) for _ in range(2)]
    tokenizer = engines[0].tokenizer
    memory = remembered(workspace.root, tokenizer)
    with Opponent(python, folder / "peer.gguf", shape, threads, weights=folder / "weights") as opponent:
        ends = ending(tokenizer, described.fim)
        contestants: dict[str, Asks] = {
            OURS: partial(own_request, engines[0], memory),
            ALONE: partial(own_request, engines[1], None),
            THEIRS: partial(_their_request, opponent, ends),
        }
        found = replayed(contestants, keystrokes.prompts(workspace, tokenizer, described, keys))
    for engine in engines:
        engine.close()
    return summary(found)


def remembered(root: Path, tokenizer: Tokenizer) -> NGrams:
    """The memory of a workspace, as the service makes it of the files."""
    ngram_store = NgramStore(tokenizer.encode)
    ngram_store.learn(LOCAL, "", {str(path): path.read_text("utf-8") for path in sorted(root.rglob("*.py"))})
    memory = ngram_store.of(LOCAL, "")
    assert memory is not None
    return memory


def replayed(contestants: Mapping[str, Asks], asked: Iterator[keystrokes.Asked]) -> dict[str, dict[str, list[float]]]:
    """Every figure of each key by contestant; who goes first changes from key to key."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}
    names = list(contestants)
    for number, one in enumerate(asked):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(SETTLED)
            for figure, value in contestants[name](one.theirs if name == THEIRS else one.ours).items():
                found[name].setdefault(figure, []).append(value)
    return found


def ending(tokenizer: Tokenizer, fim: Fim) -> list[int]:
    """The tokens with which a line or the whole text ends."""
    newlines = [token for token, text in enumerate(tokenizer.spelled) if b"\n" in text]
    return newlines + [tokenizer.special(name) for name in fim.end]


def own_request(engine: Engine, memory: NGrams | None, tokens: tuple[int, ...]) -> dict[str, float]:
    """Milliseconds to the first and to the last token; tokens computed of the prompt, and written."""
    began = time.perf_counter()
    first, last = 0.0, None
    for event in engine.generate(Generation(tokens, max_tokens=MOST, max_lines=1, ngrams=memory, heal=True), Cancel()):
        first = first or time.perf_counter() - began
        last = event
    spent = time.perf_counter() - began
    assert isinstance(last, Finish)
    used = last.usage
    return {"first": first * 1e3, "whole": spent * 1e3, "computed": used.prefilled, "written": used.generated}


def _their_request(opponent: Opponent, ends: list[int], tokens: tuple[int, ...]) -> dict[str, float]:
    done: dict[str, float] = opponent.run("request", tokens=tokens, most=MOST, ends=ends)
    return done


def summary(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Mean, median and 95th percentile of whole requests and what else there is; ours as a share of llama.cpp's."""
    table = {
        name: {
            "mean": statistics.fmean(one["whole"]),
            "p50": statistics.median(one["whole"]),
            "p95": statistics.quantiles(one["whole"], n=20)[-1],
            "first token p50": statistics.median(one["first"]),
            "first token p95": statistics.quantiles(one["first"], n=20)[-1],
            "computed mean": statistics.fmean(one["computed"]),
            "written mean": statistics.fmean(one["written"]),
            "written p50": statistics.median(one["written"]),
        }
        for name, one in found.items()
    }
    theirs = table[THEIRS]
    ratios = {
        f"ratio{name.removeprefix(OURS)}": {figure: value / theirs[figure] for figure, value in one.items()}
        for name, one in table.items()
        if name != THEIRS
    }
    return {**table, **ratios}
