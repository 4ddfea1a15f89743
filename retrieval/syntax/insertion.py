"""Lines, a cursor and a text that may be put there in; how much of that text adds no error to the code out.

A file is read whole where it may be: what is cut out of one can begin amid a string. The tree of the last call makes
the next cheap. Of a very long file only what is around the cursor is read, with the lines that open and close the
blocks around that. A budget is time of the processor, so that a busy machine changes nothing. Keeps nothing between two
calls but parsers, for each thread its own.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from retrieval.errors import GrammarError
from retrieval.languages import Language
from retrieval.syntax import syntax

if TYPE_CHECKING:
    from tree_sitter import Parser, Tree

WHOLE = 2_000  # lines: a longer file is read in part
SHORT = 300  # lines: a file that can be looked at in no time
ABOVE, BELOW = 120, 60  # lines of that part
REACH = 3_000  # lines in which what opens and closes the blocks around the part is looked for

_TOKEN = re.compile(r"\w+|[)\]}\"'`;]")  # what a piece of code may end with
_LINE_END = re.compile(r"\n")
_TRIPLE = '"""'
_GOES_ON = re.compile(r"[)\]}]|(?:else|elif|elsif|except|finally|catch|rescue|ensure)\b")  # of a block above
_CLOSES = re.compile(r"[)\]}]|end\b|fi\b|done\b|esac\b")


@dataclass(frozen=True)
class Sides:
    """What is read left and right of a cursor: of the whole file unless it is long, of a part unless it is short."""

    whole: tuple[bytes, bytes] | None
    near: tuple[bytes, bytes] | None


@dataclass(frozen=True)
class InsertionPoint:
    """The code on both sides of a cursor, as a tree, and how many errors it holds with nothing in between.

    near: the same of the lines around, where a file is not short, for when looking at all of it takes too long.
    """

    language: Language
    before: bytes
    after: bytes
    tree: Tree
    errors: int
    near: InsertionPoint | None = None


def sides(lines: Sequence[str], line: int, column: int, language: Language) -> Sides:
    """What is read on both sides of a cursor, counted in characters."""
    here = (lines[line][:column], lines[line][column:])
    whole = near = None
    if len(lines) <= WHOLE:
        whole = _joined(lines[:line], here, lines[line + 1 :])
    if len(lines) > SHORT:
        above, below = _around(lines, line, language)
        near = _joined(above, here, below)
    return Sides(whole, near)


def _joined(above: Sequence[str], here: tuple[str, str], below: Sequence[str]) -> tuple[bytes, bytes]:
    return _bytes("".join((*above, here[0]))), _bytes("".join((here[1], *below)))


def insertion_point(
    read: Sides, language: Language, seconds: float = 0.05, old: InsertionPoint | None = None
) -> InsertionPoint | None:
    """The gap between the two sides; None without a grammar, or when parsing takes longer than this.

    old: an earlier gap of the same document, of whose tree as much is used as still holds.
    """
    whole = None if read.whole is None else _insertion_point(*read.whole, language, seconds, old)
    if read.near is None:
        return whole
    near = _insertion_point(*read.near, language, seconds, old if whole is None else None)
    return near if whole is None else replace(whole, near=near)  # if the whole took too long, the lines around


def _insertion_point(
    before: bytes, after: bytes, language: Language, seconds: float, old: InsertionPoint | None
) -> InsertionPoint | None:
    if language.grammar is None:
        return None
    known = None if old is None or old.language != language else _edited(old, before + after)
    try:
        parser = _parser(threading.get_ident(), language.grammar)
    except GrammarError:
        return None
    tree = _parsed(parser, before + after, known, time.thread_time() + seconds)
    return None if tree is None else InsertionPoint(language, before, after, tree, _errors(tree))


def sound(
    one: InsertionPoint, text: str, removed: str = "", seconds: float = 0.003, *, strict: bool = False
) -> int | None:
    """How many characters of `text` may be put into the gap and add no error; None when there is no time to tell.

    removed: what right of the cursor the text replaces, if all of it is sound. A text is cut at the end of a line, its
    first line at the end of a word or bracket; as far as was found in time. In code that is broken anyway it is cut
    only where that mends it; strict: there it is no good at all unless it is clear of what is broken, which also holds
    where there was no time but for the lines around.
    """
    stop = time.thread_time() + seconds
    found = _with(one, text, removed, stop - (seconds / 2 if one.near else 0.0))
    if found is None and one.near is not None:
        return sound(one.near, text, removed, stop - time.thread_time(), strict=True)
    if found is None:
        return None
    most, touched = found
    if most <= one.errors and not touched:
        return len(text)
    for length in _cuts(text):
        if (found := _with(one, text[:length], "", stop)) is None:
            break
        if found[0] < most and found[0] <= one.errors:
            return length
    return len(text) if most <= one.errors and not strict else 0  # broken before, and no part of the text mends it


def _cuts(text: str) -> Iterator[int]:
    """Where a text may be cut, from its end on: only where it leaves no bracket open that it opened."""
    first = text.find("\n") if "\n" in text else len(text)
    ends = {match.end() for match in _TOKEN.finditer(text, 0, first)}
    ends |= {match.start() for match in _LINE_END.finditer(text) if text[: match.start()].strip()}
    depth, whole = 0, []
    for at, character in enumerate(text):
        if at in ends and depth <= 0:
            whole.append(at)
        depth += (character in "([{") - (character in ")]}")
    return reversed(whole)


