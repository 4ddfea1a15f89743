"""What was shown and what was typed in, what became of each suggestion out: told in the same way for every editor.

An editor that runs an item's command tells of an acceptance. For the others, and for words and lines, it is read off
the text: where the suggestion stood, the line now begins and ends as it did then, and between the two stands the
suggestion, a part of it, or something else. Knows nothing of files: outcomes go to whoever asked for them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from lsp_server.editor import brackets
from lsp_server.editor.document import Change, Place, content
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import between
from lsp_server.feedback.journal import Fate, Outcome, Retention
from lsp_server.feedback.retention import AFTER, MOST, Trace

Tell = Callable[[Outcome | Retention], None]
Later = Callable[[float, Callable[[], None]], object]


@dataclass(frozen=True)
class OnScreen:
    """A suggestion on the screen; texts are its candidates, equal up to `passed`.

    start: where it was first shown; at: where the rest of it begins now. left, right: the line on both sides of that,
    of which accepting takes the first `covered` characters on the right, and `closers` are the editor's own.
    taken: characters inserted at once.
    """

    number: int
    uri: str
    language: str
    start: Place
    at: Place
    left: str
    right: str
    texts: tuple[str, ...]
    covered: int = 0
    closers: str = ""
    passed: int = 0
    taken: int = 0
    invoked: bool = False
    evidence: Mapping[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.time)


def follow(shown: OnScreen, changes: Sequence[Change], lines: tuple[str, ...]) -> tuple[OnScreen, Fate | None]:
    """The suggestion after the edits of one message, and its fate if they decided it. `lines` are the text after them.

    Edits of other lines decide nothing. Closers that the editor adds by itself behind what was typed are overlooked.
    """
    first, added, longest = shown.at.line, 0, 0
    for change in changes:
        more = change.end.line - change.old_end.line
        if change.old_end.line < first:
            first += more
        elif change.start.line <= first + added:
            added, longest = added + more, max(longest, len(change.text))
    shift = first - shown.at.line
    shown = replace(shown, at=Place(first, shown.at.column), start=Place(shown.start.line + shift, shown.start.column))
    now = _line(lines, first, first + added)
    if now == shown.left + shown.right:
        return shown, None
    for text in shown.texts:
        if now == shown.left + text[shown.passed :] + shown.right[shown.covered :]:
            by_key = len(text) - shown.passed == 1 and not shown.taken
            return replace(shown, texts=(text,)), "typed" if by_key else "accepted"
    return _typed(shown, now, at_once=longest > 1)


def _typed(shown: OnScreen, now: str | None, *, at_once: bool) -> tuple[OnScreen, Fate | None]:
    """The suggestion after its line became `now`, which is not the whole of it."""
    if now is None or not now.startswith(shown.left) or len(now) <= len(shown.left) + len(shown.right):
        return shown, "dismissed"
    if not now.endswith(shown.right):
        return shown, "dismissed"
    piece = now[len(shown.left) : len(now) - len(shown.right)]
    for typed in (piece, piece.rstrip(brackets.AUTOMATIC)):
        texts = tuple(text for text in shown.texts if typed and text.startswith(typed, shown.passed))
        if texts:
            break
    else:
        return shown, "overtyped"
    passed, closers = shown.passed + len(typed), piece[len(typed) :] + shown.closers
    whole = at_once and len(typed.strip()) > 1 and _ends_word(texts[0], passed)
    left = (shown.left + typed).rsplit("\n", 1)[-1]
    further = replace(
        shown,
        at=Place(shown.at.line + typed.count("\n"), len(left)),
        left=left,
        right=piece[len(typed) :] + shown.right,
        closers=closers,
        texts=texts,
        passed=passed,
        taken=shown.taken + (len(typed) if whole else 0),
    )
    if closers and texts[0][passed:] == closers[: len(texts[0]) - passed]:
        return further, "accepted" if further.taken else "typed"  # the editor has written the rest of it
    return further, None


class Acceptance:
    """The suggestion on the screen, and those accepted of late. Lives on the event loop's thread.

    tell: gets each outcome. lines: those of an open document, None for one that is not. later: the loop's call_later.
    """

    def __init__(self, tell: Tell, lines: Callable[[str], tuple[str, ...] | None], later: Later) -> None:
        self._tell, self._lines, self._later = tell, lines, later
        self._session = uuid.uuid4().hex[:8]
        self._number = 0
        self._on_screen: OnScreen | None = None
        self._doubtful: tuple[int, Outcome] | None = None  # until it is clear that no command follows
        self._traces: list[Trace] = []

    def show(
        self,
        snapshot: Snapshot,
        texts: tuple[str, ...],
        *,
        covered: int = 0,
        evidence: Mapping[str, float] | None = None,
    ) -> int:
        """Candidates of one suggestion go to the screen. Returns its number, by which an editor may name it later.

        covered: characters right of the cursor that accepting takes away. What is left of a suggestion that is being
        typed through is the same suggestion still.
        """
        old, at = self._on_screen, snapshot.cursor
        passed = "" if old is None else old.texts[0][: old.passed]
        if old is not None and (old.uri, old.at) == (snapshot.uri, at):
            whole = tuple(passed + text for text in texts)
            if any(one.startswith(two) or two.startswith(one) for one in whole for two in old.texts):
                self._on_screen = replace(old, texts=whole, covered=covered)
                return old.number
        self._decide("replaced" if old is not None and old.at == at else "dismissed")
        self._number += 1
        line = content(snapshot.lines[at.line])
        self._on_screen = OnScreen(
            self._number,
            snapshot.uri,
            snapshot.language,
            at,
            at,
            line[: at.column],
            line[at.column :],
            texts,
            covered,
            invoked=snapshot.invoked,
            evidence=evidence or {},
        )
        return self._number

    def edited(self, uri: str, changes: Sequence[Change], lines: tuple[str, ...]) -> None:
        """The user, or the editor for them, made the edits of one message; `lines` are the text after them."""
        for trace in self._traces:
            if trace.uri == uri:
                for change in changes:
                    trace.shift(change)
        if self._on_screen is None or self._on_screen.uri != uri:
            return
        self._settle()
        self._on_screen, fate = follow(self._on_screen, changes, lines)
        if fate is not None:
            self._decide(fate)

    def looked(self, uri: str, at: Place) -> None:
        """The cursor is here now; a suggestion elsewhere is on the screen no longer."""
        self._settle()
        if self._on_screen is not None and (self._on_screen.uri, self._on_screen.at) != (uri, at):
            self._decide("dismissed")

    def closed(self, uri: str | None = None) -> None:
        """A document was closed, or the editor leaves: what is to be known of it is known."""
        self._settle()
        if self._on_screen is not None and uri in (None, self._on_screen.uri):
            self._decide("dismissed")
            self._settle()
        self._traces = [trace for trace in self._traces if uri is not None and trace.uri != uri]

    def accept(self, number: int) -> None:
        """The editor ran the command of suggestion `number`; the edit came before, or comes yet."""
        if self._doubtful is not None and self._doubtful[0] == number:
            outcome = self._doubtful[1]
            self._doubtful = None
            self._tell(msgspec.structs.replace(outcome, fate="accepted", taken=outcome.characters))
        elif self._on_screen is not None and self._on_screen.number == number:
            self._decide("accepted")

    def _decide(self, fate: Fate) -> None:
        """The end of the suggestion on the screen, if there is one. One not accepted waits for its command."""
        self._settle()
        shown, self._on_screen = self._on_screen, None
        if shown is None:
            return
        outcome = self._outcome(shown, "partly" if shown.taken and fate not in ("accepted", "typed") else fate)
        if fate == "accepted":
            rest = 0 if shown.closers else len(shown.texts[0]) - shown.passed
            outcome = msgspec.structs.replace(outcome, taken=shown.taken + rest)
        if outcome.fate in ("accepted", "partly"):
            self._watch(shown, outcome)
        if outcome.fate in ("accepted", "typed"):
            self._tell(outcome)
        else:
            self._doubtful = shown.number, outcome

    def _settle(self) -> None:
        """No command follows what was not accepted."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            self._tell(doubtful[1])

    def _outcome(self, shown: OnScreen, fate: Fate) -> Outcome:
        return Outcome(
            suggestion=f"{self._session}-{shown.number}",
            at=round(shown.began, 3),
            language=shown.language,
            fate=fate,
            characters=len(shown.texts[0]),
            taken=shown.taken,
            lines=shown.texts[0].count("\n") + 1,
            visible=round(max(0.0, time.time() - shown.began), 3),
            invoked=shown.invoked,
            evidence=shown.evidence,
            text=shown.texts[0],
        )

    def _watch(self, shown: OnScreen, outcome: Outcome) -> None:
        """Look later how much of it is still there."""
        text = shown.texts[0][: None if outcome.fate == "accepted" else shown.passed]
        lines = text.split("\n")
        column = len(lines[-1]) + (shown.start.column if len(lines) == 1 else 0)
        end = Place(shown.start.line + len(lines) - 1, column)
        trace = Trace(outcome.suggestion, shown.uri, shown.start, end, text)
        self._traces = [*self._traces[1 - MOST :], trace]
        for seconds in AFTER:
            self._later(seconds, partial(self._look, trace, seconds))

    def _look(self, trace: Trace, after: int) -> None:
        lines = self._lines(trace.uri)
        if trace in self._traces and lines is not None:
            self._tell(Retention(trace.suggestion, round(time.time(), 3), after, trace.share(lines)))
            if after == AFTER[-1]:
                self._traces.remove(trace)


def _line(lines: tuple[str, ...], first: int, last: int) -> str | None:
    """Whole lines without the ending of the last; None when there are no such lines."""
    if not 0 <= first <= last < len(lines):
        return None
    return between(lines, Place(first, 0), Place(last, len(content(lines[last]))))


def _ends_word(text: str, at: int) -> bool:
    """Whether a word or a run of signs ends there, as where editors end the part that they accept."""
    return at >= len(text) or not (text[at - 1].isalnum() and (text[at].isalnum() or text[at] == "_"))
