"""A Snapshot in, the language at its cursor out: the document's, or that of the script or the style it stands in.

The document's own is what the editor says, else what the file's name says, else its first line. Ignores settings,
which go by the editor's word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lsp_server.editor.document import Place
from lsp_server.editor.session import Snapshot
from retrieval import languages

FURTHEST = 3_000  # lines above the cursor in which a script may begin
_MIXED = frozenset(["vue", "svelte", "astro", "html", "erb", "jinja", "handlebars"])
_TAG = re.compile(r"<(?P<end>/?)(?P<name>script|style)\b(?P<more>[^>]*)>?", re.IGNORECASE)
_LANG = re.compile(r"\b(?:lang|type)\s*=\s*[\"']?(?:text/|application/)?(?P<name>[\w-]+)")


def language_at(snapshot: Snapshot) -> str:
    """Our name for the language at the cursor."""
    first = snapshot.lines[0][:200] if snapshot.lines else ""
    own = languages.resolve(snapshot.language, snapshot.path, first).name
    if own not in _MIXED:
        return own
    inner, _ = _inside(snapshot.lines, snapshot.cursor, own)
    return inner


def begins(snapshot: Snapshot) -> Place:
    """Where the piece in the cursor's language begins: the document, or the script that it stands in."""
    first = snapshot.lines[0][:200] if snapshot.lines else ""
    own = languages.resolve(snapshot.language, snapshot.path, first).name
    return _inside(snapshot.lines, snapshot.cursor, own)[1] if own in _MIXED else Place(0, 0)


def _inside(lines: Sequence[str], cursor: Place, own: str) -> tuple[str, Place]:
    """The language of what the cursor stands in, and where that begins."""
    for number in range(cursor.line, max(-1, cursor.line - FURTHEST), -1):
        line = lines[number] if number < cursor.line else lines[number][: cursor.column]
        if own == "astro" and number == 0 and line.startswith("---") and cursor.line > 0:
            fences = sum(one.startswith("---") for one in lines[1 : cursor.line])
            return ("typescript" if not fences else own), Place(1 if not fences else 0, 0)
        if "<" not in line:
            continue
        found = list(_TAG.finditer(line))
        if found:
            last = found[-1]
            if last["end"]:
                return own, Place(0, 0)
            return _of_tag(last["name"].lower(), last["more"]), Place(number, min(last.end(), len(line)))
    return own, Place(0, 0)


def _of_tag(name: str, attributes: str) -> str:
    named = _LANG.search(attributes)
    said = None if named is None else languages.named(named["name"])
    if said is not None and said is not languages.TEXT:
        return said.name
    return "javascript" if name == "script" else "css"
