"""Many people who write functions at once in, a sample of each of their requests out. Knows nothing of servers.

Each presses keys as `typist` does and sees the file as an editor does; what is asked is what the language server would
ask, window and all, but for snippets from other files. A key cuts off the request before it. Nothing is accepted, so
that every server is asked for the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks.editor import Editor
from benchmarks.keystrokes import seen
from benchmarks.typist import Typing
from benchmarks.workspace import Hole, Workspace, opened
from lsp_server.editor.window import Anchor, frame
from lsp_server.shaping import truncation
from model_runtime.errors import LacunaRuntimeError, Overloaded
from model_runtime.protocol import InfillRequest

QUIET = 0.025  # seconds without a key before a request goes out: the language server's longest wait for another key
TOKENS, LINES = 64, 10
DEADLINE = 2000.0  # milliseconds from the arrival of a request at the server, unless told
_START = 3.0  # seconds over which they sit down


class Asker(Protocol):
    """How one of them reaches a server."""

    def ask(self, request: InfillRequest) -> AsyncIterator[str]:
        """Pieces of text as they come. Closing it cancels. Raises Overloaded when refused, and LacunaRuntimeError."""

    async def close(self) -> None:
        """Give the connection back."""


@dataclass
class Request:
    """One request. who: its typist; at: the key it follows, in seconds of time.perf_counter(); the rest since then.

    first_ms: when text came that is more than blanks; whole_ms: when it was all there; left_ms: when the next key cut
    it off. refused: 429 or 503.
    """

    who: int
    at: float
    first_ms: float | None = None
    whole_ms: float | None = None
    left_ms: float | None = None
    refused: bool = False
    failed: str | None = None


@dataclass
class Crowd:
    """samples: every request so far. keys: pressed by all of them."""

    samples: list[Request] = field(default_factory=list)
    keys: int = 0


async def write(
    workspace: Workspace,
    count: int,
    seconds: float,
    join: Callable[[int], Asker],
    crowd: Crowd,
    seed: int = 1,
    deadline: float = DEADLINE,
) -> None:
    """So many people write for so long, each in files of their own mind. join: the way to the server for one."""
    until = time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for who in range(count):
            rng = random.Random(f"{seed} {who}")
            group.create_task(_sit(workspace, who, until, join(who), crowd, rng, deadline))


async def _sit(
    workspace: Workspace, who: int, until: float, asker: Asker, crowd: Crowd, rng: random.Random, deadline: float
) -> None:
    holes = list(workspace.holes)
    rng.shuffle(holes)
    await asyncio.sleep(rng.uniform(0, _START))
    running: asyncio.Task[None] | None = None
    try:
        while time.perf_counter() < until:
            hole = holes.pop(0)
            holes.append(hole)
            async for request, at in _requests(workspace.root, hole, who, until, crowd, rng):
                if running is not None:
                    running.cancel()
                request = msgspec.structs.replace(request, deadline_ms=deadline)
                running = asyncio.create_task(_ask(asker, request, who, at, crowd))
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await asker.close()


async def _requests(
    root: Path, hole: Hole, who: int, until: float, crowd: Crowd, rng: random.Random
) -> AsyncIterator[tuple[InfillRequest, float]]:
    """What is asked while one function is written, each with the time of its key."""
    editor, (place,) = opened(hole.path, [hole])
    typing = Typing(hole.text, place, rng)
    editor.jump(typing.place, typing.pending)
    anchor: Anchor | None = None
    while time.perf_counter() < until and (key := typing.next_key(editor)) is not None:
        await asyncio.sleep(key.pause)
        typing.press(key, editor)
        crowd.keys += 1
        anchor, request = _asked(hole.path.relative_to(root), editor, anchor, who)
        yield request, time.perf_counter()


def _asked(path: Path, editor: Editor, anchor: Anchor | None, who: int) -> tuple[Anchor, InfillRequest]:
    found = frame(seen(path, editor), anchor)
    request = InfillRequest(
        client=f"typist-{who}",
        path=found.anchor.path,
        prefix=found.prefix,
        suffix=found.anchor.suffix,
        typed=found.typed,
        max_tokens=TOKENS,
        max_lines=truncation.plan(found, LINES).lines,
    )
    return found.anchor, request


async def _ask(asker: Asker, request: InfillRequest, who: int, at: float, crowd: Crowd) -> None:
    await asyncio.sleep(QUIET)
    sample = Request(who, at)
    crowd.samples.append(sample)
    try:
        async with aclosing(asker.ask(request)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if sample.first_ms is None and piece.strip():
                    sample.first_ms = (time.perf_counter() - at) * 1000
        sample.whole_ms = (time.perf_counter() - at) * 1000
    except asyncio.CancelledError:
        sample.left_ms = (time.perf_counter() - at) * 1000
        raise
    except Overloaded:
        sample.refused = True
    except LacunaRuntimeError as error:
        sample.failed = str(error)
