"""What became of each place where a server was asked in, the replay's report out. Measures nothing.

A place is **eligible** when the trigger let the request through, nothing mistyped stands there and the author's line
goes on. A suggestion is **fresh** when it is not the rest, typed through so far, of the one before it. It is **right**
when the author wrote just that. Its moments after the first count for what is on the screen, not as suggestions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

FLAWS = ("marker", "closer", "overlap", "tabs", "width", "ending", "syntax")


class Moment(msgspec.Struct, frozen=True, kw_only=True, tag="moment"):
    """One request. id: of the request; key: what was pressed before it; goes_on: the author's line does, here.

    source, reason: as the server's timing has them. characters, lines: of what was shown, 0 for nothing.
    first_right: the first line of it is right. worth: right and long enough to be taken.
    flicker: the one before it is being typed through, and this is neither the rest of it nor more: "changed" or
    "vanished". flaws: of a fresh one. features: what the gate went by. seen: the code around, where there is something
    wrong with it.
    """

    id: int
    package: str
    language: str
    key: str
    goes_on: bool
    source: str | None = None
    reason: str | None = None
    characters: int = 0
    lines: int = 0
    fresh: bool = False
    right: bool = False
    first_right: bool = False
    taken: bool = False
    flicker: str | None = None
    flaws: tuple[str, ...] = ()
    features: dict[str, float] = msgspec.field(default_factory=dict, name="signs")
    seen: tuple[str, str, str] | None = None

    @property
    def shown(self) -> bool:
        """Something was."""
        return self.characters > 0

    @property
    def eligible(self) -> bool:
        """The server had to decide, and there was something to say."""
        return self.goes_on and self.source not in (None, "skip")


class Through(msgspec.Struct, frozen=True, tag="through"):
    """A suggestion typed to its end, key by key. requests: to the model, from its first moment to its last."""

    requests: int


class Written(msgspec.Struct, frozen=True, tag="written"):
    """One gap written. characters: of it; by_taking: of these; keys: pressed, a taking counted as one.

    keys_alone: pressed by the same person without suggestions. finished: all of it stands there.
    """

    package: str
    language: str
    characters: int
    by_taking: int
    keys: int
    keys_alone: int
    finished: bool


Row = Moment | Through | Written


def read(paths: Sequence[Path]) -> list[Row]:
    """The rows of earlier runs. Raises OSError and ValueError."""
    try:
        return [msgspec.json.decode(line, type=Row) for path in paths for line in path.read_bytes().splitlines()]
    except msgspec.MsgspecError as error:
        raise ValueError(f"{', '.join(map(str, paths))}: not the rows of a replay: {error}") from error


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that is counted, for all languages together and for each."""
    moments = [row for row in rows if isinstance(row, Moment)]
    written = [row for row in rows if isinstance(row, Written)]
    asked = Counter(row.requests for row in rows if isinstance(row, Through))
    return {
        **_summary(moments, written),
        "typed_through": sum(asked.values()),
        "model_requests_for_one_typed_through": {str(count): n for count, n in sorted(asked.items())},
        "languages": {
            language: _summary(
                [one for one in moments if one.language == language],
                [one for one in written if one.language == language],
            )
            for language in sorted({one.language for one in moments})
        },
        "reasons": dict(Counter(str(one.reason) for one in moments if not one.shown).most_common()),
    }


def _summary(moments: Sequence[Moment], written: Sequence[Written]) -> dict[str, Any]:
    eligible = [one for one in moments if one.eligible]
    fresh = [one for one in moments if one.fresh]
    flawed = Counter(flaw for one in fresh for flaw in one.flaws)
    finished = [one for one in written if one.finished]
    return {
        "places": len(moments),
        "eligible": len(eligible),
        "shown_share_of_eligible": _share(sum(one.shown for one in eligible), len(eligible)),
        "right_share_of_shown": _share(sum(one.right for one in eligible), sum(one.shown for one in eligible)),
        "suggestions": len(fresh),
        "right": sum(one.right for one in fresh),
        "first_line_right": sum(one.first_right for one in fresh),
        "taken": sum(one.taken for one in fresh),
        "acceptance": _share(sum(one.taken for one in fresh), len(fresh)),
        "lines_of_a_suggestion": _mean(one.lines for one in fresh),
        "characters": sum(one.characters for one in written),
        "characters_by_taking": _share(sum(one.by_taking for one in written), sum(one.characters for one in written)),
        "keystrokes_saved": _less(sum(one.keys for one in finished), sum(one.keys_alone for one in finished)),
        "flicker": dict(Counter(one.flicker for one in moments if one.flicker is not None)),
        "flaws": {name: flawed[name] for name in FLAWS},
        "syntax_share": _share(flawed["syntax"], len(fresh)),
    }


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    names = ("suggestions", "shown_share_of_eligible", "right_share_of_shown", "acceptance", "characters_by_taking")
    lines = [f"{'':12}" + "".join(f"{name[:22]:>24}" for name in (*names, "keystrokes_saved"))]
    for language, one in [*found["languages"].items(), ("all", found)]:
        lines.append(f"{language:12}" + "".join(f"{one[name]!s:>24}" for name in (*names, "keystrokes_saved")))
    lines += ["", f"{'':12}" + "".join(f"{name:>9}" for name in (*FLAWS, "flicker"))]
    for language, one in [*found["languages"].items(), ("all", found)]:
        cells = [*one["flaws"].values(), sum(one["flicker"].values())]
        lines.append(f"{language:12}" + "".join(f"{cell:>9}" for cell in cells))
    asked = found["model_requests_for_one_typed_through"]
    lines += ["", f"typed through to the end: {found['typed_through']}; requests to the model for one: {asked}"]
    return "\n".join([*lines, "nothing shown because: " + str(found["reasons"])])


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _less(part: float, whole: float) -> float | None:
    return round(1 - part / whole, 4) if whole else None


def _mean(values: Iterable[int]) -> float | None:
    kept = list(values)
    return round(sum(kept) / len(kept), 2) if kept else None
