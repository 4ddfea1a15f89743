"""A project file's path and text in (go.mod, Cargo.toml, package.json, tsconfig.json), what it says of imports out.

Broken project files say nothing. Ignores dependencies: those are not of the workspace.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

_REQUIRED = re.compile(r"^\s*(?:require\s+)?([\w.~-]+\.[\w.~-]+/[\w./~-]+)\s+(v[\w.+-]+)", re.MULTILINE)
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Project:
    """A folder that a project file speaks for ("" is the root).

    file: the project file's name. kind: "go", "cargo", "npm" or "ts". name: the module path, crate
    or package name, if any. entries: files a package's bare name may mean, best first. base and
    paths: tsconfig's baseUrl and paths, or the versions that go.mod requires. extends: a tsconfig
    that this one goes on from.
    """

    kind: str
    folder: str
    name: str | None = None
    file: str = ""
    entries: tuple[str, ...] = ()
    base: str | None = None
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extends: str | None = None


def read(path: str, text: str) -> Project | None:
    """The project that a file describes, or None for any other file and for a broken one."""
    folder, name = posixpath.split(path)
    rule = _RULES.get(name) or (_tsconfig if re.fullmatch(r"[tj]sconfig\.[\w.-]+\.json", name) else None)
    if rule is None:
        return None
    try:
        found = rule(folder, text)
        return None if found is None else replace(found, file=name)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def nearest(projects: Iterable[Project], kind: str, path: str) -> Project | None:
    """The innermost project of a kind that a path lies in."""
    around = (one for one in projects if one.kind == kind and (not one.folder or path.startswith(one.folder + "/")))
    return max(around, key=lambda one: len(one.folder), default=None)


def _go(folder: str, text: str) -> Project | None:
    match = re.search(r"^\s*module\s+\"?([^\s\"]+)", text, re.MULTILINE)
    versions: dict[str, tuple[str, ...]] = {required: (version,) for required, version in _REQUIRED.findall(text)}
    return Project("go", folder, match[1], paths=versions) if match else None


def _cargo(folder: str, text: str) -> Project | None:
    content = tomllib.loads(text)
    name = content.get("package", {}).get("name")
    library = content.get("lib", {}).get("path", "src/lib.rs")
    return Project("cargo", folder, str(name).replace("-", "_"), entries=(str(library),)) if name else None


def _npm(folder: str, text: str) -> Project | None:
    content = json.loads(text)
    name = content.get("name")
    exported = content.get("exports")
    if isinstance(exported, dict):
        exported = exported.get(".", exported)
    entries = [*_strings(content.get("source")), *_strings(content.get("types")), *_strings(exported)]
    entries += [*_strings(content.get("module")), *_strings(content.get("main")), "src/index", "index", "lib/index"]
    return Project("npm", folder, str(name), entries=tuple(dict.fromkeys(entries))) if name else None


def _tsconfig(folder: str, text: str) -> Project:
    content = json.loads(_plain_json(text))
    options = content.get("compilerOptions", {})
    base = options.get("baseUrl")
    paths = {str(key): tuple(_strings(value)) for key, value in options.get("paths", {}).items()}
    extends = next(iter(_strings(content.get("extends"))), None)
    return Project("ts", folder, base=None if base is None else str(base), paths=paths, extends=extends)


def _plain_json(text: str) -> str:
    """JSON without comments and trailing commas."""
    bare = _STRING_OR_COMMENT.sub(lambda match: match[0] if match[0].startswith('"') else " ", text)
    return re.sub(r",(\s*[}\]])", r"\1", bare)


def _strings(value: Any) -> list[str]:
    """Every string in a value, dictionaries and lists gone through in order."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]


_RULES: dict[str, Callable[[str, str], Project | None]] = {
    "go.mod": _go,
    "Cargo.toml": _cargo,
    "package.json": _npm,
    "tsconfig.json": _tsconfig,
    "jsconfig.json": _tsconfig,
}
