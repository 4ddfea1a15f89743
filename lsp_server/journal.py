"""What was shown and what was typed in, what became of the suggestion out: the same in every editor.

An editor that runs an item's command tells of an acceptance; for the others it is inferred from the edits. Counts
only, in memory only: no text is kept once its fate is known.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from lsp_server.document import Change, Place

Fate = Literal["accepted", "partly", "typed", "dismissed"]


@dataclass(frozen=True)
class Shown:
    """A suggestion on the screen. at: where the rest of it begins now. taken: part of it was accepted already."""

    number: int
    uri: str
    at: Place
    rest: str
    taken: bool = False


def follow(shown: Shown, uri: str, change: Change) -> tuple[Shown | None, Fate | None]:
    """The suggestion after an edit, None when it is gone, and its fate if this edit decided it.

    Inserting the whole rest accepts it, whether at once or key by key ("typed"); more than one character of it at
    once is a part accepted; anything else at the cursor dismisses it. An edit elsewhere decides nothing.
    """
    if uri != shown.uri or change.start.line != shown.at.line:
        return shown, None
    text = change.text.replace("\r\n", "\n").replace("\r", "\n")
    if change.start != change.old_end or change.start != shown.at or not text:
        return None, "dismissed"
    if text.startswith(shown.rest):
        return None, "typed" if len(shown.rest) == 1 and not shown.taken else "accepted"
    if not shown.rest.startswith(text):
        return None, "dismissed"
    left = replace(shown, at=change.end, rest=shown.rest[len(text) :], taken=shown.taken or len(text) > 1)
    return left, "partly" if len(text) > 1 and not shown.taken else None


class Journal:
    """The suggestion on the screen and the fates of those before it. Lives on the event loop's thread."""

    def __init__(self) -> None:
        self.fates: Counter[Fate] = Counter()
        self._shown: Shown | None = None
        self._number = 0
        self._accepted = 0  # the newest suggestion whose acceptance is known

    def show(self, uri: str, at: Place, text: str) -> int:
        """A suggestion goes to the screen. Returns its number, by which an editor may name it later.

        The rest of one that is typed through is the same suggestion still.
        """
        old = self._shown
        if old is not None and (old.uri, old.at) == (uri, at) and text.startswith(old.rest):
            self._shown = replace(old, rest=text)
            return old.number
        self._number += 1
        self._shown = Shown(self._number, uri, at, text)
        return self._number

    def edited(self, uri: str, change: Change) -> None:
        """The user, or the editor for them, changed a document."""
        if self._shown is None:
            return
        number = self._shown.number
        self._shown, fate = follow(self._shown, uri, change)
        if fate == "accepted":
            self.accept(number)
        elif fate is not None:
            self.fates[fate] += 1

    def accept(self, number: int) -> None:
        """The editor ran the command of suggestion `number`, or an edit shows as much. Counted once."""
        if number > self._accepted:
            self._accepted = number
            self.fates["accepted"] += 1
        if self._shown is not None and self._shown.number == number:
            self._shown = None
