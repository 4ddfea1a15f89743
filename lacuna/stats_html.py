"""Statistics in, one HTML page out: self-contained, without a script, and without a word to any server.

Pictures are boxes whose sizes are percentages, so that they fit a phone as they fit a wall; numbers stand beside
them in words, for whoever does not see. Colours follow the browser's light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from html import escape
from importlib.resources import files

from lacuna.stats import SEEN, Row, Speed, Statistics, Tally

MOST_DAYS = 60  # columns
MOST_REASONS, MOST_LANGUAGES = 10, 12  # rows

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FATES = (
    ("accepted", "accepted", "taken to its end"),
    ("partly", "partly accepted", "a word or a line of it was taken"),
    ("typed", "typed through", "written by hand, key by key"),
    ("overtyped", "typed over", "something else was written"),
    ("dismissed", "dismissed", "left, or sent away"),
)
_STAGES = {
    "debounce": ("waiting for the next key", "while you type fast"),
    "queue": ("queue", "until the model was free"),
    "layout": ("prompt", "laying it out in tokens"),
    "prefill": ("reading", "what is new in the prompt"),
    "decode": ("writing", "token by token"),
    "outside": ("everything else", "context, mending, transport"),
}
_AFTER = {30: "30 seconds", 120: "2 minutes", 600: "10 minutes"}
_ICON = (
    '<svg viewBox="0 0 64 64" aria-hidden="true"><rect width="64" height="64" rx="15" fill="#14213d"/>'
    '<path d="M23 16h-7v32h7M41 16h7v32h-7" fill="none" stroke="#e5e9f0" stroke-width="4" stroke-linecap="round" '
    'stroke-linejoin="round"/><path d="M27.500 25v15" stroke="#fca311" stroke-width="3" stroke-linecap="round"/>'
    '<circle cx="34" cy="32" r="2" fill="#8d99ae"/><circle cx="40.500" cy="32" r="2" fill="#8d99ae"/></svg>'
)


def render(found: Statistics, today: date, folder: str) -> str:
    """The whole page. folder: where the journal is kept, to be named on it."""
    style = (files("lacuna") / "page.css").read_text(encoding="utf-8")
    main = _sections(found, today) if found.requests or found.total.tally.shown else _empty()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lacuna · statistics</title>
<style>
{style}</style>
</head>
<body>
<header>{_ICON}<div><h1>Lacuna</h1><p>{_period(found, today)}</p></div></header>
<main>
{main}
</main>
<footer>Counted on this machine from <code>{escape(folder)}</code>, and sent nowhere. A suggestion counts as shown
when it stood for {SEEN:g} s or was taken. <code>lacuna purge</code> removes all of it.</footer>
</body>
</html>
"""


def _sections(found: Statistics, today: date) -> str:
    days = _days(found.days, today)
    return "\n".join(
        (
            _tiles(found),
            _card("Day by day", "suggestions shown, and those taken", _columns(days), "wide"),
            _card("What became of them", "of all that were shown", _fates(found.total.tally)),
            _card("Still there", "of the characters you accepted", _survival(found)),
            _card(
                "Where the time goes", "median milliseconds of a suggestion the model wrote", _stages(found.total.speed)
            ),
            _card("Why nothing was shown", "requests without a suggestion", _reasons(found)),
            _card(
                "How fast, day by day", "milliseconds: the median, up to the slowest twentieth", _ranges(days), "wide"
            ),
            _card("By language", "", _languages(found.languages), "wide"),
        )
    )


def _empty() -> str:
    words = (
        "Nothing was kept in this time. Lacuna keeps what becomes of suggestions only if you ask for it: set "
        '<code>journal</code> to <code>"on"</code> in your editor (<code>lacuna.journal</code> in VS Code), write '
        "some code, and look again."
    )
    return _card("Nothing yet", "", _note(words), "wide")


