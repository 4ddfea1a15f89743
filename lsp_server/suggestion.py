"""What the model wrote so far and the Frame it is for in, the text to show out, or why there is none.

Decides how much is wanted (the rest of the line, or a block), stops there, and mends what meets the text right of
the cursor. Pure, so that typing through a suggestion shows the rest of the same one. Knows nothing of time or tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from lsp_server.document import word_before
from lsp_server.scope import indentation
from lsp_server.window import Frame

_MARKER = re.compile(r"<\|[a-z_▁]+\|>|<｜[^\n>]{1,40}｜>|</?fim_\w+>|<(?:PRE|SUF|MID|EOT|fim-\w+)>|<\|?endoftext\|?>")
_LOOSE = " \t([{<.,=+-*/%&|^~:!?@'\"`\\$#"  # a text that ends with these wants to go on
_OPENER = re.compile(r"(?:[:{(\[]|=>|->|\b(?:do|then|begin))$")
_OPENS_HERE = re.compile(r"(?:[:{]|=>|\b(?:do|then|begin))$")  # `f(` asks for arguments, not for a block
_CLOSING_LINE = re.compile(r"[)\]}]+[;,]?|end\b.*")
_CLOSERS = ")]}"
_STRING_PREFIXES = frozenset(["b", "br", "f", "fr", "r", "rb", "rf", "u"])
_QUOTES = "\"'`"


@dataclass(frozen=True)
class Plan:
    """How much is wanted. lines: at most so many; floor: columns a block's lines are indented deeper than.

    A floor of None asks for the rest of the line only.
    """

    lines: int
    floor: int | None = None


@dataclass(frozen=True)
class Suggestion:
    """Text to insert at the cursor, \\n between its lines. whole: more tokens would not make it better."""

    text: str
    whole: bool


@dataclass(frozen=True)
class Nothing:
    """Nothing to show. whole: more tokens would not change that; reason is for people."""

    reason: str
    whole: bool


def plan(frame: Frame, most: int) -> Plan:
    """A block where one was just opened and is still empty, else the rest of the line."""
    if frame.right.strip() or most == 1:
        return Plan(1)
    if frame.left.strip():
        opener, pattern, lines = frame.left, _OPENS_HERE, most + 1  # its first line is the rest of this one
    else:
        opener, pattern, lines = _last_text(frame.before), _OPENER, most
    floor = indentation(opener)
    if not pattern.search(opener.rstrip()) or (pattern is _OPENS_HERE and _is_open(opener.rstrip()[:-1])):
        return Plan(1)
    below = next((line for line in frame.below if line.strip()), "")
    return Plan(1) if indentation(below) > floor else Plan(lines, floor)


def shape(raw: str, finish: str | None, frame: Frame, wanted: Plan) -> Suggestion | Nothing:
    """What to show of `raw`, the middle so far.

    finish: why it ended, as `protocol.Reason` has it; None while it goes on.
    """
    found = _MARKER.search(raw)
    if found is not None:
        raw, finish = raw[: found.start()], "end"
    if frame.left.strip() and frame.left[-1].isspace():
        raw = raw.lstrip(" \t")  # the space is there already
    if wanted.floor is None:
        text, whole = _line(raw, finish, frame)
    else:
        text, whole = _block(raw, finish, frame, wanted)
    if not text.strip():
        complete = raw.startswith("\n") or (not raw and finish == "stop")
        return Nothing("the line is complete" if complete else "nothing to add", whole)
    return Suggestion(text, whole)


def _line(raw: str, finish: str | None, frame: Frame) -> tuple[str, bool]:
    """The rest of the cursor's line, and whether it is all there."""
    text, newline, _ = raw.partition("\n")
    ended = bool(newline) or finish in ("end", "stop")
    if not ended:
        text = _whole_words(text)
    cut = _before_closer(text, frame)
    text = cut if cut != text else _without_overlap(text, frame.right)
    if not frame.right.strip() or frame.right == frame.inserted:
        text = text.rstrip()
    below = next((line for line in frame.below if line.strip()), None)
    if below is not None and not frame.right.strip() and _repeats(frame.left + text, below):
        text = ""
    return text, ended or finish is not None


def _block(raw: str, finish: str | None, frame: Frame, wanted: Plan) -> tuple[str, bool]:
    """Whole lines up to the end of the block, and whether they are all there."""
    lines = raw.split("\n")
    ended = finish in ("end", "stop")
    complete = lines if ended else lines[:-1]
    kept, stopped = _inside(complete, frame, wanted)
    if not ended or stopped:
        kept = _without_loose_end(kept)
    if not kept and not stopped:  # not one line is complete: its words will do
        return (_whole_words(raw) if len(lines) == 1 else ""), finish is not None
    kept = [_restyled(line, frame) if at or not frame.left.strip() else line for at, line in enumerate(kept)]
    return "\n".join(line.rstrip() for line in kept), stopped or finish is not None


