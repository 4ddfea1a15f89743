"""QueryContext and an Index in, the definitions that the code there may need out, with what speaks for each.

Three sources: what the file imports, what bears a name that the file mentions, and what the file
itself defines outside the window. Ignores how much any of them is worth.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from retrieval.index.entries import IndexedDefinition
from retrieval.index.index import Index
from retrieval.resolve import modules
from retrieval.search import query_context, symbols
from retrieval.search.query_context import QueryContext
from retrieval.search.ranking import Evidence, Mention
from retrieval.search.symbols import Binding

MOST_RIVALS = 12  # a name with more definitions says little
SHORTEST = 2
ECHOES = 12  # similar chunks of other files
# similar: a name in code like the cursor's; usage, edit and code are stretches of lines, not definitions
Source = Literal["import", "name", "file", "similar", "usage", "edit", "code"]
_FAMILIES = {"javascript": "js", "typescript": "js", "tsx": "js", "vue": "js", "svelte": "js", "c": "c", "cpp": "c"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A definition that may be needed, under the name by which the file knows it."""

    known: IndexedDefinition
    name: str
    source: Source
    evidence: Evidence


def find(here: QueryContext, index: Index) -> tuple[Candidate, ...]:
    """Every candidate, each definition once."""
    sight = _Sight(here, index, _echoes(here, index))
    found: dict[tuple[str, str], Candidate] = {}
    for candidate in (*_from_imports(sight), *_from_names(sight), *_from_file(sight)):
        if candidate.known.definition.kind not in symbols.OPEN:  # what a module holds says more than the module
            found.setdefault((candidate.known.path, candidate.known.definition.path), candidate)
    return tuple(found.values())


def family(language: str) -> str:
    """Languages whose files use each other's definitions share a family."""
    return _FAMILIES.get(language, language)


@dataclass(frozen=True, slots=True)
class _File:
    """closeness: see `_closeness`; same_package: the cursor's file sees it without an import, being in its folder and
    a language where that is enough; is_akin: another file, whose definitions the cursor's language can use.
    """

    closeness: float
    same_package: bool
    is_akin: bool


@dataclass(frozen=True, slots=True)
class _Sight:
    """What evidence is read from. echoes: see `_echoes`; mentions, files: what was found of a name and a file, kept."""

    here: QueryContext
    index: Index
    echoes: dict[str, tuple[float, float]]
    mentions: dict[str, Mention] = field(default_factory=dict)
    files: dict[str, _File] = field(default_factory=dict)

    def file(self, path: str) -> _File:
        """What speaks for a file's definitions."""
        found = self.files.get(path)
        if found is None:
            here, name = self.here.path, self.here.language.name
            found = self.files[path] = _File(
                closeness=_closeness(path, here),
                same_package=name in modules.FOLDER_IS_PACKAGE and posixpath.dirname(path) == posixpath.dirname(here),
                is_akin=path != here and family(self.index.language(path) or "") == family(name),
            )
        return found

    def mention(self, name: str) -> Mention:
        """What speaks for a name."""
        found = self.mentions.get(name)
        if found is None:
            here = self.here
            count = len(here.places.get(name, ()))
            found = self.mentions[name] = Mention(
                on_line=here.on_line(name),
                is_receiver=name in here.receiver,
                as_member=here.members.get(name, 0) / max(1, count),
                before=here.before(name),
                after=here.after(name),
                mentions=count,
                resemblance=here.resemblance(name),
                echo=self.echoes.get(name, (0.0, 0.0)),
            )
        return found


def _from_imports(sight: _Sight) -> Iterator[Candidate]:
    here, index = sight.here, sight.index
    for one in here.outline.imports:
        is_star = one.name == "*"
        for bound in symbols.bindings(one, here.path, here.language.name, index, here.places):
            if bound.known is not None:
                evidence = _evidence(bound.known, bound.alias, sight, is_imported=not is_star, is_star=is_star)
                yield Candidate(bound.known, bound.alias, "import", evidence)
            else:
                yield from _of_module(bound, sight)


def _of_module(bound: Binding, sight: _Sight) -> Iterator[Candidate]:
    """The definitions of a module bound as a whole that the text names behind its alias."""
    used = re.findall(rf"\b{re.escape(bound.alias)}(?:\.|::|->)(\w+)", sight.here.text)
    for name in dict.fromkeys(used):
        for found in symbols.lookup(bound.paths, name, sight.index):
            yield Candidate(found, name, "import", _evidence(found, name, sight, is_of_module=True))


def _from_names(sight: _Sight) -> Iterator[Candidate]:
    here, index = sight.here, sight.index
    own = {definition.name for definition in here.outline.definitions}
    names = [name for name in (*here.places, *sight.echoes) if len(name) >= SHORTEST]
    for name, found in index.named(names, MOST_RIVALS).items():
        others = [known for known in found if sight.file(known.path).is_akin]
        source: Source = "name" if name in here.places else "similar"
        for known in others:
            evidence = _evidence(known, name, sight, rivals=len(others), is_own=name in own)
            yield Candidate(known, name, source, evidence)


def _from_file(sight: _Sight) -> Iterator[Candidate]:
    """Definitions of the file itself that the window does not show."""
    here = sight.here
    if here.shown is None:
        return
    first, last = here.shown
    for one in here.outline.definitions:
        if one.name in here.places and not one.local and not (first <= one.first and one.last <= last):
            known = IndexedDefinition(here.path, one)
            yield Candidate(known, one.name, "file", _evidence(known, one.name, sight, same_package=True))


def _echoes(here: QueryContext, index: Index) -> dict[str, tuple[float, float]]:
    """Names in other files' code that resembles the code at the cursor: how much the chunk does, and the line."""
    found: dict[str, tuple[float, float]] = {}
    possible = sum(sorted(here.nearby.values())[-8:]) * 8 or 1.0
    for one in index.mentioning(here.nearby, ECHOES, here.path):
        chunk = min(1.0, one.score / possible)
        rows = [query_context.NAME.findall(row) for row in one.chunk.text.split("\n")]
        places: dict[str, list[int]] = {}
        for number, names in enumerate(rows):
            for name in dict.fromkeys(names):
                places.setdefault(name, []).append(number)
        lines = query_context.likeness(rows, places, here.wanted, -1)
        for name, numbers in places.items():
            line = max(lines[number] for number in numbers)
            before = found.get(name, (0.0, 0.0))
            found[name] = max(before[0], chunk), max(before[1], line)
    return found


def _evidence(
    known: IndexedDefinition,
    name: str,
    sight: _Sight,
    *,
    is_imported: bool = False,
    is_star: bool = False,
    is_of_module: bool = False,
    same_package: bool = False,
    is_own: bool = False,
    rivals: int = 1,
) -> Evidence:
    file = sight.file(known.path)
    return Evidence(
        mention=sight.mention(name),
        kind=known.definition.kind,
        is_imported=is_imported,
        is_star=is_star,
        is_of_module=is_of_module,
        same_package=same_package or file.same_package,
        is_own=is_own,
        rivals=rivals,
        closeness=file.closeness,
    )


def _closeness(one: str, other: str) -> float:
    """The share of folders that two paths have in common, the root counted as one."""
    folders, others = one.split("/"), other.split("/")
    shared = 1
    for mine, its in zip(folders[:-1], others[:-1], strict=False):
        if mine != its:
            break
        shared += 1
    return shared / max(len(folders), len(others))
