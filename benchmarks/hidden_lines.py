"""A tree's Index in, hidden ends of its files' lines out: what the repository's own code says comes next.

Whole lines, lines from the beginning of a word on, and from inside one; with and without a name that only
another file of the tree defines and that the file has not mentioned so far. Ignores who fills them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval import languages
from retrieval.index import workspace
from retrieval.index.entries import IndexedDefinition
from retrieval.index.index import Index
from retrieval.syntax import signatures, syntax

if TYPE_CHECKING:
    from tree_sitter import Node

NAME = re.compile(r"[^\W\d]\w*")
KINDS = ("whole line", "mid-line", "mid-word")
LONGEST = 160  # characters of a line
SHORTEST = 10  # lines of a file
OF_A_FILE = 8  # gaps that need another file, and as many that do not
_MEMBER = re.compile(r"(?:\.|->|::)([^\W\d]\w{3,})")
_NO_CODE = re.compile("string|comment|import|use_|include|package")


@dataclass(frozen=True)
class HiddenLine:
    """The end of a line, taken out of a file; the file reads `before + rest + after`. line: from 0.

    oracle: path and text of the definition that the rest needs, None where it needs no other file's.
    """

    path: str
    line: int
    kind: str
    before: str
    rest: str
    after: str
    oracle: tuple[str, str] | None


def draw(made: Index, n: int, chance: random.Random, share: float = 0.5) -> list[HiddenLine]:
    """About n gaps, that share of them in need of another file if there are so many; OF_A_FILE of each sort a file."""
    wanted = {True: round(share * n), False: n - round(share * n)}
    paths = [source.path for source in workspace.files(made.root) if languages.of(source.path).full]
    found: dict[bool, list[HiddenLine]] = {True: [], False: []}
    for path in chance.sample(paths, len(paths)):
        text = workspace.read(made.root, path)
        if (
            text is None
            or text.count("\n") < SHORTEST
            or all(len(some) >= wanted[crosses] for crosses, some in found.items())
        ):
            continue
        gaps = list(_in_file(made, path, text, chance))
        for crosses, some in found.items():
            fitting = [gap for gap in gaps if (gap.oracle is not None) is crosses]
            room = min(OF_A_FILE, wanted[crosses] - len(some), len(fitting))
            some += chance.sample(fitting, max(0, room))
    return sorted([*found[True], *found[False]], key=lambda gap: (gap.path, gap.line))


def _in_file(made: Index, path: str, text: str, chance: random.Random) -> Iterator[HiddenLine]:
    """One gap for each line of code, where one can be."""
    lines = text.split("\n")
    elsewhere = _elsewhere(made, path, text)
    seen: set[str] = set()
    for number in _code(path, text):
        names = NAME.findall(lines[number])
        fresh = next((one for one in names if one in elsewhere and one not in seen), None)
        seen.update(names)
        gap = _cut(path, lines, number, fresh, chance)
        if gap is not None and fresh is not None:
            yield HiddenLine(*gap, _definition(elsewhere[fresh], made))
        elif gap is not None:
            yield HiddenLine(*gap, None)


def _code(path: str, text: str) -> list[int]:
    """The lines that begin with code: not an import, a comment or a text over several lines."""
    tree = syntax.parse(text, languages.of(path, text))
    found = []
    for number, line in enumerate(text.split("\n")):
        bare = line.strip()
        if len(bare) < 4 or len(line) > LONGEST or not re.search(r"[A-Za-z]{2}", bare):
            continue
        column = len(line.encode()) - len(line.lstrip().encode())
        node = tree.root_node.descendant_for_point_range((number, column), (number, column + 1)) if tree else None
        if not any(_NO_CODE.search(one.type) for one in _lineage(node)):
            found.append(number)
    return found


def _lineage(node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.parent


def _elsewhere(made: Index, path: str, text: str) -> dict[str, IndexedDefinition]:
    """The names of a file that exactly one other file of the tree defines: imported ones, and those behind a dot."""
    own = {known.definition.name for known in made.definitions(path)}
    usable = {one.alias for one in made.imports(path)} | set(_MEMBER.findall(text))
    found = made.named(sorted(usable - own), 1)
    return {name: known[0] for name, known in found.items() if len(known) == 1 and known[0].path != path}


def _cut(
    path: str, lines: Sequence[str], number: int, fresh: str | None, chance: random.Random
) -> tuple[str, int, str, str, str, str] | None:
    """The end of a line taken out, the fresh name with it: the parts of a HiddenLine, or None."""
    line = lines[number].rstrip()
    cut = indent = len(line) - len(line.lstrip())
    last = line.find(fresh) if fresh is not None else len(line) - 3
    kind = chance.choice(KINDS)
    if kind != "whole line":
        starts = [match.start() for match in NAME.finditer(line) if indent < match.start() <= last]
        if not starts:
            return None
        cut = chance.choice(starts) + (kind == "mid-word")
    if len(line) - cut < 2:
        return None
    before = "".join(one + "\n" for one in lines[:number]) + line[:cut]
    return path, number, kind, before, line[cut:], "\n" + "\n".join(lines[number + 1 :])


def _definition(known: IndexedDefinition, made: Index) -> tuple[str, str]:
    """Path and text of a definition; a member comes under its container's head."""
    one = known.definition
    holder = one.parent or one.path
    around = [inner.definition for inner in made.container(known.path, holder)]
    head = next((inner for inner in around if inner.path == holder), one)
    language = languages.LANGUAGES[made.language(known.path) or "text"]
    return known.path, signatures.text(head, around, language, {one.name})
