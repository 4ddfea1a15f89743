"""The text of an import in, the names it binds out: for languages whose imports are written as paths.

A binding is (module, name, alias): `name` None binds the module itself, "*" all of it. The other
languages' queries capture these parts one by one. Ignores what the modules are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Binding = tuple[str, str | None, str]


def of(text: str, language: str) -> list[Binding]:
    """What an import statement (or its argument) binds."""
    rule = _RULES.get(language)
    return list(rule(text)) if rule else []


def _go(text: str) -> Iterator[Binding]:
    match = re.match(r"\s*(\S+\s+)?[\"`]([^\"`]+)[\"`]", text)
    if match is None:
        return
    alias, module = (match[1] or "").strip(), match[2]
    if alias == ".":
        yield module, "*", "*"
    elif alias != "_":
        parts = [part for part in module.split("/") if not re.fullmatch(r"v\d+", part)]
        yield module, None, alias or parts[-1].removeprefix("go-").removesuffix("-go").rpartition(".")[2]


def _rust(text: str, base: str = "") -> Iterator[Binding]:
    """A use tree: `a::{b, c as d, e::*, self}`."""
    text = text.strip()
    brace = text.find("{")
    if brace >= 0:
        stem = _joined(base, text[:brace].strip().removesuffix("::"), "::")
        for part in _split(text[brace + 1 : text.rindex("}") if "}" in text else len(text)]):
            yield from _rust(part, stem)
        return
    path, _, alias = (part.strip() for part in text.partition(" as "))
    whole = _joined(base, path, "::")
    module, _, name = whole.rpartition("::")
    if name == "self":
        yield module, None, alias or module.rpartition("::")[2]
    elif name == "*":
        yield module, "*", "*"
    elif module:
        yield module, name, alias or name
    elif name:
        yield name, None, alias or name


def _dotted(text: str) -> Iterator[Binding]:
    """Java, Kotlin and Scala: `import a.b.C as D`, `import static a.b.C.m;`, `import a.{b, c => d}`."""
    body = re.sub(r"^\s*import\s+(?:static\s+)?", "", text.strip()).rstrip("; \n")
    for clause in _split(body):
        brace = clause.find("{")
        if brace >= 0:
            module = clause[:brace].strip().rstrip(".")
            for part in _split(clause[brace + 1 :].rstrip("} ")):
                yield _renamed(module, part)
        else:
            stem, _, rest = clause.partition(" as ")
            module, _, name = stem.strip().rpartition(".")
            if module:
                yield _renamed(module, f"{name} as {rest}" if rest else name)


def _renamed(module: str, part: str) -> Binding:
    name, _, alias = (piece.strip() for piece in re.sub(r"\s*=>\s*|\s+as\s+", "\0", part.strip()).partition("\0"))
    if name in ("_", "*", "given"):
        return module, "*", "*"
    return module, name, alias or name


def _php(text: str) -> Iterator[Binding]:
    required = re.match(r"\s*(?:require|include)(?:_once)?\b", text)
    if required:
        literal = re.search(r"['\"]([^'\"]+)['\"]", text)
        if literal:
            yield "./" + literal[1].lstrip("/"), "*", "*"
        return
    body = re.sub(r"^\s*use\s+(?:function\s+|const\s+)?", "", text.strip()).rstrip("; \n")
    brace = body.find("{")
    stem = body[:brace].strip().strip("\\") if brace >= 0 else ""
    for part in _split(body[brace + 1 :].rstrip("} ") if brace >= 0 else body):
        path, _, alias = (piece.strip() for piece in re.sub(r"\s+as\s+", "\0", part).partition("\0"))
        module, _, name = _joined(stem, path.strip("\\"), "\\").rpartition("\\")
        if name:
            yield module, name, alias or name


def _csharp(text: str) -> Iterator[Binding]:
    body = re.sub(r"^\s*(?:global\s+)?using\s+(?:static\s+)?", "", text.strip()).rstrip("; \n")
    alias, equals, target = (part.strip() for part in body.partition("="))
    if equals:
        module, _, name = target.rpartition(".")
        yield module, name, alias
    elif body:
        yield body, "*", "*"


def _split(text: str) -> Iterator[str]:
    """The parts of a list at its outermost commas."""
    depth, start = 0, 0
    for at, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    if text[start:].strip():
        yield text[start:].strip()


def _joined(base: str, path: str, separator: str) -> str:
    return base + separator + path if base and path else base or path


_RULES: dict[str, Callable[[str], Iterator[Binding]]] = {
    "go": _go,
    "rust": _rust,
    "java": _dotted,
    "kotlin": _dotted,
    "scala": _dotted,
    "php": _php,
    "csharp": _csharp,
}
