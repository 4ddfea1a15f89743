"""Lines and a cursor in, the definitions around it out. Goes by indentation and the look of a line, so it holds
in any language and in broken code; knows nothing of syntax trees, windows or models.
"""

from __future__ import annotations

import re
from itertools import islice

from lsp_server.editor.document import Place, content

OUTLINE = 700  # characters
REACH = 3_000  # lines looked at for the definitions around the cursor
IMPORT_REACH = 200
REGION = 500  # lines above and below a place whose scopes are near it
HEADER = 200  # characters of a definition's first line
BELOW = 24  # lines below an empty line in which the next text is looked for

_HEAD = re.compile(r"[^(={:]*")
_DEFINES = re.compile(
    r"\b(?:class|def|enum|extension|fn|fun|func|function|impl|interface|module|namespace|object|protocol|struct|sub|"
    r"trait|type)\s+\S"
)
_CONTROLS = re.compile(
    r"(?:case|catch|do|else|finally|for|if|loop|match|repeat|return|switch|try|unless|until|when|while|with)\b"
)
_IMPORT = re.compile(r"\s*(?:import|from|use|using|require|include|#\s*include|package|extern crate|@import)\b")


def scope(lines: tuple[str, ...], cursor: Place) -> tuple[str, ...]:
    """The first lines of the definitions around the cursor, outermost first. Goes by indentation."""
    return tuple(text.strip() for _, text in _enclosing(lines, cursor))


def places(lines: tuple[str, ...], around: int) -> list[Place]:
    """The last line of each definition within REGION lines of line `around`, nearest first, one for each scope."""
    first, last = max(0, around - REGION), min(len(lines), around + REGION)
    found: dict[tuple[str, ...], int] = {}
    stack: list[tuple[int, str]] = []
    for line in range(first, last):
        text = content(lines[line])
        stripped = text.strip()
        if not stripped:
            continue
        width = indentation(text)
        while stack and stack[-1][0] >= width:
            stack.pop()
        if stack:
            found[tuple(one for _, one in stack)] = line
        if _defines(stripped):
            stack.append((width, stripped[:HEADER]))
    ends = sorted(found.values(), key=lambda line: abs(line - around))
    return [Place(line, len(content(lines[line]))) for line in ends]


def outline(lines: tuple[str, ...], start: int, cursor: Place) -> str:
    """What stands above line `start` and the code at the cursor still needs: imports and definitions around it."""
    headers = [text for line, text in _enclosing(lines, cursor) if line < start]
    imports = [text for text in map(content, islice(lines, min(start, IMPORT_REACH))) if _IMPORT.match(text)]
    room = OUTLINE - sum(len(text) + 1 for text in headers)
    kept: list[str] = []
    for text in imports:
        room -= len(text) + 1
        if room < 0:
            break
        kept.append(text)
    return "".join(text + "\n" for text in (*kept, *headers))[:OUTLINE]


def indentation(line: str) -> int:
    """Columns of white space a line begins with; a tab goes to the next multiple of 4."""
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(4))


def _enclosing(lines: tuple[str, ...], cursor: Place) -> list[tuple[int, str]]:
    """Line number and text of each definition around the cursor, outermost first."""
    width = _depth(lines, cursor)
    found: list[tuple[int, str]] = []
    for line in range(cursor.line - 1, max(-1, cursor.line - 1 - REACH), -1):
        if width == 0:
            break
        text = content(lines[line])
        if not text or text.isspace():
            continue
        inner = indentation(text)
        if inner < width:
            width = inner
            if _defines(text.strip()):
                found.insert(0, (line, text[:HEADER]))
    return found


def _defines(text: str) -> bool:
    """Whether a line begins a function, a type or the like, as far as a line can tell."""
    head = _HEAD.match(text[:HEADER])
    if head is not None and _DEFINES.search(head.group() + " "):
        return True
    return text.endswith("{") and text[0].isalpha() and not _CONTROLS.match(text)


def _depth(lines: tuple[str, ...], cursor: Place) -> int:
    """Indentation at the cursor; an empty line is as deep as the cursor or the line below it."""
    text = content(lines[cursor.line])
    if text.strip():
        return indentation(text)
    below = (content(one) for one in islice(lines, cursor.line + 1, cursor.line + 1 + BELOW))
    return max(indentation(text[: cursor.column]), next((indentation(one) for one in below if one.strip()), 0))
