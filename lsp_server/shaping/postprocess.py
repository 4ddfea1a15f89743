"""A text and the Frame it goes into in, the same text as it must be to fit there out.

Markers, spaces at both ends, what repeats itself or what stands around the cursor already, brackets and quotes that the
editor has closed. Ignores how much of the text is wanted.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import cache
from itertools import takewhile

from lsp_server.editor import brackets
from lsp_server.editor.document import Place
from lsp_server.editor.scope import indentation
from lsp_server.editor.window import Frame
from lsp_server.shaping.truncation import is_braced, last_text, next_text, repeats

ALIKE = 0.9  # share of characters in common that makes two texts the same
LONG, LONG_LINE = 12, 10  # characters: shorter texts and lines are alike only when they are equal
PARAGRAPH = 6  # lines of prose in which a bracket may be open
MOST_BELOW = 3  # lines compared with those below

_MARKER = re.compile(
    r"<\|[a-z_▁]+\|>|<｜[^\n>]{1,40}｜>|</?fim_\w+>|<(?:PRE|SUF|MID|EOT|fim-\w+)>|<\|?endoftext\|?>"
    r"|(?<=[\w\"'`:=@])\*{5,}"  # a secret's stars, which the memory of a workspace holds in its place
)
_STUCK = re.compile(r"(?P<once>\w.{3,23}?)(?P=once){4,}")  # the same five times and more
_ESCAPES = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_OPENER = re.compile(r"(?:[:{(\[\\]|=>|->|\b(?:do|then|begin|else))$")
_TRIPLE = ('"""', "'''")
_BOUNDARY = re.compile(r"\b|(?<=\W)(?=\W)")
CLOSERS = " )]}>\"'`;,:"  # what an editor may put right of the cursor

_LOOSE = re.compile(r"(?:\s*(?:,|&&|\|\||(?<!\+)\+|[=!<>]?=|\s-))+\s*$")
_BLOCK_END = re.compile(r"(?:end\w*|fi|done|esac|return|break|continue|pass|raise|throw|next|redo)\b.*|[)\]}]+[;,]?")
_ONLY_CLOSERS = re.compile(r"[ \t)\]}>\"'`;,:]*")
# Languages in which nothing may stand between a last comma and what ends the list, and what ends one there.
_LIST_ENDS = {
    "json": re.compile(r"[\]}]"),
    "sql": re.compile(
        r"[);]|(?:from|where|group|order|having|limit|union|into|values|returning|window)\b", re.IGNORECASE
    ),
    **dict.fromkeys(("c", "cpp", "java", "csharp", "lua"), re.compile(r"\)")),
}


def unmarked(raw: str) -> tuple[str, bool]:
    """The text up to the first marker of a prompt or masked secret, and whether there is one."""
    found = _MARKER.search(raw)
    return (raw, False) if found is None else (raw[: found.start()], True)


def joined(raw: str, frame: Frame) -> str:
    """The text without the spaces that stand left of the cursor already, or that would indent too deep there."""
    if frame.left.strip():
        return raw.lstrip(" \t") if frame.left[-1].isspace() else raw
    blank = raw[: len(raw) - len(raw.lstrip(" \t"))]
    above = last_text(frame.before)
    opens = _OPENER.search(above.rstrip()) is not None or brackets.depth(above) > 0
    if not blank or not above or (opens and indentation(frame.left) <= indentation(above)):
        return raw
    excess = indentation(frame.left + blank) - max(indentation(above), indentation(frame.left))
    return raw if excess <= 0 else raw[len(blank) :]


def unrepeated(lines: list[str], frame: Frame) -> list[str]:
    """The lines up to where they begin to say the same again and again."""
    whole = [frame.left + line if at == 0 else line for at, line in enumerate(lines)]
    for end in range(2, len(lines) + 1):
        for size, times in ((1, 3), (2, 3), (3, 2), (4, 2)):
            start = end - size * times
            said = whole[max(0, start) : end]
            if start >= 0 and said == said[:size] * times and any(line.strip() for line in said):
                return lines[: start + size]
    return lines


def unstuck(line: str) -> str:
    """The line up to where it begins to say the same again and again."""
    found = _STUCK.search(line)
    return line if found is None else line[: found.end("once")].rstrip(" ,")


def without_lines_below(lines: list[str], frame: Frame) -> list[str]:
    """The lines without those at their end that stand below the cursor already, or nearly so."""
    below = [line for line in frame.below if line.strip()][:MOST_BELOW]
    whole = [frame.left + line if at == 0 else line for at, line in enumerate(lines)]
    for count in range(min(len(below), len(lines)), 0, -1):
        last = whole[-count:]
        if count < len(lines) and all(map(_ends_deeper, last, below[:count])):
            continue
        if any(map(str.isalnum, "".join(below[:count]))) and all(map(_is_same_line, last, below[:count])):
            return lines[:-count]
    return lines


