"""A source file in, training samples as token ids out, laid out by the function serving uses.

Every sample is one window of one file with one hole, or a plain window without. Prefix and middle are
encoded apart, so the model learns to go on from inside a word. Ignores how samples fill rows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from model_runtime.manifest import Fim
from model_runtime.prompt import Infill, Snippet, lay_out
from model_runtime.tokenizer import Tokenizer
from training import holes, snippets, vocabulary
from training.sources import SourceFile

FIM = Fim(
    layout="spm",
    end=(vocabulary.END,),
    prefix=vocabulary.PREFIX,
    suffix=vocabulary.SUFFIX,
    file=vocabulary.FILE,
    context=vocabulary.CONTEXT,
)
_EMPTY_SUFFIX = 0.06  # share of holes at the end of what is written so far
_IMPORT = re.compile(r"^(?:from\s+\S+\s+import\s[^\n(]*|import\s[^\n({]*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """buckets: (row length in tokens, share of samples); cross_file, plain: shares with snippets, without a hole.

    fim: how the model is asked for a middle; what cannot infill gets no holes.
    """

    buckets: tuple[tuple[int, float], ...]
    cross_file: float = 0.1
    plain: float = 0.12
    fim: Fim = FIM


@dataclass(frozen=True)
class Sample:
    """tokens[middle:] is the middle with its end marker; middle == len(tokens) when there is none."""

    tokens: tuple[int, ...]
    middle: int


def samples(
    file: SourceFile, known: snippets.Definitions, encoder: Tokenizer, recipe: Recipe, rng: random.Random
) -> Iterator[Sample]:
    """Samples whose windows together are about as long as the file."""
    one = holes.outline(file.text, file.language)
    lines = file.text.split("\n")
    counts = [encoder.count(line + "\n") for line in lines]
    left = sum(counts)
    lengths, shares = [length for length, _ in recipe.buckets], [share for _, share in recipe.buckets]
    while left > 0:
        budget = rng.choices(lengths, weights=shares)[0]
        if left < budget and rng.random() > left / budget + 0.15:
            return
        if recipe.fim.layout == "prefix" or rng.random() < recipe.plain:
            sample = _plain(file, one, counts, encoder, recipe.fim, budget, rng)
        else:
            sample = _holed(file, one, counts, known, encoder, recipe, budget, rng)
        left -= len(sample.tokens) if sample else 64
        if sample:
            yield sample


def _plain(
    file: SourceFile,
    one: holes.Outline,
    counts: list[int],
    encoder: Tokenizer,
    fim: Fim,
    budget: int,
    rng: random.Random,
) -> Sample | None:
    first = rng.randrange(len(counts)) if sum(counts) > budget else 0
    room = budget - 4 - encoder.count(file.path + "\n")
    last = first
    while last < len(counts) and counts[last] <= room:
        room -= counts[last]
        last += 1
    if last - first < 3:
        return None
    whole = last == len(counts)
    text = file.text[one.starts[first] : len(file.text) if whole else one.starts[last]]
    if fim.layout != "spm":  # elsewhere a middle's marker would stand between the text and its end
        fim = msgspec.structs.replace(fim, layout="prefix")
    tokens = lay_out(Infill(file.path, text, ""), encoder, fim, 2 * budget).tokens
    tokens = (*tokens, encoder.special(fim.end[0])) if whole else tokens
    return Sample(tokens, len(tokens))


def _holed(
    file: SourceFile,
    one: holes.Outline,
    counts: list[int],
    known: snippets.Definitions,
    encoder: Tokenizer,
    recipe: Recipe,
    budget: int,
    rng: random.Random,
) -> Sample | None:
    hole = holes.draw(one, rng)
    if hole is None:
        return None
    text = file.text
    middle = (*encoder.encode(text[hole.start : hole.end]), encoder.special(recipe.fim.end[0]))
    room = budget - 4 - encoder.count(file.path + "\n") - len(middle)
    if room < budget // 3:
        return None
    found: tuple[Snippet, ...] = ()
    if rng.random() < recipe.cross_file:
        around = text[max(0, hole.start - 1500) : hole.end + 700]
        found = snippets.context(known, file.path, around, text[hole.start : hole.end], rng)
        found = _fitting(found, encoder, room // 3)
        room -= _cost(found, encoder)
    first, last = holes.line_of(one, hole.start), holes.line_of(one, hole.end)
    head = text[one.starts[first] : hole.start]
    tail_end = one.starts[last + 1] if last + 1 < len(one.starts) else len(text)
    tail = text[hole.end : tail_end]
    room -= encoder.count(head) + encoder.count(tail)
    if room < 0:
        return None
    above, below = _share(counts[:first], counts[last + 1 :], room, rng)
    prefix = text[one.starts[first - above] : hole.start]
    until = last + 1 + below
    suffix = text[hole.end : one.starts[until] if until < len(one.starts) else len(text)]
    if rng.random() < _EMPTY_SUFFIX:
        suffix = ""
    if found and rng.random() < 0.3:
        prefix = _IMPORT.sub("", prefix)
    prompt = lay_out(Infill(file.path, prefix, suffix, context=found), encoder, recipe.fim, 2 * budget).tokens
    return Sample((*prompt, *middle), len(prompt))


def _share(above: list[int], below: list[int], room: int, rng: random.Random) -> tuple[int, int]:
    """How many whole lines above and below a hole fit into `room` tokens; about a third of it below."""
    down = int(room * rng.uniform(0.15, 0.45))
    taken_below = _fit(below, down)
    taken_above = _fit(above[::-1], room - sum(below[:taken_below]))
    left = room - sum(below[:taken_below]) - sum(above[len(above) - taken_above :])
    return taken_above, taken_below + _fit(below[taken_below:], left)


def _fit(counts: list[int], room: int) -> int:
    taken = 0
    for count in counts:
        room -= count
        if room < 0:
            break
        taken += 1
    return taken


def _cost(found: tuple[Snippet, ...], encoder: Tokenizer) -> int:
    return sum(1 + encoder.count(one.path + "\n") + encoder.count(one.text) for one in found)


def _fitting(found: tuple[Snippet, ...], encoder: Tokenizer, room: int) -> tuple[Snippet, ...]:
    while found and _cost(found, encoder) > room:
        found = found[1:]
    return found