def _tiles(found: Statistics) -> str:
    tally, speed = found.total.tally, found.total.speed
    last = max(found.survival, default=None)
    still = None if last is None else found.survival[last]
    memory = _percent(found.remembered / speed.suggestions) if speed.suggestions else "—"
    tiles = (
        ("Acceptance", _percent(tally.acceptance), f"of {_count(tally.shown)} suggestions shown"),
        ("Characters saved", _count(tally.saved), f"{_count(tally.written)} came from suggestions"),
        (
            "Still there",
            _percent(None if still is None else still.share),
            f"of the code, after {_AFTER.get(last or 0, 'a while')}",
        ),
        ("Time to a suggestion", _ms(speed.median), f"median; {memory} from memory"),
    )
    cells = (f"<div><h2>{name}</h2><b>{value}</b><p>{more}</p></div>" for name, value, more in tiles)
    return f'<section class="tiles">{"".join(cells)}</section>'


def _card(title: str, subtitle: str, body: str, kind: str = "") -> str:
    below = f"<p>{subtitle}</p>" if subtitle else ""
    return f'<section class="card {kind}"><h2>{title}</h2>{below}{body}</section>'


def _columns(days: dict[date, Row | None]) -> str:
    """A column a day: its height the suggestions shown, its lower part those taken."""
    top = _nice(max((row.tally.shown for row in days.values() if row), default=0))
    columns = []
    for day, row in days.items():
        tally = row.tally if row else Tally()
        taken = tally.accepted + tally.partly
        words = f"{_day(day)}: {_count(tally.shown)} shown, {_count(taken)} taken"
        if tally.acceptance is not None:
            words += f" ({_percent(tally.acceptance)}), {_count(tally.saved)} characters saved"
        bars = f'<i style="height:{_share(tally.shown, top)}"><i style="height:{_share(taken, tally.shown)}"></i></i>'
        columns.append(_column(day, words, bars))
    legend = '<p class="legend"><span class="taken">taken</span><span class="shown">shown</span></p>'
    return legend + _plot("columns", top, columns, days)


def _ranges(days: dict[date, Row | None]) -> str:
    """A bar a day from the median to the slowest twentieth."""
    top = _nice(max((row.speed.slowest or 0 for row in days.values() if row), default=0))
    columns = []
    for day, row in days.items():
        speed = row.speed if row else Speed()
        if speed.median is None or speed.slowest is None:
            columns.append(_column(day, f"{_day(day)}: nothing measured", ""))
            continue
        words = f"{_day(day)}: median {_ms(speed.median)}, slowest twentieth {_ms(speed.slowest)}"
        place = f"bottom:{_share(speed.median, top)};height:{_share(speed.slowest - speed.median, top)}"
        columns.append(_column(day, words, f'<i style="{place}"></i>'))
    return _plot("ranges", top, columns, days)


