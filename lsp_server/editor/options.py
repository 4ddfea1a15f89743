"""What an editor sends as configuration in, Settings out. A bad value is named and its default kept.

Options are wire-shaped: the same object in `initializationOptions`, in `workspace/configuration` (section
`lacuna`) and in `workspace/didChangeConfiguration`. Ignores keys it does not know: editors keep their own there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

SECTION = "lacuna"
Eagerness = Literal["shy", "balanced", "eager", "always"]
INVOKED = 1.5  # a request by hand may wait this much longer than the deadline

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class Settings(msgspec.Struct, frozen=True, rename="camel"):
    """What the server goes by. Resolved once per change of configuration and passed down in slices.

    enabled: answer at all. languages: language id → whether to answer there; those not named are answered.
    comments, strings: answer in them without being asked by hand.
    debounce: milliseconds to wait for another key; None adapts to the typing rhythm and to how long answers take.
    deadline: milliseconds a request is held at most while nothing valid is there.
    max_lines: the most lines one suggestion has.
    eagerness: how likely a suggestion must be to be shown; "always" shows each. By hand each is shown anyway.
    retrieval: look for related code in other files.
    status: send `lacuna/status`. timings: send `lacuna/timing` after each answer.
    journal: keep on this machine what became of suggestions; with "code" also what they said.
    completion: also answer textDocument/completion; None only if the editor has no inline completion.
    """

    enabled: bool = True
    languages: dict[str, bool] = {}
    comments: bool = True
    strings: bool = True
    debounce: Milliseconds | None = None
    deadline: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 1000
    max_lines: Annotated[int, msgspec.Meta(ge=1, le=64)] = 10
    eagerness: Eagerness = "balanced"
    retrieval: bool = True
    status: bool = False
    timings: bool = False
    journal: Literal["off", "on", "code"] = "off"
    completion: bool | None = None

    def allows(self, language: str) -> bool:
        """Whether to answer in documents of this language id."""
        return self.enabled and self.languages.get(language, True)

    def patience(self, invoked: bool) -> float:
        """Seconds a request is held at most."""
        return self.deadline * (INVOKED if invoked else 1.0) / 1000


_TYPES: dict[str, Any] = {field.encode_name: field.type for field in msgspec.structs.fields(Settings)}
_NAMES = {field.encode_name: field.name for field in msgspec.structs.fields(Settings)}
_NESTED = {"retrieval": "enabled"}  # on the wire an object with room for more: {"retrieval": {"enabled": false}}


def resolve(*layers: object, base: Settings | None = None) -> tuple[Settings, tuple[str, ...]]:
    """Settings from layers of options, the last one strongest, and one sentence for each value that is no good.

    A layer that is None, or a value that is null, says nothing.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for layer in layers:
        if layer is None:
            continue
        if not isinstance(layer, Mapping):
            problems.append(f"{SECTION} settings must be an object, not {_shown(layer)}; they are ignored")
            continue
        for name, given in layer.items():
            if name in _TYPES and given is not None:
                _take(name, given, values, problems)
    return msgspec.structs.replace(base or Settings(), **values), tuple(problems)


def _take(name: str, given: object, values: dict[str, Any], problems: list[str]) -> None:
    label, value = f"{SECTION}.{name}", given
    if name in _NESTED and isinstance(given, Mapping):
        label, value = f"{label}.{_NESTED[name]}", given.get(_NESTED[name])
        if value is None:
            return
    try:
        values[_NAMES[name]] = msgspec.convert(value, _TYPES[name])
    except msgspec.ValidationError as error:
        problems.append(f"{label} is {_shown(value)}: {str(error)[:1].lower()}{str(error)[1:]}; the default is used")


def _shown(value: object) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= 40 else text[:39] + "…"
