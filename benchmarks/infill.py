"""A model directory in, how often it fills gaps rightly out, beside the baselines any model must beat.

`python -m benchmarks.infill --data ../shared/data --model DIR --json`. Greedy, through the engine that serves.
Shares come with 95 % intervals (Wilson 1927). Lines that are nothing but brackets are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from benchmarks import five_gram, infill_tasks, plot, verdict
from benchmarks.infill_tasks import Task
from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.engine.sequence import Cancel, Generation, Token
from model_runtime.errors import LacunaRuntimeError
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out

_BACKGROUND = 4_000_000  # characters the 5-gram learns of a language before it sees the file

Filler = Callable[[Task], str]


@dataclass(frozen=True)
class Score:
    """One filler on one suite. exact, similar, passed: shares of 1; passed is None where nothing can be run."""

    suite: str
    filler: str
    count: int
    exact: float
    exact_interval: tuple[float, float]
    similar: float
    passed: float | None = None
    passed_interval: tuple[float, float] | None = None


def model_filler(engine: Engine) -> Filler:
    """Fills with the model alone, as it serves: no retrieval, no memory of the workspace; cut words healed."""
    fim = engine.manifest.fim

    def fill(task: Task) -> str:
        most = 64 + 48 * task.lines if task.lines > 1 else 96
        gap = Infill(task.path, task.prefix, task.suffix)
        prompt = lay_out(gap, engine.tokenizer, fim, engine.context_length - most)
        wanted = Generation(prompt.tokens, max_tokens=most, max_lines=1 if task.lines == 1 else None, heal=True)
        return "".join(one.text for one in engine.generate(wanted, Cancel()) if isinstance(one, Token))

    return fill


def brace_filler(task: Task) -> str:
    """Always the commonest line there is outside Python."""
    return "}"


def five_gram_filler(backgrounds: dict[str, str]) -> Filler:
    """Fills by counts: of the open file first, then of a larger text in its language. backgrounds: by file ending."""
    words = five_gram.Words()
    learnt = {ending: five_gram.count(words.numbers(text)) for ending, text in backgrounds.items()}

    def fill(task: Task) -> str:
        near = five_gram.count(words.numbers(task.prefix + task.suffix))
        far = learnt.get(task.path.rpartition(".")[2])
        return five_gram.answer(words, [near] if far is None else [near, far], task.prefix)

    return fill


def score(tasks: Sequence[Task], name: str, filler: Filler, run_tests: bool) -> Score:
    """How often the filler is right on the tasks of one suite."""
    answers = [filler(task) for task in tasks]
    exact = [_same(task, text) for task, text in zip(tasks, answers, strict=True)]
    similar = [similarity(task.answer.strip(), text.strip()) for task, text in zip(tasks, answers, strict=True)]
    passed = None
    if run_tests and all(task.test for task in tasks):
        passed = sum(
            right or verdict.passes(f"{task.prefix}{text}{task.suffix}\n{task.test}")
            for task, text, right in zip(tasks, answers, exact, strict=True)
        )
    count = len(tasks)
    return Score(
        suite=tasks[0].suite,
        filler=name,
        count=count,
        exact=sum(exact) / count,
        exact_interval=interval(sum(exact), count),
        similar=sum(similar) / count,
        passed=None if passed is None else passed / count,
        passed_interval=None if passed is None else interval(passed, count),
    )


def similarity(one: str, other: str) -> float:
    """1 for equal texts, 0 for texts without a character in common (Ratcliff & Obershelp 1988)."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, z = hits / count, 1.96
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    return max(0.0, (centre - spread) / below), min(1.0, (centre + spread) / below)


def suites(data: Path, corpus: Path | None, count: int | None, seed: int) -> list[list[Task]]:
    """Every suite, each cut to `count` tasks drawn at random. Raises FileNotFoundError."""
    found = [infill_tasks.human_eval(data, "SingleLine"), infill_tasks.human_eval(data, "MultiLine")]
    found += [infill_tasks.human_eval_x(data, language) for language in infill_tasks.languages()]
    if corpus is not None:
        from training.corpus import read

        files = [(file.language, file.path, file.text) for file in read(corpus, "held_out")]
        gaps = infill_tasks.held_out(files, 2 * (count or 400), seed)
        names = sorted({task.suite for task in gaps})
        found += [[task for task in gaps if task.suite == name] for name in names]
    rng = random.Random(seed)
    return [rng.sample(tasks, count) if count and count < len(tasks) else tasks for tasks in found]


