"""What outlives a request: anchors, generations, contexts. Edits in, the same things still true out.

Mutable and on the event loop's thread, like the session. Knows nothing of when an answer is due.
"""

from __future__ import annotations

import statistics
import uuid
from collections import deque
from dataclasses import dataclass, field, replace

import msgspec

from lsp_server.completion.gate import ACCEPTANCE_AVERAGE, Gate, fitted
from lsp_server.completion.generation import TextStream
from lsp_server.completion.suggestion_cache import Recall, SuggestionCache
from lsp_server.completion.syntax_check import SyntaxCheck
from lsp_server.editor import brackets, window
from lsp_server.editor.document import Change, Place
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Anchor, Frame
from lsp_server.related.connection import Connection
from lsp_server.related.context import Contexts
from lsp_server.related.ngram_sync import workspace
from lsp_server.shaping import suggestion, truncation
from lsp_server.shaping.suggestion import Nothing, Suggestion
from lsp_server.shaping.truncation import Plan
from model_runtime.protocol import InfillRequest

LINE_TOKENS, BLOCK_TOKENS = 64, 96
CANDIDATES = 3  # texts that are asked for by hand
CONFIDENT = -0.5  # mean log-probability of the tokens of a line that opens a block from which on that is written too
AFTER = 1.0  # seconds a generation may go on after its request's deadline, for the next key

_ANSWERS, _ENOUGH = 5, 3  # the newest suggestions by which it is said how long they take, and how many will do
_FAR = 24  # lines: an edit further below is not somebody typing on


@dataclass
class CompletionState:
    """client: how the service tells this editor's requests from others'. running: the newest generation.

    seen: the one whose text is on the screen, as far as no edit contradicts it.
    gate: what decides whether to show; acceptance_average: how suggestions fared of late, see `gate.moved_average`.
    lacking: documents whose anchor was set before the best snippets for it were found.
    cursors: where the documents were asked about last.
    outdated: documents whose anchor holds snippets of a file that is another now.
    waits: seconds that the newest suggestions took of the model, those left out for which a whole prompt was read.
    """

    connection: Connection
    contexts: Contexts
    suggestion_cache: SuggestionCache = field(default_factory=SuggestionCache)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    cursors: dict[str, Place] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    running: TextStream | None = None
    gate: Gate = field(default_factory=fitted)
    acceptance_average: float = ACCEPTANCE_AVERAGE
    seen: TextStream | None = None
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=_ANSWERS))
    syntax_check: SyntaxCheck = field(default_factory=SyntaxCheck)
    client: str = field(default_factory=lambda: uuid.uuid4().hex)

    def place(self, anchor: Anchor, *, lacking: bool) -> None:
        """The anchor of its document from now on."""
        self.anchors[anchor.uri] = anchor
        (self.lacking.add if lacking else self.lacking.discard)(anchor.uri)

    @property
    def latency(self) -> float | None:
        """Seconds that a suggestion mostly takes of the model, None before a few have come.

        Of the newest the one in the middle: one long block says nothing of the next word.
        """
        return statistics.median_low(self.waits) if len(self.waits) >= _ENOUGH else None

    def stop(self) -> None:
        """Nobody waits for what is being generated."""
        if self.running is not None:
            self.running.cancel()


def framed(snapshot: Snapshot, state: CompletionState) -> Frame:
    """The cursor's frame. Its anchor has no context yet if that would have to be waited for."""
    frame = window.frame(snapshot, state.anchors.get(snapshot.uri))
    state.cursors[snapshot.uri] = snapshot.cursor
    if frame.anchor.context is None:
        context = state.contexts.known(snapshot, frame)
        if context is None:
            return frame
        frame = window.settled(frame, context.snippets)
        state.place(frame.anchor, lacking=context.late)
    else:
        state.place(frame.anchor, lacking=frame.anchor.uri in state.lacking)
    return frame


async def renew(snapshot: Snapshot, state: CompletionState, patience: float) -> bool:
    """Have the document's anchor show what other files say now; whether that is something else than before.

    At most `patience` seconds, or RENEWAL if that is longer, are spent on it; then the old snippets are left out.
    """
    frame = window.frame(snapshot, state.anchors.get(snapshot.uri))
    if frame.fresh or frame.anchor.context is None:
        return False  # it is looked for anyway
    context = await state.contexts.of(snapshot, frame, patience)
    state.outdated.discard(snapshot.uri)
    anchor = state.anchors.get(snapshot.uri)
    if anchor is None or anchor.scope != frame.anchor.scope or context.says_the_same(anchor.context):
        if context.late:
            state.lacking.add(snapshot.uri)
        return False
    state.place(replace(anchor, context=context.snippets), lacking=context.late)
    return True


def infill(
    frame: Frame, state: CompletionState, *, tokens: int, lines: int | None = None, seconds: float
) -> InfillRequest:
    """The request for what comes at the frame's cursor."""
    return InfillRequest(
        client=state.client,
        path=frame.anchor.path,
        prefix=frame.prefix,
        suffix=frame.anchor.suffix,
        typed=frame.typed,
        context=frame.anchor.context or (),
        max_tokens=tokens,
        max_lines=lines,
        deadline_ms=seconds * 1000,
    )


def recall(snapshot: Snapshot, frame: Frame, state: CompletionState) -> Recall | None:
    """What is on the screen, if the cursor went on in it; else a generation that says what comes at the cursor."""
    seen, cursor = state.seen, snapshot.cursor
    is_near = seen is not None and seen.at <= cursor and cursor.line - seen.at.line <= _FAR
    if seen is not None and seen.shown is not None and seen.frame.anchor.uri == snapshot.uri and is_near:
        typed = window.between(snapshot.lines, seen.at, cursor)
        agreeing = [one for one in (seen.shown, *seen.offered) if one.startswith(typed)]
        if agreeing and agreeing[0] != seen.shown:
            seen.choose(agreeing[0])
        if agreeing:
            return Recall(seen, typed)
    return state.suggestion_cache.recall(frame)


