"""Plots of a comparison as inline SVG: every case and its pairing, and how firm the ranks are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from oncoseg.blocks.axes import decades, framed, ticks
from oncoseg.case import Array
from oncoseg.evaluate.table import Summary

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A5195", "#5B6875")
LEFT, TOP, STEP, HIGH, FOOT = 46, 14, 104, 200, 32
MOST = 300  # cases drawn in one plot


def colour(place: int) -> str:
    """Of an algorithm, everywhere on the page."""
    return COLOURS[place % len(COLOURS)]


def strips(names: Sequence[str], values: Array, found: Sequence[Summary], title: str) -> str:
    """Values (algorithms, cases): a dot a case, grey lines join the same one.

    Left of the dots a box of quartiles and median, right of them the mean with its interval. Cases
    far from all others are counted beside a triangle at the edge.
    """
    marks = ticks(*_range(values, found))
    low, high = marks[0], marks[-1]
    width, height = LEFT + STEP * len(names) + 8, TOP + HIGH + FOOT

    def down(value: float) -> float:
        return TOP + HIGH * (high - min(max(value, low), high)) / (high - low)

    parts = [
        f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{width - 4}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{down(tick) + 4:.1f}">{tick:.4g}</text>'
        for tick in marks
    ]
    centres = [LEFT + STEP * (place + 0.5) for place in range(len(names))]
    some = _spread(values)
    parts += [_lines(centres, values[:, some], down)]
    for place, (name, centre) in enumerate(zip(names, centres)):
        dots = "".join(
            f'<circle cx="{centre:.0f}" cy="{down(value):.1f}" r="2.6"/>'
            for value in values[place, some]
            if low <= value <= high
        )
        parts.append(f'<g fill="{colour(place)}" fill-opacity=".55">{dots}</g>')
        parts.append(_beyond(centre, values[place], (low, high), colour(place)))
        parts.append(_box(centre - 24, values[place], down, colour(place)))
        parts.append(_mean(centre + 22, found[place], down, colour(place)))
        short = name if len(name) < 15 else f"{name[:13]}…"
        parts.append(f'<text class="name" x="{centre:.0f}" y="{height - 8}">{escape(short)}</text>')
    return framed(width, height, "".join(parts), title)


def stability(
    names: Sequence[str], shares: Sequence[Sequence[float]], ranks: Array, tints: Sequence[str]
) -> str:
    """Area of a disc: how often an algorithm has a rank in bootstrap samples (shares of 1, 1.5...).

    A cross marks the rank itself.
    """
    count = len(names)
    width, row = 190 + 74 * count, 46
    height = 30 + row * count
    parts = [
        f'<text class="name" x="{190 + 74 * place + 20}" y="16">rank {place + 1}</text>'
        f'<path class="grid" d="M{190 + 74 * place + 20} 24V{height - 4}"/>'
        for place in range(count)
    ]
    for place, (name, share) in enumerate(zip(names, shares)):
        y = 30 + row * (place + 0.5)
        short = name if len(name) < 24 else f"{name[:22]}…"
        parts.append(f'<text class="row" x="0" y="{y + 4:.0f}">{escape(short)}</text>')
        for half, part in enumerate(share):
            if math.isfinite(part) and part > 0:
                x, radius = 210.0 + 37 * half, 19 * math.sqrt(part)
                label = f"<title>rank {1 + half / 2:g}: {part:.0%}</title>"
                parts.append(
                    f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.1f}" fill="{tints[place]}" '
                    f'fill-opacity=".75">{label}</circle>'
                )
        x = 210 + 74 * (float(ranks[place]) - 1)
        parts.append(f'<path class="cross" d="M{x - 4:.0f} {y - 4:.0f}l8 8m0 -8l-8 8"/>')
    return framed(width, height, "".join(parts), "how often each algorithm has each rank")


def scatter(
    names: Sequence[str],
    costs: Sequence[float],
    found: Sequence[Summary],
    tints: Sequence[str],
    front: Sequence[int],
    title: str,
) -> str:
    """Costs on a logarithmic axis, means with intervals; a line joins those on the `front`."""
    ends = [end for one in found for end in (one.low, one.mean, one.high) if math.isfinite(end)]
    marks = ticks(min(ends), max(ends))
    first, last = math.log10(min(costs) / 1.3), math.log10(max(costs) * 1.3)
    width, height = LEFT + 420, TOP + HIGH + FOOT

    def down(value: float) -> float:
        return TOP + HIGH * (marks[-1] - value) / (marks[-1] - marks[0])

    def along(cost: float) -> float:
        return LEFT + 10 + 330 * (math.log10(cost) - first) / (last - first)

    parts = [
        f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{width - 4}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{down(tick) + 4:.1f}">{tick:.4g}</text>'
        for tick in marks
    ]
    parts += [
        f'<path class="grid" d="M{along(cost):.1f} {TOP}V{TOP + HIGH}"/>'
        f'<text class="name" x="{along(cost):.0f}" y="{height - 10}">{_short(cost)}</text>'
        for cost in decades(first, last)
    ]
    points = [(along(cost), down(one.mean)) for cost, one in zip(costs, found)]
    line = "L".join(f"{points[place][0]:.1f} {points[place][1]:.1f}" for place in front)
    parts.append(f'<path class="front" d="M{line}"/>')
    free: dict[int, float] = {}  # where the next label may stand, by the column of its point
    for place in sorted(range(len(names)), key=lambda place: points[place][1]):
        x, y = points[place]
        column = round(x / 60)
        y = max(y + 4, *(free.get(near, 0.0) for near in (column - 1, column, column + 1)))
        free[column] = y + 12
        short = names[place] if len(names[place]) < 14 else f"{names[place][:12]}…"
        parts.append(_mean(x, found[place], down, tints[place]))
        parts.append(f'<text x="{x + 9:.0f}" y="{y:.1f}">{escape(short)}</text>')
    return framed(width, height, "".join(parts), title)


def _short(value: float) -> str:
    """200, 5 k, 10 M, 2 G, 1 T."""
    step = min(max(math.floor(math.log10(value) / 3 + 1e-9), 0), 4)
    return f"{value / 1000.0**step:g}{('', ' k', ' M', ' G', ' T')[step]}"


def _range(values: Array, found: Sequence[Summary]) -> tuple[float, float]:
    """What an axis shows: means, and within three times the quartiles' distance of any box."""
    ends = [end for one in found for end in (one.low, one.mean, one.high) if math.isfinite(end)]
    lows, highs = list(ends), list(ends)
    for one in values:
        finite = one[np.isfinite(one)]
        if finite.size:
            first, last = np.percentile(finite, (25, 75))
            reach = 3 * (last - first) + 1e-9
            near = finite[(finite >= first - reach) & (finite <= last + reach)]
            lows.append(float(near.min()))
            highs.append(float(near.max()))
    return min(lows, default=0.0), max(highs, default=1.0)


