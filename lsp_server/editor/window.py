"""A Snapshot and the last Anchor in, a Frame out: what the model gets to see of the file, in pieces that keep still.

What changes with each key is appended; everything else is frozen when the anchor is set, so that a key costs
its own tokens (docs/prompt-format.md, "The anchor"). Knows nothing of tokens, models or other files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from lsp_server.editor import brackets
from lsp_server.editor.document import Change, Place, content
from lsp_server.editor.language import language_at
from lsp_server.editor.scope import scope
from lsp_server.editor.session import Snapshot
from model_runtime.prompt import Snippet

# Characters. A model of 2,048 tokens reads code at 3.0 to 3.5 characters a token: context 450 tokens, suffix 320,
# prefix up to 1,080, and the rest for the path and the middle.
FRESH = 2_400  # of prefix when an anchor is set
TIRED = 3_000  # of prefix and typed text: time to set a new anchor when the user pauses
FULL = 3_400  # of prefix and typed text: a new anchor is set at once
SUFFIX = 1_000

PREFIX_LINES, SUFFIX_LINES = 96, 32
STEP = 16  # lines: a fresh window starts at a multiple of this, so that coming back finds the same window
COLUMN_STEP = 512  # characters: the same inside one very long line
BELOW = 24  # lines below the cursor that a suggestion is compared with

_INSERTED = 64  # characters: more than an editor inserts right of the cursor by itself
_CLOSERS = re.compile(r"[ \t]*[)\]}>\"'`]+[;,:]?[ \t]*")
_AUTOMATIC = re.compile(r"(?:[\s)\]}>\"'`;,:]|</[\w.:-]*>?|\bend\b)*")


@dataclass(frozen=True)
class Anchor:
    """What is frozen. All text has \\n as its only line ending.

    start: where the window begins in the document; prefix: from there to the anchor's point; suffix: from the
    anchor's right side on; to_end: the suffix reaches the end of the file; scope: the definitions around the point.
    context: what is known from elsewhere, None until it was looked for.
    """

    uri: str
    path: str
    start: Place
    prefix: str
    suffix: str
    to_end: bool
    scope: tuple[str, ...]
    context: tuple[Snippet, ...] | None = None

    @cached_property
    def key(self) -> int:
        """Equal for anchors under which the same text before the cursor gets the same suggestion."""
        return hash((self.path, self.suffix, self.context))


@dataclass(frozen=True)
class Frame:
    """The file around one cursor, as the model sees it and as a suggestion must fit into it.

    The file reads `prefix + typed + ▮ + inserted + anchor.suffix`; `inserted` was put there by the editor.
    left, right: the cursor's line on either side, as far as it matters; below: the lines under it, without endings.
    language: our name for the one at the cursor. fresh: the anchor was set for this frame.
    """

    anchor: Anchor
    prefix: str
    typed: str
    inserted: str
    left: str
    right: str
    below: tuple[str, ...]
    language: str
    fresh: bool

    @cached_property
    def before(self) -> str:
        """The window's text left of the cursor."""
        return self.prefix + self.typed

    @cached_property
    def code(self) -> str:
        """The same, from where it is code and not the rest of a text in quotes."""
        return self.before if self.anchor.start == Place(0, 0) else brackets.code(self.before)


def frame(snapshot: Snapshot, anchor: Anchor | None) -> Frame:
    """The cursor's frame under the old anchor if that still holds, else under a new one."""
    kept = None if anchor is None else _held(snapshot, anchor)
    return kept or _fresh(snapshot, anchor)


def renewed(snapshot: Snapshot, anchor: Anchor | None) -> Frame:
    """The cursor's frame under a new anchor, though the old one still holds."""
    return _fresh(snapshot, anchor)


def settled(one: Frame, context: tuple[Snippet, ...]) -> Frame:
    """The frame with the context its anchor was waiting for."""
    return replace(one, anchor=replace(one.anchor, context=context))


def is_tired(one: Frame, snapshot: Snapshot) -> bool:
    """Whether the anchor should be set anew when there is time: it is nearly full, or the scope is another."""
    return len(one.before) > TIRED or one.anchor.scope != scope(snapshot.lines, snapshot.cursor)


def shifted(anchor: Anchor, change: Change) -> Anchor | None:
    """The anchor after an edit: moved with its lines, or None when its window's beginning was edited."""
    if change.start >= anchor.start:
        return anchor
    if change.old_end.line >= anchor.start.line:
        return None
    moved = anchor.start.line + change.end.line - change.old_end.line
    return replace(anchor, start=Place(moved, anchor.start.column))


def between(lines: tuple[str, ...], start: Place, end: Place) -> str:
    """The text from start to end, \\n between its lines."""
    if start.line == end.line:
        return lines[end.line][start.column : end.column]
    first, last = lines[start.line][start.column :], lines[end.line][: end.column]
    return _plain("".join((first, *lines[start.line + 1 : end.line], last)))


