"""A Backend in, how fast it is on this machine out: measured at its first start, then kept in the cache folder.

For whoever splits a budget of time, and for `speculation`. Only ratios of a quiet moment are to be trusted: what was
measured while others held the cores serves until the next start, and is measured anew there. Knows nothing of prompts.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import msgspec

from model_runtime.engine.backend import Backend, KVSlot
from model_runtime.engine.sequence import Cancel
from model_runtime.manifest import Manifest

_VERSION = 1  # raised when what is measured changes
_BUDGET = 1.5  # seconds of measuring: a large model must answer soon, too
_HELD = 512  # tokens before those that are measured
_CHUNK = 128  # tokens of a prompt read in one run
_RUNS = 5  # of each, the quickest counts
_CHECKED = (2, 4, 8, 16)
_BUSY = 0.1  # share of the time in which the measuring waited for a core, from which on it says little


class Profile(msgspec.Struct, frozen=True):
    """prefill: tokens a second; decode_ms: of a run over one token; verify_ms: of runs over several, by their number.

    What would have taken too long to measure is left out of verify_ms.
    """

    prefill: float
    decode_ms: float
    verify_ms: dict[int, float]

    def costs(self) -> tuple[float, ...]:
        """Milliseconds of a run over 1, 2, … tokens, as far as was measured; between, on lines that never fall."""
        points = [(1, self.decode_ms)]
        for count, spent in sorted(self.verify_ms.items()):
            points.append((count, max(spent, points[-1][1])))
        found = [self.decode_ms]
        for (few, quick), (many, slow) in pairwise(points):
            found += [quick + (slow - quick) * (count - few) / (many - few) for count in range(few + 1, many + 1)]
        return tuple(found)


def kept(backend: Backend[KVSlot], manifest: Manifest, runs_on: str, cache: Path) -> Profile:
    """The profile of a model on this machine, measured where none is kept. runs_on: a word for the device and threads.

    The backend's stores are made anew by this. On a busy machine, and where nothing can be kept, it is measured each
    time.
    """
    path = cache / f"profile-{_key(manifest, runs_on)}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.DecodeError):
        pass
    began, waited = time.perf_counter(), _waited()
    found = measured(backend)
    if _waited() - waited > _BUSY * (time.perf_counter() - began):
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="profile-") as workshop:
            made = Path(workshop) / path.name
            made.write_bytes(msgspec.json.encode(found))
            os.replace(made, path)
    except OSError:
        pass
    return found


def measured(backend: Backend[KVSlot]) -> Profile:
    """Runs the network for at most about a second and a half, or for one token if that takes longer."""
    slot, cancel = backend.new_slots(1)[0], Cancel()
    held = min(_HELD, backend.context_length // 2)
    chunk = min(_CHUNK, backend.context_length - held)
    until = time.perf_counter() + _BUDGET
    decode = _milliseconds(partial(backend.decode, slot, [0], held, cancel), until)
    verify = {}
    for count in _CHECKED:
        if time.perf_counter() + count * decode / 1e3 > until:
            break
        verify[count] = _milliseconds(partial(backend.verify, slot, [0] * count, held, cancel), until)
    if time.perf_counter() + chunk * decode / 4e3 > until:
        return Profile(_most(verify, decode), decode, verify)
    read = _milliseconds(partial(backend.prefill, slot, [0] * chunk, held, cancel), until)
    return Profile(max(chunk / read * 1e3, _most(verify, decode)), decode, verify)


def _waited() -> float:
    """Seconds that this thread could have run and had no core; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _most(verify: dict[int, float], decode: float) -> float:
    """The most tokens a second of the runs that were measured."""
    return max(count / spent * 1e3 for count, spent in {1: decode, **verify}.items())


def _milliseconds(run: Callable[[], object], until: float) -> float:
    """The quickest of some runs after a first: what else the machine does makes them slower, nothing quicker."""
    spent: list[float] = []
    while not spent or (len(spent) <= _RUNS and time.perf_counter() < until):
        began = time.perf_counter()
        run()
        spent.append((time.perf_counter() - began) * 1e3)
    return min(spent[1:] or spent)


def _key(manifest: Manifest, runs_on: str) -> str:
    """A word for all that decides on speed: the model, whose files the manifest names by their digests, and the
    machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        name = next(line for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    machine = f"{_VERSION} {platform.machine()} {name} {os.cpu_count()} {runs_on} "
    return sha256(machine.encode() + msgspec.json.encode(manifest)).hexdigest()[:16]
