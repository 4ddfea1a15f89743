"""What is known of a candidate definition in, how likely the code at the cursor needs it out.

A logistic model over a dozen observations. Its weights were fitted on packages that the recall
benchmark is not measured on (docs/LOG.md says which). Ignores texts, budgets and models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a definition.

    is_own: whether the file defines the name itself. in_scope: whether the innermost definition
    around the cursor mentions it before the cursor. as_member: the share of mentions behind a dot.
    on_line: 1 for the last name before the cursor on its line, falling towards the line's start.
    is_receiver: whether the cursor's line ends in a dot behind a value of this type.
    before, after: lines from the cursor to the name's nearest mention, None without one.
    mentions: how often the file names it, imports left out. rivals: how many definitions share
    the name. resemblance: how much another place of the name resembles the cursor's, above and
    below, 0 to 1. echo: how much the best chunk, and the best line, of other files that mentions
    the name resembles the cursor's place. spread: how many chunks mention it.
    closeness: the share of folders that definition and cursor have in common.
    """

    is_imported: bool
    is_star: bool
    is_of_module: bool
    from_imported: bool
    container_near: bool
    same_package: bool
    is_own: bool
    in_scope: bool
    as_member: float
    on_line: float
    is_receiver: bool
    before: int | None
    after: int | None
    mentions: int
    rivals: int
    resemblance: tuple[float, float]
    echo: tuple[float, float]
    spread: int
    closeness: float
    kind: str


class Features(NamedTuple):
    """Evidence as numbers, none much larger than 1."""

    bias: float
    imported: float
    unused: float
    star: float
    of_module: float
    from_imported: float
    container_near: float
    same_package: float
    own: float
    in_scope: float
    as_member: float
    bare_member: float
    on_line: float
    receiver: float
    at_hand: float
    near: float
    within: float
    after_near: float
    after_within: float
    mentions: float
    rivals: float
    resembles: float
    resembles_below: float
    echo: float
    echo_line: float
    spread: float
    closeness: float
    is_class: float
    is_function: float
    is_member: float
    is_value: float


# Fitted by logistic regression (see docs/LOG.md), but for three that Python packages say nothing of
# or that whole hidden lines cannot show: star, same_package and the two of the cursor's own line.
WEIGHTS = Features(
    bias=-7.56,
    imported=1.72,
    unused=3.36,
    star=0.8,
    of_module=0.23,
    from_imported=0.10,
    container_near=0.06,
    same_package=0.8,
    own=-1.93,
    in_scope=0.13,
    as_member=0.36,
    bare_member=0.18,
    on_line=3.0,
    receiver=3.5,
    at_hand=-0.52,
    near=0.39,
    within=1.03,
    after_near=0.40,
    after_within=0.98,
    mentions=-0.13,
    rivals=-2.05,
    resembles=1.98,
    resembles_below=2.69,
    echo=1.01,
    echo_line=1.73,
    spread=0.76,
    closeness=0.28,
    is_class=-0.06,
    is_function=0.11,
    is_member=0.15,
    is_value=-0.33,
)


def features(of: Evidence) -> Features:
    """The numbers of a piece of evidence."""
    return Features(
        bias=1.0,
        imported=float(of.is_imported),
        unused=float(of.is_imported and of.mentions == 0),
        star=float(of.is_star),
        of_module=float(of.is_of_module),
        from_imported=float(of.from_imported),
        container_near=float(of.container_near),
        same_package=float(of.same_package),
        own=float(of.is_own),
        in_scope=float(of.in_scope),
        as_member=min(1.0, of.as_member),
        bare_member=float(of.kind == "method") * (1 - min(1.0, of.as_member)),
        on_line=of.on_line,
        receiver=float(of.is_receiver),
        at_hand=_fade(of.before, 3),
        near=_fade(of.before, 12),
        within=_fade(of.before, 60),
        after_near=_fade(of.after, 8),
        after_within=_fade(of.after, 60),
        mentions=math.log1p(of.mentions) / 3,
        rivals=math.log(max(1, of.rivals)) / 2,
        resembles=of.resemblance[0],
        resembles_below=of.resemblance[1],
        echo=of.echo[0],
        echo_line=of.echo[1],
        spread=math.log1p(of.spread) / 6,
        closeness=of.closeness,
        is_class=float(of.kind in _CLASSES),
        is_function=float(of.kind in ("function", "macro")),
        is_member=float(of.kind == "method"),
        is_value=float(of.kind in ("field", "constant", "type")),
    )


def likelihood(of: Evidence) -> float:
    """How likely it is that the code at the cursor needs the definition, 0 to 1."""
    logit = sum(weight * value for weight, value in zip(WEIGHTS, features(of), strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


def together(likelihoods: list[float]) -> float:
    """The likelihood that at least one of several definitions is needed."""
    none = 1.0
    for one in likelihoods:
        none *= 1 - one
    return 1 - none


def _fade(distance: int | None, reach: float) -> float:
    return 0.0 if distance is None else math.exp(-distance / reach)


_CLASSES = frozenset(["class", "interface", "struct", "trait", "enum", "union", "object"])
