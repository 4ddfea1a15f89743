"""A Snapshot in, a prompt that the service has already read out: what makes the next key quick, done in a pause.

The task is cancelled by whatever the user does next; what was read until then is not lost. Answers nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from lsp_server.completion import completion_state
from lsp_server.completion.completion_state import CompletionState
from lsp_server.editor import scope, window
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from model_runtime.prompt import Snippet
from model_runtime.protocol import Done

LOOKUP = 2.0  # seconds the search for snippets may take when nobody waits
PREFILL = 2.0  # seconds of prefill in one pause
NEIGHBOURS = 40  # definitions around the cursor whose snippets are found ahead of a jump


async def prepare(snapshot: Snapshot, state: CompletionState) -> None:
    """Make the next request at the snapshot's cursor a quick one.

    Sets the anchor there, or renews one that is tired or lacks its context. A tired anchor goes on answering until the
    new one has been read whole, in this pause or a later one; context is worth reading when the next key comes, too.
    Raises what `Link.middle` raises.
    """
    if not snapshot.settings.allows(snapshot.language):
        return
    old = state.anchors.get(snapshot.uri)
    frame = window.frame(snapshot, old)
    answers = not frame.fresh
    tired = answers and window.is_tired(frame, snapshot)
    if answers and not tired and snapshot.uri not in state.lacking:
        return
    if answers:
        frame = window.renewed(snapshot, old)
    context = await state.contexts.of(snapshot, frame, LOOKUP)
    if answers and not tired and old is not None and context.says_the_same(old.context):
        if not context.late:
            state.lacking.discard(snapshot.uri)
        return
    frame = window.settled(frame, context.snippets)
    if not answers:
        state.place(frame.anchor, lacking=context.late)
    is_read = await _read(frame, state)
    if answers and (is_read or not tired):
        state.place(frame.anchor, lacking=context.late)


async def read(snapshot: Snapshot, state: CompletionState) -> None:
    """Have the prompt in use at the snapshot's cursor read, if it still holds. Raises what `Link.middle` raises."""
    if snapshot.settings.allows(snapshot.language):
        frame = window.frame(snapshot, state.anchors.get(snapshot.uri))
        if not frame.fresh:
            await _read(frame, state)


async def given(snapshot: Snapshot, state: CompletionState) -> tuple[Snippet, ...]:
    """What the model is given beside the window at the snapshot's cursor, the most valuable last."""
    if snapshot.uri in state.outdated:
        await completion_state.renew(snapshot, state, LOOKUP)
    frame = window.frame(snapshot, state.anchors.get(snapshot.uri))
    if frame.anchor.context is not None:
        return frame.anchor.context
    return (await state.contexts.of(snapshot, frame, LOOKUP)).snippets


async def look(snapshot: Snapshot, state: CompletionState) -> None:
    """Find the snippets for the snapshot's cursor, so that the first request there has them."""
    if snapshot.settings.allows(snapshot.language) and snapshot.settings.retrieval:
        await state.contexts.of(snapshot, window.frame(snapshot, None), LOOKUP)


async def look_around(snapshot: Snapshot, state: CompletionState) -> None:
    """Find the snippets for the snapshot's cursor and then for the definitions near it, so that a jump has them."""
    if not snapshot.settings.allows(snapshot.language) or not snapshot.settings.retrieval:
        return
    here = await state.contexts.of(snapshot, window.frame(snapshot, None), LOOKUP)
    if here.late:
        return  # not everything has been read yet, so that one would have to ask again
    for place in scope.places(snapshot.lines, snapshot.cursor.line)[:NEIGHBOURS]:
        await asyncio.sleep(0)
        there = replace(snapshot, cursor=place)
        frame = window.frame(there, None)
        if state.contexts.known(there, frame) is None:
            await state.contexts.of(there, frame, LOOKUP)


async def _read(frame: Frame, state: CompletionState) -> bool:
    """Has the service read a frame, which delays nothing that somebody waits for. Whether it came to the end."""
    async with aclosing(
        state.connection.middle(completion_state.infill(frame, state, tokens=0, seconds=PREFILL))
    ) as events:
        ends = [event.finish async for event in events if isinstance(event, Done)]
    return ends[-1:] not in ([], ["deadline"], ["cancelled"])