def _held(snapshot: Snapshot, anchor: Anchor) -> Frame | None:
    """The frame under this anchor; None when the cursor or an edit has left it."""
    if anchor.uri != snapshot.uri or anchor.start > snapshot.cursor:
        return None
    inserted = _inserted(snapshot, anchor)
    if inserted is None:
        return None
    before = between(snapshot.lines, anchor.start, snapshot.cursor)
    if len(before) > FULL:
        return None
    if before.startswith(anchor.prefix):
        prefix, typed = anchor.prefix, before[len(anchor.prefix) :]
    elif anchor.prefix.startswith(before):
        prefix, typed = before, ""
    else:  # an edit above the cursor, inside the window: everything after it must be read again, no more
        anchor, prefix, typed = replace(anchor, prefix=before), before, ""
    return _framed(snapshot, anchor, prefix, typed, inserted, fresh=False)


def _fresh(snapshot: Snapshot, old: Anchor | None) -> Frame:
    lines, cursor = snapshot.lines, snapshot.cursor
    start = _start(lines, cursor)
    if old is not None and old.uri == snapshot.uri and old.start <= cursor and _worth_keeping(lines, old.start, cursor):
        start = old.start
    right = content(lines[cursor.line])[cursor.column :]
    closers = right if _CLOSERS.fullmatch(right) else ""
    suffix, to_end = _suffix(lines, Place(cursor.line, cursor.column + len(closers)))
    prefix = between(lines, start, cursor)
    anchor = Anchor(snapshot.uri, snapshot.path, start, prefix, suffix, to_end, scope(lines, cursor))
    return _framed(snapshot, anchor, prefix, "", closers, fresh=True)


def _framed(snapshot: Snapshot, anchor: Anchor, prefix: str, typed: str, inserted: str, *, fresh: bool) -> Frame:
    line, column = content(snapshot.lines[snapshot.cursor.line]), snapshot.cursor.column
    first = snapshot.cursor.line + 1
    return Frame(
        anchor=anchor,
        prefix=prefix,
        typed=typed,
        inserted=inserted,
        left=line[max(0, column - FRESH) : column],
        right=line[column : column + SUFFIX],
        below=tuple(content(one) for one in snapshot.lines[first : first + BELOW]),
        language=language_at(snapshot),
        fresh=fresh,
    )


def _start(lines: tuple[str, ...], cursor: Place) -> Place:
    """Where a fresh window begins."""
    if cursor.column > FRESH:
        return Place(cursor.line, -(-(cursor.column - FRESH) // COLUMN_STEP) * COLUMN_STEP)
    line, room = cursor.line, FRESH - cursor.column
    while line > 0 and cursor.line - line < PREFIX_LINES:
        room -= len(lines[line - 1])
        if room < 0:
            break
        line -= 1
    aligned = -(-line // STEP) * STEP
    return Place(aligned if aligned <= cursor.line else line, 0)


def _worth_keeping(lines: tuple[str, ...], start: Place, cursor: Place) -> bool:
    """Whether an old beginning still gives a window neither too long nor much shorter than a fresh one."""
    if cursor.line - start.line > 2 * PREFIX_LINES:
        return False
    length = len(between(lines, start, cursor))
    return length <= TIRED and (length >= FRESH // 2 or start == Place(0, 0))


def _suffix(lines: tuple[str, ...], at: Place) -> tuple[str, bool]:
    """The text from `at` on, at most SUFFIX characters in whole lines, and whether it reaches the end."""
    kept: list[str] = []
    room = SUFFIX
    for line in range(at.line, min(len(lines), at.line + SUFFIX_LINES)):
        text = _plain(lines[line][at.column :] if line == at.line else lines[line])
        if len(text) > room:
            if not kept:
                return text[:room], False
            break
        kept.append(text)
        room -= len(text)
    return "".join(kept), at.line + len(kept) >= len(lines)


def _inserted(snapshot: Snapshot, anchor: Anchor) -> str | None:
    """What stands between the cursor and the frozen suffix; None unless the editor itself may have put it there."""
    wanted = len(anchor.suffix) + _INSERTED
    after, reached_end = _after(snapshot.lines, snapshot.cursor, wanted)
    if anchor.to_end:
        at = len(after) - len(anchor.suffix) if reached_end and after.endswith(anchor.suffix) else -1
    else:
        at = after.find(anchor.suffix, 0, wanted)
    if not 0 <= at <= _INSERTED or not _AUTOMATIC.fullmatch(after, 0, at):
        return None
    return after[:at]


def _after(lines: tuple[str, ...], cursor: Place, length: int) -> tuple[str, bool]:
    """At least `length` characters right of the cursor, or all there are, and whether that is all."""
    parts: list[str] = []
    for line in range(cursor.line, len(lines)):
        if length < 0:
            return "".join(parts), False
        text = lines[line]
        if line == cursor.line:
            text = text[cursor.column :]
        if len(text) > 2 * length + 2:
            return "".join([*parts, _plain(text[: length + 1])]), False
        parts.append(_plain(text))
        length -= len(parts[-1])
    return "".join(parts), True


def _plain(text: str) -> str:
    """The text with \\n as its only line ending."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
