"""Settings in, a Client of the user's daemon out: found, or started, or replaced by this newer build.

Of any number of processes that want a daemon at once, the one that gets the lock starts it and hands
the lock on to it; the others wait. Ignores what is asked of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from lacuna import build, isolation, lock, place
from lacuna.errors import DaemonError
from lacuna.place import DaemonPlace
from lacuna.settings import Settings
from model_runtime import manifest
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import Unreachable
from model_runtime.protocol import Health

READY = "ready"  # what a daemon says on its pipe when it answers; anything else is why it does not
PATIENCE = 30.0  # seconds for a daemon to come up, the old one's end included
_LOOK_AGAIN = 0.02  # seconds between two looks while another process starts or ends a daemon


async def connect(
    settings: Settings, *, patience: float = PATIENCE, tell: Callable[[str], None] = lambda _: None
) -> Client:
    """A client of a daemon that answers, with the right model and no older than this build.

    tell: gets a line for the user when this takes longer than finding one.
    Raises ManifestError when there is no model, and DaemonError, an Unreachable, with the daemon's own
    last words when it could not start.
    """
    manifest.read(settings.model_directory)
    mine = build.identify(settings.model_directory)
    where = place.find(settings)
    client = Client(Endpoint(socket=str(where.socket)))
    until = time.monotonic() + patience
    started = False
    try:
        while True:
            health = await _health(client)
            if health is not None and health.state != "draining":
                if started or not build.is_newer(mine, health.build):
                    return client
                tell("an older daemon makes room for this version")
                await _drain(client)
            if (held := lock.take(where.lock)) is not None:
                try:
                    tell("the daemon starts")
                    await _start(settings, where, held, until)
                    started = True
                finally:
                    os.close(held)
                continue
            if time.monotonic() > until:
                raise _stuck(where, patience)
            await asyncio.sleep(_LOOK_AGAIN)
    except BaseException:
        await client.close()
        raise


async def find(settings: Settings) -> Client | None:
    """A client of the daemon that runs, of whatever build; None when there is none. Starts nothing."""
    client = Client(Endpoint(socket=str(place.find(settings).socket)))
    if await _health(client) is not None:
        return client
    await client.close()
    return None


async def stop(settings: Settings, *, patience: float = PATIENCE) -> bool:
    """End the daemon once what runs is finished; False when there was none. Raises DaemonError."""
    return await end(place.find(settings), patience=patience)


async def end(where: DaemonPlace, *, patience: float = PATIENCE) -> bool:
    """As `stop`, of the daemon at a place."""
    client = Client(Endpoint(socket=str(where.socket)))
    until = time.monotonic() + patience
    ran = False
    try:
        while (held := lock.take(where.lock)) is None:
            ran = True
            await _drain(client)
            if time.monotonic() > until:
                raise _stuck(where, patience)
            await asyncio.sleep(_LOOK_AGAIN)
        os.close(held)
    finally:
        await client.close()
    return ran


async def _health(client: Client) -> Health | None:
    try:
        return await client.health()
    except Unreachable:
        return None


async def _drain(client: Client) -> None:
    with contextlib.suppress(Unreachable):  # it may be gone before it answers
        await client.drain()


async def _start(settings: Settings, where: DaemonPlace, held: int, until: float) -> None:
    """Start a daemon, hand it the lock, and wait for its word on a pipe: that it is ready, or why not."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as pipe:
        try:
            process = _spawn(settings, where, held, writing)
        except OSError as error:
            raise DaemonError(f"cannot start {isolation.command()[0]}: {error.strerror}") from error
        finally:
            os.close(writing)
        threading.Thread(target=process.wait, name="reap the daemon", daemon=True).start()
        words = await _read(pipe, until)
    if words is None:
        raise DaemonError(f"the daemon (process {process.pid}) is slow to start; try again, or see {where.log}")
    if words != READY:
        raise DaemonError(words or f"the daemon died at its start: {_last_line(where.log)}")


def _spawn(settings: Settings, where: DaemonPlace, held: int, writing: int) -> subprocess.Popen[bytes]:
    there = msgspec.structs.replace(settings, runtime=where.folder, log=where.log)
    with contextlib.ExitStack() as stack:
        output: IO[bytes] | int = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            output = stack.enter_context(where.log.open("ab"))
        return subprocess.Popen(
            isolation.command("serve", "--lock-descriptor", str(held), "--ready-descriptor", str(writing)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(held, writing),
            start_new_session=True,
            cwd="/",
            env={**os.environ, **there.to_environment()},
        )


async def _read(pipe: IO[bytes], until: float) -> str | None:
    """All that is written to a pipe before its last writer closes it; None when that takes too long."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(until - time.monotonic()):
            return (await reader.read()).decode(errors="replace").strip()
    except TimeoutError:
        return None
    finally:
        transport.close()


def _last_line(log: Path) -> str:
    lines: list[str] = []
    with contextlib.suppress(OSError):
        if log.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"it left no word in {log}")[:500]


def _stuck(where: DaemonPlace, patience: float) -> DaemonError:
    return DaemonError(
        f"the daemon (process {lock.holder(where.lock)}) has not answered for {patience:.0f} s; "
        f"end it with `kill`, then try again; its log is {where.log}"
    )
