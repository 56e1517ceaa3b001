"""The comparison as one HTML page that needs nothing else: no script, no network, prints on A4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from oncoseg.blocks.document import alert, document, footer, header, section, today
from oncoseg.compare import plots
from oncoseg.compare.budget import costs
from oncoseg.compare.markup import averaged, crossed, measured, named, number, tabled
from oncoseg.compare.matrices import matrices
from oncoseg.compare.method import method
from oncoseg.compare.pictures import Panel, panels, worst
from oncoseg.compare.records import Comparison, Group, Standing
from oncoseg.evaluate.table import Summary

CSS = Path(__file__).with_name("page.css")
SHOWN, LISTED = 3, 8  # worst cases as pictures, and in the table
DRAWN = 12  # measures up to which all are drawn, beyond it those that count
SCHEMES = {
    "rank-then-aggregate": "Mean rank over cases",
    "aggregate-then-rank": "Mean rank of means",
    "significance": "Mean rank by tests won",
}


def page(comparison: Comparison, *, pictures: bool = True) -> str:
    """The whole page; without `pictures` it shows no part of a scan."""
    body = [
        _header(comparison),
        f'<div class="choice">{escape(comparison.advice())}</div>',
        alert(comparison.notes, 4),
        _leaderboard(comparison),
        *_extras(comparison),
        _means(comparison),
        _cases(comparison),
        matrices(comparison),
        _stability(comparison),
        _groups(comparison),
        costs(comparison),
        _worst(comparison, pictures),
        method(comparison),
        footer(),
    ]
    return document(f"{_title(comparison)} - comparison", body, CSS)


def _title(comparison: Comparison) -> str:
    names = comparison.table.algorithms
    if len(names) > 4:
        return f"{len(names)} algorithms"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _header(comparison: Comparison) -> str:
    facts = [
        today(),
        f"{len(comparison.table.cases)} cases, {comparison.patients} patients",
        f"truth {Path(comparison.reference).name}",
        f"protocol {comparison.protocol.name}",
    ]
    return header("oncoseg comparison", facts, _title(comparison))


def _leaderboard(comparison: Comparison) -> str:
    def row(one: Standing) -> list[str]:
        ranks = "-" if math.isnan(one.low) else f"{one.low:.3g} to {one.high:.3g}"
        first = "-" if math.isnan(one.first) else f"{one.first:.0%}"
        lost = f"{one.missing} / {one.failed}"
        name = named(comparison, one.algorithm)
        return [name, f"<b>{one.rank:g}</b>", f"{one.score:.2f}", ranks, first, lost]

    head = [
        "Algorithm",
        "Rank",
        f"Score<small>{SCHEMES[comparison.protocol.scheme].lower()}</small>",
        "95 % of ranks<small>patients drawn anew</small>",
        "First in<small>of samples</small>",
        "Cases missing / failed<small>counted as worst</small>",
    ]
    text = (
        f"By the protocol {comparison.protocol.name}: {comparison.protocol.summary}. "
        "A lower score is better."
    )
    return section("Leaderboard", text, tabled(head, [row(one) for one in comparison.standings]))


def _means(comparison: Comparison) -> str:
    order = [one.algorithm for one in comparison.standings]
    columns, heads = [], []
    for measure in comparison.table.measures:
        found = [comparison.summary(name, *measure) for name in order]
        best = _best(found)
        columns.append([averaged(one, best=one.mean == best) for one in found])
        mark = "" if measure in comparison.ranked else "<small>not ranked</small>"
        heads.append(measured(comparison, measure) + mark)
    text = (
        "Means over cases with 95 % intervals (patients drawn with all their cases), and n, the "
        "values averaged; undefined values are counted beside them and not averaged. The best mean "
        "is bold: that alone shows no difference."
    )
    names = [named(comparison, name) for name in order]
    return section("Means", text, crossed(heads, names, columns))


def _best(found: Sequence[Summary]) -> float:
    means = [one.mean for one in found if math.isfinite(one.mean)]
    if not means:
        return float("nan")
    return max(means) if found[0].higher else min(means)


def _cases(comparison: Comparison) -> str:
    table = comparison.table
    order = [one.algorithm for one in comparison.standings]
    places = [table.algorithms.index(name) for name in order]
    tints = [plots.colour(place) for place in places]
    figures = []
    drawn_of = table.measures if len(table.measures) <= DRAWN else comparison.ranked
    for measure in drawn_of:
        place = table.measures.index(measure)
        found = [comparison.summary(name, *measure) for name in order]
        title = f"{measure[1]} of {measure[0]} in every case"
        drawn = plots.strips(order, table.values[places, place], found, tints, title)
        label = measured(comparison, measure)
        figures.append(f"<figure><figcaption>{label}</figcaption>{drawn}</figure>")
    count = len(table.cases)
    part = f" {plots.MOST} of {count} cases are drawn, evenly." if count > plots.MOST else ""
    joined = "" if len(order) > plots.MANY else ", grey lines join the same case"
    text = (
        f"A dot is a case{joined}. Above the dots quartiles and median, below them the mean with "
        f"its interval. A triangle counts cases beyond the axis.{part}"
    )
    return section("Every case", text, f'<div class="plots">{"".join(figures)}</div>')


def _stability(comparison: Comparison) -> str:
    order = comparison.standings
    places = {name: place for place, name in enumerate(comparison.table.algorithms)}
    tau, low = comparison.tau
    if not math.isfinite(tau):
        return ""
    drawn = plots.stability(
        [one.algorithm for one in order],
        [one.shares for one in order],
        np.array([one.rank for one in order]),
        [plots.colour(places[one.algorithm]) for one in order],
    )
    size = "the larger a disc" if len(order) <= plots.MANY else "the darker a bar"
    text = (
        f"Ranks in {comparison.samples} bootstrap samples of patients: {size}, the more "
        f"often; a cross is the rank itself. Kendall's tau between the ranking and those drawn is "
        f"{number(tau)} on average, and at least {number(low)} in 95 % of them (1: the same order)."
    )
    return section("How firmly the ranking stands", text, drawn)


def _groups(comparison: Comparison) -> str:
    parts = []
    order = [one.algorithm for one in comparison.standings]
    for column in dict.fromkeys(one.column for one in comparison.groups):
        for measure in comparison.ranked:
            cells = {
                (one.group, one.algorithm): one
                for one in comparison.groups
                if (one.column, one.region, one.metric) == (column, *measure)
            }
            groups = list(dict.fromkeys(group for group, _ in cells))
            columns = [[_grouped(cells[group, name]) for name in order] for group in groups]
            heads = [escape(group or "not given") for group in groups]
            names = [named(comparison, name) for name in order]
            shown = crossed(heads, names, columns, escape(column))
            parts.append(f"<h3>{measured(comparison, measure)}</h3>{shown}")
    text = (
        "Means with 95 % intervals over patients within each group; few patients, wide intervals."
    )
    return section("By group", text, "".join(parts)) if parts else ""


def _grouped(one: Group) -> str:
    undefined = f", {one.undefined} undefined" * (one.undefined > 0)
    return (
        f"{number(one.mean)}<small>{number(one.low)} to {number(one.high)}</small>"
        f"<small>n {one.n}{undefined}</small>"
    )


def _extras(comparison: Comparison) -> list[str]:
    """The tables that belong to this protocol."""
    known = {one.algorithm: place for place, one in enumerate(comparison.standings)}

    def cell(text: str) -> str:
        return named(comparison, text) if text in known else escape(text)

    def ordered(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Best first, where rows are algorithms, and those that failed last."""
        return sorted(rows, key=lambda row: known.get(row[0], len(known)))

    return [
        section(
            one.heading,
            one.text,
            tabled(list(map(cell, one.head)), [list(map(cell, row)) for row in ordered(one.rows)]),
        )
        for one in comparison.extras
    ]


