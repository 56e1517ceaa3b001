"""Pieces of a comparison's page as markup: tables, names, measures and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from oncoseg.blocks.document import swatch, table
from oncoseg.compare import plots
from oncoseg.compare.records import Comparison
from oncoseg.compare.told import minus
from oncoseg.evaluate.table import Summary


def tabled(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that is scrolled where it is too wide; cells are markup."""
    return f'<div class="wide">{table(head, rows)}</div>'


def crossed(
    heads: Sequence[str], names: Sequence[str], columns: Sequence[Sequence[str]], corner: str = ""
) -> str:
    """A table of a column of cells a head, a cell a name; the more of both go down the page."""
    rows = list(zip(*columns))
    if len(names) < len(heads):
        heads, names, rows = names, heads, [tuple(column) for column in columns]
    return tabled([corner, *heads], [[name, *row] for name, row in zip(names, rows)])


def named(comparison: Comparison, name: str) -> str:
    """An algorithm with its colour."""
    tint = plots.colour(comparison.table.algorithms.index(name))
    return swatch(tint) + escape(name)


def measured(comparison: Comparison, measure: tuple[str, str]) -> str:
    """Name, unit and direction of a measure, as markup."""
    region, metric = measure
    said = comparison.described[metric]
    unit = f" ({said['unit']})" if said["unit"] else ""
    way = "higher is better" if said["higher"] else "lower is better"
    name, _, options = metric.partition(":")
    told = ", ".join(filter(None, (options, way)))
    return f"{escape(name + unit)} of {escape(region)} <small>{escape(told)}</small>"


def averaged(one: Summary, *, best: bool) -> str:
    """A mean with its interval and counts."""
    undefined = f", {one.undefined} undefined" if one.undefined else ""
    ends = f"{number(one.low)} to {number(one.high)}" if math.isfinite(one.low) else "no interval"
    value = f"<b>{number(one.mean)}</b>" if best else number(one.mean)
    return f"{value}<small>{ends}; n {one.n}{undefined}</small>"


def number(value: float) -> str:
    """Three figures or so, a minus as a minus."""
    if not math.isfinite(value):
        return "-"
    places = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 0
    return minus(f"{value:.{places}f}")
