"""Source text and its Language in, an Outline out: definitions, imports, references; and syntax checks.

One pass of tree-sitter with the language's own query (queries/*.scm). Broken code is data: the
outline holds what could be read. A text without a query of ours gets an empty outline. Parsing
holds Python's interpreter lock only for some milliseconds at a time and stops at a time limit.
Ignores other files: what an import means is `symbols`' business.

Captures in a query: `@definition.<kind>` with `@name`, and optionally `@body` (left out of the
signature), `@doc`, `@receiver` (the container it belongs to, when not around it); `@import` with
`@module`, `@imported`, `@alias`, `@star`; `@reexport` on an import that hands the name on;
`@reference`; `@package`.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import GrammarError, ParseTimeout
from retrieval.languages import Language

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node, Parser, Query, Tree

_CONTAINERS = "class interface struct trait enum module namespace impl union object"
CONTAINERS = frozenset(_CONTAINERS.split())
_LOCAL_TO = frozenset({"function", "method", "macro"})
_VALUES = frozenset({"field", "constant"})
_SIGNATURE_CHARS = 240
_VALUE_CHARS = 80
_DOC_CHARS = 100
_COMMENT_MARKS = re.compile(r"^\s*(?:/\*+|\*+/|\*|//[/!]?|#+|--+)\s?|\*+/\s*$")


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


def parse(text: str, language: Language, seconds: float = 2.0) -> Tree | None:
    """The syntax tree, or None for a language without a grammar. Raises ParseTimeout, GrammarError.

    The lock is handed on every few milliseconds: a source given in slices calls back into Python.
    """
    if language.grammar is None:
        return None
    source = text.encode("utf-8", errors="replace")
    stop = time.monotonic() + seconds
    parser = _parser(language.name, language.grammar)
    try:
        return parser.parse(
            lambda offset, _: source[offset : offset + 32_768], progress_callback=lambda *_: time.monotonic() > stop
        )
    except ValueError:
        parser.reset()
        raise ParseTimeout(f"parsing {len(source)} bytes of {language.name} took more than {seconds:g} s") from None


def outline(text: str, language: Language, seconds: float = 2.0) -> Outline:
    """What the text defines, imports and mentions. Raises ParseTimeout, GrammarError."""
    if language.query is None or language.grammar is None:
        return EMPTY
    tree = parse(text, language, seconds)
    assert tree is not None
    source = text.encode("utf-8", errors="replace")
    lines = text.split("\n")
    found, imports, references = [], [], []
    package = None
    for captures in _matches(tree.root_node, language):
        kinds = [key for key in captures if key.startswith("definition.")]
        if kinds and "name" in captures:
            found.append((captures[kinds[0]][0], kinds[0][11:], captures))
        elif "import" in captures:
            imports.append(_import(captures, source))
        elif "reference" in captures:
            references.append(_text(captures["reference"][0], source))
        elif "package" in captures:
            package = _text(captures["package"][0], source)
    definitions = _definitions(found, source, lines, language)
    return Outline(definitions, tuple(imports), tuple(dict.fromkeys(references)), package)


def enclosing(outline: Outline, line: int) -> tuple[Definition, ...]:
    """The definitions around a line, outermost first."""
    around = [d for d in outline.definitions if d.first <= line <= d.last and d.kind not in _VALUES]
    return tuple(sorted(around, key=lambda d: (d.first, -d.last)))


def block(text: str, offset: int, language: Language, seconds: float = 0.05) -> tuple[int, int] | None:
    """Offsets [start, end) of the smallest multi-line syntax node around an offset; None without a grammar."""
    tree = parse(text, language, seconds)
    if tree is None:
        return None
    at = len(text[:offset].encode("utf-8", errors="replace"))
    node: Node | None = tree.root_node.descendant_for_byte_range(at, at)
    while node is not None and node.start_point[0] == node.end_point[0]:
        node = node.parent
    if node is None:
        return None
    source = text.encode("utf-8", errors="replace")
    start = len(source[: node.start_byte].decode("utf-8", errors="replace"))
    return start, start + len(source[node.start_byte : node.end_byte].decode("utf-8", errors="replace"))


def errors(text: str, language: Language, seconds: float = 0.05) -> int:
    """How many error and missing nodes the text's tree holds; 0 without a grammar. Raises ParseTimeout."""
    tree = parse(text, language, seconds)
    return 0 if tree is None else sum(1 for _ in _errors(tree.root_node))


