"""Source text and its Language in, an Outline out: what it defines, imports and mentions.

One pass with the language's own query (queries/*.scm) over its tree. Broken code is data: the
outline holds what could be read. A text without a query of ours gets an empty outline. Ignores
other files: what an import means is `symbols`' business.

Captures in a query: `@definition.<kind>` with `@name`, and optionally `@body` (left out of the
signature), `@doc`, `@receiver` (the container it belongs to, when not around it); `@import` with
`@module`, `@imported`, `@alias`, `@star`, or with `@clause` (read by `clauses`); `@reexport` on an
import that hands the name on; `@reference`; `@package`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.languages import Language
from retrieval.syntax import clauses, syntax

if TYPE_CHECKING:
    from tree_sitter import Node

_CONTAINERS = "class interface struct trait enum module namespace impl union object"
CONTAINERS = frozenset(_CONTAINERS.split())
_LOCAL_TO = frozenset({"function", "method", "macro"})
_VALUES = frozenset({"field", "constant"})
_GO_TYPES = frozenset({"struct", "interface", "type"})
_ATTRIBUTES = ("@", "#[", "[")  # may stand between a definition and its comment
_SIGNATURE_CHARS = 240
_VALUE_CHARS = 80
_DOC_CHARS = 100
_COMMENT_MARKS = re.compile(r"^\s*(?:/\*+|\*+/|\*|//[/!]?|#+|--+)\s?|\*+/\s*$|</?\w+>", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """A named thing a file defines. Lines count from 0, `last` included; parent is a dotted path or None."""

    name: str
    kind: str
    parent: str | None
    first: int
    last: int
    signature: str
    doc: str | None = None
    local: bool = False  # defined inside a function: nobody else can see it

    @property
    def path(self) -> str:
        """The dotted path of the definition inside its file."""
        return f"{self.parent}.{self.name}" if self.parent else self.name


@dataclass(frozen=True, slots=True)
class Import:
    """`alias` is the name it binds here ("*" for all). `name` is None when the module itself is bound.

    An empty `module` stands for this very file (an `export {a as b}`).
    """

    module: str
    name: str | None
    alias: str
    line: int
    reexport: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """What a file defines, imports and mentions; `package` is the namespace it says it belongs to."""

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
    references: tuple[str, ...] = ()
    package: str | None = None


EMPTY = Outline()
_Match = tuple["Node", str, dict[str, list["Node"]]]  # the defining node, its kind, and what was captured


def read(text: str, language: Language, seconds: float = 2.0) -> Outline:
    """What the text defines, imports and mentions. Raises ParseTimeout, GrammarError."""
    if language.query is None or language.grammar is None:
        return EMPTY
    tree = syntax.parse(text, language, seconds)
    assert tree is not None
    source = text.encode("utf-8", errors="replace")
    lines = text.split("\n")
    found: list[_Match] = []
    imports: list[Import] = []
    references: list[str] = []
    package = None
    for captures in syntax.matches(tree.root_node, language):
        kinds = [key for key in captures if key.startswith("definition.")]
        if kinds and "name" in captures:
            found.append((captures[kinds[0]][0], kinds[0][11:], captures))
        elif "import" in captures:
            imports.extend(_imports(captures, source, language))
        elif "reference" in captures:
            references.append(_text(captures["reference"][0], source))
        elif "package" in captures:
            package = package or _text(captures["package"][0], source)
    bound = {(one.alias, one.line) for one in imports}
    definitions = tuple(d for d in _definitions(found, source, lines, language) if (d.name, d.first) not in bound)
    unique = {(one.module, one.name, one.alias, one.line): one for one in sorted(imports, key=lambda one: one.reexport)}
    in_order = tuple(sorted(unique.values(), key=lambda one: one.line))
    return Outline(definitions, in_order, tuple(dict.fromkeys(references)), package)


def enclosing(outline: Outline, line: int) -> tuple[Definition, ...]:
    """The definitions around a line, outermost first."""
    around = [d for d in outline.definitions if d.first <= line <= d.last and d.kind not in _VALUES]
    return tuple(sorted(around, key=lambda d: (d.first, -d.last)))


def _text(node: Node, source: bytes) -> str:
    # node.text would call back into the parse's reader: ten times slower.
    return source[node.start_byte : node.end_byte].decode("utf-8", errors="replace")


def _imports(captures: dict[str, list[Node]], source: bytes, language: Language) -> Iterable[Import]:
    line, reexport = captures["import"][0].start_point[0], "reexport" in captures
    if "clause" in captures:
        for module, name, alias in clauses.of(_text(captures["clause"][0], source), language.name):
            yield Import(module, name, alias, line, reexport)
    elif "module_file" in captures:  # Rust's `mod name;`
        name = _text(captures["module_file"][0], source)
        yield Import(f"self::{name}", None, name, line)
    else:
        yield _import(captures, source)


def _import(captures: dict[str, list[Node]], source: bytes) -> Import:
    module = _text(captures["module"][0], source).strip("\"'`<>") if "module" in captures else ""
    name = _text(captures["imported"][0], source).strip("\"'") if "imported" in captures else None
    if "default" in captures:
        name = "default"
    if "star" in captures:
        name = "*"
    if "alias" in captures:
        alias = _text(captures["alias"][0], source)
    elif "exported_default" in captures:
        alias = "default"
    else:
        alias = name or module
    return Import(module, name, alias, captures["import"][0].start_point[0], "reexport" in captures)


def _definitions(found: list[_Match], source: bytes, lines: list[str], language: Language) -> tuple[Definition, ...]:
    """Definitions with parents, from matches in any order: nesting is read off the byte ranges."""
    best: dict[tuple[int, int], _Match] = {}
    for one in sorted(found, key=_order):
        best.setdefault(one[2]["name"][-1].byte_range, one)
    result: list[Definition] = []
    around: list[tuple[int, Definition]] = []  # (end byte, definition), outermost first
    for node, kind, captures in sorted(best.values(), key=lambda one: (one[0].start_byte, -one[0].end_byte)):
        name = _text(captures["name"][-1], source).removeprefix(":")  # a Ruby symbol
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        holder = around[-1][1] if around else None
        definition = _definition(name, kind, node, captures, holder, source, lines, language)
        if definition is None:
            continue
        if kind != "impl":
            result.append(definition)
        if kind in CONTAINERS or kind in _LOCAL_TO:
            around.append((node.end_byte, definition))
    return tuple(result)


def _order(found: _Match) -> tuple[bool, ...]:
    """Of several matches of one name, the one that tells most comes first."""
    _, kind, captures = found
    is_plain = kind in _VALUES or kind == "type"
    return is_plain, "receiver" not in captures, "body" not in captures, "doc" not in captures


def _type_name(text: str) -> str:
    """The bare name of a receiver's type: no pointer, no type arguments, no namespace."""
    return re.split(r"::|\.", re.sub(r"[<\[].*$", "", text.strip(" *&()"), flags=re.DOTALL))[-1]


