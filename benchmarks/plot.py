"""Figures in, a picture as SVG out: grouped bars with their intervals. No library: it is text that browsers draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f6fde", "#e07b39", "#8a8f98", "#3a9d6e")

_BAR, _GAP, _GROUP = 11, 2, 12  # pixels: a bar, between bars, between groups
_LABELS, _PLOT, _HEAD, _FOOT = 210, 470, 62, 34
_TEXT = 'font-family="system-ui, sans-serif" fill="#6b7280"'


@dataclass(frozen=True)
class Bar:
    """One value and, where it has one, its interval."""

    value: float
    low: float | None = None
    high: float | None = None


def bars(title: str, groups: Mapping[str, Mapping[str, Bar]], unit: str) -> str:
    """An SVG of horizontal bars. groups: label to the Bar of each series; a series keeps its colour throughout.

    Raises ValueError when there is nothing to show, or there are more series than colours.
    """
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    if not series or len(series) > len(COLOURS):
        raise ValueError(f"{len(series)} series; a plot shows 1 to {len(COLOURS)}")
    colours = dict(zip(series, COLOURS, strict=False))
    most = max((bar.high or bar.value) for group in groups.values() for bar in group.values())
    step = _step(most)
    end = step * (int(most / step) + 1)
    marks, y = [], _HEAD
    for label, group in groups.items():
        height = len(group) * (_BAR + _GAP)
        marks.append(_label(label, y + height / 2))
        for name, bar in group.items():
            marks.append(_bar(bar, y, end, colours[name]))
            y += _BAR + _GAP
        y += _GROUP
    head = [_title(title), *(_key(name, at, colours[name]) for at, name in enumerate(series))]
    body = [*head, *_grid(end, step, y, unit), *marks]
    size = f'width="{_LABELS + _PLOT + 70}" height="{y + _FOOT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n' + "\n".join(body) + "\n</svg>\n"


def _step(most: float) -> float:
    """A round distance of the grid lines, so that there are three to eight."""
    size = 10.0 ** math.floor(math.log10(most / 3)) if most > 0 else 1.0
    return next(size * many for many in (5, 2, 1) if most / (size * many) >= 3) if most > 0 else size


def _x(value: float, end: float) -> float:
    return round(_LABELS + _PLOT * value / end, 1)


def _title(text: str) -> str:
    return f'<text x="8" y="20" font-size="15" font-weight="600" {_TEXT}>{escape(text)}</text>'


def _key(name: str, at: int, colour: str) -> str:
    x = _LABELS + at * 165
    box = f'<rect x="{x}" y="34" width="11" height="11" rx="2" fill="{colour}"/>'
    return f'{box}<text x="{x + 17}" y="44" font-size="12" {_TEXT}>{escape(name)}</text>'


def _label(text: str, y: float) -> str:
    return f'<text x="{_LABELS - 10}" y="{y + 3:.1f}" font-size="12" text-anchor="end" {_TEXT}>{escape(text)}</text>'


def _bar(bar: Bar, y: int, end: float, colour: str) -> str:
    tip, middle = _x(bar.value, end), y + _BAR / 2
    drawn = f'<rect x="{_LABELS}" y="{y}" width="{tip - _LABELS:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>'
    if bar.low is not None and bar.high is not None:
        low, tip = _x(bar.low, end), _x(bar.high, end)
        drawn += f'<path d="M{low} {middle}H{tip}" stroke="#6b7280" stroke-width="1.2"/>'
    figure = f"{bar.value:.2f}" if end < 10 else f"{bar.value:.1f}"
    return f'{drawn}<text x="{tip + 5}" y="{y + _BAR - 1}" font-size="10.5" {_TEXT}>{figure}</text>'


def _grid(end: float, step: float, bottom: int, unit: str) -> Sequence[str]:
    lines, at = [], 0.0
    while at <= end + step / 2:
        x = _x(at, end)
        lines.append(f'<path d="M{x} {_HEAD - 6}V{bottom}" stroke="#9ca3af" stroke-width="0.5" opacity="0.5"/>')
        lines.append(f'<text x="{x}" y="{bottom + 16}" font-size="11" text-anchor="middle" {_TEXT}>{at:g}</text>')
        at += step
    lines.append(f'<text x="{_LABELS + _PLOT + 30}" y="{bottom + 16}" font-size="11" {_TEXT}>{escape(unit)}</text>')
    return lines