def begin(snapshot: Snapshot, frame: Frame, state: CompletionState, *, lines: int | None = None) -> TextStream:
    """A generation at the frame's cursor, in place of the one that runs.

    lines: how many may be written of what is wanted as one, for more than what is shown now.
    """
    most = snapshot.settings.max_lines  # the functions below outlive the snapshot, which holds the whole text
    wanted = truncation.plan(frame, most)
    may_go_on = wanted.floor is None and most > 1 and not frame.right.strip() and lines is None
    tokens = BLOCK_TOKENS if may_go_on or wanted.floor is not None else LINE_TOKENS
    seconds = snapshot.settings.patience(snapshot.invoked) + AFTER
    request = infill(frame, state, tokens=tokens, lines=lines or wanted.lines, seconds=seconds)
    if wanted.floor is not None and wanted.until is None and lines is None:
        request = msgspec.structs.replace(request, floor=wanted.floor)
    if may_go_on:
        request = msgspec.structs.replace(request, open_lines=1 + most)
    if snapshot.invoked:
        request = msgspec.structs.replace(request, n=CANDIDATES, priority="hand")
    elif lines is not None:
        request = msgspec.structs.replace(request, priority="prefetch")
    if snapshot.settings.retrieval:
        request = msgspec.structs.replace(request, workspace=workspace(snapshot.root))

    def enough(text: str, wanted: Plan) -> bool:
        return lines is None and suggestion.shape(text, None, frame, wanted).whole

    def more(generation: TextStream) -> Plan | None:
        line = generation.text.split("\n", 1)[0]
        further = truncation.goes_on(line, frame, most) if may_go_on else None
        opens = not brackets.depth(line)  # a block, which may as well be left to the next suggestion
        return None if opens and generation.confidence() < CONFIDENT else further

    state.stop()
    generation = state.running = TextStream(request, frame, snapshot.cursor, wanted, enough, more)
    state.suggestion_cache.keep(generation)
    generation.start(state.connection)
    return generation


def prefetch(snapshot: Snapshot, frame: Frame, state: CompletionState) -> None:
    """Have the line after the cursor's written, for the user has just taken the whole of a suggestion."""
    if (
        frame.right.strip()
        or (state.running is not None and state.running.running)
        or state.suggestion_cache.holds(frame)
    ):
        return
    begin(snapshot, frame, state, lines=2)


def show(recall: Recall, outcome: Suggestion, frame: Frame, state: CompletionState) -> None:
    """A suggestion goes to the screen: from now on that is what its generation says."""
    generation, text = recall.generation, recall.typed + outcome.text
    if generation.shown is None or not generation.shown.startswith(text) or generation.right != frame.right:
        generation.shown = text
        generation.right, generation.replaces = frame.right, outcome.replaces
    generation.settled = outcome.whole
    state.seen = generation


def offer(recall: Recall, outcome: Suggestion, others: list[Suggestion | Nothing]) -> None:
    """What else its generation says goes to the screen beside a suggestion, each text once."""
    texts = [one.text for one in others if isinstance(one, Suggestion) and one.replaces == outcome.replaces]
    unlike = dict.fromkeys(recall.typed + text for text in texts if text.strip() and text != outcome.text)
    recall.generation.offered = tuple(unlike)


def edited(uri: str, change: Change, lines: tuple[str, ...], state: CompletionState) -> None:
    """An edit was made, `lines` are the text after it: anchors move, a generation that it contradicts ends."""
    anchor = state.anchors.get(uri)
    if anchor is not None:
        moved = window.shifted(anchor, change)
        if moved is None:
            del state.anchors[uri]
        else:
            state.anchors[uri] = moved
    running = state.running
    if running is not None and running.frame.anchor.uri == uri and not _expected(running, change, lines):
        running.cancel()
    seen = state.seen
    if seen is not None and seen.frame.anchor.uri == uri and not _leaves(seen, change, lines):
        state.seen = None


def closed(uri: str, state: CompletionState) -> None:
    """The document was closed: nothing is kept of it but what memory holds."""
    state.anchors.pop(uri, None)
    state.cursors.pop(uri, None)
    state.lacking.discard(uri)
    state.outdated.discard(uri)
    state.contexts.forget(uri)
    if state.seen is not None and state.seen.frame.anchor.uri == uri:
        state.seen = None
    if state.running is not None and state.running.frame.anchor.uri == uri:
        state.running.cancel()


def _expected(generation: TextStream, change: Change, lines: tuple[str, ...]) -> bool:
    """Whether an edit may be the user or the editor typing what is being generated."""
    if change.start != change.old_end or change.start < generation.at or change.end.line >= len(lines):
        return False
    if change.end.line - generation.at.line > _FAR:
        return False
    typed = window.between(lines, generation.at, change.end)
    return not generation.text or generation.agrees(typed) or generation.agrees(typed.rstrip(brackets.AUTOMATIC))


def _leaves(seen: TextStream, change: Change, lines: tuple[str, ...]) -> bool:
    """Whether an edit leaves what is on the screen true: it is typed, taken or taken back, all within it."""
    if change.start < seen.at or change.end.line >= len(lines) or change.end.line - seen.at.line > _FAR:
        return False
    typed = window.between(lines, seen.at, change.end)
    shown = (seen.shown or "", *seen.offered)
    return any(one.startswith((typed, typed.rstrip(brackets.AUTOMATIC))) for one in shown)