def _beyond(x: float, values: Array, shown: tuple[float, float], tint: str) -> str:
    """A triangle, and how many, where cases lie beyond the axis."""
    parts = []
    for count, y, way in (
        (int((values > shown[1]).sum()), TOP - 3, -1),
        (int((values < shown[0]).sum()), TOP + HIGH + 3, 1),
    ):
        if count:
            label = f'<text class="beyond" x="{x + 13:.0f}" y="{y + 4:.0f}">{count}</text>'
            mark = f'<path d="M{x - 5:.0f} {y}h10l-5 {6 * way}z" fill="{tint}"/>'
            parts.append(mark + label)
    return "".join(parts)


def _spread(values: Array) -> Array:
    """Which cases are drawn: all, or of too many some, evenly from worst to best."""
    count = values.shape[1]
    if count <= MOST:
        return np.arange(count)
    order = np.argsort(np.nan_to_num(values).mean(axis=0))
    return order[np.linspace(0, count - 1, MOST).round().astype(int)]


def _lines(centres: Sequence[float], values: Array, down: Callable[[float], float]) -> str:
    paths = []
    for case in values.T:
        points = [
            f"{centre:.0f} {down(value):.1f}"
            for centre, value in zip(centres, case)
            if math.isfinite(value)
        ]
        if len(points) > 1:
            paths.append(f"M{'L'.join(points)}")
    return f'<path class="pairing" d="{"".join(paths)}"/>'


def _box(x: float, values: Array, down: Callable[[float], float], tint: str) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    low, middle, high = (down(value) for value in np.percentile(finite, (25, 50, 75)))
    return (
        f'<rect x="{x - 6:.0f}" y="{high:.1f}" width="12" height="{max(low - high, 0.5):.1f}" '
        f'fill="{tint}" fill-opacity=".18" stroke="{tint}"/>'
        f'<path d="M{x - 6:.0f} {middle:.1f}h12" stroke="{tint}" stroke-width="2.4"/>'
    )


def _mean(x: float, found: Summary, down: Callable[[float], float], tint: str) -> str:
    if not math.isfinite(found.mean):
        return ""
    y = down(found.mean)
    bar = ""
    if math.isfinite(found.low):
        low, high = down(found.low), down(found.high)
        bar = f"M{x:.0f} {low:.1f}V{high:.1f}M{x - 4:.0f} {low:.1f}h8M{x - 4:.0f} {high:.1f}h8"
    return (
        f'<path d="{bar}" stroke="{tint}" stroke-width="1.8" fill="none"/>'
        f'<path d="M{x:.0f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{tint}"/>'
    )