def _worst(comparison: Comparison, pictures: bool) -> str:
    cases = worst(comparison, LISTED)
    table, measure = comparison.table, comparison.ranked[0]
    order = [one.algorithm for one in comparison.standings]
    place = table.measures.index(measure)
    values = {name: table.values[at, place] for at, name in enumerate(table.algorithms)}
    columns = []
    for case in cases:
        at = table.cases.index(case)
        said = {name: comparison.statuses[name].get(case, "") for name in order}
        columns.append([_value(float(values[name][at]), said[name]) for name in order])
    heads, names = list(map(escape, cases)), [named(comparison, name) for name in order]
    listed = crossed(heads, names, columns, measured(comparison, measure))
    text = "Where the algorithms together have the worst places."
    if not pictures:
        return section("Worst cases", text, listed)
    some = order[: plots.MANY]
    drawn = [
        f"<h3>{escape(case)} <small class='meta'>{escape(caption)}</small></h3>"
        f'<div class="panels" style="--columns:{min(5, max(3, len(some)))}">'
        f"{''.join(_panel(comparison, one, case) for one in found)}</div>"
        for case, (found, caption) in panels(comparison, cases[:SHOWN], some).items()
    ]
    text += (
        " Below, the slice in which outlines "
        + (f"of the first {len(some)} " if len(some) < len(order) else "")
        + f"and {'raters' if len(comparison.truths) > 1 else 'truth'} (white) differ most"
        + (f", {comparison.caption}." if comparison.caption else ".")
    )
    return section("Worst cases", text, listed + "".join(drawn))


def _value(value: float, status: str) -> str:
    told = "" if status == "ok" else f"<small>{escape(status.partition(':')[0])}</small>"
    return (number(value) if math.isfinite(value) else "undefined") + told


def _panel(comparison: Comparison, one: Panel, case: str) -> str:
    table, measure = comparison.table, comparison.ranked[0]
    place = table.algorithms.index(one.algorithm)
    value = float(table.values[place, table.measures.index(measure), table.cases.index(case)])
    inside = one.markup or f'<div class="none">{escape(one.cause)}</div>'
    metric = measure[1].partition(":")[0]
    return (
        f"<figure>{inside}<figcaption>{named(comparison, one.algorithm)} "
        f"<small>{escape(metric)} {number(value)}</small></figcaption></figure>"
    )
