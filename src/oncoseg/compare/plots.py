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
MANY = len(COLOURS)  # algorithms, beyond which colours repeat, and less is drawn of each
LEFT, TOP, HIGH, FOOT = 46, 14, 200, 32
NAMES, WIDE, RIGHT = 170, 360, 26  # pixels for names, for values, and beyond them
ROW, THIN = 50, 25  # pixels of an algorithm, and where there are many
MOST = 300  # cases drawn in one plot


def colour(place: int) -> str:
    """Of an algorithm, everywhere on the page."""
    return COLOURS[place % len(COLOURS)]


def strips(
    names: Sequence[str], values: Array, found: Sequence[Summary], tints: Sequence[str], title: str
) -> str:
    """Values (algorithms, cases): a row an algorithm, a dot a case, grey lines join the same one.

    Above the dots a box of quartiles and median, below them the mean with its interval. Cases
    far from all others are counted beside a triangle at the edge.
    """
    marks = ticks(*_range(values, found))
    low, high = marks[0], marks[-1]
    row = ROW if len(names) <= MANY else THIN
    unit = row / ROW
    bottom = TOP + row * len(names)

    def along(value: float) -> float:
        return NAMES + WIDE * (min(max(value, low), high) - low) / (high - low)

    parts = [
        f'<path class="grid" d="M{along(tick):.1f} {TOP}V{bottom}"/>'
        f'<text class="name" x="{along(tick):.1f}" y="{bottom + 18}">{tick:.4g}</text>'
        for tick in marks
    ]
    centres = [TOP + row * (place + 0.5) for place in range(len(names))]
    some = _spread(values)
    if len(names) <= MANY:
        parts.append(_lines(centres, values[:, some], along))
    for place, (name, centre) in enumerate(zip(names, centres)):
        dots = "".join(
            f'<circle cx="{along(value):.1f}" cy="{centre:.0f}" r="{2.6 * unit**0.5:.1f}"/>'
            for value in values[place, some]
            if low <= value <= high
        )
        tint = tints[place]
        parts.append(f'<g fill="{tint}" fill-opacity=".55">{dots}</g>')
        parts.append(_beyond(centre, values[place], (low, high), tint))
        parts.append(_box(centre - 14 * unit, values[place], along, tint, unit))
        parts.append(_across(centre + 13 * unit, found[place], along, tint, unit))
        parts.append(_label(0, centre + 4, name, 24))
    return framed(NAMES + WIDE + RIGHT, bottom + FOOT - 8, "".join(parts), title)


def stability(
    names: Sequence[str], shares: Sequence[Sequence[float]], ranks: Array, tints: Sequence[str]
) -> str:
    """Area of a disc: how often an algorithm has a rank in bootstrap samples (shares of 1, 1.5...).

    Of many, how dark a bar is. A cross marks the rank itself.
    """
    count = len(names)
    dark = max((part for share in shares for part in share if math.isfinite(part)), default=1)
    step, row = (74.0, 46) if count <= MANY else (max(14.0, 620 / count), 20)
    left = NAMES + 20 + step / 4
    width, height = left + step * count, 30 + row * count
    every = 1 if count <= MANY else 5
    parts = [
        f'<text class="name" x="{left + step * place:.0f}" y="16">'
        f"{'rank ' if count <= MANY else ''}{place + 1}</text>"
        f'<path class="grid" d="M{left + step * place:.0f} 24V{height - 4}"/>'
        for place in range(count)
        if place == 0 or (place + 1) % every == 0
    ]
    for place, (name, share) in enumerate(zip(names, shares)):
        y = 30 + row * (place + 0.5)
        parts.append(_label(0, y + 4, name, 24))
        for half, part in enumerate(share):
            if math.isfinite(part) and part > 0:
                x, label = (
                    left + step / 2 * half,
                    f"<title>rank {1 + half / 2:g}: {part:.0%}</title>",
                )
                parts.append(
                    f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{19 * math.sqrt(part):.1f}" '
                    f'fill="{tints[place]}" fill-opacity=".75">{label}</circle>'
                    if count <= MANY
                    else f'<rect x="{x - step / 4:.1f}" y="{y - 7:.0f}" width="{step / 2:.1f}" '
                    f'height="14" fill="{tints[place]}" '
                    f'fill-opacity="{math.sqrt(part / dark):.2f}">{label}</rect>'
                )
        x, arm = left + step * (float(ranks[place]) - 1), 4 if count <= MANY else 3
        parts.append(
            f'<path class="cross" d="M{x - arm:.0f} {y - arm:.0f}l{2 * arm} {2 * arm}'
            f'm0 -{2 * arm}l-{2 * arm} {2 * arm}"/>'
        )
    return framed(width, height, "".join(parts), "how often each algorithm has each rank")


