"""A cursor in, what belongs there out, with the time each stage took: by the daemon or in this process.

The command line's own short way through the stages an editor's request goes through in `lsp_server`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lacuna import remote
from lacuna.position import Cursor
from lacuna.settings import Settings
from lsp_server.editor import window
from lsp_server.editor.scope import outline
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.shaping import suggestion, truncation
from lsp_server.shaping.suggestion import Suggestion
from lsp_server.shaping.truncation import Plan
from model_runtime import manifest
from model_runtime.manifest import Manifest
from model_runtime.prompt import Snippet
from model_runtime.protocol import Chunk, Done, InfillRequest, prompt
from retrieval import languages

if TYPE_CHECKING:
    from model_runtime.tokenizer import Tokenizer

MOST_LINES = 10
_ROOTS = (".git", ".hg", ".svn", ".jj")


@dataclass(frozen=True)
class Question:
    """What is asked, and what an answer must fit into. context_ms: what finding that out took."""

    request: InfillRequest
    frame: Frame
    wanted: Plan
    context_ms: float


class Timings(msgspec.Struct, frozen=True):
    """Milliseconds. context: cutting the window out of the file; connect: finding or starting the daemon, or
    loading the model; model: inside the network, a part of prefill and decode.
    """

    context: float
    connect: float
    queue: float
    layout: float
    prefill: float
    decode: float
    model: float
    total: float


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. reason: why the completion is empty; finish: why the model stopped."""

    completion: str
    reason: str | None
    finish: str
    prompt_tokens: int
    prefilled: int
    reused: int
    generated: int
    timings_ms: Timings


def snapshot_of(cursor: Cursor) -> Snapshot:
    """What an editor that shows the cursor's file would ask about."""
    path = cursor.path.absolute()
    root = root_of(path)
    return Snapshot(
        uri=path.as_uri(),
        root=str(root),
        path=path.relative_to(root).as_posix(),
        language=languages.of(path.name).name,
        version=0,
        lines=cursor.lines,
        cursor=cursor.place,
        invoked=True,
    )


def ask(cursor: Cursor, max_tokens: int) -> Question:
    """The question that a cursor puts to a model."""
    began = time.perf_counter()
    snapshot = snapshot_of(cursor)
    frame = window.frame(snapshot, None)
    above = outline(snapshot.lines, frame.anchor.start.line, snapshot.cursor)
    frame = window.settled(frame, (Snippet(snapshot.path, above),) if above else ())
    wanted = truncation.plan(frame, MOST_LINES)
    anchor = frame.anchor
    request = InfillRequest(
        client=f"command-{os.getpid()}",
        path=anchor.path,
        prefix=frame.prefix,
        suffix=anchor.suffix,
        typed=frame.typed,
        context=anchor.context or (),
        max_tokens=max_tokens,
        max_lines=wanted.lines,
    )
    return Question(request, frame, wanted, (time.perf_counter() - began) * 1000)


async def by_daemon(question: Question, settings: Settings, tell: Callable[[str], None]) -> Outcome:
    """The answer of the user's daemon, or of the server in its place. Raises LacunaRuntimeError."""
    began = time.perf_counter()
    client = await remote.connect(settings, tell=tell)
    connected = time.perf_counter()
    try:
        events = [event async for event in client.infill(question.request)]
    finally:
        await client.close()
    return _outcome(question, events, (connected - began) * 1000, (time.perf_counter() - began) * 1000)


def in_process(question: Question, settings: Settings) -> Outcome:
    """The answer of an engine that is opened for this one question. Raises LacunaRuntimeError."""
    from model_runtime.engine.sequence import Cancel
    from model_runtime.opening import open_engine
    from model_runtime.service.engine_worker import write

    began = time.perf_counter()
    engine = open_engine(
        settings.model_directory,
        cache=settings.cache,
        threads=settings.threads,
        kv_cache=settings.kv_cache,
        provider=settings.provider,
    )
    opened = time.perf_counter()
    try:
        events = list(write(engine, question.request, Cancel(), time.monotonic()))
    finally:
        engine.close()
    return _outcome(question, events, (opened - began) * 1000, (time.perf_counter() - began) * 1000)


def show_prompt(question: Question, settings: Settings) -> str:
    """The prompt as the model reads it, markers included. Raises ModelError and PromptError."""
    described = manifest.read(settings.model_directory)
    tokenizer = tokenizer_of(settings.model_directory, described)
    names = {tokenizer.special(marker): marker.encode() for marker in described.fim.markers}
    tokens = prompt(question.request, tokenizer, described).tokens
    return b"".join(names.get(token) or tokenizer.token_bytes(token) for token in tokens).decode(errors="replace")


def tokenizer_of(directory: Path, described: Manifest) -> Tokenizer:
    """A model's. Raises ModelError."""
    from model_runtime.tokenizer import Tokenizer  # slow to import

    return Tokenizer.load(directory, vocab_size=described.shape.vocab_size, split_lines=described.split_lines)


def _outcome(question: Question, events: Sequence[Chunk | Done], connect_ms: float, total_ms: float) -> Outcome:
    raw = "".join(event.text for event in events if isinstance(event, Chunk))
    done = events[-1]
    assert isinstance(done, Done), "every stream ends with one"
    shaped = suggestion.shape(raw, done.finish, question.frame, question.wanted)
    usage = done.usage
    return Outcome(
        completion=shaped.text if isinstance(shaped, Suggestion) else "",
        reason=None if isinstance(shaped, Suggestion) else shaped.reason,
        finish=done.finish,
        prompt_tokens=usage.prompt_tokens,
        prefilled=usage.prefilled,
        reused=usage.reused,
        generated=usage.generated,
        timings_ms=Timings(
            context=round(question.context_ms, 3),
            connect=round(connect_ms, 3),
            queue=round(usage.queue_ms, 3),
            layout=round(usage.layout_ms, 3),
            prefill=round(usage.prefill_ms, 3),
            decode=round(usage.decode_ms, 3),
            model=round(usage.model_ms, 3),
            total=round(question.context_ms + total_ms, 3),
        ),
    )


def root_of(path: Path) -> Path:
    """The folder that paths in a prompt are relative to: the repository's, else the current one, else the file's."""
    for folder in path.parents:
        if any((folder / mark).exists() for mark in _ROOTS):
            return folder
    here = Path.cwd()
    return here if here in path.parents else path.parent
