"""The curves as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks.document import alert, document, footer, header, section, table, today
from oncoseg.blocks.froc import RATES
from oncoseg.blocks.statistics import percentiles
from oncoseg.froc.curves import Curve, Curves, told_of

LEFT, TOP, WIDE, HIGH, FOOT = 58, 14, 640, 330, 52
DENSE = 81  # places along the curve
CSS = Path(__file__).with_name("page.css")
ABOUT = (
    "Candidates are connected components of voxels with a probability of at least {floor:g}; each "
    "scores its highest probability (Jaeger 2018, arXiv 1811.08661). It finds a lesion that it "
    "overlaps by {how}. A lesion counts once, and a candidate that finds one is never a false "
    "positive. The FROC "
    "score is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case, on "
    "straight lines between points (LUNA16: Setio 2017, arXiv 1612.08012). Intervals are 95 % "
    "percentiles of a bootstrap over patients."
)


def page(curves: Curves) -> str:
    """The whole page."""
    how = f"an intersection over union of at least {curves.iou:g}" if curves.iou else "any voxel"
    about = ABOUT.format(floor=curves.floor, how=how)
    body = [
        header("oncoseg froc", [today()], "Lesions found and invented"),
        alert(curves.notes),
        *(_section(curve) for curve in curves.curves),
        section("Method", about, ""),
        footer(),
    ]
    return document("FROC", body, CSS)


def _section(curve: Curve) -> str:
    said, froc = curve.as_dict(), curve.froc
    told, _, use = told_of(curve).partition("; to use it: ")
    what = f"{said['lesions']} lesions in {said['cases']} cases of {froc.patients} patients"
    rates = [(f"{rate:g}", one) for rate, one in zip(RATES, said["sensitivity_at"].values())]
    rows = [[name, *_cells(one)] for name, one in (*rates, ("mean (FROC score)", said["score"]))]
    sizes = [
        [
            f"{row['part']} third",
            f"{row['from']:.4g} to {row['to']:.4g} {row['unit']}",
            f"{row['found']} of {row['lesions']}",
            f"{row['found'] / row['lesions']:.3f}",
        ]
        for row in said["sizes"]
    ]
    how = f"<p>To use it: <code>{escape(use)}</code></p>" if use else ""
    inside = (
        f"<figure>{_plot(curve)}</figure><p>{escape(told)}.</p>{how}"
        + table(("False positives a case", "Sensitivity", "95 % interval"), rows)
        + "<h2>By size, at the point</h2>"
        + table(("Lesions", "Size", "Found", "Sensitivity"), sizes)
    )
    return section(curve.region, what, inside, "long curves")


def _cells(one: dict[str, Any]) -> tuple[str, str]:
    between = "-" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return f"{one['value']:.3f}", between


def _across(rate: float) -> float:
    """Place of a rate: octaves from 1/8 to 8."""
    octaves = math.log2(RATES[-1] / RATES[0])
    return LEFT + WIDE * min(max(math.log2(max(rate, 1e-9) / RATES[0]) / octaves, 0), 1)


def _down(sensitivity: float) -> float:
    return TOP + HIGH * (1 - sensitivity)


def _plot(curve: Curve) -> str:
    """The curve from 1/8 to 8 false positives a case, with its band, and the point."""
    froc = curve.froc
    rates = np.geomspace(RATES[0], RATES[-1], DENSE).tolist()
    values, sampled = froc.at(rates), froc.bootstrap(rates)
    ends = [percentiles(column) for column in sampled.T]
    parts = [
        f'<path class="grid" d="M{LEFT} {_down(tick):.1f}h{WIDE}"/>'
        f'<text class="end" x="{LEFT - 8}" y="{_down(tick) + 4:.1f}">{tick:.1f}</text>'
        for tick in np.linspace(0, 1, 6)
    ]
    parts += [
        f'<path class="grid" d="M{_across(rate):.1f} {TOP}v{HIGH}"/>'
        f'<text class="middle" x="{_across(rate):.1f}" y="{TOP + HIGH + 19}">{name}</text>'
        for rate, name in zip(RATES, ("1/8", "1/4", "1/2", "1", "2", "4", "8"))
    ]
    if np.isfinite(ends).all():
        there = [f"{_across(x):.1f} {_down(high):.1f}" for x, (_, high) in zip(rates, ends)]
        back = [f"{_across(x):.1f} {_down(low):.1f}" for x, (low, _) in zip(rates, ends)]
        parts.append(f'<path class="band" d="M{"L".join([*there, *back[::-1]])}z"/>')
    line = "L".join(f"{_across(x):.1f} {_down(y):.1f}" for x, y in zip(rates, values))
    parts.append(f'<path class="curve" d="M{line}"/>')
    parts += [
        f'<circle class="dot" cx="{_across(x):.1f}" cy="{_down(y):.1f}" r="3.4"/>'
        for x, y in zip(RATES, froc.at(RATES))
    ]
    parts.append(_marked(curve))
    parts.append(
        f'<text class="middle" x="{LEFT + WIDE / 2}" y="{TOP + HIGH + 42}">false positives a case'
        f'</text><text class="middle" transform="translate(14 {TOP + HIGH / 2}) rotate(-90)">'
        "sensitivity</text>"
    )
    title = f"FROC curve of {curve.region}"
    return (
        f'<svg class="plot" viewBox="0 0 {LEFT + WIDE + 16} {TOP + HIGH + FOOT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _marked(curve: Curve) -> str:
    """The point as a diamond; at an edge, where it lies beyond the axis."""
    point = curve.point
    x, y = _across(point.false_positives), _down(point.sensitivity)
    name = f"threshold {point.threshold:.3g}" if curve.chosen else "all candidates"
    beyond = not RATES[0] <= point.false_positives <= RATES[-1]
    label = f"{name}{f', at {point.false_positives:.3g}' if beyond else ''}"
    anchor, side = ("end", -11) if x > LEFT + WIDE / 2 else ("start", 11)
    return (
        f'<path class="point" d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8 -8z"/>'
        f'<text class="strong" text-anchor="{anchor}" x="{x + side:.1f}" y="{y + 30:.1f}">'
        f"{label}</text>"
    )