def without_closers_below(text: str, frame: Frame) -> str:
    """The text up to a line that only closes, if the editor has put the same below when Enter was pressed."""
    lines = text.split("\n")
    below = next_text(frame)
    for at, line in enumerate([frame.left + lines[0], *lines[1:]]):
        if line.strip() and _ONLY_CLOSERS.fullmatch(line) and repeats(line, below):
            return "\n".join(lines[:at])
    return text


def closes_too_deep(text: str, frame: Frame) -> bool:
    """Whether the line would only close, and that no less deep than what it closes is indented."""
    above = last_text(frame.before)
    if not text.strip() or not _ONLY_CLOSERS.fullmatch(frame.left + text) or _OPENER.search(above.rstrip()):
        return False
    return 0 < indentation(above) <= indentation(frame.left)


def repeats_neighbour(text: str, frame: Frame) -> bool:
    """Whether the cursor's line would say what the line below says, or all of it what the line above does."""
    if not without_lines_below([text], frame) or (text and not without_closers_below(text, frame)):
        return True
    above = last_text(frame.before)
    return not frame.left.strip() and len(text.strip()) >= LONG and repeats(frame.left + text, above)


def before_closer(text: str, frame: Frame) -> str:
    """The text up to a bracket or quote that would close what the closer right of the cursor closes."""
    right = frame.right.lstrip()
    outer = quote = _open_quote(frame.left, right)
    if quote is not None and right.startswith("}"):
        inside = brackets.opened_in_prose(frame.left.rpartition(quote)[2])
        outer = quote = None if inside.startswith("}") else quote  # code within a string, between braces
    is_beside = right.startswith(tuple(brackets.CLOSERS))
    if is_beside and (quote is not None or (outer is None and brackets.within(frame.code, frame.language) != "code")):
        return text[: brackets.first_closer_in_prose(text)]
    depth = 0
    first = 1 if quote is not None and _ESCAPES.search(frame.left) else 0  # a quote that is escaped ends nothing
    for found, character, after in brackets.marks(text[first:], quote):
        at = first + found
        if quote is not None or after is not None:
            if after is None and outer == character and right.startswith(character):
                return text[:at]
            outer = None  # the string that was open at the cursor is closed, or was none
        elif character in brackets.CLOSERS:
            if depth == 0 and is_beside:  # that one closes what is open here
                return text[:at]
            depth = max(0, depth - 1)
        else:
            depth += 1
        quote = after
    return text


def _open_quote(left: str, right: str) -> str | None:
    """The quote that is open at the cursor: in prose and templates the one that stands right of it says more."""
    closer = right[:1]
    if closer and closer in brackets.QUOTES and len(_unescaped(closer).findall(left)) % 2:
        return closer
    return brackets.open_quote(left)


@cache
def _unescaped(quote: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\\){quote}")


def closable(text: str, frame: Frame) -> str:
    """The text up to a closer that closes nothing: another bracket is open there, none is, or one closed already."""
    if not any(map(text.__contains__, brackets.CLOSERS)):
        return text
    is_code = brackets.within(frame.code, frame.language) == "code"
    quote: str | None = None
    if is_code:
        wanted = brackets.opened(frame.code, frame.language)
    else:
        inside = _nearest(brackets.span(frame.code, frame.language))
        wanted = brackets.opened_in_prose(inside)
        quote = brackets.open_quote(inside.rpartition("{")[2]) if "}" in wanted else None  # code between the braces
    knows_all = not is_code or frame.anchor.start == Place(0, 0)
    closed = brackets.closed("\n".join((frame.right, *frame.below)), frame.language) if is_code else ""
    inner = ""
    for at, character, after in brackets.marks(text, quote):
        if quote is None and after is None:
            if character not in brackets.CLOSERS:
                inner = brackets.unclosed(character) + inner
            elif inner:
                if inner[0] != character:
                    return text[:at]
                inner = inner[1:]
            elif wanted:
                if wanted[0] != character or _run(closed, character) >= _run(wanted, character):
                    return text[:at]
                wanted = wanted[1:]
            elif knows_all or (character != "}" and _follows_code(frame.left + text[:at])):
                return text[:at]
        quote = after
    return text


def _follows_code(text: str) -> bool:
    """Whether a line says more than closers: what it closes is hardly so far above that it was not seen."""
    return not _ONLY_CLOSERS.fullmatch(text.rpartition("\n")[2])


def _run(closers: str, character: str) -> int:
    """How many of a character they begin with."""
    return len(closers) - len(closers.lstrip(character))