def scatter(
    names: Sequence[str],
    costs: Sequence[float],
    found: Sequence[Summary],
    tints: Sequence[str],
    front: Sequence[int],
    title: str,
) -> str:
    """Costs on a logarithmic axis, means with intervals; a line joins those on the `front`.

    Of many, those on the front alone and the first are named, and have an interval.
    """
    ends = [end for one in found for end in (one.low, one.mean, one.high) if math.isfinite(end)]
    marks = ticks(min(ends), max(ends))
    first, last = math.log10(min(costs) / 1.3), math.log10(max(costs) * 1.3)
    many = len(names) > MANY
    deep = HIGH if not many else 2 * HIGH
    width, height = LEFT + 420, TOP + deep + FOOT

    def down(value: float) -> float:
        return TOP + deep * (marks[-1] - value) / (marks[-1] - marks[0])

    def along(cost: float) -> float:
        return LEFT + 10 + 330 * (math.log10(cost) - first) / (last - first)

    parts = [
        f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{width - 4}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{down(tick) + 4:.1f}">{tick:.4g}</text>'
        for tick in marks
    ]
    parts += [
        f'<path class="grid" d="M{along(cost):.1f} {TOP}V{TOP + deep}"/>'
        f'<text class="name" x="{along(cost):.0f}" y="{height - 10}">{_short(cost)}</text>'
        for cost in decades(first, last)
    ]
    points = [(along(cost), down(one.mean)) for cost, one in zip(costs, found)]
    line = "L".join(f"{points[place][0]:.1f} {points[place][1]:.1f}" for place in front)
    parts.append(f'<path class="front" d="M{line}"/>')
    free: dict[int, float] = {}  # where the next label may stand, by the column of its point
    for place in sorted(range(len(names)), key=lambda place: points[place][1]):
        x, y = points[place]
        if many and place not in {0, *front}:
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{tints[place]}" '
                f'fill-opacity=".7"><title>{escape(names[place])}</title></circle>'
            )
            continue
        column = round(x / 60)
        y = max(y + 4, *(free.get(near, 0.0) for near in (column - 1, column, column + 1)))
        free[column] = y + 12
        parts.append(_mean(x, found[place], down, tints[place]))
        parts.append(f'<text x="{x + 9:.0f}" y="{y:.1f}">{_cut(names[place], 14)}</text>')
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


def _cut(name: str, most: int) -> str:
    """A name as markup, of so many letters at most."""
    return escape(name if len(name) < most else f"{name[: most - 2]}…")


def _label(x: float, y: float, name: str, most: int) -> str:
    return f'<text class="row" x="{x:.0f}" y="{y:.0f}">{_cut(name, most)}</text>'


def _beyond(y: float, values: Array, shown: tuple[float, float], tint: str) -> str:
    """A triangle, and how many, where cases lie beyond the axis."""
    parts = []
    for count, x, way in (
        (int((values > shown[1]).sum()), NAMES + WIDE + 4, 1),
        (int((values < shown[0]).sum()), NAMES - 4, -1),
    ):
        if count:
            label = f'<text class="beyond" x="{x + 13 * way}" y="{y + 4:.0f}">{count}</text>'
            mark = f'<path d="M{x} {y - 5:.0f}v10l{6 * way} -5z" fill="{tint}"/>'
            parts.append(mark + label)
    return "".join(parts)


def _spread(values: Array) -> Array:
    """Which cases are drawn: all, or of too many some, evenly from worst to best."""
    count = values.shape[1]
    if count <= MOST:
        return np.arange(count)
    order = np.argsort(np.nan_to_num(values).mean(axis=0))
    return order[np.linspace(0, count - 1, MOST).round().astype(int)]


def _lines(centres: Sequence[float], values: Array, along: Callable[[float], float]) -> str:
    paths = []
    for case in values.T:
        points = [
            f"{along(value):.1f} {centre:.0f}"
            for centre, value in zip(centres, case)
            if math.isfinite(value)
        ]
        if len(points) > 1:
            paths.append(f"M{'L'.join(points)}")
    return f'<path class="pairing" d="{"".join(paths)}"/>'


def _box(y: float, values: Array, along: Callable[[float], float], tint: str, unit: float) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    low, middle, high = (along(value) for value in np.percentile(finite, (25, 50, 75)))
    thick = 12 * unit
    return (
        f'<rect x="{low:.1f}" y="{y - thick / 2:.1f}" width="{max(high - low, 0.5):.1f}" '
        f'height="{thick:.1f}" fill="{tint}" fill-opacity=".18" stroke="{tint}"/>'
        f'<path d="M{middle:.1f} {y - thick / 2:.1f}v{thick:.1f}" stroke="{tint}" '
        'stroke-width="2.4"/>'
    )


def _across(
    y: float, found: Summary, along: Callable[[float], float], tint: str, unit: float
) -> str:
    """A mean with its interval along a row."""
    if not math.isfinite(found.mean):
        return ""
    x, size = along(found.mean), 5 * unit**0.5
    bar = ""
    if math.isfinite(found.low):
        low, high = along(found.low), along(found.high)
        end = f"{y - size + 1:.1f}v{2 * size - 2:.1f}"
        bar = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {end}M{high:.1f} {end}"
    return (
        f'<path d="{bar}" stroke="{tint}" stroke-width="1.8" fill="none"/>'
        f'<path d="M{x:.1f} {y - size:.1f}l{size:.1f} {size:.1f}l-{size:.1f} {size:.1f}'
        f'l-{size:.1f} -{size:.1f}z" fill="{tint}"/>'
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
