"""A Definition and its file's other definitions in, the text that stands for it in a prompt out.

Signature, docstring line and members: what someone who calls it needs to know. Training and
serving both take the text from here, so the model meets in use what it saw in training.
Ignores other files, and everything inside bodies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from retrieval.languages import Language
from retrieval.syntax.outlines import CONTAINERS, Definition

MAX_CHARS = 1200
MAX_MEMBERS = 24
_SPOKEN_DUNDERS = frozenset({"__init__", "__new__", "__call__", "__getitem__", "__enter__", "__aenter__", "__iter__"})


def text(definition: Definition, others: Sequence[Definition], language: Language, wanted: Collection[str] = ()) -> str:
    """The definition's head, its docstring line and its members' heads, a line each; ends with a newline.

    Of a container's members the `wanted` names come before the rest when not all have room, and
    private ones come last: it lists at most MAX_MEMBERS in MAX_CHARS characters.
    """
    head = _head(definition, language)
    if definition.kind not in CONTAINERS:
        return "\n".join(head) + "\n"
    room = MAX_CHARS - sum(len(line) + 1 for line in head)
    kept: list[tuple[int, str]] = []
    by_worth = sorted(
        _members(definition, others), key=lambda one: (one[1].name not in wanted, _is_private(one[1]), one[0])
    )
    for rank, member in by_worth[:MAX_MEMBERS]:
        line = "    " + member.signature
        room -= len(line) + 1
        if room < 0:
            break
        kept.append((rank, line))
    return "\n".join([*head, *(line for _, line in sorted(kept))]) + "\n"


def _head(definition: Definition, language: Language) -> list[str]:
    if definition.doc is None:
        return [definition.signature]
    if language.name == "python":
        return [definition.signature, f'    """{definition.doc}"""']
    opening, closing = (
        (language.line_comment + " ", "") if language.line_comment else (language.block_comment or ("", ""))
    )
    return [f"{opening}{definition.doc}{closing}", definition.signature]


def _members(definition: Definition, others: Sequence[Definition]) -> list[tuple[int, Definition]]:
    """Members in source order, each name at most twice (an overload says something, ten say no more)."""
    found: list[tuple[int, Definition]] = []
    seen: dict[str, int] = {}
    for rank, member in enumerate(others):
        if member.parent != definition.path or member.local or member.kind == "impl":
            continue
        if member.name.startswith("__") and member.name.endswith("__") and member.name not in _SPOKEN_DUNDERS:
            continue
        for key in (member.name, "\n" + member.signature):
            seen[key] = seen.get(key, 0) + 1
        if seen["\n" + member.signature] == 1 and seen[member.name] <= (1 if member.kind == "field" else 2):
            found.append((rank, member))
    return found


def _is_private(member: Definition) -> bool:
    if member.name in _SPOKEN_DUNDERS:
        return False
    return member.name.startswith(("_", "#")) or member.signature.startswith(("private ", "protected "))
