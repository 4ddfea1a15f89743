"""A Frame in, an earlier generation that already says what comes next out: typing through costs no model.

The key is what the answer depends on: the tail of the text before the cursor, and by the anchor's key the suffix
and the context. Knows nothing of time or of what is shown.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from lsp_server.completion.generation import TextStream
from lsp_server.editor.window import Frame

SIZE = 128  # generations; each holds a few kilobytes of text
TAIL = 512  # characters of prefix in a key
REACH = 240  # characters typed since a generation began


@dataclass(frozen=True)
class Recall:
    """A generation that goes on from where it was begun through `typed` to the cursor, and from there."""

    generation: TextStream
    typed: str

    @property
    def rest(self) -> str:
        """What the generation says from the cursor on."""
        return self.generation.text[len(self.typed) :]

    @property
    def others(self) -> tuple[str, ...]:
        """What is left of the other texts on the screen with which what was typed agrees as well."""
        found = (one[len(self.typed) :] for one in self.generation.offered if one.startswith(self.typed))
        return tuple(one for one in found if one.strip() and one != self.left)

    @property
    def left(self) -> str | None:
        """What of the text on the screen was not typed yet; None when none was there."""
        shown = self.generation.shown
        return shown[len(self.typed) :] if shown is not None and shown.startswith(self.typed) else None


class SuggestionCache:
    """The newest generations. Lives on the event loop's thread."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[int, str], TextStream] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, generation: TextStream) -> None:
        """Remember a generation, from its first token on."""
        key = _key(generation.frame, generation.frame.before)
        self._kept[key] = generation
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def holds(self, frame: Frame) -> bool:
        """Whether there is a generation that was begun at the cursor."""
        return _key(frame, frame.before) in self._kept

    def recall(self, frame: Frame) -> Recall | None:
        """The newest generation begun at the cursor or before it that agrees with what was typed since."""
        before = frame.before
        for length in range(min(len(before), REACH) + 1):
            start = len(before) - length
            generation = self._kept.get(_key(frame, before[max(0, start - TAIL) : start]))
            if generation is not None and _says_more(generation, before[start:]):
                return Recall(generation, before[start:])
        return None


def _key(frame: Frame, before: str) -> tuple[int, str]:
    return frame.anchor.key, before[-TAIL:]


def _says_more(generation: TextStream, typed: str) -> bool:
    """Whether it agrees with what was typed and says, or may yet say, what comes after it.

    What was broken off says too little to go by, and what has not begun is asked for anew with what was typed.
    """
    if not generation.agrees(typed):
        return False
    if generation.has_ended:
        return True
    return generation.running and (not typed or bool(generation.text))