def _plot(kind: str, top: int, columns: list[str], days: dict[date, Row | None]) -> str:
    scale = "".join(f"<span>{_count(value)}</span>" for value in (top, top // 2, 0))
    every = max(1, round(len(days) / 6))
    labels = "".join(f"<span>{_day(day) if at % every == 0 else ''}</span>" for at, day in enumerate(reversed(days)))
    return (
        f'<div class="plot {kind}"><div class="scale">{scale}</div><div class="bars">{"".join(columns)}</div>'
        f'<div class="dates">{labels}</div></div>'
    )


def _column(day: date, words: str, bars: str) -> str:
    weekend = " weekend" if day.weekday() > 4 else ""
    return f'<div class="day{weekend}" tabindex="0" aria-label="{words}">{bars}<em>{words}</em></div>'


def _fates(tally: Tally) -> str:
    if not tally.shown:
        return _note()
    counts = [(name, words, more, getattr(tally, name)) for name, words, more in _FATES]
    parts = "".join(
        f'<i class="{name}" style="width:{_share(count, tally.shown)}"></i>' for name, _, _, count in counts if count
    )
    rows = "".join(
        f'<li><span class="{name}">{words}<small>{more}</small></span><b>{_percent(count / tally.shown)}</b>'
        f"<small>{_count(count)}</small></li>"
        for name, words, more, count in counts
    )
    return f'<div class="stack">{parts}</div><ul class="fates">{rows}</ul>'


def _survival(found: Statistics) -> str:
    if not found.survival:
        return _note("Nothing was accepted yet, or not long enough ago.")
    rings = "".join(
        f'<div class="ring" style="--share:{one.share * 100:.1f}"><b>{_percent(one.share)}</b>'
        f"<p>{_AFTER.get(after, f'{after} s')}<small>{_count(one.looked)} looked at</small></p></div>"
        for after, one in found.survival.items()
    )
    return f'<div class="rings">{rings}</div>'


def _stages(speed: Speed) -> str:
    if not speed.stages:
        return _note()
    most = max(speed.stages.values())
    return _bars(
        (_STAGES[stage][0], _STAGES[stage][1], value / most if most else 0.0, _ms(value))
        for stage, value in speed.stages.items()
    )


def _reasons(found: Statistics) -> str:
    if not found.reasons:
        return _note()
    shown = list(found.reasons.items())[:MOST_REASONS]
    rest = sum(found.reasons.values()) - sum(count for _, count in shown)
    if rest:
        shown.append(("other reasons", rest))
    most = max(count for _, count in shown)
    return _bars(
        (escape(reason), f"{_percent(count / found.requests)} of all requests", count / most, _count(count))
        for reason, count in shown
    )


def _bars(rows: Iterable[tuple[str, str, float, str]]) -> str:
    cells = "".join(
        f"<li><span>{name}<small>{more}</small></span>"
        f'<i><i style="width:{_share(share, 1)}"></i></i><b>{value}</b></li>'
        for name, more, share, value in rows
    )
    return f'<ul class="rows">{cells}</ul>'


def _languages(languages: dict[str, Row]) -> str:
    rows = []
    for name, row in list(languages.items())[:MOST_LANGUAGES]:
        tally, speed = row.tally, row.speed
        meter = f'<i class="meter"><i style="width:{_share(tally.acceptance or 0, 1)}"></i></i>'
        cells = (
            _count(tally.shown),
            meter + _percent(tally.acceptance),
            _count(tally.saved),
            _ms(speed.median),
            _ms(speed.slowest),
            _ms(speed.stages.get("prefill")),
            _ms(speed.stages.get("decode")),
        )
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = ("language", "shown", "acceptance", "characters saved", "median", "slowest 5 %", "reading", "writing")
    head = "".join(f"<th>{one}</th>" for one in heads)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _note(words: str = "Nothing yet.") -> str:
    return f'<p class="note">{words}</p>'


def _days(rows: dict[str, Row], today: date) -> dict[date, Row | None]:
    """Every day from the first to today, those without a line of the journal included; at most MOST_DAYS."""
    first = min((date.fromisoformat(day) for day in rows), default=today)
    count = min((today - first).days + 1, MOST_DAYS)
    days = [today - timedelta(back) for back in reversed(range(max(1, count)))]
    return {day: rows.get(day.isoformat()) for day in days}


def _period(found: Statistics, today: date) -> str:
    if not found.days:
        return "no suggestions yet"
    first = date.fromisoformat(min(found.days))
    return _day(today, year=True) if first == today else f"{_day(first)} – {_day(today, year=True)}"


def _nice(most: float) -> int:
    """The end of a scale: 2, 4, 10, 20, 40, 100 …, none below `most`."""
    step = 2
    while step < most:
        step = step * 5 // 2 if str(step)[0] == "4" else step * 2
    return step


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "0%"


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.0f} %"


def _ms(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.0f} ms" if value >= 9.95 else f"{value:.1f} ms"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _day(day: date, *, year: bool = False) -> str:
    return f"{day.day} {day:%b}" + (f" {day.year}" if year else "")
