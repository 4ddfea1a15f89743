"""Thousands of requests of every kind, many given up in their midst: afterwards everything is as it was."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import tempfile
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import pytest

from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.engine.engine import Engine
from model_runtime.errors import Overloaded
from model_runtime.opening import open_engine
from model_runtime.protocol import Done, InfillRequest
from model_runtime.service.server import serve
from model_runtime.service.service import Identity
from tests import tiny

CLIENTS = 8
GROWTH = 8.0  # megabytes that a process may grow by itself: caches of texts and of the allocator
PATIENCE = 60.0  # seconds that one request may take at most


def resident() -> float:
    """Megabytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def request(client: str, chance: random.Random) -> InfillRequest:
    """Of any kind; most go on from an earlier one of the same client."""
    lines = "".join(f"value_{at} = {at}\n" for at in range(chance.randrange(1, 9)))
    return InfillRequest(
        client=client,
        path=f"{client}.py",
        prefix=lines,
        suffix="\nend\n",
        typed="abcdef"[: chance.randrange(7)],
        max_tokens=chance.choice([0, 1, 8, 24]),
        max_lines=chance.choice([None, 1, 3]),
        temperature=chance.choice([0.0, 0.0, 0.8]),
        deadline_ms=chance.choice([None, 0.0, 5.0, 50.0, 1000.0]),
        priority=chance.choice(["hand", "automatic", "automatic", "prefetch"]),
        n=chance.choice([1, 1, 3]),
    )


async def outcome(client: Client, asked: InfillRequest, patience: float) -> str:
    try:
        async with asyncio.timeout(patience), aclosing(client.infill(asked)) as events:
            found = [event async for event in events]
    except TimeoutError:
        return "given up"
    except Overloaded:
        return "refused"
    assert isinstance(found[-1], Done)
    return found[-1].finish


async def crowd(endpoint: Endpoint, count: int, seed: int) -> Counter[str]:
    """So many requests by all clients together, and how they ended."""
    ends: Counter[str] = Counter()

    async def one(name: str) -> None:
        chance, client = random.Random(f"{seed} {name}"), Client(endpoint)
        for _ in range(count // CLIENTS):
            patience = chance.choice([0.0, 0.0005, 0.002, 0.005, 0.02, PATIENCE, PATIENCE])
            ends[await outcome(client, request(name, chance), patience)] += 1
        await client.close()

    async with asyncio.TaskGroup() as group:
        for at in range(CLIENTS):
            group.create_task(one(f"client-{at}"))
    return ends


async def endure(model: Path, cache: Path, count: int) -> tuple[Engine, int, Counter[str], float]:
    """The engine, how many slots it had free at first, how requests ended, megabytes grown since the first fifth."""
    engines: list[Engine] = []

    def opener() -> Engine:
        engines.append(open_engine(model, cache=cache, kv_cache=1))
        return engines[-1]

    with tempfile.TemporaryDirectory(prefix="lacuna-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()
        client = Client(Endpoint(socket=f"{folder}/s"))
        serving = asyncio.create_task(serve(opener, listener, Identity("build", "tiny")))
        slots = 0
        try:
            await outcome(client, request("first", random.Random(0)), PATIENCE)
            slots = engines[0].free_slots
            ends = await crowd(client.endpoint, count // 5, 1)
            before = resident()
            ends += await crowd(client.endpoint, count - count // 5, 2)
            async with asyncio.timeout(PATIENCE):
                while engines[0].busy:
                    await asyncio.sleep(0.01)
            return engines[0], slots, ends, resident() - before
        finally:
            await client.drain()
            await client.close()
            async with asyncio.timeout(PATIENCE):
                await serving


@pytest.mark.parametrize(
    "count", [480, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])], ids=["few", "many"]
)
async def test_after_thousands_of_requests_no_slot_is_lost_and_memory_is_where_it_was(
    tmp_path: Path, count: int
) -> None:
    engine, slots, ends, grown = await endure(tiny.write(tmp_path / "model"), tmp_path / "cache", count)
    assert 2 <= slots < CLIENTS
    assert engine.free_slots == slots
    assert not engine.busy
    assert ends.total() == count
    assert {"given up", "length", "deadline"} <= set(ends)
    assert ends["given up"] > count / 20
    assert grown < GROWTH, ends
