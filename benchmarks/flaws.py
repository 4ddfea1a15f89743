"""A suggestion and the file it was shown in, what is wrong with the file once it is taken out.

Judges as a reader of the file would, by other means than the server uses to mend. Ignores whether it is what the
author wrote, but for what stands there by chance: a line the author repeats himself is no overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from retrieval.errors import RetrievalError
from retrieval.languages import Language
from retrieval.syntax import syntax

Flaw = Literal["marker", "closer", "overlap", "tabs", "width", "ending", "syntax"]

ALIKE = 0.9  # of a line of ALIKE_FROM characters or more: the same line but for a slip
ALIKE_FROM = 10
BELOW = 3  # lines below that a suggestion may repeat
SECONDS = 2.0  # for one parse
WINDOW = 60_000  # characters on either side that the tree is made of

_MARKER = re.compile(r"<\|[^|>\n]{1,40}\|>|<｜[^\n>]{1,40}｜>|</?fim_\w+>|<(?:PRE|SUF|MID|EOT|fim-\w+)>|\ufffd|\0")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_QUOTES = "\"'`"


@dataclass(frozen=True)
class Shown:
    """A suggestion where it is shown: text in place of `covered`, between before and after, endings as they are.

    right: the author wrote just that there. unit, ending: the file's step of indentation and line ending.
    finished: the code around once all is there that the author wrote; None where that is not known.
    """

    before: str
    covered: str
    after: str
    text: str
    right: bool
    unit: str
    ending: str
    finished: str | None = None

    @property
    def left(self) -> str:
        """The cursor's line as far as it goes before the suggestion."""
        return self.before.rsplit("\n", 1)[-1]

    @property
    def under(self) -> list[str]:
        """The lines below the cursor's that are not blank, the first few."""
        lines = [line.strip() for line in self.after.split("\n")[1 : 4 * BELOW]]
        return [line for line in lines if line][:BELOW]


def flaws(shown: Shown, language: Language) -> tuple[Flaw, ...]:
    """Everything that is wrong with it. A parse that takes too long finds nothing."""
    found: list[Flaw] = []
    if _MARKER.search(shown.text):
        found.append("marker")
    if shown.text.replace(shown.ending, "").translate({13: "\n"}).count("\n"):
        found.append("ending")
    found += _indentation(shown)
    if _repeats(shown):
        found.append("overlap")
    try:
        if _doubles(shown, language):
            found.append("closer")
        if _breaks(shown, language):
            found.append("syntax")
    except RetrievalError:
        pass
    return tuple(found)


def _indentation(shown: Shown) -> Iterator[Flaw]:
    """Tabs where the file has spaces or the other way round, or a depth that the file does not know."""
    lines = shown.text.split("\n")
    if shown.left.strip():
        lines[0] = ""
    else:
        lines[0] = shown.left + lines[0]
    indents = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()]
    if any(("\t" in indent) if " " in shown.unit else ("  " in indent) for indent in indents):
        yield "tabs"
    elif " " in shown.unit:
        known = {len(line) - len(line.lstrip(" ")) for line in (shown.before + shown.after).split("\n")}
        if any(len(indent) % len(shown.unit) and len(indent) not in known for indent in indents):
            yield "width"


def _repeats(shown: Shown) -> bool:
    """Whether it ends with what stands right of it or below it already."""
    if shown.right:
        return False
    right = shown.after.split("\n", 1)[0].strip()
    for length in range(len(right), 0, -1):
        head = right[:length]
        if shown.text.endswith(head) and any(map(str.isalnum, head)) and (length == len(right) or length > 3):
            return True
    lines = [line.strip() for line in (shown.left + shown.text).split("\n") if line.strip()]
    under = shown.under
    for count in range(1, len(under) + 1):
        if right.strip(")]}\"'`;:, ") or sum(map(str.isalnum, "".join(under[:count]))) < 3:
            continue
        if len(lines) >= count and all(map(_alike, lines[-count:], under[:count])):
            return True
    return False


def _breaks(shown: Shown, language: Language) -> bool:
    """Whether there are more errors with it than without it.

    Not where the statement is not finished yet and it goes on just as the author does: what is missing was missing
    before, and how many errors a parser sees in that is chance.
    """
    now = _errors(shown, shown.text, language)
    then = _errors(shown, shown.covered, language) if now else 0
    if now <= then or not shown.right or shown.finished is None:
        return now > then
    return then <= syntax.errors(shown.finished, language, SECONDS)


def _errors(shown: Shown, text: str, language: Language) -> int:
    return syntax.errors(shown.before[-WINDOW:] + text + shown.after[:WINDOW], language, SECONDS)


def _alike(one: str, other: str) -> bool:
    if one == other or min(len(one), len(other)) < ALIKE_FROM:
        return one == other
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= ALIKE


def _doubles(shown: Shown, language: Language) -> bool:
    """Whether a bracket or a quote is closed that was closed already."""
    if _unmatched(shown.text):
        before, after = shown.before[-WINDOW:], shown.after[:WINDOW]
        then = _unopened(before + shown.covered + after, language)
        if _unopened(before + shown.text + after, language) > then:
            return True
    quote = shown.after[:1]
    if quote not in _QUOTES or not quote:
        return False
    is_open = _count(shown.left, quote) % 2 == 1
    return is_open and "\n" not in shown.text and _count(shown.text, quote) % 2 == 1


def _unmatched(text: str) -> bool:
    """Whether it has a closing bracket that it does not open: all others double nothing, however they are parsed."""
    depth = 0
    for mark in text:
        depth += (mark in _CLOSES.values()) - (mark in _CLOSES)
        if depth < 0:
            return True
    return False


def _count(text: str, quote: str) -> int:
    return len(re.findall(rf"(?<!\\){re.escape(quote)}", text))


def _unopened(text: str, language: Language) -> int:
    """Closing brackets of the code that nothing opens, strings and comments left out."""
    tree = syntax.parse(text, language, SECONDS)
    if tree is None:
        return 0
    stack: list[str] = []
    count = 0
    for mark in _brackets(tree.root_node):
        if mark not in _CLOSES:
            stack.append(mark)
        elif _CLOSES[mark] in stack:
            while stack.pop() != _CLOSES[mark]:
                pass
        else:
            count += 1
    return count


def _brackets(node: Any) -> Iterator[str]:
    """The brackets of a tree in order; a missing one that the parser made up is none."""
    cursor = node.walk()
    while True:
        one = cursor.node
        if one.child_count == 0 and not one.is_named and not one.is_missing:
            yield from (mark for mark in one.type if mark in "()[]{}")  # `${` opens as well
        if cursor.goto_first_child() or cursor.goto_next_sibling():
            continue
        while cursor.goto_parent():
            if cursor.goto_next_sibling():
                break
        else:
            return
