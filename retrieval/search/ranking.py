"""What is known of a candidate definition in, how likely the code at the cursor needs it out.

A logistic model over a dozen observations. Its weights were fitted on packages that the recall
benchmark is not measured on (docs/log/retrieval.md says which). Ignores texts, budgets and models.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


@dataclass(frozen=True)
class Mention:
    """What speaks for a name, whatever it stands for.

    on_line: 1 for the last name before the cursor on its line, falling towards the line's start.
    is_receiver: whether the cursor stands behind the dot of a value of this type. as_member: the
    share of mentions behind a dot. before, after: lines from the cursor to the nearest mention,
    None without one. mentions: how often the file names it, imports left out. resemblance: how
    much another place of the name resembles the cursor's, above and below, 0 to 1. echo: how much
    the best chunk, and the best line, of other files that mentions the name resembles the cursor's.
    """

    on_line: float
    is_receiver: bool
    as_member: float
    before: int | None
    after: int | None
    mentions: int
    resemblance: tuple[float, float]
    echo: tuple[float, float]

    @cached_property
    def logit(self) -> float:
        """What the name adds to the log-odds of each of its definitions."""
        return math.fsum(map(operator.mul, NAME_WEIGHTS, name_features(self)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a definition of a name.

    is_imported, is_star, is_of_module: the file imports it by name, with everything, or with its
    module. same_package: the file sees it without an import. is_own: the file itself defines the
    name. rivals: how many definitions share the name. closeness: the share of folders that
    definition and cursor have in common.
    """

    mention: Mention
    kind: str
    is_imported: bool = False
    is_star: bool = False
    is_of_module: bool = False
    same_package: bool = False
    is_own: bool = False
    rivals: int = 1
    closeness: float = 1.0


class NameFeatures(NamedTuple):
    """What speaks for a name as numbers, none much larger than 1."""

    as_member: float
    on_line: float
    receiver: float
    near: float
    within: float
    after_near: float
    after_within: float
    mentions: float
    resembles: float
    resembles_below: float
    echo: float
    echo_line: float


class Features(NamedTuple):
    """What speaks for one definition of a name as numbers, none much larger than 1."""

    bias: float
    imported: float
    unused: float
    star: float
    of_module: float
    same_package: float
    own: float
    rivals: float
    closeness: float
    is_class: float
    is_function: float
    is_member: float
    is_value: float


# Fitted by logistic regression (docs/log/retrieval.md says on what), but for four by hand, of which whole hidden
# lines of Python say nothing: star, same_package, on_line and receiver.
NAME_WEIGHTS = NameFeatures(
    as_member=0.29,
    on_line=3.0,
    receiver=3.5,
    near=-0.07,
    within=1.32,
    after_near=0.35,
    after_within=1.02,
    mentions=0.06,
    resembles=1.95,
    resembles_below=2.65,
    echo=1.02,
    echo_line=1.75,
)
WEIGHTS = Features(
    bias=-7.02,
    imported=1.75,
    unused=3.36,
    star=0.8,
    of_module=0.34,
    same_package=0.8,
    own=-1.99,
    rivals=-2.00,
    closeness=0.14,
    is_class=-0.04,
    is_function=0.05,
    is_member=0.28,
    is_value=-0.33,
)


def name_features(of: Mention) -> NameFeatures:
    """The numbers of a name."""
    return NameFeatures(
        as_member=min(1.0, of.as_member),
        on_line=of.on_line,
        receiver=float(of.is_receiver),
        near=_fade(of.before, 12),
        within=_fade(of.before, 60),
        after_near=_fade(of.after, 8),
        after_within=_fade(of.after, 60),
        mentions=math.log1p(of.mentions) / 3,
        resembles=of.resemblance[0],
        resembles_below=of.resemblance[1],
        echo=of.echo[0],
        echo_line=of.echo[1],
    )


def features(of: Evidence) -> Features:
    """The numbers of a definition."""
    return Features(
        bias=1.0,
        imported=float(of.is_imported),
        unused=float(of.is_imported and of.mention.mentions == 0),
        star=float(of.is_star),
        of_module=float(of.is_of_module),
        same_package=float(of.same_package),
        own=float(of.is_own),
        rivals=math.log(max(1, of.rivals)) / 2,
        closeness=of.closeness,
        is_class=float(of.kind in _CLASSES),
        is_function=float(of.kind in ("function", "macro")),
        is_member=float(of.kind == "method"),
        is_value=float(of.kind in ("field", "constant", "type")),
    )


def likelihood(of: Evidence) -> float:
    """How likely it is that the code at the cursor needs the definition, 0 to 1."""
    logit = of.mention.logit + sum(map(operator.mul, WEIGHTS, features(of)))
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