def adds_error(prefix: str, middle: str, suffix: str, language: Language, seconds: float = 0.05) -> bool:
    """Whether putting `middle` between the two makes the code worse than it was without it.

    Give it the lines around the cursor, not a whole large file. Raises ParseTimeout.
    """
    after = errors(prefix + middle + suffix, language, seconds)
    return after > 0 and after > errors(prefix + suffix, language, seconds)


def ready(language: Language) -> None:
    """Loads grammar and query, so that the first use does not wait. Raises GrammarError."""
    if language.grammar is not None:
        _parser(language.name, language.grammar)
    if language.query is not None:
        _query(language)


def _matches(root: Node, language: Language) -> Iterable[dict[str, list[Node]]]:
    from tree_sitter import QueryCursor

    return (captures for _, captures in QueryCursor(_query(language)).matches(root))


@cache
def _grammar(module: str, function: str) -> Grammar:
    from tree_sitter import Language as Grammar

    try:
        return Grammar(getattr(importlib.import_module(module), function)())
    except (ImportError, AttributeError, ValueError) as error:
        wheel = module.replace("_", "-")
        raise GrammarError(
            f"the grammar {module} cannot be used ({error}); reinstall it: pip install {wheel}"
        ) from error


@cache
def _parser(_: str, grammar: tuple[str, str]) -> Parser:
    from tree_sitter import Parser

    return Parser(_grammar(*grammar))


@cache
def _query(language: Language) -> Query:
    from tree_sitter import Query, QueryError

    assert language.grammar is not None
    path = Path(__file__).with_name("queries") / f"{language.query}.scm"
    source = path.read_text("utf-8")
    if language.query == "typescript":
        source = path.with_name("javascript.scm").read_text("utf-8") + source
    try:
        return Query(_grammar(*language.grammar), source)
    except QueryError as error:
        raise GrammarError(f"{path.name} does not fit the installed {language.name} grammar: {error}") from error


def _text(node: Node, source: bytes) -> str:
    # node.text would call back into the parse's reader: ten times slower.
    return source[node.start_byte : node.end_byte].decode("utf-8", errors="replace")


def _errors(node: Node) -> Iterable[Node]:
    if node.is_error or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from _errors(child)


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


def _definitions(
    found: list[tuple[Node, str, dict[str, list[Node]]]], source: bytes, lines: list[str], language: Language
) -> tuple[Definition, ...]:
    """Definitions with parents, from matches in any order: nesting is read off the byte ranges."""
    found.sort(key=lambda one: (one[0].start_byte, -one[0].end_byte, one[1] in _VALUES))
    result: list[Definition] = []
    around: list[tuple[int, Definition]] = []  # (end byte, definition), outermost first
    seen: set[tuple[int, str]] = set()
    for node, kind, captures in found:
        name = _text(captures["name"][-1], source)
        key = (captures["name"][-1].start_byte, name)
        if key in seen:
            continue
        seen.add(key)
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        holder = around[-1][1] if around else None
        definition = _definition(name, kind, node, captures, holder, source, lines, language)
        if definition is None:
            continue
        result.append(definition)
        if kind in CONTAINERS or kind in _LOCAL_TO:
            around.append((node.end_byte, definition))
    return tuple(result)


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
        parent = _text(captures["receiver"][0], source)
    if kind == "function" and holder is not None and holder.kind in CONTAINERS - {"module", "namespace"}:
        kind = "method"
    first, last = node.start_point[0], node.end_point[0]
    if kind in _VALUES or (holder is not None and holder.first == first):
        doc = None
    elif "doc" in captures:
        doc = _first_sentence(_text(captures["doc"][0], source))
    else:
        doc = _comment_above(lines, first, language)
    signature = _signature(_head(node, captures.get("body"), source), kind, lines, first)
    return Definition(name, kind, parent, first, last, signature, doc, is_local)


def _head(node: Node, body: list[Node] | None, source: bytes) -> str:
    """The node's text up to its body."""
    end = body[0].start_byte if body else node.end_byte
    return source[node.start_byte : end].decode("utf-8", errors="replace")


def _signature(head: str, kind: str, lines: list[str], first: int) -> str:
    """The definition's head on one line, decorators before it."""
    text = " ".join(head[: 4 * _SIGNATURE_CHARS].split())
    if kind in _VALUES:
        text = text.removesuffix("=").rstrip()
        return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1].rstrip() + "…"
    text = re.sub(r"\s*[{;]$", "", text)
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
    while at >= 0 and lines[at].lstrip().startswith("@"):
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
