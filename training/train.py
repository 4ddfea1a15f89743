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

from training import checkpoint, rows
from training.model import Decoder, Kernels, loss
from training.muon import Optimizer
from training.run import Run

LATEST = "latest"
LOG = "log.jsonl"
_SPOKEN = 10  # steps between two lines of figures
_LOOKED_BACK = 40  # steps whose pace foretells the rest

Batch = tuple[Any, Any]


@dataclass(frozen=True)
class Place:
    """Where a run stands. shard, batch: the next to be read; cool_from, cool_steps: the cool-down, 0 for none yet."""

    step: int = 0
    shard: int = 0
    batch: int = 0
    tokens: int = 0
    cool_from: int = 0
    cool_steps: int = 0


@dataclass(frozen=True)
class Options:
    """data: folder of shards; out: folder of checkpoints; cooldown, steps, minutes: None for no limit.

    finish_in: minutes to the end of a cool-down that is bent, as the machine slows down or speeds up, to end then.
    """

    data: Path
    out: Path
    device: str = "cpu"
    compiled: bool = True
    cooldown: int | None = None
    steps: int | None = None
    minutes: float | None = None
    finish_in: float | None = None


def factor(place: Place, warmup: int) -> float:
    """What the rates are multiplied by: up over the warm-up, 1, then straight down to 0 (WSD, Hu et al. 2024)."""
    rise = min(1.0, (place.step + 1) / max(1, warmup))
    if not place.cool_steps:
        return rise
    return rise * max(0.0, 1 - (place.step - place.cool_from) / place.cool_steps)


def bent(place: Place, left: int) -> Place:
    """The same place with its cool-down, begun or not, falling from where it stands to 0 in `left` steps."""
    done = (place.step - place.cool_from) / place.cool_steps if place.cool_steps else 0.0
    whole = max(1, round(max(1, left) / max(1e-3, 1 - done)))
    return replace(place, cool_from=place.step - round(done * whole), cool_steps=whole)


def train(run: Run, options: Options) -> Place:
    """Train until told to stop or the cool-down is over; the place where it stopped.

    Raises FileNotFoundError when shards are missing and ValueError when the checkpoint is of another shape.
    """
    decoder = Decoder(run.shape).to(options.device)
    decoder.start(run.seed)
    weights = dict(decoder.named_parameters())
    optimizer = Optimizer(weights, run.rates.momentum, run.rates.decay)
    place = _resume(run, options.out / LATEST, weights, optimizer)
    if options.cooldown is not None and not place.cool_steps:
        place = replace(place, cool_from=place.step, cool_steps=options.cooldown)
    if options.compiled:
        for layer in decoder.layers:
            layer.compile(dynamic=False)
    kernels = Kernels(options.compiled)
    options.out.mkdir(parents=True, exist_ok=True)
    with _Stop() as stop:
        return _loop(run, options, decoder, optimizer, kernels, place, stop)


def _loop(
    run: Run, options: Options, decoder: Decoder, optimizer: Optimizer, kernels: Kernels, place: Place, stop: _Stop
) -> Place:
    began = spoken = saved = time.monotonic()
    heard: list[tuple[float, float, float, float, int]] = []
    stream = _stream(run, options.data, place)
    first, ends = place, deque([began], maxlen=_LOOKED_BACK)
    while not _over(place, first, options, began, stop):
        batches = list(islice(stream, run.steps.accumulate))
        if len(batches) < run.steps.accumulate:
            print(
                f"no shard {place.shard + 1} in {options.data}: write more with `python -m training rows`", flush=True
            )
            break
        heard += [_learn(run, options.device, decoder, kernels, [batch for batch, _ in batches])]
        scale = factor(place, run.steps.warmup)
        optimizer.step(run.rates.matrices * scale, run.rates.others * scale)
        tokens = place.tokens + sum(batch[0].shape[0] * (batch[0].shape[1] - 1) for batch, _ in batches)
        after = batches[-1][1]
        place = replace(place, shard=after.shard, batch=after.batch, step=place.step + 1, tokens=tokens)
        now = time.monotonic()
        ends.append(now)
        if options.finish_in is not None and len(ends) > _SPOKEN and place.step % _SPOKEN == 0:
            pace = (ends[-1] - ends[1]) / (len(ends) - 2)
            place = bent(place, int((began + options.finish_in * 60 - now) / pace))
        if place.step % _SPOKEN == 0:
            speed = sum(one[4] for one in heard) / (now - spoken) if heard else 0.0
            _speak(options.out, place, heard, scale, speed)
            spoken, heard = now, []
        if now - saved > run.steps.checkpoint_minutes * 60:
            _save(run, options.out / LATEST, decoder, optimizer, place)
            saved = time.monotonic()
    _save(run, options.out / LATEST, decoder, optimizer, place)
    return place


