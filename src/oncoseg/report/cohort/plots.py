"""Plots of a cohort as inline SVG: how a measure spreads, best changes, and changes over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from oncoseg.blocks.axes import decades, framed, ticks
from oncoseg.case import Array
from oncoseg.report.cohort.courses import Course

WIDE, LEFT, ROW, FOOT = 520, 118, 46, 30
BROAD, TALL, TOP = 1000, 260, 16
NAMED = 60  # patients up to which each is named
MOST = 400  # dots or lines drawn in one plot
CLIP = 100.0  # percent, beyond which a rise is cut, and its number written
FALL, RISE = "#0072B2", "#D55E00"
STEADY = "#7d8894"


@dataclass(frozen=True)
class Strip:
    """The values of one measure in one region: `links` to the page of each case, `far` marks."""

    name: str
    colour: str
    values: Sequence[float]
    cases: Sequence[str]
    links: Sequence[str]
    far: Sequence[bool]


def strips(rows: Sequence[Strip], title: str, *, log: bool = False) -> str:
    """A row a region: a dot a case over a box of quartiles and median; far ones are ringed."""
    every = np.concatenate([np.asarray(row.values, dtype=float) for row in rows])
    along, marks = _axis(every, log=log)
    foot = 8 + ROW * len(rows)
    parts = [_tick(along(mark), 4, foot, f"{mark:g}") for mark in marks]
    for place, row in enumerate(rows):
        parts.append(_strip(row, 8 + ROW * (place + 0.5), along))
    return framed(WIDE, foot + FOOT, "".join(parts), title)


def _axis(values: Array, *, log: bool) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies across the plot, and the numbers under it."""
    low, high = float(values.min()), float(values.max())
    if log:
        low, high = math.log10(low), math.log10(high)
        low, high = (low, high) if high - low > 0.3 else (low - 0.15, high + 0.15)
        marks = decades(low, high)
    else:
        marks = ticks(low, high)
        low, high = marks[0], marks[-1]
        if (values == values.round()).all():  # there is no half of a lesion
            marks = [mark for mark in marks if mark == round(mark)]

    def along(value: float) -> float:
        return (
            LEFT
            + 10
            + (WIDE - LEFT - 30) * ((math.log10(value) if log else value) - low) / (high - low)
        )

    return along, marks


def _strip(row: Strip, middle: float, along: Callable[[float], float]) -> str:
    low, half, high = (along(value) for value in np.percentile(row.values, (25, 50, 75)))
    box = (
        f'<rect x="{low:.1f}" y="{middle - 11:.1f}" width="{max(high - low, 0.5):.1f}" height="22" '
        f'fill="{row.colour}" fill-opacity=".16" stroke="{row.colour}"/>'
        f'<path d="M{half:.1f} {middle - 11:.1f}v22" stroke="{row.colour}" stroke-width="2.6"/>'
    )
    label = f'<text class="row" x="0" y="{middle + 4:.1f}">{escape(_short(row.name, 17))}</text>'
    shown = _some(row.values, row.far)
    dots = []
    for count, place in enumerate(shown):
        x, y = along(row.values[place]), middle + 7 * (((count * 0.618034) % 1) * 2 - 1)
        ring = ' class="far"' if row.far[place] else ""
        told = f"<title>{escape(row.cases[place])}: {row.values[place]:.4g}</title>"
        size = 4.2 if row.far[place] else 2.6
        dot = f'<circle{ring} cx="{x:.1f}" cy="{y:.1f}" r="{size}">{told}</circle>'
        dots.append(_linked(dot, row.links[place]))
    return f'{label}{box}<g fill="{row.colour}" fill-opacity=".6">{"".join(dots)}</g>'


def _some(values: Sequence[float], far: Sequence[bool]) -> list[int]:
    """Which of too many are drawn: every far one, and others evenly from least to most."""
    if len(values) <= MOST:
        return list(range(len(values)))
    order = [int(place) for place in np.argsort(values) if not far[place]]
    even = np.linspace(0, len(order) - 1, MOST).round().astype(int)
    return [order[place] for place in even] + [place for place, one in enumerate(far) if one]


