"""What outlives a request: anchors, generations, contexts. Edits in, the same things still true out.

Mutable and on the event loop's thread, like the session. Knows nothing of when an answer is due.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import msgspec

from lsp_server import extent, suggestion, window
from lsp_server.context import Contexts
from lsp_server.document import Change
from lsp_server.generation import Generation
from lsp_server.link import Link
from lsp_server.memory import Memory
from lsp_server.session import Snapshot
from lsp_server.teaching import workspace
from lsp_server.window import Anchor, Frame
from model_runtime.protocol import InfillRequest

LINE_TOKENS, BLOCK_TOKENS = 64, 96
AFTER = 1.0  # seconds a generation may go on after its request's deadline, for the next key

_FAR = 24  # lines: an edit further below is not somebody typing on
_CLOSERS = ")]}>'\"`"


@dataclass
class Desk:
    """client: how the service tells this editor's requests from others'. running: the newest generation.

    lacking: documents whose anchor was set before the best snippets for it were found.
    """

    link: Link
    contexts: Contexts
    memory: Memory = field(default_factory=Memory)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    running: Generation | None = None
    client: str = field(default_factory=lambda: uuid.uuid4().hex)

    def place(self, anchor: Anchor, *, lacking: bool) -> None:
        """The anchor of its document from now on."""
        self.anchors[anchor.uri] = anchor
        (self.lacking.add if lacking else self.lacking.discard)(anchor.uri)

    def stop(self) -> None:
        """Nobody waits for what is being generated."""
        if self.running is not None:
            self.running.cancel()


def framed(snapshot: Snapshot, desk: Desk) -> Frame:
    """The cursor's frame. Its anchor has no context yet if that would have to be waited for."""
    frame = window.frame(snapshot, desk.anchors.get(snapshot.uri))
    if frame.anchor.context is None:
        context = desk.contexts.known(snapshot, frame)
        if context is None:
            return frame
        frame = window.settled(frame, context.snippets)
        desk.place(frame.anchor, lacking=context.late)
    else:
        desk.place(frame.anchor, lacking=frame.anchor.uri in desk.lacking)
    return frame


def infill(frame: Frame, desk: Desk, *, tokens: int, lines: int | None = None, seconds: float) -> InfillRequest:
    """The request for what comes at the frame's cursor."""
    return InfillRequest(
        client=desk.client,
        path=frame.anchor.path,
        prefix=frame.prefix,
        suffix=frame.anchor.suffix,
        typed=frame.typed,
        context=frame.anchor.context or (),
        max_tokens=tokens,
        max_lines=lines,
        deadline_ms=seconds * 1000,
    )


def begin(snapshot: Snapshot, frame: Frame, desk: Desk) -> Generation:
    """A generation at the frame's cursor, in place of the one that runs."""
    wanted = extent.plan(frame, snapshot.settings.max_lines)
    tokens = LINE_TOKENS if wanted.floor is None else BLOCK_TOKENS
    seconds = snapshot.settings.patience(snapshot.by_hand) + AFTER
    request = infill(frame, desk, tokens=tokens, lines=wanted.lines, seconds=seconds)
    if snapshot.settings.retrieval:
        request = msgspec.structs.replace(request, workspace=workspace(snapshot.root))

    def enough(text: str) -> bool:
        return suggestion.shape(text, None, frame, wanted).whole

    desk.stop()
    generation = desk.running = Generation(request, frame, snapshot.cursor, wanted, enough)
    desk.memory.keep(generation)
    generation.start(desk.link)
    return generation


def edited(uri: str, change: Change, lines: tuple[str, ...], desk: Desk) -> None:
    """An edit was made, `lines` are the text after it: anchors move, a generation that it contradicts ends."""
    anchor = desk.anchors.get(uri)
    if anchor is not None:
        moved = window.shifted(anchor, change)
        if moved is None:
            del desk.anchors[uri]
        else:
            desk.anchors[uri] = moved
    running = desk.running
    if running is not None and running.frame.anchor.uri == uri and not _expected(running, change, lines):
        running.cancel()


def closed(uri: str, desk: Desk) -> None:
    """The document was closed: nothing is kept of it but what memory holds."""
    desk.anchors.pop(uri, None)
    desk.lacking.discard(uri)
    desk.contexts.forget(uri)
    if desk.running is not None and desk.running.frame.anchor.uri == uri:
        desk.running.cancel()


def _expected(generation: Generation, change: Change, lines: tuple[str, ...]) -> bool:
    """Whether an edit may be the user or the editor typing what is being generated."""
    if change.start != change.old_end or change.start < generation.at or change.end.line >= len(lines):
        return False
    if change.end.line - generation.at.line > _FAR:
        return False
    typed = window.between(lines, generation.at, change.end)
    return not generation.text or generation.agrees(typed) or generation.agrees(typed.rstrip(_CLOSERS))
