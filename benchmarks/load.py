"""A server under the load of a team: `python -m benchmarks.load --typists 50 --minutes 1 --json`.

Starts `lacuna serve` on a free port of loopback with a token for each typist, or uses --url, or the user's daemon
(--daemon). With --llama PYTHON the same people write once more in front of llama-cpp-python's own server, with the same
model. The people share the machine with the server, and what they take of it is told as well.

An answer is in time when text that is more than blanks has come within 300 ms of the key and before the next key.
Of the suggestions that were due, those count as answered for which any text came; due is one that the typist left alone
for 150 ms and for which the model had something to say, or was not asked because others were.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import footprint, llama_server
from benchmarks.crowd import DEADLINE, Asker, Crowd, Request, write
from benchmarks.samples import PROMPT, spread
from benchmarks.workspace import copied, package
from lacuna import daemon, isolation, tokens
from lacuna.settings import read_settings
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.protocol import Chunk, InfillRequest

WITHIN = 300.0  # milliseconds after the key: later the typist has gone on
EVERY = 10.0  # seconds in which each typist is to be served
PATIENCE = 60.0  # seconds for a server to come up


class Ours:
    """One typist's way to a service of this project."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint)

    async def ask(self, request: InfillRequest) -> AsyncIterator[str]:
        """As `crowd.Asker` has it."""
        events = self._client.infill(request)
        try:
            async for event in events:
                if isinstance(event, Chunk):
                    yield event.text
        finally:
            await events.aclose()

    async def close(self) -> None:
        """As `crowd.Asker` has it."""
        await self._client.close()


@contextlib.contextmanager
def serving(count: int, folder: Path, arguments: Sequence[str]) -> Iterator[tuple[int, Callable[[int], Asker]]]:
    """`lacuna serve` with a token for each: its process id, and the way to it."""
    kept = folder / "tokens.json"
    made = [token for token, _ in tokens.make(kept, [f"typist-{who}" for who in range(count)])]
    command = isolation.command("serve", "--port", "0", "--tokens", str(kept), *arguments)
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("ready at ").strip()
        if not url:
            raise SystemExit("lacuna serve did not start; run it by hand to see why")
        yield process.pid, lambda who: Ours(Endpoint(url=url, token=made[who]))


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, gone afterwards."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def measure(
    count: int, seconds: float, pid: int | None, join: Callable[[int], Asker], seed: int, deadline: float = DEADLINE
) -> dict[str, Any]:
    """The report of one sitting."""
    crowd = Crowd()
    with tempfile.TemporaryDirectory(prefix="lacuna-load-") as name:
        workspace = copied(package("httpx"), Path(name), seed)
        own, theirs = footprint.cpu_seconds(os.getpid()), footprint.cpu_seconds(pid) if pid else 0.0
        began = time.perf_counter()
        await write(workspace, count, seconds, join, crowd, seed, deadline)
        spent = time.perf_counter() - began
    return {
        "typists": count,
        "seconds": round(spent, 1),
        "keys_per_s": round(crowd.keys / spent, 1),
        **summary(crowd.samples, count, spent, deadline),
        "memory_mb": round(footprint.resident_mb(pid), 1) if pid else None,
        "peak_mb": round(footprint.peak_mb(pid), 1) if pid else None,
        "server_cpu": round((footprint.cpu_seconds(pid) - theirs) / spent, 2) if pid else None,
        "typists_cpu": round((footprint.cpu_seconds(os.getpid()) - own) / spent, 2),
    }


def summary(samples: Sequence[Request], count: int, seconds: float, deadline: float = DEADLINE) -> dict[str, Any]:
    """What the requests were worth: rates, milliseconds, shares. deadline: in milliseconds."""
    left_alone = [one for one in samples if one.left_ms is None or one.left_ms >= PROMPT]
    said = sum(one.first_ms is not None for one in left_alone)
    missed = sum(_is_missed(one, deadline) for one in left_alone)
    answered = [one.first_ms for one in samples if one.first_ms is not None]
    good = [one for one in samples if one.first_ms is not None and one.first_ms <= WITHIN]
    whole = [one.whole_ms for one in samples if one.whole_ms is not None]
    failures = sorted({one.failed for one in samples if one.failed is not None})
    return {
        "requests": len(samples),
        "answers_per_s": round(len(good) / seconds, 2),
        "due": {"n": said + missed, "answered_share": round(said / max(1, said + missed), 3)},
        "first_ms": spread(answered),
        "whole_ms": spread(whole),
        "refused_share": round(sum(one.refused for one in samples) / max(1, len(samples)), 3),
        "cut_off_share": round(sum(_is_cut_off(one) for one in samples) / max(1, len(samples)), 3),
        "failed": sum(one.failed is not None for one in samples),
        "failures": failures[:3],
        "longest_unserved_s": round(max(_unserved(good, who, samples) for who in range(count)), 1),
        "answers_per_typist": _shares([sum(one.who == who for one in good) for who in range(count)]),
    }