def waterfall(courses: Sequence[Course], title: str, lines: Sequence[float] = ()) -> str:
    """A bar a patient: the best change from baseline in percent, from most rise to most fall.

    `lines` are thresholds in percent. A rise beyond 100 % is cut and its number written.
    """
    order = sorted(courses, key=lambda one: (-one.best, one.patient))
    shown = [min(one.best, CLIP) for one in order]
    marks, down = _percent(min(-20.0, *shown, *lines), max(20.0, *shown, *lines))
    step = min(70.0, (BROAD - 64) / len(order))
    foot = 76 if len(order) <= NAMED else 6
    parts = [_level(mark, down, BROAD) for mark in marks]
    parts += [_threshold(line, down, BROAD) for line in lines]
    for place, one in enumerate(order):
        x, end = 58 + step * (place + 0.1), down(shown[place])
        top, size = min(end, down(0)), max(abs(end - down(0)), 1.0)
        told = f"<title>{escape(one.patient)}: {one.best:+.1f} %</title>"
        bar = (
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{size:.1f}" '
            f'fill="{_tint(one.best)}">{told}</rect>'
        )
        middle = x + step * 0.4
        if len(order) <= NAMED:
            turn = f"translate({middle + 4:.1f} {TOP + TALL + 8}) rotate(-90)"
            name = escape(_short(one.patient, 11))
            bar += f'<text class="tick" transform="{turn}">{name}</text>'
        if one.best > CLIP:
            bar += f'<text class="cut" x="{middle:.1f}" y="{end - 4:.1f}">{one.best:.0f}</text>'
        parts.append(_linked(bar, one.link))
    return framed(BROAD, TOP + TALL + foot, "".join(parts), title)


def spider(courses: Sequence[Course], title: str, unit: str, lines: Sequence[float] = ()) -> str:
    """A line a patient: change from baseline in percent over time, `unit` of which is below."""
    some = sorted(courses, key=lambda one: -one.best)
    if len(some) > MOST:
        some = [some[int(place)] for place in np.linspace(0, len(some) - 1, MOST)]
    changes = [change for one in some for _, change in one.points]
    marks, down = _percent(
        min(-20.0, *changes, *lines), max(20.0, *(min(change, CLIP) for change in changes), *lines)
    )
    times = ticks(0.0, max(when for one in some for when, _ in one.points))
    last = times[-1]

    def along(when: float) -> float:
        return 60 + (BROAD - 190) * when / last

    parts = [_level(mark, down, BROAD - 120) for mark in marks]
    parts += [_threshold(line, down, BROAD - 120) for line in lines]
    parts += [_tick(along(mark), TOP, TOP + TALL, f"{mark:g}") for mark in times]
    parts.append(
        f'<text class="name" x="{along(last / 2):.0f}" y="{TOP + TALL + 34}">{unit}</text>'
    )
    parts += [_line(one, along, down) for one in some]
    parts += _ends(some, along, down) if len(some) <= NAMED else []
    return framed(BROAD, TOP + TALL + 40, "".join(parts), title)


def _line(one: Course, along: Callable[[float], float], down: Callable[[float], float]) -> str:
    points = [(along(when), down(min(change, CLIP))) for when, change in one.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    tint = _tint(one.points[-1][1])
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for x, y in points)
    told = f"<title>{escape(one.patient)}: {one.points[-1][1]:+.1f} % at last</title>"
    inside = (
        f'<g fill="{tint}">{told}<path d="M{path}" fill="none" stroke="{tint}" '
        f'stroke-width="1.4" stroke-opacity=".75"/>{dots}</g>'
    )
    return _linked(inside, one.link)


def _ends(
    some: Sequence[Course], along: Callable[[float], float], down: Callable[[float], float]
) -> list[str]:
    """Names of patients at the ends of their lines, where none covers another."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for one in sorted(some, key=lambda one: -abs(one.points[-1][1])):
        when, change = one.points[-1]
        x, y = along(when) + 6, down(min(change, CLIP)) + 4
        if all(abs(y - other) > 11 or abs(x - place) > 70 for place, other in taken):
            taken.append((x, y))
            cut = f" {change:+.0f} %" if change > CLIP else ""
            text = escape(_short(one.patient, 14) + cut)
            parts.append(f'<text class="end" x="{x:.1f}" y="{y:.1f}">{text}</text>')
    return parts


def _percent(low: float, high: float) -> tuple[list[float], Callable[[float], float]]:
    """Round changes between two, and how far down each lies."""
    marks = ticks(low, high)

    def down(change: float) -> float:
        return TOP + TALL * (marks[-1] - change) / (marks[-1] - marks[0])

    return marks, down


def _level(mark: float, down: Callable[[float], float], width: float) -> str:
    kind, signed = ("zero", "0") if mark == 0 else ("grid", f"{mark:+g}")
    y = down(mark)
    return (
        f'<path class="{kind}" d="M56 {y:.1f}H{width - 8:.0f}"/>'
        f'<text class="tick" x="50" y="{y + 4:.1f}">{signed} %</text>'
    )


def _threshold(line: float, down: Callable[[float], float], width: float) -> str:
    return f'<path class="threshold" d="M56 {down(line):.1f}H{width - 8:.0f}"/>'


def _tick(x: float, top: float, foot: float, text: str) -> str:
    return (
        f'<path class="grid" d="M{x:.1f} {top:.1f}V{foot:.1f}"/>'
        f'<text class="name" x="{x:.1f}" y="{foot + 16:.1f}">{escape(text)}</text>'
    )


def _tint(change: float) -> str:
    return FALL if change < 0 else RISE if change > 0 else STEADY


def _linked(inside: str, link: str) -> str:
    return f'<a href="{escape(link)}">{inside}</a>' if link else inside


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
