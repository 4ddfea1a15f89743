"""Code in, its brackets, quotes and comments out: by their look, so that it holds in broken code and in any language.

Knows of a language how its comments begin and which quotes span lines, and nothing else of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal

from lsp_server.editor import comments
from lsp_server.editor.document import word_before
from retrieval import languages

Kind = Literal["code", "comment", "string"]

CLOSERS = ")]}"
QUOTES = "\"'`"
AUTOMATIC = CLOSERS + ">" + QUOTES  # what an editor puts right of the cursor by itself
_BRACKET = re.compile(r"[()\[\]{}]")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_STRING_PREFIXES = frozenset(["b", "br", "f", "fr", "r", "rb", "rf", "u"])
_TRIPLE = ('"""', "'''")
_TRIPLE_QUOTES = re.compile("|".join(_TRIPLE))
_SPANNING = "`"  # quotes that a line's end does not end
_LIFETIME = re.compile(r"'\w+\b(?!')")  # Rust's, which no quote closes


def within(before: str, language: str) -> Kind:
    """What the end of a text stands in. The text's beginning is taken for code."""
    return list(spans(before, language))[-1][0]


def span(before: str, language: str) -> str:
    """The comment, the string or the piece of code that the end of a text stands in, as far as it goes."""
    return before[list(spans(before, language))[-1][1] :]


def code(text: str) -> str:
    """A text that was cut out somewhere, from where it is code: after the triple quotes that end what it begins in."""
    found = _TRIPLE_QUOTES.search(text)
    if found is None:
        return text
    above, _, left = text[: found.start()].rpartition("\n")
    left = left.strip()
    if left:
        opens = left.lower() in _STRING_PREFIXES or left[-1] in "=([{,:+" or left.endswith("return")
    else:
        opens = above.rstrip().endswith((":", "=", "(", "[", ",")) or not above.strip()
    return text if opens else text[found.end() :]


def opened(before: str, language: str) -> str:
    """The closers that a text wants whose beginning is code, innermost first; strings and comments do not count."""
    return "".join(_match(before, language)[0])


def closed(after: str, language: str) -> str:
    """The closers in a text whose beginning is code that close what was opened before it."""
    return "".join(_match(after, language)[1])


def opened_in_prose(text: str) -> str:
    """The closers that a text wants in which quotes mean nothing, innermost first."""
    return "".join(_matched(_BRACKET.findall(text))[0])


def _match(text: str, language: str) -> tuple[list[str], list[str]]:
    pieces = (piece for piece in spans(text, language) if piece[0] == "code")
    return _matched(bracket for _, start, stop in pieces for bracket in _BRACKET.findall(text, start, stop))


def _matched(brackets: Iterable[str]) -> tuple[list[str], list[str]]:
    """The closers that are wanted after these, innermost first, and those among these that close nothing."""
    wanted: list[str] = []
    unmatched: list[str] = []
    for character in brackets:
        if character in _PAIRS:
            wanted.insert(0, _PAIRS[character])
        elif wanted:
            wanted.pop(0)
        else:
            unmatched.append(character)
    return wanted, unmatched


def spans(text: str, language: str) -> Iterator[tuple[Kind, int, int]]:
    """The pieces of a text whose beginning is code: what they are, and from where to where. There is one at least."""
    pattern, ends, name = _openers(language)
    at = began = 0
    while (found := pattern.search(text, at)) is not None:
        at, opener = found.end(), found.group()
        kind, closer = ends.get(opener, ("string", opener))
        if (kind, closer) == ("comment", "\n") and not comments.opens(text, found.start(), opener, name):
            if opener not in QUOTES:
                continue
            kind, closer = "string", opener
        is_quote = kind == "string" and opener in QUOTES
        if is_quote and _is_apostrophe(text, found.start(), opener):
            continue
        if not is_quote:
            stop = text.find(closer, at)
            end = None if stop < 0 else stop + len(closer)
        else:
            end = _string_end(text, at, opener)
        yield "code", began, found.start()
        if end is None:
            yield kind, found.start(), len(text)
            return
        yield kind, found.start(), end
        at = began = end
    yield "code", began, len(text)


def depth(text: str, quote: str | None = None) -> int:
    """How many brackets the text opens and does not close. quote: the one that is open where the text begins."""
    return len(unclosed(text, quote))


def unclosed(text: str, quote: str | None = None) -> str:
    """The closers that the text wants, innermost first."""
    wanted = ""
    for _, character, after in marks(text, quote):
        if quote is None and after is None:
            wanted = wanted[1:] if character in CLOSERS else _PAIRS[character] + wanted
        quote = after
    return wanted


def first_closer(text: str) -> int | None:
    """Where the first closer stands that closes nothing in the text."""
    depth = 0
    quote = None
    for at, character, after in marks(text):
        if quote is None and after is None:
            depth += -1 if character in CLOSERS else 1
            if depth < 0:
                return at
        quote = after
    return None


def first_closer_in_prose(text: str) -> int | None:
    """The same in a text in which quotes mean nothing."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += -1 if found.group() in CLOSERS else 1
        if depth < 0:
            return found.start()
    return None


def balanced(text: str, quote: str | None = None) -> str:
    """The text up to the last place at which nothing it opened is still open."""
    open_brackets = 0
    end = len(text)
    outer = quote
    for at, character, after in marks(text, quote):
        was_whole = open_brackets == 0 and (quote is None or quote == outer)
        if quote is None and after is None:
            open_brackets = max(0, open_brackets - 1) if character in CLOSERS else open_brackets + 1
        if after is None:
            outer = None
        is_whole = open_brackets == 0 and (after is None or after == outer)
        if was_whole and not is_whole:
            end = at
        elif is_whole:
            end = len(text)
        quote = after
    return text[:end]


def open_quote(line: str) -> str | None:
    """The quote that is still open at the end of a line's left side."""
    return next((after for _, _, after in reversed(list(marks(line)))), None)


def marks(text: str, quote: str | None = None) -> Iterator[tuple[int, str, str | None]]:
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
        elif character in QUOTES:
            if not _is_apostrophe(text, at, character):
                quote = character
                yield at, character, quote
        elif character in _PAIRS or character in CLOSERS:
            yield at, character, None


def _is_apostrophe(text: str, at: int, quote: str) -> bool:
    """Whether a quote opens no string: don't, or a lifetime."""
    word = word_before(text, at)
    if word and word.lower() not in _STRING_PREFIXES:
        return True
    return quote == "'" and text[at - 1 : at] in ("&", "<") and _LIFETIME.match(text, at) is not None


def _string_end(text: str, at: int, quote: str) -> int | None:
    """After the quote that ends a string, or after the line that does; None when the text ends in it."""
    while at < len(text):
        character = text[at]
        at += 2 if character == "\\" else 1
        if character == quote or (character == "\n" and quote not in _SPANNING):
            return at
    return None


@cache
def _openers(language: str) -> tuple[re.Pattern[str], dict[str, tuple[Kind, str]], str]:
    """What opens a comment or a string in a language, the kind and the end of each but quotes, and our name for it."""
    known = languages.named(language)
    ends: dict[str, tuple[Kind, str]] = {quotes: ("string", quotes) for quotes in _TRIPLE}
    name = "" if known is None else known.name
    ends.update((mark, ("comment", "\n")) for mark in comments.marks(name))
    if known is not None and known.block_comment is not None:
        ends[known.block_comment[0]] = ("comment", known.block_comment[1])
    longest_first = sorted({*ends, *QUOTES}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), ends, name