def _is_missed(sample: Request, deadline: float) -> bool:
    """Whether nothing came though something might have, had there been more time."""
    if sample.first_ms is not None:
        return False
    in_time = sample.whole_ms is not None and sample.whole_ms < deadline
    return not in_time


def _is_cut_off(sample: Request) -> bool:
    """Whether the next key came before any text."""
    return sample.first_ms is None and sample.whole_ms is None and not sample.refused and sample.failed is None


def _unserved(good: Sequence[Request], who: int, samples: Sequence[Request]) -> float:
    """The longest that one typist asked and got nothing in time, in seconds."""
    asked = sorted(one.at for one in samples if one.who == who)
    if not asked:
        return 0.0
    served = sorted([asked[0], *(one.at for one in good if one.who == who), asked[-1]])
    return max(later - earlier for earlier, later in itertools.pairwise(served))


def _shares(counts: Sequence[int]) -> dict[str, int]:
    ordered = sorted(counts)
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}


async def _by_daemon(arguments: argparse.Namespace) -> dict[str, Any]:
    client = await daemon.connect(read_settings())
    pid = (await client.health()).pid
    await client.close()
    return await measure(
        arguments.typists,
        arguments.minutes * 60,
        pid,
        lambda _: Ours(client.endpoint),
        arguments.seed,
        arguments.deadline,
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The reports by server, and how many times more answers ours gives."""
    found = _ours(arguments)
    if arguments.llama is None:
        return found
    with (
        tempfile.TemporaryDirectory(prefix="lacuna-load-") as name,
        llama_server.serving(arguments.llama, Path(name), os.cpu_count() or 1) as (pid, join),
    ):
        minutes = arguments.minutes if arguments.llama_minutes is None else arguments.llama_minutes
        theirs = asyncio.run(measure(arguments.typists, minutes * 60, pid, join, arguments.seed))
    rate = theirs["answers_per_s"]
    return found | {"llama": theirs, "ratio": round(found["lacuna"]["answers_per_s"] / rate, 2) if rate else None}


def _ours(arguments: argparse.Namespace) -> dict[str, Any]:
    seconds = arguments.minutes * 60
    if arguments.daemon:
        return {"lacuna": asyncio.run(_by_daemon(arguments))}
    if arguments.url:
        endpoint = Endpoint(url=arguments.url, token=os.environ.get("LACUNA_TOKEN"))
        report = measure(arguments.typists, seconds, None, lambda _: Ours(endpoint), arguments.seed, arguments.deadline)
        return {"lacuna": asyncio.run(report)}
    with (
        tempfile.TemporaryDirectory(prefix="lacuna-load-") as name,
        serving(arguments.typists, Path(name), arguments.serve) as (pid, join),
    ):
        return {
            "lacuna": asyncio.run(measure(arguments.typists, seconds, pid, join, arguments.seed, arguments.deadline))
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--typists", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=DEADLINE, help="milliseconds (default: %(default).0f)")
    parser.add_argument("--daemon", action="store_true", help="the user's daemon in place of a server")
    parser.add_argument("--url", help="a server that runs; its token is in LACUNA_TOKEN")
    parser.add_argument("--llama", type=Path, metavar="PYTHON", help="one that has llama-cpp-python's server and gguf")
    parser.add_argument("--llama-minutes", type=float, help="how long they write there (default: as long)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("serve", nargs="*", help="more options of lacuna serve, after --")
    arguments = parser.parse_args()
    report = run(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for name in report.keys() & {"lacuna", "llama"}:
        print(f"{name}: {report[name]['answers_per_s']} answers/s within {WITHIN:.0f} ms, {json.dumps(report[name])}")


if __name__ == "__main__":
    main()
