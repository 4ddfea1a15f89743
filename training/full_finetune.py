"""A network of ours and rows in, the whole of it tuned, as a model directory out: `train` from another start.

Every weight moves, at rates that fall from the first step. Stopped and called again it goes on bit for bit.
Ignores where the rows come from and how good the result is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model_runtime import tokenizer
from model_runtime.manifest import Manifest
from training import checkpoint, export, mixture_weights, train
from training.bases import Own
from training.muon import Optimizer
from training.run import Rates, RowPlan, Run, StepPlan
from training.schedule import TrainingProgress

RATES = Rates(matrices=0.0012, others=0.0009, momentum=0.95, decay=0.0)
WARMUP = 20  # steps
KEPT = 2.0  # by what is learnt: keeping to the base pulls only as far as it has been left


def tuned(base: Own, plan: RowPlan, data: Path, work: Path, steps: int, batch: int, rate: float, device: str) -> Path:
    """Train on every shard of `data`, true to the base on rows marked as kept; the checkpoint.

    rate: what the usual rates are multiplied by.
    Raises RuntimeError when somebody stops it.
    """
    rates = Rates(RATES.matrices * rate, RATES.others * rate, RATES.momentum, RATES.decay)
    run = Run(
        name=base.manifest.name,
        seed=0,
        shape=base.manifest.shape,
        rows=plan,
        steps=StepPlan(batch, accumulate=1, warmup=WARMUP, middle_weight=4.0, checkpoint_minutes=2.0, kept_weight=KEPT),
        rates=rates,
    )
    out = work / "checkpoints"
    if not (out / train.LATEST).exists():
        _start(base, run, out / train.LATEST, steps)
    options = train.Options(data=data, out=out, device=device, compiled=device != "cpu")
    place = train.train(run, options, base.weights)
    if not place.is_cooled:
        raise RuntimeError(f"stopped at step {place.step} of {steps}; the same command goes on from there")
    return out / train.LATEST


def exported(base: Own, latest: Path, out: Path, name: str, description: str, blend: float) -> Manifest:
    """The tuned network as its base is stored, with the base's trust.

    blend: how far every weight goes from the base to where it was tuned to, from 0 to 1. What is gained at home comes
    sooner on that way than what is lost elsewhere (Wortsman et al. 2022).
    """
    arrays, state = checkpoint.load(latest)
    mixed = {key: one + blend * (np.asarray(arrays[key], np.float32) - one) for key, one in base.weights.items()}
    blended = latest.with_name("blended")
    checkpoint.save(blended, mixed, state)
    precision: export.Precision = "int8" if base.manifest.weights == "fp16" else base.manifest.weights
    export.export(blended, base.directory / tokenizer.FILE, out, name, precision, description)
    return mixture_weights.write(out, base.manifest.mixture_weights)


def _start(base: Own, run: Run, folder: Path, steps: int) -> None:
    """A checkpoint of the base that cools down from its first step."""
    weights = {name: torch.from_numpy(array.copy()) for name, array in base.weights.items()}
    moments = Optimizer(weights, run.rates.momentum, run.rates.decay, run.rates.muon).moments
    shape = {name: getattr(run.shape, name) for name in run.shape.__struct_fields__}
    arrays = {name: tensor.numpy() for name, tensor in {**weights, **moments}.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = replace(TrainingProgress(), cool_steps=steps)
    checkpoint.save(folder, arrays, {"run": run.name, "shape": shape, **vars(place)})
