"""Held-out files in, gaps with their one right answer out; and of an engine, how well it fills them.

A gap runs from a cursor to the end of its line. One whose neighbourhood also stands in what is learnt says nothing
and is left out. Needs no PyTorch. Ignores what the figures are for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model_runtime.engine.engine import Engine
from model_runtime.engine.sequence import Cancel, Generation, Token
from model_runtime.prompt import Infill, lay_out
from training import duplicates, holes
from training.sources import SourceFile

_ABOVE, _BELOW = 60, 20  # lines that the model sees around a gap
_NEAR = 6  # lines on each side of a gap that must not all be known
_LONGEST = 64  # tokens of an answer
_APART = 15  # gaps of one file at most, for each hundred of its lines; at least as many
_WORTH = re.compile(r"\w\W*\w")


@dataclass(frozen=True)
class Gap:
    """The file reads prefix + middle + suffix; the middle holds no newline, the suffix begins with one."""

    language: str
    path: str
    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class Filled:
    """One gap filled. exact: what is generated is the middle. nats: what the middle costs; characters: its length."""

    exact: bool
    nats: float
    characters: int


def known(files: Iterable[SourceFile]) -> duplicates.Hashes:
    """The runs of tokens in files that are learnt, for `drawn`."""
    found = [duplicates.runs(duplicates.token_hashes(file.text), duplicates.RUN) for file in files]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def drawn(files: Sequence[SourceFile], learnt: duplicates.Hashes, count: int, seed: int) -> list[Gap]:
    """About `count` gaps of each language, spread over its files; fewer where there are fewer."""
    rng = random.Random(seed)
    by_language: dict[str, list[list[Gap]]] = {}
    for file in files:
        by_language.setdefault(file.language, []).append(_of_file(file, learnt, rng))
    found = []
    for _, own in sorted(by_language.items()):
        rng.shuffle(own)
        in_turn = [gap for turn in range(max(map(len, own))) for gaps in own for gap in gaps[turn : turn + 1]]
        found += in_turn[:count]
    return found


def filled(engine: Engine, gaps: Iterable[Gap]) -> list[Filled]:
    """Every gap filled by the model alone, greedily, as it serves. Raises PromptError, ModelError."""
    return [_filled(engine, gap) for gap in gaps]


def priced(engine: Engine, gaps: Iterable[Gap]) -> list[Filled]:
    """As `filled`, a third of the work: nothing is generated, and so nothing exact."""
    return [Filled(False, _nats(engine, gap, _prompt(engine, gap)), len(gap.middle)) for gap in gaps]


def _of_file(file: SourceFile, learnt: duplicates.Hashes, rng: random.Random) -> list[Gap]:
    one = holes.outline(file.text, file.language)
    lines = file.text.split("\n")
    most = _APART * (1 + len(lines) // 100)
    found: dict[int, Gap] = {}
    for _ in range(12 * most):
        hole = holes.draw(one, rng)
        if hole is None or len(found) == most:
            break
        number = holes.line_of(one, hole.start)
        line, column = lines[number], hole.start - one.starts[number]
        is_rest = hole.kind in ("rest", "line") and len(line) < 200
        if not is_rest or number in found or not _WORTH.search(line[column:]):
            continue
        near = "\n".join(lines[max(0, number - _NEAR) : number + 1 + _NEAR])
        if duplicates.shares_run(duplicates.token_hashes(near), learnt):
            continue
        above = "".join(one + "\n" for one in lines[max(0, number - _ABOVE) : number])
        below = "".join("\n" + one for one in lines[number + 1 : number + 1 + _BELOW])
        found[number] = Gap(file.language, f"{file.package}/{file.path}", above + line[:column], line[column:], below)
    return list(found.values())


def _prompt(engine: Engine, gap: Gap) -> tuple[int, ...]:
    asked, room = Infill(gap.path, gap.prefix, gap.suffix), engine.context_length - 2 * _LONGEST
    return lay_out(asked, engine.tokenizer, engine.manifest.fim, room).tokens


def _nats(engine: Engine, gap: Gap, prompt: tuple[int, ...]) -> float:
    middle = tuple(engine.tokenizer.encode_once(gap.middle)[:_LONGEST])
    return -sum(one[token] for one, token in zip(engine.score(prompt, middle), middle, strict=True))


def _filled(engine: Engine, gap: Gap) -> Filled:
    prompt = _prompt(engine, gap)
    nats = _nats(engine, gap, prompt)
    wanted = Generation(prompt, max_tokens=_LONGEST + 8, max_lines=1, heal=True)
    text = "".join(one.text for one in engine.generate(wanted, Cancel()) if isinstance(one, Token))
    return Filled(text.strip() == gap.middle.strip(), nats, len(gap.middle))