def _with(one: InsertionPoint, text: str, removed: str, stop: float) -> tuple[int, bool] | None:
    """How many errors the code holds with the text in it, and whether one touches that; None when time is up.

    Where there were none, the first is enough to know: a parser may go on from one for a long time.
    """
    assert one.language.grammar is not None
    middle, cut = _bytes(text), len(_bytes(removed))
    start = len(one.before)
    end = start + len(middle)
    source = one.before + middle + one.after[cut:]
    tree = one.tree.copy()
    was = one.before + one.after
    tree.edit(start, start + cut, end, _point(was, start), _point(was, start + cut), _point(source, end))
    failed = False

    def broken(has_error: bool) -> bool:
        nonlocal failed
        failed = has_error and not one.errors
        return failed

    parser = _parser(threading.get_ident(), one.language.grammar)
    made = _parsed(parser, source, tree, stop, broken)
    if failed:
        return one.errors + 1, True
    return None if made is None else (_errors(made), _touched(made, start, end))


def _edited(old: InsertionPoint, source: bytes) -> Tree:
    """The tree of an earlier gap, told what is another in this source."""
    was = old.before + old.after
    most = min(len(was), len(source))
    start = _same(lambda length: was[:length] == source[:length], most)
    rest = _same(lambda length: was[len(was) - length :] == source[len(source) - length :], most - start)
    tree = old.tree.copy()
    old_end, new_end = len(was) - rest, len(source) - rest
    tree.edit(start, old_end, new_end, _point(source, start), _point(was, old_end), _point(source, new_end))
    return tree


def _point(text: bytes, at: int) -> tuple[int, int]:
    return text.count(b"\n", 0, at), at - 1 - text.rfind(b"\n", 0, at)


def _same(holds: Callable[[int], bool], most: int) -> int:
    """The greatest length up to `most` for which it holds; if it does for one, it does for all below."""
    return bisect_left(range(1, most + 1), True, key=lambda length: not holds(length))


def _parsed(
    parser: Parser, source: bytes, old: Tree | None, stop: float, broken: Callable[[bool], bool] = lambda _: False
) -> Tree | None:
    """The tree; None when time is up, or when it is as broken as may be."""
    if time.thread_time() >= stop:
        return None

    def read(offset: int, _: object) -> bytes:
        return source[offset : offset + 8_192]

    def enough(_: int, has_error: bool) -> bool:
        return broken(has_error) or time.thread_time() > stop

    try:
        if old is None:
            return parser.parse(read, progress_callback=enough)
        return parser.parse(read, old, progress_callback=enough)
    except ValueError:
        parser.reset()
        return None


def _errors(tree: Tree) -> int:
    return sum(1 for _ in syntax.errors_under(tree.root_node)) if tree.root_node.has_error else 0


def _touched(tree: Tree, start: int, end: int) -> bool:
    """Whether an error lies in, around or next to these bytes."""
    return any(node.start_byte <= end and start <= node.end_byte for node in syntax.errors_under(tree.root_node))


@cache
def _parser(_: int, grammar: tuple[str, str]) -> Parser:
    """A thread's own parser."""
    return syntax.new_parser(grammar)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _around(lines: Sequence[str], line: int, language: Language) -> tuple[list[str], list[str]]:
    """What is read above a line of a long file and below it."""
    first, last = max(0, line - ABOVE), min(len(lines), line + 1 + BELOW)
    first = _outside(lines, first, line, language)
    if _is_inside("".join(lines[first:last]), language):
        last = _outside(lines, last, min(len(lines), last + REACH), language)
    return [*_openers(lines, first), *lines[first:line]], [*lines[line + 1 : last], *_closers(lines, last)]


def _outside(lines: Sequence[str], first: int, last: int, language: Language) -> int:
    """The first of these lines that does not begin in a comment or a text in quotes; the very first if each does."""
    if not _is_inside("".join(lines[:first]), language):
        return first
    end = language.block_comment[1] if language.block_comment else _TRIPLE
    return next((at + 1 for at in range(first, last) if end in lines[at]), first)


def _is_inside(text: str, language: Language) -> bool:
    """Whether a text ends in a comment or a text in quotes that it opened, by its look."""
    if language.block_comment is None:
        return text.count(_TRIPLE) % 2 == 1
    return text.rfind(language.block_comment[0]) > text.rfind(language.block_comment[1])


def _openers(lines: Sequence[str], first: int) -> list[str]:
    """The lines above that open the blocks around line `first`, outermost first."""
    width = next((_width(one) for one in lines[first : first + BELOW] if one.strip()), 0)
    found: list[str] = []
    inside = False  # between the end of a head that takes several lines, or of the block before, and its beginning
    for at in range(first - 1, max(-1, first - 1 - REACH), -1):
        text = lines[at]
        if not text.strip() or not (inside or _width(text) < width):
            continue
        if _width(text) < width or (inside and _width(text) == width):
            width = _width(text)
            inside = _GOES_ON.match(text.lstrip()) is not None
        found.append(text)
        if width == 0 and not inside:
            break
    return found[::-1]


def _closers(lines: Sequence[str], last: int) -> list[str]:
    """The lines below that close the blocks around the lines above line `last`."""
    width = next((_width(one) for one in lines[last - 1 : max(0, last - ABOVE) : -1] if one.strip()), 0)
    found: list[str] = []
    for at in range(last, min(len(lines), last + REACH)):
        text = lines[at]
        if width == 0:
            break
        if not text.strip() or _width(text) >= width:
            continue
        width = _width(text)
        if _CLOSES.match(text.lstrip()):
            found.append(text)
            if text.rstrip().endswith(("{", "(", "[")):
                width += 1  # it opens another block, whose end is no deeper
    return found


def _width(line: str) -> int:
    """Columns of white space that a line begins with."""
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(4))
