"""Source text and its Language in, a syntax tree out, and what it says of errors.

Parsing holds Python's interpreter lock only for some milliseconds at a time and stops at a time
limit. Ignores what the nodes mean; that is `outlines`' business.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import GrammarError, ParseTimeout
from retrieval.languages import Language

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node, Parser, Query, Tree

WIDEST = 10_000  # children of an error: 0.1 s
_BASES = {"typescript": "javascript", "cpp": "c"}  # a query that goes on from another


def parse(text: str, language: Language, seconds: float = 2.0) -> Tree | None:
    """The syntax tree, or None for a language without a grammar. Raises ParseTimeout, GrammarError.

    seconds: of work, whatever else the machine does. The lock is handed on every few milliseconds: a source given in
    slices calls back into Python.
    """
    if language.grammar is None:
        return None
    source = text.encode("utf-8", errors="replace")
    stop = time.thread_time() + seconds
    parser = _parser(language.name, language.grammar)
    try:
        return parser.parse(
            lambda offset, _: source[offset : offset + 32_768], progress_callback=lambda *_: time.thread_time() > stop
        )
    except ValueError:
        parser.reset()
        raise ParseTimeout(f"parsing {len(source)} bytes of {language.name} took more than {seconds:g} s") from None


def errors(text: str, language: Language, seconds: float = 0.05) -> int:
    """How many error and missing nodes the text's tree holds; 0 without a grammar. Raises ParseTimeout."""
    tree = parse(text, language, seconds)
    return 0 if tree is None else sum(1 for _ in errors_under(tree.root_node))


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


def errors_under(node: Node) -> Iterable[Node]:
    """The outermost error and missing nodes."""
    waiting = [node]
    while waiting:  # a tree may be deeper than calls can be
        one = waiting.pop()
        if one.is_error or one.is_missing:
            yield one
        elif one.has_error:
            waiting += reversed(one.children)


def matches(root: Node, language: Language) -> Iterable[dict[str, list[Node]]]:
    """The captures of each match of the language's query. Raises ParseTimeout, GrammarError.

    Matching cannot be stopped (a progress callback crashes it in py-tree-sitter 0.26) and takes time that grows with
    the square of the marks that stand in one error.
    """
    from tree_sitter import QueryCursor

    if any(one.child_count > WIDEST for one in errors_under(root)):
        raise ParseTimeout(f"{root.end_byte} bytes hold too little {language.name} to be read")
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


def new_parser(grammar: tuple[str, str]) -> Parser:
    """A parser that nobody else uses. Raises GrammarError."""
    from tree_sitter import Parser

    return Parser(_grammar(*grammar))


@cache
def _parser(_: str, grammar: tuple[str, str]) -> Parser:
    return new_parser(grammar)


@cache
def _query(language: Language) -> Query:
    from tree_sitter import Query, QueryError

    assert language.grammar is not None
    path = Path(__file__).parents[1] / "queries" / f"{language.query}.scm"
    source = path.read_text("utf-8")
    if language.query in _BASES:
        source = path.with_name(f"{_BASES[language.query]}.scm").read_text("utf-8") + source
    try:
        return Query(_grammar(*language.grammar), source)
    except QueryError as error:
        raise GrammarError(f"{path.name} does not fit the installed {language.name} grammar: {error}") from error
