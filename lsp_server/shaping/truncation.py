"""A Frame in, how much is wanted there out; and what the model wrote, cut to that.

The rest of the line, or a block: where one was opened and is still empty, in a text in triple quotes, in a list of
arguments over several lines; and where the line itself opens one. Ignores what stands right of the cursor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lsp_server.editor import brackets
from lsp_server.editor.document import word_before
from lsp_server.editor.scope import indentation
from lsp_server.editor.window import Frame

LOOSE = " \t([{<.,=+-*/%&|^~:!?@'\"`\\$#"  # a text that ends with these wants to go on

_OPENER = re.compile(r"(?:[:{(\[]|=>|->|\b(?:do|then|begin))$")
_OPENS_HERE = re.compile(r"(?:[:{]|=>|\b(?:do|then|begin))$")  # `f(` asks for arguments, not for a block
_CLOSERS = re.compile(r"[)\]}]+[;,]?")
_END = re.compile(r"end\b")
_DOCSTRING = re.compile(r"[A-Za-z]{0,2}(\"\"\"|''')")


@dataclass(frozen=True)
class Plan:
    """How much is wanted. lines: at most so many; floor: columns a block's lines are indented deeper than.

    A floor of None asks for the rest of the line only. headed: the first line opens the block and may be at its floor.
    until: what ends a text in quotes.
    """

    lines: int
    floor: int | None = None
    headed: bool = False
    until: str | None = None


def plan(frame: Frame, most: int) -> Plan:
    """A block where one was just opened and is still empty, else the rest of the line."""
    if most == 1 or (frame.right.strip() and not is_braced(frame)):
        return Plan(1)
    kind = brackets.within(frame.code, frame.language)
    if kind == "string" and (opened := _DOCSTRING.fullmatch(frame.left.strip())):
        return Plan(most, indentation(frame.left) - 1, headed=True, until=opened[1])
    if kind != "code":
        return Plan(1)
    if frame.left.strip():
        opener, pattern, lines = frame.left, _OPENS_HERE, most + 1  # its first line is the rest of this one
    else:
        opener, pattern, lines = last_text(frame.before), _OPENER, most
    floor = indentation(opener)
    opener = opener.rstrip()
    if not pattern.search(opener) or (pattern is _OPENS_HERE and brackets.depth(opener[:-1])):
        return Plan(1)
    if not frame.left.strip() and brackets.within(opener, frame.language) == "comment":
        return Plan(1)
    return Plan(1) if indentation(next_text(frame)) > floor else Plan(lines, floor)


def goes_on(text: str, frame: Frame, most: int) -> Plan | None:
    """The plan for a line that was written to its end and leaves a bracket or a block open; None for any other."""
    if most == 1 or frame.right.strip() or not text.strip():
        return None
    line = (frame.left + text).rstrip()
    if brackets.within(frame.code + text, frame.language) != "code":
        return None
    floor = indentation(line)
    if brackets.depth(text, brackets.open_quote(frame.left)) == 0 and not line.endswith(":"):
        return None
    return None if indentation(next_text(frame)) > floor else Plan(most, floor, headed=True)


def is_braced(frame: Frame) -> bool:
    """Whether the cursor is between a brace that opens a block and the one that the editor put right of it."""
    return frame.left.endswith("{") and frame.right == frame.inserted and frame.right.startswith("}")


def next_text(frame: Frame) -> str:
    """The first line below the cursor's that is not blank; empty when there is none."""
    return next((line for line in frame.below if line.strip()), "")


def last_text(before: str) -> str:
    """The last line before the cursor's that is not blank."""
    return next((line for line in reversed(before.split("\n")[:-1]) if line.strip()), "")


def line(raw: str, finish: str | None, frame: Frame) -> tuple[str, bool]:
    """The rest of the cursor's line, as far as it can be used, and whether it ended by itself."""
    text, newline, _ = raw.partition("\n")
    ended = bool(newline) or finish in ("end", "stop")
    if not ended:
        text = brackets.balanced(whole_words(text), brackets.open_quote(frame.left)).rstrip(LOOSE)
    return text, ended


def block(raw: str, finish: str | None, frame: Frame, wanted: Plan) -> tuple[list[str], bool]:
    """Whole lines up to the end of the block, and whether that was seen. Words of the first where none is whole."""
    if wanted.until is not None and (found := raw.find(wanted.until)) >= 0:
        return raw[: found + len(wanted.until)].split("\n"), True
    lines = raw.split("\n")
    complete = lines if finish in ("end", "stop") else lines[:-1]
    kept, stopped = _inside(complete, frame, wanted)
    if wanted.until is None:
        kept = _without_loose_end(kept)
    if not kept and not stopped and len(lines) == 1:
        return [line(raw, finish, frame)[0]], False
    return kept, stopped


def repeats(one: str, below: str) -> bool:
    """Whether a line is the one that stands below already, but for its spaces, its kind of quotes and a last comma."""
    return indentation(one) == indentation(below) and _plain(one) == _plain(below)


def _inside(lines: list[str], frame: Frame, wanted: Plan) -> tuple[list[str], bool]:
    """The lines that belong to the block, and whether its end was seen."""
    assert wanted.floor is not None
    below = next_text(frame)
    kept: list[str] = []
    for at, one in enumerate(lines):
        is_rest = at == 0 and (bool(frame.left.strip()) or wanted.headed)
        here = frame.left + one if at == 0 else one
        if at >= wanted.lines or (not one.strip() and _is_paragraph(kept, wanted)):
            return kept, True
        if here.strip() and not is_rest:
            if below and repeats(here, below):
                return kept, True
            if indentation(here) <= wanted.floor:
                end = here.strip()
                closes = indentation(here) == wanted.floor and (_CLOSERS.fullmatch(end) or _END.match(end))
                return ([*kept, one] if closes and any(line.strip() for line in kept) else kept), True
        kept.append(one)
        if wanted.until is None and _ends_statement(kept, here):
            return kept, True
    return kept, False


def _ends_statement(lines: list[str], last: str) -> bool:
    """Whether the last line only closes, and all that the lines opened: Enter after them has an editor put it there."""
    return bool(_CLOSERS.fullmatch(last.strip())) and brackets.depth("\n".join(lines)) == 0


def _is_paragraph(lines: list[str], wanted: Plan) -> bool:
    """Whether something was said that a blank line may end: not in the midst of a text in triple quotes."""
    text = "\n".join(lines)
    return bool(text.strip()) and wanted.until is None and not any(text.count(mark) % 2 for mark in ('"""', "'''"))


def _without_loose_end(lines: list[str]) -> list[str]:
    """The lines up to the last that is neither blank nor in the midst of a bracket."""
    kept = list(lines)
    while kept and (not kept[-1].strip() or brackets.depth("\n".join(kept))):
        kept.pop()
    return kept


def whole_words(text: str) -> str:
    """The text without the word at its end, which may be half a word, and without what only leads to it."""
    return text[: len(text) - len(word_before(text, len(text)))].rstrip(LOOSE)


def _plain(text: str) -> str:
    return "".join(text.split()).replace("'", '"').rstrip(",;")