def _definition(
    name: str,
    kind: str,
    node: Node,
    captures: dict[str, list[Node]],
    holder: Definition | None,
    source: bytes,
    lines: list[str],
    language: Language,
) -> Definition | None:
    parent = holder.path if holder else None
    is_local = holder is not None and (holder.local or holder.kind in _LOCAL_TO)
    if kind == "field" and holder is not None and holder.kind in _LOCAL_TO:
        parent, is_local = holder.parent, False  # self.x = … in a method is a field of the class
        if parent is None:
            return None
    if "receiver" in captures:
        scope, _, name = f"{_text(captures['receiver'][0], source)}::{name}".rpartition("::")
        parent, kind = _type_name(scope), "method"
    if holder is not None and holder.kind in CONTAINERS - {"module", "namespace"}:
        kind = {"function": "method", "constant": "field"}.get(kind, kind)
    first, last = node.start_point[0], node.end_point[0]
    if kind in _VALUES or (holder is not None and holder.first == first):
        doc = None
    elif "doc" in captures:
        doc = _first_sentence(_text(captures["doc"][0], source))
    else:
        doc = _comment_above(lines, first, language)
    signature = _signature(_head(node, captures.get("body"), source), kind, lines, first)
    if language.name == "go" and kind in _GO_TYPES:
        signature = "type " + signature
    elif name not in signature and kind not in _VALUES:
        signature = f"{signature} {name}"  # typedef struct {…} Name
    return Definition(name, kind, parent, first, last, signature, doc, is_local)


def _head(node: Node, body: list[Node] | None, source: bytes) -> str:
    """The node's text up to its body."""
    end = body[0].start_byte if body else node.end_byte
    return source[node.start_byte : end].decode("utf-8", errors="replace")


def _signature(head: str, kind: str, lines: list[str], first: int) -> str:
    """The definition's head on one line, decorators before it."""
    text = " ".join(head[: 4 * _SIGNATURE_CHARS].split())
    if kind in _VALUES:
        text = text.removesuffix("=").removesuffix(";").rstrip()
        return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1].rstrip() + "…"
    text = re.sub(r"(?:\s*[{;=]|;?\s+end)$", "", text)
    text = text.replace("( ", "(").replace(", )", ")").replace(",)", ")").replace(" )", ")")
    if len(text) > _SIGNATURE_CHARS:
        text = text[: _SIGNATURE_CHARS - 1].rstrip() + "…"
    decorators: list[str] = []
    while first > 0 and len(decorators) < 3 and re.match(r"\s*@[\w.]+(?:\([^()]{0,40}\))?\s*$", lines[first - 1]):
        first -= 1
        decorators.insert(0, lines[first].strip())
    return " ".join([*decorators, text])


def _comment_above(lines: list[str], first: int, language: Language) -> str | None:
    """The first sentence of the comment that ends right above a line."""
    marks = tuple(mark for mark in (language.line_comment, "*", "/*", "///", "//!") if mark)
    at = first - 1
    while at >= 0 and lines[at].lstrip().startswith(_ATTRIBUTES):
        at -= 1
    last = at
    while at >= 0 and last - at < 60 and lines[at].lstrip().startswith(marks):
        at -= 1
    if at == last:
        return None
    return _first_sentence("\n".join(_COMMENT_MARKS.sub("", line) for line in lines[at + 1 : last + 1]))


def _first_sentence(text: str) -> str | None:
    """A docstring's first paragraph on one line, cut at its first full stop."""
    paragraph = " ".join(re.split(r"\n\s*\n", text.strip(" \t\r\n\"'"), maxsplit=1)[0].split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]
    if len(sentence) > _DOC_CHARS:
        sentence = sentence[: _DOC_CHARS - 1].rsplit(" ", 1)[0] + "…"
    return sentence or None