def _inside(lines: list[str], frame: Frame, wanted: Plan) -> tuple[list[str], bool]:
    """The lines that belong to the block, and whether its end was seen."""
    assert wanted.floor is not None
    next_below = next((line for line in frame.below if line.strip()), None)
    kept: list[str] = []
    for at, line in enumerate(lines):
        here = frame.left + line if at == 0 else line
        if at >= wanted.lines or (not line.strip() and _is_paragraph(kept)):
            return kept, True
        if line.strip() and kept[-2:] == [line, line]:
            return kept[:-1], True
        if here.strip() and not (at == 0 and frame.left.strip()):
            if next_below is not None and _repeats(here, next_below):
                return kept, True
            if indentation(here) <= wanted.floor:
                closes = indentation(here) == wanted.floor and _CLOSING_LINE.fullmatch(here.strip())
                return ([*kept, line] if closes and any(one.strip() for one in kept) else kept), True
        kept.append(line)
    return kept, False


def _is_paragraph(lines: list[str]) -> bool:
    """Whether something was said that a blank line may end: not in the midst of a text in triple quotes."""
    text = "\n".join(lines)
    return bool(text.strip()) and not any(text.count(quotes) % 2 for quotes in ('"""', "'''"))


def _without_loose_end(lines: list[str]) -> list[str]:
    """The lines up to the last that is neither blank nor in the midst of a bracket."""
    kept = list(lines)
    while kept and (not kept[-1].strip() or _is_open("\n".join(kept))):
        kept.pop()
    return kept


def _whole_words(text: str) -> str:
    """The text without the word at its end, which may be half a word, and without what only leads to it."""
    return text[: len(text) - len(word_before(text, len(text)))].rstrip(_LOOSE)


def _before_closer(text: str, frame: Frame) -> str:
    """The text up to a bracket or quote that would close what the closer right of the cursor closes."""
    right = frame.right.lstrip()
    outer = quote = _open_quote(frame.left)
    depth = 0
    for at, character, after in _marks(text, quote):
        if quote is not None or after is not None:
            if after is None and outer == character and right.startswith(character):
                return text[:at]
            outer = None  # the string that was open at the cursor is closed, or was none
        elif character in _CLOSERS:
            if depth == 0 and right.startswith(character):
                return text[:at]
            depth = max(0, depth - 1)
        else:
            depth += 1
        quote = after
    return text


def _without_overlap(text: str, right: str) -> str:
    """The text without an end that stands right of the cursor already."""
    there = right.rstrip()
    for length in range(min(len(text), len(there)), 0, -1):
        head = there[:length]
        enough = length == len(there) or not (head[-1].isalnum() or head[-1] == "_") or length > 8
        if enough and text.endswith(head) and _is_open(text[:-length]) <= _is_open(text):
            return text[:-length]
    return text


def _is_open(text: str) -> int:
    """How many brackets the text opens and does not close."""
    depth = 0
    quote: str | None = None
    for _, character, after in _marks(text, None):
        if quote is None and after is None:
            depth = max(0, depth - 1) if character in _CLOSERS else depth + 1
        quote = after
    return depth


def _open_quote(line: str) -> str | None:
    """The quote that is still open at the end of a line's left side."""
    return next((after for _, _, after in reversed(list(_marks(line, None)))), None)


def _marks(text: str, quote: str | None) -> Iterator[tuple[int, str, str | None]]:
    """Where, which and, after it, the open quote: for each bracket in code and each quote that begins or ends a string.

    quote: the one that is open where the text begins.
    """
    skip = False
    for at, character in enumerate(text):
        if skip:
            skip = False
        elif quote is not None:
            skip = character == "\\"
            if character == quote:
                quote = None
                yield at, character, None
        elif character in _QUOTES:
            word = word_before(text, at)
            if not word or word.lower() in _STRING_PREFIXES:  # else an apostrophe: don't
                quote = character
                yield at, character, quote
        elif character in "([{" or character in _CLOSERS:
            yield at, character, None


def _repeats(line: str, below: str) -> bool:
    """Whether a line is the one that stands below already."""
    return line.strip() == below.strip() and indentation(line) == indentation(below)


def _last_text(before: str) -> str:
    """The last line before the cursor's that is not blank."""
    return next((line for line in reversed(before.split("\n")[:-1]) if line.strip()), "")


def _restyled(line: str, frame: Frame) -> str:
    """The line indented with what the file is indented with."""
    blank = "".join(takewhile(lambda character: character in " \t", line))
    if not blank:
        return line
    around = (*frame.before.split("\n"), *frame.below)
    tabs = sum(one.startswith("\t") for one in around)
    spaces = sum(one.startswith("  ") for one in around)
    if tabs > spaces and " " in blank:
        width = indentation(blank)
        return "\t" * (width // 4) + " " * (width % 4) + line[len(blank) :]
    if spaces > tabs and "\t" in blank:
        return " " * indentation(blank) + line[len(blank) :]
    return line
