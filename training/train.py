"""Shards of rows in, checkpoints out: warm-up, a stable phase without an end, a cool-down begun when one likes.

Stops at any time (SIGTERM, SIGINT) with a checkpoint and goes on from there bit for bit: weights, moments,
place in the data. Writes a line of figures every few steps. Ignores how rows came about and what
becomes of the weights.
"""

from __future__ import annotations

import json
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training import checkpoint, packing
from training.model import Decoder, Kernels, TeacherOutput, loss
from training.muon import Optimizer
from training.ranks import Ranks, start
from training.run import Run, StepPlan
from training.schedule import TrainingProgress, bent, factor

LATEST = "latest"
LOG = "log.jsonl"
_SPOKEN = 10  # steps between two lines of figures
_LOOKED_BACK = 40  # steps whose pace foretells the rest

Batch = tuple[Any, Any]
Heard = tuple[float, ...]  # nats and count of the text, of the middles; tokens in all


@dataclass(frozen=True)
class Options:
    """data: folder of shards; out: folder of checkpoints; cooldown, steps, minutes: None for no limit.

    finish_in: minutes to the end of a cool-down that is bent, as the machine slows down or speeds up, to end then.
    patience: seconds to wait for a shard that is not there yet.
    start: a checkpoint whose weights a run begins with that has none of its own yet.
    """

    data: Path
    out: Path
    device: str = "cpu"
    compiled: bool = True
    cooldown: int | None = None
    steps: int | None = None
    minutes: float | None = None
    finish_in: float | None = None
    patience: float = 0.0
    start: Path | None = None


@dataclass
class _Trainer:
    """What the loop holds: the network, what changes it, where it stands, and a network that some rows keep to."""

    run: Run
    options: Options
    ranks: Ranks
    decoder: Decoder
    optimizer: Optimizer
    kernels: Kernels
    place: TrainingProgress
    base: Decoder | None = None

    def step(self, batches: list[Batch], after: TrainingProgress) -> Heard:
        """Learn from the batches, one after the other; `after` is the place in the data behind them."""
        heard = _learn(self, batches)
        scale = factor(self.place, self.run.steps.warmup)
        self.optimizer.step(self.run.rates.matrices * scale, self.run.rates.others * scale)
        tokens = self.place.tokens + int(heard[4])
        self.place = replace(self.place, shard=after.shard, batch=after.batch, step=self.place.step + 1, tokens=tokens)
        return heard

    def save(self) -> None:
        """Write the checkpoint, if this process is the one that does."""
        if self.ranks.leads:
            _save(self.run, self.options.out / LATEST, self.decoder, self.optimizer, self.place)


