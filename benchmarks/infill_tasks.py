"""Benchmark records and held-out source files in, gaps with their one right answer out.

A gap's answer never holds the newline that ends it: that newline opens the suffix, as in an editor.
Ignores who fills the gaps.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_WORD = re.compile(r"[A-Za-z0-9_]")
_LANGUAGES = {"python": "py", "js": "js", "java": "java", "cpp": "cpp", "go": "go", "rust": "rs"}


@dataclass(frozen=True)
class Task:
    """suite: which table row it counts for. lines: of the answer. test: a program's end that checks it, or None."""

    suite: str
    name: str
    path: str
    prefix: str
    answer: str
    suffix: str
    lines: int
    test: str | None = None


def human_eval(data: Path, kind: str) -> list[Task]:
    """HumanEval infilling (Bavarian et al. 2022). kind: "SingleLine" or "MultiLine". Raises FileNotFoundError."""
    found = []
    for record in _records(data / "human-eval-infilling" / f"HumanEval-{kind}Infilling.jsonl.gz"):
        answer = record["canonical_solution"].removesuffix("\n")
        if not _WORD.search(answer):
            continue
        test = f"{record['test']}\ncheck({record['entry_point']})\n"
        lines = answer.count("\n") + 1
        suite = "HumanEval single-line" if kind == "SingleLine" else "HumanEval multi-line"
        before, after = record["prompt"], "\n" + record["suffix"]
        found.append(Task(suite, record["task_id"], "solution.py", before, answer, after, lines, test))
    return found


def human_eval_x(data: Path, language: str) -> list[Task]:
    """Every line of a HumanEval-X solution (Zheng et al. 2023) that is more than brackets, as a gap of one line."""
    found = []
    for record in _records(data / "humaneval-x" / f"humaneval_{language}.jsonl.gz"):
        lines = record["canonical_solution"].split("\n")
        for number, line in enumerate(lines):
            if not _WORD.search(line):
                continue
            before = record["prompt"] + "".join(one + "\n" for one in lines[:number])
            after = "\n" + "\n".join(lines[number + 1 :])
            path = f"solution.{_LANGUAGES[language]}"
            found.append(Task(f"HumanEval-X {language}", f"{record['task_id']}/{number}", path, before, line, after, 1))
    return found


def held_out(files: Iterable[tuple[str, str, str]], count: int, seed: int) -> list[Task]:
    """Gaps in files of packages that training never saw: half from mid-line, half whole lines, to the line's end.

    files: (language, path, text). The window is the one serving would show: 150 lines above and 50 below.
    """
    rng = random.Random(seed)
    by_language: dict[str, list[tuple[str, str]]] = {}
    for language, path, text in files:
        by_language.setdefault(language, []).append((path, text))
    found: list[Task] = []
    for language, own in sorted(by_language.items()):
        while own and sum(task.suite.endswith(language) for task in found) < count:
            found += _gaps(language, *rng.choice(own), rng)
    return found


def languages() -> list[str]:
    """The languages of HumanEval-X, by the names of its files."""
    return list(_LANGUAGES)


def _gaps(language: str, path: str, text: str, rng: random.Random) -> Iterator[Task]:
    lines = text.split("\n")
    number = rng.randrange(len(lines))
    line = lines[number]
    if not _WORD.search(line) or len(line) > 200:
        return
    indent = len(line) - len(line.lstrip())
    cut = indent if rng.random() < 0.5 else rng.randrange(indent, len(line))
    if not _WORD.search(line[cut:]):
        return
    suite = f"held-out {'whole line' if cut == indent else 'mid-line'} {language}"
    above = "".join(one + "\n" for one in lines[max(0, number - 150) : number])
    below = "".join("\n" + one for one in lines[number + 1 : number + 51])
    yield Task(suite, f"{path}:{number + 1}:{cut}", path, above + line[:cut], line[cut:], below, 1)


def _records(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
