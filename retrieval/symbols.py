"""An Import in, the definitions it binds out: follows modules, aliases and re-exports.

Ignores which of them a cursor needs; that is `search`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrieval import modules
from retrieval.entries import Known
from retrieval.index import Index
from retrieval.outlines import Import

_HOPS = 6  # re-exports of re-exports; more than this is a loop


@dataclass(frozen=True, slots=True)
class Binding:
    """What an import's alias stands for: a definition, or (`known` None) a whole module at `path`."""

    alias: str
    path: str
    known: Known | None


def bindings(one: Import, path: str, language: str, index: Index) -> tuple[Binding, ...]:
    """What an import in the file `path` binds; empty when it leads out of the workspace."""
    target = resolve(one.module, path, language, index)
    if one.name is None:
        return (Binding(one.alias, target, None),) if target else ()
    if one.name == "*":
        return tuple(Binding(k.definition.name, k.path, k) for k in exported(target, index)) if target else ()
    if target:
        known = lookup(target, one.name, index)
        if known:
            return tuple(Binding(one.alias, k.path, k) for k in known)
    deeper = modules.submodule(one.module, one.name, language)
    inner = resolve(deeper, path, language, index) if deeper else None
    return (Binding(one.alias, inner, None),) if inner else ()


def resolve(module: str, path: str, language: str, index: Index) -> str | None:
    """The workspace file that a module name means in the file `path`, or None."""
    if not module:
        return path
    return next((one for one in modules.candidates(module, path, language) if one != path and index.has(one)), None)


def lookup(path: str, name: str, index: Index, hops: int = _HOPS) -> tuple[Known, ...]:
    """The top-level definitions that `name` means in a file, through its re-exports."""
    here = tuple(k for k in index.definitions(path) if k.definition.name == name and k.definition.parent is None)
    if here or hops == 0:
        return here
    language = index.language(path) or ""
    for one in index.imports(path):
        if one.alias == name and one.name not in (None, "*"):
            target = resolve(one.module, path, language, index)
            found = lookup(target, one.name or name, index, hops - 1) if target else ()
            if found:
                return found
    for one in index.imports(path):
        if one.name == "*" and one.alias == "*":
            target = resolve(one.module, path, language, index)
            found = lookup(target, name, index, hops - 1) if target else ()
            if found:
                return found
    return ()


def exported(path: str, index: Index, hops: int = 2) -> tuple[Known, ...]:
    """Every top-level definition that a file offers to `import *`."""
    here = tuple(
        k for k in index.definitions(path) if k.definition.parent is None and not k.definition.name.startswith("_")
    )
    if hops == 0:
        return here
    language = index.language(path) or ""
    for one in index.imports(path):
        target = resolve(one.module, path, language, index) if one.name == "*" and one.alias == "*" else None
        if target:
            here += exported(target, index, hops - 1)
    return here