def train(run: Run, options: Options, base: Mapping[str, Any] | None = None) -> TrainingProgress:
    """Train until told to stop or the cool-down is over; the place where it stopped.

    base: weights of the same shape; on rows marked as kept the network learns to expect what they expect, as arrays.
    Raises FileNotFoundError when shards are missing and ValueError when the checkpoint is of another shape.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    ranks = start(options.device)
    decoder = Decoder(run.shape)
    decoder.start(run.seed)
    decoder.to(ranks.device)
    weights = dict(decoder.named_parameters())
    optimizer = Optimizer(weights, run.rates.momentum, run.rates.decay, run.rates.muon)
    place = _resume(run, _from(options), weights, optimizer)
    if place.is_cooled and (options.cooldown or options.finish_in):
        place = replace(place, cool_from=0, cool_steps=0)  # a further run, at rates of its own, to its own end
    if options.cooldown is not None and not place.cool_steps:
        place = replace(place, cool_from=place.step, cool_steps=options.cooldown)
    if options.compiled:
        for layer in decoder.layers:
            layer.compile(dynamic=False)
    still = None if base is None else _still(run, base, ranks.device)
    trainer = _Trainer(run, options, ranks, decoder, optimizer, Kernels(options.compiled), place, still)
    with _Stop() as stop:
        _loop(trainer, stop)
    trainer.save()
    ranks.end()
    return trainer.place


def _loop(trainer: _Trainer, stop: _Stop) -> None:
    options, steps, ranks = trainer.options, trainer.run.steps, trainer.ranks
    began = spoken = saved = time.monotonic()
    heard: list[Heard] = []
    stream = _stream(trainer.run, options.data, trainer.place, options.patience)
    first, ends = trainer.place.step, deque([began], maxlen=_LOOKED_BACK)
    while not ranks.total(_is_over(trainer.place, first, options, began, stop)):
        drawn = list(islice(stream, steps.accumulate * ranks.count))
        if len(drawn) < steps.accumulate * ranks.count:
            print(f"{options.data} is read to its end: write more with `python -m training rows`", flush=True)
            return
        heard.append(trainer.step([batch for batch, _ in drawn[ranks.own :: ranks.count]], drawn[-1][1]))
        now = time.monotonic()
        ends.append(now)
        if trainer.place.step % _SPOKEN == 0:
            if options.finish_in is not None and len(ends) > _SPOKEN:
                pace = (ends[-1] - ends[1]) / (len(ends) - 2)
                left = ranks.total((began + options.finish_in * 60 - now) / pace) / ranks.count
                trainer.place = bent(trainer.place, int(left))
            _speak(trainer, heard, now - spoken, now - began)
            spoken, heard = now, []
        if now - saved > steps.checkpoint_minutes * 60:
            trainer.save()
            saved = time.monotonic()


def _is_over(place: TrainingProgress, first: int, options: Options, began: float, stop: _Stop) -> bool:
    if place.is_cooled or stop.asked:
        return True
    if options.steps is not None and place.step - first >= options.steps:
        return True
    return options.minutes is not None and time.monotonic() - began > options.minutes * 60


def _learn(trainer: _Trainer, batches: list[Batch]) -> Heard:
    """Add up the gradients of a step, over all processes. Gives what is heard of it."""
    ranks, decoder = trainer.ranks, trainer.decoder
    prepared = [_tensors(batch, trainer.run.steps, ranks.device) for batch in batches]
    whole = ranks.total(sum(float(weights.sum()) for _, _, weights, _, _ in prepared))
    sums = np.zeros(5)
    for tokens, targets, weights, middle, here in prepared:
        with torch.autocast(ranks.device.partition(":")[0], torch.bfloat16):
            hidden = decoder.hidden(tokens)
        hidden = hidden.reshape(-1, hidden.shape[-1]).bfloat16()
        kept = _kept(trainer.base, tokens, here)
        total, each = loss(hidden, decoder.embed.weight, targets, weights / whole, trainer.kernels, kept)
        total.backward()
        text = (weights > 0) & ~middle
        nats = (each * text).sum(), text.sum(), (each * middle).sum(), middle.sum()
        sums += np.array([*(float(one) for one in nats), tokens.numel()])
    ranks.add(weight.grad for weight in decoder.parameters() if weight.grad is not None)
    return tuple(ranks.total(one) for one in sums.tolist())


def _still(run: Run, weights: Mapping[str, Any], device: str) -> Decoder:
    found = Decoder(run.shape)
    found.load_state_dict({name: torch.tensor(one) for name, one in weights.items()})
    return found.to(device).requires_grad_(False)


def _kept(base: Decoder | None, tokens: Tensor, here: Tensor) -> TeacherOutput | None:
    """What `base` expects in the rows that have positions `here`; nothing of the others."""
    some = here.view(tokens.shape).any(1)
    if base is None or not some.any():
        return None
    with torch.autocast(tokens.device.type, torch.bfloat16):
        found = base.hidden(tokens[some]).bfloat16()
    hidden = found.new_zeros((*tokens.shape, found.shape[-1]))
    hidden[some] = found
    return TeacherOutput(hidden.flatten(0, 1), base.embed.weight.bfloat16(), here)


def _tensors(batch: Batch, steps: StepPlan, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    tokens, classes = (torch.from_numpy(part).to(device) for part in batch)
    here, classes = classes.flatten() < 0, classes.flatten().abs()
    middle = classes == 2
    weights = torch.where(middle, steps.middle_weight, classes) * torch.where(here, steps.kept_weight, 1.0)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].flatten(), weights, middle, here


def _stream(run: Run, data: Path, place: TrainingProgress, patience: float) -> Iterator[tuple[Batch, TrainingProgress]]:
    """Batches from the place on, each with the place after it; ends where the shards do."""
    shard, skip = place.shard, place.batch
    if not _is_there(packing.shard_path(data, "train", shard), patience):
        raise FileNotFoundError(f"no shard {shard} in {data}; write it with `python -m training rows`")
    while _is_there(path := packing.shard_path(data, "train", shard), patience):
        found = packing.load(path)
        for number, batch in enumerate(packing.batches(found, run.steps.batch, run.seed + shard)):
            if number >= skip:
                yield batch, replace(place, shard=shard, batch=number + 1)
        shard, skip = shard + 1, 0


def _is_there(path: Path, patience: float) -> bool:
    """Whether a shard is there, or comes within `patience` seconds: rows may be written while they are read."""
    until = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return True


def _from(options: Options) -> Path:
    """The checkpoint to go on from: the run's own, or what it is to start with."""
    own = options.out / LATEST
    if own.exists() or options.start is None:
        return own
    if not options.start.exists():
        raise FileNotFoundError(f"no checkpoint in {options.start}; write it with `python -m training base`")
    return options.start