def backgrounds(corpus: Path | None) -> dict[str, str]:
    """What the 5-gram learns beforehand: training text of each language, or the standard library alone."""
    found: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for ending, text in _texts(corpus):
        if sizes.get(ending, 0) < _BACKGROUND:
            sizes[ending] = sizes.get(ending, 0) + len(text)
            found.setdefault(ending, []).append(text)
    return {ending: "\n".join(texts) for ending, texts in found.items()}


def _texts(corpus: Path | None) -> list[tuple[str, str]]:
    if corpus is None:
        root = Path(sysconfig.get_paths()["stdlib"])
        return [("py", path.read_text("utf-8", "replace")) for path in sorted(root.glob("*.py"))]
    from training.corpus import read

    texts = [(file.path.rpartition(".")[2], file.text) for file in read(corpus, "train")]
    random.Random(0).shuffle(texts)
    return texts


def _same(task: Task, text: str) -> bool:
    if task.lines == 1:
        return task.answer.strip() == text.strip()
    return task.answer.rstrip() == text.rstrip()


def _table(scores: Sequence[Score]) -> str:
    lines = [
        "| suite | filled by | gaps | exact match % (95 %) | edit similarity | pass@1 % (95 %) |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in scores:
        exact, passed = _percent(one.exact, one.exact_interval), _percent(one.passed, one.passed_interval)
        lines.append(f"| {one.suite} | {one.filler} | {one.count} | {exact} | {one.similar:.2f} | {passed} |")
    return "\n".join(lines)


def _plot(scores: Sequence[Score], title: str) -> str:
    groups: dict[str, dict[str, plot.Bar]] = {}
    for one in scores:
        low, high = one.exact_interval
        groups.setdefault(one.suite, {})[one.filler] = plot.Bar(100 * one.exact, 100 * low, 100 * high)
    return plot.bars(title, groups, "%")


def _percent(share: float | None, around: tuple[float, float] | None) -> str:
    if share is None or around is None:
        return ""
    return f"{100 * share:.1f} ({100 * around[0]:.1f}–{100 * around[1]:.1f})"


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.infill", description="How often gaps are filled rightly."
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, default=None, help="a model directory; the embedded model without it")
    parser.add_argument(
        "--corpus", type=Path, default=None, help="shards of `python -m training corpus`: adds held-out packages"
    )
    parser.add_argument("--n", type=int, default=None, help="gaps of each suite, drawn at random; all without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--no-pass", action="store_true", help="run no tests of HumanEval")
    parser.add_argument("--json", action="store_true", help="figures as JSON instead of a table")
    parser.add_argument("--plot", type=Path, default=None, help="draw exact match into this SVG file too")
    options = parser.parse_args()
    try:
        print(_report(options))
    except (OSError, LacunaRuntimeError) as error:
        print(f"infill: {error}", file=sys.stderr)
        return 1
    return 0


def _report(options: argparse.Namespace) -> str:
    directory = options.model or manifest.embedded()
    scores = []
    with tempfile.TemporaryDirectory() as cache:
        engine = open_engine(directory, cache=Path(cache), threads=options.threads)
        fillers: dict[str, Filler] = {"model": model_filler(engine)}
        if not options.no_baselines:
            fillers |= {
                "always }": brace_filler,
                "5-gram with file cache": five_gram_filler(backgrounds(options.corpus)),
            }
        for tasks in suites(options.data, options.corpus, options.n, options.seed):
            for name, filler in fillers.items():
                if name == "model" or "multi" not in tasks[0].suite:
                    scores.append(score(tasks, name, filler, not options.no_pass))
                    print(f"{scores[-1].suite}, {name}: {scores[-1].exact:.3f}", file=sys.stderr, flush=True)
        name, weights = engine.manifest.name, engine.manifest.weights
        engine.close()
    if options.plot is not None:
        options.plot.write_text(_plot(scores, f"{name}: exact match of whole answers ({weights})"), encoding="utf-8")
    if not options.json:
        return _table(scores)
    found = {
        "model": name,
        "weights": weights,
        "network_cut_for_tests": not verdict.has_network(),
        "scores": [vars(one) for one in scores],
    }
    return json.dumps(found, indent=1)


if __name__ == "__main__":
    sys.exit(main())
