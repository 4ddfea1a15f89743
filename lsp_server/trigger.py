"""A Snapshot in, the decision out: answer now, wait a little, or skip and say why. Looks at nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from lsp_server.document import content
from lsp_server.session import Snapshot

FASTEST, SLOWEST = 0.010, 0.025  # seconds: what the adaptive wait lies between
HURRY = 0.250  # seconds between keys: who types slower than this wants an answer to each of them
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


def decide(snapshot: Snapshot) -> Go | Skip:
    """What to do about a request at the snapshot's cursor. By hand nothing but a switch-off keeps from answering."""
    if not snapshot.settings.allows(snapshot.language):
        return Skip("off" if not snapshot.settings.enabled else f"off for {snapshot.language}")
    if snapshot.by_hand:
        return Go()
    line = content(snapshot.lines[snapshot.cursor.line])
    right = line[snapshot.cursor.column : snapshot.cursor.column + 1]
    if right == "_" or right.isalnum():
        return Skip("inside a word")
    if not any(one.strip() for one in islice(snapshot.lines, snapshot.cursor.line + 1)):
        return Skip("nothing written yet")
    return Go(wait(snapshot))


def wait(snapshot: Snapshot) -> float:
    """Seconds to wait for another key."""
    if snapshot.settings.debounce is not None:
        return snapshot.settings.debounce / 1000
    rhythm = snapshot.rhythm
    if rhythm.interval is None or rhythm.interval > HURRY or rhythm.idle > HURRY:
        return 0.0
    if rhythm.last and _AT_ONCE & set(rhythm.last[0] + rhythm.last[-1]):
        return 0.0
    return min(max(rhythm.interval * _SHARE, FASTEST), SLOWEST)
