"""A run and its variants in, the held-out loss of each at one token budget out.

Every variant starts from the same seed, reads the same rows in the same order, and cools down over the second half
of its steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training import checkpoint, packing, run, train
from training.model import Decoder, Kernels, loss
from training.run import Run


@dataclass(frozen=True)
class Judgement:
    """Mean negative log-likelihood in nats a token, of the text around the gaps and of the middles."""

    text: float
    middle: float


def ablate(path: Path, data: Path, out: Path, held_out: int, compiled: bool = True) -> Iterator[tuple[str, Judgement]]:
    """Train the base and every variant, and judge each on `held_out` shards. What is done already is only judged."""
    steps, runs = run.read_variants(path)
    for name, one in runs.items():
        options = train.Options(data=data, out=out / name, compiled=compiled)
        if not (out / name / train.LATEST).exists():
            train.train(one, replace(options, steps=steps // 2))
            train.train(one, replace(options, cooldown=steps - steps // 2))
        yield name, judge(one, out / name / train.LATEST, data, held_out)


def judge(plan: Run, folder: Path, data: Path, shards: int) -> Judgement:
    """The loss of a checkpoint on rows of held-out packages, in float32. Raises FileNotFoundError."""
    arrays, _ = checkpoint.load(folder)
    decoder, kernels = Decoder(plan.shape), Kernels(compiled=False)
    decoder.load_state_dict({name: torch.from_numpy(arrays[name]) for name, _ in decoder.named_parameters()})
    sums = np.zeros(4)
    with torch.no_grad():
        for number in range(shards):
            found = packing.load(packing.shard_path(data, "held_out", number))
            for batch in packing.batches(found, plan.steps.batch, plan.seed):
                tokens, classes = (torch.from_numpy(part) for part in batch)
                hidden = decoder.hidden(tokens[:, :-1]).flatten(0, 1)
                classes = classes.flatten()
                _, each = loss(hidden, decoder.embed.weight, tokens[:, 1:].flatten(), classes, kernels)
                for place, kind in enumerate((1, 2)):
                    chosen = classes == kind
                    sums[2 * place : 2 * place + 2] += float(each[chosen].sum()), int(chosen.sum())
    return Judgement(text=sums[0] / sums[1], middle=sums[2] / sums[3])


def line(name: str, found: Judgement, base: Judgement) -> str:
    """One line of figures as JSON, with what a variant gains (below zero) or loses against the base."""
    gap = {"text_against_base": found.text - base.text, "middle_against_base": found.middle - base.middle}
    return json.dumps({"variant": name} | {key: round(one, 4) for key, one in (vars(found) | gap).items()})