def _resume(run: Run, folder: Path, weights: Mapping[str, Tensor], optimizer: Optimizer) -> TrainingProgress:
    if not folder.exists():
        return TrainingProgress()
    arrays, state = checkpoint.load(folder)
    is_begun = int(str(state["step"])) > 0  # a checkpoint without a step has weights alone
    for name, target in {**weights, **(optimizer.moments if is_begun else {})}.items():
        if name not in arrays or arrays[name].shape != tuple(target.shape):
            raise ValueError(f"{folder} does not fit {run.name}: {name}; give another --out or the run it came from")
        with torch.no_grad():
            target.copy_(torch.from_numpy(arrays[name]))
    place = TrainingProgress(**{name: int(str(state[name])) for name in TrainingProgress.__dataclass_fields__})
    optimizer.steps = place.step
    return place


def _save(run: Run, folder: Path, decoder: Decoder, optimizer: Optimizer, place: TrainingProgress) -> None:
    named = {**dict(decoder.named_parameters()), **optimizer.moments}
    arrays = {name: value.detach().cpu().numpy() for name, value in named.items()}
    shape = {name: getattr(run.shape, name) for name in run.shape.__struct_fields__}
    checkpoint.save(folder, arrays, {"run": run.name, "shape": shape, **vars(place)})


def _speak(trainer: _Trainer, heard: list[Heard], seconds: float, elapsed: float) -> None:
    if not trainer.ranks.leads:
        return
    place = trainer.place
    text, texts, middle, middles, tokens = np.sum(np.array(heard), axis=0).tolist()
    line = {
        "step": place.step,
        "tokens": place.tokens,
        "text": round(text / max(1, texts), 4),
        "middle": round(middle / max(1, middles), 4),
        "rate": round(factor(place, trainer.run.steps.warmup), 4),
        "tokens_a_second": round(tokens / seconds),
        "shard": place.shard,
    }
    if place.cool_steps:
        left = (place.cool_from + place.cool_steps - place.step) * seconds / len(heard)
        line["minutes_left"] = round(left / 60, 1)
    elif trainer.options.minutes is not None:
        line["minutes_left"] = round(trainer.options.minutes - elapsed / 60, 1)
    with (trainer.options.out / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


class _Stop:
    """Whether a signal has asked for the end; the step under way is finished first."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _Stop:
        self._before = {one: signal.signal(one, self._ask) for one in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
