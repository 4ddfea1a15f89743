"""A Snapshot and how long answers take in, the decision out: answer now, wait a little, or skip and say why."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from lsp_server.editor import brackets
from lsp_server.editor.document import Place, content
from lsp_server.editor.language import begins, language_at
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import between

FASTEST, SLOWEST = 0.010, 0.025  # seconds: what the wait lies between where answers come before the next key
LONGEST = 0.150  # seconds: the longest where they do not
HURRY = 0.250  # seconds between keys: who types slower than this wants an answer to each of them
REGION = 200  # lines above the cursor in which a comment or a string may begin

_SHARE = 0.15  # of the typing interval: long enough to skip keys typed together, short enough not to be felt
_AT_ONCE = frozenset(".([{:=,\n\r")  # after these a person stops to think


@dataclass(frozen=True)
class Go:
    """Answer, `wait` seconds from now unless another key comes first."""

    wait: float = 0.0


@dataclass(frozen=True)
class Skip:
    """Do not answer; `reason` is for people."""

    reason: str


def decide(snapshot: Snapshot, latency: float | None = None) -> Go | Skip:
    """What to do about a request at the snapshot's cursor. By hand nothing but a switch-off keeps from answering.

    latency: seconds that a suggestion mostly takes of the model, None where too few have come to tell.
    """
    settings = snapshot.settings
    if not settings.allows(snapshot.language):
        return Skip("off" if not settings.enabled else f"off for {snapshot.language}")
    if snapshot.invoked:
        return Go()
    if snapshot.quiet is not None:
        return Skip(snapshot.quiet)
    line = content(snapshot.lines[snapshot.cursor.line])
    right = line[snapshot.cursor.column : snapshot.cursor.column + 1]
    if right == "_" or right.isalnum():
        return Skip("inside a word")
    if not any(one.strip() for one in islice(snapshot.lines, snapshot.cursor.line + 1)):
        return Skip("nothing written yet")
    if not (settings.comments and settings.strings):
        kind = _kind(snapshot)
        if (kind == "comment" and not settings.comments) or (kind == "string" and not settings.strings):
            return Skip(f"off in {kind}s")
    return Go(wait(snapshot, latency))


def wait(snapshot: Snapshot, latency: float | None = None) -> float:
    """Seconds to wait for another key.

    Where answers come before the next key does, hardly any; where they do not, about until that key is due, since it
    would make the model's work on this one worth nothing.
    """
    if snapshot.settings.debounce is not None:
        return snapshot.settings.debounce / 1000
    rhythm = snapshot.rhythm
    if rhythm.interval is None or rhythm.interval > HURRY or rhythm.idle > HURRY:
        return 0.0
    if rhythm.last and _AT_ONCE & set(rhythm.last[0] + rhythm.last[-1]):
        return 0.0
    if latency is not None and latency > rhythm.interval:
        return min(rhythm.interval, LONGEST)
    return min(max(rhythm.interval * _SHARE, FASTEST), SLOWEST)


def _kind(snapshot: Snapshot) -> brackets.Kind:
    """What the cursor stands in."""
    cursor, start = snapshot.cursor, begins(snapshot)
    first = max(0, cursor.line - REGION)
    if start.line >= first:
        text = between(snapshot.lines, start, cursor)
    else:
        text = brackets.code(between(snapshot.lines, Place(first, 0), cursor))
    return brackets.within(text, language_at(snapshot))
