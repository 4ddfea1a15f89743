"""What opens a comment in a language and where it does: `#` in `$#` opens none, nor `//` in an address.

Goes by what stands beside the mark, so that it holds in broken code. Ignores strings.
"""

from __future__ import annotations

from functools import cache

from retrieval import languages

# Where a mark opens a comment only behind white space, a separator or nothing at all
_BOUNDED = frozenset(
    [
        "bash",
        "fish",
        "make",
        "dockerfile",
        "yaml",
        "dotenv",
        "ini",
        "properties",
        "just",
        "nushell",
        "tcl",
        "vim",
        "batch",
        "nix",
        "hcl",
        "cmake",
        "ninja",
        "powershell",
        "gitcommit",
        "restructuredtext",
        "org",
        "asciidoc",
        "toml",
        "graphql",
    ]
)
# Where it does so only as the first thing of a line
_FIRST = frozenset(["properties", "gitcommit", "restructuredtext", "org", "asciidoc", "batch"])
# Where a mark that is part of a longer operator opens none
_OPERATORS = frozenset(["haskell", "elm", "purescript", "agda", "idris", "lean", "dhall"])
_SYMBOLS = frozenset("!#$%&*+./<=>?@\\^|~:-")
_SEPARATORS = frozenset(" \t\n\r;|&()")
_MORE: dict[str, tuple[str, ...]] = {
    "php": ("#",),
    "hcl": ("//",),
    "ini": ("#",),
    "properties": ("!",),
    "assembly": ("#", "//", "@"),
    "batch": ("::", "rem "),
    "sql": ("#",),
    "matlab": ("#",),
    "protobuf": ("#",),
    "jsonnet": ("#",),
    "thrift": ("#",),
}


@cache
def marks(language: str) -> tuple[str, ...]:
    """What opens a comment that the line's end ends; `language` is one of our names."""
    known = languages.LANGUAGES.get(language)
    own = () if known is None or known.line_comment is None else (known.line_comment,)
    return (*own, *_MORE.get(language, ())) if own else ()


def opens(text: str, at: int, mark: str, language: str) -> bool:
    """Whether the mark of a line's comment that stands at a place of a text opens one there."""
    before = text[at - 1 : at]
    if before == "\\" and mark not in ("//", "--"):
        return False
    if mark == "//":
        return before != ":"
    if mark == "#" and (before == "$" or (language == "php" and text[at + 1 : at + 2] == "[")):
        return False
    if language in _FIRST:
        return not text[text.rfind("\n", 0, at) + 1 : at].strip()
    if language == "vim":
        return _opens_in_vim(text, at)
    if mark[0].isalpha() or language in _BOUNDED:
        return not before or before in _SEPARATORS
    if language in _OPERATORS and mark == "--":
        end = at
        while text[end : end + 1] == "-":
            end += 1
        return (not before or before not in _SYMBOLS) and (not text[end:] or text[end] not in _SYMBOLS)
    return not (language == "erlang" and before == "$")


def _opens_in_vim(text: str, at: int) -> bool:
    """A quote opens a comment as the first thing of a line, or behind white space with no other quote behind it."""
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    line = text[at + 1 : len(text) if end < 0 else end]
    above = text[start:at]
    if not above.strip():
        return True
    return (
        above[-1:].isspace()
        and '"' not in line
        and above.count('"') % 2 == 0
        and not above.rstrip().endswith(
            ("=", ",", "(", ".", "[", ":", "echo", "==", "=~", "in", "return", "execute", "call")
        )
    )