def _nearest(before: str) -> str:
    """The last lines of a text, in which a bracket of prose may have been opened."""
    return "\n".join(before.split("\n")[-PARAGRAPH:])


def unquoted(lines: list[str], language: str, *, whole: bool) -> list[str]:
    """The lines with a text in triple quotes ended that they leave open; without it while more of it may come."""
    text = "\n".join(lines)
    opened = max(text.rfind(marks) for marks in _TRIPLE)
    if opened < 0 or brackets.within(text, language) != "string":
        return lines
    if not whole:
        return lines[: text[:opened].count("\n")]
    if len(lines) == 1:
        return [text + text[opened : opened + 3]]
    last = next(line for line in reversed(lines) if line.strip())
    return [*lines, last[: len(last) - len(last.lstrip())] + text[opened : opened + 3]]


def docstring_ended(text: str, frame: Frame) -> str:
    """The text with one in triple quotes ended that begins the line and at the cursor; empty if that says nothing."""
    line = (frame.left + text).lstrip()
    if not line.startswith(_TRIPLE) or frame.left.lstrip().startswith(_TRIPLE) or line[:3] in line[3:]:
        return text
    return text.rstrip() + line[:3] if line[3:].strip() else ""


def closers_behind(text: str, cut: str, frame: Frame) -> str:
    """The closers right of the cursor behind which a text goes on that meets them at the end of `cut`; empty for none.

    Only closers that the editor itself put there: it would have put them there for the text as well.
    """
    if frame.right != frame.inserted or not _ONLY_CLOSERS.fullmatch(frame.right):
        return ""
    pairs = zip(text[len(cut) :], frame.right.rstrip(), strict=False)
    met = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return met if text[len(cut) + len(met) :].strip() else ""


def without_overlap(text: str, right: str) -> str:
    """The text without an end that stands right of the cursor already, or nearly so."""
    there = right.rstrip()
    for length in range(min(len(text), len(there)), 0, -1):
        head = there[:length]
        enough = length == len(there) or not (head[-1].isalnum() or head[-1] == "_") or length > 8
        if enough and text.endswith(head) and brackets.depth(text[:-length]) <= brackets.depth(text):
            return text[:-length]
    there = there.lstrip()
    if len(there) < 2:
        return text
    starts = [match.start() for match in _BOUNDARY.finditer(text) if text[match.start() :].strip()]
    likeness, start = max(((_sameness(text[start:], there), start) for start in starts), default=(0.0, 0))
    return text[:start] if likeness >= ALIKE else text


def spaced(text: str, frame: Frame) -> str:
    """The text with no space at its end where none belongs, and nothing that the closer behind it would cut off.

    That is a backslash before a quote; a comma or an operator before a bracket.
    """
    right = frame.right
    if right[:1] and right[0] in brackets.QUOTES and len(text) - len(text.rstrip("\\")) & 1:
        text = text[:-1]
    if right[:1] and right[0] in brackets.CLOSERS and (loose := _LOOSE.search(text)):
        text = text[: loose.start()] if brackets.within(frame.code + text, frame.language) == "code" else text
    if not right.strip() or right[0].isspace() or right[0] in ")]},;":
        return text.rstrip()
    return text


def without_last_comma(text: str, frame: Frame) -> str:
    """The text without a comma at its end where the line below ends the list and the language allows no comma there."""
    ends = _LIST_ENDS.get(frame.language)
    if ends is None or not text.rstrip().endswith(",") or frame.right.strip(CLOSERS):
        return text
    return text.rstrip()[:-1] if ends.match(next_text(frame).lstrip()) else text


def braced(lines: list[str], frame: Frame) -> list[str]:
    """A block between a brace and the one that the editor put behind it, which comes to stand on a line of its own."""
    if not is_braced(frame) or len(lines) < 2:
        return lines
    kept = lines[:-1] if lines[-1].strip().startswith("}") else lines
    blank = frame.left[: len(frame.left) - len(frame.left.lstrip())]
    return [*kept, blank]


def _ends_deeper(one: str, other: str) -> bool:
    """Whether a line ends a block, and a deeper one than the line below ends: such lines look alike at every depth."""
    return indentation(one) > indentation(other) and _BLOCK_END.fullmatch(one.strip()) is not None


def _is_same_line(one: str, other: str) -> bool:
    one, other = one.strip(), other.strip()
    return one == other or (min(len(one), len(other)) >= LONG_LINE and _likeness(one, other) >= ALIKE)


def _sameness(one: str, other: str) -> float:
    """How much two texts have in common but for their spaces and kinds of quotes; 0 or 1 for short ones."""
    one, other = ("".join(text.split()).replace("'", '"') for text in (one, other))
    if one == other or len(other) < LONG:
        return float(one == other)
    return _likeness(one, other)


def _likeness(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE else 0.0
