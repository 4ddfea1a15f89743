"""Lines and the Frame they go into in, the same lines indented as the file is: with its tabs or spaces, by its steps.

Looks at nothing but the white space that a line begins with, and only where the line begins as code: a string, a
comment or the continuation of a line has an indentation of its own. A language that allows no other gets its own.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from lsp_server.editor import brackets
from lsp_server.editor.scope import indentation
from lsp_server.editor.window import Frame

WIDTHS = (2, 3, 4, 8)  # columns that a step of indentation may have
TAB = 4  # columns, as `indentation` counts them
WITH_TABS = frozenset(["go", "make", "makefile"])  # make refuses a recipe without one, gofmt writes nothing else

_LABEL = re.compile(r"(?:public|private|protected|signals|default|case\b.*?)\s*\w*:")


def indented(lines: list[str], frame: Frame) -> list[str]:
    """The lines after the first, indented with what the file is indented with, and as wide."""
    tabs, width = (True, TAB) if frame.language in WITH_TABS else of(_code_lines(frame))
    base = indentation(frame.left)
    own = _step([frame.left + lines[0], *lines[1:]])
    found = lines[:1]
    for line in lines[1:]:
        text = line.lstrip(" \t")
        columns = indentation(line)
        if own is not None and width is not None and own != width and columns >= base:
            steps, rest = divmod(columns - base, own)
            columns = columns if rest else base + steps * width
        blank = line[: len(line) - len(text)]
        if tabs is None:
            found.append(line)
        elif tabs:
            found.append("\t" * (columns // TAB) + " " * (columns % TAB) + text)
        elif columns != len(blank) or "\t" in blank:
            found.append(" " * columns + text)
        else:
            found.append(line)
    return found


def of(lines: tuple[str, ...]) -> tuple[bool | None, int | None]:
    """Whether these lines are indented with tabs, None when it cannot be told; and the columns of one step."""
    with_tabs = sum(line.startswith("\t") for line in lines)
    with_spaces = sum(line.startswith("  ") for line in lines)
    if with_tabs > with_spaces:
        return True, TAB
    if with_spaces == 0:
        return None, None
    return False, _step(lines)


def _code_lines(frame: Frame) -> tuple[str, ...]:
    """The lines around the cursor that begin as code and continue no other line."""
    return (
        *_beginning_as_code(frame.before, frame.language),
        *_beginning_as_code("\n".join(frame.below), frame.language),
    )


def _beginning_as_code(text: str, language: str) -> list[str]:
    others = [(start, end) for kind, start, end in brackets.spans(text, language) if kind != "code"]
    found, start, continued = [], 0, False
    for line in text.split("\n"):
        while others and others[0][1] <= start:
            others.pop(0)
        if not continued and not (others and others[0][0] < start):
            found.append(line)
        continued = line.endswith("\\")
        start += len(line) + 1
    return found


def _step(lines: tuple[str, ...] | list[str]) -> int | None:
    """The columns by which lines are mostly indented deeper than the line above that opens a block."""
    steps: Counter[int] = Counter()
    written = [line for line in lines if line.strip()]
    for one, other in pairwise(written):
        deeper = indentation(other) - indentation(one)
        is_label = _LABEL.fullmatch(one.strip()) or _LABEL.fullmatch(other.strip())  # often half a step deep
        if deeper in WIDTHS and one.rstrip().endswith((":", "{", "(", "[", ">")) and not is_label:
            steps[deeper] += 1
    return steps.most_common(1)[0][0] if steps else None
