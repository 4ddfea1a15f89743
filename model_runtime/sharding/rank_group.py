"""A sharded model's directory in, its rank processes out: started, given orders, watched, ended.

A rank that dies is noticed by the end of its pipes, one that hangs by its silence, both well within two seconds. Then
all are ended, for none can go on without the others; who asked gets a RankError. Knows nothing of tokens.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from model_runtime.errors import RankError
from model_runtime.sharding import rank_protocol
from model_runtime.sharding.rank_protocol import Done, Failed, Order

_START = 300.0  # seconds for all ranks to load their shares
_TICK = 0.1  # seconds between two looks; a rank beats as often
_SILENT = 0.8  # seconds without a beat after which a rank hangs
_LOOKS = 5  # that must have found no beat by then: where we are held up ourselves, so are they
_LOST = 3  # the exit code of a rank that lost another

# `python -I -m model_runtime.sharding.rank_process`, from the same files as this process, installed or not.
_LAUNCH = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module({!r}, run_name='__main__')"


@dataclass(frozen=True)
class Rank:
    """One process. orders: both ways; beats: a descriptor, from it alone."""

    number: int
    process: subprocess.Popen[bytes]
    orders: Connection
    beats: int


class Group:
    """All ranks of a model. Give it orders from one thread at a time; whatever else may be called from any."""

    def __init__(self, directory: Path, cache: Path, ranks: int, threads: int, stop: threading.Event) -> None:
        """Starts the ranks and waits until all are ready, or `stop` is set. Raises RankError."""
        self.fault: str | None = None
        self.since = time.monotonic()
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._ranks: list[Rank] = []
        self._ended = False
        self._count = ranks
        with tempfile.TemporaryDirectory(prefix="lacuna-ranks-") as folder:
            options = ["--directory", str(directory), "--cache", str(cache), "--meeting", str(Path(folder) / "meeting")]
            options += ["--threads", str(threads)]
            try:
                for number in range(ranks):
                    self._ranks.append(_spawned(number, options))
                self._await(stop)
            except BaseException:
                self.close()
                raise

    @property
    def pids(self) -> list[int]:
        """The processes, in order of rank."""
        return [rank.process.pid for rank in self._ranks]

    def ask(self, order: Order) -> list[Done]:
        """Has all ranks do something; their answers in order. Raises RankError when one of them cannot."""
        try:
            with self._asking:
                for rank in self._ranks:
                    rank_protocol.send(rank.orders, order)
                answers = [rank_protocol.answer(rank.orders) for rank in self._ranks]
        except (EOFError, OSError) as error:
            raise RankError(self.fail()) from error
        return [answer for answer in answers if isinstance(answer, Done)]

    def watch(self, lost: Callable[[], None]) -> None:
        """From now on looks after the ranks; calls `lost` once, on a thread of its own, after they failed."""
        threading.Thread(target=self._watch, args=(lost,), name="ranks", daemon=True).start()

    def fail(self, reason: str | None = None) -> str:
        """Ends all ranks; why, to be told to whoever asked. The first reason stays, None is seen from the processes."""
        with self._lock:
            if self.fault is None:
                found = reason or self._death()
                self.fault = f"{found}; what was asked meanwhile is lost, ask again: the ranks start anew"
            self._end()
            return self.fault

    def close(self) -> None:
        """Ends all ranks and gives their pipes back."""
        with self._lock:
            self._ended = True
            self._end()
        with self._asking:  # whoever asks hears soon that it is over, and must not read from another's pipe instead
            for rank in self._ranks:
                rank.orders.close()
                os.close(rank.beats)
            self._ranks = []

    def _await(self, stop: threading.Event) -> None:
        until = time.monotonic() + _START
        loading = {rank.orders: rank.number for rank in self._ranks}
        while loading:
            if stop.is_set():
                raise RankError("the ranks were ended while they started")
            if time.monotonic() > until:
                raise RankError(f"rank {min(loading.values())} has not loaded within {_START:.0f} s; see the log")
            for ready in wait(list(loading), _TICK):
                assert isinstance(ready, Connection)
                del loading[ready]
                try:
                    answer = rank_protocol.answer(ready)
                except (EOFError, OSError) as error:
                    raise RankError(f"{self._death()} while it started; see the log") from error
                if isinstance(answer, Failed):
                    raise RankError(answer.message)

    def _watch(self, lost: Callable[[], None]) -> None:
        ranks = {rank.beats: rank.number for rank in self._ranks}
        heard_of = {beats: (0, time.monotonic()) for beats in ranks}  # looks since its last beat, and when that was
        while self.fault is None and not self._ended:
            time.sleep(_TICK)
            with self._lock:
                if self._ended:
                    return
                heard = {beats for beats in ranks if wait([beats], 0)}
                ended = [beats for beats in heard if not os.read(beats, 1 << 16)]
            now = time.monotonic()
            for beats, (looks, at) in heard_of.items():
                heard_of[beats] = (0, now) if beats in heard else (looks + 1, at)
            if ended:
                self.fail()
            elif mute := [ranks[one] for one, (n, at) in heard_of.items() if n >= _LOOKS and now - at >= _SILENT]:
                self.fail(f"rank {mute[0]} of {self._count} hangs and was ended")
        if not self._ended:
            lost()

    def _death(self) -> str:
        """Which rank died first, and of what: not one that ended because it lost another."""
        until = time.monotonic() + 0.5  # its end may be heard of before the system counts it as over
        while True:
            codes = {rank.number: rank.process.poll() for rank in self._ranks}
            for number, code in codes.items():
                if code not in (None, _LOST):
                    return f"rank {number} of {self._count} died ({_named(code)})"
            if time.monotonic() > until:
                return f"one of {self._count} ranks was lost to the others"
            time.sleep(0.01)

    def _end(self) -> None:
        for rank in self._ranks:
            rank.process.kill()  # also ends one that is stopped
        for rank in self._ranks:
            rank.process.wait()


def _spawned(number: int, options: Sequence[str]) -> Rank:
    """Raises RankError when the system has no room for it."""
    launch, package = _LAUNCH.format("model_runtime.sharding.rank_process"), str(Path(__file__).resolve().parents[2])
    ours, theirs = Pipe()
    hearing, beating = os.pipe()
    fixed = ["--rank", str(number), "--orders", str(theirs.fileno()), "--beats", str(beating)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", launch, package, *options, *fixed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), beating),
            start_new_session=True,  # an interrupt at the terminal is for whoever started us
            env={**os.environ, **_surroundings()},
        )
    except OSError as error:
        ours.close()
        os.close(hearing)
        raise RankError(f"cannot start rank {number}: {error.strerror}; fewer ranks may do") from error
    finally:
        theirs.close()
        os.close(beating)
    return Rank(number, process, ours, hearing)


def _surroundings() -> dict[str, str]:
    """Sums travel over this machine's own interface, where nobody else can listen; waiting takes no processor."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback, "OMP_NUM_THREADS": "1"}


def _named(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
