"""A rank of a sharded model: a process that gets orders, computes its share, and sums with the others by torch.

The one module of this package that imports torch, and nothing imports it: `ranks` starts it by name. Sums go by
gloo on the processor and by NCCL on graphics processors, over this machine's own interface. It ends when its orders
do, when another rank is lost, or with whoever started it; a beat tells that it is not held up.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from model_runtime import manifest
from model_runtime.backends import providers
from model_runtime.errors import ModelError
from model_runtime.manifest import Manifest
from model_runtime.sharding import rank_protocol
from model_runtime.sharding.rank_protocol import Copy, Done, Failed, NewSlots
from model_runtime.sharding.stages import RankDevice, Stages

BEAT = 0.1  # seconds
_MEETING = timedelta(seconds=120)  # for all ranks to come up
_SUM = timedelta(seconds=20)  # a rank that computes without end is given up by the others after this
_LOST = 3  # the exit code of a rank that lost another: not its own fault


class Sums:
    """Sums by torch.distributed, in torch's memory on one device. See stages.Exchange."""

    def __init__(self, device: torch.device, group: Any) -> None:
        self._device, self._group = device, group

    def buffer(self, count: int, kind: type[np.floating[Any]]) -> torch.Tensor:
        """Room for so many numbers."""
        return torch.zeros(count, dtype=torch.float16 if kind is np.float16 else torch.float32, device=self._device)

    def address(self, buffer: torch.Tensor) -> int:
        """Where it begins."""
        return int(buffer.data_ptr())

    def add_up(self, buffer: torch.Tensor, count: int) -> None:
        """Sums the first numbers over all ranks."""
        try:
            dist.all_reduce(buffer[:count], group=self._group)
        except RuntimeError:  # another rank died or was ended; whoever started us sees which
            os._exit(_LOST)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # ONNX Runtime computes in a stream of its own


def main(arguments: Sequence[str]) -> None:
    """One rank, until its orders end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--meeting", type=Path, required=True)
    for name in ("rank", "threads", "orders", "beats"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args(arguments)
    connection = Connection(options.orders)
    threading.Thread(target=_beat, args=(options.beats,), daemon=True).start()
    try:
        try:
            network = _opened(options)
        except ModelError as error:
            rank_protocol.send(connection, Failed(str(error)))
            return
        rank_protocol.send(connection, Done())
        while True:
            rank_protocol.send(connection, _done(network, rank_protocol.order(connection)))
    except (EOFError, OSError):
        os._exit(0)  # whoever started us is gone, or wants no more; a group that is not whole cannot be taken down


def _beat(descriptor: int) -> None:
    """Says over and over that this process runs; ends it when nobody hears that."""
    try:
        while True:
            os.write(descriptor, b".")
            time.sleep(BEAT)
    except OSError:
        os._exit(0)


def _opened(options: argparse.Namespace) -> Stages:
    """Meets the other ranks, then loads. Raises ModelError."""
    described = manifest.read(options.directory)
    assert described.sharding is not None
    torch.set_num_threads(1)
    on_card = described.sharding.device == "cuda"
    device = torch.device("cuda", options.rank) if on_card else torch.device("cpu")
    if on_card:
        _check_cards(described)
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if on_card else "gloo",
            init_method=f"file://{options.meeting}",
            rank=options.rank,
            world_size=described.sharding.ranks,
            timeout=_MEETING,
        )
        group = dist.new_group(timeout=_SUM)
    except RuntimeError as error:
        raise ModelError(f"rank {options.rank} cannot meet the others: {error}; try again") from error
    sums = Sums(device, group)
    place = RankDevice()
    if on_card:
        chosen = [
            (name, {**values, "device_id": str(options.rank)} if name.startswith("CUDA") else values)
            for name, values in providers.chosen("cuda", options.cache)
        ]
        place = RankDevice("cuda", options.rank, chosen)
    return Stages.open(options.directory, described, options.rank, options.threads, sums, place)


def _check_cards(described: Manifest) -> None:
    assert described.sharding is not None
    found = torch.cuda.device_count()
    if found < described.sharding.ranks:
        raise ModelError(
            f"{described.name} is sharded for {described.sharding.ranks} graphics processors, torch sees {found}; "
            f"shard it with --ranks {found or 'N --device cpu'}"
        )


def _done(network: Stages, order: rank_protocol.Order) -> Done:
    if isinstance(order, NewSlots):
        network.new_slots(order.count)
    elif isinstance(order, Copy):
        network.copy(order.source, order.target, order.length)
    else:
        tokens = np.array(order.tokens, np.int64)
        return Done(network.run(order.slots, tokens, order.starts, order.rows).tobytes())
    return Done()


if __name__ == "__main__":
    main(sys.argv[1:])
