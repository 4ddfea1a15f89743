"""An Import in, the definitions it binds out: follows modules, aliases and re-exports.

Ignores which of them a cursor needs; that is `search`'s business.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from retrieval.index.entries import IndexedDefinition
from retrieval.index.index import Index
from retrieval.resolve import modules
from retrieval.syntax.outlines import Import

_HOPS = 6  # re-exports of re-exports; more than this is a loop
_STAR_HOPS = 3  # includes of includes
OPEN = frozenset({"module", "namespace"})  # what these hold is as good as top-level


@dataclass(frozen=True, slots=True)
class Binding:
    """What an import's alias stands for: a definition, or (`known` None) a whole module, in these files."""

    alias: str
    paths: tuple[str, ...]
    known: IndexedDefinition | None


def bindings(
    one: Import, path: str, language: str, index: Index, wanted: Container[str] | None = None
) -> tuple[Binding, ...]:
    """What an import in the file `path` binds; empty when it leads out of the workspace.

    Of an import of everything, only the `wanted` names (None: all of them).
    """
    paths = index.files(one.module, path, language)
    if one.name is None:
        return (Binding(one.alias, paths, None),) if paths else ()
    if one.name == "*":
        return tuple(Binding(k.definition.name, (k.path,), k) for k in exported(paths, index, wanted))
    known = lookup(paths, one.name, index)
    if known:
        return tuple(Binding(one.alias, (k.path,), k) for k in known)
    deeper = modules.submodule(one.module, one.name, language)
    inner = index.files(deeper, path, language) if deeper else ()
    return (Binding(one.alias, inner, None),) if inner and inner != paths else ()


def lookup(
    paths: tuple[str, ...], name: str, index: Index, hops: int = _HOPS, seen: set[tuple[str, str]] | None = None
) -> tuple[IndexedDefinition, ...]:
    """The definitions that `name` means in any of the files: top-level, re-exported, or else anywhere inside.

    seen: what was asked on the way here; a file is asked for a name once.
    """
    seen = set() if seen is None else seen
    paths = tuple(path for path in paths if (path, name) not in seen)
    seen.update((path, name) for path in paths)
    inside = [known for path in paths for known in index.defined(path, name)]
    outer = tuple(known for known in inside if known.definition.parent is None)
    if outer or hops == 0:
        return outer
    for path in paths:
        found = _re_exported(path, name, index, hops - 1, seen)
        if found:
            return found
    return tuple(inside[:4])


def exported(
    paths: tuple[str, ...], index: Index, wanted: Container[str] | None, hops: int = _STAR_HOPS
) -> tuple[IndexedDefinition, ...]:
    """What the files offer to an import of everything, through what they import of everything in turn."""
    found: dict[tuple[str, str], IndexedDefinition] = {}
    seen: set[str] = set()
    while paths and hops:
        hops -= 1
        deeper: list[str] = []
        for path in paths:
            seen.add(path)
            for known in _offered(path, index):
                if wanted is None or known.definition.name in wanted:
                    found.setdefault((known.path, known.definition.path), known)
            language = index.language(path) or ""
            for one in index.imports(path):
                if one.name == "*" and one.alias == "*":
                    deeper.extend(index.files(one.module, path, language))
        paths = tuple(dict.fromkeys(path for path in deeper if path not in seen))
    return tuple(found.values())


def _offered(path: str, index: Index) -> tuple[IndexedDefinition, ...]:
    known = index.definitions(path)
    open_ones = {k.definition.path for k in known if k.definition.kind in OPEN}
    return tuple(
        k
        for k in known
        if (k.definition.parent is None or k.definition.parent in open_ones) and not k.definition.name.startswith("_")
    )


def _re_exported(
    path: str, name: str, index: Index, hops: int, seen: set[tuple[str, str]]
) -> tuple[IndexedDefinition, ...]:
    language = index.language(path) or ""
    imports = index.imports(path)
    for one in imports:
        if one.alias == name and one.name not in (None, "*"):
            target = index.files(one.module, path, language)
            found = lookup(target, one.name or name, index, hops, seen) if target else ()
            if found:
                return found
    for one in imports:
        if one.name == "*" and one.alias == "*":
            target = index.files(one.module, path, language)
            found = tuple(
                k for k in lookup(target, name, index, min(hops, _STAR_HOPS), seen) if k.definition.parent is None
            )
            if found:
                return found
    return ()
