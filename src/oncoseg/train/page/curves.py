"""Curves of a training over its time as inline SVG, with intervals as bands and what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from oncoseg.blocks.axes import framed, ticks

WIDE, HIGH, LEFT, TOP, FOOT, RIGHT = 520, 230, 52, 20, 46, 14
UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))


@dataclass(frozen=True)
class Curve:
    """Values over seconds: points (seconds, value, low, high); a curve of `dots` is not joined."""

    points: Sequence[tuple[float, float, float, float]]
    colour: str
    dots: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Clock:
    """How far the time axis goes, and which step was made when: (seconds, step), ascending."""

    seconds: float
    steps: Sequence[tuple[float, float]]

    def step(self, seconds: float) -> int:
        """The step made at a time."""
        times, steps = zip(*self.steps)
        return round(float(np.interp(seconds, times, steps)))


def unit(seconds: float) -> tuple[float, str]:
    """Seconds of the unit in which so long a time is best said, and its name."""
    return next((size, name) for least, size, name in UNITS if seconds >= least)


def timed(seconds: float) -> str:
    """A time to read: 9 s, 1:05 min, 2:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def draw(
    curves: Sequence[Curve], clock: Clock, marks: Sequence[tuple[float, str]], title: str
) -> str:
    """The plot; `marks` are what happened at which second."""
    ends = [
        value
        for curve in curves
        for point in curve.points
        for value in point[1:]
        if math.isfinite(value)
    ]
    levels = ticks(min(ends, default=0.0), max(ends, default=1.0))
    low, high, width = levels[0], levels[-1], WIDE - LEFT - RIGHT
    total = max(clock.seconds, 1e-9)

    def along(seconds: float) -> float:
        return LEFT + width * seconds / total

    def down(value: float) -> float:
        return TOP + HIGH * (high - value) / (high - low)

    parts = [
        f'<path class="grid" d="M{LEFT} {down(level):.1f}H{WIDE - RIGHT}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{down(level) + 4:.1f}">{level:.4g}</text>'
        for level in levels
    ]
    parts += _times(clock, total)
    for curve in curves:
        points = [
            (along(at), *(down(one) if math.isfinite(one) else math.nan for one in values))
            for at, *values in curve.points
        ]
        parts.append(_dots(points, curve) if curve.dots else _line(points, curve))
    for at, what in marks:
        x = along(at)
        parts.append(
            f'<path class="mark" d="M{x:.1f} {TOP}V{TOP + HIGH}"/>'
            f'<text class="what" transform="translate({x - 4:.1f} {TOP + 4}) rotate(-90)">'
            f"{escape(what)}</text>"
        )
    return framed(WIDE, TOP + HIGH + FOOT, "".join(parts), title)


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(seconds, value), each the mean of those around it: a tenth of all points."""
    reach = max(1, len(points) // 20)
    values = [value for _, value in points]
    return [
        (at, float(np.mean(values[max(0, place - reach) : place + reach + 1])))
        for place, (at, _) in enumerate(points)
    ]


def _times(clock: Clock, total: float) -> list[str]:
    """Marks of the time axis, with the steps below."""
    size, name = unit(total)
    base = TOP + HIGH
    parts = []
    for level in ticks(0, total / size):
        if level * size <= total * 1.001:
            x = LEFT + (WIDE - LEFT - RIGHT) * level * size / total
            parts.append(
                f'<path class="grid" d="M{x:.1f} {base}v5"/>'
                f'<text class="name" x="{x:.1f}" y="{base + 18}">{level:g} {name}</text>'
                f'<text class="step" x="{x:.1f}" y="{base + 33}">'
                f"step {clock.step(level * size)}</text>"
            )
    return parts


def _dots(points: Sequence[tuple[float, ...]], curve: Curve) -> str:
    drawn = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y, *_ in points)
    return f'<g fill="{curve.colour}" fill-opacity=".3">{drawn}</g>'


def _line(points: Sequence[tuple[float, ...]], curve: Curve) -> str:
    """The band of the intervals, the line, and a point for each value if there are few."""
    banded = [(x, low, high) for x, _, low, high in points if math.isfinite(low + high)]
    parts = []
    if len(banded) > 1:
        upper = "L".join(f"{x:.1f} {high:.1f}" for x, _, high in banded)
        lower = "L".join(f"{x:.1f} {low:.1f}" for x, low, _ in reversed(banded))
        parts.append(f'<path d="M{upper}L{lower}z" fill="{curve.colour}" fill-opacity=".14"/>')
    elif banded:
        ((x, low, high),) = banded
        parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{curve.colour}"/>')
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y, *_ in points)
    wide = 1.2 if curve.thin else 2.2
    parts.append(
        f'<path d="M{line}" fill="none" stroke="{curve.colour}" stroke-width="{wide}" '
        'stroke-linejoin="round"/>'
    )
    if len(points) < 30 and not curve.thin:
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8"/>' for x, y, *_ in points)
        parts.append(f'<g fill="{curve.colour}">{dots}</g>')
    return "".join(parts)
