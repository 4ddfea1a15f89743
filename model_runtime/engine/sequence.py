"""What is asked of one generation, what comes back, and its state between the two.

Knows nothing of the network; a Sequence is fed tokens and says what may be shown.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.sampling import Sampling
from model_runtime.owner import LOCAL, Owner
from model_runtime.protocol import Priority, Reason, Usage, leaves_open
from model_runtime.tokenizer import Tokenizer

_LINE = re.compile(r"\n(?:[ \t\r]*\n)*([ \t]*)([^\s])")
_BLANK = re.compile(r"\n\s*\Z")
_ROUNDS, _CIRCLE = 4, 16  # times that the same tokens come again, and tokens in all, which make a circle
_CLOSING = ")]}e"  # e: end, else, elif, except


@dataclass(frozen=True)
class Generation:
    """What is asked. max_tokens 0 only prefills, so that a later request starts warm.

    max_lines: end before the newline that would follow this many lines; open_lines: this many where the last of those
    leaves a bracket or a block open by its look; stop: end before any of these texts; floor: before a line, but the
    first, that is indented no deeper than so many columns and does not look like the end of a block (a closing bracket,
    a word that begins with e). With max_lines a text also ends where it goes round in circles.
    deadline: in seconds of time.monotonic(). seed: None draws a fresh one.
    ngrams: n-grams mixed into the model's distribution. n: texts wanted, up to so many that differ.
    client, owner: between those of one priority owners take turns, and the clients of the local one.
    starved: it asked in vain for so long that it goes before those. heal: see `token_healing`.
    """

    prompt: tuple[int, ...]
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_lines: int | None = None
    open_lines: int | None = None
    stop: tuple[str, ...] = ()
    floor: int | None = None
    deadline: float | None = None
    ngrams: NGrams | None = None
    n: int = 1
    client: str = ""
    owner: Owner = LOCAL
    starved: bool = False
    priority: Priority = "automatic"
    heal: bool = False

    @property
    def sampling(self) -> Sampling:
        """Temperature and top_p as one value. Raises ValueError when one is out of range."""
        return Sampling(self.temperature, self.top_p)


@dataclass(frozen=True)
class Token:
    """One token's text, empty inside a character or while it may be the beginning of a stop.

    index: of the text it belongs to; what a later one has in common with the first comes as one token.
    """

    text: str
    logprob: float
    index: int = 0


@dataclass(frozen=True)
class Finish:
    """Why a generation ended, and what it cost. others: why its second and later texts did."""

    reason: Reason
    usage: Usage
    others: tuple[Reason, ...] = ()


class Cancel:
    """A flag that any thread may raise; whoever computes hands in how to be interrupted."""

    def __init__(self) -> None:
        self._flag = threading.Event()
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None

    @property
    def is_set(self) -> bool:
        """Somebody asked for the work to stop."""
        return self._flag.is_set()

    def set(self) -> None:
        """Ask for the work to stop, in the midst of a run of the network too."""
        with self._lock:
            self._flag.set()
            if self._interrupt is not None:
                self._interrupt()

    def watch(self, interrupt: Callable[[], None] | None) -> None:
        """Name what `set` calls while a run is under way; None when it is over."""
        with self._lock:
            self._interrupt = interrupt
            if interrupt is not None and self._flag.is_set():
                interrupt()


@dataclass
class Sequence:
    """The text of one generation as it grows: what may be shown, and whether it has ended.

    forced: what it has yet to spell that the user has typed already, and that is therefore not shown.
    """

    generation: Generation
    tokenizer: Tokenizer
    end: frozenset[int]
    forced: bytes = b""
    generated: int = 0
    reason: Reason | None = None
    _held: str = ""  # certain text that may yet turn out to be the beginning of a stop
    _shown: str = ""
    _most: int | None = field(init=False)  # lines
    _stops: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._stops = tuple(stop for stop in self.generation.stop if stop)
        self._most = self.generation.max_lines
        self._stream = self.tokenizer.stream()
        self._said: list[int] = []
        self._last: dict[int, int] = {}  # token → where it stood last
        if self.generation.max_tokens == 0:
            self.reason = "length"

    def push(self, token: int, logprob: float) -> Token | None:
        """The token as it may be shown; None where nothing is new. Sets `reason` when this was the last."""
        if token in self.end:
            self.reason = "end"
            return None
        spelled = self.tokenizer.token_bytes(token)
        skip = min(len(self.forced), len(spelled))
        self.forced = self.forced[skip:]
        if skip and skip == len(spelled):
            return None
        self.generated += 1
        text = self._stopped(self._held + self._stream.push(token, skip))
        if self.reason is None and (self.generated >= self.generation.max_tokens or self._circles(token)):
            self.reason = "length"
        return Token(text, logprob)

    def _circles(self, token: int) -> bool:
        """Whether the text has said the same a few times in a row, this token last, and so will go on for ever."""
        said = self._said
        said.append(token)
        size = len(said) - 1 - self._last.get(token, len(said) - 1)
        self._last[token] = len(said) - 1
        if not size or self.generation.max_lines is None:
            return False
        length = size * max(_ROUNDS, -(-_CIRCLE // size))
        return len(said) >= length and said[-length:-size] == said[size - length :]

    def within(self, tokens: list[int]) -> list[int]:
        """Those of these tokens, if they are said next, that come before the newline with which the text may end."""
        if self._most is None:
            return tokens
        room = self._most - self._shown.count("\n")
        for at, token in enumerate(tokens):
            room -= self.tokenizer.token_bytes(token).count(b"\n")
            if room <= 0:
                return tokens[:at]
        return tokens

    def flush(self) -> str:
        """What was held back, once no stop can complete it any more."""
        text = "" if self.reason == "stop" else self._held + self._stream.flush()
        self._held = ""
        return text

    def _stopped(self, text: str) -> str:
        cuts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        line_end = self._line_end(text, min(cuts, default=len(text)))
        cuts += [] if line_end is None else [line_end]
        cuts += [] if self.generation.floor is None else _leaving(text, self.generation.floor)
        if cuts:
            self.reason, self._held = "stop", ""
            return text[: min(cuts)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        if self.generation.floor is not None and (blank := _BLANK.search(text)):
            keep = max(keep, len(text) - blank.start())
        shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self._shown += shown
        return shown

    def _line_end(self, text: str, before: int) -> int | None:
        """Where the newline stands that would begin one line too many, if before `before`."""
        more = self.generation.open_lines
        while self._most is not None:
            at = -1
            for _ in range(self._most - self._shown.count("\n")):
                at = text.find("\n", at + 1, before)
                if at < 0:
                    return None
            if more is None or more <= self._most or not leaves_open(self._shown + text[:at]):
                return at
            self._most = more
        return None


def _leaving(text: str, floor: int) -> list[int]:
    """Where a newline stands after which the text leaves the block."""
    for line in _LINE.finditer(text):
        columns, first = len(line[1].expandtabs(4)), line[2]
        if columns < floor or (columns == floor and first not in _CLOSING):
            return [line.start()]
    return []


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that is a beginning of stop."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