def _over(place: Place, first: Place, options: Options, began: float, stop: _Stop) -> bool:
    if place.cool_steps and place.step >= place.cool_from + place.cool_steps:
        return True
    if options.steps is not None and place.step - first.step >= options.steps:
        return True
    if options.minutes is not None and time.monotonic() - began > options.minutes * 60:
        return True
    return stop.asked


def _learn(
    run: Run, device: str, decoder: Decoder, kernels: Kernels, batches: list[Batch]
) -> tuple[float, float, float, float, int]:
    """Add up the gradients of a step. Gives nats and counts: of the text, of the middles; and all tokens."""
    prepared = [_tensors(batch, run.steps.middle_weight, device) for batch in batches]
    whole = sum(float(weights.sum()) for _, _, weights, _ in prepared)
    sums = np.zeros(4)
    for tokens, targets, weights, middle in prepared:
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            hidden = decoder.hidden(tokens)
        hidden = hidden.reshape(-1, hidden.shape[-1]).bfloat16()
        total, each = loss(hidden, decoder.embed.weight, targets, weights / whole, kernels)
        total.backward()
        text = (weights > 0) & ~middle
        sums += np.array([float(each[text].sum()), int(text.sum()), float(each[middle].sum()), int(middle.sum())])
    return (*sums.tolist(), sum(tokens.numel() for tokens, *_ in prepared))


def _tensors(batch: Batch, middle_weight: float, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tokens, classes = (torch.from_numpy(part).to(device) for part in batch)
    classes = classes.flatten()
    middle = classes == 2
    weights = torch.where(middle, middle_weight, classes)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].flatten(), weights, middle


def _stream(run: Run, data: Path, place: Place) -> Iterator[tuple[Batch, Place]]:
    """Batches from the place on, each with the place after it; ends where the shards do."""
    shard, skip = place.shard, place.batch
    if not rows.shard_path(data, "train", shard).exists():
        raise FileNotFoundError(f"no shard {shard} in {data}; write it with `python -m training rows`")
    while (path := rows.shard_path(data, "train", shard)).exists():
        found = rows.load(path)
        for number, batch in enumerate(rows.batches(found, run.steps.batch, run.seed + shard)):
            if number >= skip:
                yield batch, replace(place, shard=shard, batch=number + 1)
        shard, skip = shard + 1, 0


def _resume(run: Run, folder: Path, weights: Mapping[str, Tensor], optimizer: Optimizer) -> Place:
    if not folder.exists():
        return Place()
    arrays, state = checkpoint.load(folder)
    for name, target in {**weights, **optimizer.moments}.items():
        if name not in arrays or arrays[name].shape != tuple(target.shape):
            raise ValueError(f"{folder} does not fit {run.name}: {name}; give another --out or the run it came from")
        with torch.no_grad():
            target.copy_(torch.from_numpy(arrays[name]))
    place = Place(**{name: int(str(state[name])) for name in Place.__dataclass_fields__})
    optimizer.steps = place.step
    return place


def _save(run: Run, folder: Path, decoder: Decoder, optimizer: Optimizer, place: Place) -> None:
    named = {**dict(decoder.named_parameters()), **optimizer.moments}
    arrays = {name: value.detach().cpu().numpy() for name, value in named.items()}
    shape = {name: getattr(run.shape, name) for name in run.shape.__struct_fields__}
    checkpoint.save(folder, arrays, {"run": run.name, "shape": shape, **vars(place)})


def _speak(out: Path, place: Place, heard: list[Any], scale: float, speed: float) -> None:
    text, texts, middle, middles, _ = np.sum(np.array(heard), axis=0).tolist()
    line = {
        "step": place.step,
        "tokens": place.tokens,
        "text": round(text / max(1, texts), 4),
        "middle": round(middle / max(1, middles), 4),
        "rate": round(scale, 4),
        "tokens_a_second": round(speed),
        "shard": place.shard,
    }
    if place.cool_steps:
        left = (place.cool_from + place.cool_steps - place.step) * place.tokens / place.step
        line["minutes_left"] = round(left / max(speed, 1) / 60, 1)
    with (out / LOG).open("a", encoding="utf-8") as stream:
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
